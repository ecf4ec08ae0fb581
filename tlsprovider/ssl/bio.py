"""BIOs: what an SSL object reads from and writes to; BIO_new(3), BIO_s_bio(3), BIO_should_retry(3).

A BIO moves bytes and never explains itself with an exception: what a transport has to say is said in the four words of
the man pages. A call that moved nothing either *asks for a retry* (:meth:`BIO.should_retry`; nothing is wrong, there is
no data or no room yet), or met the *end* (0), or *failed* (-1; the OSError is in :attr:`BIO.error`). Wrong use by the
programmer, such as joining a half that is joined already, raises :exc:`~tlsprovider.errors.MisuseError`.

C has an out-parameter where Python has none, so reading has two spellings, here and in the SSL object: ``read(n)``
gives bytes, and ``b""`` means that :attr:`BIO.last_return` holds the code of C; ``read_into(buffer)`` gives that code.

Two families: a source/sink ends a chain and holds or reaches the bytes (:class:`MemoryBIO`, :class:`PairBIO`,
:class:`~tlsprovider.ssl.bio_socket.SocketBIO`); a filter (:class:`~tlsprovider.ssl.bio_socket.BufferBIO`) stands before
another BIO. No BIO has a lock: both halves of a pair belong to one thread, or to threads that take turns.

Memory is Python's business. What is left of BIO_free(3) is :meth:`BIO.close`, which may be called as often as one
likes, and :meth:`BIO.up_ref` for a BIO that two owners will close.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from types import TracebackType
from typing import ClassVar, Final, Self

from tlsprovider.errors import MisuseError

__all__ = ["BIO", "MemoryBIO", "PairBIO", "Retry", "RetryReason", "bio_pair"]

Buffer = bytes | bytearray | memoryview

# BIO_s_bio(3): "sufficient for a TLS record", the largest of which is 16 KiB and some overhead.
DEFAULT_PAIR_SIZE: Final = 17 * 1024

DESCRIPTOR: Final = 0x0100
FILTER: Final = 0x0200
SOURCE_SINK: Final = 0x0400


class Retry(IntFlag):
    """What a BIO is waiting for (BIO_FLAGS_READ, BIO_FLAGS_WRITE, BIO_FLAGS_IO_SPECIAL)."""

    NONE = 0
    READ = 1
    WRITE = 2
    IO_SPECIAL = 4


class RetryReason(IntEnum):
    """Why a BIO asks for a special retry (BIO_RR_*)."""

    NONE = 0
    SSL_X509_LOOKUP = 1
    CONNECT = 2
    ACCEPT = 3


class BIO:
    """The base. A kind of one's own overrides :meth:`_take` and :meth:`_put`, where ``set_retry_*`` asks for a retry.

    :ivar last_return: what the last read or write would have returned in C.
    :ivar error: the OSError of the last read or write that failed, else None.
    """

    TYPE: ClassVar[int] = 0
    NAME: ClassVar[str] = "BIO"

    def __init__(self) -> None:
        self.last_return = 0
        self.error: OSError | None = None
        self.next_bio: BIO | None = None
        self._retry = Retry.NONE
        self._reason = RetryReason.NONE
        self._references = 1

    # -- what a kind of BIO provides --------------------------------------------------------------------------------

    def _take(self, limit: int) -> bytes:
        """At most ``limit`` bytes; ``b""`` at the end or after ``set_retry_*``; raises OSError."""
        raise OSError(errno.EOPNOTSUPP, f"{self.method_name()}: can't be read")

    def _put(self, data: memoryview) -> int:
        """How many bytes of ``data`` were taken; 0 after ``set_retry_*``; raises OSError."""
        raise OSError(errno.EOPNOTSUPP, f"{self.method_name()}: can't be written")

    def _nothing(self) -> int:
        """The code of a read or write that moved nothing."""
        return -1 if self.should_retry() else 0

    def _release(self) -> None:
        """Let go of what this BIO holds; called once."""

    # -- reading and writing ----------------------------------------------------------------------------------------

    def read(self, n: int) -> bytes:
        """At most ``n`` bytes. ``b""``: a retry is requested, or the end, or an error; see :attr:`last_return`."""
        if n < 0:
            raise ValueError(f"expected a count of bytes, got {n}")
        self.clear_retry_flags()
        self.error = None
        try:
            self._check_open()
            data = self._take(n) if n else b""
        except OSError as problem:
            self._failed(problem)
            return b""
        self.last_return = len(data) or (self._nothing() if n else 0)
        return data

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """As :meth:`read`, into ``buffer``: the count of bytes, 0 at the end, -1 for a retry or an error."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return self.last_return

    def write(self, data: Buffer) -> int:
        """The count of bytes taken, which may be less than all; -1 for a retry or an error. Empty: 0."""
        self.clear_retry_flags()
        self.error = None
        view = memoryview(data).cast("B")
        try:
            self._check_open()
            taken = self._put(view) if view else 0
        except OSError as problem:
            self._failed(problem)
            return -1
        self.last_return = taken or (self._nothing() if view else 0)
        return self.last_return

    def flush(self) -> int:
        """1 when nothing is held back; -1 for a retry or an error. Only a filter holds anything back."""
        return self.next_bio.flush() if self.next_bio is not None else 1

    def _check_open(self) -> None:
        if not self._references:
            raise OSError(errno.EBADF, f"this {self.method_name()} BIO is closed")

    def _failed(self, problem: OSError) -> None:
        self.clear_retry_flags()
        self.error = problem.with_traceback(None)
        self.last_return = -1

    # -- retry, BIO_should_retry(3) ---------------------------------------------------------------------------------

    def should_retry(self) -> bool:
        """Whether the call that moved nothing is to be made again later. False: it was the end, or an error."""
        return bool(self._retry)

    def should_read(self) -> bool:
        return Retry.READ in self._retry

    def should_write(self) -> bool:
        return Retry.WRITE in self._retry

    def should_io_special(self) -> bool:
        return Retry.IO_SPECIAL in self._retry

    def retry_type(self) -> Retry:
        """The flags together; ``Retry.NONE`` (0) when no retry is requested."""
        return self._retry

    def get_retry_BIO(self) -> BIO:  # noqa: N802 - the name of the man page
        """The BIO of this chain that asked for the retry; this one if none did."""
        last = self
        for bio in self.chain():
            if not bio.should_retry():
                break
            last = bio
        return last

    def get_retry_reason(self) -> RetryReason:
        return self._reason

    def set_retry_read(self) -> None:
        self._retry = Retry.READ

    def set_retry_write(self) -> None:
        self._retry = Retry.WRITE

    def set_retry_special(self, reason: RetryReason) -> None:
        self._retry, self._reason = Retry.IO_SPECIAL, reason

    def clear_retry_flags(self) -> None:
        self._retry, self._reason = Retry.NONE, RetryReason.NONE

    # -- control ----------------------------------------------------------------------------------------------------

    def pending(self) -> int:
        """Bytes that can be read here at once."""
        return self.next_bio.pending() if self.next_bio is not None else 0

    def wpending(self) -> int:
        """Bytes that were written here and have not gone on."""
        return self.next_bio.wpending() if self.next_bio is not None else 0

    def eof(self) -> bool:
        """Whether there is nothing to read and, except for memory, never will be."""
        return self.next_bio.eof() if self.next_bio is not None else False

    def reset(self) -> int:
        """Back to how it began; 1."""
        return self.next_bio.reset() if self.next_bio is not None else 1

    def method_type(self) -> int:
        return self.TYPE

    def method_name(self) -> str:
        return self.NAME

    # -- chains, BIO_push(3) ----------------------------------------------------------------------------------------

    def chain(self) -> Iterator[BIO]:
        """This BIO and those behind it."""
        bio: BIO | None = self
        while bio is not None:
            yield bio
            bio = bio.next_bio

    def push(self, other: BIO) -> Self:
        """Put ``other`` at the end of this chain."""
        *_, last = self.chain()
        last.next_bio = other
        return self

    def pop(self) -> BIO | None:
        """Leave the chain that begins here; the BIO that was behind this one."""
        behind, self.next_bio = self.next_bio, None
        return behind

    # -- life -------------------------------------------------------------------------------------------------------

    def up_ref(self) -> int:
        """One more owner, who will :meth:`close` as well; 1."""
        self._check_open()
        self._references += 1
        return 1

    @property
    def closed(self) -> bool:
        return not self._references

    def close(self) -> None:
        """One owner less; the last one lets go of what the BIO holds. Afterwards it does nothing."""
        if self._references:
            self._references -= 1
            if not self._references:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"pending={self.pending()} wpending={self.wpending()}"
        return f"<{type(self).__name__} {state}>"


