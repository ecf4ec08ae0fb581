"""``tlsprovider serve`` on Twisted."""

from __future__ import annotations

import signal
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from tlsprovider.cli.serve import Service
from tlsprovider.twisted import TLSServerEndpoint

__all__ = ["run"]

IDLE_SECONDS = 60

# What a reactor provides depends on the platform, so it has no type that fits.
reactor = cast(Any, _reactor)


def run(service: Service) -> None:
    """Serve until SIGINT or SIGTERM."""
    for socket in service.sockets:
        socket.setblocking(False)
        adopted = AdoptedStreamServerEndpoint(reactor, socket.fileno(), socket.family)
        endpoint = TLSServerEndpoint(adopted, service.config, service.provider)
        endpoint.listen(Factory.forProtocol(lambda: _Talk(service)))
    # Shells start background jobs with SIGINT ignored, and Twisted would leave it at that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reactor.callWhenRunning(service.running)
    reactor.run()


class _Talk(Protocol, TimeoutMixin):
    transport: Any

    def __init__(self, service: Service) -> None:
        self._service = service
        self._talk = service.talk(lambda: self.transport.getHandle())

    def connectionMade(self) -> None:
        self.setTimeout(IDLE_SECONDS)  # type: ignore[no-untyped-call]

    def dataReceived(self, data: bytes) -> None:
        self.resetTimeout()  # type: ignore[no-untyped-call]
        self.transport.write(self._talk.reply(data))
        if self._talk.over:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.setTimeout(None)  # type: ignore[no-untyped-call]
        if not reason.check(ConnectionDone):
            assert reason.value is not None
            self._service.failed(self.transport.getPeer().host, reason.value)
