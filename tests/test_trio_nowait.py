"""TLSStream.receive_nowait: what is there now."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio_run import broken_by, connected, socket_pair, tls_pair, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import PeerFault, TruncatedError


@trio_run
@pytest.mark.parametrize("kind", ["socket", "tls in tls"])
async def test_what_the_transport_has(client_config: ClientConfig, server_config: ServerConfig, kind: str) -> None:
    transports: tuple[trio.abc.Stream, trio.abc.Stream] = socket_pair()
    if kind == "tls in tls":
        transports = await connected(client_config, server_config, transports)
    client, server = await connected(client_config, server_config, transports)
    with pytest.raises(trio.WouldBlock):
        server.receive_nowait()
    await client.send_all(b"there")
    assert server.receive_nowait(max_bytes=3) == b"the"
    assert server.receive_nowait() == b"re"
    await client.send_all(b"last")
    await client.send_eof()
    assert server.receive_nowait() == b"last"
    assert server.receive_nowait() == server.receive_nowait() == b""


@trio_run
async def test_other_transports_can_not_be_asked(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, server = await connected(client_config, server_config)
    await client.send_all(b"received already")
    with pytest.raises(trio.WouldBlock):
        server.receive_nowait()
    assert await server.receive_some(9) == b"received "
    assert server.receive_nowait() == b"already"


@trio_run
async def test_part_of_a_record_is_nothing(client_config: ClientConfig, server_config: ServerConfig) -> None:
    near, far = socket_pair()
    client, server = await connected(client_config, server_config, (near, far))
    client._engine.write(b"in two pieces")
    record = client._engine.process_outgoing()
    await near.send_all(record[:20])
    with pytest.raises(trio.WouldBlock):
        server.receive_nowait()
    await near.send_all(record[20:])
    assert server.receive_nowait() == b"in two pieces"


@trio_run
async def test_before_the_handshake(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, _ = tls_pair(client_config, server_config)
    with pytest.raises(trio.NeedHandshakeError):
        client.receive_nowait()


@trio_run
async def test_a_second_receiver_and_wrong_arguments(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, _ = await connected(client_config, server_config)
    with pytest.raises(ValueError, match=">= 1"):
        client.receive_nowait(0)
    with pytest.raises(TypeError):
        client.receive_nowait(1.5)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.receive_some)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError, match="another task"):
            client.receive_nowait()
        nursery.cancel_scope.cancel()
    await trio.aclose_forcefully(client)
    with pytest.raises(trio.ClosedResourceError):
        client.receive_nowait()


@trio_run
@pytest.mark.parametrize("https_compatible", [False, True])
async def test_a_bare_end(client_config: ClientConfig, server_config: ServerConfig, https_compatible: bool) -> None:
    client, server = await connected(client_config, server_config, socket_pair(), https_compatible=https_compatible)
    await client.transport_stream.aclose()
    if https_compatible:
        assert server.receive_nowait() == b""
    else:
        with broken_by(TruncatedError):
            server.receive_nowait()


@trio_run
async def test_a_fault_of_the_peer_is_told_to_it_later(
    client_config: ClientConfig, server_config: ServerConfig
) -> None:
    near, far = socket_pair()
    client, server = await connected(client_config, server_config, (near, far))
    await near.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
    with broken_by(PeerFault):
        server.receive_nowait()
    await server.aclose()
    with pytest.raises(trio.BrokenResourceError, match="bad_record_mac"):
        await client.receive_some()