class MemoryBIO(BIO):
    """Bytes in memory, BIO_s_mem(3): what was written can be read once. Writing never fails for lack of room.

    With ``data`` (as BIO_new_mem_buf): read-only, it ends after ``data``, and :meth:`reset` makes it readable again.
    """

    TYPE = 1 | SOURCE_SINK
    NAME = "memory buffer"

    def __init__(self, data: Buffer | None = None) -> None:
        super().__init__()
        self._original = None if data is None else bytes(data)
        self._data = bytearray(self._original or b"")
        self._empty_return = -1 if data is None else 0

    def _take(self, limit: int) -> bytes:
        taken = bytes(self._data[:limit])
        del self._data[:limit]
        if not taken and self._empty_return:
            self.set_retry_read()
        return taken

    def _put(self, data: memoryview) -> int:
        if self._original is not None:
            raise OSError(errno.EROFS, "write to a read-only memory BIO")
        self._data += data
        return len(data)

    def _nothing(self) -> int:
        return self._empty_return

    def _release(self) -> None:
        self._data = bytearray()

    def set_mem_eof_return(self, value: int) -> None:
        """What reading says when it is empty. 0: this is the end. Otherwise, and it should be negative: come back."""
        self._empty_return = value

    def write_eof(self) -> None:
        """Nothing more will be written: the name that the memory BIO of Python's ssl module has for it."""
        self.set_mem_eof_return(0)

    def pending(self) -> int:
        return len(self._data)

    def wpending(self) -> int:
        return 0

    def eof(self) -> bool:
        """True whenever it is empty, as BIO_s_mem(3) has it, though more may be written."""
        return not self._data

    def reset(self) -> int:
        self._data = bytearray(self._original or b"")
        return 1


