"""TLS over any trio stream.

An engine does no I/O, so this package is about tasks. Several may be in one stream at once: one sends, one receives,
any number wait for the handshake, one closes, and each can be cancelled at each ``await``. What keeps that simple:

1. Ciphertext belongs to the stream and not to the task that sealed it (:mod:`tlsprovider.trio.ciphertext`). A cancelled
   sender therefore leaves a whole stream: what it had sealed goes out before whatever is sent next. (Over a transport
   that cannot say how much it sent, see :mod:`tlsprovider.trio.carrier`, the sending half is lost and the receiving
   half lives on.)
2. Sealing never has an ``await`` between it and the outbox, so the order of sealing is that of the wire.
3. The handshake has a turn (:mod:`tlsprovider.trio.handshaking`): one task drives, the others wait, and if the driver
   is cancelled, the next one drives on.
4. A receiver sends only what its own progress needs, which is the last flight of the handshake. It does not wait
   behind a sender: two peers whose receivers wait for senders that wait for the other's receiver never end.
5. There is one ``checkpoint_if_cancelled`` on entry, before anything has happened, and a tick of the scheduler at the
   end only if nothing else gave one. Between data taken from the engine and its ``return`` no cancellation can strike.
6. ``aclose`` never waits for another task. It says close_notify if the send turn is free, and closes the transport,
   which wakes whoever is blocked in it; each of those hands its turn on to the next, who finds the stream closed.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar, final

import trio

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ClosedByPeer, MisuseError, TLSError, TruncatedError, UnsupportedByProvider, WantRead
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.trio.answers import address_of
from tlsprovider.trio.carrier import RECORD_SIZE, SEAL_SIZE, Carrier, TLSCarrier, carrier_over
from tlsprovider.trio.ciphertext import LAST_WORDS_SECONDS
from tlsprovider.trio.handshaking import Handshaking
from tlsprovider.trio.negotiated import Negotiated
from tlsprovider.trio.sides import engine_for

__all__ = ["TLSStream"]

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

UNREAD_LIMIT = 1024 * 1024
"""Bytes that unwrap() keeps for later when the peer says more before its close_notify."""


@final
class TLSStream(Handshaking, Negotiated, trio.abc.HalfCloseableStream, Generic[T_Stream]):
    """TLS over ``transport_stream``: what is sent is sealed, what is received was sealed by the peer that was verified.

    The handshake happens on first use, or when :meth:`do_handshake` is called. Nothing is sent by the constructor.

    :param transport_stream: any :class:`trio.abc.Stream`; fastest is a :class:`trio.SocketStream`.
    :param config: a :class:`~tlsprovider.ClientConfig`, or a :class:`~tlsprovider.ServerConfig` on the server's side.
    :param server_hostname: client: the name (or IP address) that the certificate must be for. Unicode is encoded with
        IDNA 2008, bytes are taken as they are.
    :param server_side: True for the side that was connected to.
    :param provider: the TLS implementation, by name or as an object; None: the default of the process.
    :param https_compatible: take the end of the transport for a proper end, and close without close_notify. For
        protocols that know by themselves where their data ends.
    :param initial_data: what was received from the peer before TLS began, if a protocol read too much.

    Errors: every method raises :exc:`trio.ClosedResourceError` after a close, :exc:`trio.BusyResourceError` when
    another task does the same, and :exc:`trio.BrokenResourceError` when the connection has failed. ``__cause__`` is
    then the :exc:`~tlsprovider.TLSError` that says why, if it was TLS that failed.

    Cancellation: a cancelled receive loses nothing. A cancelled :meth:`send_all` may have sent nothing, a part, or have
    left up to 128 KiB sealed; the latter goes out before whatever is sent next, and the stream stays whole. (The
    exception is a transport other than a SocketStream or TLSStream that was cancelled in its ``send_all``: nothing more
    can be sent then, while receiving goes on.) A cancelled handshake is taken up by the next call that needs it, unless
    a hook of the configuration was being awaited: the hook was cancelled, a handshake can't go on without its answer,
    and the stream is broken.
    """

    def __init__(
        self,
        transport_stream: T_Stream,
        config: ClientConfig | ServerConfig,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        *,
        provider: str | ITLSProvider | None = None,
        https_compatible: bool = False,
        initial_data: bytes | bytearray | memoryview = b"",
    ) -> None:
        below: trio.abc.Stream = transport_stream
        carrier: Carrier = TLSCarrier(below) if isinstance(below, TLSStream) else carrier_over(below)
        super().__init__(engine_for(config, server_hostname, server_side, provider), carrier)
        if server_side:
            self._engine.peer_address = address_of(transport_stream)
        if initial_data:
            self._engine.process_incoming(initial_data)
        self.transport_stream: T_Stream = transport_stream
        self.server_side = server_side
        self._https_compatible = https_compatible
        self._receiving = False
        self._sealed = 0
        """How many bytes of plaintext were sealed so far. What carries TLS over this stream asks for it."""
        self._unread = bytearray()
        self._used = False

    async def _enter(self) -> None:
        """The checkpoint before anything has happened. (send_all and receive_some have it spelled out.)"""
        self._used = True
        await trio.lowlevel.checkpoint_if_cancelled()

    # -- the handshake --------------------------------------------------------------------------------------------

    async def do_handshake(self) -> None:
        """Make sure that the handshake is complete, and that the peer can know it. Again and again: only a checkpoint.

        Any number of tasks may call this; one drives, all get the outcome. Cancellation: see the class.
        """
        self._check_open()
        await self._enter()
        waited = await self._handshake()
        if not await self._send_last_flight() and not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()

    # -- sending --------------------------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of ``data``; nothing but a checkpoint (and the handshake, at first) if it is empty."""
        # A view costs more than it saves where there is a single record.
        plaintext = data if type(data) is bytes and len(data) <= RECORD_SIZE else memoryview(data).cast("B")
        self._begin_sending()
        try:
            self._used = True
            await trio.lowlevel.checkpoint_if_cancelled()
            if not self._handshake_done:
                await self._handshake()
                self._check_sending()
            if len(self._outbox.unsent) >= SEAL_SIZE:
                # Cancelled sends have left much. Without this, one that is repeated would fill the memory.
                await self._flush()
                self._check_sending()
            position, end = 0, len(plaintext)
            while True:
                if position < end:
                    try:
                        count = self._engine.write(plaintext[position : position + SEAL_SIZE])
                    except TLSError as error:
                        await self._fail(error)
                    position += count
                    self._sealed += count
                if self._flush_nowait() or not await self._flush():
                    await trio.lowlevel.cancel_shielded_checkpoint()
                if position >= end:
                    return
                await trio.lowlevel.checkpoint_if_cancelled()
                self._check_sending()
        finally:
            self._sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until the transport might take data. Makes no handshake."""
        self._begin_sending()
        try:
            await self._send_turn.take()
            try:
                self._check_sending()
                await self.transport_stream.wait_send_all_might_not_block()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._check_open()
                raise
            finally:
                self._send_turn.give()
        finally:
            self._sending = False

    async def send_eof(self) -> None:
        """Say that nothing more will be sent (close_notify, RFC 9846 section 6.1). Receiving goes on."""
        await self._say(self._engine.shutdown, again=True)

    async def key_update(self, request_peer: bool = False) -> None:
        """Change the keys of what this side sends, and ask the peer to change its own (RFC 9846 section 4.7.3).

        Nobody has to: engines do it unasked before a key has protected too much.
        """
        await self._say(partial(self._engine.key_update, request_peer))

    async def _say(self, queue: Callable[[], object], again: bool = False) -> None:
        """Send what is no data, and what ``queue`` has the engine put into its outgoing bytes."""
        self._begin_sending(again)
        try:
            if not await self._say_after_the_handshake(queue):
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._sending = False

    async def _say_after_the_handshake(self, queue: Callable[[], object]) -> bool:
        """Whether other tasks had a turn."""
        await self._enter()
        waited = await self._handshake()
        try:
            queue()
        except UnsupportedByProvider:
            # The stream is as it was.
            raise
        except TLSError as error:
            await self._fail(error)
        return await self._flush() or waited

    # -- receiving ------------------------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Whatever the peer has sent, at least one byte and at most ``max_bytes`` (None: all that is there).

        ``b""`` when the peer has said that it sends no more. A connection that ends without saying so raises
        :exc:`trio.BrokenResourceError` from a :exc:`~tlsprovider.TruncatedError`, unless ``https_compatible``.
        """
        if max_bytes is not None:
            max_bytes = check_max_bytes(max_bytes)
        self._begin_receiving()
        try:
            self._used = True
            await trio.lowlevel.checkpoint_if_cancelled()
            waited = False
            try:
                if not self._handshake_done:
                    waited = await self._handshake()
                if self._outbox.sent < self._flight_end:
                    waited = await self._send_last_flight() or waited
                while True:
                    try:
                        data = self._take_unread(max_bytes) if self._unread else self._engine.read(max_bytes)
                        break
                    except WantRead:
                        waited = await self._carrier.receive(self._take) or waited
                    except TLSError as error:
                        await self._fail(error)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as problem:
                if not self._is_an_end(problem.__cause__):
                    self._check_open()
                    raise
                data = b""
            if not waited:
                await trio.lowlevel.cancel_shielded_checkpoint()
            return data
        finally:
            self._receiving = False

    def receive_nowait(self, max_bytes: int | None = None) -> bytes:
        """What :meth:`receive_some` would return at once; sends nothing.

        Raises :exc:`trio.WouldBlock` when nothing is there, and :exc:`trio.NeedHandshakeError` before the handshake is
        complete. A transport that is no SocketStream and no TLSStream can't be asked without waiting: over that, only
        what an earlier receive has left is there.
        """
        max_bytes = check_max_bytes(max_bytes)
        self._begin_receiving()
        try:
            self._negotiated()
            while True:
                try:
                    return self._take_unread(max_bytes) if self._unread else self._engine.read(max_bytes)
                except WantRead:
                    self._carrier.receive_nowait(self._take)
                except TLSError as error:
                    if self._is_an_end(error):
                        return b""
                    # The alert that the engine left goes out with the next call that may wait, or with aclose().
                    raise trio.BrokenResourceError(str(error)) from error
        finally:
            self._receiving = False

    def _begin_receiving(self) -> None:
        """Let one task receive and refuse a second one. Whoever got past this sets ``_receiving`` to False."""
        if self._receiving:
            raise trio.BusyResourceError("another task is currently receiving data on this TLSStream")
        if self._closed and not self._unread:
            self._check_open()
        self._receiving = True

    def _is_an_end(self, problem: BaseException | None) -> bool:
        return self._https_compatible and isinstance(problem, TruncatedError | ClosedByPeer)

    def _take_unread(self, max_bytes: int | None) -> bytes:
        data = bytes(self._unread[:max_bytes])
        del self._unread[:max_bytes]
        return data

    # -- the end --------------------------------------------------------------------------------------------------

    async def unwrap(self) -> tuple[T_Stream, bytes]:
        """End TLS and give the transport back: ``(transport_stream, bytes that were read from it beyond TLS)``.

        Sends close_notify and waits for the peer's. What the peer said before it, and nobody has read, can still be had
        from :meth:`receive_some`, up to 1 MiB: beyond that :exc:`~tlsprovider.errors.MisuseError` asks for reading
        first, and the stream goes on. A cancelled unwrap can be called again.
        """
        self._begin_receiving()
        try:
            self._begin_sending(again=True)
            try:
                return await self._unwrap()
            finally:
                self._sending = False
        finally:
            self._receiving = False

    async def _unwrap(self) -> tuple[T_Stream, bytes]:
        waited = await self._say_after_the_handshake(self._engine.shutdown)
        while not await self._read_to_the_end():
            waited = await self._feed() or waited
        if not waited:
            await trio.lowlevel.cancel_shielded_checkpoint()
        self._check_open()  # aclose() may have taken the transport meanwhile
        transport_stream, self._closed = self.transport_stream, True
        self.transport_stream = None  # type: ignore[assignment]  # as trio's SSLStream; nothing uses it any more
        return transport_stream, self._engine.trailing_bytes()

    async def _read_to_the_end(self) -> bool:
        """Keep what the peer has said; whether it has said close_notify."""
        try:
            while len(self._unread) < UNREAD_LIMIT:
                data = self._engine.read()
                if not data:
                    return True
                self._unread += data
        except WantRead:
            return False
        except TLSError as error:
            await self._fail(error)
        raise MisuseError(
            f"the peer has sent {len(self._unread)} bytes that nobody has read, and no close_notify yet:"
            " read them with receive_some(), then call unwrap() again"
        )

    async def aclose(self) -> None:
        """Say close_notify, don't wait for an answer, and close the transport.

        A stream that was never used makes its handshake first, so that the peer sees a proper end, and raises what that
        raises. With ``https_compatible``, after a failure, or while another task is in the middle of a handshake or of
        sending: only closes the transport. Tasks that are blocked in this stream get :exc:`trio.ClosedResourceError`.
        """
        self._unread.clear()
        if self._closed:
            await trio.lowlevel.checkpoint()
            return
        transport_stream = self.transport_stream
        try:
            if not self._https_compatible and not self._used:
                with suppress(trio.ClosedResourceError):  # by another task that closes as well
                    await self._handshake()
            # A forceful close must not look like a proper end.
            await trio.lowlevel.checkpoint_if_cancelled()
            self._closed = True
            await self._say_goodbye()
        except BaseException:
            self._closed = True
            await trio.aclose_forcefully(transport_stream)
            raise
        finally:
            self._stop_waiting_for_an_answer()
        await transport_stream.aclose()

    async def _say_goodbye(self) -> None:
        """Send close_notify, or the alert that a cancelled task has left."""
        patience: float | None = LAST_WORDS_SECONDS
        if self._engine.failure is None:
            if self._https_compatible:
                return
            if self._handshake_done:
                patience = None
            self._engine.shutdown()
        await self._say_last_words(patience)


def check_max_bytes(max_bytes: int | None) -> int | None:
    """What trio asks of the argument of receive_some. Raises TypeError and ValueError."""
    if max_bytes is not None:
        max_bytes = operator.index(max_bytes)
        if max_bytes < 1:
            raise ValueError("max_bytes must be >= 1")
    return max_bytes


# Libraries ask isinstance(stream, trio.SSLStream) to know whether a stream is secure and what is below it.
trio.SSLStream.register(TLSStream)
