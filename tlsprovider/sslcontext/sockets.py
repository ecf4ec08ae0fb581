"""A connection over a socket: what ``SSLContext.wrap_socket`` gives.

The work is done by our SSL object, which knows how to be interrupted in the middle of a record; here its return codes
become the exceptions of :mod:`ssl`, and waiting.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import time
import weakref
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Final, cast

from tlsprovider.errors import MisuseError, TLSError, TruncatedError
from tlsprovider.interfaces import IEngine
from tlsprovider.ssl import SSL, ErrorCode, Shutdown, SocketBIO
from tlsprovider.sslcontext.connection import Buffer, Connection, refuse_to_wait
from tlsprovider.sslcontext.exceptions import ssl_error, want_read, want_write, zero_return

if TYPE_CHECKING:
    from tlsprovider.sslcontext.context import SSLContext

__all__ = ["SocketConnection"]

# None on Windows. There calls block while they hold the connection, so two threads can't use one at the same time.
MSG_DONTWAIT: Final[int | None] = getattr(socket, "MSG_DONTWAIT", None)

QUESTIONS: Final = {
    ErrorCode.WANT_X509_LOOKUP,
    ErrorCode.WANT_CLIENT_HELLO_CB,
    ErrorCode.WANT_RETRY_VERIFY,
    ErrorCode.WANT_PRIVATE_KEY_OPERATION,
    ErrorCode.WANT_SESSION,
    ErrorCode.WANT_EARLY_DATA_DECISION,
}


class SocketConnection(Connection):
    """See the module, and :class:`Connection`."""

    def __init__(
        self,
        context: SSLContext,
        sock: socket.socket,
        server_side: bool,
        server_hostname: str | None,
        owner: object,
    ) -> None:
        super().__init__(context, server_side, server_hostname, owner)
        self._socket = PlainSocket(sock)
        self._lock = Lock()
        self._ssl: SSL
        self.make_engine()

    def make_engine(self) -> IEngine:
        made = SSL(self.context.config_for(self), self.context.provider, self.server_hostname)
        bio = SocketBIO(self._socket)
        made.set_bio(bio, bio)
        if self.server_side:
            made.set_accept_state()
        else:
            made.set_connect_state()
        self._ssl = made
        self.engine = made.engine
        return self.engine

    def has_begun(self) -> bool:
        return not self._ssl.in_before()

    def do_handshake(self) -> None:
        self._complete(self._ssl.do_handshake, "handshake")

    def _read(self, size: int) -> bytes:
        return cast(bytes, self._complete(lambda: self._ssl.read(size), "read"))

    def write(self, data: Buffer) -> int:
        """All of it; over a socket that doesn't block it may raise, and has to be repeated then."""
        return cast(int, self._complete(lambda: self._ssl.write(data), "write"))

    def pending(self) -> int:
        return self._ssl.pending()

    def shutdown(self) -> socket.socket:
        """Send close_notify and wait for the peer's; the socket without TLS."""
        self._complete(lambda: self._ssl.shutdown() or self._ssl.shutdown(), "shutdown")
        return self._socket.get()

    # -- how a call ends -------------------------------------------------------------------------------------------

    def _complete(self, call: Callable[[], int | bytes], doing: str) -> int | bytes:
        """Make a call of our SSL object again and again until it is through, waiting where the socket may block.

        Other threads have their turn while this one waits, so one can read while another writes, as with ``ssl``.
        """
        waiting = Waiting(self._socket, doing)
        while True:
            with self._lock:
                result = call()
                code, problem = self._ssl.get_error(result), self._ssl.error
            if code is ErrorCode.NONE:
                return result
            if code is ErrorCode.WANT_READ:
                waiting.wait(reading=True)
            elif code is ErrorCode.WANT_WRITE:
                waiting.wait(reading=False)
            elif code in QUESTIONS:
                assert self._ssl.question is not None
                refuse_to_wait(self._ssl.question)
            elif (code is ErrorCode.SYSCALL and problem is None) or (doing == "read" and self._has_ended(problem)):
                # Nothing was written because nothing was to be; or nothing will come any more.
                return result
            else:
                raise self._explained(problem, doing)

    def _has_ended(self, problem: BaseException | None) -> bool:
        """Whether a read that gave nothing has met the end of data, rather than something to raise."""
        if isinstance(problem, TruncatedError) and self._ssl.is_init_finished():
            return bool(self.context.options & ssl.OP_IGNORE_UNEXPECTED_EOF)
        # After our own close_notify as well, ssl raises.
        return problem is None and self._ssl.get_shutdown() == Shutdown.RECEIVED

    def _explained(self, problem: BaseException | None, doing: str) -> BaseException:
        if problem is None:
            return zero_return()
        if isinstance(problem, TLSError):
            return ssl_error(problem, self._reason_for_misuse(doing) if isinstance(problem, MisuseError) else None)
        return problem

    def _reason_for_misuse(self, doing: str) -> str | None:
        if doing == "shutdown":
            return "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" if self.pending() else "SHUTDOWN_WHILE_IN_INIT"
        return "PROTOCOL_IS_SHUTDOWN" if Shutdown.SENT in self._ssl.get_shutdown() else None


class PlainSocket:
    """The TCP side of an ``ssl.SSLSocket``, which is a socket itself: its own ``recv`` and ``send`` are those of TLS.

    Held weakly, as CPython does: the SSLSocket holds us.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = weakref.ref(sock)

    def get(self) -> socket.socket:
        found = self._socket()
        if found is None:
            raise ssl.SSLError("Underlying socket connection gone")
        return found

    def recv(self, limit: int, /) -> bytes:
        """What is there; never blocks, so that nobody waits while holding the connection."""
        sock = self.get()
        if MSG_DONTWAIT is None:
            return socket.socket.recv(sock, limit)
        # With a time limit Python's own methods would wait, although the descriptor doesn't block.
        return os.read(sock.fileno(), limit) if _has_limit(sock) else socket.socket.recv(sock, limit, MSG_DONTWAIT)

    def send(self, data: memoryview, /) -> int:
        sock = self.get()
        if MSG_DONTWAIT is None:
            return socket.socket.send(sock, data)
        return os.write(sock.fileno(), data) if _has_limit(sock) else socket.socket.send(sock, data, MSG_DONTWAIT)

    def fileno(self) -> int:
        return self.get().fileno()

    def close(self) -> None:
        """The SSLSocket closes itself."""


def _has_limit(sock: socket.socket) -> bool:
    return sock.gettimeout() is not None


class Waiting:
    """The waiting of one call, if the socket may block. A limit of time is for the call as a whole, as in ``ssl``."""

    def __init__(self, plain: PlainSocket, doing: str) -> None:
        self._plain = plain
        self._doing = doing
        self._end: float | None = None

    def wait(self, reading: bool) -> None:
        """Raises SSLWantReadError or SSLWantWriteError where nobody may wait, TimeoutError, ValueError if closed."""
        sock = self._plain.get()
        limit = sock.gettimeout()
        if limit == 0:
            raise want_read() if reading else want_write()
        if limit is not None:
            now = time.monotonic()
            self._end = now + limit if self._end is None else self._end
            limit = self._end - now
        if not (limit is None or limit > 0) or not wait_for(sock, reading, limit):
            raise TimeoutError(f"The {self._doing} operation timed out")


def wait_for(sock: socket.socket, reading: bool, seconds: float | None) -> bool:
    """Whether the socket became ready in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(sock.fileno(), selectors.EVENT_READ if reading else selectors.EVENT_WRITE)
        return bool(selector.select(seconds))