class PairBIO(BIO):
    """One half of a pair, BIO_s_bio(3): what is written to one half is read from the other. Never blocks.

    An SSL object has one half; the program moves bytes between the other half and the network. **Before waiting for
    input, send what is pending**: the peer may be waiting for exactly that, and WANT_READ doesn't say so.

    Closing either half ends the association, and what was not read by then is gone.
    """

    TYPE = 19 | SOURCE_SINK
    NAME = "BIO pair"

    def __init__(self, write_buf_size: int = 0) -> None:
        super().__init__()
        self.peer: PairBIO | None = None
        self._size = 0
        # Written here, not yet read there.
        self._data = bytearray()
        self._shut = False
        # What the other half wanted to read and did not get.
        self._request = 0
        self.set_write_buf_size(write_buf_size or DEFAULT_PAIR_SIZE)

    def _take(self, limit: int) -> bytes:
        peer = self.peer
        if peer is None:
            return b""
        peer._request = 0
        taken = bytes(peer._data[:limit])
        del peer._data[:limit]
        if not taken and not peer._shut:
            peer._request = min(limit, peer._size)
            self.set_retry_read()
        return taken

    def _put(self, data: memoryview) -> int:
        if self.peer is None or self._shut:
            raise BrokenPipeError(errno.EPIPE, "this half was shut down for writing" if self._shut else "no other half")
        self._request = 0
        room = data[: self._size - len(self._data)]
        self._data += room
        if not room:
            self.set_retry_write()
        return len(room)

    def _release(self) -> None:
        self.destroy_pair()

    def make_pair(self, other: PairBIO) -> int:
        """Join two halves; 1. Raises MisuseError when one is in use, that is, joined already."""
        if self is other or self.peer is not None or other.peer is not None:
            raise MisuseError("in use: a BIO can be joined to one other BIO only; destroy_pair() first")
        self.peer, other.peer = other, self
        self._begin()
        other._begin()
        return 1

    def _begin(self) -> None:
        self._data, self._shut, self._request = bytearray(), False, 0

    def destroy_pair(self) -> int:
        """End the association; 1. What was not read is gone: reading says the end, writing fails."""
        peer, self.peer = self.peer, None
        self._begin()
        if peer is not None:
            peer.peer = None
            peer._begin()
        return 1

    def shutdown_wr(self) -> int:
        """No more will be written here; 1. The other half delivers what is pending and then the end."""
        self._shut = True
        self._request = 0
        return 1

    def set_write_buf_size(self, size: int) -> int:
        """How much can be written here before it is read; 1. Raises MisuseError on a joined half."""
        if self.peer is not None:
            raise MisuseError("in use: set the size before joining the halves")
        if size <= 0:
            raise ValueError(f"expected a size of at least one byte, got {size}")
        self._size = size
        return 1

    def get_write_buf_size(self) -> int:
        return self._size

    def get_write_guarantee(self) -> int:
        """How much can be written now. A larger write is short; at 0 it asks for a retry."""
        return 0 if self.peer is None or self._shut else self._size - len(self._data)

    def get_read_request(self) -> int:
        """How much the other half last wanted to read and did not get: with TLS, what the next step needs."""
        return self._request

    def reset_read_request(self) -> None:
        self._request = 0

    def pending(self) -> int:
        return 0 if self.peer is None else len(self.peer._data)

    def wpending(self) -> int:
        return len(self._data)

    def eof(self) -> bool:
        return self.peer is None or (self.peer._shut and not self.peer._data)

    def reset(self) -> int:
        """Drop what was written here and not read yet; 1."""
        self._data = bytearray()
        return 1


def bio_pair(size: int = 0, other_size: int = 0) -> tuple[PairBIO, PairBIO]:
    """Two joined halves, BIO_new_bio_pair(3), with write buffers of these sizes; 0 is 17 KiB, enough for one record."""
    one, other = PairBIO(size), PairBIO(other_size)
    one.make_pair(other)
    return one, other
