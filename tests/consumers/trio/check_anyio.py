"""anyio on trio and on asyncio. It makes no SSLStream, so there is one way in: the context."""

from __future__ import annotations

import ssl
from collections import Counter

import anyio
import anyio.streams.tls
import pytest
from counting import counted

from tlsprovider.sslcontext.connection import Connection


async def echo(stream: anyio.abc.ByteStream) -> None:
    async with stream:
        try:
            async for data in stream:
                await stream.send(data)
        except anyio.BrokenResourceError:
            pass


async def talk(client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    client_context.set_alpn_protocols(["echo"])
    server_context.set_alpn_protocols(["other", "echo"])
    tcp = await anyio.create_tcp_listener(local_host="127.0.0.1")
    listener = anyio.streams.tls.TLSListener(tcp, server_context)
    port = tcp.listeners[0].extra(anyio.abc.SocketAttribute.local_port)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve, echo)
            stream = await anyio.connect_tcp("localhost", port, ssl_context=client_context)
            async with stream:
                assert stream.extra(anyio.streams.tls.TLSAttribute.alpn_protocol) == "echo"
                assert stream.extra(anyio.streams.tls.TLSAttribute.tls_version) == "TLSv1.3"
                certificate = stream.extra(anyio.streams.tls.TLSAttribute.peer_certificate)
                assert ("DNS", "localhost") in certificate["subjectAltName"]
                for size in (1, 100_000):
                    await stream.send(b"x" * size)
                    received = b""
                    while len(received) < size:
                        received += await stream.receive()
                    assert received == b"x" * size
            # The name is checked.
            with pytest.raises(ssl.SSLCertVerificationError):
                await anyio.connect_tcp("127.0.0.1", port, ssl_context=client_context, tls_hostname="example.org")
            group.cancel_scope.cancel()
    await listener.aclose()


@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_anyio(contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
    made: Counter[str] = Counter()
    monkeypatch.setattr(Connection, "__init__", counted(Connection, made))
    anyio.run(talk, *contexts, backend=backend)
    assert made["Connection"] >= 2
