"""Awaiting the answer to a question in trio's way.

While a hook works, the peer is listened to: a peer that leaves cancels the hook, so that nobody works for nobody. What
it sends meanwhile waits in the engine, up to the engine's own limit; then listening stops, which pauses the peer, and
only the limit of time is left to end the wait.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from tlsprovider.errors import TLSError
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import Question, WantAnswer

__all__ = ["address_of", "pursue"]


async def pursue(question: Question[Any], engine: IEngine, feed: Callable[[], Awaitable[object]]) -> None:
    """Wait until ``question`` has its answer, or until the peer is gone, of which the engine then knows.

    ``feed`` gives the engine what arrives next; what it raises is raised. A cancellation cancels the hook as well, and
    counts as the answer: the handshake can't go on without one.
    """
    trouble: list[Exception] = []

    async def listen() -> None:
        try:
            while engine.wants_input:
                await feed()
                if question.answered:
                    return
                if _has_ended(engine):
                    break
            else:
                return
        except Exception as problem:
            trouble.append(problem)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            limit = math.inf if question.time_limit is None else question.time_limit
            with trio.move_on_after(limit) as time:
                await _take_answer(question)
            if time.cancelled_caught and not question.answered:
                question.run_out_of_time()
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # Only the hook can have raised; a nursery wraps even that.
        raise group.exceptions[0] from None
    finally:
        if question.pending is not None and not question.answered and engine.failure is None:
            # A new exception: trio's own would keep the frames of the cancelled task, and their secrets, alive.
            question.fail(RuntimeError("the task that awaited the hook was cancelled"))
    if trouble:
        raise trouble[0]


async def _take_answer(question: Question[Any]) -> None:
    if question.pending is None:
        answered = trio.Event()
        question.when_answered(answered.set)
        await answered.wait()
        return
    try:
        answer = await question.pending
    except Exception as problem:
        if not question.answered:
            question.fail(problem)
    else:
        if not question.answered:
            question.answer(answer)


def _has_ended(engine: IEngine) -> bool:
    """Whether the handshake can't be saved by any answer."""
    try:
        engine.do_handshake()
    except WantAnswer:
        return False
    except TLSError:
        return True
    return False


def address_of(stream: object) -> tuple[str, int] | None:
    """``(host, port)`` of the peer; None where that can't be known, or is none of the internet."""
    while not isinstance(stream, trio.SocketStream):
        stream = getattr(stream, "transport_stream", None)
        if stream is None:
            return None
    try:
        address = stream.socket.getpeername()
    except OSError:
        return None
    return (address[0], address[1]) if isinstance(address, tuple) else None
