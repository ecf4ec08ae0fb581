"""What a TLS library looks like to us: :class:`Library`, to be implemented once for each binding.

A library that does its own handshake can't pause for a decision, and few of them can be asked to send a particular
alert. :mod:`tlsprovider.providers.gate` stands in front of it and supplies both, so that a binding of a hundred lines
behaves like the native engine: ``OpenSSLConnection`` and ``StdlibConnection`` are two, and the example of a third
party's provider in ``examples/third_party_provider`` is another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from tlsprovider.errors import Fault, PeerFault, TLSError
from tlsprovider.iana import AlertDescription as Alert

if TYPE_CHECKING:
    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.crypto.schedule import TrafficSecret
    from tlsprovider.identity import Identity

    Begin = Callable[["ClientConfig | ServerConfig", "Identity | None", str | None], "Library"]
    """Makes the library's side of one connection, when it is known which configuration and identity it is to have.

    The third is the application protocol that a server has chosen already, for libraries that would choose another.
    """

__all__ = ["Library", "LibraryError", "LibrarySilent", "Relayed", "peer_fault"]


class LibraryError(TLSError):
    """The TLS library failed for a reason of its own, which is no fault of the peer. Its words are in ``str()``."""

    alert = Alert.internal_error


class Relayed(TLSError):
    """What a connection has raised that the application configured by itself, and expects to see as it is.

    :ivar original: the library's exception, or that of a callback.
    """

    def __init__(self, original: Exception) -> None:
        super().__init__(original)
        self.original = original.with_traceback(None)

    def __str__(self) -> str:
        return f"{type(self.original).__name__}: {self.original}"


class LibrarySilent(Exception):
    """What :meth:`Library.read` raises when it needs more records. Cheaper to tell apart than an empty answer."""


# The wrong that an alert stands for, where the library says nothing more.
BY_ALERT: Final = {
    Alert.unexpected_message: Fault.UNEXPECTED_MESSAGE,
    Alert.bad_record_mac: Fault.BAD_RECORD_MAC,
    Alert.record_overflow: Fault.RECORD_OVERFLOW,
    Alert.handshake_failure: Fault.NO_COMMON_SUITE,
    Alert.protocol_version: Fault.NO_COMMON_VERSION,
    Alert.missing_extension: Fault.MISSING_EXTENSION,
    Alert.unsupported_extension: Fault.UNSOLICITED_EXTENSION,
    Alert.certificate_required: Fault.CERTIFICATE_REQUIRED,
    Alert.no_application_protocol: Fault.NO_COMMON_ALPN,
    Alert.decrypt_error: Fault.SIGNATURE_INVALID,
}


def peer_fault(sent: Alert | None, words: str, fault: Fault | None = None) -> PeerFault:
    """What a library has found wrong with the peer: by the alert that it has sent, unless ``fault`` is known better."""
    if fault is None:
        fault = BY_ALERT.get(sent, Fault.DECODE_ERROR) if sent is not None else Fault.DECODE_ERROR
    problem = PeerFault(fault, words)
    if sent is not None:
        # What was really sent, should the library's choice differ from ours.
        problem.alert = sent
    return problem


class Library(Protocol):
    """One connection inside a TLS library, driven through memory: records in, records out.

    It is given whole records one at a time, so that what follows close_notify stays with us. Certificates are
    *not* to be verified by the library, unless :attr:`verifies` says so: it has to insist on possession of the key,
    and the gate judges the chain before anything that depends on it leaves. Methods raise :exc:`TLSError` and nothing
    else: :exc:`~tlsprovider.errors.PeerFault`, :exc:`~tlsprovider.errors.AlertReceived`,
    :exc:`~tlsprovider.errors.ClosedByPeer`, :exc:`LibraryError`. An alert that goes with an error is in
    :meth:`outgoing` by then.
    """

    verifies: bool
    """Whether the library has judged the peer's certificates by itself when the handshake is complete."""

    def feed(self, record: bytes | memoryview) -> None:
        """Take one record (or the beginning of something that is none). The object is not kept."""

    def handshake(self) -> bool:
        """Go on with the handshake; whether it is complete."""

    def outgoing(self) -> bytes:
        """What the library wants to send since the last call."""

    def read(self) -> bytes:
        """All the plaintext of the record fed last; ``b""`` when it was close_notify.

        Raises LibrarySilent when it held no plaintext.
        """

    def write(self, data: memoryview) -> None:
        """Seal all of ``data`` (at least one byte) into the outgoing records."""

    def close(self) -> None:
        """Queue close_notify."""

    def peer_certificates(self) -> Sequence[bytes]:
        """The peer's chain as it was sent, leaf first, as DER; empty while there is none. Also during the handshake."""

    def verified_chain(self) -> Sequence[bytes]:
        """The chain that the library has verified, if :attr:`verifies`, else nothing."""

    def stapled(self) -> tuple[bytes | None, tuple[bytes, ...]]:
        """``(OCSP response, SCTs)`` that came with the peer's certificate, as far as the library shows them."""

    def alert_secret(self) -> TrafficSecret | None:
        """What this side sends under now, if the library gives it out and has not used it yet: for an alert of ours."""

    def release_secrets(self) -> None:
        """The handshake is over, one way or the other: forget what was kept for :meth:`alert_secret`."""

    @property
    def version(self) -> str:
        """``TLSv1.3`` or ``TLSv1.2``, when the handshake is complete; so are the following."""

    @property
    def cipher(self) -> str:
        """The cipher suite by its IANA name."""

    @property
    def group(self) -> str | None:
        """The key exchange group by its IANA name; None where the library doesn't tell."""

    @property
    def alpn(self) -> str | None:
        """The application protocol."""

    @property
    def session_reused(self) -> bool:
        """Whether this was a resumption."""

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        """Exported keying material of TLS 1.3."""
