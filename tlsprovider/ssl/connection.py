"""The SSL object: SSL_do_handshake(3) and its neighbours as the man pages have them, over an engine of any provider.

An engine does no I/O; an SSL object is an engine with two BIOs. Its language is the return code. **1** or a count:
done. **0**: not done, but in a controlled way. **-1**: an error, or something has to happen first. Why is asked with
``get_error``, which takes the value just returned; ``ssl.error`` holds the exception behind a real error, without its
traceback, whose frames could hold secrets. The error belongs to the object: there is no queue and no thread state, and
other objects can be used in between. Exceptions come only out of the constructor, and out of setters that are called
in a wrong way (MisuseError), such as ``set_connect_state`` on a server's object.

::

    ssl = SSL(ClientConfig(), server_hostname="example.com")
    ssl.set_fd(sock)
    while (ret := ssl.connect()) != 1:
        match ssl.get_error(ret):
            case ErrorCode.WANT_READ:
                wait_until_readable(sock)
            case ErrorCode.WANT_WRITE:
                wait_until_writable(sock)
            case _:
                raise ssl.error

How it works: every operation is written as if the transport blocked. Where it doesn't, ``Stuck`` leaves the operation,
``_run`` makes a code of it, and the repeated call begins the operation anew. What has been achieved is kept in the
engine and in the transport, so nothing happens twice.

Reading and writing are suspended separately. In particular a read never waits for room: it tries to send what is
outgoing (the answer to a KeyUpdate, say), and then reads whether or not that went out. If it waited, two peers that are
both full of unread data would wait for each other for ever. (A transport that blocks waits by itself.) During the
handshake, which takes turns, reading does wait.

An SSL object is for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import AlertReceived, ClosedByPeer, ConfigError, MisuseError, TLSError, WantRead
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.questions import WantAnswer
from tlsprovider.ssl.codes import ErrorCode, Mode, Shutdown
from tlsprovider.ssl.sessions import Sessions
from tlsprovider.ssl.transport import Stuck

__all__ = ["SSL"]

Buffer = bytes | bytearray | memoryview
E = TypeVar("E", bound=BaseException)

# RFC 9846 section 5.1: the most that one record carries.
MAX_PLAINTEXT: Final = 1 << 14
# Sealed before each attempt to send: enough to keep a socket busy, little enough to keep while it is stuck.
WRITE_PIECE: Final = 4 * MAX_PLAINTEXT


class EndOfData(Exception):
    """The peer closed its direction in the proper way."""


class SuspendedWrite:
    """What a write that got stuck was called with, and how much of that has been sealed."""

    __slots__ = ("content", "sealed", "source")

    def __init__(self, data: Buffer, sealed: int) -> None:
        self.content = bytes(data)
        self.sealed = sealed
        self.source = source_of(data)

    def is_of(self, data: Buffer) -> bool:
        """Whether ``data`` holds the same bytes; the usual case, the same bytes object, costs nothing."""
        return data is self.content or bytes(data) == self.content


class SSL(Sessions):
    """One TLS connection.

    :param config: a ClientConfig or a ServerConfig; it decides which role is possible.
    :param provider: a provider or its name; None: the default of the process.
    :param server_hostname: client: the name to ask for and to verify.

    Raises ConfigError and UnsupportedByProvider.
    """

    def __init__(
        self,
        config: ClientConfig | ServerConfig,
        provider: str | ITLSProvider | None = None,
        server_hostname: str | None = None,
    ) -> None:
        super().__init__(config, get_provider(provider), server_hostname)
        self._begin()

    def _begin(self) -> None:
        """What a new connection begins with."""
        self._begun = self._finished = False
        self._failure: tuple[ErrorCode, BaseException] | None = None
        self._shutdown = Shutdown.NONE
        # Decrypted bytes that were looked at and not taken.
        self._peeked = b""
        self._suspended: SuspendedWrite | None = None

    def clear(self) -> int:
        """A new connection with the same settings, role and BIOs; 1. What the old one had under way is gone."""
        self._transport = self._transport.anew()
        self._made = None
        self._begin()
        return self._end(1)

    # -- how a call ends --------------------------------------------------------------------------------------------

    def _run(self, operation: Callable[[], int]) -> int:
        """Do it, and turn the way it ended into a return code."""
        if self._failure is not None:
            return self._end(-1, *self._failure)
        if not self._role_is_set:
            return self._misuse("connection type not set: call set_connect_state or set_accept_state first")
        if self._transport.rbio is None or self._transport.wbio is None:
            return self._misuse("no BIO to read from or to write to: call set_bio or set_fd first")
        try:
            return self._end(operation())
        except Stuck as stuck:
            return self._end(-1, stuck.code)
        except WantAnswer as want:
            self._send_what_goes()
            return self._end(-1, ErrorCode(want.question.error_code))
        except EndOfData:
            return self._end(0, ErrorCode.ZERO_RETURN)
        except ClosedByPeer as closed:
            return self._end(0, ErrorCode.ZERO_RETURN, without_frames(closed))
        except (MisuseError, ConfigError) as wrong:
            # Unless the engine gave up because of it, the call was wrong and the connection is as it was.
            gave_up = self._made is not None and self._made.failure is not None
            return self._fail(wrong) if gave_up else self._misuse(wrong)
        except (TLSError, OSError) as problem:
            return self._fail(problem)
        finally:
            if self._made is not None and self._made.close_received:
                self._shutdown |= Shutdown.RECEIVED

    def _misuse(self, wrong: TLSError | str) -> int:
        error = MisuseError(wrong) if isinstance(wrong, str) else wrong
        return self._end(-1, ErrorCode.SSL, without_frames(error))

    def _fail(self, problem: TLSError | OSError) -> int:
        """The connection is over, and every later call says the same. An alert gets this one chance to go out."""
        code = ErrorCode.SYSCALL if isinstance(problem, OSError) else ErrorCode.SSL
        if code is ErrorCode.SSL:
            self._send_what_goes()
        if isinstance(problem, AlertReceived):
            self._shutdown |= Shutdown.RECEIVED
        without_frames(problem)
        if problem is not self._transport.write_error or not self._finished:
            # After the handshake, a transport that can't be written can still be read.
            self._failure = code, problem
        return self._end(-1, code, problem)

    # -- moving bytes -----------------------------------------------------------------------------------------------

    def _send(self) -> None:
        """Send all that is outgoing. Raises Stuck, OSError."""
        self._transport.send()
        while data := self._engine.process_outgoing():
            self._transport.send(data)

    def _send_what_goes(self) -> None:
        """Send what there is room for. If that fails, it is for the next write to say so."""
        try:
            self._send()
        except (Stuck, OSError):
            return

    def _receive(self) -> None:
        """Bring the engine the rest of a record, or a header that it should look at first. Raises Stuck, OSError."""
        transport = self._transport
        while True:
            data = transport.receive()
            if not data:
                self._engine.process_eof()
                return
            self._engine.process_incoming(data)
            if transport.between_records or transport.suspicious:
                return

    # -- handshake, SSL_do_handshake(3), SSL_connect(3), SSL_accept(3) ----------------------------------------------

    def do_handshake(self) -> int:
        """Go on with the handshake. 1: complete; 0: the peer closed in the proper way; -1: see :meth:`get_error`.

        The role has to be set before. Repeat the same call when what was wanted is there; after 1 it does nothing.
        """
        code = self._run(self._handshake)
        self._callbacks.tell_exit(self, code)
        return code

    def connect(self) -> int:
        """:meth:`set_connect_state`, then :meth:`do_handshake`."""
        return self._handshake_as(is_server=False)

    def accept(self) -> int:
        """:meth:`set_accept_state`, then :meth:`do_handshake`, which waits for the client to begin."""
        return self._handshake_as(is_server=True)

    def _handshake_as(self, is_server: bool) -> int:
        if not self._role_is_set or is_server is not self.is_server():
            try:
                self._set_role(is_server)
            except MisuseError as wrong:
                return self._misuse(wrong)
        return self.do_handshake()

    def _handshake(self) -> int:
        if self._finished:
            return 1
        engine = self._engine
        if not self._begun:
            if self.is_server():
                engine.peer_address = self._transport.peer_address()
            self._offer(engine)
        self._begun = True
        self._send()
        self._callbacks.ask_again()
        while True:
            try:
                engine.do_handshake()
            except WantRead:
                self._send()
                self._receive()
            else:
                break
        # Complete means that the peer can complete too: the last flight has to leave first.
        self._send()
        self._finished = True
        if self.is_server():
            self._transport.acknowledge_now()
        return 1

    # -- reading, SSL_read(3) ---------------------------------------------------------------------------------------

    def read(self, n: int) -> bytes:
        """At most ``n`` bytes, out of one record. ``b""``: ask ``get_error(b"")``; ZERO_RETURN is the end of data.

        Does the handshake first if it was not done. :attr:`last_return` is the count, 0 or -1, as in C.
        """
        return self._read(n, self._take)

    def peek(self, n: int) -> bytes:
        """As :meth:`read`, but the next read gives the same bytes again."""
        return self._read(n, self._look)

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """As SSL_read(3): the count of bytes put into ``buffer``, 0 at the end of data, -1."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return self.last_return

    def peek_into(self, buffer: bytearray | memoryview) -> int:
        """As SSL_peek(3)."""
        data = self.peek(len(buffer))
        buffer[: len(data)] = data
        return self.last_return

    def read_ex(self, buffer: bytearray | memoryview) -> tuple[int, int]:
        """As SSL_read_ex(3): ``(1, count)``, or ``(0, 0)`` and ``get_error(0)`` tells why."""
        count = self.read_into(buffer)
        return (1, count) if count > 0 else (0, 0)

    def peek_ex(self, buffer: bytearray | memoryview) -> tuple[int, int]:
        """As SSL_peek_ex(3)."""
        count = self.peek_into(buffer)
        return (1, count) if count > 0 else (0, 0)

    def _read(self, n: int, take: Callable[[int], bytes]) -> bytes:
        if not isinstance(n, int):
            raise TypeError(f"expected a count of bytes, got {type(n).__name__}; read_into(buffer) fills a buffer")
        if n < 0:
            raise ValueError(f"expected a count of bytes, got {n}")
        data = b""

        def operation() -> int:
            nonlocal data
            data = self._next_data(n, take) if n else b""
            return len(data)

        return data if self._run(operation) > 0 else b""

    def _answer_key_update(self) -> None:
        """OpenSSL's reads answer a KeyUpdate, however long the next write is away; an engine answers when it writes."""
        if not self._engine.close_sent:
            self._engine.write(b"")

    def _next_data(self, n: int, take: Callable[[int], bytes]) -> bytes:
        """Decrypted bytes, never none. When there are some already, the transport isn't touched."""
        if self.pending():
            return take(n)
        self._handshake()
        if Shutdown.RECEIVED in self._shutdown and not self._engine.close_received:
            # Declared, by set_shutdown() or a quiet shutdown: there is nothing to wait for.
            raise EndOfData
        whole_record = False
        while True:
            try:
                data = take(n)
            except WantRead:
                if whole_record and Mode.AUTO_RETRY not in self._mode:
                    # That record held no data, and the caller wants to hear of it.
                    raise Stuck(ErrorCode.WANT_READ) from None
                self._answer_key_update()
                self._send_what_goes()
                self._receive()
                whole_record = self._transport.between_records
                continue
            if not data:
                raise EndOfData
            return data

    def _take(self, n: int) -> bytes:
        if not self._peeked:
            return self._engine.read(n)
        data, self._peeked = self._peeked[:n], self._peeked[n:]
        return data

    def _look(self, n: int) -> bytes:
        if not self._peeked:
            self._peeked = self._engine.read()
        return self._peeked[:n]

    def pending(self) -> int:
        """Decrypted bytes that a read gives without touching the transport."""
        return len(self._peeked) + (self._made.pending if self._made is not None else 0)

    def has_pending(self) -> bool:
        """Whether anything was received and not given out: data, or part of a record that may hold none."""
        return bool(self.pending()) or self._transport.holds_input

    # -- writing, SSL_write(3) --------------------------------------------------------------------------------------

    def write(self, data: Buffer) -> int:
        """The count of bytes written: all of them, or with ENABLE_PARTIAL_WRITE one record's. 0, -1: not done.

        After WANT_* the call has to be repeated with the same bytes. Nothing to write: 0, and no record is sent.
        """
        return self._run(lambda: self._write(data))

    def write_ex(self, data: Buffer) -> tuple[int, int]:
        """As SSL_write_ex(3): ``(1, count)``, or ``(0, 0)`` and ``get_error(0)`` tells why. Nothing: ``(1, 0)``."""
        count = self.write(data)
        return (1, count) if self._code is ErrorCode.NONE else (0, 0)

    def _write(self, data: Buffer) -> int:
        if Shutdown.SENT in self._shutdown:
            raise MisuseError("protocol is shutdown: close_notify was sent, so nothing can be written any more")
        view = memoryview(data).cast("B")
        sealed = self._resume_write(data)
        self._handshake()
        if not view:
            return 0
        self._send()
        partial = Mode.ENABLE_PARTIAL_WRITE in self._mode
        while sealed < len(view) and not (partial and sealed):
            sealed += self._engine.write(view[sealed : sealed + (MAX_PLAINTEXT if partial else WRITE_PIECE)])
            try:
                self._send()
            except Stuck:
                self._suspended = SuspendedWrite(data, sealed)
                raise
        self._suspended = None
        return sealed

    def _resume_write(self, data: Buffer) -> int:
        """How much of ``data`` a suspended write has sealed. Raises MisuseError when that was another write."""
        suspended = self._suspended
        if suspended is None:
            return 0
        if not suspended.is_of(data):
            raise MisuseError("bad write retry: a suspended write has to be repeated with the same bytes")
        if Mode.ACCEPT_MOVING_WRITE_BUFFER not in self._mode and source_of(data) is not suspended.source:
            raise MisuseError(
                "bad write retry: a suspended write has to be repeated with the same object"
                " unless the mode ACCEPT_MOVING_WRITE_BUFFER is set"
            )
        return suspended.sealed

    def key_update(self, request_peer: bool = False) -> int:
        """Change this side's sending keys, and ask the peer for the same (RFC 9846 section 4.7.3). 1, or -1.

        1 means that it is queued: it goes out before whatever is written next, at the latest.
        """
        return self._run(lambda: self._key_update(request_peer))

    def _key_update(self, request_peer: bool) -> int:
        if not self._finished:
            raise MisuseError("keys can be updated when the handshake is complete")
        self._engine.key_update(request_peer)
        self._send_what_goes()
        return 1

    # -- the end, SSL_shutdown(3) -----------------------------------------------------------------------------------

    def shutdown(self) -> int:
        """First call: send close_notify; 0, or 1 if the peer's was there already. Second call: wait for the peer's; 1.

        It closes one direction: after 0 data can still be read, and has to be before the second call succeeds. In the
        middle of a handshake it gives the handshake up. -1: see :meth:`get_error`; after an error it is of no use.
        """
        if self._quiet:
            self._shutdown = Shutdown.SENT | Shutdown.RECEIVED
            return self._end(1)
        return self._run(self._close)

    def _close(self) -> int:
        if not self._begun:
            raise MisuseError("uninitialized: the handshake has not begun, so there is no connection to shut down")
        first = Shutdown.SENT not in self._shutdown
        if first:
            # Whether sending works or not.
            self._shutdown |= Shutdown.SENT
            self._engine.shutdown()
        if first or self._transport.unsent:
            self._send()
            return int(Shutdown.RECEIVED in self._shutdown)
        if Shutdown.RECEIVED not in self._shutdown:
            self._await_close()
        return 1

    def _await_close(self) -> None:
        while not self.pending():
            try:
                self._peeked = self._engine.read()
            except WantRead:
                self._receive()
                continue
            if not self._peeked:
                return
        raise MisuseError("application data after close notify: read it before waiting for the peer's close_notify")

    def set_shutdown(self, mode: int) -> None:
        """Mark directions as closed, without sending anything."""
        self._shutdown = Shutdown(mode)


def source_of(data: Buffer) -> object:
    """The object that holds the bytes: what stands for an address here."""
    return data.obj if isinstance(data, memoryview) else data


def without_frames(error: E) -> E:
    """Its traceback and what it was raised during hold frames, and frames hold secrets."""
    error.__traceback__ = None
    error.__context__ = None
    return error
