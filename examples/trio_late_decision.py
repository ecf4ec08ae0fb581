"""A trio server that finds its certificate when a client asks for a name: trio_late_decision.py FOLDER PORT

The handshake waits while the file is read in a thread. It could wait as well for a database or a key service; other
connections go on meanwhile.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import trio

from tlsprovider import ChooseIdentity, Fault, Identity, PeerFault, ServerConfig
from tlsprovider.trio import TLSStream, serve_tls


class Certificates:
    """A folder with a file NAME.pem, chain and key, for each name that is served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def choose(self, question: ChooseIdentity) -> Identity:
        # Only the names of files that are there: what a client sends must not become a path.
        served = {path.stem: path for path in self._folder.glob("*.pem")}
        path = served.get(question.server_name or "localhost")
        if path is None:
            raise PeerFault(Fault.UNKNOWN_NAME, repr(question.server_name))
        return await trio.to_thread.run_sync(Identity.from_files, path)


async def greet(stream: TLSStream[trio.SocketStream]) -> None:
    async with stream:
        await stream.send_all(f"this is {stream.server_name}\n".encode())


async def main(folder: str, port: str) -> None:
    config = ServerConfig(choose_identity=Certificates(Path(folder)).choose)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tls, greet, int(port), config, host="127.0.0.1"))
        print("listening on port", listeners[0].transport_listener.socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
