""":class:`TLSProtocol`: TLS as a Twisted transport. How it works is told in :mod:`tlsprovider.twisted.connection`."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    ILoggingContext,
    INegotiated,
    IProducer,
    IProtocol,
    IPushProducer,
    ISystemHandle,
    ITransport,
)
from zope.interface import implementer

from tlsprovider.twisted.connection import SEAL_AT, TLSConnection
from tlsprovider.twisted.flow import ProducerGate

if TYPE_CHECKING:
    from OpenSSL.crypto import X509

    from tlsprovider.twisted.handle import Handle


__all__ = ["TLSProtocol"]


@implementer(ISystemHandle, INegotiated, ITransport, IConsumer, IPushProducer, IHalfCloseableProtocol)
class TLSProtocol(TLSConnection):
    """One TLS connection over any stream transport; :class:`~tlsprovider.twisted.TLSFactory` makes them.

    It provides, besides its own interfaces, those of the transport below, and whatever attribute is not found here is
    looked up there (``setTcpNoDelay``, ``socket``, ``reactor``...).

    ``connectionLost`` of the wrapped protocol gets the :exc:`~tlsprovider.errors.TLSError` that ended the connection;
    ``ConnectionLost`` when the transport ended without close_notify, so that what was received may have been cut
    short; ``TimeoutError`` when the handshake took too long; otherwise the transport's reason.

    :ivar wrappedProtocol: the application's protocol; None once the connection is lost.
    :ivar disconnecting: true once the connection is on its way to its end.
    :ivar handshakeTimeout: seconds for the handshake; None for no limit.
    :ivar closeTimeout: seconds to wait for the peer's close_notify; 0 to close right after ours, None for no limit.
    """

    _handle: Handle | None = None

    if not TYPE_CHECKING:

        @property
        def __class__(self) -> type:
            """For ``isinstance``: programs ask whether a transport is of Twisted's TLS, and use what it then has."""
            twisteds = sys.modules.get("twisted.protocols.tls")
            return type(self) if twisteds is None else twisteds.BufferingTLSTransport

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send ``data``; before the handshake is complete it is kept until then.

        After ``loseConnection`` it is dropped, unless a producer is registered. Raises TypeError if it is not bytes.
        """
        if type(data) is not bytes:
            data = _as_bytes(data)
        if not self._accepting or not data:
            return
        self._pending.append(data)
        self._pending_size += len(data)
        if not self._handshake_done:
            if self._producer is not None:
                self._producer.hold()
        elif self._pending_size >= SEAL_AT:
            self._send()
        elif not self._driving:
            self._schedule()

    def writeSequence(self, iovec: Iterable[bytes]) -> None:
        self.write(b"".join(iovec))

    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Raises RuntimeError if there is a producer already. One that comes too late is stopped."""
        if self._producer is not None:
            raise RuntimeError(f"{producer} can't be registered: {self._producer} was never unregistered")
        if self._finished or self._engine is None or self._engine.close_sent:
            producer.stopProducing()
            return
        gate = ProducerGate(producer, streaming, self)
        self.transport.registerProducer(gate, True)
        self._producer = gate
        self._accepting = True
        gate.start()

    def unregisterProducer(self) -> None:
        """Also what the producer wrote just before this is sent, if the connection is being closed."""
        gate, self._producer = self._producer, None
        if gate is None:
            return
        gate.stop_pulling()
        self.transport.unregisterProducer()
        if self._closing:
            self._close()

    def stopConsuming(self) -> None:
        self.unregisterProducer()
        self.loseConnection()

    # -- reading ------------------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        """Deliver nothing until ``resumeProducing``, also of what is decrypted already."""
        self._paused = True
        self._steer()

    def resumeProducing(self) -> None:
        """Deliver again; what was held back comes in a turn of its own, not within this call."""
        self._paused = False
        if self._undelivered:
            self._schedule()
        self._steer()

    def stopProducing(self) -> None:
        self.loseConnection()

    # -- waiting for the handshake ------------------------------------------------------------------------------------

    def whenHandshakeCompleted(self) -> Deferred[IProtocol]:
        """A Deferred that fires with the wrapped protocol when the handshake is complete.

        It fails with the reason that ``connectionLost`` gets, when that comes first. Cancelling it aborts the
        connection.
        """
        deferred: Deferred[IProtocol] = Deferred(self._handshake_cancelled)
        if self._gone and self._reason is not None:
            deferred.errback(self._reason)
        elif self._handshake_done:
            deferred.callback(self.wrappedProtocol)
        else:
            self._waiting = [*(self._waiting or ()), deferred]
        return deferred

    def _handshake_cancelled(self, deferred: Deferred[IProtocol]) -> None:
        assert self._waiting is not None
        self._waiting.remove(deferred)
        deferred.errback(ConnectingCancelledError(self.transport.getPeer()))
        self.abortConnection()

    # -- what there is to know ----------------------------------------------------------------------------------------

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """The application protocol that was negotiated by ALPN, or None."""
        name = None if self._engine is None else self._engine.alpn
        return None if name is None else name.encode("latin-1")

    def getHandle(self) -> Any:
        """All there is to know about the connection; None before there is any.

        With :class:`~tlsprovider.twisted.TLSFactory` it is a :class:`~tlsprovider.twisted.handle.Handle`: it answers as
        pyOpenSSL's connection would, and has the attributes of the engine, which itself is in ``engine``. With a
        factory of Twisted's own it is what the connection creator made.
        """
        if self._connection is not None:
            return self._connection
        if self._handle is None and self._engine is not None:
            # Few ask, so it is made only then.
            from tlsprovider.twisted.handle import Handle

            self._handle = Handle(self._engine)
        return self._handle

    @property
    def _tlsConnection(self) -> Any:
        """As Twisted's own has it: private, and asked for by applications all the same."""
        return self.getHandle()

    def getPeerCertificate(self) -> X509 | None:
        """The peer's certificate as an object of pyOpenSSL, as applications of Twisted expect it; or None.

        ``getHandle().peer_certificates`` has the whole chain as objects of ``cryptography``.
        """
        chain: tuple[Any, ...] = () if self._engine is None else self._engine.peer_certificates
        if not chain:
            return None
        from OpenSSL.crypto import X509

        return X509.from_cryptography(chain[0])

    def getPeer(self) -> Any:
        return self.transport.getPeer()

    def getHost(self) -> Any:
        return self.transport.getHost()

    def logPrefix(self) -> str:
        wrapped = self.wrappedProtocol
        prefix = wrapped.logPrefix() if ILoggingContext.providedBy(wrapped) else type(wrapped).__name__
        return f"{prefix} (TLS)"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)


def _as_bytes(data: object) -> bytes:
    """A copy of what may change after the call; anything else is refused while its caller can still be seen."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise TypeError(f"Data must be bytes, not {type(data).__name__}")
