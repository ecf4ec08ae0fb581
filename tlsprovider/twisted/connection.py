"""The part of :class:`~tlsprovider.twisted.TLSProtocol` that does the work.

To the transport a connection is a protocol, to the application's protocol (the *wrapped* one) a transport. Between the
two is an :class:`~tlsprovider.interfaces.IEngine`, which only turns bytes into bytes.

Whatever happens (bytes arrive, a question is answered, the application wants to read again) ends in one *round*,
:meth:`TLSConnection._drive`, and a round is always the same:

1. go on with the handshake, if it is not complete;
2. deliver what can be decrypted, in as few pieces as the engine gives;
3. seal what the application wrote meanwhile, add close_notify if it is due, and hand all that is outgoing to the
   transport in one ``write``;
4. pause or resume the transport's reading.

What the application calls during a round never starts another one within it; it leaves a note that the round sees.

**When writes are sealed.** Writes made during a round are sealed at its end. Writes from outside wait for the next turn
of the reactor (``callLater(0)``): before that turn nothing would reach the socket either, and many small writes become
one record. In both cases :data:`SEAL_AT` waiting bytes are sealed at once: the records are full, and only the
transport's own buffer knows when a producer should pause.

**How it ends.** ``_closing`` says that our side is to be closed once everything is sent; ``_finished`` that TLS is over
in both directions and only the end of the transport is awaited. The wrapped protocol's ``connectionLost`` is called
from the transport's, so once, with the reason that TLS has, or else the transport's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IHalfCloseableProtocol, IHandshakeListener, IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsprovider.errors import HookError, TLSError, TruncatedError, WantRead
from tlsprovider.questions import Question, WantAnswer
from tlsprovider.quick_ack import acknowledge_now
from tlsprovider.twisted.answers import Pursuit, address_of
from tlsprovider.twisted.declarations import declare_as
from tlsprovider.twisted.engines import as_shown, lend_to_transport, log_refusal, make_engine
from tlsprovider.twisted.flow import FULL_READ, ProducerGate, read_more, send_now, sends_now

if TYPE_CHECKING:
    from tlsprovider.interfaces import IEngine

__all__ = ["CLOSE_TIMEOUT", "HANDSHAKE_TIMEOUT", "SEAL_AT", "TLSConnection"]

HANDSHAKE_TIMEOUT = 30.0
"""Seconds that a handshake may take, unless told otherwise."""
CLOSE_TIMEOUT = 10.0
"""Seconds to wait for the peer's close_notify after ours, unless told otherwise."""
SEAL_AT = 65536
"""So many bytes of plaintext are sealed at once: four full records, and as much as a TCP transport likes to hold."""

log = Logger()


