"""Every question, asked of a Deferred and of a coroutine: slow, failing, cancelled, too late, for nobody, twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from question_cases import Case, every_case
from question_cases import make_cases as make_cases
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted_pair import Pair, join
from twisted_pair import watch_log as watch_log

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import AlertReceived, HookError, MisuseError
from tlsprovider.iana import AlertDescription
from tlsprovider.questions import LATER, ClientHelloReceived, Question
from tlsprovider.twisted.answers import address_of

pytestmark = pytest.mark.usefixtures("logged")
every_kind = pytest.mark.parametrize("kind", ["deferred", "coroutine"])
with_later = pytest.mark.parametrize("kind", ["deferred", "coroutine", "later"])


class Hook:
    """Begins to work on an answer, which comes when ``work`` fires, or never; counts how often it was cancelled."""

    def __init__(self, case: Case, kind: str) -> None:
        self.case = case
        self.kind = kind
        self.asked: list[Any] = []
        self.cancelled = 0
        self.work: Deferred[Any] = Deferred(self._note)

    def _note(self, deferred: Deferred[Any]) -> None:
        self.cancelled += 1

    def __call__(self, question: Question[Any]) -> object:
        self.asked.append(question)
        if self.kind == "later":
            return LATER
        return self._coroutine() if self.kind == "coroutine" else self.work

    async def _coroutine(self) -> object:
        return await self.work

    def finish(self) -> None:
        self.work.callback(self.case.right(self.asked[0]))


@attrs.frozen
class Asking:
    """A handshake that waits for the hook's answer."""

    case: Case
    hook: Hook
    pair: Pair

    @property
    def asked(self) -> Any:
        return self.case.sides(self.pair.client, self.pair.server)[0]

    @property
    def other(self) -> Any:
        return self.case.sides(self.pair.client, self.pair.server)[1]

    @property
    def asked_tls(self) -> Any:
        return self.case.sides(self.pair.client_tls, self.pair.server_tls)[0]

    def has_failed(self) -> HookError:
        """The side that was asked has a HookError, the other the alert; nothing is left on the clock."""
        self.pair.flush()
        assert isinstance(self.asked.reason, HookError)
        if self.case.told:
            assert isinstance(self.other.reason, AlertReceived)
            assert self.other.reason.alert is AlertDescription.internal_error
        assert self.pair.clock.getDelayedCalls() == []
        return self.asked.reason


Ask = Callable[..., Asking]


@pytest.fixture
def ask(cases: dict[str, Case], name: str) -> Ask:
    def begin(kind: str, **fields: Any) -> Asking:
        case = cases[name]
        hook = Hook(case, kind)
        asking = Asking(case, hook, join(*case.configs(hook, **fields)))
        assert len(hook.asked) == 1
        assert not asking.asked_tls._handshake_done
        return asking

    return begin


@every_case
class TestEveryHook:
    @every_kind
    def test_slow_answer(self, ask: Ask, kind: str) -> None:
        asking = ask(kind)
        asking.pair.advance(9)
        asking.hook.finish()
        asking.pair.flush()
        assert asking.pair.client_tls._handshake_done and asking.pair.server_tls._handshake_done
        assert asking.pair.clock.getDelayedCalls() == []
        asking.pair.client_tls.write(b"ping")
        asking.pair.flush()
        assert asking.pair.server.received == b"ping"

    @every_kind
    def test_failing_answer(self, ask: Ask, kind: str, logged: list[str]) -> None:
        asking = ask(kind)
        asking.hook.work.errback(LookupError("the database is gone"))
        assert isinstance(asking.has_failed().__cause__, LookupError)
        logged.clear()

    @every_kind
    def test_cancelled_answer(self, ask: Ask, kind: str, logged: list[str]) -> None:
        asking = ask(kind)
        asking.hook.work.cancel()
        assert isinstance(asking.has_failed().__cause__, CancelledError)
        logged.clear()

    @with_later
    def test_timeout(self, ask: Ask, kind: str, logged: list[str]) -> None:
        asking = ask(kind, answer_timeout=7)
        asking.pair.advance(6.9)
        assert not asking.asked.lost
        asking.pair.advance(0.1)
        error = asking.has_failed()
        assert isinstance(error.__cause__, TimeoutError) and "no answer within 7 seconds" in str(error)
        assert asking.hook.cancelled == (kind != "later")
        logged.clear()

    @with_later
    def test_peer_gone(self, ask: Ask, kind: str) -> None:
        asking = ask(kind)
        asking.pair.cut("client" if asking.case.asked_of_server else "server")
        assert isinstance(asking.asked.reason, ConnectionLost)
        assert asking.hook.cancelled == (kind != "later")
        assert asking.pair.clock.getDelayedCalls() == []

    def test_answer_twice(self, ask: Ask) -> None:
        asking = ask("later")
        question = asking.asked_tls._engine.question
        question.answer(asking.case.right(question))
        with pytest.raises(MisuseError, match="answered already"):
            question.answer(asking.case.right(question))
        asking.pair.flush()
        assert asking.pair.server_tls._handshake_done
        assert asking.pair.clock.getDelayedCalls() == []


class TestAddress:
    def test_of_the_client(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        asked: list[ClientHelloReceived] = []

        def hook(question: ClientHelloReceived) -> ServerConfig:
            asked.append(question)
            return server_config

        pair = join(client_config, attrs.evolve(server_config, on_client_hello=hook), start=False)
        pair.server_tls._engine.peer_address = ("192.0.2.1", 4711)  # type: ignore[union-attr]
        pair.flush()
        assert asked[0].client_address == ("192.0.2.1", 4711)

    @pytest.mark.parametrize(
        ("peer", "expected"),
        [(IPv4Address("TCP", "192.0.2.1", 4711), ("192.0.2.1", 4711)), (UNIXAddress("/tmp/s"), None), ("pipe", None)],
    )
    def test_by_kind(self, peer: object, expected: tuple[str, int] | None) -> None:
        class Transport:
            def getPeer(self) -> object:
                return peer

        assert address_of(Transport()) == expected
        assert address_of(object()) is None


def test_flood_pauses_the_peer(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """What arrives while a hook works is kept up to a limit; then the transport is paused until there is an answer."""
    waiting: Deferred[ServerConfig] = Deferred()
    pair = join(client_config, attrs.evolve(server_config, on_client_hello=lambda question: waiting))
    assert pair.server_wire.reading
    for _ in range(20):
        pair.client_wire.write(bytes(1 << 14))
        pair.flush()
    assert not pair.server_wire.reading
    assert 64 * 1024 <= 20 * (1 << 14) - len(pair.server_wire._held) < 96 * 1024
    waiting.callback(server_config)
    pair.flush()
    assert pair.server.lost, "what was sent is no TLS, and now somebody has looked at it"
