"""How the tasks in one TLSStream get through its handshake.

The handshake has a turn. Whoever has it drives; the others wait for it and look again when they get it: the handshake
is done, or has failed (they raise the same), or its driver was cancelled (they drive on).
"""

from __future__ import annotations

import trio

from tlsprovider.errors import TLSError, WantRead
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import Question, WantAnswer
from tlsprovider.quick_ack import acknowledge_now
from tlsprovider.trio.answers import pursue
from tlsprovider.trio.carrier import Carrier
from tlsprovider.trio.ciphertext import HALF_SENT, Ciphertext
from tlsprovider.trio.turns import Turn

__all__ = ["Handshaking"]


class Handshaking(Ciphertext):
    """Drives the engine's handshake over its ciphertext, and awaits the answers to its questions."""

    def __init__(self, engine: IEngine, carrier: Carrier) -> None:
        super().__init__(engine, carrier)
        self._handshake_turn = Turn()
        self._handshake_done = False
        self._handshake_lost: str | None = None
        self._flight_end = 0
        """Where in the outbox our last flight of the handshake ends; the peer can't answer before it is out."""
        self._answering: trio.CancelScope | None = None

    async def _handshake(self) -> bool:
        """Drive the handshake to its end, or wait for the task that does; whether other tasks had a turn.

        The last flight may remain in the outbox: so a client's Finished travels with its first data.
        """
        if self._handshake_done:
            return False
        waited = await self._handshake_turn.take()
        try:
            while not self._handshake_done:
                waited = await self._step() or waited
        finally:
            self._handshake_turn.give()
        return waited

    async def _step(self) -> bool:
        """Let the engine go on, and get it what it wants; whether other tasks had a turn."""
        self._check_open()
        if self._handshake_lost is not None or self._outbox.in_doubt:
            raise trio.BrokenResourceError(f"the handshake was broken off: {self._handshake_lost or HALF_SENT}")
        question = None
        try:
            self._engine.do_handshake()
        except WantRead:
            pass
        except WantAnswer as want:
            question = want.question
        except TLSError as error:
            await self._fail(error)
        else:
            self._outbox.append(self._engine.process_outgoing())
            self._flight_end = self._outbox.queued
            self._handshake_done = True
            if self._engine.is_server and not self._engine.pending:
                # Where a request came with the Finished, its answer acknowledges both.
                acknowledge_now(getattr(self._carrier, "socket", None))
            return False
        try:
            waited = await self._flush()
            if question is None:
                return await self._feed() or waited
        except Exception as problem:  # not a cancellation, after which the next task can go on
            self._handshake_lost = str(problem) or type(problem).__name__
            raise
        await self._wait_for_answer(question)
        return waited

    async def _send_last_flight(self) -> bool:
        """Send what the peer needs before it can say anything, unless somebody is at it; whether others had a turn."""
        if self._outbox.sent >= self._flight_end or self._send_turn.taken:
            return False
        return await self._flush(self._flight_end)

    # -- questions ------------------------------------------------------------------------------------------------

    async def _wait_for_answer(self, question: Question[object]) -> None:
        with trio.CancelScope() as self._answering:
            await pursue(question, self._engine, self._feed)
        self._answering = None
        self._check_open()

    def _stop_waiting_for_an_answer(self) -> None:
        """For aclose(): the task that waits finds the stream closed."""
        if self._answering is not None:
            self._answering.cancel()
