"""What Twisted's own TLS factory makes, for :class:`~tlsprovider.twisted.TLSProtocol` to drive.

``twisted.protocols.tls.TLSMemoryBIOFactory`` has a *connection creator*: the ``CertificateOptions`` or the
``optionsForClientTLS(...)`` that an application gave to ``listenSSL``, ``startTLS`` and the like, or a
:class:`~tlsprovider.twisted.ContextFactory`. It gives an ``OpenSSL.SSL.Connection``, or our look-alike of one, and its
users expect the errors of ``OpenSSL.SSL``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsprovider.errors import TLSError
from tlsprovider.providers.configured import engine_around
from tlsprovider.providers.library import Relayed
from tlsprovider.twisted.openssl_failures import as_openssl_error
from tlsprovider.twisted.pyopenssl import Connection

if TYPE_CHECKING:
    from tlsprovider.interfaces import IEngine
    from tlsprovider.twisted.connection import TLSConnection

__all__ = ["as_expected", "take_connection"]


def take_connection(protocol: TLSConnection) -> tuple[IEngine, Any]:
    """Let the factory make a connection for ``protocol``; the engine to drive in its place, and that.

    A look-alike is unwrapped, and its limits of time become the protocol's.
    """
    connection = protocol.factory._creatorCallable(protocol)
    if not isinstance(connection, Connection):
        return engine_around(connection), connection
    protocol.handshakeTimeout = connection.handshake_timeout
    protocol.closeTimeout = connection.close_timeout
    return connection.engine, connection


def as_expected(failure: TLSError, engine: IEngine) -> Exception:
    """``failure`` as the users of a connection creator expect it: OpenSSL's own error, or one that looks like it."""
    if isinstance(failure, Relayed):
        return failure.original
    return as_openssl_error(failure, engine.peer_certificates)
