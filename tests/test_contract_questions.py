"""The SSL object's pauses that are decisions: a code for each, ``ssl.question.answer(...)``, and no answer at all."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from contract_transports import Link, MemoryLink, every_stepwise_transport, make_ssls
from question_cases import Case, every_case
from question_cases import make_cases as make_cases

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import HookError, MisuseError, TruncatedError
from tlsprovider.questions import LATER, ClientHelloReceived, Question
from tlsprovider.ssl import SSL, ErrorCode

# DESIGN section 3: what SSL_get_error says while a question is open.
CODES = {
    "on_client_hello": ErrorCode.WANT_CLIENT_HELLO_CB,
    "choose_identity server": ErrorCode.WANT_X509_LOOKUP,
    "choose_identity client": ErrorCode.WANT_X509_LOOKUP,
    "signer": ErrorCode.WANT_PRIVATE_KEY_OPERATION,
    "verify_peer client": ErrorCode.WANT_RETRY_VERIFY,
    "verify_peer server": ErrorCode.WANT_RETRY_VERIFY,
    "find_session": ErrorCode.WANT_SESSION,
}


@attrs.frozen
class Asking:
    """A link whose handshake waits for an answer at one end."""

    link: Link
    asked: SSL
    code: ErrorCode
    right: Callable[[Any], Any]

    @property
    def question(self) -> Question[Any]:
        assert self.asked.question is not None
        return self.asked.question

    def still_waits(self) -> None:
        """The same call gives the same code, and nothing moves."""
        question = self.question
        for _ in range(3):
            assert self.asked.do_handshake() == -1
            assert self.asked.get_error(-1) is self.code
            assert self.asked.question is question

    def fails_with(self, cause: type[BaseException]) -> None:
        assert self.asked.do_handshake() == -1
        assert self.asked.get_error(-1) is ErrorCode.SSL
        assert isinstance(self.asked.error, HookError) and isinstance(self.asked.error.__cause__, cause)
        assert self.asked.question is None


def begin(link: Link, case: Case, name: str) -> Asking:
    """Run both ends until the question."""
    asked, other = case.sides(link.client, link.server)
    asking = Asking(link, asked, CODES[name], case.right)
    for _ in range(50):
        for ssl in (other, asked):
            ssl.do_handshake()
            link.deliver()
        if asked.question is not None:
            assert asked.get_error(-1) is asking.code
            return asking
    raise AssertionError("no question")


@every_case
@every_stepwise_transport
class TestEveryHook:
    def open(self, transport: type[Link], case: Case, **fields: Any) -> Link:
        return transport(*make_ssls(*case.configs(lambda question: LATER, **fields)))

    def test_slow_answer(self, transport: type[Link], cases: dict[str, Case], name: str) -> None:
        with self.open(transport, cases[name]) as link:
            asking = begin(link, cases[name], name)
            asking.still_waits()
            asking.question.answer(asking.right(asking.question))
            link.handshake()
            assert asking.asked.question is None
            assert link.client.write(b"ping") == 4
            assert link.one(link.server, lambda: link.server.read(9)) == b"ping"

    def test_failing_answer(self, transport: type[Link], cases: dict[str, Case], name: str) -> None:
        with self.open(transport, cases[name]) as link:
            asking = begin(link, cases[name], name)
            asking.question.fail(LookupError("the database is gone"))
            asking.fails_with(LookupError)

    def test_cancelled_answer(self, transport: type[Link], cases: dict[str, Case], name: str) -> None:
        """Who doesn't want it any more shuts down; an answer that comes after that changes nothing."""
        with self.open(transport, cases[name]) as link:
            asking = begin(link, cases[name], name)
            question = asking.question
            assert asking.asked.shutdown() == 0
            assert asking.asked.question is None
            question.answer(asking.right(question))
            assert asking.asked.do_handshake() == -1
            assert asking.asked.get_error(-1) is ErrorCode.SSL
            assert not asking.asked.is_init_finished()

    def test_timeout(self, transport: type[Link], cases: dict[str, Case], name: str) -> None:
        """An SSL object has no clock: whoever waits for the answer looks at the limit."""
        with self.open(transport, cases[name], answer_timeout=7) as link:
            asking = begin(link, cases[name], name)
            assert asking.question.time_limit == 7
            asking.question.run_out_of_time()
            asking.fails_with(TimeoutError)

    def test_answer_twice(self, transport: type[Link], cases: dict[str, Case], name: str) -> None:
        with self.open(transport, cases[name]) as link:
            asking = begin(link, cases[name], name)
            question = asking.question
            question.answer(asking.right(question))
            with pytest.raises(MisuseError, match="answered already"):
                question.answer(asking.right(question))
            link.handshake()


@every_case
class TestOverMemory:
    def test_peer_gone(self, cases: dict[str, Case], name: str) -> None:
        """The end is seen when the transport is read again, which is after the answer."""
        case = cases[name]
        with MemoryLink(*make_ssls(*case.configs(lambda question: LATER))) as link:
            asking = begin(link, case, name)
            link.inject_eof(asking.asked)
            asking.still_waits()
            question = asking.question
            question.answer(asking.right(question))
            assert link.one(asking.asked, lambda: asking.asked.read(9)) == b""
            assert isinstance(asking.asked.error, TruncatedError)

    def test_coroutine_is_for_the_caller_to_run(self, cases: dict[str, Case], name: str) -> None:
        case = cases[name]

        async def hook(question: Question[Any]) -> object:
            return case.right(question)

        with MemoryLink(*make_ssls(*case.configs(hook))) as link:
            asking = begin(link, case, name)
            pending: Any = asking.question.pending
            with pytest.raises(StopIteration) as finished:
                pending.send(None)
            asking.question.answer(finished.value.value)
            link.handshake()


def test_flood_stays_in_the_transport(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """While a question is open nothing is read, so what a peer sends meanwhile fills its own side."""
    asking = attrs.evolve(server_config, on_client_hello=lambda question: LATER)
    with MemoryLink(*make_ssls(client_config, asking)) as link:
        link.client.do_handshake()
        link.deliver()
        assert link.server.do_handshake() == -1
        link.inject(link.server, bytes(1 << 20))
        for _ in range(3):
            assert link.server.do_handshake() == -1
            assert link.server.get_error(-1) is ErrorCode.WANT_CLIENT_HELLO_CB
        assert link.waiting_for(link.server) == 1 << 20


def test_address_of_the_client(client_config: ClientConfig, server_config: ServerConfig) -> None:
    asked: list[ClientHelloReceived] = []

    def hook(question: ClientHelloReceived) -> ServerConfig:
        asked.append(question)
        return server_config

    client, server = make_ssls(client_config, attrs.evolve(server_config, on_client_hello=hook))
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as near:
        near.connect(listener.getsockname())
        far, _ = listener.accept()
        with far:
            client.set_fd(near)
            server.set_fd(far)
            near.setblocking(False)
            client.do_handshake()
            far.setblocking(False)
            server.do_handshake()
            assert [question.client_address for question in asked] == [near.getsockname()]
    with MemoryLink(*make_ssls(client_config, attrs.evolve(server_config, on_client_hello=hook))) as link:
        link.handshake()
    assert asked[1].client_address is None
