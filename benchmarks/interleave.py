"""Measuring several things fairly: by turns, in processor time, and by the ratios of neighbours."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from statistics import median

Times = dict[str, list[float]]
"""Seconds for one call of each, one figure for each round."""


def by_turns(works: Mapping[str, Callable[[], object]], rounds: int, batch: int) -> Times:
    """Call each of ``works`` ``batch`` times in each round, every round beginning with another one.

    Processor time is counted, so that other programs on the machine don't count. Garbage that one has left is not
    for the next to collect; garbage of its own is.
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
            begin = time.process_time()
            for _ in range(batch):
                work()
            times[name].append((time.process_time() - begin) / batch)
    return times


def microseconds(times: Times) -> dict[str, float]:
    return {name: round(median(values) * 1e6, 2) for name, values in times.items()}


def ratio(times: Times, one: str, other: str) -> float:
    """How long ``one`` takes in terms of ``other``: below 1 it is the faster."""
    return round(median(a / b for a, b in zip(times[one], times[other], strict=True)), 3)
