"""``ContextFactory`` under Twisted's TLS protocol: hooks that wait, fail or never answer; time limits, bad peers."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import pytest
from stock_pair import StockConnect, stock
from stock_pair import make_join as make_join
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted_pair import Pair, Talker, assert_over
from twisted_pair import watch_log as watch_log

from tlsprovider.config import ServerConfig
from tlsprovider.errors import CertificateFault, HookError
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER, Question, VerifyPeer
from tlsprovider.twisted import ContextFactory
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.pyopenssl import ConnectionFailed

pytestmark = pytest.mark.usefixtures("logged")

Hook = Callable[[Any], Any]


def exchange(pair: Pair) -> None:
    """Data both ways, and a proper end."""
    pair.client_tls.write(b"ping")
    pair.server_tls.write(b"pong")
    pair.flush()
    assert (pair.server.received, pair.client.received) == (b"ping", b"pong")
    pair.client_tls.loseConnection()
    pair.flush()
    assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
    assert_over(pair)


class TestAnswers:
    @pytest.mark.parametrize("kind", ["deferred", "coroutine", "later"])
    def test_at_once(self, join_ours: StockConnect, server_identity: Identity, kind: str) -> None:
        async def coroutine() -> Identity:
            return server_identity

        def choose(question: Question[Any]) -> Any:
            if kind == "later":
                question.answer(server_identity)
                return LATER
            return succeed(server_identity) if kind == "deferred" else coroutine()

        exchange(join_ours(on_server={"choose_identity": choose}))

    @pytest.mark.parametrize("kind", ["deferred", "coroutine", "later"])
    @pytest.mark.parametrize("side", ["client", "server"])
    def test_after_a_while(self, join_ours: StockConnect, server_identity: Identity, kind: str, side: str) -> None:
        waiting: Deferred[Any] = Deferred()
        asked: list[Question[Any]] = []

        async def coroutine() -> Any:
            return await waiting

        def hook(question: Question[Any]) -> Any:
            asked.append(question)
            return {"deferred": lambda: waiting, "coroutine": coroutine, "later": lambda: LATER}[kind]()

        where = {"on_server": {"choose_identity": hook}} if side == "server" else {"on_client": {"verify_peer": hook}}
        pair = join_ours(**where)
        pair.client_tls.write(b"kept until then, ")
        pair.advance(5)
        assert pair.server.received == b""
        answer = server_identity if side == "server" else True
        if kind == "later":
            asked[0].answer(answer)
        else:
            waiting.callback(answer)
        pair.flush()
        assert pair.server.received == b"kept until then, "
        pair.server.pieces.clear()
        exchange(pair)
        assert len(asked) == 1

    def test_one_after_the_other(self, join_ours: StockConnect, server_config: ServerConfig) -> None:
        configuration: Deferred[Any] = Deferred()
        identity: Deferred[Any] = Deferred()
        pair = join_ours(
            on_server={"on_client_hello": lambda question: configuration, "choose_identity": lambda question: identity}
        )
        configuration.callback(pair.server_tls.getHandle().engine._config)
        pair.flush()
        identity.callback(server_config.identities[0])
        pair.flush()
        exchange(pair)

    def test_data_behind_a_late_answer_is_delivered(self, join_ours: StockConnect) -> None:
        """The client has to decide while the server, which is done, sends."""
        waiting: Deferred[bool] = Deferred()

        class Greeting(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"220 welcome")

        pair = join_ours(server=Greeting(), on_client={"verify_peer": lambda question: waiting})
        waiting.callback(True)
        pair.flush()
        assert pair.client.received == b"220 welcome"

    def test_a_flood_is_held_up(self, join_ours: StockConnect, server_identity: Identity) -> None:
        waiting: Deferred[Identity] = Deferred()
        pair = join_ours(on_server={"choose_identity": lambda question: waiting})
        assert pair.server_wire.reading
        for _ in range(5):
            pair.server_tls.dataReceived(b"\x14\x03\x03\x40\x00" + bytes(16384))
        assert not pair.server_wire.reading, "the transport is paused"
        waiting.callback(server_identity)
        pair.flush()
        assert isinstance(pair.server.reason, ConnectionFailed), "it was no TLS"
        assert_over(pair)

    def test_reading_goes_on_after_a_pause(self, join_ours: StockConnect) -> None:
        waiting: Deferred[bool] = Deferred()

        class Fast(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(bytes(300_000))

        pair = join_ours(server=Fast(), on_client={"verify_peer": lambda question: waiting})
        # As a peer that sends before it has our Finished.
        pair.client_tls.dataReceived(b"")
        pair.client_tls.getHandle().engine.process_incoming(b"\x17\x03\x03\x40\x00" + bytes(16384) * 5)
        pair.client_tls.dataReceived(b"")
        assert not pair.client_wire.reading
        waiting.callback(True)
        pair.flush()
        assert pair.client_wire.reading or pair.client.lost


class TestNoAnswer:
    def test_a_hook_that_raises(self, join_ours: StockConnect, logged: list[str]) -> None:
        def hook(question: Question[Any]) -> None:
            raise RuntimeError("the database is down")

        self.check_failed(join_ours(on_server={"choose_identity": hook}), RuntimeError, logged)

    def test_a_hook_that_fails_later(self, join_ours: StockConnect, logged: list[str]) -> None:
        waiting: Deferred[Any] = Deferred()
        pair = join_ours(on_server={"choose_identity": lambda question: waiting})
        waiting.errback(Failure(LookupError("no such tenant")))
        pair.flush()
        self.check_failed(pair, LookupError, logged)

    def check_failed(self, pair: Pair, cause: type[Exception], logged: list[str]) -> None:
        reason = pair.server.reason
        assert isinstance(reason, ConnectionFailed) and reason.alert is AlertDescription.internal_error
        assert isinstance(reason.failure, HookError) and isinstance(reason.failure.__cause__, cause)
        assert isinstance(pair.client.reason, ConnectionFailed)
        assert pair.client.reason.args[0][0][2] == "tlsv1 alert internal error"
        assert logged == ["a hook of the TLS configuration failed"]
        logged.clear()
        assert_over(pair)

    def test_a_hook_that_refuses(self, join_ours: StockConnect) -> None:
        pair = join_ours(on_client={"verify_peer": lambda question: CertificateFault("not on the list")})
        assert isinstance(pair.client.reason, ConnectionFailed)
        assert str(pair.client.reason).startswith("not on the list")
        assert len(pair.client.reason.chain) == 1
        assert_over(pair)

    @pytest.mark.parametrize("later", [True, False])
    def test_a_hook_that_never_answers(self, join_ours: StockConnect, later: bool, logged: list[str]) -> None:
        waiting: Deferred[Any] = Deferred()
        cancelled: list[object] = []
        waiting.addErrback(cancelled.append)
        pair = join_ours(on_server={"choose_identity": lambda question: LATER if later else waiting})
        pair.advance(10)
        self.check_failed(pair, builtins.TimeoutError, logged)
        assert bool(cancelled) is not later

    @pytest.mark.parametrize("later", [True, False])
    def test_without_a_limit_of_its_own(self, join_ours: StockConnect, later: bool) -> None:
        """Then that of the handshake counts."""
        waiting: Deferred[Any] = Deferred()
        cancelled: list[object] = []
        waiting.addErrback(cancelled.append)
        pair = join_ours(
            on_server={"choose_identity": lambda question: LATER if later else waiting, "answer_timeout": None}
        )
        pair.advance(HANDSHAKE_TIMEOUT)
        assert isinstance(pair.server.reason, TimeoutError)
        assert "longer than 30 seconds" in str(pair.server.reason)
        assert "read_client_hello" in str(pair.server.reason)
        assert bool(cancelled) is not later
        assert_over(pair)

    @pytest.mark.parametrize("side", ["client", "server"])
    def test_the_connection_is_lost_meanwhile(self, join_ours: StockConnect, side: str) -> None:
        waiting: Deferred[Any] = Deferred()
        outcome: list[Any] = []
        pair = join_ours(on_server={"choose_identity": lambda question: waiting.addErrback(outcome.append)})
        pair.cut(side)
        assert isinstance(pair.server.reason, ConnectionLost)
        assert outcome[0].check(CancelledError), "nobody waits for the answer any more"
        assert_over(pair)

    def test_a_late_answer_to_nobody(self, join_ours: StockConnect, server_identity: Identity) -> None:
        asked: list[Question[Any]] = []
        pair = join_ours(on_server={"choose_identity": lambda question: asked.append(question) or LATER})
        pair.cut("client")
        asked[0].answer(server_identity)
        assert_over(pair)

    def test_lost_between_answer_and_turn(self, join_ours: StockConnect, server_identity: Identity) -> None:
        waiting: Deferred[Any] = Deferred()
        pair = join_ours(on_server={"choose_identity": lambda question: waiting})
        waiting.callback(server_identity)
        pair.cut("client")
        assert_over(pair)


class TestGivingUpInsideAHook:
    def test_abort(self, join_ours: StockConnect) -> None:
        sides: list[Pair] = []

        def hook(question: VerifyPeer) -> bool:
            sides[0].client_tls.abortConnection()
            return True

        pair = join_ours(on_client={"verify_peer": hook}, start=False)
        sides.append(pair)
        pair.flush()
        assert pair.client_wire.aborted
        assert isinstance(pair.client.reason, ConnectionLost), "as with Twisted's own"
        assert "handshake" not in pair.client.happened
        assert_over(pair)

    def test_fail_verification(self, join_ours: StockConnect) -> None:
        """As Twisted's own check of names does it."""
        sides: list[Pair] = []

        def hook(question: VerifyPeer) -> bool:
            sides[0].client_tls.failVerification(Failure(ValueError("not you")))
            return False

        pair = join_ours(on_client={"verify_peer": hook}, start=False)
        sides.append(pair)
        pair.flush()
        assert isinstance(pair.client.reason, ValueError)
        assert_over(pair)

    def test_abort_while_waiting(self, join_ours: StockConnect) -> None:
        waiting: Deferred[Any] = Deferred()
        outcome: list[Any] = []
        pair = join_ours(on_server={"choose_identity": lambda question: waiting.addErrback(outcome.append)})
        pair.server_tls.abortConnection()
        pair.flush()
        assert outcome[0].check(CancelledError)
        assert_over(pair)


