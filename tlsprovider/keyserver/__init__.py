"""Private keys in a process of their own, which signs handshakes for others over a Unix socket.

A front end that is broken into then has no key to lose: it can have handshakes signed as long as it is connected, and
nothing afterwards. ``tlsprovider keyserver`` is the process; :class:`KeyServer` is what a front end has of it, in the
blocking kind; :class:`tlsprovider.twisted.KeyServer` and :class:`tlsprovider.trio.KeyServer` wait in the way of their
framework. What is said over the socket is in :mod:`tlsprovider.keyserver.messages`.
"""

from __future__ import annotations

from tlsprovider.keyserver.client import KeyServer
from tlsprovider.keyserver.messages import KeyServerError

__all__ = ["KeyServer", "KeyServerError"]
