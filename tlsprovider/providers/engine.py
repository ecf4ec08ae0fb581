"""An :class:`~tlsprovider.interfaces.IEngine` around a TLS library: the same rules for failures as the native engine.

A failure is kept, without its traceback, and raised afresh by every later call; one alert at most goes out with it; and
plaintext that arrived before it is still read. All records that are complete are decrypted when they arrive, one at a
time, so that ``pending`` tells the truth, and what follows close_notify never enters the library.
"""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from zope.interface import implementer

from tlsprovider.errors import AlertReceived, ClosedByPeer, MisuseError, PeerFault, TLSError, TruncatedError, WantRead
from tlsprovider.events import EventKind
from tlsprovider.handshake.steps import WANT_READ, tell
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.providers.features import refusal
from tlsprovider.providers.gate import Gate, Passed, insist_on_record, next_record
from tlsprovider.providers.library import LibraryError, LibrarySilent
from tlsprovider.questions import Question, WantAnswer

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["LibraryEngine"]

MAX_WAITING: Final = 64 * 1024
MAX_UNREAD: Final = 256 * 1024
SMALL_CHUNK: Final = 1024

CLOSE_NOTIFY: Final = bytes((1, AlertDescription.close_notify))
INCOMPLETE: Final = "the handshake is not complete: call do_handshake() first"


