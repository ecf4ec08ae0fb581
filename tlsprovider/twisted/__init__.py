"""tlsprovider for Twisted: TLS over any transport, and endpoints around any endpoint.

Importing this package imports nothing heavy and never installs a reactor; each name below loads what it needs when it
is first used. Endpoint strings with the prefix ``tlsp:`` are described in :mod:`tlsprovider.twisted.strings`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsprovider.twisted.context import ContextFactory
    from tlsprovider.twisted.endpoints import TLSClientEndpoint, TLSServerEndpoint
    from tlsprovider.twisted.factory import TLSFactory
    from tlsprovider.twisted.fleet import RedisFleet
    from tlsprovider.twisted.installing import install, uninstall
    from tlsprovider.twisted.keyserver import KeyServer
    from tlsprovider.twisted.protocol import TLSProtocol
    from tlsprovider.twisted.web import AgentEndpoints, HTTPSPolicy

__all__ = [
    "AgentEndpoints",
    "ContextFactory",
    "HTTPSPolicy",
    "KeyServer",
    "RedisFleet",
    "TLSClientEndpoint",
    "TLSFactory",
    "TLSProtocol",
    "TLSServerEndpoint",
    "install",
    "uninstall",
]

_HOMES = {
    "AgentEndpoints": "tlsprovider.twisted.web",
    "ContextFactory": "tlsprovider.twisted.context",
    "HTTPSPolicy": "tlsprovider.twisted.web",
    "KeyServer": "tlsprovider.twisted.keyserver",
    "RedisFleet": "tlsprovider.twisted.fleet",
    "TLSClientEndpoint": "tlsprovider.twisted.endpoints",
    "TLSFactory": "tlsprovider.twisted.factory",
    "TLSProtocol": "tlsprovider.twisted.protocol",
    "TLSServerEndpoint": "tlsprovider.twisted.endpoints",
    "install": "tlsprovider.twisted.installing",
    "uninstall": "tlsprovider.twisted.installing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
