"""tlsprovider for Twisted: TLS over any transport, and endpoints around any endpoint.

Importing this package imports nothing heavy and never installs a reactor; each name below loads what it needs when it
is first used. Endpoint strings with the prefix ``tlsp:`` are described in :mod:`tlsprovider.twisted.strings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsprovider.late import late_names

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

__getattr__, __dir__ = late_names(
    globals(),
    {
        "context": ("ContextFactory",),
        "endpoints": (
            "TLSClientEndpoint",
            "TLSServerEndpoint",
        ),
        "factory": ("TLSFactory",),
        "fleet": ("RedisFleet",),
        "installing": (
            "install",
            "uninstall",
        ),
        "keyserver": ("KeyServer",),
        "protocol": ("TLSProtocol",),
        "web": (
            "AgentEndpoints",
            "HTTPSPolicy",
        ),
    },
)
