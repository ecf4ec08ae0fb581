"""A server whose private key is in another process: key_server.py CHAIN.PEM KEYS.SOCK PORT

The other process is ``tlsprovider keyserver --listen KEYS.SOCK --key KEY.PEM``. This one can't read the key; whoever
breaks into it has no key to take along.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from tlsprovider import ServerConfig
from tlsprovider.trio import KeyServer, TLSStream, serve_tls


async def greet(stream: TLSStream[trio.SocketStream]) -> None:
    async with stream:
        await stream.send_all(b"signed elsewhere\n")


async def main(chain: str, socket: str, port: str) -> None:
    identity = KeyServer(socket).identity(Path(chain).read_bytes())
    config = ServerConfig(identities=[identity])
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tls, greet, int(port), config, host="127.0.0.1"))
        print("listening on port", listeners[0].transport_listener.socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
