"""HTTPS for the clients of ``twisted.web``, and for those that are built on them: ``treq``, Scrapy.

There are two ways in, and both make every host share one configuration, with one parsed trust store:

* :class:`HTTPSPolicy` goes wherever an ``IPolicyForHTTPS`` is taken. Twisted's own TLS drives the connection.
* :class:`AgentEndpoints` is for ``Agent.usingEndpointFactory``: endpoints of ours, which are faster, and whose errors
  are those of the handshake.

Agents speak HTTP/1.1, and say so by ALPN. A factory that speaks something else, such as Scrapy's for HTTP/2, provides
``IProtocolNegotiationFactory``; then that is asked for. A configuration with ``alpn`` of its own has the last word.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

import attrs
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

from tlsprovider.config import ClientConfig
from tlsprovider.errors import ConfigError
from tlsprovider.providers import get_provider
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.context import ContextFactory
from tlsprovider.twisted.endpoints import TLSClientEndpoint

if TYPE_CHECKING:
    from twisted.web.client import URI

    from tlsprovider.interfaces import ITLSProvider

__all__ = ["AgentEndpoints", "HTTPSPolicy"]

# A crawler meets hosts without end. What is kept for one is small, and quickly made again.
MAX_HOSTS = 256


@implementer(IPolicyForHTTPS)
class HTTPSPolicy:
    """How to connect to any host by HTTPS::

        agent = Agent(reactor, HTTPSPolicy(ClientConfig()))
        client = treq.client.HTTPClient(agent)

    Make one and keep it: all that is expensive is made once for it, above all the trust store, which Twisted's own
    policy parses again for every connection.

    In the settings of Scrapy: ``DOWNLOADER_CLIENTCONTEXTFACTORY = "tlsprovider.twisted.HTTPSPolicy"``; derive a class
    and override :meth:`from_crawler` for a configuration that is not the default.

    :param config: the default is ``ClientConfig()``.

    The other parameters are those of :class:`~tlsprovider.twisted.ContextFactory`. Raises
    :exc:`~tlsprovider.errors.ConfigError` for what the provider can't do.
    """

    def __init__(
        self,
        config: ClientConfig | None = None,
        provider: str | ITLSProvider | None = None,
        *,
        clock: IReactorTime | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
    ) -> None:
        self.config = _checked(config)
        self.provider = get_provider(provider)
        self._http1 = _with_http1(self.config)
        self._options: dict[str, Any] = {
            "clock": clock,
            "handshakeTimeout": handshakeTimeout,
            "closeTimeout": closeTimeout,
        }
        self._creator = lru_cache(MAX_HOSTS)(self._make_creator)
        # A mistake in the configuration shows now, and not with the first request.
        self._creator("localhost")

    def creatorForNetloc(self, hostname: bytes | str, port: int) -> ContextFactory:
        """The creator of connections to a host: a DNS name, which may be international, or an IP address.

        Raises :exc:`~tlsprovider.errors.ConfigError` for a name that is neither.
        """
        return self._creator(hostname.decode("utf-8") if isinstance(hostname, bytes) else hostname)

    def _make_creator(self, hostname: str) -> ContextFactory:
        creator = _HostCreator(self.config, hostname, self.provider, **self._options)
        creator.http1 = self._http1
        return creator

    @classmethod
    def from_crawler(cls, crawler: Any, **settings: Any) -> Self:
        """Called by Scrapy. Its settings for TLS are not read; servers are always verified."""
        return cls()


class _HostCreator(ContextFactory):
    """Creates connections to one host."""

    http1: ClientConfig

    def _config_for(self, tlsProtocol: Any, is_server: bool) -> Any:
        config = super()._config_for(tlsProtocol, is_server)
        return config if config.alpn else self.http1


@implementer(IAgentEndpointFactory)
class AgentEndpoints:
    """Endpoints for an ``Agent``::

        agent = Agent.usingEndpointFactory(reactor, AgentEndpoints(reactor, ClientConfig()))

    A request fails with the error of the handshake itself, and before anything of it was sent.

    :param config: the default is ``ClientConfig()``.
    :param connectTimeout: seconds for each attempt to connect by TCP; None for Twisted's default.
    :param bindAddress: the local address to connect from.

    The other parameters are those of :class:`~tlsprovider.twisted.TLSClientEndpoint`.
    """

    def __init__(
        self,
        reactor: Any,
        config: ClientConfig | None = None,
        provider: str | ITLSProvider | None = None,
        *,
        connectTimeout: float | None = None,
        bindAddress: bytes | str | tuple[bytes | str, int] | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
    ) -> None:
        self.config = _with_http1(_checked(config))
        self.provider = get_provider(provider)
        self._reactor = reactor
        self._tcp: dict[str, Any] = {"bindAddress": bindAddress}
        if connectTimeout is not None:
            self._tcp["timeout"] = connectTimeout
        self._options: dict[str, Any] = {
            "clock": reactor,
            "handshakeTimeout": handshakeTimeout,
            "closeTimeout": closeTimeout,
        }

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """TCP for ``http`` and ``ws``, TLS for ``https`` and ``wss``; raises SchemeNotSupported for others."""
        host = uri.host.decode("utf-8")
        endpoint: IStreamClientEndpoint = HostnameEndpoint(self._reactor, host, uri.port, **self._tcp)
        if uri.scheme in (b"http", b"ws"):
            return endpoint
        if uri.scheme in (b"https", b"wss"):
            return TLSClientEndpoint(endpoint, self.config, host, self.provider, **self._options)
        raise SchemeNotSupported(f"Unsupported scheme: {uri.scheme!r}")


def _checked(config: ClientConfig | None) -> ClientConfig:
    if config is None:
        return ClientConfig()
    if not isinstance(config, ClientConfig):
        raise ConfigError(f"config: a client of HTTPS needs a ClientConfig, got {config!r}")
    return config


def _with_http1(config: ClientConfig) -> ClientConfig:
    return config if config.alpn else attrs.evolve(config, alpn=["http/1.1"])
