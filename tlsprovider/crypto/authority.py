"""A throw-away certificate authority: for the demo, the tests and the benchmarks.

Nothing here is for certificates that anybody should rely on: keys are made in memory, are not protected, and RSA keys
are shared by every certificate of a process because making one takes longer than everything else together.

What it issues passes the strict profile of ``cryptography.x509.verification`` and OpenSSL: key identifiers, keyUsage,
extKeyUsage and basicConstraints are all there, with the criticality that RFC 5280 section 4.2 asks for.
"""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.x509 import Certificate
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tlsprovider.crypto import der

__all__ = ["KEY_TYPES", "Authority", "Issued", "KeyType"]

KeyType = Literal["p256", "p384", "p521", "ed25519", "ed448", "rsa2048", "rsa_pss", "mldsa44", "mldsa65", "mldsa87"]


@lru_cache(maxsize=2)
def _rsa_key(role: str) -> rsa.RSAPrivateKey:
    """One RSA key for authorities and one for leaves, made once: see the head of this module."""
    return rsa.generate_private_key(65537, 2048)


_GENERATE: dict[str, Callable[[str], CertificateIssuerPrivateKeyTypes]] = {
    "p256": lambda role: ec.generate_private_key(ec.SECP256R1()),
    "p384": lambda role: ec.generate_private_key(ec.SECP384R1()),
    "p521": lambda role: ec.generate_private_key(ec.SECP521R1()),
    "ed25519": lambda role: ed25519.Ed25519PrivateKey.generate(),
    "ed448": lambda role: ed448.Ed448PrivateKey.generate(),
    "rsa2048": _rsa_key,
    "rsa_pss": _rsa_key,
    "mldsa44": lambda role: mldsa.MLDSA44PrivateKey.generate(),
    "mldsa65": lambda role: mldsa.MLDSA65PrivateKey.generate(),
    "mldsa87": lambda role: mldsa.MLDSA87PrivateKey.generate(),
}
KEY_TYPES: tuple[str, ...] = tuple(_GENERATE)


@attrs.frozen(eq=False)
class Issued:
    """A certificate with its key. ``certificates``: the leaf, then the intermediates; the root is not among them."""

    certificates: tuple[Certificate, ...]
    private_key: CertificateIssuerPrivateKeyTypes = attrs.field(repr=False)

    @property
    def certificate(self) -> Certificate:
        """The leaf."""
        return self.certificates[0]

    @property
    def chain_pem(self) -> bytes:
        """The chain as PEM, leaf first: what a server's certificate file holds."""
        return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in self.certificates)

    @property
    def key_pem(self) -> bytes:
        """The key as PKCS#8 PEM, not encrypted."""
        return self.private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


