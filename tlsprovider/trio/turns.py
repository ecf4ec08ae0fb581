"""Who may go next: a small lock that costs no scheduler tick when nobody else is there.

``async with trio.Lock()`` always yields, which is right for locks that applications use and too dear for one that is
taken several times in every operation of a stream.
"""

from __future__ import annotations

import trio

__all__ = ["Turn"]


class Turn:
    """A strict first come, first served lock. ``take`` is a checkpoint only when it has to wait."""

    __slots__ = ("_waiting", "taken")

    def __init__(self) -> None:
        self.taken = False
        # Made when somebody waits, which is rare: it takes more memory than all else in here.
        self._waiting: trio.lowlevel.ParkingLot | None = None

    def take_nowait(self) -> bool:
        """Take the turn if nobody has it; whether it was taken."""
        if self.taken:
            return False
        self.taken = True
        return True

    async def take(self) -> bool:
        """Take the turn, after everybody who asked before; whether that needed waiting."""
        if self.take_nowait():
            return False
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        await self._waiting.park()
        return True

    def give(self) -> None:
        """Hand the turn to whoever waits longest; ``taken`` stays True then, so that nobody can slip in between."""
        if self._waiting:
            self._waiting.unpark()
        else:
            self.taken = False
