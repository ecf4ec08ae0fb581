"""Between the application and the transport: its producer, and what goes past the reactor to and from TCP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from twisted.internet._producer_helpers import _PullToPush
from twisted.internet.interfaces import IConsumer, IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["FULL_READ", "ProducerGate", "read_more", "send_now", "sends_now"]

SMALL: Final = 16_384
LARGE: Final = 131_072
MAX_LARGE_SENDS: Final = 2
FULL_READ: Final = 65536
"""So much is read by a TCP transport at a time; then there is more in its socket."""
MORE_READS: Final = 4
"""How often more is read in the same turn: enough for all that a peer sends in two, or what waits would grow old."""
MORE: Final = 131_000
"""A little less than 128 KiB: what is larger glibc takes from the system each time, and gives back."""


def sends_now(transport: object) -> bool:
    """Whether :func:`send_now` is for this transport: TCP itself, and not what ``startTLS`` has made of it."""
    return isinstance(transport, Connection) and not transport.TLS


def send_now(transport: Any, data: bytes, large_sends: int = 0) -> int:
    """``transport.write(data)``, but without waiting for the reactor to say that the socket takes it.

    Nearly always it does, as nothing was sent for a while; asking the reactor first takes longer than sending. What the
    socket doesn't take goes the usual way, and so does everything if anything is waiting already, or has gone wrong.

    ``large_sends`` is how many large pieces in a row were sent like this before, and so is what is returned. After a
    few the transport's buffer has its turn: it lets a producer pause, and everybody else's connections do something.
    """
    length = len(data)
    if length > SMALL:
        large_sends = (large_sends + 1) % (MAX_LARGE_SENDS + 1)
    if (
        (length <= SMALL or (large_sends and length <= LARGE))
        and transport.connected
        and not transport._tempDataBuffer
        and len(transport.dataBuffer) == transport.offset
    ):
        sent = transport.writeSomeData(data)
        if sent == length:
            return large_sends
        # Otherwise it may also be an exception, which the reactor will find as well.
        if isinstance(sent, int):
            data = data[sent:]
    transport.write(data)
    return large_sends


def read_more(transport: Any, wanted: Callable[[], bool]) -> Iterator[bytes]:
    """What else the transport's socket has, as long as it is ``wanted``, without waiting for the reactor to say so.

    It stops when there is nothing, and at the end, which the reactor finds as well when it looks again. A failure it
    would not find: a socket tells of it once.
    """
    for _ in range(MORE_READS):
        if not wanted():
            return
        try:
            data: bytes = transport.socket.recv(MORE)
        except BlockingIOError:
            return
        except OSError:
            transport.reactor.callLater(0, transport.connectionLost, Failure(CONNECTION_LOST))
            return
        if data:
            yield data
        if len(data) < MORE:
            return


@implementer(IPushProducer)
class ProducerGate:
    """What the transport gets to pause and resume in place of the producer.

    There are two reasons to pause: the transport is full, or the handshake is not complete, so that nothing can be
    sealed. The producer runs only while there is neither, and hears of changes only.

    A pull producer is asked again and again through the adapter that Twisted's own TLS uses for that.

    :ivar pulling: whether it is one.
    """

    def __init__(self, producer: Any, streaming: bool, consumer: IConsumer) -> None:
        self._producer = producer if streaming else _PullToPush(producer, consumer)
        self.pulling = not streaming
        self._producerPaused = False
        self._full = False
        self._held = False
        self._stopped = False

    def start(self) -> None:
        """Begin to ask a pull producer. After registration: from now on it may write."""
        if self.pulling:
            self._producer.startStreaming()

    def hold(self) -> None:
        """Pause until :meth:`release`: the handshake is not complete."""
        self._held = True
        self._update()

    def release(self) -> None:
        """The handshake is complete."""
        self._held = False
        self._update()

    def pauseProducing(self) -> None:
        self._full = True
        self._update()

    def resumeProducing(self) -> None:
        self._full = False
        self._update()

    def stopProducing(self) -> None:
        """Once, though both the transport and the TLS above it find out that the connection is lost."""
        if not self._stopped:
            self._stopped = True
            self._producer.stopProducing()

    def stop_pulling(self) -> None:
        """The producer was unregistered and is not to be asked any more."""
        if self.pulling:
            self._producer.stopStreaming()

    def _update(self) -> None:
        paused = self._full or self._held
        if paused is not self._producerPaused:
            self._producerPaused = paused
            if paused:
                self._producer.pauseProducing()
            else:
                self._producer.resumeProducing()
