"""A Twisted client that asks for a page and prints it: twisted_client.py CA.PEM PORT"""

from __future__ import annotations

import sys

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.twisted import TLSClientEndpoint


class Get(Protocol):
    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred()
        self.answer = b""

    def connectionMade(self) -> None:
        # Written before the handshake; it goes out when that is complete.
        self.transport.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        self.answer += data

    def connectionLost(self, reason: Failure) -> None:
        # Anything but ConnectionDone means that the answer may have been cut short.
        if reason.check(ConnectionDone):
            self.done.callback(self.answer)
        else:
            self.done.errback(reason)


async def main(ca: str, port: str) -> None:
    config = ClientConfig(trust=TrustStore.from_file(ca), alpn=["http/1.1"])
    endpoint = TLSClientEndpoint(HostnameEndpoint(reactor, "localhost", int(port)), config, "localhost")
    protocol = await endpoint.connect(Factory.forProtocol(Get))
    print((await protocol.done).decode())


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(*sys.argv[1:])))
