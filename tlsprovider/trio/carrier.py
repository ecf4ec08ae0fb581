"""How bytes get to and from the stream below.

trio says of ``Stream.send_all`` that after a cancellation nobody knows how much was sent. For TLS that is fatal: a
record that went out in part makes all that follows unreadable. A *carrier* therefore sends out of an :class:`Outbox`
and advances it by what really left, so a cancelled task leaves behind exactly what is still to be sent. That is exact
over a :class:`trio.SocketStream`, whose socket can be asked to send "some", and over another TLSStream. Over any other
stream it is not, and the outbox is then left ``in_doubt``: nothing more can be sent, while reading goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn, Protocol

import trio

if TYPE_CHECKING:
    from tlsprovider.trio.stream import TLSStream

__all__ = ["Carrier", "Outbox", "SocketCarrier", "StreamCarrier", "TLSCarrier"]

RECEIVE_SIZE = 128 * 1024
"""Bytes asked of a socket at once: eight full records. More was not faster, less was slower."""


class Outbox:
    """Bytes that have to leave in order. ``queued`` and ``sent`` count from the beginning of the connection."""

    __slots__ = ("_unsent", "in_doubt", "queued", "sent")

    def __init__(self, data: bytes | bytearray | memoryview = b"") -> None:
        self._unsent = memoryview(data).cast("B")
        self.queued = len(self._unsent)
        self.sent = 0
        self.in_doubt = False

    def __len__(self) -> int:
        return self.queued - self.sent

    def append(self, data: bytes) -> None:
        if data:
            # Joining copies, but only what a cancelled task left, or the handshake's last flight before the first data.
            self._unsent = memoryview(b"".join((self._unsent, data)) if self._unsent else data)
            self.queued += len(data)

    def head(self, size: int) -> memoryview:
        """The next bytes to leave, ``size`` of them at most."""
        return self._unsent[:size]

    def advance(self, count: int) -> None:
        """Forget the first ``count`` bytes: they have left."""
        self._unsent = self._unsent[count:] if count < len(self._unsent) else memoryview(b"")
        self.sent += count


class Carrier(Protocol):
    """Both methods are checkpoints, and raise what the methods of a trio stream raise."""

    async def send(self, outbox: Outbox, size: int) -> None:
        """Send at least one byte and at most ``size`` from the outbox, which holds that many."""

    async def receive(self) -> bytes | bytearray:
        """Whatever arrives next; empty at the end. Loses nothing when it is cancelled."""


class SocketCarrier:
    """Over a :class:`trio.SocketStream`, using its socket: partial sends are known and reads can be large."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket

    async def send(self, outbox: Outbox, size: int) -> None:
        try:
            outbox.advance(await self._socket.send(outbox.head(size)))
        except OSError as error:
            outbox.in_doubt = True
            self._raise(error)

    async def receive(self) -> bytes:
        try:
            return await self._socket.recv(RECEIVE_SIZE)
        except OSError as error:
            self._raise(error)

    def _raise(self, error: OSError) -> NoReturn:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("the socket below was closed already") from None
        raise trio.BrokenResourceError(f"the connection below is broken: {error}") from error


class StreamCarrier:
    """Over any stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send(self, outbox: Outbox, size: int) -> None:
        # Here a cancellation still costs nothing; once the stream has the bytes, only its return says that they left.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._stream.send_all(outbox.head(size))
        except BaseException:
            outbox.in_doubt = True
            raise
        outbox.advance(size)

    async def receive(self) -> bytes | bytearray:
        return await self._stream.receive_some()


class TLSCarrier:
    """TLS in TLS: what the stream below has sealed is in its own outbox, hence not lost either.

    It has not left before that is empty, though. So what was handed down when a task was cancelled is remembered, and
    the next task first sees it out.
    """

    __slots__ = ("_handed", "_stream")

    def __init__(self, stream: TLSStream[trio.abc.Stream]) -> None:
        self._stream = stream
        self._handed: Outbox | None = None

    async def send(self, outbox: Outbox, size: int) -> None:
        if self._handed is None:
            self._handed = Outbox(outbox.head(size))
        try:
            await self._stream._send_from(self._handed)
        except Exception:
            outbox.in_doubt = True
            raise
        outbox.advance(self._handed.queued)
        self._handed = None

    async def receive(self) -> bytes:
        return await self._stream.receive_some()
