"""Twisted in the demo: the reactor runs in a thread of its own, once for all visits of the process."""

from __future__ import annotations

import threading
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.threads import blockingCallFromThread
from twisted.python.failure import Failure

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
from tlsprovider.twisted import TLSClientEndpoint, TLSServerEndpoint

__all__ = ["serve", "visit"]

# What a reactor provides depends on the platform, so it has no type that fits.
reactor = cast(Any, _reactor)
_starting = threading.Lock()


class _Server(Protocol):
    transport: Any

    def connectionMade(self) -> None:
        self.request = Request()

    def dataReceived(self, data: bytes) -> None:
        try:
            reply = self.request.receive(data, Facts.of(self.transport.getHandle()))
        except DemoError:
            self.transport.abortConnection()
            return
        if reply is not None:
            self.transport.write(reply)
            self.transport.loseConnection()


class _Client(Protocol):
    transport: Any

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.done: Deferred[Visit] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        self.reply.receive(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not reason.check(ConnectionDone):
            self.done.errback(reason)
            return
        try:
            self.done.callback(self.reply.close())
        except DemoError:
            self.done.errback()


def _in_reactor(function: Any, *arguments: Any) -> Any:
    """Run a function that may return a Deferred in the reactor's thread, and wait for its outcome."""
    with _starting:
        if not reactor.running:
            ready = threading.Event()
            reactor.callWhenRunning(ready.set)
            threading.Thread(target=reactor.run, kwargs={"installSignalHandlers": False}, daemon=True).start()
            ready.wait(TIMEOUT)
    return blockingCallFromThread(reactor, function, *arguments)


def serve(material: Material) -> int:
    endpoint = TLSServerEndpoint(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), server_config(material))
    port: int = _in_reactor(endpoint.listen, Factory.forProtocol(_Server)).getHost().port
    return port


def visit(port: int, material: Material, size: int) -> Visit:
    config = client_config(material)

    def begin() -> Deferred[Visit]:
        protocol = _Client(Reply(size))
        endpoint = TLSClientEndpoint(TCP4ClientEndpoint(reactor, "127.0.0.1", port), config, "localhost")

        def shaken(_: object) -> Deferred[Visit]:
            protocol.transport.write(protocol.reply.request(Facts.of(protocol.transport.getHandle())))
            return protocol.done

        connected: Deferred[Any] = endpoint.connect(Factory.forProtocol(lambda: protocol))
        visited: Deferred[Visit] = connected.addCallback(shaken).addTimeout(TIMEOUT, reactor)
        return visited

    made: Visit = _in_reactor(begin)
    return made
