"""A trio server that has its certificates in a database: trio_database.py FILE.DB PORT

The handshake waits for the database, which is asked in a thread; others go on meanwhile. If the database takes too
long, or fails, that handshake is refused and no other.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from functools import partial

import trio

from tlsprovider import ChooseIdentity, Fault, Identity, PeerFault, ServerConfig
from tlsprovider.trio import TLSStream, serve_tls


def find(database: str, name: str) -> Identity | None:
    with closing(sqlite3.connect(database)) as connection:
        row = connection.execute("SELECT pem FROM certificates WHERE name = ?", (name,)).fetchone()
    return None if row is None else Identity.from_pem(row[0])


async def choose(database: str, question: ChooseIdentity) -> Identity:
    identity = await trio.to_thread.run_sync(find, database, question.server_name or "localhost")
    if identity is None:
        raise PeerFault(Fault.UNKNOWN_NAME, repr(question.server_name))
    return identity


async def greet(stream: TLSStream[trio.SocketStream]) -> None:
    async with stream:
        await stream.send_all(f"this is {stream.server_name}\n".encode())


async def main(database: str, port: str) -> None:
    config = ServerConfig(choose_identity=partial(choose, database), answer_timeout=5)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(serve_tls, greet, int(port), config, host="127.0.0.1"))
        print("listening on port", listeners[0].transport_listener.socket.getsockname()[1], flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
