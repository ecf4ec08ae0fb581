"""Every question, asked of an async hook under trio: slow, failing, cancelled, too late, for nobody, answered twice."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from question_cases import Case, every_case
from question_cases import make_cases as make_cases
from trio_run import Through, broken_by, shake_hands, tcp_pair, tls_pair, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import AlertReceived, HookError, MisuseError, TLSError, TruncatedError, WantRead
from tlsprovider.iana import AlertDescription
from tlsprovider.questions import LATER, ClientHelloReceived, Question
from tlsprovider.trio import TLSStream

Stream = TLSStream[Any]
in_virtual_time = trio_run(seconds=1000.0, mock_clock=True)


class Hook:
    """Takes its time over the right answer, or never comes to it."""

    def __init__(self, case: Case, work: Callable[[], Awaitable[object]]) -> None:
        self.case = case
        self.work = work
        self.begun = 0
        self.ended = 0

    async def __call__(self, question: Question[Any]) -> object:
        self.begun += 1
        try:
            await self.work()
        finally:
            self.ended += 1
        return self.case.right(question)


async def fails(stream: Stream, kind: type[TLSError], found: list[BaseException]) -> None:
    """What the other side gets: at once, or with what it reads when its own handshake is complete."""
    with broken_by(kind) as causes:
        await stream.do_handshake()
        await stream.receive_some()
    found += causes


async def fail_both(case: Case, streams: tuple[Stream, Stream]) -> HookError:
    """The side that is asked has a HookError, the other the alert internal_error."""
    asked, other = case.sides(*streams)
    found: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fails, other, AlertReceived if case.told else TLSError, found)
        with broken_by(HookError) as causes:
            await asked.do_handshake()
        await trio.aclose_forcefully(asked.transport_stream)
    if case.told:
        assert isinstance(found[0], AlertReceived) and found[0].alert is AlertDescription.internal_error
    assert isinstance(causes[0], HookError)
    return causes[0]


@every_case
class TestEveryHook:
    @in_virtual_time
    async def test_slow_answer(self, cases: dict[str, Case], name: str) -> None:
        hook = Hook(cases[name], lambda: trio.sleep(9))
        streams = tls_pair(*cases[name].with_hook(hook))
        began = trio.current_time()
        await shake_hands(*streams)
        assert trio.current_time() - began >= 9
        assert (hook.begun, hook.ended) == (1, 1)
        await streams[0].send_all(b"ping")
        assert await streams[1].receive_some() == b"ping"

    @in_virtual_time
    async def test_failing_answer(self, cases: dict[str, Case], name: str) -> None:
        async def fail() -> None:
            await trio.sleep(1)
            raise LookupError("the database is gone")

        case = cases[name]
        error = await fail_both(case, tls_pair(*case.with_hook(Hook(case, fail))))
        assert isinstance(error.__cause__, LookupError)

    @in_virtual_time
    async def test_cancelled_answer(self, cases: dict[str, Case], name: str) -> None:
        case = cases[name]
        hook = Hook(case, trio.sleep_forever)
        asked, other = case.sides(*tls_pair(*case.with_hook(hook)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, other, AlertReceived if case.told else TLSError, [])
            with trio.move_on_after(1):
                await asked.do_handshake()
            assert (hook.begun, hook.ended) == (1, 1)
            with broken_by(HookError) as causes:
                await asked.do_handshake()
            await trio.aclose_forcefully(asked.transport_stream)
        assert "cancelled" in str(causes[0])

    @in_virtual_time
    @pytest.mark.parametrize("later", [False, True])
    async def test_timeout(self, cases: dict[str, Case], name: str, later: bool) -> None:
        case = cases[name]
        hook = Hook(case, trio.sleep_forever)
        pair = tls_pair(*case.configs((lambda question: LATER) if later else hook, answer_timeout=7))
        began = trio.current_time()
        error = await fail_both(case, pair)
        assert 7 <= trio.current_time() - began < 8
        assert isinstance(error.__cause__, TimeoutError) and "no answer within 7 seconds" in str(error)
        assert hook.begun == hook.ended == (not later)

    @in_virtual_time
    @pytest.mark.parametrize("later", [False, True])
    async def test_peer_gone(self, cases: dict[str, Case], name: str, later: bool) -> None:
        case = cases[name]
        hook = Hook(case, trio.sleep_forever)
        asked, other = case.sides(
            *tls_pair(*case.configs((lambda question: LATER) if later else hook, answer_timeout=None))
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails, asked, TruncatedError, [])
            async with trio.open_nursery() as leaving:
                leaving.start_soon(other.do_handshake)
                await trio.testing.wait_all_tasks_blocked()
                leaving.cancel_scope.cancel()
            assert hook.ended == 0
            await trio.aclose_forcefully(other.transport_stream)
        assert hook.begun == hook.ended == (not later)

    @in_virtual_time
    async def test_answer_twice(self, cases: dict[str, Case], name: str) -> None:
        case = cases[name]
        asked: list[Question[Any]] = []

        def hook(question: Question[Any]) -> object:
            asked.append(question)
            return LATER

        streams = tls_pair(*case.with_hook(hook))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, *streams)
            await trio.testing.wait_all_tasks_blocked()
            # A signer is called with what it is to sign; the question itself is the engine's.
            question = case.sides(*streams)[0]._engine.question
            question.answer(case.right(question))
            with pytest.raises(MisuseError, match="answered already"):
                question.answer(case.right(question))
        assert all(stream.handshake_complete for stream in streams)


@trio_run
async def test_address_of_the_client(client_config: ClientConfig, server_config: ServerConfig) -> None:
    asked: list[ClientHelloReceived] = []

    def hook(question: ClientHelloReceived) -> ServerConfig:
        asked.append(question)
        return server_config

    asking = attrs.evolve(server_config, on_client_hello=hook)
    near, far = await tcp_pair()
    await shake_hands(*tls_pair(client_config, asking, (near, far)))
    await shake_hands(*tls_pair(client_config, asking))
    assert [question.client_address for question in asked] == [near.socket.getsockname(), None]


class Counting(Through):
    received = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await super().receive_some(max_bytes)
        self.received += len(data)
        return data


@trio_run
async def test_flood_pauses_the_peer(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """What arrives while a hook works is kept up to a limit, then the transport fills, and the sender waits."""

    async def hook(question: ClientHelloReceived) -> None:
        await trio.sleep_forever()

    near, far = await tcp_pair()
    counted = Counting(far)
    client, server = tls_pair(client_config, attrs.evolve(server_config, on_client_hello=hook), (near, counted))
    with pytest.raises(WantRead):
        client._engine.do_handshake()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        await near.send_all(client._engine.process_outgoing())
        while True:
            await near.send_all(bytes(1 << 14))
            sent += 1 << 14

    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        nursery.start_soon(flood)
        while server._engine.wants_input:
            await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked(0.01)
        before = sent
        assert 64 * 1024 <= counted.received < 256 * 1024
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert sent == before, "the sender waits"
        nursery.cancel_scope.cancel()