class TestTimeLimits:
    @pytest.mark.parametrize("is_client", [True, False])
    def test_a_silent_peer(self, server_config: ServerConfig, client_config: Any, is_client: bool) -> None:
        talker, transport, clock = Talker(), StringTransport(), Clock()
        creator = ContextFactory(client_config, "localhost") if is_client else ContextFactory(server_config)
        tls = stock(creator, talker, is_client, clock)
        tls.makeConnection(transport)
        clock.advance(HANDSHAKE_TIMEOUT - 0.1)
        assert not transport.disconnected
        clock.advance(0.1)
        assert transport.disconnected
        tls.connectionLost(Failure(ConnectionLost()))
        assert isinstance(talker.reason, TimeoutError)
        assert clock.getDelayedCalls() == []

    def test_limits_of_ones_own(self, server_config: ServerConfig) -> None:
        talker, transport, clock = Talker(), StringTransport(), Clock()
        stock(ContextFactory(server_config, handshakeTimeout=3), talker, False, clock).makeConnection(transport)
        clock.advance(3)
        assert transport.disconnected

    def test_no_limit(self, server_config: ServerConfig) -> None:
        transport, clock = StringTransport(), Clock()
        stock(ContextFactory(server_config, handshakeTimeout=None), Talker(), False, clock).makeConnection(transport)
        assert clock.getDelayedCalls() == []

    def test_a_clock_of_ones_own(self, server_config: ServerConfig) -> None:
        transport, clock = StringTransport(), Clock()
        creator = ContextFactory(server_config, clock=clock)
        stock(creator, Talker(), False, Clock()).makeConnection(transport)
        clock.advance(HANDSHAKE_TIMEOUT)
        assert transport.disconnected

    def test_a_peer_that_does_not_close(self, join_ours: StockConnect) -> None:
        """Twisted's own waits for ever."""
        pair = join_ours()
        pair.client_tls.loseConnection()
        assert not pair.client_wire.disconnecting
        pair.clock.advance(CLOSE_TIMEOUT)
        assert pair.client_wire.disconnecting
        pair.flush()
        assert_over(pair)

    def test_a_failure_ends_them(self, server_config: ServerConfig) -> None:
        transport, clock = StringTransport(), Clock()
        tls = stock(ContextFactory(server_config), Talker(), False, clock)
        tls.makeConnection(transport)
        tls.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        assert transport.disconnecting
        assert clock.getDelayedCalls() == []

    def test_an_application_that_raises_when_driven(
        self, join_ours: StockConnect, server_identity: Identity, logged: list[str]
    ) -> None:
        """There is no reactor above this call to close the connection."""
        waiting: Deferred[Any] = Deferred()

        class Careless(Talker):
            def dataReceived(self, data: bytes) -> None:
                raise RuntimeError("of the application")

        pair = join_ours(server=Careless(), on_server={"choose_identity": lambda question: waiting})
        pair.client_tls.write(b"data")
        waiting.callback(server_identity)
        pair.clock.advance(0)
        flight = pair.server_wire.getOutBuffer()
        pair.client_tls.dataReceived(flight)
        pair.server_tls.getHandle().bio_write(pair.client_wire.getOutBuffer())
        pair.server_tls.getHandle()._drive()
        assert isinstance(pair.server_tls._reason.value, RuntimeError)
        assert logged == ["an exception of the application ends its TLS connection"]
        logged.clear()
        pair.flush()


