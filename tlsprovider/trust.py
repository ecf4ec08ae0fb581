"""Whom to believe: a :class:`TrustStore` is made once and shared by every connection."""

from __future__ import annotations

import base64
import binascii
import datetime
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto import der
from tlsprovider.crypto.chains import ChainVerifier
from tlsprovider.crypto.explain import dates_fault
from tlsprovider.errors import CertificateFault, ConfigError, Fault
from tlsprovider.system_trust import read_system_certificates

if TYPE_CHECKING:
    from os import PathLike

    from cryptography.x509 import Certificate

__all__ = ["TrustStore"]

log = logging.getLogger(__name__)


class TrustStore:
    """The certificates, or keys, that a peer's certificate is measured against.

    Make one with :meth:`system`, :meth:`from_file`, :meth:`from_directory`, :meth:`from_pem`, :meth:`from_crypto` or
    :meth:`pinned`. It doesn't change afterwards: to trust something else, make another one and a new config with it.
    """

    def __init__(
        self,
        description: str,
        load: Callable[[], tuple[Certificate, ...]],
        pins: frozenset[bytes] = frozenset(),
    ) -> None:
        """Use one of the class methods. ``load`` is called once, when the first chain is verified."""
        self._description = description
        self._load = load
        self._pins = pins

    def __repr__(self) -> str:
        return f"<TrustStore {self._description}>"

    # -- makers -------------------------------------------------------------------------------------------------------

    @classmethod
    def system(cls) -> TrustStore:
        """What the operating system trusts; one object per process, read when it is first needed.

        :mod:`tlsprovider.system_trust` says where it looks. Raises nothing; a first verification raises
        :exc:`ConfigError` when nothing is found.
        """
        return _system()

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Self:
        """The certificates of a PEM file, read at once.

        They may be authorities, or a server's own certificate that is to be believed as it is. Raises
        :exc:`ConfigError`, naming the file, when it can't be read or holds no certificate.
        """
        return cls._from_pem(read_file(path), str(path), f"from {path}")

    @classmethod
    def from_directory(cls, path: str | PathLike[str]) -> Self:
        """The certificates of all files of a directory whose names end in ``.pem``, read at once.

        A file that can't be used is reported in the log and left out. Raises :exc:`ConfigError`, naming the directory,
        when it can't be read or nothing is left.
        """
        found: dict[Certificate, None] = {}
        try:
            files = sorted(file for file in Path(path).iterdir() if file.suffix.lower() == ".pem")
        except OSError as problem:
            raise ConfigError(f"{path}: can't be read: {problem.strerror}") from None
        for file in files:
            try:
                found |= dict.fromkeys(cls.from_file(file).certificates)
            except ConfigError as problem:
                log.warning("%s; it is left out", problem)
        if not found:
            raise ConfigError(f"{path}: no certificate in its .pem files, so no peer could be believed")
        return cls(f"from {path}: {_count(found)}", lambda: tuple(found))

    @classmethod
    def from_pem(cls, data: bytes | str) -> Self:
        """As :meth:`from_file`, from the content of such a file."""
        return cls._from_pem(data.encode() if isinstance(data, str) else data, "the trust store's PEM", "from PEM")

    @classmethod
    def from_crypto(cls, certificates: Iterable[Certificate]) -> Self:
        """From ``cryptography.x509.Certificate`` objects. Raises :exc:`ConfigError` when there are none."""
        found = tuple(certificates)
        if not found:
            raise ConfigError("trust: the list of certificates is empty, so no peer could be believed")
        return cls(_count(found), lambda: found)

    @classmethod
    def pinned(cls, spki_sha256: bytes | str | Iterable[bytes | str]) -> Self:
        """Believe in certain keys, whoever issued a certificate for them and whatever name is in it.

        :param spki_sha256: one or several SHA-256 digests of the SubjectPublicKeyInfo: 32 bytes, 64 hexadecimal digits
            (colons are allowed), or base64 with or without ``sha256/`` in front (RFC 7469 section 2.4). To make one:
            ``openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | openssl sha256``

        Dates are still checked. Raises :exc:`ConfigError` for what is not a digest.
        """
        values = [spki_sha256] if isinstance(spki_sha256, bytes | str) else list(spki_sha256)
        pins = frozenset(_parse_pin(value) for value in values)
        if not pins:
            raise ConfigError("pinned: the list of keys is empty, so no peer could be believed")
        return cls(f"pinned to {', '.join(sorted(map(_pin_text, pins)))}", tuple, pins)

    @classmethod
    def _from_pem(cls, data: bytes, where: str, description: str) -> Self:
        found, problems = certs.load_pem_bundle(data, where)
        for problem in problems:
            log.warning("%s: %s; it is left out", where, problem)
        return cls(f"{description}: {_count(found)}", lambda: found)

    # -- what it is asked ---------------------------------------------------------------------------------------------

    @property
    def needs_name(self) -> bool:
        """Whether a server's name must be known to verify it."""
        return not self._pins

    @cached_property
    def certificates(self) -> tuple[Certificate, ...]:
        """The certificates that are believed; none where keys are. For providers that verify by themselves."""
        return self._load()

    @cached_property
    def subjects(self) -> tuple[bytes, ...]:
        """DER encoded names of the trusted authorities, for certificate_authorities (RFC 9846 section 4.3.4)."""
        return tuple(dict.fromkeys(der.subject(root) for root in self._load())) if not self._pins else ()

    def verify_server(
        self, certificates: Sequence[Certificate], server_name: str | None, now: float
    ) -> tuple[Certificate, ...]:
        """Believe a server or not. ``certificates``: what it sent, leaf first; ``now``: seconds since the epoch.

        The answer is the verified chain, leaf to root (the leaf alone, where that is what is trusted). Raises
        :exc:`CertificateFault` with an explanation, :exc:`ConfigError` for a name that is none or missing.
        """
        if self._pins:
            return self._verify_pinned(certificates, now)
        if server_name is None:
            raise ConfigError(
                "server_hostname: the name of the server must be known to verify its certificate;"
                " give it, or use TrustStore.pinned(...) which needs none"
            )
        return self._verifier.verify_server(certificates, certs.parse_server_name(server_name), now)

    def verify_client(self, certificates: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
        """Believe a client or not; as :meth:`verify_server`, but no name is expected and the purpose is clientAuth."""
        if self._pins:
            return self._verify_pinned(certificates, now)
        return self._verifier.verify_client(certificates, now)

    @cached_property
    def _verifier(self) -> ChainVerifier:
        return ChainVerifier(self._load())

    def _verify_pinned(self, certificates: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
        leaf = certificates[0]
        key = certs.spki_sha256(leaf)
        if key not in self._pins:
            expected = ", ".join(sorted(map(_pin_text, self._pins)))
            raise CertificateFault(
                f"the peer's key {_pin_text(key)} is not pinned; expected {expected}", Fault.CERTIFICATE_UNKNOWN_ISSUER
            )
        fault = dates_fault(leaf, datetime.datetime.fromtimestamp(now, datetime.UTC))
        if fault:
            raise fault
        return (leaf,)


def read_file(path: str | PathLike[str]) -> bytes:
    """The content of a file; :exc:`ConfigError` naming it when it can't be read."""
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise ConfigError(f"{path}: can't be read: {problem.strerror}") from None


@lru_cache(maxsize=1)
def _system() -> TrustStore:
    return TrustStore("of the operating system", _load_system)


def _load_system() -> tuple[Certificate, ...]:
    data, where = read_system_certificates()
    found, problems = certs.load_pem_bundle(data, where)
    for problem in problems:
        log.debug("%s: %s; it is left out", where, problem)
    log.debug("%s: %s", where, _count(found))
    return found


def _count(found: Collection[object]) -> str:
    return "1 certificate" if len(found) == 1 else f"{len(found)} certificates"


def _pin_text(pin: bytes) -> str:
    return "sha256/" + base64.b64encode(pin).decode("ascii")


def _parse_pin(value: object) -> bytes:
    if isinstance(value, bytes) and len(value) == 32:
        return value
    pin = b""
    if isinstance(value, str):
        text = value.strip().removeprefix("sha256/")
        digits = text.replace(":", "")
        try:
            pin = bytes.fromhex(digits) if len(digits) == 64 else base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            pin = b""
    if len(pin) != 32:
        raise ConfigError(
            f"pinned: {value!r} is not a SHA-256 digest of a key: expected 32 bytes, 64 hexadecimal digits,"
            " or base64 as 'sha256/...'"
        )
    return pin
