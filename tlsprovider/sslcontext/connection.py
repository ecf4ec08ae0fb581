"""One connection behind an ``ssl.SSLObject`` or ``ssl.SSLSocket``; see :mod:`tlsprovider.sslcontext.view`.

There are two kinds: :class:`~tlsprovider.sslcontext.memory.MemoryConnection` and
:class:`~tlsprovider.sslcontext.sockets.SocketConnection`. Code written for ``ssl`` can't wait for a decision. So a hook
of the configuration has to answer at once: what it would have waited for is refused, and the handshake fails with that.
"""

from __future__ import annotations

import inspect
from typing import Any

from tlsprovider.errors import MisuseError
from tlsprovider.questions import Question
from tlsprovider.sslcontext.side import Side

__all__ = ["Buffer", "Connection", "refuse_to_wait"]

Buffer = bytes | bytearray | memoryview


class Connection(Side):
    """What CPython's ``SSLObject`` and ``SSLSocket`` call ``_sslobj``."""

    def read(self, size: int, buffer: bytearray | memoryview | None = None) -> bytes | int:
        """``SSLObject.read``: bytes, or a count if there is a buffer; nothing at the end."""
        if buffer is None:
            if size < 0:
                raise ValueError("size should not be negative")
            return self._read(size) if size else b""
        with memoryview(buffer) as view, view.cast("B") as target:
            size = size if 0 < size < len(target) else len(target)
            data = self._read(size) if size else b""
            target[: len(data)] = data
        return len(data)

    def _read(self, size: int) -> bytes:
        """At least one byte, nothing at the end; raises the exceptions of ``ssl``."""
        raise NotImplementedError


def refuse_to_wait(question: Question[Any]) -> None:
    """The next ``do_handshake()`` tells the peer and us."""
    pending, question.pending = question.pending, None
    if inspect.iscoroutine(pending):
        pending.close()
    question.fail(
        MisuseError(
            f"the hook for {type(question).__name__} wants to wait, which users of an ssl.SSLContext can't:"
            " let it answer at once, or use the streams and endpoints of tlsprovider"
        )
    )
