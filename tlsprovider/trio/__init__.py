"""TLS for trio: streams, listeners and the helpers around them.

:class:`TLSStream` takes the place of :class:`trio.SSLStream`, and takes a :class:`~tlsprovider.ClientConfig` or a
:class:`~tlsprovider.ServerConfig` where that takes an ``SSLContext``.

Importing this package imports nothing heavy; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tlsprovider.trio.fleet import RedisFleet
    from tlsprovider.trio.helpers import open_tls_listeners, open_tls_stream, serve_tls
    from tlsprovider.trio.installing import install, uninstall
    from tlsprovider.trio.keyserver import KeyServer
    from tlsprovider.trio.listener import TLSListener
    from tlsprovider.trio.stream import TLSStream

__all__ = [
    "KeyServer",
    "RedisFleet",
    "TLSListener",
    "TLSStream",
    "install",
    "open_tls_listeners",
    "open_tls_stream",
    "serve_tls",
    "uninstall",
]

_HOMES = {
    "KeyServer": "tlsprovider.trio.keyserver",
    "RedisFleet": "tlsprovider.trio.fleet",
    "TLSListener": "tlsprovider.trio.listener",
    "TLSStream": "tlsprovider.trio.stream",
    "install": "tlsprovider.trio.installing",
    "open_tls_listeners": "tlsprovider.trio.helpers",
    "open_tls_stream": "tlsprovider.trio.helpers",
    "serve_tls": "tlsprovider.trio.helpers",
    "uninstall": "tlsprovider.trio.installing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