class TLSConnection(Protocol):
    """A connection, its rounds and its ends; :class:`~tlsprovider.twisted.TLSProtocol` adds the transport's face."""

    # ruff: noqa: N815 - as Twisted's attributes are written.
    handshakeTimeout: float | None = HANDSHAKE_TIMEOUT
    closeTimeout: float | None = CLOSE_TIMEOUT

    factory: Any
    transport: Any
    wrappedProtocol: Any
    disconnecting = False

    # Most of a connection's life is spent with these values, so they are the class's and take no room in instances.
    _engine: IEngine | None = None
    _connection: Any = None
    _wrapped_is_connected = False
    _handshake_done = False
    _sends_now = False
    _driving = False
    _again = False
    _accepting = False
    _closing = False
    _finished = False
    _aborted = False
    _gone = False
    _paused = False
    _undelivered = False
    _reading = True
    _read_closed = False
    _write_close_untold = False
    _pending_size = 0
    _large_sends = 0
    _producer: ProducerGate | None = None
    _question: Question[Any] | None = None
    _pursuit: Pursuit | None = None
    _deadline: IDelayedCall | None = None
    _turn: IDelayedCall | None = None
    _reason: Failure | None = None
    _waiting: list[Deferred[IProtocol]] | None = None

    def __init__(self, factory: Any, wrappedProtocol: Any, _connectWrapped: bool = True) -> None:
        """``_connectWrapped`` is False when the wrapped protocol has a transport already, as with STARTTLS."""
        self.factory = factory
        self.wrappedProtocol = wrappedProtocol
        self._connectWrapped = _connectWrapped
        self._pending: list[bytes] = []

    # -- from the transport: beginning, bytes, end --------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """Connect the wrapped protocol, which may write, lose or abort at once; then begin the handshake."""
        self.transport = transport
        self.connected = True
        self._sends_now = sends_now(transport)
        declare_as(self, transport)
        self.factory.registerProtocol(self)
        self._wrapped_is_connected = not self._connectWrapped
        try:
            self._engine, self._connection = make_engine(self)
        except Exception as problem:
            # Nothing can be said to the peer, but it must not be left waiting either.
            log_refusal(problem, transport.getPeer())
            self.failVerification(Failure(problem))
            return
        if self._engine.is_server:
            self._engine.peer_address = address_of(transport)
        self._accepting = True
        if not self._connectWrapped:
            lend_to_transport(self)
        self._set_deadline(self.handshakeTimeout, self._handshake_timed_out)
        if self._connectWrapped:
            self._wrapped_is_connected = True
            self.wrappedProtocol.makeConnection(self)
        if not self._finished:
            self._drive()

    def dataReceived(self, data: bytes) -> None:
        if self._finished or self._read_closed or self._engine is None:
            return
        self._engine.process_incoming(data)
        self._drive()
        if len(data) >= FULL_READ and self._sends_now:
            for more in read_more(self.transport, self._is_reading):
                self._engine.process_incoming(more)
                self._drive()

    def _is_reading(self) -> bool:
        return self._reading and not (self._finished or self._read_closed or self._gone)

    def readConnectionLost(self) -> None:
        """The transport's bytes have ended (``IHalfCloseableProtocol``).

        After close_notify that is no news, and this side may go on writing. Without it the stream was cut.
        """
        if self._finished or self._engine is None:
            return
        self._engine.process_eof()
        self._drive()

    def writeConnectionLost(self) -> None:
        """Our direction is closed; tell the wrapped protocol if it wants to know."""
        half = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if half is not None:
            half.writeConnectionLost()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport has ended: deliver what is left, and tell the wrapped protocol why, once."""
        if not self.connected:
            return
        self._gone = True
        try:
            if not self._finished and self._engine is not None:
                self._engine.process_eof()
                if self._handshake_done:
                    self._drive()
        finally:
            self._report_loss(self._reason or self._judge(reason))

    def _judge(self, reason: Failure) -> Failure:
        """An orderly end of the transport is a truncation unless TLS had ended before (RFC 9846 section 6.1)."""
        engine = self._engine
        if engine is not None and engine.close_received and engine.close_sent and not self._aborted:
            # A peer that closed its socket at once answers our close_notify with a reset. It takes nothing away.
            return Failure(ConnectionDone())
        if not reason.check(ConnectionDone):
            return reason
        if self._aborted:
            return Failure(ConnectionAborted())
        if self._finished or self._read_closed or engine is None or (self.disconnecting and engine.close_sent):
            return reason
        return self._cut_short()

    def _cut_short(self) -> Failure:
        how = "without close_notify: data may be missing" if self._handshake_done else "during the TLS handshake"
        return Failure(ConnectionLost(f"the peer closed the transport {how}"))

    def _report_loss(self, reason: Failure) -> None:
        self._silence()
        self.connected, self._reason = False, reason
        self._set_deadline(None)
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()
        self.factory.unregisterProtocol(self)
        try:
            if self._wrapped_is_connected:
                self.wrappedProtocol.connectionLost(reason)
        finally:
            self.wrappedProtocol = None
            if self._connection is not None:
                # A connection of pyOpenSSL refers to us, and its callbacks may.
                self._connection = self._engine = None
            waiting, self._waiting = self._waiting, None
            for deferred in waiting or ():
                deferred.errback(reason)

    # -- the round ----------------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        if self._driving:
            self._again = True
            return
        self._driving = True
        try:
            if self._handshake_done or self._shake_hands():
                self._deliver()
        finally:
            self._driving = False
            self._send()
        self._steer()

    def _shake_hands(self) -> bool:
        """Go on with the handshake; whether it is complete."""
        engine = self._engine
        assert engine is not None
        while not self._finished:
            try:
                engine.do_handshake()
            except WantRead:
                return False
            except WantAnswer as want:
                if not self._ask(want.question):
                    return False
            except TLSError as problem:
                self._fail(problem)
            else:
                self._handshake_completed()
                return not self._finished
        return False

    def _handshake_completed(self) -> None:
        self._handshake_done = True
        self._question = self._pursuit = None
        self._set_deadline(None)
        if self._engine.is_server:  # type: ignore[union-attr]
            acknowledge_now(getattr(self.transport, "socket", None))
        if not self._connectWrapped:
            lend_to_transport(self)
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            self.wrappedProtocol.handshakeCompleted()
        if self._finished:
            return
        waiting, self._waiting = self._waiting, None
        for deferred in waiting or ():
            deferred.callback(self.wrappedProtocol)
        if self._producer is not None:
            self._producer.release()

    def _deliver(self) -> None:
        engine = self._engine
        assert engine is not None
        while not (self._finished or self._read_closed):
            if self._paused:
                self._undelivered = True
                return
            self._again = False
            try:
                data = engine.read()
            except WantRead:
                return
            except TLSError as problem:
                self._fail(problem)
                return
            if not data:
                self._peer_closed()
                return
            self.wrappedProtocol.dataReceived(data)
            if not (self._again or engine.pending or engine.close_received or engine.failure is not None):
                return

    def _peer_closed(self) -> None:
        """The peer's close_notify: it will send nothing more, but may well be reading (RFC 9846 section 6.1)."""
        self._read_closed = True
        if self.disconnecting:
            if self._producer is not None and not self._producer.pulling:
                # As TCP has it: who is asked for more is waited for to the end. Who writes when it pleases is not, as
                # it may never unregister: an HTTPChannel that became a WebSocket doesn't.
                self._stop_producer()
                self._close()
            return
        half = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if half is not None:
            half.readConnectionLost()
            return
        # What the application wrote before still goes out; a producer would go on and on, so it is stopped.
        self._stop_producer()
        self.loseConnection()

    def _send(self) -> None:
        """Seal what was written, add close_notify if it is due, and hand all that is outgoing to the transport."""
        engine = self._engine
        if self._finished or engine is None:
            return
        try:
            if self._pending and self._handshake_done:
                data = b"".join(self._pending)
                self._pending.clear()
                self._pending_size = 0
                engine.write(data)
            if self._closing and not engine.close_sent and self._may_close():
                self._accepting = False
                engine.shutdown()
        except TLSError as problem:
            self._fail(problem)
            return
        outgoing = engine.process_outgoing()
        if outgoing and not self._gone:
            # The reset of a peer that has closed and gone is an error to a transport that isn't closing yet.
            if self._sends_now and not engine.close_received:
                self._large_sends = send_now(self.transport, outgoing, self._large_sends)
            else:
                self.transport.write(outgoing)
        if self._closing and engine.close_sent:
            self._close_sent(engine)

    def _may_close(self) -> bool:
        """Whether everything was sent. A handshake is broken off only if nothing waits for it."""
        return not self._pending and self._producer is None and (self._handshake_done or self.disconnecting)

    def _close_sent(self, engine: IEngine) -> None:
        if not self.disconnecting:
            if self._write_close_untold:
                self._schedule()
        elif engine.close_received or not self._handshake_done or self.closeTimeout == 0:
            self._finish()
        elif self._deadline is None:
            self._set_deadline(self.closeTimeout, self._finish)

    def _steer(self) -> None:
        """Let the transport read, or not: the engine may hold enough, or the application may have paused.

        A pause does not hold up the handshake, of which the application sees nothing.
        """
        engine = self._engine
        if self._finished or engine is None:
            return
        # After close_notify there is nothing to read, but only a transport that reads notices its end.
        reading = (engine.wants_input or self._read_closed) and not (self._paused and self._handshake_done)
        if reading is not self._reading:
            self._reading = reading
            # Not every transport can be paused; then what arrives meanwhile waits in the engine.
            steer = getattr(self.transport, "resumeProducing" if reading else "pauseProducing", None)
            if steer is not None:
                steer()

    def _schedule(self) -> None:
        if self._turn is None:
            self._turn = self.factory._clock.callLater(0, self._take_turn)

    def _take_turn(self) -> None:
        """A round of our own accord. What the application raises has nowhere to go here, so it ends the connection."""
        self._turn = None
        try:
            if self._write_close_untold and self._engine is not None and self._engine.close_sent:
                self._write_close_untold = False
                self.writeConnectionLost()
            self._undelivered = False
            self._drive()
        except Exception:
            failure = Failure()
            log.failure("an exception of the application ends its TLS connection", failure)
            self.failVerification(failure)

    # -- how it ends --------------------------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        """Send what was written, wait for a producer to unregister, exchange close_notify, and close the transport."""
        if self.disconnecting or not self.connected:
            return
        self.disconnecting = True
        self._close()

    def loseWriteConnection(self) -> None:
        """Close our direction only: close_notify goes out once everything is sent, and reading goes on.

        ``writeConnectionLost`` of a wrapped ``IHalfCloseableProtocol`` is called when that is done.
        """
        if self._closing or not self.connected:
            return
        self._write_close_untold = True
        self._close()

    def abortConnection(self) -> None:
        """Close the transport at once. Nothing more is sent or delivered, not even what is decrypted already."""
        if not self.connected:
            return
        self._silence()
        if not self._gone:
            self._aborted = True
            abort = getattr(self.transport, "abortConnection", None) or self.transport.loseConnection
            abort()

    def failVerification(self, reason: Failure) -> None:
        """Abort, and let the wrapped protocol's ``connectionLost`` have this reason."""
        self._reason = reason
        self.abortConnection()

    def _close(self) -> None:
        self._closing = True
        # A producer has not finished, so what it writes is still taken.
        self._accepting = self._accepting and self._producer is not None
        if not self._driving:
            self._send()

    def _fail(self, problem: TLSError) -> None:
        """The engine has ended the connection: send its alert, and close."""
        engine = self._engine
        assert engine is not None
        if self._finished:
            # Aborted by a callback, which has given its own reason.
            return
        if self._gone and isinstance(problem, TruncatedError):
            # The transport has ended, and knows more about it than TLS: see _judge.
            return
        if not isinstance(problem, TruncatedError):
            self._reason = self._reason or Failure(as_shown(problem, engine, self._connection))
        elif not (self.disconnecting and engine.close_sent):
            self._reason = self._reason or self._cut_short()
        if isinstance(problem, HookError) and problem.__cause__ is not None:
            log.failure("a hook of the TLS configuration failed", Failure(problem.__cause__))
        alert = engine.process_outgoing()
        if alert and not self._gone:
            self.transport.write(alert)
        self._finish()
        if self.connected:
            # The alert is small, but a peer that reads nothing could still keep the transport open for ever.
            self._set_deadline(self.closeTimeout or CLOSE_TIMEOUT, self.abortConnection)

    def _finish(self) -> None:
        """TLS is over in both directions; the transport is to send what it has, and to close."""
        self._set_deadline(None)
        self._silence()
        if not self._gone:
            self.transport.loseConnection()

    def _silence(self) -> None:
        """From here on nothing is delivered, sent or asked."""
        self._finished = self.disconnecting = True
        self._accepting = False
        self._pending.clear()
        pursuit, self._pursuit = self._pursuit, None
        if pursuit is not None:
            pursuit.cancel()
        self._stop_producer()

    def _stop_producer(self) -> None:
        """The bytes of a producer have nowhere to go any more."""
        gate, self._producer = self._producer, None
        if gate is not None:
            if not self._gone:
                self.transport.unregisterProducer()
            gate.stopProducing()

    def _handshake_timed_out(self) -> None:
        assert self._engine is not None
        limit = f"the TLS handshake took longer than {self.handshakeTimeout:g} seconds"
        self.failVerification(Failure(TimeoutError(None, f"{limit} ({self._engine.state})")))

    def _set_deadline(self, seconds: float | None, function: Callable[[], object] | None = None) -> None:
        """One limit of time at most, for whatever is being waited for now."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        if seconds is not None and function is not None:
            self._deadline = self.factory._clock.callLater(seconds, function)

    # -- questions ------------------------------------------------------------------------------------

    def _ask(self, question: Question[Any]) -> bool:
        """Begin to wait for an answer; whether it is there already."""
        if question is not self._question:
            self._question = question
            self._pursuit = Pursuit(question, self.factory._clock, self._answered)
        return question.answered

    def _answered(self) -> None:
        if not (self._driving or self._finished):
            self._schedule()
