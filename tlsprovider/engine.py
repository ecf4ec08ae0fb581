"""The native engine: one TLS 1.3 connection, with a handshake of our own. How it is driven: ``tlsprovider.driver``."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING

from zope.interface import implementer

from tlsprovider.driver import CLOSED_WITHOUT_NOTICE, INCOMPLETE, MAX_UNREAD, MAX_WAITING, Driver, check_export
from tlsprovider.errors import AlertReceived, ClosedByPeer, MisuseError, TLSError, TruncatedError, WantRead
from tlsprovider.handshake.after import Connected
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.results import ApplicationSecrets, Established
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.handshake.steps import tell_alert
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.record import RecordReader, RecordWriter

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.session import Session

__all__ = ["NativeEngine"]

Result = tuple[Established, ApplicationSecrets]


class InternalError(TLSError):
    """A mistake in tlsprovider itself. Please report it with the traceback of ``__cause__``."""

    alert = AlertDescription.internal_error


@implementer(IEngine)
class NativeEngine(Driver[ClientHandshake | ServerHandshake, Result]):
    """One TLS 1.3 connection, on :class:`~tlsprovider.interfaces.IEngine`'s terms."""

    Bug = InternalError
    finished: bytes | None = None
    peer_finished: bytes | None = None
    _connected: Connected | None = None
    _closed_early = False

    def __init__(
        self, handshake: ClientHandshake | ServerHandshake, reader: RecordReader, writer: RecordWriter
    ) -> None:
        self.is_server = handshake.is_server
        self._reader = reader
        self._writer = writer
        self._handshake = handshake
        self._early = bytearray()
        self._config = handshake.config

    def __repr__(self) -> str:
        return f"<NativeEngine {'server' if self.is_server else 'client'} {self.state}>"

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def handshake_complete(self) -> bool:
        return self._connected is not None

    @property
    def wants_input(self) -> bool:
        if self._failure is not None:
            return False
        if self._connected is None:
            return self.question is None or self._reader.buffered < MAX_WAITING
        return self._connected.pending < MAX_UNREAD and not self._connected.close_received

    @property
    def pending(self) -> int:
        return self._connected.pending + len(self._early) if self._connected is not None else 0

    @property
    def close_sent(self) -> bool:
        return self._connected.close_sent if self._connected is not None else self._closed_early

    @property
    def close_received(self) -> bool:
        if self._connected is not None:
            return self._connected.close_received
        return isinstance(self._failure, ClosedByPeer)

    @property
    def _established(self) -> Established | None:
        return self._connected.established if self._connected is not None else None

    @property
    def version(self) -> str | None:
        return "TLSv1.3" if self._connected is not None else None

    @property
    def cipher(self) -> str | None:
        return self._established.suite.number.name if self._established is not None else None

    @property
    def group(self) -> str | None:
        group = self._established.group if self._established is not None else None
        return group.name if group is not None else None

    @property
    def signature_scheme(self) -> str | None:
        scheme = self._established.peer.scheme if self._established is not None else None
        return scheme.name if scheme is not None else None

    @property
    def alpn(self) -> str | None:
        return self._established.alpn if self._established is not None else None

    @property
    def server_name(self) -> str | None:
        if self._established is not None:
            return self._established.server_name
        return self._handshake.server_name if self._handshake is not None else None

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        return self._established.peer.certificates if self._established is not None else ()

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        return self._established.peer.verified_chain if self._established is not None else ()

    @property
    def local_certificates(self) -> tuple[Certificate, ...]:
        return self._established.local_certificates if self._established is not None else ()

    @property
    def session_reused(self) -> bool:
        return self._established is not None and self._established.session is not None

    @property
    def session(self) -> Session | None:
        """Client: the session that came last, else the one that was resumed. Server: the one that was resumed."""
        return self._connected.session if self._connected is not None else None

    @property
    def early_data(self) -> str:
        if self._established is not None:
            return self._established.early_data
        return self._handshake.early_data if self._handshake is not None else "not_sent"

    @property
    def early_pending(self) -> int:
        """Server: so many of the next bytes to read came as early data. Before the handshake is complete, see below."""
        return len(self._handshake.early if isinstance(self._handshake, ServerHandshake) else self._early)

    def read_early(self, max_bytes: int | None = None) -> bytes:
        """Server: what came as early data, also before the handshake is complete; ``b""`` when there is none now.

        Before that it may be a replay: somebody may have recorded it and sent it here, or to another server, again.
        :meth:`read` gives what is left of it, never mixed with what came later, when the client has proven to be there.
        """
        if isinstance(self._handshake, ServerHandshake):
            return self._handshake.take_early(max_bytes)
        data = bytes(self._early[:max_bytes])
        del self._early[: len(data)]
        return data

    # -- sessions of a client, before the handshake begins -----------------------------------------------------------

    def set_session(self, session: Session) -> None:
        """Offer this session, rather than one of the configuration's store. If it doesn't fit, it is left alone."""
        self._before_client_hello("set_session()").session = session

    def set_port(self, port: int) -> None:
        """Sessions are kept apart by the port of the server, where it is known."""
        self._before_client_hello("set_port()").port = port

    def write_early(self, data: bytes) -> None:
        """Send this with the hello, if the configuration and the session allow so much; all of it, or nothing.

        When the handshake is complete :attr:`early_data` says what came of it. ``accepted``: the server has it.
        ``rejected`` or ``not_sent``: it has not, and writing it now is for the application to decide. Whatever is sent
        early can be replayed by others, so it has to be harmless when it arrives twice (RFC 9846 section 8).
        """
        handshake = self._before_client_hello("write_early()")
        if not handshake.config.early_data:
            raise MisuseError("write_early(): early data is off; it takes ClientConfig(early_data=True)")
        handshake.early += data

    def _before_client_hello(self, what: str) -> ClientHandshake:
        if not isinstance(self._handshake, ClientHandshake) or self._coroutine is not None:
            raise MisuseError(f"{what} is for clients whose handshake has not begun")
        return self._handshake

    # -- the handshake ---------------------------------------------------------------------------------------------

    def _begin(self, handshake: ClientHandshake | ServerHandshake) -> Coroutine[object, None, Result]:
        return handshake.run()

    def _finish(self, handshake: ClientHandshake | ServerHandshake, result: Result) -> None:
        established, secrets = result
        self.finished, self.peer_finished = handshake.finished, handshake.peer_finished
        if isinstance(handshake, ServerHandshake):
            self._early = handshake.early
        self._connected = Connected(established, secrets, self._reader, self._writer, self._config, self.is_server)
        if self._config.on_event is not None:
            self._guard(self._tell, "handshake_done", self._side)
        if self._reader.buffered or self._reader.handshake.waiting:
            # What the peer sent right behind its Finished.
            self._guard(self._connected.process, b"")

    def _say_why(self, handshake: ClientHandshake | ServerHandshake | None, error: TLSError) -> None:
        if error.alert is not None and not isinstance(error, AlertReceived) and not self.close_sent:
            if handshake is not None:
                handshake.prepare_alert()
            self._writer.write_alert(error.alert)
            self._report(tell_alert, self._config, error.alert)

    def _release_secrets(self, handshake: ClientHandshake | ServerHandshake | None) -> None:
        self._reader.forget()
        self._writer.forget()
        if self._connected is not None:
            self._connected.forget()

    # -- bytes -----------------------------------------------------------------------------------------------------

    def process_incoming(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`IEngine.process_incoming`."""
        if self._failure is not None:
            return
        connected = self._connected
        if connected is None:
            self._reader.feed(data)
            return
        content = self._reader.read_one(data) if not connected.close_received else None
        if content is not None and not connected.pending:
            # One record, and nothing waits: by far the most frequent case of small messages, so without another call.
            connected.chunks.append(content)
            connected.pending = len(content)
            connected.messages_without_data = 0
        elif content is not None:
            connected.keep([content])
        else:
            # Not by _guard(): this is what each piece of a record takes that comes in many.
            try:
                connected.process(data)
            except TLSError as failure:
                self._fail(failure)

    def process_outgoing(self) -> bytes:
        """See :meth:`IEngine.process_outgoing`."""
        return self._writer.drain()

    def read(self, max_bytes: int | None = None) -> bytes:
        """See :meth:`IEngine.read`."""
        connected = self._connected
        if connected is not None:
            chunks = connected.chunks
            if max_bytes is None and len(chunks) == 1 and not (connected.taken or self._early):
                # What process_incoming() has left in the most frequent case.
                connected.pending = 0
                return chunks.pop()
            if connected.pending or self._early:
                if max_bytes is not None and max_bytes < 1:
                    raise MisuseError(f"read() takes at least one byte, not {max_bytes}")
                return self.read_early(max_bytes) if self._early else connected.take(max_bytes)
            self._raise_failure()
            if connected.close_received:
                return b""
            if self._peer_ended:
                raise TruncatedError(CLOSED_WITHOUT_NOTICE)
            raise WantRead
        self._raise_failure()
        raise MisuseError(INCOMPLETE)

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """See :meth:`IEngine.write`."""
        connected = self._connected
        if self._failure is not None or connected is None:
            self._raise_failure()
            raise MisuseError(INCOMPLETE)
        if type(data) is memoryview and (data.itemsize != 1 or data.ndim != 1):
            data = data.cast("B")
        return connected.write(data)

    def shutdown(self) -> None:
        """See :meth:`IEngine.shutdown`. In the middle of a handshake it is given up: user_canceled, close_notify."""
        if self._connected is not None:
            if self._failure is None:
                self._connected.shutdown()
            return
        if self._closed_early or self._failure is not None:
            return
        if self._busy:
            raise MisuseError("shutdown() was called from inside a hook of the handshake: let the hook fail instead")
        handshake = self._handshake
        assert handshake is not None
        self._closed_early = True
        alerts: tuple[AlertDescription, ...] = ()
        if self._coroutine is not None and (not self.is_server or handshake.client_random):
            # Section 6.1: user_canceled is followed by close_notify. A peer that has seen nothing of us gets nothing.
            alerts = (AlertDescription.user_canceled, AlertDescription.close_notify)
            handshake.prepare_alert()
        for alert in alerts:
            self._writer.write_alert(alert)
        self._fail(MisuseError("the handshake was given up: shutdown() was called before it was complete"))
        for alert in alerts:
            tell_alert(self._config, alert)

    def key_update(self, request_peer: bool = False) -> None:
        """See :meth:`IEngine.key_update`."""
        self._raise_failure()
        if self._connected is None:
            raise MisuseError(INCOMPLETE)
        self._connected.key_update(request_peer)

    def trailing_bytes(self) -> bytes:
        """See :meth:`IEngine.trailing_bytes`."""
        if self._connected is None or not self._connected.close_received:
            return b""
        return self._reader.take_rest()

    # -- exporters -------------------------------------------------------------------------------------------------

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        """RFC 9846 section 7.5: ``length`` bytes, the same on both sides for the same label and context."""
        self._raise_failure()
        if self._connected is None:
            raise MisuseError("the handshake is not complete: there is nothing to export yet")
        suite = self._connected.established.suite
        name = check_export(label, length, 255 * suite.hash_length)
        return self._connected.export(name, context, length)
