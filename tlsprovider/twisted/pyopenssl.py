"""A look-alike of ``OpenSSL.SSL.Connection`` around an engine, for Twisted's own TLS protocol to drive.

``twisted.protocols.tls`` asks a *connection creator* for a connection and then knows nine methods of it. That is the
way into ``listenSSL``, ``connectSSL``, ``wrapClientTLS`` and ``startTLS`` without changing anything in Twisted. What it
expects is not written down; the rules below are what its code turns out to rely on.

* ``do_handshake`` and ``send`` raise ``WantReadError`` or an error, never ``ZeroReturnError`` or ``WantWriteError``:
  Twisted would look into the ``args`` of those, and find none. A close_notify in the middle of the handshake is an
  error like others.
* ``recv`` never gives ``b""``, ``send`` never 0: Twisted would ask for ever.
* ``bio_read`` gives all there is, however little was asked for: Twisted asks once and then waits for the peer, who
  waits for the rest.
* ``bio_shutdown`` says that the transport has ended. Without close_notify before it that is a truncation, and ``recv``
  has to say so: after ``WantReadError`` Twisted would report a clean end.
* ``shutdown`` is called at any time, also from inside a hook of the handshake, and after a failure. It is true when
  both sides have sent close_notify; then Twisted closes the transport.

**Waiting for an answer.** Twisted's protocol knows no other reason to wait than bytes. So an open question looks like
``WantReadError``, and when it is answered the protocol is given no bytes at all (``dataReceived(b"")``), which makes it
go through everything again. While more bytes wait than a question should hold up, the transport is paused.

**Time limits.** Twisted's protocol has none. Those for the handshake and for the peer's close_notify begin in
:meth:`Connection.do_handshake` and :meth:`Connection.shutdown`, so whoever drives the engine in another way has nothing
to do with them.

Nothing here refers to the protocol but ``app_data``, which Twisted sets, and lets go with the connection.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from twisted.internet.error import TimeoutError
from twisted.logger import Logger
from twisted.python.failure import Failure

from tlsprovider.errors import HookError, TLSError, TruncatedError, WantRead
from tlsprovider.questions import Question, WantAnswer
from tlsprovider.quick_ack import acknowledge_now
from tlsprovider.twisted.answers import Pursuit, address_of
from tlsprovider.twisted.handle import Handle
from tlsprovider.twisted.openssl_failures import ConnectionFailed, ConnectionTruncated, as_openssl_error

if TYPE_CHECKING:
    from twisted.internet.interfaces import IDelayedCall, IReactorTime

    from tlsprovider.interfaces import IEngine

__all__ = ["Connection", "ConnectionFailed", "ConnectionTruncated"]

log = Logger()


class Connection(Handle):
    """See the module. :class:`~tlsprovider.twisted.ContextFactory` makes them.

    :param engine: what does the work; it is in the attribute ``engine``, for those who would rather drive that.
    :param get_context: what :meth:`get_context` calls.
    :param clock: where time limits are kept; None: the clock of the protocol's factory, or the global reactor.
    :param handshake_timeout: seconds for the handshake; None for no limit.
    :param close_timeout: seconds to wait for the peer's close_notify after ours; None for no limit.
    """

    # Most of a connection's life is spent with these values, so they are the class's and take no room in instances.
    _app_data: Any = None
    _begun = False
    _busy = False
    _given_up = False
    _ended = False
    _failed = False
    _held = False
    _deadline: IDelayedCall | None = None
    _turn: IDelayedCall | None = None
    _question: Question[Any] | None = None
    _pursuit: Pursuit | None = None

    def __init__(
        self,
        engine: IEngine,
        get_context: Callable[[], SSL.Context] | None = None,
        *,
        clock: IReactorTime | None = None,
        handshake_timeout: float | None = None,
        close_timeout: float | None = None,
    ) -> None:
        super().__init__(engine, get_context)
        self._clock = clock
        self.handshake_timeout = handshake_timeout
        self.close_timeout = close_timeout

    def set_connect_state(self) -> None:
        """Raises ValueError for a server's connection: an engine's side is its configuration's."""
        if self.engine.is_server:
            raise ValueError("set_connect_state: this is a server's connection; a client's needs a ClientConfig")

    def set_accept_state(self) -> None:
        """Raises ValueError for a client's connection."""
        if not self.engine.is_server:
            raise ValueError("set_accept_state: this is a client's connection; a server's needs a ServerConfig")

    def set_app_data(self, data: Any) -> None:
        """Twisted's protocol: to be told of time limits, and driven when a question was answered."""
        self._app_data = data

    def get_app_data(self) -> Any:
        return self._app_data

    # -- the handshake ------------------------------------------------------------------------------------------------

    def do_handshake(self) -> None:
        """Go on with the handshake; returns when it is complete.

        Raises ``WantReadError`` while bytes or an answer are awaited, :exc:`ConnectionFailed` when it has failed.
        """
        if not self._begun:
            self._begun = True
            if self.engine.is_server:
                self.engine.peer_address = address_of(getattr(self._app_data, "transport", None))
            self._set_deadline(self.handshake_timeout, self._handshake_timed_out)
        failure: TLSError | None = None
        self._busy = True
        try:
            waiting = self._go_on()
        except TLSError as problem:
            failure = problem
        finally:
            self._busy = False
        if self._given_up:
            # By a hook, with abortConnection or failVerification: then Twisted has its reason already, and of what the
            # engine did after that nothing leaves.
            self._give_up()
            self.engine.process_outgoing()
            raise SSL.WantReadError
        if failure is not None:
            raise self._over(failure)
        if waiting:
            raise SSL.WantReadError
        self._settle()
        if self.engine.is_server:
            acknowledge_now(getattr(getattr(self._app_data, "transport", None), "socket", None))

    def _go_on(self) -> bool:
        """One step, or as many as answers are there for; whether it is to be waited."""
        engine = self.engine
        while True:
            try:
                engine.do_handshake()
            except WantRead:
                return True
            except WantAnswer as want:
                if not self._ask(want.question):
                    self._hold()
                    return True
            else:
                return False

    def _over(self, failure: TLSError) -> ConnectionFailed | ConnectionTruncated:
        """The connection has failed: nothing is waited for any more. The exception that says so."""
        self._settle()
        if not self._failed and isinstance(failure, HookError) and failure.__cause__ is not None:
            log.failure("a hook of the TLS configuration failed", Failure(failure.__cause__))
        self._failed = True
        return as_openssl_error(failure, self.engine.peer_certificates)

    def _settle(self) -> None:
        """Nothing is waited for any more."""
        self._set_deadline(None)
        turn, self._turn = self._turn, None
        if turn is not None:
            turn.cancel()
        question, self._question = self._question, None
        pursuit, self._pursuit = self._pursuit, None
        if question is not None and not question.answered:
            # Whoever may still answer it doesn't keep the connection.
            question.when_answered(_ignore)
        if pursuit is not None:
            pursuit.cancel()

    # -- questions ----------------------------------------------------------------------------------------------------

    def _ask(self, question: Question[Any]) -> bool:
        """Begin to wait for an answer; whether it is there already."""
        if question is not self._question:
            self._question = question
            clock = self._get_clock() if self._app_data is not None else None
            self._pursuit = Pursuit(question, clock, self._answered)
        return question.answered

    def _answered(self) -> None:
        if not self._busy and self._turn is None and self._app_data is not None:
            self._turn = self._get_clock().callLater(0, self._drive)

    def _drive(self) -> None:
        """Let the protocol go through everything again. What the application raises has nowhere else to go."""
        self._turn = None
        protocol = self._app_data
        try:
            protocol.dataReceived(b"")
        except Exception:
            failure = Failure()
            log.failure("an exception of the application ends its TLS connection", failure)
            protocol.failVerification(failure)
        self._release()

    def _hold(self) -> None:
        """Not every transport can be paused; then what arrives meanwhile waits in the engine."""
        if not self._held and not self.engine.wants_input:
            self._held = self._steer("pauseProducing")

    def _release(self) -> None:
        if self._held and self.engine.wants_input:
            self._held = False
            self._steer("resumeProducing")

    def _steer(self, what: str) -> bool:
        steer = getattr(getattr(self._app_data, "transport", None), what, None)
        if steer is not None:
            steer()
        return steer is not None

    # -- time limits --------------------------------------------------------------------------------------------------

    def _get_clock(self) -> IReactorTime:
        clock: IReactorTime | None = self._clock or getattr(getattr(self._app_data, "factory", None), "_clock", None)
        if clock is None:
            # Importing it installs it, which is for the application to decide: not before it is really needed.
            from twisted.internet import reactor

            clock = reactor
        return clock

    def _set_deadline(self, seconds: float | None, function: Callable[[], object] | None = None) -> None:
        """One limit of time at most, for whatever is being waited for now; none for who has no way to hear of it."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        if seconds is not None and function is not None and self._app_data is not None:
            self._deadline = self._get_clock().callLater(seconds, function)

    def _handshake_timed_out(self) -> None:
        limit = f"the TLS handshake took longer than {self.handshake_timeout:g} seconds"
        self._app_data.failVerification(Failure(TimeoutError(None, f"{limit} ({self.engine.state})")))

    def _close_timed_out(self) -> None:
        self._app_data.transport.loseConnection()

    # -- plaintext ----------------------------------------------------------------------------------------------------

    def send(self, buf: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """Seal all of ``buf``. Raises ``WantReadError`` before the handshake is complete, :exc:`ConnectionFailed`."""
        if not self.engine.handshake_complete and self.engine.failure is None:
            raise SSL.WantReadError
        try:
            return self.engine.write(buf)
        except TLSError as problem:
            failure = problem
        raise self._over(failure)

    def sendall(self, buf: bytes | bytearray | memoryview, flags: int = 0) -> int:
        """As :meth:`send`, which leaves nothing to be sent later."""
        return self.send(buf, flags)

    write = send

    def recv(self, bufsiz: int, flags: int | None = None) -> bytes:
        """At most ``bufsiz`` bytes of what the peer sent, and at least one.

        Raises ``WantReadError`` when there is nothing yet, ``ZeroReturnError`` after the peer's close_notify,
        :exc:`ConnectionTruncated` when the transport ended without that, :exc:`ConnectionFailed`. There is no MSG_PEEK.
        """
        if flags is not None and flags & MSG_PEEK:
            raise ValueError("recv: nothing can be looked at without taking it (MSG_PEEK)")
        if bufsiz < 1:
            raise ValueError(f"recv: there is at least one byte to ask for, not {bufsiz}")
        if not self.engine.handshake_complete:
            raise self._without_handshake()
        try:
            data = self.engine.read(bufsiz)
        except WantRead:
            raise SSL.WantReadError from None
        except TLSError as problem:
            failure = problem
        else:
            if data:
                return data
            self._set_deadline(None)
            raise SSL.ZeroReturnError
        raise self._over(failure)

    read = recv

    def recv_into(self, buffer: bytearray | memoryview, nbytes: int | None = None, flags: int | None = None) -> int:
        """As :meth:`recv`, into a buffer; the count of bytes."""
        data = self.recv(len(buffer) if nbytes is None else min(nbytes, len(buffer)), flags)
        buffer[: len(data)] = data
        return len(data)

    def _without_handshake(self) -> SSL.Error:
        """Why there is nothing to read although the handshake isn't complete."""
        failure = self.engine.failure
        if isinstance(failure, TLSError) and not self._given_up:
            return self._over(failure.afresh())
        if self._ended:
            return self._over(TruncatedError("the transport was closed during the TLS handshake"))
        return SSL.WantReadError()

    # -- records ------------------------------------------------------------------------------------------------------

    def bio_read(self, bufsiz: int) -> bytes:
        """Everything that should go to the peer now, however much. Raises ``WantReadError`` when there is nothing."""
        data = self.engine.process_outgoing()
        if not data:
            raise SSL.WantReadError
        return data

    def bio_write(self, buf: bytes | bytearray | memoryview) -> int:
        """Take bytes from the peer."""
        self.engine.process_incoming(buf)
        return len(buf)

    def bio_shutdown(self) -> None:
        """The transport has ended: whatever was waited for isn't any more."""
        self._ended = True
        self.engine.process_eof()
        self._settle()

    # -- the end ------------------------------------------------------------------------------------------------------

    def shutdown(self) -> bool:
        """Send close_notify, or give the handshake up; whether both sides have sent one. Raises nothing."""
        engine = self.engine
        if not engine.handshake_complete or self._busy:
            self._give_up()
            return False
        if engine.failure is not None:
            return False
        try:
            engine.shutdown()
        except TLSError:
            return False
        if engine.close_received:
            return True
        if not self._ended:
            self._set_deadline(self.close_timeout, self._close_timed_out)
        return False

    def _give_up(self) -> None:
        self._given_up = True
        if self._busy:
            # An engine can't be stopped from inside a hook; do_handshake does it when the hook has returned.
            return
        try:
            self.engine.shutdown()
        except TLSError:
            pass
        self._settle()


def _ignore() -> None:
    """Nobody is interested any more."""
