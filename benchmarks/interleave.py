"""Measuring several things fairly: by turns, in processor time, each round beginning with another one."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

Times = dict[str, list[float]]
"""Seconds for one call of each, one figure for each round."""


def by_turns(
    works: Mapping[str, Callable[[], object]],
    rounds: int,
    batch: int,
    clock: Callable[[], float] = time.process_time,
) -> Times:
    """Call each of ``works`` ``batch`` times in each round.

    Processor time is counted, so that other programs on the machine don't count; give ``time.perf_counter`` where
    waiting is part of the matter. Garbage that one has left is not for the next to collect; garbage of its own is.
    """
    names = list(works)
    times: Times = {name: [] for name in names}
    for name in names:
        works[name]()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            work = works[name]
            gc.collect()
            begin = clock()
            for _ in range(batch):
                work()
            times[name].append((clock() - begin) / batch)
    return times