class TestBadPeers:
    def over(self, config: ServerConfig, data: bytes) -> Any:
        talker, transport, clock = Talker(), StringTransport(), Clock()
        tls = stock(ContextFactory(config), talker, False, clock)
        tls.makeConnection(transport)
        tls.dataReceived(data)
        assert transport.disconnecting
        tls.connectionLost(Failure(ConnectionDone()))
        assert clock.getDelayedCalls() == []
        return talker.reason

    def test_plain_http(self, server_config: ServerConfig) -> None:
        assert "plain HTTP" in str(self.over(server_config, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))

    @pytest.mark.parametrize("data", [b"\x00" * 50, b"\xff" * 50, b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"])
    def test_garbage(self, server_config: ServerConfig, data: bytes) -> None:
        reason = self.over(server_config, data)
        assert isinstance(reason, ConnectionFailed) and reason.alert is not None
        ((library, function, words),) = reason.args[0]
        assert (library, function) == ("SSL routines", "") and words

    def test_truncation_at_each_point(self, join_ours: StockConnect) -> None:
        """However much of a conversation has arrived, an end of the transport is told as what it is."""
        pair = join_ours(start=False)
        flights = [("server", pair.client_wire.getOutBuffer())]
        pair.server_tls.dataReceived(flights[0][1])
        flights.append(("client", pair.server_wire.getOutBuffer()))
        sizes = {side: len(data) for side, data in flights}
        for side, most in sizes.items():
            for size in {0, 1, 4, 5, 6, 100, most // 2, most - 1}:
                pair = join_ours(start=False)
                hello = pair.client_wire.getOutBuffer()
                if side == "server":
                    pair.server_tls.dataReceived(hello[:size])
                else:
                    pair.server_tls.dataReceived(hello)
                    pair.client_tls.dataReceived(pair.server_wire.getOutBuffer()[:size])
                pair.cut(side)
                reason = (pair.server if side == "server" else pair.client).reason
                assert isinstance(reason, ConnectionLost), f"{side} after {size} bytes"
                assert_over(pair)
