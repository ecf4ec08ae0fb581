"""TLSStream under trio's own checks of a stream, over every kind of transport."""

from __future__ import annotations

from functools import partial

import pytest
import trio
import trio.testing
from trio_run import (
    Pair,
    connected,
    fill,
    shake_hands,
    socket_pair,
    tcp_pair,
    tls_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig


class TestContract:
    """What trio itself demands of a stream."""

    @trio_run(seconds=30)
    @pytest.mark.parametrize("https_compatible", [False, True])
    async def test_over_memory(
        self, client_config: ClientConfig, server_config: ServerConfig, https_compatible: bool
    ) -> None:
        make = partial(tls_pair, client_config, server_config, https_compatible=https_compatible)

        async def maker() -> Pair:
            return make()

        async def clogged_maker() -> Pair:
            pair = make(transports=trio.testing.lockstep_stream_pair())
            await shake_hands(*pair)
            return pair

        check = trio.testing.check_two_way_stream if https_compatible else trio.testing.check_half_closeable_stream
        await check(maker, clogged_maker)

    @trio_run(seconds=30)
    async def test_over_sockets(
        self, client_config: ClientConfig, server_config: ServerConfig, socket_calls: str
    ) -> None:
        async def maker() -> Pair:
            return tls_pair(client_config, server_config, socket_pair())

        async def clogged_maker() -> Pair:
            pair = await connected(client_config, server_config, socket_pair())
            for stream in pair:
                await fill(stream)
            return pair

        await trio.testing.check_half_closeable_stream(maker, clogged_maker)

    @trio_run(seconds=30)
    async def test_over_tcp(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async def maker() -> Pair:
            return tls_pair(client_config, server_config, await tcp_pair())

        await trio.testing.check_half_closeable_stream(maker, None)

    @trio_run(seconds=30)
    async def test_tls_in_tls(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async def maker() -> Pair:
            return tls_pair(client_config, server_config, tls_pair(client_config, server_config))

        async def clogged_maker() -> Pair:
            outer = await connected(client_config, server_config, socket_pair())
            pair = await connected(client_config, server_config, outer)
            for stream in pair:
                await fill(stream)
            return pair

        await trio.testing.check_half_closeable_stream(maker, clogged_maker)

    @trio_run
    async def test_every_call_is_a_checkpoint(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        with trio.testing.assert_checkpoints():
            await client.do_handshake()
        with trio.testing.assert_checkpoints():
            await client.send_all(b"")
        with trio.testing.assert_checkpoints():
            await client.send_all(b"abc")
        for _ in b"abc":  # two of them only take what is there already
            with trio.testing.assert_checkpoints():
                await server.receive_some(1)
        with trio.testing.assert_checkpoints():
            await client.wait_send_all_might_not_block()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await client.send_eof()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                assert await server.receive_some() == b""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.unwrap)
            with trio.testing.assert_checkpoints():
                await client.unwrap()
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await client.aclose()

    @trio_run
    async def test_a_key_update_is_a_checkpoint(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, _ = await connected(client_config, server_config)
        with trio.testing.assert_checkpoints():
            await client.key_update()


class Simulated(trio.socket.SocketType):
    """A socket without a file descriptor, as trio.socket.set_custom_socket_factory may make them."""

    type = trio.socket.SOCK_STREAM

    def __init__(self, real: trio.socket.SocketType) -> None:
        self.send = real.send
        self.recv = real.recv
        self.setsockopt = real.setsockopt
        self.getpeername = real.getpeername


@trio_run
async def test_a_socket_that_is_none(client_config: ClientConfig, server_config: ServerConfig) -> None:
    near, far = (trio.SocketStream(Simulated(stream.socket)) for stream in socket_pair())
    client, server = await connected(client_config, server_config, (near, far))
    await client.send_all(b"as if")
    assert await server.receive_some() == b"as if"
