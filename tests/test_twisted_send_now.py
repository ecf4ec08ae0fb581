"""Sending without waiting for the reactor: only where nothing else waits, and never losing or reordering anything."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.error import ConnectionDone
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted_pair import Connect
from twisted_pair import make_connect as make_connect

from tlsprovider.twisted import connection
from tlsprovider.twisted.flow import send_now, sends_now


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


def test_not_to_a_peer_that_may_be_gone(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer with a reset, and a clean end look like another."""
    sent: list[bytes] = []

    def record(transport: Any, data: bytes) -> None:
        sent.append(data)
        transport.write(data)

    monkeypatch.setattr(connection, "send_now", record)
    pair = connect()
    pair.client_tls._sends_now = True
    pair.client.transport.write(b"ping")
    pair.advance(0)
    assert len(sent) == 1 and pair.server.received == b"ping"
    pair.server.transport.loseConnection()
    pair.flush()
    assert isinstance(pair.client.reason, ConnectionDone) and len(sent) == 1
