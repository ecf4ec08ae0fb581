"""TLSStream after the handshake: sending and receiving."""

from __future__ import annotations

import pytest
import trio
import trio.testing
from trio_run import (
    Crumbs,
    Through,
    broken_by,
    connected,
    expect_broken,
    receive_all,
    receive_exactly,
    socket_pair,
    tls_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import AlertReceived, CertificateFault, ConfigError, Fault, PeerFault, TruncatedError
from tlsprovider.questions import ClientHelloReceived
from tlsprovider.trio import TLSStream

MEGABYTE = bytes(range(256)) * 4096


class TestConstructor:
    def test_sides_and_configs_must_agree(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, _ = trio.testing.memory_stream_pair()
        with pytest.raises(ConfigError, match="server_side=True needs a ServerConfig, got ClientConfig"):
            TLSStream(near, client_config, server_side=True)
        with pytest.raises(ConfigError, match="server_side=False needs a ClientConfig, got ServerConfig"):
            TLSStream(near, server_config)
        with pytest.raises(ConfigError, match="got NoneType"):
            TLSStream(near, None)  # type: ignore[arg-type]

    def test_a_server_has_no_server_hostname(self, server_config: ServerConfig) -> None:
        near, _ = trio.testing.memory_stream_pair()
        with pytest.raises(ConfigError, match="its client does"):
            TLSStream(near, server_config, "localhost", server_side=True)

    def test_unknown_provider(self, client_config: ClientConfig) -> None:
        near, _ = trio.testing.memory_stream_pair()
        with pytest.raises(ConfigError, match="unknown provider 'nativ'; did you mean 'native'"):
            TLSStream(near, client_config, "localhost", provider="nativ")

    @pytest.mark.parametrize("name", ["a..\u00fc", b"\xff"])
    def test_a_name_that_is_none(self, client_config: ClientConfig, name: str | bytes) -> None:
        near, _ = trio.testing.memory_stream_pair()
        with pytest.raises(ConfigError, match="is not a host name"):
            TLSStream(near, client_config, name)

    @trio_run
    async def test_names_are_idna_2008(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        names: list[str | None] = []

        def note(question: ClientHelloReceived) -> ServerConfig:
            names.append(question.server_name)
            return server_config

        near, far = trio.testing.memory_stream_pair()
        client = TLSStream(near, client_config, "fa\u00df.example")
        server = TLSStream(far, ServerConfig(on_client_hello=note), server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, server, AlertReceived)
            await expect_broken(client, CertificateFault)
        # IDNA 2003 would have asked for fass.example, which somebody else may own.
        assert names == ["xn--fa-hia.example"]

    @trio_run
    async def test_nothing_is_sent_by_the_constructor(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = map(Through, trio.testing.memory_stream_pair())
        client, server = tls_pair(client_config, server_config, (near, far))
        assert (near.sends, near.receives, far.sends, far.receives) == ([], 0, [], 0)
        assert client.transport_stream is near and server.transport_stream is far
        assert not client.server_side and server.server_side


class TestReceiving:
    @trio_run
    async def test_max_bytes(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"abcdef")
        assert await server.receive_some(max_bytes=4) == b"abcd"
        assert type(await server.receive_some(100)) is bytes
        for data in (b"three", b" small", b" records"):
            await client.send_all(data)
        assert await server.receive_some(100) == b"three small records"

    @trio_run
    async def test_one_byte_at_a_time(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, far = map(Crumbs, trio.testing.memory_stream_pair())
        client, server = await connected(client_config, server_config, (near, far))
        await client.send_all(b"crumbs")
        assert await server.receive_some() == b"crumbs"
        await server.aclose()
        assert await client.receive_some() == b""

    @trio_run
    async def test_the_end_without_close_notify(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"cut sho")
        await client.transport_stream.aclose()
        assert await server.receive_some() == b"cut sho"
        for _ in range(2):
            with broken_by(TruncatedError):
                await server.receive_some()

    @trio_run
    async def test_https_takes_any_end(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config, https_compatible=True)
        await client.aclose()
        assert await server.receive_some() == b""
        assert await server.receive_some() == b""
        await server.aclose()

    @trio_run
    async def test_https_and_the_end_before_the_handshake(self, server_config: ServerConfig) -> None:
        near, far = trio.testing.memory_stream_pair()
        server = TLSStream(far, server_config, server_side=True, https_compatible=True)
        await near.aclose()
        assert await server.receive_some() == b""

    @trio_run
    async def test_damaged_records(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.transport_stream.send_all(b"\x17\x03\x03\x00\x20" + bytes(32))
        with broken_by(PeerFault) as causes:
            await server.receive_some()
        with broken_by(PeerFault):
            await server.send_all(b"x")
        assert causes[0].fault is Fault.BAD_RECORD_MAC  # type: ignore[attr-defined]
        with pytest.raises(trio.BrokenResourceError) as found:
            await client.receive_some()
        assert "bad_record_mac" in str(found.value)  # it was told why

    @trio_run
    async def test_what_the_transport_raises_comes_through(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, server = await connected(client_config, server_config)

        async def nothing_there() -> None:
            raise trio.WouldBlock

        server.transport_stream.receive_stream.receive_some_hook = nothing_there
        with pytest.raises(trio.WouldBlock):
            await server.receive_some()
        server.transport_stream.receive_stream.receive_some_hook = None
        await client.send_all(b"still here")
        assert await server.receive_some() == b"still here"


class TestSending:
    @trio_run
    async def test_half_a_close(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.send_all(b"question")
        await client.send_eof()
        with pytest.raises(trio.ClosedResourceError):
            await client.send_all(b"more")
        assert await receive_all(server) == b"question"
        await server.send_all(b"answer")
        await server.send_eof()
        assert await receive_all(client) == b"answer"

    @trio_run
    async def test_key_update(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        await client.key_update(request_peer=True)
        await client.send_all(b"new keys")
        assert await server.receive_some() == b"new keys"
        await server.send_all(b"mine too")
        assert await client.receive_some() == b"mine too"

    @trio_run
    async def test_wrong_types(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = await connected(client_config, server_config)
        with pytest.raises(TypeError):
            await client.send_all("text")  # type: ignore[arg-type]
        await client.send_all(memoryview(b"\1\0\0\0\2\0\0\0").cast("I"))
        assert await server.receive_some() == b"\1\0\0\0\2\0\0\0"

    @trio_run
    async def test_an_exception_of_the_transport(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = await connected(client_config, server_config)

        async def fail() -> None:
            raise KeyError("transport")

        client.transport_stream.send_stream.send_all_hook = fail
        with pytest.raises(KeyError):
            await client.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await client.wait_send_all_might_not_block()

    @trio_run(seconds=20)
    async def test_both_ways_at_once(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """Both send a megabyte from the first moment on: nobody's receiver may wait for its sender."""
        for transports in (socket_pair(), trio.testing.lockstep_stream_pair()):
            client, server = tls_pair(client_config, server_config, transports)
            async with trio.open_nursery() as nursery:
                for stream in (client, server):
                    nursery.start_soon(stream.send_all, MEGABYTE)
                    nursery.start_soon(expect, stream, MEGABYTE)

    @trio_run
    async def test_a_receiver_does_not_wait_for_a_sender(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """Not even when that sends the last flight of the handshake, which the receiver would send otherwise."""
        near, far = trio.testing.lockstep_stream_pair()
        client, server = tls_pair(client_config, server_config, (near, Crumbs(far)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, MEGABYTE)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(server.send_all, b"urgent")
            assert await client.receive_some() == b"urgent"
            nursery.cancel_scope.cancel()


async def expect(stream: TLSStream[trio.abc.Stream], data: bytes) -> None:
    assert await receive_exactly(stream, len(data)) == data
