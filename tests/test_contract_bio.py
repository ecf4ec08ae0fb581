"""The contract of BIO_new(3), BIO_should_retry(3) and BIO_s_mem(3): lines N, Y and M.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import errno
import os
import socket

import pytest
from contract_transports import BrokenBIO

from tlsprovider.config import ClientConfig
from tlsprovider.errors import MisuseError
from tlsprovider.ssl import BIO, SSL, ErrorCode, MemoryBIO, PairBIO, Retry, RetryReason, SocketBIO, bio_pair
from tlsprovider.ssl.bio import FILTER, SOURCE_SINK
from tlsprovider.ssl.bio_socket import BufferBIO

RECORD = 16 * 1024 + 256 + 5


def retry_of(bio: BIO) -> tuple[bool, bool, bool, bool]:
    return bio.should_retry(), bio.should_read(), bio.should_write(), bio.should_io_special()


NO_RETRY = (False, False, False, False)
RETRY_READ = (True, True, False, False)
RETRY_WRITE = (True, False, True, False)


class Interrupted:
    """A socket whose first call is interrupted by a signal."""

    def __init__(self) -> None:
        self.calls = 0

    def recv(self, limit: int, /) -> bytes:
        return b"x" * self._interrupt(limit)

    def send(self, data: memoryview, /) -> int:
        return self._interrupt(len(data))

    def _interrupt(self, count: int) -> int:
        self.calls += 1
        if self.calls % 2:
            raise InterruptedError(errno.EINTR, "a signal came")
        return count

    def fileno(self) -> int:
        return -1

    def close(self) -> None:
        self.calls = -1


# -- N: BIO_new(3), BIO_free(3), BIO_up_ref(3) -------------------------------------------------------------------------


@pytest.mark.parametrize("make", [MemoryBIO, PairBIO, BufferBIO, lambda: SocketBIO(Interrupted())])
def test_N1_a_new_bio_has_one_owner(make: type[BIO]) -> None:
    bio = make()
    assert not bio.closed
    bio.close()
    assert bio.closed


def test_N2_a_bio_that_can_not_be_made_is_an_exception() -> None:
    with pytest.raises(OSError):
        SocketBIO(-1)
    with pytest.raises(ValueError):
        bio_pair(-1)


def test_N3_two_families() -> None:
    kinds = {type(bio): bio.method_type() for bio in (MemoryBIO(), PairBIO(), BufferBIO(), SocketBIO(Interrupted()))}
    assert {kind for kind, number in kinds.items() if number & SOURCE_SINK} == {MemoryBIO, PairBIO, SocketBIO}
    assert {kind for kind, number in kinds.items() if number & FILTER} == {BufferBIO}
    names = [bio.method_name() for bio in (MemoryBIO(), SocketBIO(Interrupted()), BufferBIO())]
    assert names == ["memory buffer", "socket", "buffer"]


def test_N4_a_memory_bio_can_be_used_at_once() -> None:
    bio = MemoryBIO()
    assert bio.write(b"hello") == 5
    assert bio.read(10) == b"hello"


def test_N5_up_ref_adds_an_owner() -> None:
    bio = MemoryBIO()
    assert bio.up_ref() == 1
    bio.close()
    assert not bio.closed and bio.write(b"x") == 1
    bio.close()
    assert bio.closed


def test_N6_N7_close_is_idempotent() -> None:
    with MemoryBIO() as bio:
        assert bio.write(b"x") == 1
    for _ in range(2):
        assert bio.closed
        assert bio.write(b"x") == -1
        assert (bio.read(1), bio.last_return) == (b"", -1)
        assert bio.error is not None and bio.error.errno == errno.EBADF
        bio.close()


def test_N8_closing_a_chain_goes_on_behind_a_filter_until_somebody_else_owns_it() -> None:
    for shared in (False, True):
        behind = MemoryBIO()
        if shared:
            behind.up_ref()
        front = BufferBIO(behind)
        front.close()
        assert front.closed and behind.closed is not shared
        front.close()
        assert behind.closed is not shared


def test_N9_close_says_nothing() -> None:
    assert MemoryBIO().close() is None  # type: ignore[func-returns-value]


# -- Y: BIO_should_retry(3) --------------------------------------------------------------------------------------------


def test_Y1_should_retry_tells_later_from_never() -> None:
    one, other = bio_pair()
    one.read(1)
    assert one.should_retry()
    other.shutdown_wr()
    one.read(1)
    assert not one.should_retry()
    broken = BrokenBIO(ConnectionResetError(errno.ECONNRESET, "reset"))
    assert broken.write(b"x") == -1
    assert not broken.should_retry() and isinstance(broken.error, ConnectionResetError)


def test_Y2_Y3_the_kind_of_retry() -> None:
    bio = MemoryBIO()
    assert bio.retry_type() == 0
    seen = []
    for ask in (bio.set_retry_read, bio.set_retry_write, lambda: bio.set_retry_special(RetryReason.CONNECT)):
        ask()
        assert sum(retry_of(bio)[1:]) == 1
        seen.append(bio.retry_type())
    assert seen == [Retry.READ, Retry.WRITE, Retry.IO_SPECIAL]
    bio.clear_retry_flags()
    assert (bio.retry_type(), retry_of(bio)) == (0, NO_RETRY)


def test_Y4_get_retry_BIO_walks_the_chain() -> None:
    inner, _ = bio_pair()
    front = BufferBIO(BufferBIO(inner))
    assert front.get_retry_BIO() is front
    front.read(1)
    assert front.get_retry_BIO() is inner
    assert front.should_read()
    assert front.pop() is not None
    front.push(MemoryBIO(b""))
    assert (front.read(1), front.last_return) == (b"", 0)
    assert front.get_retry_BIO() is front


def test_Y4_a_filter_asks_the_bio_behind_it() -> None:
    one, other = bio_pair()
    front = BufferBIO(one)
    other.write(b"abc")
    front.write(b"de")
    assert (front.pending(), front.wpending(), front.eof()) == (3, 2, False)
    assert front.flush() == 1
    assert (front.wpending(), other.pending()) == (2, 2), "written, and not read at the other half"
    assert (front.reset(), other.pending()) == (1, 0)
    lone = BufferBIO()
    assert (lone.pending(), lone.wpending(), lone.eof(), lone.reset()) == (0, 0, False, 1)
    with pytest.raises(MisuseError, match="push"):
        lone.write(b"x" * 10000) and lone.flush()


def test_Y1_a_bio_that_can_only_be_written_or_read_says_so() -> None:
    bio = BIO()
    assert (bio.write(b"x"), bio.read(1), bio.last_return) == (-1, b"", -1)
    assert bio.error is not None and bio.error.errno == errno.EOPNOTSUPP
    with pytest.raises(ValueError):
        bio.read(-1)


def test_N6_the_state_is_shown() -> None:
    bio = MemoryBIO(b"abc")
    assert repr(bio) == "<MemoryBIO pending=3 wpending=0>"
    bio.close()
    assert repr(bio) == "<MemoryBIO closed>"


def test_Y5_reasons() -> None:
    assert [(reason.name, int(reason)) for reason in RetryReason] == [
        ("NONE", 0),
        ("SSL_X509_LOOKUP", 1),
        ("CONNECT", 2),
        ("ACCEPT", 3),
    ]
    bio = MemoryBIO()
    assert bio.get_retry_reason() is RetryReason.NONE
    bio.set_retry_special(RetryReason.ACCEPT)
    assert bio.get_retry_reason() is RetryReason.ACCEPT
    bio.read(1)
    assert bio.get_retry_reason() is RetryReason.NONE


def test_Y6_zero_from_a_socket_without_retry_is_its_end() -> None:
    one, other = socket.socketpair()
    with one:
        bio = SocketBIO(one)
        other.sendall(b"x")
        other.close()
        assert (bio.read(10), bio.eof()) == (b"x", False)
        assert (bio.read(10), bio.last_return, bio.eof()) == (b"", 0, True)
        assert retry_of(bio) == NO_RETRY


def test_Y7_only_sockets_that_do_not_block_ask_for_a_retry() -> None:
    one, other = socket.socketpair()
    with one, other:
        bio = SocketBIO(one)
        other.sendall(b"ab")
        assert (bio.read(1), retry_of(bio)) == (b"a", NO_RETRY)
        one.setblocking(False)
        assert (bio.read(5), retry_of(bio)) == (b"b", NO_RETRY)
        assert (bio.read(5), retry_of(bio)) == (b"", RETRY_READ)
        one.settimeout(0.001)
        assert (bio.read(5), retry_of(bio)) == (b"", RETRY_READ)
        one.setblocking(False)
        while bio.write(bytes(1 << 16)) > 0:
            pass
        assert retry_of(bio) == RETRY_WRITE


def test_Y7_a_signal_is_not_a_reason_to_retry() -> None:
    sock = Interrupted()
    bio = SocketBIO(sock, close=True)
    assert (bio.read(3), bio.write(b"abc"), sock.calls) == (b"xxx", 3, 4)
    bio.close()
    assert sock.calls == -1


def test_Y7_a_descriptor_works_as_a_socket_does() -> None:
    reading, writing = os.pipe()
    with SocketBIO(reading, close=True) as source, SocketBIO(writing, close=True) as sink:
        assert (sink.write(b"abc"), source.read(10)) == (3, b"abc")
        assert source.get_fd() == reading
    with pytest.raises(OSError):
        os.fstat(reading)


def test_Y4_a_filter_passes_on_what_the_bio_behind_it_says(client_config: ClientConfig) -> None:
    inner, net = bio_pair(4)
    front = BufferBIO(inner, size=6)
    assert front.write(b"abcdef") == 6
    assert (front.wpending(), net.pending()) == (6, 0)
    assert front.flush() == -1
    assert retry_of(front) == RETRY_WRITE
    assert (net.read(10), front.flush(), net.read(10)) == (b"abcd", 1, b"ef")
    assert front.write(b"0123456789") == 6
    assert front.write(b"6789") == -1
    assert net.read(10) == b"0123"
    assert front.write(b"6789") == 4
    net.close()
    assert front.flush() == -1
    assert isinstance(front.error, BrokenPipeError) and retry_of(front) == NO_RETRY
    ssl = SSL(client_config, server_hostname="localhost")
    ssl.set_bio(inner, front)
    assert ssl.connect() == -1
    assert ssl.get_error(-1) is ErrorCode.SYSCALL


# -- M: BIO_s_mem(3) ---------------------------------------------------------------------------------------------------


def test_M1_what_was_written_can_be_read_once() -> None:
    bio = MemoryBIO()
    bio.write(b"abc")
    bio.write(b"def")
    assert (bio.read(4), bio.read(4), bio.read(4)) == (b"abcd", b"ef", b"")


def test_M2_read_only_memory_can_be_read_again_after_reset() -> None:
    bio = MemoryBIO(b"abc")
    assert bio.write(b"x") == -1 and bio.error is not None
    assert (bio.read(10), bio.read(10), bio.last_return) == (b"abc", b"", 0)
    bio.reset()
    assert bio.read(10) == b"abc"


def test_M3_reset_clears() -> None:
    bio = MemoryBIO()
    bio.write(b"abc")
    bio.reset()
    assert (bio.pending(), bio.read(10)) == (0, b"")


def test_M4_eof_iff_empty() -> None:
    bio = MemoryBIO()
    assert bio.eof()
    bio.write(b"x")
    assert not bio.eof()
    bio.read(1)
    assert bio.eof()


def test_M5_pending() -> None:
    bio = MemoryBIO()
    bio.write(b"abc")
    bio.read(1)
    assert (bio.pending(), bio.wpending()) == (2, 0)


def test_M6_what_reading_nothing_returns() -> None:
    bio = MemoryBIO()
    assert bio.read_into(bytearray(1)) == -1
    assert retry_of(bio) == RETRY_READ
    bio.set_mem_eof_return(-7)
    assert bio.read_into(bytearray(1)) == -7
    assert retry_of(bio) == RETRY_READ
    bio.write(b"x")
    bio.write_eof()
    assert bio.read(10) == b"x"
    assert bio.read_into(bytearray(1)) == 0
    assert retry_of(bio) == NO_RETRY


def test_M7_writes_never_fail_for_room() -> None:
    bio = MemoryBIO()
    for _ in range(4):
        assert bio.write(bytes(1 << 20)) == 1 << 20
    assert bio.pending() == 4 << 20
