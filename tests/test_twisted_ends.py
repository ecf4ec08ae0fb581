"""How a connection ends: closing, half-closing, cutting, aborting, failing; and that nothing waits for ever."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted_pair import Connect, HalfCloser, Talker, assert_over, join_protocols, tls
from twisted_pair import make_connect as make_connect
from twisted_pair import watch_log as watch_log

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ClosedByPeer, PeerFault
from tlsprovider.twisted import TLSFactory
from tlsprovider.twisted.connection import CLOSE_TIMEOUT

pytestmark = pytest.mark.usefixtures("logged")


class TestClosing:
    def test_orderly(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"bye")
        pair.client_tls.loseConnection()
        assert pair.client_tls.disconnecting
        pair.flush()
        assert pair.server.received == b"bye"
        assert type(pair.client.reason) is type(pair.server.reason) is ConnectionDone
        assert_over(pair)

    def test_data_and_close_notify_leave_together(self, connect: Connect) -> None:
        pair = connect()
        pair.client_wire.writes.clear()
        pair.client_tls.write(b"bye")
        pair.client_tls.loseConnection()
        assert len(pair.client_wire.writes) == 1

    def test_within_data_received(self, connect: Connect) -> None:
        class OneShot(Talker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                assert self.transport is not None
                self.transport.write(b"answer")
                self.transport.loseConnection()

        pair = connect(server=OneShot())
        pair.client_tls.write(b"question")
        pair.flush()
        assert pair.client.received == b"answer"
        assert_over(pair)

    def test_twice_and_afterwards(self, connect: Connect) -> None:
        pair = connect()
        for _ in range(2):
            pair.client_tls.loseConnection()
            pair.client_tls.loseWriteConnection()
        pair.flush()
        pair.client_tls.loseConnection()
        pair.client_tls.loseWriteConnection()
        pair.client_tls.abortConnection()
        pair.client_tls.connectionLost(Failure(ConnectionLost()))
        pair.client_tls.dataReceived(b"late")
        pair.client_tls.readConnectionLost()
        assert_over(pair)

    def test_what_the_other_side_had_written_arrives_first(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"1234567890" * 100_000)
        pair.server_tls.loseConnection()
        pair.flush()
        assert len(pair.server.received) == 1_000_000
        assert type(pair.server.reason) is ConnectionDone
        assert_over(pair)

    def test_what_was_written_before_the_peer_closed_still_goes_out(self, connect: Connect) -> None:
        class Echo(Talker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.write(data)

        pair = connect(HalfCloser(), Echo())
        pair.client_tls.write(b"echo this")
        pair.client_tls.loseWriteConnection()
        pair.flush()
        assert pair.client.received == b"echo this"
        assert pair.client.happened == ["made", "write lost", "data", "read lost", "lost"]
        assert_over(pair)

    def test_before_the_handshake_with_nothing_to_say(self, connect: Connect) -> None:
        class Leaving(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.loseConnection()

        pair = connect(client=Leaving())
        assert pair.client.happened == ["made", "lost"]
        assert type(pair.client.reason) is ConnectionDone
        assert_over(pair)

    def test_in_the_middle_of_the_handshake(self, connect: Connect) -> None:
        pair = connect(start=False)
        pair.client_wire.getOutBuffer()
        pair.client_tls.loseConnection()
        assert pair.client_wire.disconnecting, "there is nothing to wait for"
        pair.flush()
        assert type(pair.client.reason) is ConnectionDone
        assert isinstance(pair.server.reason, ClosedByPeer | PeerFault)
        assert_over(pair)

    def test_before_the_handshake_with_something_to_say(self, connect: Connect) -> None:
        class Brief(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.write(b"hello and goodbye")
                self.transport.loseConnection()
                self.transport.write(b"dropped")

        pair = connect(client=Brief())
        assert pair.server.received == b"hello and goodbye"
        assert type(pair.client.reason) is type(pair.server.reason) is ConnectionDone
        assert_over(pair)


class TestWaitingForCloseNotify:
    """Stock Twisted waits without a limit (twisted#7926)."""

    def test_has_a_limit(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.loseConnection()
        pair.clock.advance(CLOSE_TIMEOUT - 0.1)
        assert not pair.client_wire.disconnecting
        pair.clock.advance(0.2)
        assert pair.client_wire.disconnecting and not pair.client_wire.aborted
        pair.flush()
        assert type(pair.client.reason) is ConnectionDone
        assert_over(pair)

    def test_limit_can_be_chosen(self, connect: Connect) -> None:
        pair = connect(closeTimeout=1)
        pair.client_tls.loseConnection()
        pair.clock.advance(1)
        assert pair.client_wire.disconnecting

    def test_no_limit(self, connect: Connect) -> None:
        pair = connect(closeTimeout=None)
        pair.client_tls.loseConnection()
        assert pair.clock.getDelayedCalls() == []
        assert not pair.client_wire.disconnecting

    def test_not_at_all(self, connect: Connect) -> None:
        pair = connect(closeTimeout=0)
        pair.client_tls.write(b"bye")
        pair.client_tls.loseConnection()
        assert pair.client_wire.disconnecting
        pair.flush()
        assert pair.server.received == b"bye"
        assert type(pair.server.reason) is ConnectionDone

    def test_a_peer_that_just_goes_away(self, connect: Connect) -> None:
        """Having been told, it may; we wanted nothing of it any more."""
        pair = connect()
        pair.client_tls.loseConnection()
        pair.cut("server")
        assert type(pair.client.reason) is ConnectionDone
        assert_over(pair)

    def test_a_peer_that_half_closes_the_transport(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.loseConnection()
        pair.client_tls.readConnectionLost()
        assert pair.client_wire.disconnecting
        pair.flush()
        assert type(pair.client.reason) is ConnectionDone


class TestHalfClose:
    """Stock Twisted sends a bare FIN, which the peer takes for a truncation (twisted#5341)."""

    def test_one_direction_after_the_other(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), HalfCloser())
        pair.client_tls.write(b"that is all")
        pair.client_tls.loseWriteConnection()
        assert pair.client.happened == ["made"], "writeConnectionLost does not come within the call"
        pair.client_tls.write(b"dropped")
        pair.flush()
        assert pair.client.happened == ["made", "write lost"]
        assert pair.server.happened == ["made", "data", "read lost"]
        pair.server_tls.write(b"here is the answer")
        pair.flush()
        assert pair.client.received == b"here is the answer"
        pair.server_tls.loseConnection()
        pair.flush()
        assert pair.client.happened[-2:] == ["read lost", "lost"]
        assert pair.server.received == b"that is all"
        assert type(pair.client.reason) is type(pair.server.reason) is ConnectionDone
        assert_over(pair)

    def test_before_the_handshake(self, connect: Connect) -> None:
        class Brief(HalfCloser):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.loseWriteConnection()

        pair = connect(Brief(), HalfCloser())
        assert pair.client.happened == ["made", "write lost"]
        pair.server_tls.write(b"only listening?")
        pair.flush()
        assert pair.client.received == b"only listening?"

    def test_waits_for_a_producer(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), HalfCloser())
        pair.client_tls.registerProducer(StringTransport(), True)
        pair.client_tls.loseWriteConnection()
        pair.client_tls.write(b"still coming")
        pair.flush()
        assert pair.server.happened == ["made", "data"]
        pair.client_tls.unregisterProducer()
        pair.flush()
        assert pair.server.happened == ["made", "data", "read lost"]

    def test_with_a_protocol_that_does_not_know_halves(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), Talker())
        pair.client_tls.loseWriteConnection()
        pair.flush()
        assert pair.server.happened == ["made", "lost"]
        assert type(pair.server.reason) is ConnectionDone

    def test_end_of_the_transport_after_close_notify_leaves_our_direction_open(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), HalfCloser())
        pair.client_tls.loseWriteConnection()
        pair.flush()
        pair.server_tls.readConnectionLost()
        assert not pair.server_wire.disconnecting
        pair.server_tls.write(b"answer")
        pair.flush()
        assert pair.client.received == b"answer"

    def test_what_follows_close_notify_is_not_kept(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), HalfCloser())
        pair.client_tls.loseWriteConnection()
        pair.flush()
        assert pair.server_wire.reading, "or the end of the transport would not be noticed"
        pair.server_tls.dataReceived(b"noise" * 100_000)
        handle: Any = pair.server_tls.getHandle()
        assert handle.trailing_bytes() == b""

    def test_transport_closed_for_writing_by_others(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), Talker())
        pair.client_tls.writeConnectionLost()
        pair.server_tls.writeConnectionLost()
        assert pair.client.happened == ["made", "write lost"]


