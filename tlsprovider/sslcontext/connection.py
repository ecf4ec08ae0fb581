"""One connection behind an ``ssl.SSLObject`` or ``ssl.SSLSocket``.

The work is done by our SSL object, which speaks in return codes; here they become the exceptions of :mod:`ssl`. See
:mod:`tlsprovider.sslcontext.view` for what CPython's classes need of this one.

Code written for ``ssl`` can't wait for a decision. So a hook of the configuration has to answer at once: what it would
have waited for is refused, and the handshake fails with that.
"""

from __future__ import annotations

import inspect
import ssl
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, cast

from tlsprovider.errors import MisuseError, TLSError, TruncatedError
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import Question
from tlsprovider.ssl import BIO, SSL, ErrorCode, Shutdown
from tlsprovider.sslcontext.bios import PlainSocket, Waiting
from tlsprovider.sslcontext.exceptions import ssl_error, zero_return
from tlsprovider.sslcontext.side import Side

if TYPE_CHECKING:
    from socket import socket

    from tlsprovider.sslcontext.context import SSLContext

__all__ = ["Connection"]

Buffer = bytes | bytearray | memoryview

QUESTIONS: Final = {
    ErrorCode.WANT_X509_LOOKUP,
    ErrorCode.WANT_CLIENT_HELLO_CB,
    ErrorCode.WANT_RETRY_VERIFY,
    ErrorCode.WANT_PRIVATE_KEY_OPERATION,
    ErrorCode.WANT_SESSION,
    ErrorCode.WANT_EARLY_DATA_DECISION,
}


class Connection(Side):
    """What CPython's ``SSLObject`` and ``SSLSocket`` call ``_sslobj``."""

    _ssl: SSL

    def __init__(
        self,
        context: SSLContext,
        bios: tuple[BIO, BIO],
        server_side: bool,
        server_hostname: str | None,
        owner: object,
        sock: PlainSocket | None = None,
    ) -> None:
        self._bios = bios
        self._socket = sock
        self._lock = Lock()
        super().__init__(context, server_side, server_hostname, owner)
        self.make_engine()

    def make_engine(self) -> IEngine:
        made = SSL(self.context.config_for(self), self.context.provider, self.server_hostname)
        made.set_bio(*self._bios)
        if self.server_side:
            made.set_accept_state()
        else:
            made.set_connect_state()
        self._ssl = made
        self.engine = made.engine
        return self.engine

    def has_begun(self) -> bool:
        return not self._ssl.in_before()

    # -- what it does ----------------------------------------------------------------------------------------------

    def do_handshake(self) -> None:
        self._complete(self._ssl.do_handshake, "handshake")

    def read(self, size: int, buffer: bytearray | memoryview | None = None) -> bytes | int:
        """``SSLObject.read``: bytes, or a count if there is a buffer; nothing at the end."""
        if buffer is None:
            if size < 0:
                raise ValueError("size should not be negative")
            return self._read(size)
        with memoryview(buffer) as view, view.cast("B") as target:
            data = self._read(size if 0 < size < len(target) else len(target))
            target[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        return cast(bytes, self._complete(lambda: self._ssl.read(size), "read")) if size else b""

    def write(self, data: Buffer) -> int:
        """All of it; over a socket that doesn't block it may raise, and has to be repeated then."""
        return cast(int, self._complete(lambda: self._ssl.write(data), "write"))

    def pending(self) -> int:
        return self._ssl.pending()

    def shutdown(self) -> socket | None:
        """Send close_notify and wait for the peer's; the socket without TLS, if there is one."""
        self._complete(lambda: self._ssl.shutdown() or self._ssl.shutdown(), "shutdown")
        return self._socket.get() if self._socket is not None else None

    # -- how it ends -----------------------------------------------------------------------------------------------

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
                self._refuse_to_wait()
            elif (code is ErrorCode.SYSCALL and problem is None) or (doing == "read" and self._has_ended(problem)):
                # Nothing was written because nothing was to be; or nothing will come any more.
                return result
            else:
                raise self._explained(problem, doing)

    def _refuse_to_wait(self) -> None:
        """The next call tells the peer and us."""
        question: Question[Any] | None = self._ssl.question
        assert question is not None
        pending, question.pending = question.pending, None
        if inspect.iscoroutine(pending):
            pending.close()
        question.fail(
            MisuseError(
                f"the hook for {type(question).__name__} wants to wait, which users of an ssl.SSLContext can't:"
                " let it answer at once, or use the streams and endpoints of tlsprovider"
            )
        )

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
