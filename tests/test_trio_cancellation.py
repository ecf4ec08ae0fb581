"""What a cancelled task leaves behind: in the handshake, in the middle of sending, waiting, or receiving."""

from __future__ import annotations

import random
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import (
    Crumbs,
    Gated,
    Through,
    cancelled_when_blocked,
    connected,
    receive_all,
    send_and_end,
    shake_hands,
    socket_pair,
    tls_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.events import Event
from tlsprovider.trio import TLSStream
from tlsprovider.trio.turns import Turn

MEGABYTE = bytes(range(256)) * 4096

Stream = TLSStream[Any]


class TestTurn:
    @trio_run
    async def test_first_come_first_served(self) -> None:
        turn = Turn()
        order = []

        async def take(name: str) -> None:
            assert await turn.take()
            order.append(name)
            turn.give()

        assert not await turn.take()
        async with trio.open_nursery() as nursery:
            for name in ("first", "second"):
                nursery.start_soon(take, name)
                await trio.testing.wait_all_tasks_blocked()
            turn.give()
            assert not turn.take_nowait()  # it is the first one's already
            assert await turn.take()
            order.append("last")
        assert order == ["first", "second", "last"]
        turn.give()
        assert turn.take_nowait()

    @trio_run
    async def test_who_is_cancelled_while_waiting_is_passed_over(self) -> None:
        turn = Turn()
        assert turn.take_nowait()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(turn.take)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        turn.give()
        assert turn.take_nowait()


class TestNothingHappened:
    @trio_run
    async def test_a_cancelled_call_does_nothing(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = map(Through, trio.testing.memory_stream_pair())
        client, server = await connected(client_config, server_config, (near, far))
        await client.send_all(b"kept")
        sends = len(near.sends)
        for call in (server.receive_some, client.do_handshake, client.send_eof, partial(client.send_all, b"lost")):
            with trio.CancelScope() as scope:
                scope.cancel()
                await call()
            assert scope.cancelled_caught
        assert len(near.sends) == sends
        assert await server.receive_some() == b"kept"
        await client.send_all(b"!")
        assert await server.receive_some() == b"!"

    @trio_run
    async def test_a_cancelled_receive_loses_nothing(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        client, server = await connected(client_config, server_config, (near, Crumbs(far)))
        await client.send_all(b"precious")
        received = b""
        for ticks in range(200):
            async with trio.open_nursery() as nursery:

                async def receive() -> None:
                    nonlocal received
                    received += await server.receive_some()

                nursery.start_soon(receive)
                for _ in range(ticks):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            if received:
                break
        assert received == b"precious"


class TestHandshake:
    @trio_run
    async def test_at_every_tick(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """However far the first attempt got, a later one finishes; over a transport that gives byte by byte."""
        for ticks in range(0, 60, 3):
            near, far = trio.testing.memory_stream_pair()
            client, server = tls_pair(client_config, server_config, (near, Through(far)))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.do_handshake)
                async with trio.open_nursery() as cancelled:
                    cancelled.start_soon(receive_nothing, client)
                    for _ in range(ticks):
                        await trio.lowlevel.checkpoint()
                    cancelled.cancel_scope.cancel()
                if client._outbox.in_doubt:
                    # Cancelled in the very send_all of a stream that cannot say what it sent.
                    nursery.cancel_scope.cancel()
                    continue
                await client.do_handshake()
            await server.send_all(b"x")
            assert await client.receive_some() == b"x"

    @trio_run
    async def test_finished_is_not_lost_with_a_cancelled_first_send(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        def take_the_turn(event: Event) -> None:
            if event.kind == "handshake_done":
                assert client._send_turn.take_nowait()

        client, server = tls_pair(attrs.evolve(client_config, on_event=take_the_turn), server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, b"welcome")
            async with trio.open_nursery() as sending:
                sending.start_soon(client.send_all, b"hello")
                await trio.testing.wait_all_tasks_blocked()
                sending.cancel_scope.cancel()
            client._send_turn.give()
            assert client.handshake_complete and not server.handshake_complete
            assert await client.receive_some() == b"welcome"
        await client.send_all(b", world")
        assert await server.receive_some() == b"hello, world"

    @trio_run
    async def test_a_hello_that_is_stuck_in_the_stream_below(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """TLS in TLS: it was sealed there, but it has not left."""
        below = await connected(client_config, server_config)
        client, server = tls_pair(client_config, server_config, below)
        await below[0]._send_turn.take()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        below[0]._send_turn.give()
        await shake_hands(client, server)
        await client.send_all(b"through both")
        assert await server.receive_some() == b"through both"

    @trio_run
    async def test_before_the_transport_has_the_bytes(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """Then even a stream that cannot say what it sent has lost nothing."""
        scope = trio.CancelScope()

        def cancel(event: Event) -> None:
            if event.kind == "handshake_done":
                scope.cancel()

        client, server = tls_pair(attrs.evolve(client_config, on_event=cancel), server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            with scope:
                await client.send_all(b"sealed")
            assert scope.cancelled_caught and client.handshake_complete
            await client.do_handshake()
        await client.send_eof()
        assert await receive_all(server) == b"sealed"


class TestSending:
    @trio_run
    async def test_cancelled_half_way_in_tls_in_tls(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        outer = await connected(client_config, server_config, socket_pair())
        client, server = await connected(client_config, server_config, outer)
        await cancelled_when_blocked(client, MEGABYTE)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_and_end, client, b"later")
            received = await receive_all(server)
        assert received.endswith(b"later")
        assert MEGABYTE.startswith(received[:-5])

    @trio_run
    async def test_repeated_cancellation_does_not_pile_up(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = await connected(client_config, server_config, socket_pair())
        for _ in range(8):
            await cancelled_when_blocked(client, MEGABYTE)
        assert len(client._outbox) < 300 * 1024

    @trio_run
    async def test_cancelled_half_way_on_any_other_stream(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """Nobody knows what that stream has sent, so nothing more can be; receiving goes on."""
        near, far = trio.testing.memory_stream_pair()
        gated = Gated(near)
        client, server = await connected(client_config, server_config, (gated, far))
        gated.shut()
        await cancelled_when_blocked(client, b"lost")
        for call in (partial(client.send_all, b"more"), client.wait_send_all_might_not_block, client.send_eof):
            with pytest.raises(trio.BrokenResourceError, match="half-way"):
                await call()
        await server.send_all(b"heard")
        assert await client.receive_some() == b"heard"
        await client.aclose()
        assert gated.closes == 1

    @trio_run
    async def test_closed_while_waiting_for_its_turn(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = map(Through, trio.testing.memory_stream_pair())
        client, _ = await connected(client_config, server_config, (near, far))
        sends = len(near.sends)
        await client._send_turn.take()

        async def send() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.send_all(b"too late")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()
            client._send_turn.give()
        assert len(near.sends) == sends


class TestAtRandom:
    """Both ends send numbered messages and receive; every other call is cancelled after a few ticks.

    A message is small enough to be sealed at once, so it arrives whole or not at all, and it does arrive if its
    ``send_all`` returned. The order of messages is the order of sending.
    """

    @trio_run(seconds=20)
    @pytest.mark.parametrize("kind", ["sockets", "tls in tls"])
    @pytest.mark.parametrize("seed", range(8))
    async def test_messages_arrive_whole_and_in_order(
        self, client_config: ClientConfig, server_config: ServerConfig, socket_calls: str, seed: int, kind: str
    ) -> None:
        chance = random.Random(seed)
        transports: tuple[trio.abc.Stream, trio.abc.Stream] = socket_pair()
        if kind == "tls in tls":
            transports = tls_pair(client_config, server_config, transports)
        client, server = tls_pair(client_config, server_config, transports)
        sent: dict[Stream, set[int]] = {client: set(), server: set()}
        received = {client: bytearray(), server: bytearray()}

        async def send(stream: Stream) -> None:
            for number in range(12):
                payload = bytes([number]) * chance.choice([1, 3000, 60000, 120000])
                async with perhaps_cancelled(chance):
                    await stream.send_all(struct.pack(">IB", len(payload), number) + payload)
                    sent[stream].add(number)
            await stream.send_eof()

        async def receive(stream: Stream) -> None:
            data: bytes | None = None
            while data != b"":
                async with perhaps_cancelled(chance):
                    data = await stream.receive_some(chance.choice([None, 1, 5000]))
                    received[stream] += data

        async with trio.open_nursery() as nursery:
            for stream in (client, server):
                nursery.start_soon(send, stream)
                nursery.start_soon(receive, stream)
        for sender, receiver in ((client, server), (server, client)):
            numbers = unpack(bytes(received[receiver]))
            assert numbers == sorted(set(numbers))
            assert sent[sender] <= set(numbers)


@asynccontextmanager
async def perhaps_cancelled(chance: random.Random) -> AsyncIterator[None]:
    """Cancel the body after some ticks of the scheduler, or not."""

    async def soon() -> None:
        for _ in range(chance.randrange(1, 30)):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        if chance.random() < 0.5:
            nursery.start_soon(soon)
        yield
        nursery.cancel_scope.cancel()


def unpack(data: bytes) -> list[int]:
    """The numbers of the messages in ``data``, each of which must be whole."""
    numbers = []
    while data:
        length, number = struct.unpack_from(">IB", data)
        assert data[5 : 5 + length] == bytes([number]) * length
        numbers.append(number)
        data = data[5 + length :]
    return numbers


async def receive_nothing(stream: Stream) -> None:
    await stream.receive_some()
    raise AssertionError("nothing was sent")
