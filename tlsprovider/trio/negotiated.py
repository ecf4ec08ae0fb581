"""What a handshake has agreed on, as typed properties of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import trio

from tlsprovider.interfaces import IEngine

if TYPE_CHECKING:
    from ssl import SSLObject

    from cryptography.x509 import Certificate

__all__ = ["Negotiated"]


class Negotiated:
    """Everything here raises :exc:`trio.NeedHandshakeError` while :attr:`handshake_complete` is False.

    The values stay after the stream was closed.
    """

    _engine: IEngine
    _handshake_done: bool

    def _negotiated(self) -> IEngine:
        if not self._handshake_done:
            raise trio.NeedHandshakeError("nothing is negotiated yet: await do_handshake() first")
        return self._engine

    @property
    def handshake_complete(self) -> bool:
        """Whether the properties below have values; without that they raise :exc:`trio.NeedHandshakeError`."""
        return self._handshake_done

    @property
    def engine(self) -> IEngine:
        """The engine, for what not all providers have: sessions, and early data. It is the stream that drives it."""
        return self._engine

    @property
    def version(self) -> str:
        """``TLSv1.3``."""
        return cast(str, self._negotiated().version)

    @property
    def cipher(self) -> str:
        """The cipher suite by its IANA name."""
        return cast(str, self._negotiated().cipher)

    @property
    def group(self) -> str | None:
        """The key exchange group by its IANA name; None if a resumption needed none."""
        return self._negotiated().group

    @property
    def signature_scheme(self) -> str | None:
        """How the peer's certificate signed the handshake; None if the peer showed none."""
        return self._negotiated().signature_scheme

    @property
    def alpn(self) -> str | None:
        """The application protocol, None if there was no negotiation (RFC 7301)."""
        return self._negotiated().alpn

    @property
    def server_name(self) -> str | None:
        """Server: the name that the client asked for. Client: the name that it asked for."""
        return self._negotiated().server_name

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        """The peer's chain as it sent it, leaf first."""
        return cast("tuple[Certificate, ...]", self._negotiated().peer_certificates)

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        """The chain as it was verified, leaf to root; empty when nothing was verified."""
        return cast("tuple[Certificate, ...]", self._negotiated().verified_chain)

    @property
    def local_certificates(self) -> tuple[Certificate, ...]:
        """The chain that this side has shown; empty if none."""
        return cast("tuple[Certificate, ...]", self._negotiated().local_certificates)

    @property
    def session_reused(self) -> bool:
        """Whether an earlier session was resumed."""
        return self._negotiated().session_reused

    @property
    def early_data(self) -> str:
        """``not_sent``, ``accepted`` or ``rejected``."""
        return self._negotiated().early_data

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        """Secret bytes that both sides can derive and nobody else (RFC 9846 section 7.5)."""
        return self._negotiated().export_keying_material(label, context, length)

    def channel_binding(self, kind: str = "tls-exporter") -> bytes:
        """What names this connection to a protocol above (RFC 9266). Raises ValueError for an unknown kind."""
        return self._negotiated().channel_binding(kind)

    # -- under the names of trio.SSLStream and the ssl module, for code that was written for those ------------------

    def selected_alpn_protocol(self) -> str | None:
        """As :attr:`alpn`."""
        return self._negotiated().alpn

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """The peer's certificate as :meth:`ssl.SSLSocket.getpeercert` describes it, or its DER encoding."""
        self._negotiated()
        return self._ssl_object.getpeercert(binary_form)

    @property
    def _ssl_object(self) -> SSLObject:
        """An object to look at in the shape of the ssl module's; httpcore and others ask it for ALPN."""
        # Most streams are never asked, so they do not pay for the import.
        from tlsprovider.sslcontext.view import ssl_object_of

        engine = self._engine
        return ssl_object_of(engine, server_hostname=None if engine.is_server else engine.server_name)
