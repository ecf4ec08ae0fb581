"""What libraries ask of a ``trio.SSLStream``, asked of ours: isinstance, the shape of the ssl module, keyword names."""

from __future__ import annotations

import ssl

import attrs
import pytest
import trio
import trio.testing
from trio_run import connected, tls_pair, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.trio import TLSListener, TLSStream, open_tls_listeners


@trio_run
async def test_virtual_subclasses(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, server = tls_pair(client_config, server_config)
    assert isinstance(client, trio.SSLStream) and isinstance(server, trio.abc.HalfCloseableStream)
    assert issubclass(TLSListener, trio.SSLListener)
    [listener] = await open_tls_listeners(0, server_config, "127.0.0.1")
    async with listener:
        assert isinstance(listener, trio.SSLListener) and isinstance(listener, trio.abc.Listener)
        assert isinstance(listener.transport_listener, trio.SocketListener)
    near, _ = trio.testing.memory_stream_pair()
    assert not isinstance(near, trio.SSLStream)
    assert TLSStream[trio.SocketStream] is not None and TLSListener[trio.SocketStream] is not None


@trio_run
async def test_the_shape_of_the_ssl_module(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, server = tls_pair(
        attrs.evolve(client_config, alpn=["h2", "http/1.1"]), attrs.evolve(server_config, alpn=["h2"])
    )
    for stream in (client, server):
        assert isinstance(stream._ssl_object, ssl.SSLObject)
        assert stream._ssl_object.selected_alpn_protocol() is None
        for early in (stream.selected_alpn_protocol, stream.getpeercert):
            with pytest.raises(trio.NeedHandshakeError):
                early()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.do_handshake)
        nursery.start_soon(server.do_handshake)
    for stream in (client, server):
        shown = stream._ssl_object
        assert shown.selected_alpn_protocol() == stream.selected_alpn_protocol() == "h2"
        assert shown.version() == stream.version == "TLSv1.3"
        cipher = shown.cipher()
        assert cipher is not None and cipher[:2] == (stream.cipher, "TLSv1.3")
        assert shown.getpeercert() == stream.getpeercert()
    assert client._ssl_object.server_hostname == "localhost"
    description = client.getpeercert()
    assert isinstance(description, dict) and ("DNS", "localhost") in description["subjectAltName"]
    der = client.getpeercert(binary_form=True)
    assert isinstance(der, bytes) and ssl.DER_cert_to_PEM_cert(der).startswith("-----BEGIN")
    assert server.getpeercert() is None and server.getpeercert(binary_form=True) is None


@trio_run
async def test_keywords(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """Of those that trio's streams have, as httpcore passes them."""
    near, far = trio.testing.memory_stream_pair()
    client = TLSStream(transport_stream=near, config=client_config, server_hostname="localhost", server_side=False)
    server = TLSStream(transport_stream=far, config=server_config, server_side=True, https_compatible=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.do_handshake)
        await client.send_all(data=b"by name")
    assert await server.receive_some(max_bytes=2) == b"by"
    assert not client._https_compatible and server._https_compatible


@trio_run
async def test_walking_down_to_the_socket(client_config: ClientConfig, server_config: ServerConfig) -> None:
    below = await connected(client_config, server_config)
    client, _ = await connected(client_config, server_config, below)
    stream: trio.abc.Stream = client
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    assert isinstance(stream, trio.StapledStream)
