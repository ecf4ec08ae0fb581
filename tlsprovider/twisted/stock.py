"""What Twisted's own factories make, and :class:`~tlsprovider.twisted.TLSProtocol` drives.

``twisted.protocols.tls.TLSMemoryBIOFactory`` has a *connection creator*, which makes an ``OpenSSL.SSL.Connection`` for
each connection, or something that looks like one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsprovider.interfaces import IEngine
from tlsprovider.providers.configured import engine_around

if TYPE_CHECKING:
    from OpenSSL.SSL import Connection

__all__ = ["engine_behind"]


def engine_behind(connection: Connection) -> IEngine:
    """The engine that a look-alike of ours is made of; for a genuine connection one around it."""
    engine: Any = getattr(connection, "engine", None)
    if IEngine.providedBy(engine):
        assert isinstance(engine, object)
        found: IEngine = engine
        return found
    return engine_around(connection)