class TestTruncation:
    """RFC 9846 section 6.1: an end without close_notify may have been made by an attacker."""

    @pytest.mark.parametrize("how", ["lost", "read lost"])
    def test_is_reported(self, connect: Connect, how: str) -> None:
        pair = connect()
        pair.client_tls.write(b"half of it")
        pair.clock.advance(0)
        pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        if how == "read lost":
            pair.server_tls.readConnectionLost()
        pair.cut("client")
        assert pair.server.received == b"half of it"
        assert type(pair.server.reason) is ConnectionLost
        assert "without close_notify" in str(pair.server.reason)
        assert pair.server.happened == ["made", "data", "lost"]

    def test_what_was_not_sent_yet_is_forgotten(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"in a moment")
        pair.client_tls.connectionLost(Failure(ConnectionDone()))
        assert type(pair.client.reason) is ConnectionLost
        assert pair.clock.getDelayedCalls() == []

    def test_what_was_held_back_is_not_delivered_to_a_paused_protocol(self, connect: Connect) -> None:
        pair = connect()
        pair.server_tls.pauseProducing()
        pair.client_tls.write(b"unread")
        pair.client_tls.loseConnection()
        pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        pair.server_tls.connectionLost(Failure(ConnectionDone()))
        assert pair.server.happened == ["made", "lost"]
        assert type(pair.server.reason) is ConnectionLost

    def test_transport_that_knows_better(self, connect: Connect) -> None:
        pair = connect()
        reset = ConnectionLost("reset by peer")
        pair.client_tls.connectionLost(Failure(reset))
        assert pair.client.reason is reset

    def test_reset_after_both_have_closed_is_none(self, connect: Connect) -> None:
        """A peer that closes its socket right after its close_notify answers ours with one."""
        pair = connect()
        pair.server_tls.write(b"all of it")
        pair.server_tls.loseConnection()
        pair.client_tls.dataReceived(pair.server_wire.getOutBuffer())
        pair.client_tls.connectionLost(Failure(ConnectionLost("reset by peer")))
        assert pair.client.received == b"all of it"
        assert type(pair.client.reason) is ConnectionDone

    def test_during_the_handshake(self, connect: Connect) -> None:
        pair = connect(start=False)
        pair.cut("server")
        assert type(pair.client.reason) is ConnectionLost
        assert "during the TLS handshake" in str(pair.client.reason)
        assert_over(pair)

    def test_half_closed_during_the_handshake(self, connect: Connect) -> None:
        pair = connect(start=False)
        pair.client_tls.readConnectionLost()
        pair.flush()
        assert "during the TLS handshake" in str(pair.client.reason)
        assert_over(pair)


