"""How bytes get to and from the stream below.

trio says of ``Stream.send_all`` that after a cancellation nobody knows how much was sent. For TLS that is fatal: a
record that went out in part makes all that follows unreadable. A *carrier* therefore sends out of an :class:`Outbox`
and advances it by what really left, so a cancelled task leaves behind exactly what is still to be sent. That is exact
over a :class:`trio.SocketStream`, whose socket can be asked to send "some", and over another TLSStream. Over any other
stream it is not, and the outbox is then left ``in_doubt``: nothing more can be sent, while reading goes on.

Where the system allows it, a socket is read and written directly: trio's own methods take longer than the sealing of a
small message, and make a new object of 128 KiB for each read.
"""

from __future__ import annotations

import errno
import functools
import os
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias

import trio

if TYPE_CHECKING:
    from tlsprovider.trio.stream import TLSStream

__all__ = ["Carrier", "DescriptorCarrier", "Outbox", "SocketCarrier", "StreamCarrier", "TLSCarrier", "carrier_over"]

RECORD_SIZE = 16 * 1024
"""Plaintext bytes that fit into one record (RFC 9846 section 5.1)."""
SEAL_SIZE = 8 * RECORD_SIZE
"""Plaintext bytes that are sealed and sent at once: eight full records."""
RECEIVE_SIZE = 8 * (5 + RECORD_SIZE + 1 + 16)
"""Bytes asked of a socket at once: eight full records, with header, content type and tag.

A peer that sends those is then read without a rest that belongs to nothing. More was not faster, less was slower.
"""

Take: TypeAlias = Callable[[bytes | bytearray | memoryview], object]


class Outbox:
    """Bytes that have to leave in order; ``queued`` and ``sent`` count them from the beginning of the connection."""

    __slots__ = ("in_doubt", "queued", "sent", "unsent")

    def __init__(self) -> None:
        self.unsent: bytes | memoryview = b""
        self.queued = 0
        self.sent = 0
        self.in_doubt = False

    def __len__(self) -> int:
        return self.queued - self.sent

    def append(self, data: bytes) -> None:
        if data:
            # Joining copies, but only what a cancelled task left, or the handshake's last flight before the first data.
            self.unsent = b"".join((self.unsent, data)) if self.unsent else data
            self.queued += len(data)

    def head(self, size: int) -> bytes | memoryview:
        """The next bytes to leave, ``size`` of them at most."""
        return memoryview(self.unsent)[:size] if size < len(self.unsent) else self.unsent

    def advance(self, count: int) -> None:
        """Forget the first ``count`` bytes: they have left."""
        self.unsent = memoryview(self.unsent)[count:] if count < len(self.unsent) else b""
        self.sent += count


class Carrier(Protocol):
    """These methods raise what those of a trio stream raise.

    ``send`` and ``receive`` say whether they gave other tasks a turn. They may return without, which makes them no
    checkpoint: that is for the stream to add, once for all that it does in one call.
    """

    async def send(self, outbox: Outbox, size: int) -> bool:
        """Send the first ``size`` bytes of the outbox, which holds that many."""

    def send_nowait(self, outbox: Outbox) -> None:
        """Send what can be sent without waiting; nothing where that can't be known."""

    async def receive(self, take: Take) -> bool:
        """Hand whatever arrives next to ``take``, which must not keep it; something empty at the end.

        A cancellation loses nothing.
        """

    def receive_nowait(self, take: Take) -> None:
        """As ``receive``. Raises trio.WouldBlock if nothing is there, or if that can't be known without waiting."""


def carrier_over(stream: trio.abc.Stream) -> Carrier:
    """The best carrier for a stream; another TLSStream has its own (see there)."""
    if not isinstance(stream, trio.SocketStream):
        return StreamCarrier(stream)
    # os.write takes no sockets on Windows, and there is no os.readv.
    direct = hasattr(os, "readv") and isinstance(stream.socket, class_of_real_sockets())
    return DescriptorCarrier(stream) if direct else SocketCarrier(stream)


@functools.cache
def class_of_real_sockets() -> type:
    """What trio's own sockets are. Others come from trio.socket.set_custom_socket_factory and have no descriptor."""
    with socket.socket() as one:
        return type(trio.socket.from_stdlib_socket(one))


class Scratch(threading.local):
    """Where sockets are read into. All streams of a thread share it, since nothing waits between filling and use."""

    def __init__(self) -> None:
        self.buffers = [bytearray(RECEIVE_SIZE)]
        self.view = memoryview(self.buffers[0])


SCRATCH = Scratch()


