"""A key server for programs under Twisted."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from tlsprovider import keyserver
from tlsprovider.keyserver import KeyServerError
from tlsprovider.keyserver.client import CUT_SHORT, TIMEOUT, unreachable
from tlsprovider.keyserver.messages import decode_response

__all__ = ["KeyServer"]


class KeyServer(keyserver.KeyServer):
    """As :class:`tlsprovider.keyserver.KeyServer`, but the reactor runs while a signature is made.

    :param reactor: None: the running one.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = TIMEOUT, reactor: Any = None) -> None:
        super().__init__(path, timeout)
        self._reactor = reactor

    def exchange(self, request: bytes) -> Deferred[bytes]:
        reactor = self._reactor
        if reactor is None:
            from twisted.internet import reactor
        conversation = _Conversation(request)
        connecting = connectProtocol(UNIXClientEndpoint(reactor, self.path, self.timeout), conversation)
        signed: Deferred[bytes] = connecting.addCallback(lambda _: conversation.signed)
        return signed.addTimeout(self.timeout, reactor).addErrback(self._explain)

    def _explain(self, failure: Failure) -> Failure:
        if failure.check(DeferredTimeoutError):
            return Failure(unreachable(self, None))
        if failure.check(OSError, ConnectError):
            assert isinstance(failure.value, Exception)
            return Failure(unreachable(self, failure.value))
        return failure


class _Conversation(Protocol):
    """Says the request, and hears the response."""

    transport: Any

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._data = bytearray()
        self._over = False
        self.signed: Deferred[bytes] = Deferred(self._give_up)

    def connectionMade(self) -> None:
        self.transport.write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._data += data
        try:
            signature = decode_response(self._data)
        except KeyServerError as problem:
            self._end(problem)
        else:
            if signature is not None:
                self._end(signature)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end(KeyServerError(CUT_SHORT))

    def _give_up(self, signed: Deferred[bytes]) -> None:
        self._end(CancelledError())

    def _end(self, result: bytes | Exception) -> None:
        if self._over:
            return
        self._over = True
        self.transport.abortConnection()
        if isinstance(result, bytes):
            self.signed.callback(result)
        else:
            self.signed.errback(result)
