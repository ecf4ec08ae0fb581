"""Questions of the handshake that Twisted code answers, and waiting for the handshake."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.error import ConnectingCancelledError, ConnectionLost, TimeoutError
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure
from twisted_pair import Connect, Listener, Pair
from twisted_pair import make_connect as make_connect
from twisted_pair import watch_log as watch_log

from tlsprovider.config import ServerConfig
from tlsprovider.errors import AlertReceived, CertificateFault, Fault, HookError, PeerFault
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER, ChooseIdentity, ClientHelloReceived, Question, VerifyPeer

pytestmark = pytest.mark.usefixtures("logged")

Hook = Callable[[Any], Any]


class Wrapped:
    """An awaitable that is neither a Deferred nor a coroutine."""

    def __init__(self, deferred: Deferred[Any]) -> None:
        self.deferred = deferred

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.deferred.__await__()


def completed(pair: Pair) -> bool:
    return pair.client_tls._handshake_done and pair.server_tls._handshake_done


class TestAnswers:
    @pytest.mark.parametrize("kind", ["value", "deferred", "coroutine", "awaitable", "later"])
    def test_at_once(self, connect: Connect, server_identity: Identity, kind: str) -> None:
        async def coroutine() -> Identity:
            return server_identity

        def choose(question: ChooseIdentity) -> Any:
            if kind == "later":
                question.answer(server_identity)
            kinds: dict[str, Callable[[], object]] = {
                "value": lambda: server_identity,
                "deferred": lambda: succeed(server_identity),
                "coroutine": coroutine,
                "awaitable": lambda: Wrapped(succeed(server_identity)),
                "later": lambda: LATER,
            }
            return kinds[kind]()

        pair = connect(on_server={"choose_identity": choose})
        assert completed(pair)
        assert pair.server_tls._question is None, "it is not kept as long as the connection lives"

    @pytest.mark.parametrize("kind", ["deferred", "coroutine", "awaitable", "later"])
    def test_after_a_while(self, connect: Connect, server_identity: Identity, kind: str) -> None:
        asked: list[ChooseIdentity] = []
        waiting: Deferred[Identity] = Deferred()

        async def coroutine() -> Identity:
            return await waiting

        def choose(question: ChooseIdentity) -> Any:
            asked.append(question)
            kinds: dict[str, Callable[[], object]] = {
                "deferred": lambda: waiting,
                "coroutine": coroutine,
                "awaitable": lambda: Wrapped(waiting),
                "later": lambda: LATER,
            }
            return kinds[kind]()

        pair = connect(on_server={"choose_identity": choose})
        assert not completed(pair)
        pair.server_tls.dataReceived(b"")
        assert len(asked) == 1, "one question is asked once"
        if kind == "later":
            asked[0].answer(server_identity)
        else:
            waiting.callback(server_identity)
        assert not completed(pair), "the answer is followed up in a turn of its own"
        pair.flush()
        assert completed(pair)
        assert pair.clock.getDelayedCalls() == []

    def test_several_in_a_row_on_both_sides(
        self, connect: Connect, server_config: ServerConfig, server_identity: Identity
    ) -> None:
        clock = Clock()
        asked: list[str] = []

        def slowly(answer: object) -> Hook:
            def hook(question: Question[Any]) -> Deferred[object]:
                asked.append(type(question).__name__)
                return deferLater(clock, 1, lambda: answer)

            return hook

        other = server_config.__class__(identities=[server_identity], choose_identity=slowly(server_identity))
        pair = connect(on_server={"on_client_hello": slowly(other)}, on_client={"verify_peer": slowly(True)})
        for _ in range(3):
            assert not completed(pair)
            clock.advance(1)
            pair.flush()
        assert completed(pair)
        assert asked == [kind.__name__ for kind in (ClientHelloReceived, ChooseIdentity, VerifyPeer)]

    def test_answered_by_somebody_else_first(self, connect: Connect, server_identity: Identity) -> None:
        asked: list[ChooseIdentity] = []
        waiting: Deferred[Identity] = Deferred()

        def choose(question: ChooseIdentity) -> Deferred[Identity]:
            asked.append(question)
            return waiting

        pair = connect(on_server={"choose_identity": choose})
        asked[0].answer(server_identity)
        waiting.callback(server_identity)
        pair.flush()
        assert completed(pair)

    def test_writes_and_bytes_wait_for_the_answer(self, connect: Connect) -> None:
        waiting: Deferred[bool] = Deferred()
        pair = connect(on_client={"verify_peer": lambda question: waiting})
        pair.client_tls.write(b"a secret")
        pair.flush()
        assert pair.server.received == b""
        waiting.callback(True)
        pair.flush()
        assert pair.server.received == b"a secret"


class TestNoAnswer:
    @pytest.mark.parametrize("kind", ["raises", "deferred", "coroutine", "later"])
    def test_failing_hook(self, connect: Connect, logged: list[str], kind: str) -> None:
        mistake = LookupError("no such certificate")

        async def coroutine() -> Identity:
            raise mistake

        def choose(question: ChooseIdentity) -> Any:
            if kind == "raises":
                raise mistake
            if kind == "later":
                question.fail(mistake)
                return LATER
            return coroutine() if kind == "coroutine" else fail(mistake)

        pair = connect(on_server={"choose_identity": choose})
        assert isinstance(pair.server.reason, HookError)
        assert pair.server.reason.__cause__ is mistake
        assert isinstance(pair.client.reason, AlertReceived)
        assert pair.client.reason.alert is AlertDescription.internal_error
        assert logged == ["a hook of the TLS configuration failed"]
        logged.clear()

    @pytest.mark.parametrize("answer", [False, CertificateFault("not on the list")])
    def test_refused(self, connect: Connect, answer: object) -> None:
        pair = connect(on_client={"verify_peer": lambda question: succeed(answer)})
        assert isinstance(pair.client.reason, CertificateFault)
        assert isinstance(pair.server.reason, AlertReceived)

    def test_refusing_a_name(self, connect: Connect) -> None:
        def hello(question: ClientHelloReceived) -> Deferred[ServerConfig]:
            return fail(PeerFault(Fault.UNKNOWN_NAME, str(question.server_name)))

        pair = connect(on_server={"on_client_hello": hello})
        assert isinstance(pair.server.reason, PeerFault) and pair.server.reason.fault is Fault.UNKNOWN_NAME
        assert isinstance(pair.client.reason, AlertReceived)
        assert pair.client.reason.alert is AlertDescription.unrecognized_name

    @pytest.mark.parametrize("how", ["lost", "timeout", "abort", "lose"])
    def test_nobody_wants_it_any_more(self, connect: Connect, how: str) -> None:
        """The Deferred is cancelled, once."""
        cancelled: list[Deferred[Any]] = []
        pair = connect(on_server={"choose_identity": lambda question: Deferred(cancelled.append)})
        assert cancelled == []
        if how == "lost":
            pair.cut("client")
        elif how == "timeout":
            pair.advance(30)
        elif how == "abort":
            pair.server_tls.abortConnection()
        else:
            pair.server_tls.loseConnection()
        pair.flush()
        assert len(cancelled) == 1
        assert pair.server.happened == ["made", "lost"]
        if how == "lost":
            assert isinstance(pair.server.reason, ConnectionLost)
        if how == "timeout":
            assert isinstance(pair.server.reason, TimeoutError)
        assert pair.clock.getDelayedCalls() == []

    def test_coroutine_is_cancelled_too(self, connect: Connect) -> None:
        ended: list[str] = []

        async def choose(question: ChooseIdentity) -> Identity:
            try:
                return await Deferred()
            except CancelledError:
                ended.append("cancelled")
                raise

        pair = connect(on_server={"choose_identity": choose})
        pair.cut("client")
        assert ended == ["cancelled"]

    def test_answer_after_the_end(self, connect: Connect, server_identity: Identity) -> None:
        asked: list[ChooseIdentity] = []

        def choose(question: ChooseIdentity) -> object:
            asked.append(question)
            return LATER

        pair = connect(on_server={"choose_identity": choose})
        pair.cut("client")
        asked[0].answer(server_identity)
        assert pair.clock.getDelayedCalls() == []
        assert pair.server.happened == ["made", "lost"]

    def test_answer_of_a_useless_kind(self, connect: Connect, logged: list[str]) -> None:
        def choose(question: ChooseIdentity) -> Awaitable[object]:
            return succeed("a certificate, please")

        pair = connect(on_server={"choose_identity": choose})
        assert isinstance(pair.server.reason, HookError)
        logged.clear()


class TestWhenHandshakeCompleted:
    def test_fires_with_the_protocol_after_the_listener(self, connect: Connect) -> None:
        pair = connect(Listener(), start=False)
        fired: list[object] = []

        def done(protocol: Any) -> None:
            protocol.happened.append("fired")
            fired.append(protocol)

        pair.client_tls.whenHandshakeCompleted().addCallback(done)
        pair.client_tls.whenHandshakeCompleted().addCallback(done)
        assert fired == []
        pair.flush()
        pair.client_tls.whenHandshakeCompleted().addCallback(done)
        assert fired == [pair.client] * 3
        assert pair.client.happened == ["made", "handshake", "fired", "fired", "fired"]

    def test_what_is_written_there_leaves_with_finished(self, connect: Connect) -> None:
        pair = connect(start=False)
        pair.client_tls.whenHandshakeCompleted().addCallback(lambda protocol: protocol.transport.write(b"request"))
        pair.flush()
        assert pair.server.received == b"request"
        assert len(pair.client_wire.writes) == 2, "ClientHello; Finished and the request"

    def test_fails_with_what_the_protocol_is_told(self, connect: Connect) -> None:
        pair = connect(start=False)
        failures: list[Failure] = []
        pair.client_tls.whenHandshakeCompleted().addErrback(failures.append)
        pair.client_tls.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert failures == []
        pair.flush()
        pair.client_tls.whenHandshakeCompleted().addErrback(failures.append)
        assert [failure.value for failure in failures] == [pair.client.reason] * 2
        assert isinstance(pair.client.reason, PeerFault)

    def test_cancelling_aborts(self, connect: Connect) -> None:
        pair = connect(start=False)
        failures: list[Failure] = []
        deferred = pair.client_tls.whenHandshakeCompleted().addErrback(failures.append)
        deferred.cancel()
        assert [type(failure.value) for failure in failures] == [ConnectingCancelledError]
        assert pair.client_wire.aborted
        pair.flush()
        assert pair.client.happened == ["made", "lost"]

    def test_listener_that_aborts(self, connect: Connect) -> None:
        class Choosy(Listener):
            def handshakeCompleted(self) -> None:
                super().handshakeCompleted()
                self.transport.abortConnection()

        pair = connect(Choosy(), start=False)
        failures: list[Failure] = []
        pair.client_tls.whenHandshakeCompleted().addErrback(failures.append)
        pair.flush()
        assert failures == pair.client.lost
