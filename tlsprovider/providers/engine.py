"""An :class:`~tlsprovider.interfaces.IEngine` around a TLS library. How it is driven: ``tlsprovider.driver``.

All records that are complete are decrypted when they arrive, one at a
time, so that ``pending`` tells the truth, and what follows close_notify never enters the library.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from tlsprovider.driver import CLOSED_WITHOUT_NOTICE, INCOMPLETE, MAX_UNREAD, MAX_WAITING, Driver, check_export
from tlsprovider.errors import AlertReceived, ClosedByPeer, MisuseError, PeerFault, TLSError, TruncatedError, WantRead
from tlsprovider.events import EventKind
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.providers.features import refusal
from tlsprovider.providers.gate import Gate, Passed, insist_on_record, next_record
from tlsprovider.providers.library import LibraryError, LibrarySilent

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["LibraryEngine"]

SMALL_CHUNK: Final = 1024

CLOSE_NOTIFY: Final = bytes((1, AlertDescription.close_notify))


@implementer(IEngine)
class LibraryEngine(Driver[Gate, Passed]):
    """One connection. ``provider`` is the name that errors mention, ``supports`` what that provider can do."""

    Bug = LibraryError
    early_data = "not_sent"

    def __init__(self, gate: Gate, provider: str, supports: Callable[[str], bool]) -> None:
        self.is_server = gate.is_server
        self.close_sent = False
        self._provider = provider
        self._supports = supports
        self._config = gate.config
        self._handshake = gate
        self._passed: Passed | None = None
        self._closed = False
        self._received = gate.received
        self._out = gate.released
        self._owed = b""
        self._chunks: deque[bytes] = deque()
        self._pending = 0

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._provider} {'server' if self.is_server else 'client'} {self.state}>"

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def handshake_complete(self) -> bool:
        return self._passed is not None

    @property
    def wants_input(self) -> bool:
        if self._failure is not None:
            return False
        if self._passed is None:
            return self.question is None or len(self._received) < MAX_WAITING
        return self._pending < MAX_UNREAD and not self._closed

    @property
    def pending(self) -> int:
        return self._pending

    @property
    def close_received(self) -> bool:
        return self._closed or isinstance(self._failure, ClosedByPeer)

    @property
    def version(self) -> str | None:
        return self._passed.library.version if self._passed is not None else None

    @property
    def cipher(self) -> str | None:
        return self._passed.library.cipher if self._passed is not None else None

    @property
    def group(self) -> str | None:
        return self._passed.library.group if self._passed is not None else None

    @property
    def signature_scheme(self) -> str | None:
        return self._passed.signature_scheme if self._passed is not None else None

    @property
    def alpn(self) -> str | None:
        return self._passed.library.alpn if self._passed is not None else None

    @property
    def server_name(self) -> str | None:
        if self._passed is not None:
            return self._passed.server_name
        return self._handshake.server_name if self._handshake is not None else None

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        return self._passed.peer_certificates if self._passed is not None else ()

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        return self._passed.verified_chain if self._passed is not None else ()

    @property
    def local_certificates(self) -> tuple[Certificate, ...]:
        return self._passed.local_certificates if self._passed is not None else ()

    @property
    def session_reused(self) -> bool:
        return self._passed.library.session_reused if self._passed is not None else False

    @property
    def finished(self) -> bytes | None:
        """The content of the Finished that this side has sent, where the library tells; so the peer's."""
        return getattr(self._passed.library, "finished", None) if self._passed is not None else None

    @property
    def peer_finished(self) -> bytes | None:
        return getattr(self._passed.library, "peer_finished", None) if self._passed is not None else None

    # -- the handshake ---------------------------------------------------------------------------------------------

    def _begin(self, handshake: Gate) -> Coroutine[object, None, Passed]:
        return handshake.make()

    def _finish(self, handshake: Gate, result: Passed) -> None:
        self._passed, self._owed = result, handshake.owed
        result.library.release_secrets()
        self._guard(self._tell, "handshake_done", self._side)
        if self._received:
            # What the peer sent right behind its Finished.
            self._guard(self._open_records, self._received)

    def _release_secrets(self, handshake: Gate | None) -> None:
        if handshake is not None and handshake.library is not None:
            handshake.library.release_secrets()

    # -- failure ---------------------------------------------------------------------------------------------------

    def _say_why(self, handshake: Gate | None, error: TLSError) -> None:
        """One alert at most: the library's own, or else one of ours, where one can be had."""
        if isinstance(error, AlertReceived | ClosedByPeer):
            # In front of the library, and after its handshake, that was told when it was read.
            if handshake is not None and handshake.library is not None:
                self._report_alert("alert_received", error.alert or AlertDescription.close_notify)
        elif error.alert is not None:
            said = isinstance(error, PeerFault)
            if handshake is not None and not handshake.alerted:
                alert = handshake.alert(error.alert)
                self._out.append(alert)
                said = bool(alert)
            if said:
                self._report_alert("alert_sent", error.alert)

    def _report_alert(self, kind: EventKind, alert: AlertDescription) -> None:
        self._report(self._tell, kind, alert.name, bytes((2, alert)))

    # -- bytes in --------------------------------------------------------------------------------------------------

    def process_incoming(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`IEngine.process_incoming`."""
        if self._failure is not None:
            return
        if self._handshake is not None:
            self._handshake.take(data)
            return
        received = self._received
        if received or self._closed:
            received += data
            data = received
        if not self._closed:
            self._guard(self._open_records, data)

    def _open_records(self, source: bytes | bytearray | memoryview) -> None:
        """Whole records go to the library straight from where they are; the rest is kept."""
        assert self._passed is not None
        library, received = self._passed.library, self._received
        start = 0
        with memoryview(source) as view:
            try:
                while end := next_record(view, start):
                    with view[start:end] as record:
                        library.feed(record)
                        start = end
                        if self._read_record():
                            break
                        insist_on_record(record)
            finally:
                if source is not received:
                    received += view[start:]
                self._take_outgoing()
        if source is received:
            del received[:start]

    def _read_record(self) -> bool:
        """Take the plaintext of the record that was fed; whether it was the last."""
        assert self._passed is not None
        try:
            data = self._passed.library.read()
        except LibrarySilent:
            return False
        except AlertReceived as problem:
            assert problem.alert is not None
            self._tell("alert_received", problem.alert.name, bytes((2, problem.alert)))
            raise
        if data:
            chunks = self._chunks
            if chunks and len(chunks[-1]) < SMALL_CHUNK > len(data):
                # An object for every byte would cost fifty times what the byte does, while nobody reads.
                chunks[-1] += data
            else:
                chunks.append(data)
            self._pending += len(data)
            return False
        self._closed = True
        self._tell("alert_received", "close_notify", CLOSE_NOTIFY)
        return True

    def read(self, max_bytes: int | None = None) -> bytes:
        """See :meth:`IEngine.read`."""
        if self._passed is None:
            self._raise_failure()
            raise MisuseError(INCOMPLETE)
        if self._chunks:
            if max_bytes is not None and max_bytes < 1:
                raise MisuseError(f"read() takes at least one byte, not {max_bytes}")
            return self._take(max_bytes)
        self._raise_failure()
        if self._closed:
            return b""
        if self._peer_ended:
            raise TruncatedError(CLOSED_WITHOUT_NOTICE)
        raise WantRead

    def _take(self, most: int | None) -> bytes:
        chunks = self._chunks
        if most is None:
            self._pending = 0
            data = chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.clear()
            return data
        first = chunks.popleft()
        if len(first) > most:
            chunks.appendleft(first[most:])
            first = first[:most]
        self._pending -= len(first)
        return first

    def trailing_bytes(self) -> bytes:
        """See :meth:`IEngine.trailing_bytes`."""
        if not self._closed:
            return b""
        rest = bytes(self._received)
        self._received.clear()
        return rest

    # -- bytes out -------------------------------------------------------------------------------------------------

    def process_outgoing(self) -> bytes:
        """See :meth:`IEngine.process_outgoing`."""
        out = self._out
        if not out:
            return b""
        data = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return data

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """See :meth:`IEngine.write`."""
        library = self._connected().library
        if self.close_sent:
            raise MisuseError("the connection is closed for writing: shutdown() was called")
        with memoryview(data) as view, view.cast("B") as content:
            length = len(content)
            if length:
                self._let_out(library.write, content)
        return length

    def shutdown(self) -> None:
        """See :meth:`IEngine.shutdown`. In the middle of a handshake it is given up: user_canceled, close_notify."""
        if self._failure is not None or self.close_sent:
            return
        self.close_sent = True
        if self._passed is not None:
            self._let_out(self._passed.library.close)
            self._tell_or_fail("alert_sent", "close_notify", CLOSE_NOTIFY)
            return
        gate = self._handshake
        assert gate is not None
        if self._coroutine is not None and (not self.is_server or gate.client_random):
            # RFC 9846 section 6.1. A peer that has seen nothing of us gets nothing.
            for alert in (AlertDescription.user_canceled, AlertDescription.close_notify):
                self._out.append(gate.alert(alert))
        self._fail(MisuseError("the handshake was given up: shutdown() was called before it was complete"))

    def _tell_or_fail(self, kind: EventKind, name: str, data: bytes) -> None:
        self._guard(self._tell, kind, name, data)

    def _let_out(self, step: Callable[..., None], *arguments: Any) -> None:
        """Let the library produce records. Its failure is kept as well as raised."""
        self._guard(step, *arguments)
        self._take_outgoing()
        self._raise_failure()

    def _take_outgoing(self) -> None:
        """What the library has to send, and what was owed before it."""
        assert self._passed is not None
        data = self._passed.library.outgoing()
        if data:
            if self._owed:
                self._out.append(self._owed)
                self._owed = b""
            self._out.append(data)

    def _connected(self) -> Passed:
        self._raise_failure()
        if self._passed is None:
            raise MisuseError(INCOMPLETE)
        return self._passed

    # -- extras ----------------------------------------------------------------------------------------------------

    def key_update(self, request_peer: bool = False) -> None:
        """No library here has a call for it. Raises UnsupportedByProvider."""
        self._connected()
        raise refusal("key_update", self._provider)

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        """RFC 9846 section 7.5. Raises UnsupportedByProvider with TLS 1.2, where nobody can tell whether it is safe."""
        library = self._negotiated().library
        self._insist("exporter")
        name = check_export(label, length, 255 * (48 if library.cipher.endswith("SHA384") else 32))
        return library.export(name, bytes(context), length)

    def channel_binding(self, kind: str) -> bytes:
        """``tls-exporter`` of RFC 9266: 32 bytes that are unique to this connection."""
        if kind == "tls-exporter":
            self._negotiated()
            self._insist("tls-exporter")
        return super().channel_binding(kind)

    def _negotiated(self) -> Passed:
        if self._passed is None:
            raise MisuseError("the handshake is not complete: there is nothing to export yet")
        return self._passed

    def _insist(self, feature: str) -> None:
        """RFC 7627 section 5.4: exporters of TLS 1.2 need its extended master secret, of which libraries don't tell."""
        if not self._supports(feature):
            raise refusal(feature, self._provider)
        if self.version != "TLSv1.3":
            raise refusal(feature, self._provider, f"{feature} with TLS 1.2")
