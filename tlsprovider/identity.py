"""Who one is: a chain of certificates, and the key to prove it with, or somebody who signs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self, cast

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

    Sign = Callable[[SignatureScheme, bytes], "bytes | Awaitable[bytes] | Later"]

__all__ = ["Identity", "Signer"]


class Signer(Protocol):
    """Whoever holds a private key that is not in this process: a hardware module, a key server, an agent.

    Nothing has to inherit from it. What it signs is checked with the certificate's key before it is sent, so a faulty
    signer can't give an RSA key away.
    """

    @property
    def schemes(self) -> Iterable[SignatureScheme | str]:
        """What it can sign with; more than the certificate's key can do does no harm."""

    def sign(self, scheme: SignatureScheme, message: bytes) -> bytes | Awaitable[bytes] | Later:
        """The signature of all of ``message`` (not of a digest of it), as TLS 1.3 wants it (RFC 9846 section 4.3.3).

        An awaitable of the kind that the adapter knows (a coroutine under trio, a Deferred or a coroutine under
        Twisted), or LATER when somebody will answer the question. An exception aborts the handshake.
        """


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
    _sign: Sign = attrs.field(repr=False)
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
        signer: Signer | Sign,
        schemes: Iterable[SignatureScheme | str] | None = None,
    ) -> Self:
        """For a key that lives elsewhere: a hardware module, a cloud service, an agent.

        :param certificates: ``cryptography`` objects or PEM, leaf first.
        :param signer: a :class:`Signer`, or something to call in place of its ``sign``.
        :param schemes: what may be used, when that is less than what the signer and the certificate's key can do.
        """
        chain = (
            certs.load_pem_chain(certificates, "identity") if isinstance(certificates, bytes) else tuple(certificates)
        )
        possible = _usable_schemes(chain, "identity")
        sign = cast("Sign", getattr(signer, "sign", signer))
        if not callable(sign):
            raise ConfigError(f"signer: expected a Signer or something to call with (scheme, message), got {signer!r}")
        if sign is not signer:
            possible = _common_schemes(cast("Signer", signer).schemes, possible)
        if schemes is not None:
            possible = _chosen_schemes(schemes, possible)
        return cls._make(chain, possible, sign, private_key=None)

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
        sign: Sign,
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
            sign=sign,
            patterns=frozenset(names),
        )

    def matches(self, server_name: str) -> bool:
        """Whether the leaf is for that name: as it is, or with a wildcard for its whole first label."""
        return certs.fits_wildcard(server_name.lower().removesuffix("."), self._patterns)

    def sign(self, scheme: SignatureScheme, message: bytes) -> bytes | Awaitable[bytes] | Later:
        """Sign all of ``message``: bytes when the key is here, otherwise whatever the signer returns."""
        return self._sign(scheme, message)


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


def _parse_schemes(schemes: Iterable[SignatureScheme | str]) -> tuple[SignatureScheme, ...]:
    try:
        return tuple(SignatureScheme.parse(scheme) for scheme in ([schemes] if isinstance(schemes, str) else schemes))
    except ValueError as problem:
        raise ConfigError(f"schemes: {problem}") from None


def _common_schemes(
    known: Iterable[SignatureScheme | str], possible: tuple[SignatureScheme, ...]
) -> tuple[SignatureScheme, ...]:
    """What both the signer and the certificate's key can do."""
    signable = _parse_schemes(known)
    common = tuple(scheme for scheme in possible if scheme in signable)
    if not common:
        raise ConfigError(
            f"signer: it signs with {', '.join(map(str, signable)) or 'nothing'}, and the certificate's key with"
            f" {', '.join(map(str, possible))}: is it the key of this certificate?"
        )
    return common


def _chosen_schemes(
    wanted: Iterable[SignatureScheme | str], possible: tuple[SignatureScheme, ...]
) -> tuple[SignatureScheme, ...]:
    chosen = _parse_schemes(wanted)
    for scheme in chosen:
        if scheme not in possible:
            names = ", ".join(map(str, possible))
            raise ConfigError(f"schemes: the certificate's key can't do {scheme}; it can do: {names}")
    if not chosen:
        raise ConfigError("schemes: the list is empty; leave it out for all that the key can do")
    return chosen
