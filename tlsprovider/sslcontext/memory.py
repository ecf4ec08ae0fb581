"""A connection over two ``ssl.MemoryBIO``: what trio, anyio and asyncio use.

Nothing blocks here, so it goes without the machinery of our SSL object: the engine is given what is in one memory, and
what it has to say is put into the other. The one thing to mind is what follows TLS. The engine is given all there is,
and so perhaps bytes behind the peer's close_notify; these go back, for whoever goes on without TLS.
"""

from __future__ import annotations

import ssl
from threading import Lock
from typing import TYPE_CHECKING, Final

from tlsprovider.errors import MisuseError, TLSError, TruncatedError, WantRead
from tlsprovider.questions import WantAnswer
from tlsprovider.sslcontext.connection import Buffer, Connection, refuse_to_wait
from tlsprovider.sslcontext.exceptions import ssl_error, want_read, zero_return

if TYPE_CHECKING:
    from tlsprovider.sslcontext.context import SSLContext

__all__ = ["MemoryConnection"]

# Given to the engine at once, which opens all of it: eight full records.
AT_ONCE: Final = 128 * 1024


class MemoryConnection(Connection):
    """See the module, and :class:`Connection`. A lock lets one thread at a time in, as in ``ssl`` since Python 3.13."""

    def __init__(
        self,
        context: SSLContext,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool,
        server_hostname: str | None,
        owner: object,
    ) -> None:
        super().__init__(context, server_side, server_hostname, owner)
        self._incoming = incoming
        self._outgoing = outgoing
        self._lock = Lock()
        self._begun = False
        self.make_engine()

    def has_begun(self) -> bool:
        return self._begun

    def do_handshake(self) -> None:
        with self._lock:
            self._handshake()

    def _read(self, size: int) -> bytes:
        with self._lock:
            self._handshake()
            while True:
                try:
                    data = self.engine.read(size)
                except WantRead:
                    self._feed()
                    continue
                except TruncatedError as end:
                    if self.context.options & ssl.OP_IGNORE_UNEXPECTED_EOF:
                        return b""
                    raise ssl_error(end) from end
                except TLSError as problem:
                    raise self._last_words(problem) from problem
                if not data and self.engine.close_sent:
                    raise zero_return()
                return data

    def write(self, data: Buffer) -> int:
        with self._lock:
            self._handshake()
            if self.engine.close_sent:
                raise ssl_error(MisuseError("close_notify was sent, so nothing more can be"), "PROTOCOL_IS_SHUTDOWN")
            try:
                count = self.engine.write(memoryview(data).cast("B"))
            except TLSError as problem:
                raise self._last_words(problem) from problem
            self._send()
            return count

    def shutdown(self) -> None:
        with self._lock:
            if not self.engine.handshake_complete:
                raise ssl_error(MisuseError("there is no connection to shut down yet"), "SHUTDOWN_WHILE_IN_INIT")
            self.engine.shutdown()
            self._send()
            while not self._is_closed():
                self._feed()

    def _is_closed(self) -> bool:
        """Whether the peer has closed too, and all that it said before was read."""
        if self.engine.pending:
            problem = MisuseError("there is data to read before the peer's close_notify")
            raise ssl_error(problem, "APPLICATION_DATA_AFTER_CLOSE_NOTIFY")
        try:
            return not self.engine.read()
        except WantRead:
            return False
        except TLSError as problem:
            raise self._last_words(problem) from problem

    # -- the engine ------------------------------------------------------------------------------------------------

    def _handshake(self) -> None:
        if self.engine.handshake_complete:
            return
        self._begun = True
        while True:
            try:
                self.engine.do_handshake()
                break
            except WantRead:
                self._feed()
            except WantAnswer as want:
                refuse_to_wait(want.question)
            except TLSError as problem:
                raise self._last_words(problem) from problem
        self._send()
        if self.engine.close_received:
            self._give_back()

    def _feed(self) -> None:
        """Give the engine what has come; raises SSLWantReadError when there is nothing."""
        data = self._incoming.read(AT_ONCE)
        if data:
            self.engine.process_incoming(data)
            if self.engine.handshake_complete and self.engine.failure is None and not self.engine.close_sent:
                # An engine answers a KeyUpdate when it writes; OpenSSL when it reads, and nobody may write for long.
                self.engine.write(b"")
            if self.engine.close_received:
                self._give_back()
        elif self._incoming.eof:
            self.engine.process_eof()
            return
        self._send()
        if not data:
            raise want_read()

    def _give_back(self) -> None:
        """What was not TLS any more. If the end was announced already, nothing can be put before it."""
        rest = self.engine.trailing_bytes() + self._incoming.read()
        if rest and not self._incoming.eof:
            self._incoming.write(rest)

    def _send(self) -> None:
        data = self.engine.process_outgoing()
        if data:
            self._outgoing.write(data)

    def _last_words(self, problem: TLSError) -> ssl.SSLError:
        """An alert goes out with the error."""
        self._send()
        return ssl_error(problem)
