"""A Twisted server that has its certificates in a database: twisted_database.py FILE.DB PORT

The handshake waits for a Deferred, which fires when a thread has asked the database; others go on meanwhile. If the
database takes too long, or fails, that handshake is refused and no other.
"""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.threads import deferToThread

from tlsprovider import ChooseIdentity, Fault, Identity, PeerFault, ServerConfig
from tlsprovider.twisted import TLSServerEndpoint


class Certificates:
    def __init__(self, database: str) -> None:
        self._database = database

    def choose(self, question: ChooseIdentity) -> Deferred[Identity]:
        return deferToThread(self._find, question.server_name or "localhost")

    def _find(self, name: str) -> Identity:
        with closing(sqlite3.connect(self._database)) as connection:
            row = connection.execute("SELECT pem FROM certificates WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise PeerFault(Fault.UNKNOWN_NAME, repr(name))
        return Identity.from_pem(row[0])


class Greet(Protocol):
    def connectionMade(self) -> None:
        # Written before the handshake; it goes out when that is complete.
        self.transport.write(b"this is Twisted\n")
        self.transport.loseConnection()


async def main(database: str, port: str) -> None:
    config = ServerConfig(choose_identity=Certificates(database).choose, answer_timeout=5)
    endpoint = TLSServerEndpoint(TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1"), config)
    listening = await endpoint.listen(Factory.forProtocol(Greet))
    print("listening on port", listening.getHost().port, flush=True)
    await Deferred()  # until interrupted


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(*sys.argv[1:])))
