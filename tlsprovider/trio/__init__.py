"""TLS for trio: streams, listeners and the helpers around them.

:class:`TLSStream` takes the place of :class:`trio.SSLStream`, and takes a :class:`~tlsprovider.ClientConfig` or a
:class:`~tlsprovider.ServerConfig` where that takes an ``SSLContext``.

Importing this package imports nothing heavy; each name below loads what it needs when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsprovider.late import late_names

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

__getattr__, __dir__ = late_names(
    globals(),
    {
        "fleet": ("RedisFleet",),
        "helpers": (
            "open_tls_listeners",
            "open_tls_stream",
            "serve_tls",
        ),
        "installing": (
            "install",
            "uninstall",
        ),
        "keyserver": ("KeyServer",),
        "listener": ("TLSListener",),
        "stream": ("TLSStream",),
    },
)