class Authority:
    """A root certificate that signs whatever is asked for.

    ``key_type``: one of :data:`KEY_TYPES`, without ``rsa_pss`` which is for leaves. (Chains with an ed25519 or ed448
    authority are not verified here, see :mod:`tlsprovider.crypto.chains`; OpenSSL does.) ``not_before``, ``not_after``:
    aware datetimes; by default from yesterday, for ten years, and a year for what it issues.

    Raises ValueError for arguments that make no sense.
    """

    def __init__(
        self,
        name: str = "tlsprovider throw-away authority",
        *,
        key_type: KeyType = "p256",
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> None:
        if key_type == "rsa_pss":
            raise ValueError("key_type: an authority can't have an RSASSA-PSS key here; rsa_pss is for leaves")
        self.name = name
        self._period = _period(not_before, not_after, days=3650)
        self.private_key = _generate(key_type, "authority")
        self.certificate = self._authority(name, self.private_key, x509_name(name), self.private_key)
        self._authorities = [Issued((self.certificate,), self.private_key)]

    def __repr__(self) -> str:
        return f"<Authority {self.name!r}>"

    @property
    def certificate_pem(self) -> bytes:
        """The root as PEM: what a client has to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        *names: str,
        key_type: KeyType = "p256",
        client: bool = False,
        intermediates: int = 0,
        not_before: datetime.datetime | None = None,
        not_after: datetime.datetime | None = None,
    ) -> Issued:
        """A certificate for these names: DNS names, IP addresses, or mail addresses (for people, with ``client``).

        :param client: for TLS clients in place of servers (extKeyUsage clientAuth in place of serverAuth).
        :param intermediates: how many authorities stand between the root and the leaf.
        """
        if not names:
            raise ValueError("issue: at least one name is needed, as 'localhost' or '127.0.0.1'")
        above = self._chain(intermediates)
        issuer, issuer_key = above[0].certificate, above[0].private_key
        key = _generate(key_type, "leaf")
        purpose = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        builder = (
            _builder(names[0], key, issuer.subject, issuer_key, _period(not_before, not_after, days=365))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        )
        leaf = _sign(builder, issuer_key)
        if key_type == "rsa_pss":
            leaf = _with_pss_key(leaf, issuer_key)
        return Issued((leaf, *(one.certificate for one in above[:-1])), key)

    def _chain(self, intermediates: int) -> list[Issued]:
        """The authorities above a leaf, nearest to it first, the root last; made once and kept."""
        while len(self._authorities) <= intermediates:
            above = self._authorities[-1]
            key = _generate("p256", "authority")
            name = f"{self.name} intermediate {len(self._authorities)}"
            certificate = self._authority(name, key, above.certificate.subject, above.private_key)
            self._authorities.append(Issued((certificate,), key))
        return self._authorities[intermediates::-1]

    def _authority(
        self,
        name: str,
        key: CertificateIssuerPrivateKeyTypes,
        issuer: x509.Name,
        issuer_key: CertificateIssuerPrivateKeyTypes,
    ) -> Certificate:
        builder = (
            _builder(name, key, issuer, issuer_key, self._period)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
        )
        return _sign(builder, issuer_key)


def x509_name(common_name: str) -> x509.Name:
    """A distinguished name of one common name, cut to the 64 characters that X.520 allows."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _generate(key_type: str, role: str) -> CertificateIssuerPrivateKeyTypes:
    if key_type not in _GENERATE:
        raise ValueError(f"key_type: {key_type!r} is unknown; choose from {', '.join(KEY_TYPES)}")
    return _GENERATE[key_type](role)


def _period(
    not_before: datetime.datetime | None, not_after: datetime.datetime | None, days: int
) -> tuple[datetime.datetime, datetime.datetime]:
    now = datetime.datetime.now(datetime.UTC)
    return not_before or now - datetime.timedelta(days=1), not_after or now + datetime.timedelta(days=days)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.RFC822Name(name) if "@" in name else x509.DNSName(name)


def _key_usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    name: str,
    key: CertificateIssuerPrivateKeyTypes,
    issuer: x509.Name,
    issuer_key: CertificateIssuerPrivateKeyTypes,
    period: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509_name(name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(period[0])
        .not_valid_after(period[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )


_Hash = hashes.SHA256 | hashes.SHA384 | hashes.SHA512


def _hash_for(key: CertificateIssuerPrivateKeyTypes) -> _Hash | None:
    """The hash to sign a certificate with; None for keys whose algorithm brings its own."""
    by_curve: dict[int, _Hash] = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    if isinstance(key, rsa.RSAPrivateKey):
        return hashes.SHA256()
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return by_curve[key.curve.key_size]
    return None


def _sign(builder: x509.CertificateBuilder, key: CertificateIssuerPrivateKeyTypes) -> Certificate:
    return builder.sign(key, _hash_for(key))


# -- RSASSA-PSS keys ---------------------------------------------------------------------------------------------------
#
# `cryptography` loads a certificate whose key has the RSASSA-PSS identifier, but writes every RSA key with the ordinary
# one. So such a certificate is issued with an ordinary key first, then that identifier is exchanged in the signed part
# and the authority signs again. The parameters are left out: "no restriction" (RFC 4055 section 3.1).

_RSASSA_PSS = bytes.fromhex("300b06092a864886f70d01010a")


def _with_pss_key(certificate: Certificate, issuer_key: CertificateIssuerPrivateKeyTypes) -> Certificate:
    body, signature_algorithm, _ = der.children(certificate.public_bytes(serialization.Encoding.DER))
    plain = der.subject_public_key_info(certificate)
    pss = der.sequence(_RSASSA_PSS, der.children(plain)[1])
    body = der.sequence(*(pss if field == plain else field for field in der.children(body)))
    signature = der.value(der.BIT_STRING, b"\x00" + _raw_signature(issuer_key, body))
    return x509.load_der_x509_certificate(der.sequence(body, signature_algorithm, signature))


def _raw_signature(key: CertificateIssuerPrivateKeyTypes, body: bytes) -> bytes:
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(body, padding.PKCS1v15(), hashes.SHA256())
    if isinstance(key, ec.EllipticCurvePrivateKey):
        chosen = _hash_for(key)
        assert chosen is not None
        return key.sign(body, ec.ECDSA(chosen))
    if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey):
        return key.sign(body)
    assert isinstance(key, mldsa.MLDSA44PrivateKey | mldsa.MLDSA65PrivateKey | mldsa.MLDSA87PrivateKey)
    return key.sign(body)
