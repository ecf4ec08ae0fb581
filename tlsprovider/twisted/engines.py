"""Which engine a connection gets, and what else depends on who asked for TLS.

A :class:`~tlsprovider.twisted.TLSFactory` makes engines. A factory of Twisted's own, under :func:`install` or after
``startTLS``, makes connections of pyOpenSSL or what looks like them: see :mod:`tlsprovider.twisted.stock`, which is
imported only then, since whoever has none needs no pyOpenSSL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import INegotiated
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import directlyProvides

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError, TLSError

if TYPE_CHECKING:
    from tlsprovider.interfaces import IEngine, ITLSProvider
    from tlsprovider.twisted.connection import TLSConnection

__all__ = ["as_shown", "check_side", "lend_to_transport", "log_refusal", "make_engine", "new_engine"]

log = Logger()


def check_side(config: object, hostname: str | None) -> None:
    """Raise ConfigError for what is no configuration, and for a server's with somebody to verify."""
    if not isinstance(config, ClientConfig | ServerConfig):
        raise ConfigError(f"config: expected a ClientConfig or a ServerConfig, got {config!r}")
    if isinstance(config, ServerConfig) and hostname is not None:
        raise ConfigError(f"hostname: a server has none to verify, but {hostname!r} was given; its client does")


def new_engine(provider: ITLSProvider, config: ClientConfig | ServerConfig, hostname: str | None) -> IEngine:
    """For the side that the configuration is for."""
    if isinstance(config, ClientConfig):
        return provider.client_engine(config, hostname)
    return provider.server_engine(config)


def make_engine(protocol: TLSConnection) -> tuple[IEngine, Any]:
    """The engine, and the connection of Twisted's factory that it drives or stands for; None where there is none."""
    make: Callable[[], IEngine] | None = getattr(protocol.factory, "makeEngine", None)
    if make is not None:
        return make(), None
    from tlsprovider.twisted.stock import take_connection

    return take_connection(protocol)


def log_refusal(problem: Exception, peer: object) -> None:
    """Say that there will be no TLS with ``peer``; a mistake in the configuration needs no traceback."""
    if isinstance(problem, ConfigError):
        log.error("TLS with {peer} can't begin: {problem}", peer=peer, problem=problem)
    else:
        log.failure("TLS with {peer} can't begin", Failure(problem), peer=peer)


def as_shown(problem: TLSError, engine: IEngine, connection: Any) -> Exception:
    """What the application sees of a failure: without the traceback, whose frames may hold secrets of the engine."""
    if connection is None:
        return problem.with_traceback(None)
    from tlsprovider.twisted.stock import as_expected

    return as_expected(problem, engine)


def lend_to_transport(protocol: Any) -> None:
    """After ``startTLS`` the application keeps its transport; Twisted sends some calls there through TLS, not these."""
    from twisted.internet._newtls import _BypassTLS

    if not isinstance(protocol.transport, _BypassTLS):
        return
    transport = protocol.transport._connection
    transport.negotiatedProtocol = protocol.negotiatedProtocol
    transport.loseWriteConnection = protocol.loseWriteConnection
    directlyProvides(transport, INegotiated)
