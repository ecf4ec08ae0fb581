"""TLS for trio: streams, listeners and the helpers around them.

:class:`TLSStream` takes the place of :class:`trio.SSLStream`, and takes a :class:`~tlsprovider.ClientConfig` or a
:class:`~tlsprovider.ServerConfig` where that takes an ``SSLContext``.
"""

from __future__ import annotations

from tlsprovider.trio.helpers import open_tls_listeners, open_tls_stream, serve_tls
from tlsprovider.trio.installing import install, uninstall
from tlsprovider.trio.keyserver import KeyServer
from tlsprovider.trio.listener import TLSListener
from tlsprovider.trio.stream import TLSStream

__all__ = [
    "KeyServer",
    "TLSListener",
    "TLSStream",
    "install",
    "open_tls_listeners",
    "open_tls_stream",
    "serve_tls",
    "uninstall",
]
