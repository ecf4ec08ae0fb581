"""Who one is: a chain of certificates, and the key to prove it with, or somebody who signs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto import der, signatures
from tlsprovider.errors import ConfigError
from tlsprovider.iana import SignatureScheme
from tlsprovider.trust import read_file

if TYPE_CHECKING:
    from os import PathLike

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
    from cryptography.x509 import Certificate

    from tlsprovider.questions import Later

    Signer = Callable[[SignatureScheme, bytes], "bytes | Awaitable[bytes] | Later"]

__all__ = ["Identity"]


@attrs.frozen(eq=False, kw_only=True)
class Identity:
    """A certificate chain with the means to sign for it. Make one with a ``from_...`` method or :meth:`with_signer`.

    Two identities are never equal, and none shows its key. An expired certificate is no error here: peers decide that.
    """

    certificates: tuple[Certificate, ...] = attrs.field(repr=False)
    """The leaf first, as they are sent."""
    names: tuple[str, ...]
    """DNS names in lower case, and IP addresses, of the leaf's subjectAltName."""
    schemes: tuple[SignatureScheme, ...]
    """What it can sign a handshake with."""
    external: bool
    """Whether signing is done by a signer rather than by a key in this process."""
    chain_der: tuple[bytes, ...] = attrs.field(repr=False)
    """The certificates as they go over the wire."""
    issuers: tuple[bytes, ...] = attrs.field(repr=False)
    """DER encoded issuer names of the whole chain, to compare with certificate_authorities (RFC 9846 section 4.3.4)."""
    private_key: CertificateIssuerPrivateKeyTypes | None = attrs.field(repr=False)
    """For providers that sign by themselves; None when it is elsewhere. Whoever has it is this identity."""
    _signer: Signer = attrs.field(repr=False)
    _patterns: frozenset[str] = attrs.field(repr=False)

    @classmethod
    def from_files(
        cls,
        chain: str | PathLike[str],
        key: str | PathLike[str] | None = None,
        password: bytes | str | None = None,
    ) -> Self:
        """From PEM files: the chain, leaf first, and its private key (in the same file when ``key`` is left out).

        Raises :exc:`ConfigError`, naming the file, for everything that would not work later.
        """
        chain_data = read_file(chain)
        key_path = chain if key is None else key
        key_data = chain_data if key is None else read_file(key_path)
        return cls._from_pem(chain_data, Path(chain).name, key_data, Path(key_path).name, password)

    @classmethod
    def from_pem(cls, data: bytes | str, password: bytes | str | None = None) -> Self:
        """From one PEM text with the chain, leaf first, and its private key. Raises :exc:`ConfigError`."""
        content = data.encode() if isinstance(data, str) else data
        return cls._from_pem(content, "the identity's PEM", content, "the identity's PEM", password)

    @classmethod
    def from_crypto(cls, certificates: Iterable[Certificate], private_key: CertificateIssuerPrivateKeyTypes) -> Self:
        """From ``cryptography`` objects: certificates, leaf first, and the private key. Raises :exc:`ConfigError`."""
        return cls._with_key(tuple(certificates), private_key, "identity")

    @classmethod
    def with_signer(
        cls,
        certificates: Iterable[Certificate] | bytes,
        signer: Signer,
        schemes: Iterable[SignatureScheme | str] | None = None,
    ) -> Self:
        """For a key that lives elsewhere: a hardware module, a cloud service, an agent.

        :param certificates: ``cryptography`` objects or PEM, leaf first.
        :param signer: called with a scheme and the whole message (not a digest of it). It returns the signature, or an
            awaitable for it, or :data:`~tlsprovider.questions.LATER`.
        :param schemes: what the signer can do, when that is less than what the certificate's key could.
        """
        chain = (
            certs.load_pem_chain(certificates, "identity") if isinstance(certificates, bytes) else tuple(certificates)
        )
        if not callable(signer):
            raise ConfigError(f"signer: expected something to call with (scheme, message), got {signer!r}")
        possible = _usable_schemes(chain, "identity")
        if schemes is not None:
            possible = _chosen_schemes(schemes, possible)
        return cls._make(chain, possible, signer, private_key=None)

    @classmethod
    def _from_pem(cls, chain: bytes, chain_name: str, key: bytes, key_name: str, password: bytes | str | None) -> Self:
        secret = password.encode() if isinstance(password, str) else password
        found = certs.load_pem_chain(chain, chain_name)
        return cls._with_key(found, certs.load_private_key(key, secret, key_name), chain_name)

    @classmethod
    def _with_key(
        cls, chain: tuple[Certificate, ...], private_key: CertificateIssuerPrivateKeyTypes, where: str
    ) -> Self:
        possible = _usable_schemes(chain, where, private_key)

        def sign(scheme: SignatureScheme, message: bytes) -> bytes:
            return signatures.sign(private_key, scheme, message)

        return cls._make(chain, possible, sign, private_key=private_key)

    @classmethod
    def _make(
        cls,
        chain: tuple[Certificate, ...],
        schemes: tuple[SignatureScheme, ...],
        signer: Signer,
        private_key: CertificateIssuerPrivateKeyTypes | None,
    ) -> Self:
        names = certs.certificate_names(chain[0])
        return cls(
            certificates=chain,
            names=names,
            schemes=schemes,
            external=private_key is None,
            chain_der=tuple(certs.certificate_der(one) for one in chain),
            issuers=tuple(dict.fromkeys(der.issuer(one) for one in chain)),
            private_key=private_key,
            signer=signer,
            patterns=frozenset(names),
        )

    def matches(self, server_name: str) -> bool:
        """Whether the leaf is for that name: as it is, or with a wildcard for its whole first label."""
        return certs.fits_wildcard(server_name.lower().removesuffix("."), self._patterns)

    def sign(self, scheme: SignatureScheme, message: bytes) -> bytes | Awaitable[bytes] | Later:
        """Sign all of ``message``: bytes when the key is here, otherwise whatever the signer returns."""
        return self._signer(scheme, message)


