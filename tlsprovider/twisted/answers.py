"""Awaiting the answer to a question in Twisted's way, and what only the transport knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from tlsprovider.questions import Question

__all__ = ["Pursuit", "address_of"]


class Pursuit:
    """Has one question answered with what its hook returned: a Deferred, a coroutine, or another awaitable.

    A question that somebody will answer by themselves (:data:`~tlsprovider.questions.LATER`) is only waited for.
    ``answered`` is called once, when the answer is there, or when its time is over; without a clock it never is.
    """

    __slots__ = ("_answered", "_deferred", "_limit", "_question")

    def __init__(self, question: Question[Any], clock: IReactorTime | None, answered: Callable[[], object]) -> None:
        self._question = question
        self._answered = answered
        self._limit: IDelayedCall | None = None
        self._deferred: Deferred[None] | None = None
        pending = question.pending
        if pending is not None:
            deferred = pending if isinstance(pending, Deferred) else Deferred.fromCoroutine(_await(pending))
            self._deferred = deferred.addBoth(self._settle)
        if clock is not None and question.time_limit is not None and not question.answered:
            self._limit = clock.callLater(question.time_limit, self._time_is_over)
        question.when_answered(self._done)

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        self._stop_clock()
        if self._deferred is not None:
            self._deferred.cancel()

    def _time_is_over(self) -> None:
        self._question.run_out_of_time()
        self.cancel()

    def _done(self) -> None:
        self._stop_clock()
        self._answered()

    def _stop_clock(self) -> None:
        limit, self._limit = self._limit, None
        if limit is not None and limit.active():
            limit.cancel()

    def _settle(self, result: object) -> None:
        question = self._question
        if question.answered:
            return
        if isinstance(result, Failure):
            assert result.value is not None
            question.fail(result.value)
        else:
            question.answer(result)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def address_of(transport: Any) -> tuple[str, int] | None:
    """``(host, port)`` of the peer; None where the transport has none, or is none of the internet."""
    peer = transport.getPeer() if hasattr(transport, "getPeer") else None
    return (peer.host, peer.port) if isinstance(peer, IPv4Address | IPv6Address) else None
