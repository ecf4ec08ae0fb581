"""Whether early data is accepted, asked in every adapter: slow, failing, too late, for nobody, answered twice.

The client is a bare engine that was here before and has something to say. The other questions are in
``question_cases.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from resuming import World
from trio_run import broken_by, trio_run
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted_pair import Talker
from twisted_pair import watch_log as watch_log

from tlsprovider.engine import NativeEngine
from tlsprovider.errors import HookError, MisuseError, TruncatedError, WantRead
from tlsprovider.questions import LATER, AcceptEarlyData
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO
from tlsprovider.trio import TLSStream
from tlsprovider.twisted import TLSFactory

DATA = b"GET / HTTP/1.1\r\n\r\n"

in_virtual_time = trio_run(seconds=1000.0, mock_clock=True)


@attrs.frozen
class Visit:
    """The client's engine, and its hello with the early data behind it."""

    world: World
    client: NativeEngine
    hello: bytes

    def finish(self, flight: bytes) -> bytes:
        """What the client says to the server's flight; its early data was accepted."""
        self.client.process_incoming(flight)
        self.client.do_handshake()
        assert self.client.early_data == "accepted"
        return self.client.process_outgoing()


def visit(hook: Callable[[AcceptEarlyData], Any]) -> Visit:
    world = World({"early_data": True}, {"max_early_data": 1000, "accept_early_data": hook})
    world.connect()
    client, _ = world.engines()
    client.write_early(DATA)
    with pytest.raises(WantRead):
        client.do_handshake()
    return Visit(world, client, client.process_outgoing())


async def sleeping(question: AcceptEarlyData) -> bool:
    await trio.sleep_forever()
    return True


class TestTrio:
    async def meet(self, one: Visit) -> tuple[Any, TLSStream[Any]]:
        near, far = trio.testing.memory_stream_pair()
        await near.send_all(one.hello)
        return near, TLSStream(far, one.world.server, server_side=True)

    @in_virtual_time
    async def test_slow_answer(self) -> None:
        async def slowly(question: AcceptEarlyData) -> bool:
            await trio.sleep(9)
            return True

        one = visit(slowly)
        near, server = await self.meet(one)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await near.send_all(one.finish(await near.receive_some()))
        assert trio.current_time() >= 9
        assert await server.receive_some() == DATA

    @in_virtual_time
    async def test_failing_answer(self) -> None:
        async def fail(question: AcceptEarlyData) -> bool:
            raise LookupError("the database is gone")

        _, server = await self.meet(visit(fail))
        with broken_by(HookError) as causes:
            await server.do_handshake()
        assert isinstance(causes[0].__cause__, LookupError)

    @in_virtual_time
    async def test_timeout(self) -> None:
        _, server = await self.meet(visit(sleeping))
        with broken_by(HookError) as causes:
            await server.do_handshake()
        assert isinstance(causes[0].__cause__, TimeoutError)

    @in_virtual_time
    async def test_peer_gone(self) -> None:
        near, server = await self.meet(visit(sleeping))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.ends, server)
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(near)
        assert trio.current_time() < 1

    async def ends(self, server: TLSStream[Any]) -> None:
        with broken_by(TruncatedError):
            await server.do_handshake()


@pytest.mark.usefixtures("logged")
class TestTwisted:
    def meet(self, one: Visit) -> tuple[Any, Talker, StringTransport, Clock]:
        clock, talker, transport = Clock(), Talker(), StringTransport()
        protocol = TLSFactory(one.world.server, Factory.forProtocol(lambda: talker), clock=clock).buildProtocol(None)
        assert protocol is not None
        protocol.makeConnection(transport)
        protocol.dataReceived(one.hello)
        return protocol, talker, transport, clock

    def test_slow_answer(self) -> None:
        waiting: Deferred[bool] = Deferred()
        one = visit(lambda question: waiting)
        protocol, talker, transport, clock = self.meet(one)
        clock.advance(9)
        assert transport.value() == b""
        waiting.callback(True)
        clock.advance(0)
        protocol.dataReceived(one.finish(transport.value()))
        assert talker.received == DATA

    def test_failing_answer(self, logged: list[str]) -> None:
        waiting: Deferred[bool] = Deferred()
        protocol, talker, _, clock = self.meet(visit(lambda question: waiting))
        waiting.errback(LookupError("the database is gone"))
        clock.advance(0)
        protocol.connectionLost()
        assert isinstance(talker.reason, HookError) and isinstance(talker.reason.__cause__, LookupError)
        logged.clear()

    def test_timeout(self, logged: list[str]) -> None:
        cancelled: list[object] = []
        protocol, talker, _, clock = self.meet(visit(lambda question: Deferred(cancelled.append)))
        clock.advance(10)
        clock.advance(0)
        protocol.connectionLost()
        assert isinstance(talker.reason, HookError) and isinstance(talker.reason.__cause__, TimeoutError)
        assert len(cancelled) == 1
        logged.clear()

    def test_peer_gone(self) -> None:
        cancelled: list[object] = []
        protocol, _, _, clock = self.meet(visit(lambda question: Deferred(cancelled.append)))
        protocol.connectionLost()
        assert len(cancelled) == 1
        assert clock.getDelayedCalls() == []


class TestSSL:
    def meet(self, one: Visit) -> tuple[SSL, MemoryBIO, MemoryBIO]:
        server, arriving, leaving = SSL(one.world.server), MemoryBIO(), MemoryBIO()
        server.set_accept_state()
        server.set_bio(arriving, leaving)
        arriving.write(one.hello)
        for _ in range(2):
            assert server.do_handshake() == -1
            assert server.get_error(-1) is ErrorCode.WANT_EARLY_DATA_DECISION
        return server, arriving, leaving

    def test_slow_answer_and_twice(self) -> None:
        one = visit(lambda question: LATER)
        server, arriving, leaving = self.meet(one)
        question = server.question
        assert isinstance(question, AcceptEarlyData)
        question.answer(True)
        with pytest.raises(MisuseError, match="answered already"):
            question.answer(True)
        assert server.do_handshake() == -1
        arriving.write(one.finish(leaving.read(1 << 16)))
        assert server.do_handshake() == 1
        assert server._engine.early_data == "accepted"

    def test_timeout(self) -> None:
        server, _, _ = self.meet(visit(lambda question: LATER))
        assert server.question is not None
        server.question.run_out_of_time()
        assert server.do_handshake() == -1
        assert isinstance(server.error, HookError) and isinstance(server.error.__cause__, TimeoutError)
