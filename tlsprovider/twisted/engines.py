"""Which engine a connection gets, and what else depends on who asked for TLS.

A :class:`~tlsprovider.twisted.TLSFactory` makes engines. A factory of Twisted's own, under :func:`install` or after
``startTLS``, makes connections of pyOpenSSL or what looks like them: see :mod:`tlsprovider.twisted.stock`, which is
imported only then, since whoever has none needs no pyOpenSSL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import INegotiated
from zope.interface import directlyProvides

from tlsprovider.errors import TLSError

if TYPE_CHECKING:
    from tlsprovider.interfaces import IEngine
    from tlsprovider.twisted.connection import TLSConnection

__all__ = ["as_shown", "lend_to_transport", "make_engine"]


def make_engine(protocol: TLSConnection) -> tuple[IEngine, Any]:
    """The engine, and the connection of Twisted's factory that it drives or stands for; None where there is none."""
    make: Callable[[], IEngine] | None = getattr(protocol.factory, "makeEngine", None)
    if make is not None:
        return make(), None
    from tlsprovider.twisted.stock import take_connection

    return take_connection(protocol)


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
