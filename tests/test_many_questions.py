"""A thousand handshakes that wait for an answer at once: no thread, nothing that polls, and room for the next one."""

from __future__ import annotations

import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import Steps, shake_hands, tls_pair, trio_run
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted_pair import join

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import WantRead
from tlsprovider.providers import get_provider
from tlsprovider.questions import ChooseIdentity
from tlsprovider.trio import TLSStream
from tlsprovider.twisted import TLSFactory, TLSProtocol

MANY = 1000
# For the engine with the ClientHello that it has read, the question, the adapter, and whatever the framework needs to
# wait: a task and a nursery with a listener, or two delayed calls.
BUDGET = 48 * 1024


@contextmanager
def measured(what: str, capsys: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Prints, and limits, what each of the many takes; insists that no thread was begun."""
    threads = threading.active_count()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    each = (after - before) / MANY
    with capsys.disabled():
        print(f"\n{what}: {each / 1024:.1f} KiB for each of {MANY} handshakes that wait for an answer")
    assert each < BUDGET
    assert threading.active_count() == threads


@pytest.fixture(scope="module")
def hello(client_config: ClientConfig) -> bytes:
    client = get_provider("native").client_engine(client_config, "localhost")
    with pytest.raises(WantRead):
        client.do_handshake()
    return client.process_outgoing()


@trio_run(seconds=30)
async def test_trio(
    client_config: ClientConfig, server_config: ServerConfig, hello: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = 0

    async def choose(question: ChooseIdentity) -> None:
        nonlocal waiting
        waiting += 1
        try:
            await trio.sleep_forever()
        finally:
            waiting -= 1

    asking = attrs.evolve(server_config, choose_identity=choose)
    steps = Steps()
    transports: list[Any] = []
    async with trio.open_nursery() as nursery:
        with measured("trio", capsys):
            for _ in range(MANY):
                near, far = trio.testing.memory_stream_pair()
                transports.append(near)
                nursery.start_soon(TLSStream(far, asking, server_side=True).do_handshake)
                await near.send_all(hello)
            await trio.testing.wait_all_tasks_blocked()
            assert waiting == MANY
        async with trio.open_nursery():
            assert await steps.of(lambda: trio.sleep(0.05)) <= 4, "nobody but the sleeper does anything"
        taken = await steps.of(lambda: shake_hands(*tls_pair(client_config, server_config)))
        assert taken < 50, "the next one does not wait for the others"
        nursery.cancel_scope.cancel()
    assert waiting == 0


def test_twisted(
    client_config: ClientConfig, server_config: ServerConfig, hello: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    cancelled: list[Deferred[Any]] = []
    clock = Clock()
    asking = attrs.evolve(server_config, choose_identity=lambda question: Deferred(cancelled.append))
    factory = TLSFactory(asking, Factory.forProtocol(Protocol), clock=clock)
    protocols: list[TLSProtocol] = []
    with measured("Twisted", capsys):
        for _ in range(MANY):
            protocol = factory.buildProtocol(None)
            assert protocol is not None
            protocol.makeConnection(StringTransport())
            protocol.dataReceived(hello)
            protocols.append(protocol)
    assert len(clock.getDelayedCalls()) == 2 * MANY, "the limits of the handshake and of the answer"
    assert min(call.getTime() for call in clock.getDelayedCalls()) == asking.answer_timeout
    pair = join(client_config, server_config)
    assert pair.client_tls._handshake_done and pair.server_tls._handshake_done
    for protocol in protocols:
        protocol.connectionLost()
    assert len(cancelled) == MANY
    assert clock.getDelayedCalls() == []
