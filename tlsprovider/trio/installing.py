"""Our classes under trio's names, and back."""

from __future__ import annotations

from typing import Final

import trio

__all__ = ["TRIOS_LISTENER", "TRIOS_STREAM", "install", "uninstall"]

TRIOS_STREAM: Final = trio.SSLStream
TRIOS_LISTENER: Final = trio.SSLListener


def install() -> None:
    """Let ``trio.SSLStream`` and ``trio.SSLListener`` be ours, for code that makes streams itself; in all this process.

    Called with an ``ssl_context`` of :mod:`tlsprovider.sslcontext`, or with a configuration, they make streams of ours;
    with any other context trio's, as before. So do trio's helpers, such as ``trio.serve_ssl_over_tcp``. Do it before
    modules are imported that say ``from trio import SSLStream``; again: no change. :func:`uninstall` is the way back.
    """
    from tlsprovider.trio.drop_in import SSLListener, SSLStream

    trio.SSLStream = SSLStream  # type: ignore[misc, assignment]
    trio.SSLListener = SSLListener  # type: ignore[misc, assignment]


def uninstall() -> None:
    """Give trio its own classes back. Streams and listeners that were made meanwhile stay what they are."""
    trio.SSLStream = TRIOS_STREAM  # type: ignore[misc]
    trio.SSLListener = TRIOS_LISTENER  # type: ignore[misc]
