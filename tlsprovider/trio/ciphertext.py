"""The lower half of a TLSStream: ciphertext to and from the transport, whoever asked for it.

Sealed bytes wait in the engine and then in the outbox, which belong to the stream, until the task that has the send
turn has really sent them. Taking them from the engine and putting them into the outbox have no ``await`` between them,
so the order of records on the wire is the order of sealing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NoReturn

import trio

from tlsprovider.errors import TLSError
from tlsprovider.interfaces import IEngine
from tlsprovider.trio.carrier import Carrier, Outbox
from tlsprovider.trio.turns import Turn

__all__ = ["Ciphertext"]

LAST_WORDS_SECONDS = 1.0
"""How long a failed stream tries to deliver its alert."""
HALF_SENT = "an earlier send was cancelled or failed half-way, so nothing more can be sent"
NO_FAILURE_OF_OURS = (trio.BrokenResourceError, trio.BusyResourceError, trio.ClosedResourceError)
"""What may stop last words: the peer is gone, or somebody else uses or closes the transport."""


class Ciphertext:
    """An engine, the carrier below it, and what is on its way between them."""

    def __init__(self, engine: IEngine, carrier: Carrier) -> None:
        self._engine = engine
        self._carrier = carrier
        self._outbox = Outbox()
        self._send_turn = Turn()
        self._sending = False
        self._closed = False

    # -- may we? --------------------------------------------------------------------------------------------------

    def _begin_sending(self, again: bool = False) -> None:
        """Let one task send, if the stream can, and refuse a second one as trio.abc asks for.

        Whoever got past this sets ``_sending`` to False in the end. ``again``: see :meth:`_check_sending`.
        """
        if self._sending:
            raise trio.BusyResourceError("another task is currently sending data on this TLSStream")
        self._check_sending(again)
        self._sending = True

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this TLSStream was closed")

    def _check_sending(self, again: bool = False) -> None:
        """``again``: sending close_notify a second time is allowed, data after it is not."""
        if self._closed:
            self._check_open()
        if self._outbox.in_doubt:
            raise trio.BrokenResourceError(HALF_SENT)
        failure = self._engine.failure
        if failure is not None:
            raise trio.BrokenResourceError(str(failure)) from failure
        if self._engine.close_sent and not again:
            raise trio.ClosedResourceError("can't send data after sending EOF")

    # -- to the transport -----------------------------------------------------------------------------------------

    async def _flush(self, end: int | None = None) -> bool:
        """Send what is outgoing, up to the position ``end`` (None: all of it); whether other tasks had a turn."""
        turn = self._send_turn
        waited = not turn.take_nowait()
        if waited:
            await turn.take()
        try:
            if waited:
                self._check_open()
            outbox = self._outbox
            while True:
                outbox.append(self._engine.process_outgoing())
                remaining = (outbox.queued if end is None else end) - outbox.sent
                if remaining <= 0:
                    return waited
                if outbox.in_doubt:
                    raise trio.BrokenResourceError(HALF_SENT)
                if not await self._carrier.send(outbox, remaining):
                    return waited  # nobody can have added anything
                waited = True
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._check_open()
            raise
        finally:
            turn.give()

    def _flush_nowait(self) -> bool:
        """Send what is outgoing, if that needs no waiting; whether all of it has left.

        Nearly always it has. There is no ``await`` in here, so the send turn has to be free but needn't be taken.
        """
        outbox = self._outbox
        if self._send_turn.taken or outbox.in_doubt:
            return False
        outbox.append(self._engine.process_outgoing())
        if outbox.unsent:
            self._carrier.send_nowait(outbox)
        return not outbox.unsent

    async def _say_last_words(self, seconds: float | None) -> None:
        """Try to send what is left, for so long (None: no limit), unless another task is sending: it takes them along.

        The peer may have gone already. That is no error: both may close at the same time.
        """
        if self._outbox.in_doubt or self._send_turn.taken:
            return
        with suppress(*NO_FAILURE_OF_OURS):
            if seconds is None:
                await self._flush()
            else:
                with trio.move_on_after(seconds):
                    await self._flush()

    async def _fail(self, error: TLSError) -> NoReturn:
        """Deliver the alert that the engine left, if that is possible at once or soon, and raise."""
        if self._engine.failure is not None:
            await self._say_last_words(LAST_WORDS_SECONDS)
        raise trio.BrokenResourceError(str(error)) from error

    # -- from the transport ---------------------------------------------------------------------------------------

    async def _feed(self) -> bool:
        """Give the engine what arrives next; whether other tasks had a turn."""
        try:
            return await self._carrier.receive(self._take)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._check_open()
            raise

    def _take(self, data: bytes | bytearray | memoryview) -> None:
        if data:
            self._engine.process_incoming(data)
        else:
            self._check_open()
            self._engine.process_eof()
