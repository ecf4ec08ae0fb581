"""The ends of a TLSStream: aclose in every situation, and unwrap."""

from __future__ import annotations

import gc
import weakref
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
    fill,
    receive_all,
    socket_pair,
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
        for call in (
            client.receive_some,
            client.do_handshake,
            client.unwrap,
            client.send_eof,
            client.key_update,
            client.wait_send_all_might_not_block,
        ):
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
    @pytest.mark.parametrize("kind", ["memory", "socket"])
    async def test_a_forceful_close_does_not_look_like_a_proper_one(
        self, client_config: ClientConfig, server_config: ServerConfig, kind: str
    ) -> None:
        client, server = await connected(client_config, server_config, socket_pair() if kind == "socket" else None)
        await client.send_all(b"the first hal")
        await trio.aclose_forcefully(client)
        assert await server.receive_some() == b"the first hal"
        with broken_by(TruncatedError):
            await server.receive_some()

    @trio_run
    async def test_a_peer_that_takes_nothing_more_is_given_up_when_cancelled(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = await connected(client_config, server_config, socket_pair())
        await fill(client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.aclose)
            await trio.testing.wait_all_tasks_blocked()
            assert client.transport_stream.socket.fileno() != -1
            nursery.cancel_scope.cancel()
        assert client.transport_stream.socket.fileno() == -1

    @trio_run
    async def test_nothing_is_kept(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """A stream that was closed is freed without the garbage collector, whether its handshake succeeded or not."""
        for names in ("localhost", "somebody.else"):
            near, far = socket_pair()
            streams = [TLSStream(near, client_config, names), TLSStream(far, server_config, server_side=True)]
            parts = [weakref.ref(part) for stream in streams for part in (stream, stream._engine)]
            async with trio.open_nursery() as nursery:
                for stream in streams:
                    nursery.start_soon(shake_hands_and_close, stream)
            gc.disable()
            try:
                del stream, streams
                assert [part() for part in parts] == [None] * 4
            finally:
                gc.enable()

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


async def shake_hands_and_close(stream: Stream) -> None:
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError:
        pass
    await stream.aclose()
