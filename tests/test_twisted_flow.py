"""Producers, and reading that pauses: who may go on, and who has to wait."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet import task
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import StringTransport
from twisted_pair import Connect, HalfCloser, Listener, Talker, assert_over, tls
from twisted_pair import make_connect as make_connect
from twisted_pair import watch_log as watch_log
from zope.interface import implementer
from zope.interface.verify import verifyObject

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.questions import LATER
from tlsprovider.twisted import TLSProtocol
from tlsprovider.twisted.connection import SEAL_AT

pytestmark = pytest.mark.usefixtures("logged")

MEGABYTE = bytes(range(256)) * 4096


@implementer(IPushProducer)
class Push:
    """Says when it was told something."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


@implementer(IPullProducer)
class Pull:
    """Writes one line each time it is asked, and unregisters after the last."""

    def __init__(self, consumer: TLSProtocol, count: int) -> None:
        self.consumer = consumer
        self.left = count
        self.stopped = False

    def resumeProducing(self) -> None:
        self.left -= 1
        self.consumer.write(b"line\n")
        if not self.left:
            self.consumer.unregisterProducer()

    def stopProducing(self) -> None:
        self.stopped = True


@pytest.fixture
def cooperating(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock on which Twisted asks pull producers, in place of the global reactor."""
    clock = Clock()
    one_step = Cooperator(lambda: lambda: True, scheduler=lambda call: clock.callLater(0.01, call))
    monkeypatch.setattr(task, "_theCooperator", one_step)
    return clock


class TestProducers:
    def test_paused_until_the_handshake_is_complete(self, connect: Connect) -> None:
        pair = connect(start=False)
        producer = Push()
        pair.client_tls.registerProducer(producer, True)
        assert producer.told == []
        pair.client_tls.write(b"early")
        pair.client_tls.write(b" bird")
        assert producer.told == ["pause"]
        pair.flush()
        assert producer.told == ["pause", "resume"]
        assert pair.server.received == b"early bird"

    def test_two_reasons_to_pause_are_one_pause(self, connect: Connect) -> None:
        pair = connect(start=False)
        producer = Push()
        pair.client_tls.registerProducer(producer, True)
        pair.client_tls.write(b"early")
        gate: Any = pair.client_wire.producer
        assert verifyObject(IPushProducer, gate)
        gate.pauseProducing()
        pair.flush()
        assert producer.told == ["pause"]
        gate.pauseProducing()
        gate.resumeProducing()
        gate.resumeProducing()
        assert producer.told == ["pause", "resume"]

    def test_second_one_is_refused(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.registerProducer(Push(), True)
        with pytest.raises(RuntimeError, match="was never unregistered"):
            pair.client_tls.registerProducer(Push(), True)
        pair.client_tls.unregisterProducer()
        pair.client_tls.unregisterProducer()
        assert pair.client_wire.producer is None
        pair.client_tls.registerProducer(Push(), True)

    def test_too_late(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.abortConnection()
        producer = Push()
        pair.client_tls.registerProducer(producer, True)
        assert producer.told == ["stop"]

    @pytest.mark.parametrize("how", ["abort", "reset", "tcp reset", "peer closes", "fault"])
    def test_stopped_when_the_connection_ends(self, connect: Connect, how: str) -> None:
        pair = connect()
        producer = Push()
        pair.client_tls.registerProducer(producer, True)
        if how == "abort":
            pair.client_tls.abortConnection()
        elif how == "reset":
            pair.server_wire.loseConnection()
        elif how == "tcp reset":
            # TCP tells its producer first, and then its protocol.
            pair.client_wire.producer.stopProducing()
            pair.client_wire.unregisterProducer()
            pair.server_wire.loseConnection()
        elif how == "peer closes":
            pair.server_tls.loseConnection()
        else:
            pair.client_tls.dataReceived(b"this is no TLS at all")
        pair.flush()
        assert producer.told == ["stop"]
        assert pair.client_wire.producer is None or how == "reset"
        assert pair.client.happened[-1] == "lost"

    def test_after_close_notify(self, connect: Connect) -> None:
        pair = connect(HalfCloser(), HalfCloser())
        pair.client_tls.loseWriteConnection()
        producer = Push()
        pair.client_tls.registerProducer(producer, True)
        assert producer.told == ["stop"]

    def test_before_close_notify(self, connect: Connect) -> None:
        """The connection is to be closed, but waits for the handshake, and so for a producer as well."""
        pair = connect(start=False)
        pair.client_tls.write(b"early ")
        pair.client_tls.loseConnection()
        pair.client_tls.registerProducer(Push(), True)
        pair.client_tls.write(b"late")
        pair.flush()
        assert pair.server.received == b"early late"
        assert pair.server.lost == []
        pair.client_tls.unregisterProducer()
        pair.flush()
        assert len(pair.server.lost) == 1

    def test_lose_connection_waits_and_loses_nothing(self, connect: Connect) -> None:
        """Stock Twisted drops what was written between loseConnection and unregisterProducer."""
        pair = connect()
        pair.client_tls.registerProducer(Push(), True)
        pair.client_tls.write(b"first ")
        pair.client_tls.loseConnection()
        assert pair.client_tls.disconnecting
        pair.client_tls.write(b"second ")
        pair.flush()
        assert pair.server.received == b"first second "
        assert pair.server.lost == []
        pair.client_tls.write(b"third")
        pair.client_tls.unregisterProducer()
        pair.client_tls.write(b"too late")
        pair.flush()
        assert pair.server.received == b"first second third"
        assert len(pair.server.lost) == len(pair.client.lost) == 1

    def test_peer_that_closes_does_not_stop_what_is_being_finished(self, connect: Connect, cooperating: Clock) -> None:
        pair = connect(server=HalfCloser())
        pair.client_tls.registerProducer(Pull(pair.client_tls, 5), False)
        pair.client_tls.loseConnection()
        pair.server_tls.loseWriteConnection()
        pair.flush()
        assert pair.client.lost == []
        for _ in range(6):
            cooperating.advance(0.01)
        pair.flush()
        assert pair.server.received == b"line\n" * 5
        assert len(pair.client.lost) == 1

    def test_that_pushes_is_not_waited_for_when_both_sides_close(self, connect: Connect) -> None:
        """An ``HTTPChannel`` that became a WebSocket never unregisters. A TCP transport does not wait for it either."""
        pair = connect()
        producer = Push()
        pair.server_tls.registerProducer(producer, True)
        pair.server_tls.write(b"bye")
        pair.server_tls.loseConnection()
        pair.client_tls.loseConnection()
        pair.flush()
        assert producer.told == ["stop"]
        assert pair.client.received == b"bye"
        assert_over(pair)

    def test_stop_consuming(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.registerProducer(Push(), True)
        pair.client_tls.stopConsuming()
        pair.flush()
        assert pair.client_wire.producer is None
        assert len(pair.client.lost) == 1

    def test_pull(self, connect: Connect, cooperating: Clock) -> None:
        pair = connect(start=False)
        producer = Pull(pair.client_tls, 5)
        pair.client_tls.registerProducer(producer, False)
        cooperating.advance(0.01)
        cooperating.advance(0.01)
        assert producer.left == 4, "it is not asked again while the handshake goes on"
        pair.flush()
        for _ in range(5):
            cooperating.advance(0.01)
        pair.flush()
        assert producer.left == 0
        assert pair.server.received == b"line\n" * 5
        assert cooperating.getDelayedCalls() == []

    def test_pull_is_stopped(self, connect: Connect, cooperating: Clock) -> None:
        pair = connect()
        producer = Pull(pair.client_tls, 100)
        pair.client_tls.registerProducer(producer, False)
        cooperating.advance(0.01)
        pair.server_tls.loseConnection()
        pair.flush()
        assert producer.stopped
        cooperating.advance(0.01)
        assert cooperating.getDelayedCalls() == []


class TestReading:
    def test_pause_really_pauses(self, connect: Connect) -> None:
        """Stock Twisted goes on to deliver what is decrypted already."""

        class Careful(Talker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()

        pair = connect(server=Careful())
        pair.client_tls.write(b"one")
        pair.flush()
        assert pair.server.pieces == [b"one"]
        assert not pair.server_wire.reading
        pair.client_tls.write(MEGABYTE)
        pair.flush()
        # A transport that delivers all the same: what it brings waits in the engine.
        pair.server_tls.dataReceived(pair.server_wire._held)
        pair.server_wire._held = b""
        assert pair.server.pieces == [b"one"]
        pair.server_tls.resumeProducing()
        assert pair.server.pieces == [b"one"], "not within resumeProducing"
        pair.flush()
        assert pair.server.received == b"one" + MEGABYTE

    def test_pause_and_resume_at_once(self, connect: Connect) -> None:
        class Nervous(Talker):
            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                self.transport.pauseProducing()
                self.transport.resumeProducing()

        pair = connect(server=Nervous())
        pair.client_tls.write(b"one")
        pair.flush()
        pair.client_tls.write(b"two")
        pair.flush()
        assert pair.server.received == b"onetwo"

    def test_close_notify_waits_behind_the_pause(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"last words")
        pair.client_tls.loseConnection()
        pair.server_tls.pauseProducing()
        pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        assert pair.server.happened == ["made"]
        pair.server_tls.resumeProducing()
        pair.flush()
        assert pair.server.happened == ["made", "data", "lost"]

    def test_pause_does_not_hold_up_the_handshake(self, connect: Connect) -> None:
        class Closed(Listener):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.pauseProducing()

        pair = connect(Talker(), Closed())
        pair.client_tls.write(b"hello")
        pair.flush()
        assert pair.server.happened == ["made", "handshake"]
        assert not pair.server_wire.reading
        pair.server_tls.resumeProducing()
        pair.flush()
        assert pair.server.received == b"hello"

    def test_a_transport_that_can_not_be_paused(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        class Simple(StringTransport):
            def __getattribute__(self, name: str) -> Any:
                if name in ("pauseProducing", "resumeProducing"):
                    raise AttributeError(name)
                return super().__getattribute__(name)

        clock, server, simple = Clock(), Talker(), Simple()
        server_tls, client_tls = tls(server_config, server, clock), tls(client_config, Talker(), clock)
        wire = StringTransport()
        server_tls.makeConnection(simple)
        client_tls.makeConnection(wire)
        for _ in range(2):
            server_tls.dataReceived(wire.value())
            wire.clear()
            client_tls.dataReceived(simple.value())
            simple.clear()
        server_tls.pauseProducing()
        client_tls.write(b"hello")
        clock.advance(0)
        server_tls.dataReceived(wire.value())
        assert server.received == b""
        server_tls.resumeProducing()
        clock.advance(0)
        assert server.received == b"hello"

    def test_reading_pauses_while_the_engine_has_enough(self, connect: Connect) -> None:
        """As while a question is open and bytes arrive all the same."""
        waiting = {"choose_identity": lambda question: LATER}
        pair = connect(on_server=waiting)
        assert pair.server_wire.reading
        pair.server_tls.dataReceived(bytes(70_000))
        assert not pair.server_wire.reading

    def test_reading_goes_on_when_the_engine_wants_more(self, connect: Connect) -> None:
        class Sated:
            """An engine that can be full."""

            wants_input = True

            def __init__(self, engine: Any) -> None:
                self.engine = engine

            def __getattr__(self, name: str) -> Any:
                return getattr(self.engine, name)

        pair = connect()
        engine: Any = Sated(pair.server_tls.getHandle().engine)
        pair.server_tls._engine = engine
        engine.wants_input = False
        pair.client_tls.write(b"one ")
        pair.flush()
        assert not pair.server_wire.reading
        pair.client_tls.write(b"two")
        pair.flush()
        assert pair.server.received == b"one "
        engine.wants_input = True
        pair.server_tls.write(b"a round")
        pair.flush()
        assert pair.server_wire.reading
        assert pair.server.received == b"one two"

    def test_stop_producing(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"bye")
        pair.client_tls.stopProducing()
        pair.flush()
        assert pair.server.received == b"bye"
        assert len(pair.client.lost) == len(pair.server.lost) == 1

    def test_bytes_that_arrive_within_data_received(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """A transport may be so direct that an answer arrives before the call that asked returns."""
        clock = Clock()
        ends: list[TLSProtocol] = []

        class Direct(StringTransport):
            def __init__(self, target: int) -> None:
                super().__init__()
                self.target = target

            def write(self, data: bytes) -> None:
                ends[self.target].dataReceived(data)

        class Rally(Talker):
            """Much is sealed at once, also while data is received."""

            balls = 1

            def dataReceived(self, data: bytes) -> None:
                super().dataReceived(data)
                if self.balls:
                    self.balls -= 1
                    self.transport.write(data)

        client, server = Rally(), Rally()
        ends += [tls(client_config, client, clock), tls(server_config, server, clock)]
        ends[1].makeConnection(Direct(0))
        ends[0].makeConnection(Direct(1))
        ends[0].write(b"!" * SEAL_AT)
        assert client.received == b"!" * SEAL_AT
        assert server.received == b"!" * SEAL_AT * 2