class TestAborting:
    def test_nothing_more_is_delivered(self, connect: Connect) -> None:
        class Angry(Talker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                assert self.transport is not None
                self.transport.write(b"dropped")
                self.transport.abortConnection()

        pair = connect(server=Angry())
        pair.client_tls.write(b"one")
        pair.clock.advance(0)
        pair.client_tls.loseConnection()
        pair.flush()
        assert pair.server.happened == ["made", "data", "lost"]
        assert type(pair.server.reason) is ConnectionAborted
        assert type(pair.client.reason) is ConnectionDone
        assert_over(pair)

    def test_in_connection_made(self, connect: Connect) -> None:
        class Shy(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.abortConnection()

        pair = connect(client=Shy())
        assert pair.client_wire.writes == []
        assert pair.client.happened == ["made", "lost"]
        assert_over(pair)

    def test_while_waiting_for_close_notify(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.loseConnection()
        pair.client_tls.abortConnection()
        assert pair.client_wire.aborted
        pair.flush()
        assert_over(pair)

    def test_transport_without_abort(self, client_config: ClientConfig) -> None:
        class Plain(StringTransport):
            abortConnection = None  # noqa: N815

        talker, transport = Talker(), Plain()
        protocol = tls(client_config, talker, Clock())
        protocol.makeConnection(transport)
        protocol.abortConnection()
        assert transport.disconnecting
        protocol.connectionLost(Failure(ConnectionDone()))
        assert type(talker.reason) is ConnectionAborted

    def test_with_a_reason(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.failVerification(Failure(LookupError("not on the list")))
        pair.flush()
        assert str(pair.client.reason) == "'not on the list'" or pair.client.reason.args == ("not on the list",)
        assert pair.client_wire.aborted

    def test_transport_that_ends_within_the_call(self, connect: Connect, client_config: ClientConfig) -> None:
        talker, transport = Talker(), StringTransportWithDisconnection()
        transport.protocol = protocol = tls(client_config, talker, Clock())
        protocol.makeConnection(transport)
        protocol.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert isinstance(talker.reason, PeerFault)
        assert talker.happened == ["made", "lost"]
        assert protocol.factory._clock.getDelayedCalls() == []


def test_a_lost_connection_keeps_nothing_alive(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """No reference cycles: memory comes back without the garbage collector."""
    clock, talkers = Clock(), Factory.forProtocol(Talker)
    client = TLSFactory(client_config, talkers, hostname="localhost", clock=clock).buildProtocol(None)
    server = TLSFactory(server_config, talkers, clock=clock).buildProtocol(None)
    assert client is not None and server is not None
    pair = join_protocols(client.wrappedProtocol, server.wrappedProtocol, client, server, clock)
    client.write(b"hello")
    server.loseConnection()
    pair.flush()
    assert_over(pair)
    left = [weakref.ref(one) for one in (client, server, pair.client, pair.server)]
    gc.collect()
    gc.disable()
    try:
        del pair, client, server
        assert [ref() for ref in left] == [None] * 4
    finally:
        gc.enable()
