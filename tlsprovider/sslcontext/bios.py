"""What a connection reads from and writes to: the ``MemoryBIO`` objects of :mod:`ssl`, or a socket.

Both as a :class:`~tlsprovider.ssl.BIO`, which is what our SSL object takes.
"""

from __future__ import annotations

import socket
import ssl
import weakref
from typing import Final

from tlsprovider.ssl.bio import BIO, SOURCE_SINK

__all__ = ["IncomingBIO", "OutgoingBIO", "PlainSocket"]

MEMORY: Final = 1 | SOURCE_SINK


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
        return socket.socket.recv(self.get(), limit)

    def send(self, data: memoryview, /) -> int:
        return socket.socket.send(self.get(), data)

    def fileno(self) -> int:
        return self.get().fileno()

    def close(self) -> None:
        """The SSLSocket closes itself."""
