"""Our stream under the name of trio's: the constructor, the methods, the errors; and the way back."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from trio_run import connected, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, TruncatedError
from tlsprovider.identity import Identity
from tlsprovider.sslcontext import SSLContext, context_for
from tlsprovider.trio import TLSListener, TLSStream, drop_in, install, uninstall
from tlsprovider.trio.installing import TRIOS_LISTENER, TRIOS_STREAM
from tlsprovider.trust import TrustStore


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    install()
    yield
    uninstall()


@pytest.fixture
def contexts(client_config: ClientConfig, server_config: ServerConfig) -> tuple[SSLContext, SSLContext]:
    return context_for(client_config), context_for(server_config)


def streams(client: Any, server: Any, name: str | None = "localhost", **options: Any) -> tuple[Any, Any]:
    near, far = trio.testing.memory_stream_pair()
    return (
        trio.SSLStream(near, client, server_hostname=name, **options),
        trio.SSLStream(far, server, server_side=True, **options),
    )


async def shake_hands(*both: Any) -> None:
    async with trio.open_nursery() as nursery:
        for stream in both:
            nursery.start_soon(stream.do_handshake)


def test_there_and_back() -> None:
    install()
    assert (trio.SSLStream, trio.SSLListener) == (drop_in.SSLStream, drop_in.SSLListener)
    uninstall()
    assert (trio.SSLStream, trio.SSLListener) == (TRIOS_STREAM, TRIOS_LISTENER)
    uninstall()
    assert (trio.SSLStream, trio.SSLListener) == (TRIOS_STREAM, TRIOS_LISTENER)


class TestConstructor:
    @trio_run
    async def test_of_contexts(self, contexts: tuple[SSLContext, SSLContext]) -> None:
        client, server = streams(*contexts)
        assert type(client) is type(server) is drop_in.SSLStream
        assert isinstance(client, TLSStream)
        assert client.context is contexts[0]
        await shake_hands(client, server)
        await client.send_all(b"hello")
        assert await server.receive_some() == b"hello"

    @trio_run
    async def test_of_configurations(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = streams(client_config, server_config)
        assert client.context.config is client_config
        await shake_hands(client, server)

    @trio_run
    async def test_of_another_context(self) -> None:
        near, _ = trio.testing.memory_stream_pair()
        plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        stream = trio.SSLStream(near, plain, server_hostname="localhost", https_compatible=True)
        assert type(stream) is TRIOS_STREAM
        (below,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        listener = trio.SSLListener(below, plain)
        assert type(listener) is TRIOS_LISTENER
        assert isinstance(listener, trio.SSLListener) is True
        assert not isinstance(below, trio.SSLListener)
        await listener.aclose()

    def test_the_wrong_side(self, contexts: tuple[SSLContext, SSLContext]) -> None:
        with pytest.raises(ssl.SSLError, match="Cannot create a client socket"):
            streams(contexts[1], contexts[1])


class TestIsInstance:
    @trio_run
    async def test_of_ours_and_of_trios(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        ours, _ = await connected(client_config, server_config)
        near, _ = trio.testing.memory_stream_pair()
        trios = TRIOS_STREAM(near, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_hostname="localhost")
        for stream in (ours, trios, streams(client_config, server_config)[0]):
            assert isinstance(stream, trio.SSLStream)
        assert not isinstance(near, trio.SSLStream)
        assert trio.SSLStream[trio.SocketStream] is not None

    @trio_run
    async def test_trios_own_stays_what_it_was(self) -> None:
        """It can't close one direction, and websockets looks at that."""
        near, _ = trio.testing.memory_stream_pair()
        trios = TRIOS_STREAM(near, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), server_hostname="localhost")
        assert not isinstance(trios, trio.abc.HalfCloseableStream)
        assert not issubclass(TRIOS_STREAM, TLSStream)
        assert not issubclass(TRIOS_LISTENER, TLSListener)


