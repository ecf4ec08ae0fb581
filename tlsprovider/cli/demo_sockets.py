"""A loopback server with a thread for each connection: what the demo's blocking parties share."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from tlsprovider.cli.demo_visit import TIMEOUT, DemoError
from tlsprovider.errors import TLSError

__all__ = ["listen"]


def listen(talk: Callable[[socket.socket], None]) -> int:
    """Call ``talk(connection)`` for each connection, in the background until the process ends; the port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    threading.Thread(target=_accept, args=(listener, talk), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _accept(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    while True:
        connection, _ = listener.accept()
        connection.settimeout(TIMEOUT)
        # Not waiting for an acknowledgement of the last small write: the demo measures TLS, not Nagle.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_serve_one, args=(connection, talk), daemon=True).start()


def _serve_one(connection: socket.socket, talk: Callable[[socket.socket], None]) -> None:
    with connection:
        try:
            talk(connection)
        except (OSError, TLSError, DemoError):
            # The client misses its reply, and tells.
            pass
