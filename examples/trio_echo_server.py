"""A trio server that sends back what it gets: trio_echo_server.py SERVER.PEM PORT"""

from __future__ import annotations

import sys
from functools import partial

import trio

from tlsprovider import Identity, ServerConfig
from tlsprovider.trio import TLSStream, serve_tls


async def echo(stream: TLSStream[trio.SocketStream]) -> None:
    print(f"a client with {stream.cipher} and {stream.group}", flush=True)
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def main(pem: str, port: str) -> None:
    config = ServerConfig(identities=[Identity.from_files(pem)])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tls, echo, int(port), config, host="127.0.0.1"))
        print("listening on port", listeners[0].transport_listener.socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
