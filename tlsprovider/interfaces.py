"""What a TLS implementation has to provide: two small interfaces.

An engine does no input or output. Its user moves bytes between it and a transport and answers its questions; that is
why one engine serves Twisted, trio and plain sockets. The vocabulary is that of PEP 748. A third party that implements
:class:`IEngine` and :class:`ITLSProvider`, and registers the latter under the entry-point group
``tlsprovider.providers``, has its TLS in every adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

if TYPE_CHECKING:
    from tlsprovider.config import ClientConfig, ServerConfig

__all__ = ["IEngine", "ITLSProvider"]

# zope.interface methods have no self.
# ruff: noqa: N805


class IEngine(Interface):
    """One TLS connection, without I/O.

    The order of work is always the same: feed what arrived, call, send what is outgoing. Outgoing bytes can appear
    after every call, also after one that raised: an error leaves an alert to be sent.
    """

    is_server: bool = Attribute("True on the server's side.")
    handshake_complete: bool = Attribute("True from the first do_handshake() that returned.")
    state: str = Attribute("The step that the engine is in, as ``read_server_hello``; ``connected`` afterwards.")
    failure: BaseException | None = Attribute("The TLSError that ended this connection, or None. It is sticky.")
    question: object | None = Attribute("The open Question, or None.")
    wants_input: bool = Attribute(
        "False while so much is buffered that the transport should be paused, and when nothing more can be used: after"
        " close_notify and after a failure. A transport has to be watched for its end all the same."
    )
    pending: int = Attribute("Decrypted bytes that read() would give at once.")
    close_sent: bool = Attribute("True once close_notify was queued.")
    close_received: bool = Attribute("True once close_notify was received.")

    peer_address: tuple[str, int] | None = Attribute(
        "``(host, port)`` of the peer, for the question ClientHelloReceived; set by adapters that know it, else None."
    )

    # Known once the handshake is complete; None or empty before.
    version: str | None = Attribute("``TLSv1.3``.")
    cipher: str | None = Attribute("The cipher suite by its IANA name.")
    group: str | None = Attribute("The key exchange group by its IANA name.")
    signature_scheme: str | None = Attribute("How the peer's certificate signed, or None if it showed none.")
    alpn: str | None = Attribute("The negotiated application protocol.")
    server_name: str | None = Attribute("Server: the name the client asked for. Client: the name asked for.")
    peer_certificates: tuple[object, ...] = Attribute("The peer's chain as sent, leaf first (cryptography objects).")
    verified_chain: tuple[object, ...] = Attribute("The chain as verified, leaf to root; empty when not verified.")
    local_certificates: tuple[object, ...] = Attribute("The chain that this side has shown; empty if none.")
    session_reused: bool = Attribute("Whether this was a resumption.")
    early_data: str = Attribute("``not_sent``, ``accepted`` or ``rejected``.")

    def do_handshake() -> None:
        """Go on with the handshake; return when it is complete (again and again, doing nothing more).

        Raises WantRead (feed bytes, call again), WantAnswer (answer the question, call again), ClosedByPeer, TLSError.
        """

    def process_incoming(data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer. The object is not kept. Never raises for what the bytes say: the next call does."""

    def process_eof() -> None:
        """Say that the peer's bytes have ended."""

    def process_outgoing() -> bytes:
        """Everything that should go to the peer now; ``b""`` when there is nothing."""

    def read(max_bytes: int | None = None) -> bytes:
        """Plaintext, at most ``max_bytes`` (None: all there is); ``b""`` after the peer's close_notify.

        Raises WantRead when there is none, TruncatedError after a bare EOF, TLSError. Truncation concerns reading
        alone: it is not the engine's ``failure``, and writing may go on.
        """

    def read_into(buffer: bytearray | memoryview) -> int:
        """As :meth:`read`, into a buffer; the count of bytes, 0 after the peer's close_notify."""

    def write(data: bytes | bytearray | memoryview) -> int:
        """Seal all of ``data`` into the outgoing bytes; the count of bytes taken, which is all.

        An answer that is owed to the peer's KeyUpdate goes before it. Empty data makes no record of its own, so writing
        nothing sends just that answer.
        """

    def shutdown() -> None:
        """Queue close_notify once. Reading may go on: TLS 1.3 can close one direction (RFC 9846 section 6.1).

        Before the handshake is complete it gives the handshake up, and tells a peer that has heard of us.
        """

    def key_update(request_peer: bool = False) -> None:
        """Change this side's sending keys, and ask the peer to change its own (RFC 9846 section 4.7.3).

        Send data between updates: a peer may take dozens of them in a row for an attack.
        """

    def export_keying_material(label: str, context: bytes, length: int) -> bytes:
        """RFC 9846 section 7.5. Raises MisuseError before the handshake is complete."""

    def channel_binding(kind: str) -> bytes:
        """``tls-exporter`` (RFC 9266). Raises ValueError for a kind that TLS 1.3 does not have."""

    def trailing_bytes() -> bytes:
        """Bytes that followed the peer's close_notify and are not TLS; given once."""


class ITLSProvider(Interface):
    """A TLS implementation that can be chosen by name."""

    name: str = Attribute("Short and unique, as ``native``; what ``provider=`` takes.")
    description: str = Attribute("One line for people.")

    def supports(feature: str) -> bool:
        """Whether a feature is there: a version (``TLSv1.2``), a group, suite or scheme, or a name from the docs."""

    def client_engine(config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        """An engine for one outgoing connection. Raises ConfigError, UnsupportedByProvider. Makes no network use."""

    def server_engine(config: ServerConfig) -> IEngine:
        """An engine for one incoming connection. Raises ConfigError, UnsupportedByProvider."""