class TestForwarded:
    NEED_HANDSHAKE = (
        "version",
        "cipher",
        "getpeercert",
        "selected_alpn_protocol",
        "selected_npn_protocol",
        "shared_ciphers",
        "compression",
        "get_channel_binding",
        "get_verified_chain",
        "get_unverified_chain",
    )

    @pytest.mark.parametrize("name", NEED_HANDSHAKE)
    def test_before_the_handshake(self, contexts: tuple[SSLContext, SSLContext], name: str) -> None:
        for stream in streams(*contexts):
            assert name in dir(stream)
            with pytest.raises(trio.NeedHandshakeError):
                getattr(stream, name)()

    @pytest.mark.parametrize("name", [*NEED_HANDSHAKE, "pending"])
    @trio_run
    async def test_as_the_ssl_object_says(self, contexts: tuple[SSLContext, SSLContext], name: str) -> None:
        both = streams(*contexts)
        await shake_hands(*both)
        for stream in both:
            shown = stream._ssl_object
            assert isinstance(shown, ssl.SSLObject)
            if name != "selected_npn_protocol":  # which warns
                assert getattr(stream, name)() == getattr(shown, name)()
            else:
                assert stream.selected_npn_protocol() is None
        assert both[0].version() == "TLSv1.3"
        assert both[0].session_reused is False

    def test_names(self, contexts: tuple[SSLContext, SSLContext]) -> None:
        client, server = streams(*contexts, name="faß.de")
        assert (client.server_hostname, server.server_hostname) == ("xn--fa-hia.de", None)
        assert (client.server_side, server.server_side) == (False, True)
        for name in ("server_side", "server_hostname"):
            with pytest.raises(AttributeError):
                setattr(client, name, None)
        with pytest.raises(AttributeError):
            client.nothing_of_that_name  # noqa: B018
        assert client.session is None
        client.session = None
        with pytest.raises(ValueError, match="session"):
            client.session = object()

    @trio_run
    async def test_another_context(self, contexts: tuple[SSLContext, SSLContext], server_config: ServerConfig) -> None:
        client, server = streams(*contexts)
        stranger = context_for(ClientConfig(trust=TrustStore.pinned(b"x" * 32)))
        client.context = stranger
        assert client.context is client._ssl_object.context is stranger
        with pytest.RaisesGroup(trio.BrokenResourceError, trio.BrokenResourceError):
            await shake_hands(client, server)
        with pytest.raises(ssl.SSLError, match="the handshake has begun"):
            client.context = contexts[0]

    @trio_run
    async def test_the_server_name_callback(
        self, contexts: tuple[SSLContext, SSLContext], server_identity: Identity
    ) -> None:
        other, server_context = (context_for(ServerConfig(identities=[server_identity])) for _ in range(2))
        asked = []

        def callback(shown: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
            asked.append((name, context))
            shown.context = other

        server_context.sni_callback = callback
        client, server = streams(contexts[0], server_context)
        await shake_hands(client, server)
        assert asked == [("localhost", server_context)]
        assert server.context is other


class TestErrors:
    @trio_run
    async def test_a_certificate(self, server_config: ServerConfig) -> None:
        client, server = streams(context_for(ClientConfig(trust=TrustStore.pinned(b"x" * 32))), server_config)
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                with pytest.raises(trio.BrokenResourceError) as heard:
                    await server.do_handshake()
                assert isinstance(heard.value.__cause__, ssl.SSLError)
                assert heard.value.__cause__.reason == "TLSV1_ALERT_UNKNOWN_CA"

            nursery.start_soon(serve)
            with pytest.raises(trio.BrokenResourceError) as caught:
                await client.send_all(b"x")
        assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)
        assert isinstance(caught.value.__cause__.__cause__, CertificateFault)

    @trio_run
    async def test_a_bare_end(self, contexts: tuple[SSLContext, SSLContext]) -> None:
        client, server = streams(*contexts)
        await shake_hands(client, server)
        await trio.aclose_forcefully(client)
        with pytest.raises(trio.BrokenResourceError) as caught:
            await server.receive_some()
        assert isinstance(caught.value.__cause__, ssl.SSLEOFError)
        assert isinstance(caught.value.__cause__.__cause__, TruncatedError)

    @trio_run
    async def test_ends(self, contexts: tuple[SSLContext, SSLContext]) -> None:
        client, server = streams(*contexts)
        await shake_hands(client, server)
        await client.send_eof()
        assert await server.receive_some() == b""
        transport = server.transport_stream
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.receive_some)
            assert await server.unwrap() == (transport, b"")
        await client.aclose()


@trio_run
async def test_trios_helpers(contexts: tuple[SSLContext, SSLContext]) -> None:
    """They look the classes up when they are called."""

    async def echo(stream: Any) -> None:
        assert type(stream) is drop_in.SSLStream
        async with stream:
            async for data in stream:
                await stream.send_all(data)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, echo, 0, contexts[1], host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        assert type(listener) is drop_in.SSLListener
        assert isinstance(listener.transport_listener, trio.SocketListener)
        port = listener.transport_listener.socket.getsockname()[1]
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=contexts[0])
        assert type(stream) is drop_in.SSLStream
        async with stream:
            await stream.send_all(b"hello")
            assert await stream.receive_some() == b"hello"
        nursery.cancel_scope.cancel()
    await listener.aclose()
