"""Nine things that go wrong with ``trio.SSLStream`` (trio 0.35), and must not with ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
import trio.testing
from trio_run import (
    broken_by,
    cancelled_when_blocked,
    connected,
    expect_broken,
    receive_all,
    receive_exactly,
    send_and_end,
    shake_hands,
    socket_pair,
    tcp_pair,
    tls_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, CertificateFault, PeerFault
from tlsprovider.iana import AlertDescription
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

MEGABYTE = bytes(range(256)) * 4096


@trio_run
async def test_d1_a_handshake_that_fails_leaves_nobody_waiting(client_config: ClientConfig) -> None:
    near, far = trio.testing.memory_stream_pair()
    client = TLSStream(near, client_config, "localhost")

    async def broken(call: Callable[[], Awaitable[object]]) -> None:
        with broken_by(PeerFault):
            await call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(broken, client.do_handshake)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(broken, client.receive_some)
        nursery.start_soon(broken, lambda: client.send_all(b"x"))
        nursery.start_soon(broken, client.do_handshake)
        await trio.testing.wait_all_tasks_blocked()
        await far.send_all(b"SSH-2.0-OpenSSH_9.9\r\n")


@trio_run
async def test_d2_a_handshake_that_is_cancelled_is_taken_over(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    client, server = tls_pair(client_config, server_config)
    done = []

    async def second() -> None:
        await client.do_handshake()
        done.append("second")

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as cancelled:
            cancelled.start_soon(client.do_handshake)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second)
            await trio.testing.wait_all_tasks_blocked()
            cancelled.cancel_scope.cancel()
        await server.do_handshake()
    assert done == ["second"]


@trio_run
@pytest.mark.parametrize("kind", ["pair", "tcp", "memory", "tls in tls"])
async def test_d3_aclose_does_not_wait_for_a_blocked_sender(
    client_config: ClientConfig, server_config: ServerConfig, kind: str
) -> None:
    transports: tuple[trio.abc.Stream, trio.abc.Stream] = trio.testing.lockstep_stream_pair()
    if kind != "memory":
        transports = await tcp_pair() if kind == "tcp" else socket_pair()
    if kind == "tls in tls":
        transports = await connected(client_config, server_config, transports)
    client, _ = await connected(client_config, server_config, transports)
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
async def test_d4_a_record_of_a_task_that_was_cancelled_while_it_waited_is_not_lost(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """What was sealed is in the stream's queue: a record that is lost would make all that follow unreadable."""
    client, server = await connected(client_config, server_config)
    await client._send_turn.take()  # as a task does that sends its part of the handshake, or an alert
    await cancelled_when_blocked(client, b"first, ")
    client._send_turn.give()
    await client.send_all(b"second")
    assert await receive_exactly(server, 13) == b"first, second"


@trio_run
@pytest.mark.parametrize("kind", ["memory", "tcp"])
async def test_d5_the_peer_is_told_why_the_handshake_failed(server_config: ServerConfig, kind: str) -> None:
    strangers = ClientConfig(trust=TrustStore.from_crypto([Authority("somebody else").certificate]))
    transports = await tcp_pair() if kind == "tcp" else None
    client, server = tls_pair(strangers, server_config, transports)
    found: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect_broken, server, AlertReceived, found)
        await expect_broken(client, CertificateFault)
        await client.aclose()
    assert [problem.alert for problem in found] == [AlertDescription.unknown_ca]


@trio_run
async def test_d6_a_send_that_was_cancelled_half_way_leaves_a_whole_stream(
    client_config: ClientConfig, server_config: ServerConfig, socket_calls: str
) -> None:
    client, server = await connected(client_config, server_config, socket_pair())
    await cancelled_when_blocked(client, MEGABYTE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_and_end, client, b"later")
        received = await receive_all(server)
    assert received.endswith(b"later")
    assert MEGABYTE.startswith(received[:-5])
    await server.send_all(b"fine")
    assert await client.receive_some() == b"fine"


@trio_run(mock_clock=True)
async def test_d7_a_handshake_that_timed_out_can_be_tried_again(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    client, server = tls_pair(client_config, server_config)
    with trio.move_on_after(1) as scope:
        await client.do_handshake()
    assert scope.cancelled_caught
    await shake_hands(client, server)


@trio_run
async def test_d8_receive_some_gives_all_complete_records(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    client, server = await connected(client_config, server_config)
    for size in (1, 16384, 60000):
        await client.send_all(MEGABYTE[:size])
    assert await server.receive_some() == MEGABYTE[:1] + MEGABYTE[:16384] + MEGABYTE[:60000]


@trio_run
async def test_d8_receive_some_gives_what_a_socket_has(
    client_config: ClientConfig, server_config: ServerConfig, socket_calls: str
) -> None:
    client, server = await connected(client_config, server_config, socket_pair())
    calls = 0
    data = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.send_all, MEGABYTE[:300_000])
        await trio.testing.wait_all_tasks_blocked()
        while len(data) < 300_000:
            data += await server.receive_some()
            calls += 1
            await trio.testing.wait_all_tasks_blocked()
    assert data == MEGABYTE[:300_000]
    assert calls <= 4  # trio's stream gives a record at a time: 19


@trio_run
async def test_d9_unwrap_hands_over_what_nobody_has_read(
    client_config: ClientConfig, server_config: ServerConfig
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