def _usable_schemes(
    chain: tuple[Certificate, ...], where: str, private_key: CertificateIssuerPrivateKeyTypes | None = None
) -> tuple[SignatureScheme, ...]:
    """What the leaf's key can sign with; :exc:`ConfigError` when the chain, or the key for it, is of no use."""
    if not chain:
        raise ConfigError(f"{where}: no certificate was given; the leaf comes first, then the intermediates")
    if private_key is not None and not certs.key_matches(chain[0], private_key):
        raise ConfigError(f"{where}: {_mismatch(chain, private_key)}")
    problem = certs.key_problem(chain[0])
    schemes = () if problem else signatures.schemes_for(chain[0])
    if not schemes:
        raise ConfigError(f"{where}: the certificate can't be used: {problem or 'its key fits no signature scheme'}")
    return schemes


def _mismatch(chain: tuple[Certificate, ...], private_key: CertificateIssuerPrivateKeyTypes) -> str:
    for number, certificate in enumerate(chain, 1):
        if certs.key_matches(certificate, private_key):
            return (
                f"the private key belongs to certificate number {number} ({certs.describe(certificate.subject)});"
                " that one must come first, then each certificate's issuer"
            )
    return (
        f"the private key does not belong to the certificate of {certs.describe(chain[0].subject)};"
        " the files are of different pairs"
    )


def _chosen_schemes(
    wanted: Iterable[SignatureScheme | str], possible: tuple[SignatureScheme, ...]
) -> tuple[SignatureScheme, ...]:
    try:
        chosen = tuple(SignatureScheme.parse(scheme) for scheme in ([wanted] if isinstance(wanted, str) else wanted))
    except ValueError as problem:
        raise ConfigError(f"schemes: {problem}") from None
    for scheme in chosen:
        if scheme not in possible:
            names = ", ".join(map(str, possible))
            raise ConfigError(f"schemes: the certificate's key can't do {scheme}; it can do: {names}")
    if not chosen:
        raise ConfigError("schemes: the list is empty; leave it out for all that the key can do")
    return chosen