class DescriptorCarrier:
    """Over a :class:`trio.SocketStream`, past it: system calls on its file descriptor.

    The number is asked for before each call. One that was kept might belong to another connection by then.
    """

    __slots__ = ("socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        self.socket = stream.socket

    async def send(self, outbox: Outbox, size: int) -> bool:
        end = outbox.sent + size
        waited = False
        while True:
            try:
                outbox.advance(os.write(self.socket.fileno(), outbox.head(end - outbox.sent)))
            except BlockingIOError:
                pass
            except OSError as error:
                outbox.in_doubt = True
                raise_for(error)
            if outbox.sent >= end:
                return waited
            # Less than all means that the socket is full.
            await trio.lowlevel.wait_writable(self.socket.fileno())
            waited = True

    def send_nowait(self, outbox: Outbox) -> None:
        try:
            outbox.advance(os.write(self.socket.fileno(), outbox.unsent))
        except BlockingIOError:
            pass
        except OSError as error:
            outbox.in_doubt = True
            raise_for(error)

    async def receive(self, take: Take) -> bool:
        waited = False
        while not self._receive(take):
            await trio.lowlevel.wait_readable(self.socket.fileno())
            waited = True
        return waited

    def receive_nowait(self, take: Take) -> None:
        if not self._receive(take):
            raise trio.WouldBlock

    def _receive(self, take: Take) -> bool:
        """Whether something was there."""
        try:
            count = os.readv(self.socket.fileno(), SCRATCH.buffers)
        except BlockingIOError:
            return False
        except OSError as error:
            raise_for(error)
        take(SCRATCH.view[:count])
        return True


class SocketCarrier:
    """Over a :class:`trio.SocketStream`, in trio's way: for Windows, and for sockets that are simulated."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        self._socket = stream.socket

    async def send(self, outbox: Outbox, size: int) -> bool:
        while size:
            try:
                sent = await self._socket.send(outbox.head(size))
            except OSError as error:
                outbox.in_doubt = True
                raise_for(error)
            outbox.advance(sent)
            size -= sent
        return True

    def send_nowait(self, outbox: Outbox) -> None:
        pass

    async def receive(self, take: Take) -> bool:
        try:
            data = await self._socket.recv(RECEIVE_SIZE)
        except OSError as error:
            raise_for(error)
        take(data)
        return True

    def receive_nowait(self, take: Take) -> None:
        raise trio.WouldBlock


def raise_for(error: OSError) -> NoReturn:
    """What trio's SocketStream makes of an error of its socket."""
    if error.errno in (errno.EBADF, errno.ENOTSOCK):
        raise trio.ClosedResourceError("the socket below was closed already") from None
    raise trio.BrokenResourceError(f"the connection below is broken: {error}") from error


class StreamCarrier:
    """Over any stream."""

    __slots__ = ("_stream",)

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream

    async def send(self, outbox: Outbox, size: int) -> bool:
        # Here a cancellation still costs nothing; once the stream has the bytes, only its return says that they left.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            await self._stream.send_all(outbox.head(size))
        except BaseException:
            outbox.in_doubt = True
            raise
        outbox.advance(size)
        return True

    def send_nowait(self, outbox: Outbox) -> None:
        pass

    async def receive(self, take: Take) -> bool:
        take(await self._stream.receive_some())
        return True

    def receive_nowait(self, take: Take) -> None:
        raise trio.WouldBlock


class TLSCarrier:
    """TLS in TLS: what the stream below has sealed is in its own outbox, hence not lost either.

    It has not left before that is empty, though. So what was handed down when a task was cancelled is remembered, and
    the next task first sees it out.
    """

    __slots__ = ("_handed", "_stream")

    def __init__(self, stream: TLSStream[trio.abc.Stream]) -> None:
        self._stream = stream
        self._handed = 0

    async def send(self, outbox: Outbox, size: int) -> bool:
        stream = self._stream
        while size > 0:
            before = stream._sealed
            try:
                # Never more than is sealed at once: it is handed down whole or not at all.
                await stream.send_all(b"" if self._handed else outbox.head(min(size, SEAL_SIZE)))
            except Exception:
                outbox.in_doubt = True
                raise
            finally:
                self._handed += stream._sealed - before
            outbox.advance(self._handed)
            size -= self._handed
            self._handed = 0
        return True

    def send_nowait(self, outbox: Outbox) -> None:
        pass

    async def receive(self, take: Take) -> bool:
        take(await self._stream.receive_some())
        return True

    def receive_nowait(self, take: Take) -> None:
        take(self._stream.receive_nowait())
