"""trio in the demo."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from functools import partial

import trio

from tlsprovider.cli.demo_visit import (
    TIMEOUT,
    DemoError,
    Facts,
    Material,
    Reply,
    Request,
    Visit,
    client_config,
    server_config,
)
from tlsprovider.trio import TLSStream, open_tls_stream, serve_tls

__all__ = ["serve", "visit"]


def serve(material: Material) -> int:
    ports: queue.SimpleQueue[int] = queue.SimpleQueue()
    threading.Thread(target=trio.run, args=(_serve, material, ports.put), daemon=True).start()
    return ports.get(timeout=TIMEOUT)


async def _serve(material: Material, tell: Callable[[int], object]) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tls, _talk, 0, server_config(material), host="127.0.0.1"))
        tell(listeners[0].transport_listener.socket.getsockname()[1])


async def _talk(stream: TLSStream[trio.SocketStream]) -> None:
    request = Request()
    try:
        with trio.move_on_after(TIMEOUT):
            while (reply := request.receive(await stream.receive_some(), Facts.of(stream))) is None:
                pass
            await stream.send_all(reply)
            await stream.aclose()
    except (trio.BrokenResourceError, DemoError):
        # An exception would end the server. The client misses its reply, and tells.
        pass


def visit(port: int, material: Material, size: int) -> Visit:
    return trio.run(_visit, port, material, size)


async def _visit(port: int, material: Material, size: int) -> Visit:
    config = client_config(material)
    reply = Reply(size)
    with trio.fail_after(TIMEOUT):
        async with await open_tls_stream("127.0.0.1", port, config, server_hostname="localhost") as stream:
            await stream.do_handshake()
            await stream.send_all(reply.request(Facts.of(stream)))
            async for data in stream:
                reply.receive(data)
            return reply.close()
