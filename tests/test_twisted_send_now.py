"""Sending and reading without waiting for the reactor: nothing is lost or reordered, and nothing goes on for ever."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted_pair import Connect
from twisted_pair import make_connect as make_connect

from tlsprovider.twisted import connection
from tlsprovider.twisted.flow import (
    FULL_READ,
    LARGE,
    MAX_LARGE_SENDS,
    MORE,
    MORE_READS,
    SMALL,
    read_more,
    send_now,
    sends_now,
)


class Socket(Connection):
    """A TCP connection whose socket takes ``room`` bytes, and a reactor that has not been asked yet."""

    def __init__(self, room: int) -> None:
        nobody: Any = "no reactor"
        FileDescriptor.__init__(self, nobody)
        self.room = room
        self.sent = b""
        self.asked = 0
        self.connected = 1

    def writeSomeData(self, data: bytes) -> int | BaseException:
        if self.room < 0:
            return CONNECTION_LOST
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.sent += taken
        return len(taken)

    def startWriting(self) -> None:
        self.asked += 1

    def stopWriting(self) -> None:
        pass

    def drain(self) -> None:
        """As the reactor does once the socket takes more."""
        self.room = 1 << 20
        self.doWrite()


def test_at_once() -> None:
    transport = Socket(room=100)
    send_now(transport, b"hello")
    assert (transport.sent, transport.asked) == (b"hello", 0)


@pytest.mark.parametrize("room", [0, 3])
def test_what_the_socket_does_not_take_waits_and_so_does_what_follows(room: int) -> None:
    transport = Socket(room)
    send_now(transport, b"hello")
    assert transport.sent == b"hello"[:room] and transport.asked == 1
    transport.room = 100
    send_now(transport, b", world")
    assert transport.sent == b"hello"[:room], "or it would overtake"
    transport.drain()
    assert transport.sent == b"hello, world"
    send_now(transport, b"!")
    assert transport.sent == b"hello, world!" and transport.asked == 2


def test_a_broken_socket_is_for_the_reactor_to_find() -> None:
    transport = Socket(room=-1)
    send_now(transport, b"hello")
    assert (transport.sent, transport.asked) == (b"", 1)


def test_a_lost_connection_takes_nothing() -> None:
    transport = Socket(room=100)
    transport.connected = 0
    send_now(transport, b"hello")
    assert (transport.sent, transport.asked) == (b"", 0)


def test_for_tcp_only() -> None:
    assert sends_now(Socket(room=0))
    assert not sends_now(StringTransport())


def test_not_around_tls() -> None:
    """TLS within TLS: what is written goes through the protocol that ``startTLS`` has put there."""
    transport = Socket(room=100)
    transport.TLS = True
    assert not sends_now(transport)


def test_of_much_so_many_in_a_row() -> None:
    """Then the transport has it, which pauses a producer, and the reactor has time for others."""
    transport = Socket(room=1 << 20)
    count = 0
    for _ in range(MAX_LARGE_SENDS):
        count = send_now(transport, bytes(SMALL + 1), count)
    assert transport.asked == 0 and len(transport.sent) == MAX_LARGE_SENDS * (SMALL + 1)
    count = send_now(transport, bytes(SMALL + 1), count)
    assert transport.asked == 1 and count == 0
    transport.drain()
    assert send_now(transport, bytes(SMALL), count) == 0, "little doesn't count"
    assert send_now(transport, bytes(SMALL + 1), count) == 1
    assert transport.asked == 1


def test_very_much_is_for_the_transport() -> None:
    """What the socket doesn't take would have to be copied."""
    transport = Socket(room=1 << 20)
    send_now(transport, bytes(LARGE + 1))
    assert (transport.sent, transport.asked) == (b"", 1)


class Receiving(Socket):
    """A socket that gives these pieces, and raises what is an exception."""

    def __init__(self, *pieces: bytes | OSError) -> None:
        super().__init__(room=1 << 20)
        self.pieces = list(pieces)
        self.socket: Any = self

    def recv(self, size: int) -> bytes:
        piece = self.pieces.pop(0)
        if isinstance(piece, OSError):
            raise piece
        assert len(piece) <= size
        return piece


FULL = bytes(MORE)


@pytest.mark.parametrize(
    ("pieces", "left"),
    [
        ((b"!", b"later"), 1),
        ((FULL, b"!", b"later"), 1),
        ((FULL, b"", b"later"), 1),
        ((FULL, BlockingIOError(), b"later"), 1),
        ((FULL,) * (MORE_READS + 1), 1),
    ],
    ids=["little", "more", "end", "nothing", "without end"],
)
def test_reading_more(pieces: tuple[bytes | OSError, ...], left: int) -> None:
    transport = Receiving(*pieces)
    found = list(read_more(transport, lambda: True))
    assert found == [piece for piece in pieces[:-left] if piece and isinstance(piece, bytes)]
    assert len(transport.pieces) == left


def test_a_failure_is_told_by_whoever_finds_it() -> None:
    """To the reactor the socket would only say that it has ended, which is how a clean connection ends."""
    transport, clock = Receiving(FULL, ConnectionResetError()), Clock()
    transport.reactor = clock
    lost: list[Failure] = []
    transport.connectionLost = lost.append
    assert list(read_more(transport, lambda: True)) == [FULL] and not lost
    clock.advance(0)
    assert [reason.check(ConnectionLost) for reason in lost] == [ConnectionLost]


def test_reading_no_more_than_is_wanted() -> None:
    transport = Receiving(FULL, FULL)
    more = read_more(transport, lambda: len(transport.pieces) > 1)
    assert list(more) == [FULL] and len(transport.pieces) == 1


@pytest.mark.parametrize("paused", [False, True], ids=["reading", "paused"])
def test_a_full_read_is_followed_by_another(connect: Connect, paused: bool) -> None:
    """Unless the application has paused for what was in the first."""
    pair = connect()
    pair.client.transport.write(bytes(FULL_READ) + b"rest")
    pair.clock.advance(0)
    data = b"".join(pair.client_wire.writes[2:])
    pair.server_tls._sends_now = True
    pair.server_wire.socket = socket = Receiving(data[FULL_READ:])
    if paused:
        pair.server.dataReceived = lambda piece: pair.server.transport.pauseProducing()
    pair.server_tls.dataReceived(data[:FULL_READ])
    assert len(socket.pieces) == paused
    assert paused or pair.server.received == bytes(FULL_READ) + b"rest"


def test_not_to_a_peer_that_may_be_gone(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer with a reset, and a clean end look like another."""
    sent: list[bytes] = []

    def record(transport: Any, data: bytes, large_sends: int) -> int:
        sent.append(data)
        transport.write(data)
        return large_sends

    monkeypatch.setattr(connection, "send_now", record)
    pair = connect()
    pair.client_tls._sends_now = True
    pair.client.transport.write(b"ping")
    pair.advance(0)
    assert len(sent) == 1 and pair.server.received == b"ping"
    pair.server.transport.loseConnection()
    pair.flush()
    assert isinstance(pair.client.reason, ConnectionDone) and len(sent) == 1
