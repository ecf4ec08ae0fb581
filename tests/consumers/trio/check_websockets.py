"""trio-websocket, and websockets' trio client and server."""

from __future__ import annotations

import ssl
from collections import Counter
from typing import Any

import trio
import trio_websocket
import websockets.trio.client
import websockets.trio.server

MESSAGES = ["", "hello", "x" * 200_000]


async def test_trio_websocket(
    seam: Counter[str], client_context: ssl.SSLContext, server_context: ssl.SSLContext
) -> None:
    async def echo(request: trio_websocket.WebSocketRequest) -> None:
        socket = await request.accept()
        try:
            while True:
                await socket.send_message(await socket.get_message())
        except trio_websocket.ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:

        async def serve(task_status: Any) -> None:
            await trio_websocket.serve_websocket(echo, "127.0.0.1", 0, server_context, task_status=task_status)

        server = await nursery.start(serve)
        assert server.listeners[0].is_ssl
        url = f"wss://localhost:{server.port}/"
        async with trio_websocket.open_websocket_url(url, ssl_context=client_context) as socket:
            assert socket.remote.is_ssl
            for message in MESSAGES:
                await socket.send_message(message)
                assert await socket.get_message() == message
        nursery.cancel_scope.cancel()


async def test_websockets(seam: Counter[str], client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    async def echo(connection: websockets.trio.server.ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with trio.open_nursery() as nursery:

        async def serve(task_status: Any) -> None:
            await websockets.trio.server.serve(echo, 0, host="127.0.0.1", ssl=server_context, task_status=task_status)

        server = await nursery.start(serve)
        port = server.listeners[0].socket.getsockname()[1]
        async with websockets.trio.client.connect(
            f"wss://localhost:{port}/", ssl=client_context, max_size=None
        ) as connection:
            for message in MESSAGES:
                await connection.send(message)
                assert await connection.recv() == message
        nursery.cancel_scope.cancel()
