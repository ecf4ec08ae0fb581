"""Signatures over the handshake: which key may use which scheme, signing and checking (RFC 9846 sections 4.3.3, 4.5.2).

In TLS 1.3 a scheme names everything: ecdsa_secp256r1_sha256 is that curve *and* that hash. RSA-PSS comes twice, and
what tells the two apart is not the key but the identifier in the certificate that carries it: rsaEncryption goes with
``rsa_pss_rsae_*``, RSASSA-PSS with ``rsa_pss_pss_*``. ``cryptography`` gives the same kind of key object for both, so
whatever has to know takes the certificate.

An RSASSA-PSS certificate may restrict its key to one hash (RFC 4055 section 3.1); such a key does one scheme only.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, cast

import attrs
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509 import Certificate
from cryptography.x509.oid import PublicKeyAlgorithmOID

from tlsprovider.crypto import der
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import SignatureScheme

__all__ = ["CERTIFICATE_SCHEMES", "HANDSHAKE_SCHEMES", "schemes_for", "sign", "verify"]

# Cheap and common first: this is also the order in which they are offered.
HANDSHAKE_SCHEMES: tuple[SignatureScheme, ...] = (
    SignatureScheme.ecdsa_secp256r1_sha256,
    SignatureScheme.ed25519,
    SignatureScheme.rsa_pss_rsae_sha256,
    SignatureScheme.ecdsa_secp384r1_sha384,
    SignatureScheme.rsa_pss_rsae_sha384,
    SignatureScheme.ecdsa_secp521r1_sha512,
    SignatureScheme.rsa_pss_rsae_sha512,
    SignatureScheme.rsa_pss_pss_sha256,
    SignatureScheme.rsa_pss_pss_sha384,
    SignatureScheme.rsa_pss_pss_sha512,
    SignatureScheme.ed448,
    SignatureScheme.mldsa44,
    SignatureScheme.mldsa65,
    SignatureScheme.mldsa87,
)

# Section 4.3.3: PKCS#1 v1.5 may sign certificates, never a handshake.
CERTIFICATE_SCHEMES: tuple[SignatureScheme, ...] = (
    *HANDSHAKE_SCHEMES,
    SignatureScheme.rsa_pkcs1_sha256,
    SignatureScheme.rsa_pkcs1_sha384,
    SignatureScheme.rsa_pkcs1_sha512,
)


class _Verifies(Protocol):
    def verify(self, signature: bytes, data: bytes, *how: object) -> None: ...


class _Signs(Protocol):
    def sign(self, data: bytes, *how: object) -> bytes: ...


@lru_cache(maxsize=64)
def _is_kind(kind: type, public: type, private: type) -> bool:
    """The kinds of ``cryptography`` are abstract classes, which take long to ask; there are few of them."""
    return issubclass(kind, (public, private))


@attrs.frozen
class _Method:
    """How ``cryptography`` does one scheme: the kind of key, and what its ``sign`` and ``verify`` take at the end."""

    public: type
    private: type
    how: tuple[object, ...] = ()
    curve: type[ec.EllipticCurve] | None = None
    hash_size: int = 0
    """Of RSA-PSS, in bytes; 0 for everything else."""
    pss_identifier: bool = False

    def fits(self, key: object) -> bool:
        """Whether a private or public key can do this scheme, as far as the key itself tells."""
        if not _is_kind(type(key), self.public, self.private):  # type: ignore[arg-type]  # mypy doubts that classes hash
            return False
        if self.curve is not None:
            return isinstance(cast(ec.EllipticCurvePublicKey, key).curve, self.curve)
        if self.hash_size:
            # RFC 8017 section 9.1.1: hash, salt of the same size and two more bytes must go into the modulus.
            modulus_bytes = (cast(rsa.RSAPublicKey, key).key_size + 6) // 8
            return modulus_bytes >= 2 * self.hash_size + 2
        return True


def _ecdsa(curve: type[ec.EllipticCurve], algorithm: hashes.HashAlgorithm) -> _Method:
    return _Method(ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey, (ec.ECDSA(algorithm),), curve=curve)


def _pss(algorithm: hashes.HashAlgorithm, pss_identifier: bool) -> _Method:
    size = algorithm.digest_size
    how = (padding.PSS(padding.MGF1(algorithm), size), algorithm)
    return _Method(rsa.RSAPublicKey, rsa.RSAPrivateKey, how, hash_size=size, pss_identifier=pss_identifier)


_METHODS: dict[int, _Method] = {
    SignatureScheme.ecdsa_secp256r1_sha256: _ecdsa(ec.SECP256R1, hashes.SHA256()),
    SignatureScheme.ecdsa_secp384r1_sha384: _ecdsa(ec.SECP384R1, hashes.SHA384()),
    SignatureScheme.ecdsa_secp521r1_sha512: _ecdsa(ec.SECP521R1, hashes.SHA512()),
    SignatureScheme.rsa_pss_rsae_sha256: _pss(hashes.SHA256(), pss_identifier=False),
    SignatureScheme.rsa_pss_rsae_sha384: _pss(hashes.SHA384(), pss_identifier=False),
    SignatureScheme.rsa_pss_rsae_sha512: _pss(hashes.SHA512(), pss_identifier=False),
    SignatureScheme.rsa_pss_pss_sha256: _pss(hashes.SHA256(), pss_identifier=True),
    SignatureScheme.rsa_pss_pss_sha384: _pss(hashes.SHA384(), pss_identifier=True),
    SignatureScheme.rsa_pss_pss_sha512: _pss(hashes.SHA512(), pss_identifier=True),
    SignatureScheme.ed25519: _Method(ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
    SignatureScheme.ed448: _Method(ed448.Ed448PublicKey, ed448.Ed448PrivateKey),
    SignatureScheme.mldsa44: _Method(mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey),
    SignatureScheme.mldsa65: _Method(mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey),
    SignatureScheme.mldsa87: _Method(mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey),
}


def _fits(method: _Method, certificate: Certificate) -> bool:
    if not method.fits(certificate.public_key()):
        return False
    if not method.hash_size:
        return True
    if certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
        return not method.pss_identifier
    return method.pss_identifier and method.hash_size in _pss_hash_sizes(certificate)


# The DER of the identifiers of SHA-256, SHA-384 and SHA-512.
_HASH_IDENTIFIERS = {
    32: bytes.fromhex("0609608648016503040201"),
    48: bytes.fromhex("0609608648016503040202"),
    64: bytes.fromhex("0609608648016503040203"),
}


def _pss_hash_sizes(certificate: Certificate) -> tuple[int, ...]:
    """Sizes of the hashes that an RSASSA-PSS key may be used with: all when its parameters are left out."""
    algorithm = der.children(der.subject_public_key_info(certificate))[0]
    _, *parameters = der.children(algorithm)
    if not parameters:
        return tuple(_HASH_IDENTIFIERS)
    return tuple(size for size, identifier in _HASH_IDENTIFIERS.items() if identifier in parameters[0])


def schemes_for(certificate: Certificate) -> tuple[SignatureScheme, ...]:
    """The schemes that the key of ``certificate`` may sign a handshake with, in default order; empty if there are none.

    ``certificate`` must have passed :func:`~tlsprovider.crypto.certificates.parse_certificate`, or be our own.
    """
    return tuple(scheme for scheme in HANDSHAKE_SCHEMES if _fits(_METHODS[scheme], certificate))


def sign(private_key: CertificateIssuerPrivateKeyTypes, scheme: int, message: bytes) -> bytes:
    """Sign all of ``message`` (not a digest of it). ValueError when the key can't do the scheme: our own mistake."""
    method = _METHODS.get(scheme)
    if method is None or not method.fits(private_key):
        raise ValueError(f"a key of type {type(private_key).__name__} can't sign with {SignatureScheme(scheme)}")
    return cast(_Signs, private_key).sign(message, *method.how)


def verify(certificate: Certificate, scheme: int, signature: bytes, message: bytes) -> None:
    """Check a signature by the key of ``certificate``, which must have passed ``parse_certificate``.

    Raises PeerFault SIGNATURE_KEY_MISMATCH when the key can't have signed with that scheme, SIGNATURE_INVALID when it
    did not sign this (section 4.5.2). That the scheme was offered at all is for the caller to check.
    """
    method = _METHODS.get(scheme)
    if method is None or not _fits(method, certificate):
        raise PeerFault(
            Fault.SIGNATURE_KEY_MISMATCH,
            f"{SignatureScheme(scheme)} with a key of type {_key_name(certificate)}",
        )
    try:
        cast(_Verifies, certificate.public_key()).verify(signature, message, *method.how)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise PeerFault(Fault.SIGNATURE_INVALID, str(SignatureScheme(scheme))) from None


def _key_name(certificate: Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name
    return type(key).__name__.removesuffix("PublicKey")
