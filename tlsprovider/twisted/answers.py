"""Awaiting the answer to a question in Twisted's way."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from tlsprovider.questions import Question

__all__ = ["pursue"]


def pursue(question: Question[Any]) -> Deferred[None] | None:
    """Have the question answered with what its hook returned: a Deferred, a coroutine, or another awaitable.

    Returns a Deferred that never fails; cancel it when the answer is not wanted any more. None for a question that
    somebody will answer by themselves (:data:`~tlsprovider.questions.LATER`).
    """
    pending = question.pending
    if pending is None:
        return None
    deferred = pending if isinstance(pending, Deferred) else Deferred.fromCoroutine(_await(pending))
    return deferred.addBoth(_answer, question)


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _answer(result: object, question: Question[Any]) -> None:
    if question.answered:
        return
    if isinstance(result, Failure):
        assert result.value is not None
        question.fail(result.value)
    else:
        question.answer(result)
