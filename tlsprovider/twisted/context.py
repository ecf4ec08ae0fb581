""":class:`ContextFactory`: what Twisted takes where it starts TLS by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import attrs
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLContextFactory,
    IOpenSSLServerConnectionCreator,
    IProtocolNegotiationFactory,
    IReactorTime,
)
from twisted.logger import Logger
from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError, HookError, TLSError
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.engines import check_side, new_engine
from tlsprovider.twisted.pyopenssl import Connection
from tlsprovider.twisted.refused import RefusedEngine

if TYPE_CHECKING:
    from OpenSSL.SSL import Context

    from tlsprovider.interfaces import IEngine, ITLSProvider

__all__ = ["ContextFactory"]

# So many lists of application protocols are remembered; a factory has one, and a sane application few factories.
MAX_LISTS = 64

log = Logger()


@implementer(IOpenSSLContextFactory, IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator)
class ContextFactory:
    """A configuration for ``listenSSL``, ``connectSSL``, ``SSL4ServerEndpoint``, ``wrapClientTLS``, ``startTLS``...

    ::

        reactor.listenSSL(443, Site(resource), ContextFactory(ServerConfig(identities=[identity])))
        transport.startTLS(ContextFactory(ClientConfig(), hostname="mail.example.com"))

    Twisted asks it for connections, which are ours (:class:`~tlsprovider.twisted.pyopenssl.Connection`); a genuine
    ``OpenSSL.SSL.Context`` is made only for whoever calls :meth:`getContext`.

    :param config: a :class:`~tlsprovider.config.ClientConfig` or a :class:`~tlsprovider.config.ServerConfig`; it
        decides which side this is. If it names no application protocols (``alpn``), and the application's factory
        provides ``IProtocolNegotiationFactory``, the factory's ``acceptableProtocols()`` are taken.
    :param hostname: client: whom the server's certificate must name. Twisted doesn't tell a creator of connections
        where they go to, so each host needs a factory of its own.
    :param provider: the TLS implementation, by name or as an object; None: the default of the process.
    :param clock: where time limits are kept; None: where Twisted keeps them for the connection.
    :param handshakeTimeout: seconds a handshake may take, None for no limit.
    :param closeTimeout: seconds to wait for the peer's close_notify after ours, None for no limit.

    Raises :exc:`~tlsprovider.errors.ConfigError` for what the provider can't do, before there is any connection.
    """

    def __init__(
        self,
        config: ClientConfig | ServerConfig,
        hostname: str | None = None,
        provider: str | ITLSProvider | None = None,
        *,
        clock: IReactorTime | None = None,
        handshakeTimeout: float | None = HANDSHAKE_TIMEOUT,
        closeTimeout: float | None = CLOSE_TIMEOUT,
    ) -> None:
        check_side(config, hostname)
        if not isinstance(hostname, str | None):
            raise ConfigError(f"hostname: expected text, got {hostname!r}")
        self.config = config
        self.hostname = hostname
        self.provider = get_provider(provider)
        self.clock = clock
        self.handshakeTimeout = handshakeTimeout
        self.closeTimeout = closeTimeout
        self._configs: dict[tuple[str | bytes, ...], ClientConfig | ServerConfig] = {}
        self._context: Context | None = None
        # A mistake in the configuration shows now, while somebody is there to see it.
        self._new_engine(config)

    def _new_engine(self, config: ClientConfig | ServerConfig) -> IEngine:
        return new_engine(self.provider, config, self.hostname)

    # -- connections --------------------------------------------------------------------------------------------------

    def clientConnectionForTLS(self, tlsProtocol: Any) -> Connection:  # type: ignore[override]  # a look-alike
        """See ``IOpenSSLClientConnectionCreator``."""
        return self._connect(tlsProtocol, is_server=False)

    def serverConnectionForTLS(self, tlsProtocol: Any) -> Connection:  # type: ignore[override]
        """See ``IOpenSSLServerConnectionCreator``."""
        return self._connect(tlsProtocol, is_server=True)

    def _connect(self, tlsProtocol: Any, is_server: bool) -> Connection:
        """A connection, come what may: whatever goes wrong here is what its handshake fails with."""
        try:
            engine = self._new_engine(self._config_for(tlsProtocol, is_server))
        except TLSError as problem:
            log.error("TLS can't begin: {problem}", problem=problem)
            engine = self._refuse(problem, is_server)
        except Exception as problem:
            # Logged with the handshake that fails for it.
            failure = HookError(f"TLS can't begin: {type(problem).__name__}: {problem}")
            failure.__cause__ = problem
            engine = self._refuse(failure, is_server)
        return Connection(
            engine,
            self.getContext,
            clock=self.clock,
            handshake_timeout=self.handshakeTimeout,
            close_timeout=self.closeTimeout,
        )

    def _refuse(self, problem: TLSError, is_server: bool) -> IEngine:
        engine: IEngine = RefusedEngine(problem.with_traceback(None), is_server)
        return engine

    def _config_for(self, tlsProtocol: Any, is_server: bool) -> ClientConfig | ServerConfig:
        """The configuration, with the application protocols of the application's factory if it has none itself."""
        if is_server is not isinstance(self.config, ServerConfig):
            side, wanted = ("server", "ServerConfig") if is_server else ("client", "ClientConfig")
            raise ConfigError(
                f"config: this {side}'s TLS was to be started with a {type(self.config).__name__};"
                f" a {side} needs a {wanted}"
            )
        if self.config.alpn:
            return self.config
        wrapped = getattr(getattr(tlsProtocol, "factory", None), "wrappedFactory", None)
        negotiation = IProtocolNegotiationFactory(wrapped, None)
        names = () if negotiation is None else tuple(negotiation.acceptableProtocols())
        if not names:
            return self.config
        config = self._configs.get(names)
        if config is None:
            # One object for all connections: much is computed once for each configuration.
            if len(self._configs) >= MAX_LISTS:
                self._configs.clear()
            config = self._configs[names] = attrs.evolve(self.config, alpn=names)
        return config

    # -- for those who want something else ----------------------------------------------------------------------------

    def getContext(self) -> Context:
        """An equivalent genuine ``OpenSSL.SSL.Context``, always the same one; Twisted itself never asks for it.

        It is OpenSSL's TLS then, with OpenSSL's verification; the server's name is verified as well. Raises
        :exc:`~tlsprovider.errors.ConfigError` for what such a context can't do: hooks, pinned keys, a signer that is
        elsewhere, a clock of one's own.
        """
        if self._context is None:
            from tlsprovider.providers.standalone import make_standalone_context

            self._context = make_standalone_context(self.config, self.hostname)
        return self._context

    def options(self, *authorities: Any) -> Self:
        """As ``PrivateCertificate.options``, for AMP's ``tls_localCertificate``: the same, but trusting only these.

        ``authorities`` are ``twisted.internet.ssl.Certificate``; a server then requires a certificate of its clients.
        """
        if not authorities:
            return self
        changes: dict[str, Any] = {"trust": _trust(authorities)}
        if isinstance(self.config, ServerConfig):
            changes["client_auth"] = "require"
        return type(self)(
            attrs.evolve(self.config, **changes),
            self.hostname,
            self.provider,
            clock=self.clock,
            handshakeTimeout=self.handshakeTimeout,
            closeTimeout=self.closeTimeout,
        )


def _trust(authorities: Iterable[Any]) -> TrustStore:
    return TrustStore.from_crypto([authority.original.to_cryptography() for authority in authorities])
