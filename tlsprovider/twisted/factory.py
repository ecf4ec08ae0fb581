""":class:`TLSFactory`: a factory of TLS connections around a factory of the application's protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    ILoggingContext,
    IProtocolFactory,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.providers import get_provider
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.engines import check_side, new_engine
from tlsprovider.twisted.protocol import TLSProtocol

if TYPE_CHECKING:
    from tlsprovider.interfaces import IEngine, ITLSProvider

__all__ = ["TLSFactory"]


class TLSFactory(ClientFactory):
    """Wraps each protocol that ``wrappedFactory`` builds into a :class:`TLSProtocol`. For ``listenTCP``, ``connectTCP``
    and every endpoint.

    :param config: a :class:`~tlsprovider.config.ClientConfig` or a :class:`~tlsprovider.config.ServerConfig`; it
        decides which side of TLS this is. If it names no application protocols (``alpn``), and the wrapped factory
        provides ``IProtocolNegotiationFactory``, the factory's ``acceptableProtocols()`` are taken.
    :param provider: the TLS implementation, by name or as an object; None: the default of the process.
    :param hostname: client: whom the server's certificate must name.
    :param clock: where time limits are kept; the global reactor unless given.
    :param handshakeTimeout: seconds a handshake may take, None for no limit.
    :param closeTimeout: seconds to wait for the peer's close_notify after ours; 0 to wait for none, None for no limit.

    Raises :exc:`~tlsprovider.errors.ConfigError` for what the provider can't do, before there is any connection.
    """

    noisy = False
    protocol = TLSProtocol

    def __init__(
        self,
        config: ClientConfig | ServerConfig,
        wrappedFactory: IProtocolFactory,
        provider: str | ITLSProvider | None = None,
        hostname: str | None = None,
        *,
        clock: IReactorTime | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
    ) -> None:
        check_side(config, hostname)
        if not config.alpn and IProtocolNegotiationFactory.providedBy(wrappedFactory):
            config = attrs.evolve(config, alpn=wrappedFactory.acceptableProtocols())
        self.config = config
        self.wrappedFactory: Any = wrappedFactory
        self.provider = get_provider(provider)
        self.hostname = hostname
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout
        self.protocols: dict[TLSProtocol, int] = {}
        self._clock = _global_reactor() if clock is None else clock
        # Made now so that a mistake shows now; the first connection takes it.
        self._spare: IEngine | None = self._new_engine()

    def makeEngine(self) -> IEngine:
        """An engine for one connection."""
        spare, self._spare = self._spare, None
        return self._new_engine() if spare is None else spare

    def _new_engine(self) -> IEngine:
        return new_engine(self.provider, self.config, self.hostname)

    def buildProtocol(self, addr: IAddress | None) -> TLSProtocol | None:
        wrapped = self.wrappedFactory.buildProtocol(addr)
        if wrapped is None:
            return None
        protocol = self.protocol(self, wrapped)
        protocol.handshakeTimeout = self.handshakeTimeout
        protocol.closeTimeout = self.closeTimeout
        return protocol

    def registerProtocol(self, protocol: TLSProtocol) -> None:
        self.protocols[protocol] = 1

    def unregisterProtocol(self, protocol: TLSProtocol) -> None:
        del self.protocols[protocol]

    def logPrefix(self) -> str:
        wrapped = self.wrappedFactory
        prefix = wrapped.logPrefix() if ILoggingContext.providedBy(wrapped) else type(wrapped).__name__
        return f"{prefix} (TLS)"

    def doStart(self) -> None:
        self.wrappedFactory.doStart()
        super().doStart()  # type: ignore[no-untyped-call]

    def doStop(self) -> None:
        self.wrappedFactory.doStop()
        super().doStop()  # type: ignore[no-untyped-call]

    def startedConnecting(self, connector: IConnector) -> None:
        self.wrappedFactory.startedConnecting(connector)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self.wrappedFactory.clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        self.wrappedFactory.clientConnectionLost(connector, reason)


def _global_reactor() -> IReactorTime:
    # Importing it installs it, which is for the application to decide: not before it is really needed.
    from twisted.internet import reactor

    return reactor