@implementer(IEngine)
class LibraryEngine:
    """One connection. ``provider`` is the name that errors mention, ``supports`` what that provider can do."""

    early_data = "not_sent"

    def __init__(self, gate: Gate, provider: str, supports: Callable[[str], bool]) -> None:
        self.is_server = gate.is_server
        self.close_sent = False
        self._provider = provider
        self._supports = supports
        self._config: Any = gate.config
        self._gate: Gate | None = gate
        self._coroutine: Coroutine[object, None, Passed] | None = None
        self._passed: Passed | None = None
        self._failure: TLSError | None = None
        self._busy = False
        self._peer_ended = False
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
    def state(self) -> str:
        if self._failure is not None:
            return "failed"
        return "connected" if self._gate is None else self._gate.state

    @property
    def failure(self) -> TLSError | None:
        return self._failure

    @property
    def question(self) -> Question[Any] | None:
        return self._gate.question if self._gate is not None else None

    @property
    def peer_address(self) -> tuple[str, int] | None:
        return self._gate.peer_address if self._gate is not None else None

    @peer_address.setter
    def peer_address(self, address: tuple[str, int] | None) -> None:
        if self._gate is not None:
            self._gate.peer_address = address

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
        return self._gate.server_name if self._gate is not None else None

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

    def do_handshake(self) -> None:
        """See :meth:`IEngine.do_handshake`."""
        self._raise_failure()
        gate = self._gate
        if gate is None:
            return
        if self._busy:
            raise MisuseError("do_handshake() was called from inside one of its own hooks")
        question = gate.question
        if question is not None and not question.answered:
            if not self._peer_ended:
                raise WantAnswer(question)
            self._fail(TruncatedError("unexpected eof while reading: the peer went away while a question was open"))
            self._raise_failure()
        reason = self._resume(gate)
        self._raise_failure()
        if reason is WANT_READ:
            raise WantRead
        if reason is not None:
            assert isinstance(reason, Question)
            raise WantAnswer(reason)

    def _resume(self, gate: Gate) -> object:
        """Let the gate run: it pauses (the reason is returned), ends (None), or fails (None, and a failure)."""
        self._busy = True
        try:
            if self._coroutine is None:
                gate.tell("handshake_start", "server" if self.is_server else "client")
                self._coroutine = gate.make()
            return self._coroutine.send(None)
        except StopIteration as finished:
            passed: Passed = finished.value
        except TLSError as failure:
            self._fail(failure)
            return None
        except Exception as bug:
            internal = LibraryError(f"an internal error: {type(bug).__name__}: {bug}")
            internal.__cause__ = bug
            self._fail(internal)
            return None
        finally:
            self._busy = False
        # A gate may have had to find out on the way.
        self._config, self.is_server = gate.config, gate.is_server
        self._passed, self._owed = passed, gate.owed
        passed.library.release_secrets()
        self._gate = self._coroutine = None
        self._guard(self._tell, "handshake_done", "server" if self.is_server else "client")
        if self._received:
            # What the peer sent right behind its Finished.
            self._guard(self._open_records, self._received)
        return None

    def _tell(self, kind: EventKind, name: str, data: bytes = b"") -> None:
        tell(self._config, kind, name, data)

    # -- failure ---------------------------------------------------------------------------------------------------

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.afresh()

    def _fail(self, error: TLSError) -> None:
        """Keep a failure, send its alert, and let go of everything secret."""
        for one in (error, error.__cause__):
            if one is not None:
                traceback.clear_frames(one.__traceback__)
        self._failure = error.afresh()
        gate, coroutine = self._gate, self._coroutine
        self._say_why(gate, error)
        if coroutine is not None:
            coroutine.close()
        if gate is not None and gate.library is not None:
            gate.library.release_secrets()
        self._gate = self._coroutine = None

    def _say_why(self, gate: Gate | None, error: TLSError) -> None:
        """One alert at most: the library's own, or else one of ours, where one can be had."""
        if isinstance(error, AlertReceived | ClosedByPeer):
            # In front of the library, and after its handshake, that was told when it was read.
            if gate is not None and gate.library is not None:
                self._report("alert_received", error.alert or AlertDescription.close_notify)
        elif error.alert is not None:
            said = isinstance(error, PeerFault)
            if gate is not None and not gate.alerted:
                alert = gate.alert(error.alert)
                self._out.append(alert)
                said = bool(alert)
            if said:
                self._report("alert_sent", error.alert)

    def _report(self, kind: EventKind, alert: AlertDescription) -> None:
        """A listener that fails now has nothing left to stop: the connection has failed already."""
        try:
            self._tell(kind, alert.name, bytes((2, alert)))
        except TLSError as failure:
            assert self._failure is not None
            self._failure.add_note(str(failure))

    def _guard(self, step: Callable[..., None], *arguments: Any) -> None:
        """Run a step of the established connection; what it raises becomes the failure, for the next call to tell."""
        try:
            step(*arguments)
        except TLSError as failure:
            self._fail(failure)

    # -- bytes in --------------------------------------------------------------------------------------------------

    def process_incoming(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`IEngine.process_incoming`."""
        if self._failure is not None:
            return
        if self._gate is not None:
            self._gate.take(data)
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

    def process_eof(self) -> None:
        """See :meth:`IEngine.process_eof`."""
        self._peer_ended = True
        if self._gate is not None:
            self._gate.peer_ended = True

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
            raise TruncatedError("unexpected eof while reading: the peer went away without close_notify")
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

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """See :meth:`IEngine.read_into`."""
        with memoryview(buffer) as view, view.cast("B") as target:
            data = self.read(len(target))
            target[: len(data)] = data
        return len(data)

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
        gate = self._gate
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
        name = label.encode("utf-8")
        if not 1 <= len(name) <= 249:
            raise ValueError(f"label: expected 1 to 249 bytes, got {len(name)}")
        most = 255 * (48 if library.cipher.endswith("SHA384") else 32)
        if not 1 <= length <= most:
            raise ValueError(f"length: expected 1 to {most} bytes, got {length}")
        return library.export(name, bytes(context), length)

    def channel_binding(self, kind: str) -> bytes:
        """``tls-exporter`` of RFC 9266: 32 bytes that are unique to this connection."""
        if kind != "tls-exporter":
            raise ValueError(f"channel binding {kind!r} does not exist in TLS 1.3; use 'tls-exporter'")
        self._negotiated()
        self._insist("tls-exporter")
        return self.export_keying_material("EXPORTER-Channel-Binding", b"", 32)

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
