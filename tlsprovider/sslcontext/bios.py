"""What a connection reads from and writes to: the ``MemoryBIO`` objects of :mod:`ssl`, or a socket.

Both as a :class:`~tlsprovider.ssl.BIO`, which is what our SSL object takes.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import time
import weakref
from typing import Final

from tlsprovider.ssl.bio import BIO, SOURCE_SINK
from tlsprovider.sslcontext.exceptions import want_read, want_write

__all__ = ["IncomingBIO", "OutgoingBIO", "PlainSocket", "Waiting"]

MEMORY: Final = 1 | SOURCE_SINK
# None on Windows. There calls block while they hold the connection, so two threads can't use one at the same time.
MSG_DONTWAIT: Final[int | None] = getattr(socket, "MSG_DONTWAIT", None)


class IncomingBIO(BIO):
    """Reads an ``ssl.MemoryBIO``. It ends when that one was told so by ``write_eof()``."""

    TYPE = MEMORY
    NAME = "ssl.MemoryBIO"

    def __init__(self, memory: ssl.MemoryBIO) -> None:
        super().__init__()
        self._memory = memory

    def _take(self, limit: int) -> bytes:
        data = self._memory.read(limit)
        if not data and not self._memory.eof:
            self.set_retry_read()
        return data

    def pending(self) -> int:
        return self._memory.pending


class OutgoingBIO(BIO):
    """Writes an ``ssl.MemoryBIO``, which always has room."""

    TYPE = MEMORY
    NAME = "ssl.MemoryBIO"

    def __init__(self, memory: ssl.MemoryBIO) -> None:
        super().__init__()
        self._memory = memory

    def _put(self, data: memoryview) -> int:
        return self._memory.write(data)


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
    """The waiting of one call, for a socket with or without a limit; over memory, or without blocking, there is none.

    The limit is for the call as a whole, as in ``ssl``.
    """

    def __init__(self, plain: PlainSocket | None, doing: str) -> None:
        self._plain = plain
        self._doing = doing
        self._end: float | None = None

    def wait(self, reading: bool) -> None:
        """Raises SSLWantReadError or SSLWantWriteError where nobody may wait, TimeoutError, ValueError if closed."""
        sock = self._plain.get() if self._plain is not None else None
        limit = sock.gettimeout() if sock is not None else 0
        if sock is None or limit == 0:
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
