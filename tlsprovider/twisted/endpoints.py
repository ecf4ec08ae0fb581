"""Endpoints that put TLS on top of any other endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict, cast

from twisted.internet import defer
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError
from tlsprovider.providers import get_provider
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.factory import TLSFactory
from tlsprovider.twisted.protocol import TLSProtocol

if TYPE_CHECKING:
    from tlsprovider.interfaces import ITLSProvider

__all__ = ["TLSClientEndpoint", "TLSServerEndpoint"]


class _Limits(TypedDict):
    clock: IReactorTime | None
    handshakeTimeout: float | None
    closeTimeout: float | None


@implementer(IStreamServerEndpoint)
class TLSServerEndpoint:
    """Listen with TLS on whatever ``endpoint`` listens on.

    ::

        endpoint = TLSServerEndpoint(TCP6ServerEndpoint(reactor, 443), ServerConfig(identities=[identity]))
        endpoint.listen(Site(resource))

    The parameters after ``endpoint`` are those of :class:`~tlsprovider.twisted.TLSFactory`. Raises
    :exc:`~tlsprovider.errors.ConfigError` for an unknown provider; ``listen`` fails with what the provider can't do.
    """

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        config: ServerConfig,
        provider: str | ITLSProvider | None = None,
        *,
        clock: IReactorTime | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
    ) -> None:
        if not isinstance(config, ServerConfig):
            raise ConfigError(f"config: a server endpoint needs a ServerConfig, got {config!r}")
        self.endpoint = endpoint
        self.config = config
        self.provider = get_provider(provider)
        self._limits: _Limits = {"clock": clock, "handshakeTimeout": handshakeTimeout, "closeTimeout": closeTimeout}

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Like the inner endpoint's ``listen``."""
        try:
            factory = TLSFactory(self.config, protocolFactory, self.provider, **self._limits)
        except ConfigError:
            return defer.fail()
        return self.endpoint.listen(factory)


@implementer(IStreamClientEndpoint)
class TLSClientEndpoint:
    """Connect with TLS to whatever ``endpoint`` connects to.

    ::

        endpoint = TLSClientEndpoint(HostnameEndpoint(reactor, "example.com", 443), ClientConfig(), "example.com")
        protocol = await endpoint.connect(factory)

    :param hostname: whom the server's certificate must name.
    :param waitForHandshake: whether ``connect`` waits for the handshake. False is what Twisted's own endpoints do: the
        Deferred fires when the inner endpoint is connected, and the protocol's ``connectionLost`` tells what went wrong
        later.

    The other parameters are those of :class:`~tlsprovider.twisted.TLSFactory`.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        config: ClientConfig,
        hostname: str | None,
        provider: str | ITLSProvider | None = None,
        *,
        clock: IReactorTime | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
        waitForHandshake: bool = True,
    ) -> None:
        if not isinstance(config, ClientConfig):
            raise ConfigError(f"config: a client endpoint needs a ClientConfig, got {config!r}")
        self.endpoint = endpoint
        self.config = config
        self.hostname = hostname
        self.provider = get_provider(provider)
        self.waitForHandshake = waitForHandshake
        self._limits: _Limits = {"clock": clock, "handshakeTimeout": handshakeTimeout, "closeTimeout": closeTimeout}

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """A Deferred of the application's protocol, which fires when the handshake is complete.

        It fails with the inner endpoint's error, with the :exc:`~tlsprovider.errors.TLSError` of the handshake, with
        ``ConnectionLost`` if the connection ended in the middle of it, or with ``TimeoutError``; by then the
        connection is closed. Cancelling it gives up the connection.

        The protocol's ``connectionMade`` comes before the handshake, as with Twisted's own TLS; what it writes is kept.
        """
        try:
            factory = TLSFactory(self.config, protocolFactory, self.provider, self.hostname, **self._limits)
        except ConfigError:
            return defer.fail()
        connected = cast("Deferred[TLSProtocol]", self.endpoint.connect(factory))
        return connected.addCallback(TLSProtocol.whenHandshakeCompleted if self.waitForHandshake else _wrapped)


def _wrapped(protocol: TLSProtocol) -> IProtocol:
    wrapped: IProtocol = protocol.wrappedProtocol
    return wrapped
