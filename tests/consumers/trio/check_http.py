"""httpx over trio, and hypercorn's trio worker: HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import functools
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import h11
import httpx
import hypercorn.config
import hypercorn.trio
import pytest
import trio
from ssl_pair import Files

from tlsprovider import Identity, ServerConfig
from tlsprovider.trio import TLSStream, serve_tls

BIG = b"0123456789abcdef" * 16384


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with what it was sent; a large page under /big."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message["body"]
        if not message["more_body"]:
            break
    if scope["path"] == "/big":
        body = BIG
    headers = [(b"content-length", str(len(body)).encode()), (b"x-scheme", scope["scheme"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def hypercorn_worker(
    files: Files, default_context: Callable[..., ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[str]:
    """Its own ``create_ssl_context``, with what it sets and loads there; the address of the server."""
    monkeypatch.setattr(hypercorn.config, "create_default_context", default_context)
    config = hypercorn.config.Config()
    config.bind = ["127.0.0.1:0"]
    config.certfile, config.keyfile = str(files.chain), str(files.key)
    config.accesslog = config.errorlog = None
    async with trio.open_nursery() as nursery:
        shutdown = trio.Event()

        async def serve(task_status: Any) -> None:
            await hypercorn.trio.serve(app, config, shutdown_trigger=shutdown.wait, task_status=task_status)

        (address,) = await nursery.start(serve)
        yield address.replace("127.0.0.1", "localhost")
        shutdown.set()


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
async def test_httpx_and_hypercorn(
    seam: Counter[str],
    files: Files,
    client_context: ssl.SSLContext,
    default_context: Callable[..., ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    version: str,
) -> None:
    async with hypercorn_worker(files, default_context, monkeypatch) as address:
        async with httpx.AsyncClient(verify=client_context, http2=version == "HTTP/2") as client:
            for size in (0, 1, 100_000):
                answer = await client.post(f"{address}/", content=b"x" * size)
                assert (answer.status_code, answer.http_version, answer.content) == (200, version, b"x" * size)
                assert answer.headers["x-scheme"] == "https"
            answer = await client.get(f"{address}/big")
            assert answer.content == BIG
            shown = answer.extensions["network_stream"].get_extra_info("ssl_object")
            assert shown.version() == "TLSv1.3"
            assert shown.getpeercert()["subjectAltName"][0] == ("DNS", "localhost")
        # Connections are opened anew, one after the other and at once.
        async with httpx.AsyncClient(verify=client_context) as client, trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.get, f"{address}/big")


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


async def test_httpx_refuses_a_stranger(
    seam: Counter[str],
    files: Files,
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    default_context: Callable[..., ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And hypercorn goes on."""
    strict = type(contexts[0])(ssl.PROTOCOL_TLS_CLIENT)
    async with hypercorn_worker(files, default_context, monkeypatch) as address:
        async with httpx.AsyncClient(verify=strict) as client:
            with pytest.raises(httpx.ConnectError) as caught:
                await client.get(address)
            assert any(isinstance(one, ssl.SSLCertVerificationError) for one in causes(caught.value))
        async with httpx.AsyncClient(verify=contexts[0]) as client:
            assert (await client.get(address)).status_code == 200


async def test_httpx_is_served_by_serve_tls(files: Files, client_context: ssl.SSLContext) -> None:
    """A server of our own, in the simplest way; httpx with whatever TLS."""

    async def answer(stream: TLSStream[trio.SocketStream]) -> None:
        connection = h11.Connection(h11.SERVER)
        try:
            while True:
                event = connection.next_event()
                if event is h11.NEED_DATA:
                    connection.receive_data(await stream.receive_some())
                elif isinstance(event, h11.Request):
                    target = event.target
                elif isinstance(event, h11.EndOfMessage):
                    body = BIG if target == b"/big" else str(stream.alpn).encode()
                    length = [("content-length", str(len(body)))]
                    reason = h11.Response(status_code=200, headers=length)
                    for part in (reason, h11.Data(data=body), h11.EndOfMessage()):
                        await stream.send_all(connection.send(part) or b"")
                    connection.start_next_cycle()
                elif isinstance(event, h11.ConnectionClosed):
                    await stream.aclose()
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return

    config = ServerConfig(identities=[Identity.from_files(files.chain, files.key)], alpn=["http/1.1"])
    async with trio.open_nursery() as nursery:
        serve = functools.partial(serve_tls, answer, 0, config, host="127.0.0.1", https_compatible=True)
        (listener,) = await nursery.start(serve)
        address = f"https://localhost:{listener.transport_listener.socket.getsockname()[1]}"
        async with httpx.AsyncClient(verify=client_context) as client:
            for _ in range(3):
                assert (await client.get(address)).content == b"http/1.1"
                assert (await client.get(f"{address}/big")).content == BIG
        nursery.cancel_scope.cancel()
