"""BIOs that reach something else: a socket, or another BIO through a buffer. See :mod:`tlsprovider.ssl.bio`."""

from __future__ import annotations

import os
from socket import socket
from typing import Final, Protocol

from tlsprovider.errors import MisuseError
from tlsprovider.quick_ack import acknowledge_now
from tlsprovider.ssl.bio import BIO, DESCRIPTOR, FILTER, SOURCE_SINK

__all__ = ["BufferBIO", "SocketBIO"]

DEFAULT_BUFFER_SIZE: Final = 4096


class Endpoint(Protocol):
    """The part of a socket that is used."""

    def recv(self, limit: int, /) -> bytes: ...
    def send(self, data: memoryview, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class _Descriptor:
    """A borrowed file descriptor with the methods of a socket."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def recv(self, limit: int, /) -> bytes:
        return os.read(self._fd, limit)

    def send(self, data: memoryview, /) -> int:
        return os.write(self._fd, data)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


class SocketBIO(BIO):
    """A connected socket, or the number of a descriptor, BIO_s_socket(3).

    Whether calls block is the socket's own affair and never changed here. A socket with a timeout asks for a retry when
    the timeout passes. The socket stays its owner's unless ``close`` is true.
    """

    TYPE = 5 | SOURCE_SINK | DESCRIPTOR
    NAME = "socket"

    def __init__(self, sock: socket | Endpoint | int, close: bool = False) -> None:
        super().__init__()
        if isinstance(sock, int):
            os.fstat(sock)
            sock = _Descriptor(sock)
        self._socket: socket | Endpoint = sock
        self._close = close
        self._ended = False

    def _take(self, limit: int) -> bytes:
        while True:
            try:
                data = self._socket.recv(limit)
                self._ended = not data
                return data
            except InterruptedError:
                continue
            except OSError as problem:
                if not would_block(problem):
                    raise
                self.set_retry_read()
                return b""

    def _put(self, data: memoryview) -> int:
        while True:
            try:
                return self._socket.send(data)
            except InterruptedError:
                continue
            except OSError as problem:
                if not would_block(problem):
                    raise
                self.set_retry_write()
                return 0

    def _release(self) -> None:
        if self._close:
            self._socket.close()

    def eof(self) -> bool:
        return self._ended

    def get_fd(self) -> int:
        """The descriptor's number, for select(2); -1 once the socket is closed."""
        return self._socket.fileno()

    def peer_address(self) -> tuple[str, int] | None:
        """``(host, port)`` of the peer; None where there is none, or none of the internet."""
        if not isinstance(self._socket, socket):
            return None
        try:
            address = self._socket.getpeername()
        except OSError:
            return None
        return (address[0], address[1]) if isinstance(address, tuple) else None

    def acknowledge_now(self) -> None:
        """See :mod:`tlsprovider.quick_ack`."""
        acknowledge_now(self._socket)


def would_block(problem: OSError) -> bool:
    """Whether a socket only says "not now". Its own timeout has no errno, unlike ETIMEDOUT, which is the network's."""
    return isinstance(problem, BlockingIOError) or (isinstance(problem, TimeoutError) and problem.errno is None)


class BufferBIO(BIO):
    """A filter that gathers small writes, BIO_f_buffer(3): they go on when it is full, and at :meth:`flush`."""

    TYPE = 9 | FILTER
    NAME = "buffer"

    def __init__(self, next_bio: BIO | None = None, size: int = DEFAULT_BUFFER_SIZE) -> None:
        super().__init__()
        self.next_bio = next_bio
        self._size = size
        self._data = bytearray()

    def _take(self, limit: int) -> bytes:
        behind = self._behind()
        data = behind.read(limit)
        if not data:
            self._copy_retry(behind)
        return data

    def _put(self, data: memoryview) -> int:
        if len(self._data) >= self._size and not self._pass_on():
            return 0
        room = data[: self._size - len(self._data)]
        self._data += room
        return len(room)

    def flush(self) -> int:
        self.clear_retry_flags()
        try:
            return self._behind().flush() if self._pass_on() else -1
        except OSError as problem:
            self._failed(problem)
            return -1

    def _pass_on(self) -> bool:
        """Write everything held to the BIO behind; False: it asks for a retry."""
        behind = self._behind()
        while self._data:
            taken = behind.write(self._data)
            if taken <= 0:
                self._copy_retry(behind)
                return False
            del self._data[:taken]
        return True

    def _behind(self) -> BIO:
        if self.next_bio is None:
            raise MisuseError("a buffer BIO needs a BIO behind it: push() one")
        return self.next_bio

    def _copy_retry(self, behind: BIO) -> None:
        self._retry, self._reason = behind.retry_type(), behind.get_retry_reason()
        if behind.error is not None:
            raise behind.error

    def _release(self) -> None:
        if self.next_bio is not None:
            self.next_bio.close()

    def wpending(self) -> int:
        return len(self._data) + super().wpending()
