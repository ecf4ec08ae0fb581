"""How often the scheduler has to act: figures that a busy machine can't change.

Both ends together. Plain TCP takes 16 steps for a connection, 4 for an echo and 32 for a MiB in writes of 64 KiB;
``trio.SSLStream`` takes 37, 8 and 115. TLS of ours costs no step more than plain TCP, save the handshake's round trip.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing
from trio_run import Pair, Steps, Through, connected, socket_pair, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.trio import TLSStream

PIECE = bytes(65536)
Ends = tuple[trio.abc.Stream, trio.abc.Stream]
Wrap = Callable[[trio.abc.Stream], trio.abc.Stream]


@pytest.fixture(params=["socket", "any stream"])
def through(request: pytest.FixtureRequest) -> Wrap:
    """A transport that is known to be a socket, or one that could be anything."""
    return Through if request.param == "any stream" else lambda stream: stream


@trio_run
async def test_a_connection(client_config: ClientConfig, server_config: ServerConfig, through: Wrap) -> None:
    async def connect(near: Wrap, far: Wrap) -> int:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]

        async def ask() -> None:
            stream = near(await trio.open_tcp_stream("127.0.0.1", port))
            await stream.send_all(b"?")
            assert await stream.receive_some() == b"!"
            await stream.aclose()

        async def answer() -> None:
            stream = far(await listener.accept())
            assert await stream.receive_some() == b"?"
            await stream.send_all(b"!")
            assert await stream.receive_some() == b""
            await stream.aclose()

        async with listener:
            return await Steps().of(ask, answer)

    plain = await connect(lambda stream: stream, lambda stream: stream)
    secure = await connect(
        lambda stream: TLSStream(through(stream), client_config, "localhost"),
        lambda stream: TLSStream(through(stream), server_config, server_side=True),
    )
    # Hello and its answer: two tasks that wait. A stream that could be anything gets a checkpoint for each call.
    assert secure - plain <= (6 if through is Through else 2)
    assert secure <= (22 if through is Through else 18)


@trio_run
async def test_an_echo(client_config: ClientConfig, server_config: ServerConfig, through: Wrap) -> None:
    async def echo(near: trio.abc.Stream, far: trio.abc.Stream, times: int) -> int:
        async def ask() -> None:
            for _ in range(times):
                await near.send_all(b"?")
                assert await near.receive_some(1) == b"!"

        async def answer() -> None:
            for _ in range(times):
                assert await far.receive_some(1) == b"?"
                await far.send_all(b"!")

        return await Steps().of(ask, answer)

    for ends in await plain_and_secure(client_config, server_config, through):
        assert await echo(*ends, times=20) - await echo(*ends, times=10) == 10 * 4


@trio_run
async def test_a_mebibyte(client_config: ClientConfig, server_config: ServerConfig, through: Wrap) -> None:
    async def carry(near: trio.abc.Stream, far: trio.abc.Stream, mebibytes: int) -> int:
        async def send() -> None:
            for _ in range(16 * mebibytes):
                await near.send_all(PIECE)

        async def receive() -> None:
            received = 0
            while received < mebibytes << 20:
                received += len(await far.receive_some())

        return await Steps().of(send, receive)

    for ends in await plain_and_secure(client_config, server_config, through):
        assert await carry(*ends, mebibytes=8) - await carry(*ends, mebibytes=4) <= 4 * 32


async def plain_and_secure(client_config: ClientConfig, server_config: ServerConfig, through: Wrap) -> list[Ends]:
    near, far = socket_pair()
    secure: Pair = await connected(client_config, server_config, (through(near), through(far)))
    return [socket_pair(), secure]
