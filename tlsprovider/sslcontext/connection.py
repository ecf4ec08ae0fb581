"""One connection behind an ``ssl.SSLObject`` or ``ssl.SSLSocket``.

The work is done by our SSL object, which speaks in return codes; here they become the exceptions of :mod:`ssl`. See
:mod:`tlsprovider.sslcontext.view` for what CPython's classes need of this one.

Code written for ``ssl`` can't wait for a decision. So a hook of the configuration has to answer at once: what it would
have waited for is refused, and the handshake fails with that.
"""

from __future__ import annotations

import inspect
import ssl
from typing import TYPE_CHECKING, Any, Final, NoReturn

from tlsprovider.errors import ClosedByPeer, MisuseError, TLSError, TruncatedError
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import Question
from tlsprovider.ssl import BIO, SSL, ErrorCode, Shutdown
from tlsprovider.sslcontext.bios import PlainSocket
from tlsprovider.sslcontext.exceptions import ssl_error, want_read, want_write, zero_return
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

    # -- the handshake ---------------------------------------------------------------------------------------------

    def do_handshake(self) -> None:
        ret = self._ssl.do_handshake()
        while ret != 1:
            self._refuse_to_wait(ret, "handshake")
            ret = self._ssl.do_handshake()

    def _refuse_to_wait(self, ret: int | bytes, doing: str) -> None:
        """Raise for what went wrong; return if a question was refused, which the next call tells the peer and us."""
        if self._ssl.get_error(ret) not in QUESTIONS:
            self._raise(ret, doing)
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

    # -- data ------------------------------------------------------------------------------------------------------

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
        data = self._ssl.read(size)
        while size and not data and not self._has_ended():
            self._refuse_to_wait(data, "read")
            data = self._ssl.read(size)
        return data

    def _has_ended(self) -> bool:
        """Whether a read that gave nothing has met the end of data, rather than something to raise."""
        problem = self._ssl.error
        if isinstance(problem, TruncatedError) and self._ssl.is_init_finished():
            return bool(self.context.options & ssl.OP_IGNORE_UNEXPECTED_EOF)
        # After our own close_notify as well, ssl raises.
        ended = self._ssl.get_error(b"") is ErrorCode.ZERO_RETURN and problem is None
        return ended and self._ssl.get_shutdown() == Shutdown.RECEIVED

    def write(self, data: Buffer) -> int:
        """All of it; over a socket that doesn't block it may raise, and has to be repeated then."""
        ret = self._ssl.write(data)
        while ret <= 0 and memoryview(data).nbytes:
            self._refuse_to_wait(ret, "write")
            ret = self._ssl.write(data)
        return ret

    def pending(self) -> int:
        return self._ssl.pending()

    def shutdown(self) -> socket | None:
        """Send close_notify and wait for the peer's; the socket without TLS, if there is one."""
        ret = self._ssl.shutdown()
        if ret == 0:
            ret = self._ssl.shutdown()
        if ret != 1:
            self._raise(ret, "shutdown")
        return self._socket.get() if self._socket is not None else None

    # -- why not ---------------------------------------------------------------------------------------------------

    def _raise(self, ret: int | bytes, doing: str) -> NoReturn:
        problem = self._ssl.error
        match self._ssl.get_error(ret):
            case ErrorCode.WANT_READ:
                self._check_timeout(doing)
                raise want_read()
            case ErrorCode.WANT_WRITE:
                self._check_timeout(doing)
                raise want_write()
            case ErrorCode.ZERO_RETURN:
                raise ssl_error(problem) if isinstance(problem, ClosedByPeer) else zero_return()
        if isinstance(problem, TLSError):
            raise ssl_error(problem, self._reason_for_misuse(doing) if isinstance(problem, MisuseError) else None)
        assert problem is not None
        raise problem

    def _check_timeout(self, doing: str) -> None:
        if self._socket is not None and self._socket.get().gettimeout():
            raise TimeoutError(f"The {doing} operation timed out")

    def _reason_for_misuse(self, doing: str) -> str | None:
        if doing == "shutdown":
            return "APPLICATION_DATA_AFTER_CLOSE_NOTIFY" if self.pending() else "SHUTDOWN_WHILE_IN_INIT"
        return "PROTOCOL_IS_SHUTDOWN" if Shutdown.SENT in self._ssl.get_shutdown() else None
