"""A server's TCP acknowledges the end of the handshake at once.

Nothing that a server says answers the client's Finished: its tickets wait for its first data, so that a client that
only shakes hands has nothing to read. That leaves TCP's acknowledgement, which waits for data to travel with, 40 ms on
Linux. And a client whose socket has Nagle's algorithm (RFC 896), as sockets have by default, waits for it before it
sends its first request. So each new connection of such a client would cost 40 ms for nothing.

Linux's TCP_QUICKACK (tcp(7)) says that nothing will come. Elsewhere delays are shorter, and there is no such word.
"""

from __future__ import annotations

import socket
from typing import Any

__all__ = ["acknowledge_now"]

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


def acknowledge_now(connection: Any) -> None:
    """Do it on a socket, or on what stands for one. What is no TCP socket is left alone."""
    if _QUICKACK is None or getattr(connection, "family", None) not in (socket.AF_INET, socket.AF_INET6):
        return
    try:
        connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
    except OSError:
        # It is gone, or only looks like TCP: whoever reads from it will find out.
        pass
