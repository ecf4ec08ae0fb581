"""The ends of a TLSStream: aclose in every situation, and unwrap."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio_run import (
    Gated,
    Through,
    broken_by,
    connected,
    receive_all,
    socket_pair,
    tcp_pair,
    tls_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, MisuseError, TruncatedError
from tlsprovider.trio import TLSStream

Stream = TLSStream[Any]


class TestClosing:
    @trio_run
    async def test_says_close_notify(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"last")
        await client.aclose()
        assert await receive_all(server) == b"last"
        await server.aclose()
        for call in (client.receive_some, client.do_handshake, client.unwrap, client.send_eof, client.key_update):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"")
        await client.aclose()

    @trio_run
    async def test_before_the_handshake(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """The peer must be able to tell a proper end from one that somebody on the way has made."""
        client, server = tls_pair(client_config, server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            assert await server.receive_some() == b""
        await server.aclose()

    @trio_run
    async def test_a_handshake_that_fails_in_aclose(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        through = Through(near)
        client = TLSStream(through, client_config, "somebody.else")
        server = TLSStream(far, server_config, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_any_break, server)
            with broken_by(CertificateFault):
                await client.aclose()
        assert through.closes == 1

    @trio_run
    async def test_https_says_nothing(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        client._https_compatible = True
        await client.aclose()
        with broken_by(TruncatedError):
            await server.receive_some()

    @trio_run
    async def test_https_says_nothing_before_the_handshake_either(self, client_config: ClientConfig) -> None:
        near, _ = map(Through, trio.testing.memory_stream_pair())
        await TLSStream(near, client_config, "localhost", https_compatible=True).aclose()
        assert (near.sends, near.closes) == ([], 1)

    @trio_run
    @pytest.mark.parametrize("raises", [True, False])
    async def test_transports_that_are_not_clear_about_it(
        self, client_config: ClientConfig, server_config: ServerConfig, raises: bool
    ) -> None:
        """A receiver that is blocked learns that the stream was closed, whatever its transport says."""

        class Vague(Through):
            async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
                try:
                    return await super().receive_some(max_bytes)
                except trio.ClosedResourceError:
                    if raises:
                        raise trio.BrokenResourceError from None
                    return b""

        near, far = trio.testing.memory_stream_pair()
        client, _ = await connected(client_config, server_config, (Vague(near), far))

        async def receive() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()

    @trio_run
    async def test_the_transport_is_closed_once_even_if_it_raises(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        class Failing(Through):
            async def aclose(self) -> None:
                await super().aclose()
                raise KeyError("transport")

        near, far = trio.testing.memory_stream_pair()
        failing = Failing(near)
        client, _ = await connected(client_config, server_config, (failing, far))
        with pytest.raises(KeyError):
            await client.aclose()
        await client.aclose()
        assert failing.closes == 1

    @trio_run
    @pytest.mark.parametrize("kind", ["pair", "tcp", "memory"])
    async def test_wakes_a_blocked_sender_and_a_blocked_receiver(
        self, client_config: ClientConfig, server_config: ServerConfig, kind: str
    ) -> None:
        transports = {"pair": socket_pair, "memory": trio.testing.lockstep_stream_pair}.get(kind)
        client, _ = await connected(client_config, server_config, transports() if transports else await tcp_pair())
        woken = []

        async def blocked(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call()
            woken.append(call)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(blocked, lambda: client.send_all(bytes(8 << 20)))
            nursery.start_soon(blocked, client.receive_some)
            await trio.testing.wait_all_tasks_blocked()
            assert not woken
            await client.aclose()
        assert len(woken) == 2

    @trio_run
    async def test_during_the_handshake_of_another_task(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = tls_pair(client_config, server_config)

        async def closed(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(trio.ClosedResourceError):
                await call()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(closed, client.do_handshake)
            nursery.start_soon(closed, client.receive_some)
            nursery.start_soon(closed, lambda: client.send_all(b"x"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(client.aclose)
            nursery.start_soon(client.aclose)

    @trio_run
    async def test_two_tasks_close_a_fresh_stream(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = tls_pair(client_config, server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await trio.testing.wait_all_tasks_blocked()
            await trio.aclose_forcefully(client)

    @trio_run
    async def test_cancelled_while_saying_goodbye(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        gated = Gated(near)
        client, _ = await connected(client_config, server_config, (gated, far))
        gated.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert gated.closes == 0
            nursery.cancel_scope.cancel()
        assert gated.closes == 1

    @trio_run
    async def test_what_a_cancelled_send_left_goes_out_before_close_notify(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, server = await connected(client_config, server_config)
        await client._send_turn.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"sealed")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        client._send_turn.give()
        await client.aclose()
        assert await receive_all(server) == b"sealed"


class TestUnwrap:
    @trio_run
    async def test_both_sides(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, far = trio.testing.memory_stream_pair()
        client, server = await connected(client_config, server_config, (near, far))
        results: list[tuple[trio.abc.Stream, bytes]] = []

        async def unwrap(stream: Stream) -> None:
            results.append(await stream.unwrap())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(unwrap, client)
            nursery.start_soon(unwrap, server)
        assert {id(transport) for transport, _ in results} == {id(near), id(far)}
        assert [trailing for _, trailing in results] == [b"", b""]
        assert client.transport_stream is None and server.transport_stream is None
        for call in (client.receive_some, client.do_handshake, client.send_eof, client.unwrap):
            with pytest.raises(trio.ClosedResourceError):
                await call()
        await client.aclose()  # closes nothing: the transport is the caller's again
        await near.send_all(b"plain again")
        assert await far.receive_some() == b"plain again"

    @trio_run
    async def test_trailing_bytes_and_unread_data(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        client, server = await connected(client_config, server_config, (near, far))
        await client.send_all(b"not read yet")
        await client.send_eof()
        await near.send_all(b"trailing")
        transport, trailing = await server.unwrap()
        assert transport is far and trailing == b"trailing"
        assert await server.receive_some(7) == b"not rea"
        assert await server.receive_some() == b"d yet"
        with pytest.raises(trio.ClosedResourceError):
            await server.receive_some()

    @trio_run
    async def test_aclose_forgets_unread_data(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"not read yet")
        await client.send_eof()
        await server.unwrap()
        await server.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await server.receive_some()

    @trio_run
    async def test_a_peer_that_goes_on_talking(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        data = bytes(range(256)) * 5000
        await client.send_all(data)
        with pytest.raises(MisuseError, match="call unwrap\\(\\) again"):
            await server.unwrap()
        await client.send_eof()
        assert await receive_all(server) == data
        await server.unwrap()

    @trio_run
    async def test_cancelled_and_called_again(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"one, ")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.unwrap)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await client.send_all(b"two")
        await client.send_eof()
        transport, _ = await server.unwrap()
        assert transport is not None
        assert await server.receive_some() == b"one, two"

    @trio_run
    async def test_aclose_by_another_task(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, _ = await connected(client_config, server_config)

        async def unwrap() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.unwrap()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(unwrap)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()

    @trio_run
    async def test_a_bare_end(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.transport_stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await server.unwrap()


async def expect_any_break(stream: Stream) -> None:
    with pytest.raises(trio.BrokenResourceError):
        await stream.do_handshake()
