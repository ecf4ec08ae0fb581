"""What a subject of the benchmarks gives: lines, each one figure of ours next to one of somebody else's."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Literal

import attrs

from benchmarks.contenders import Terms

__all__ = ["Line", "Run", "rates", "times"]

Measure = Literal["time", "rate", "memory", "size"]


@attrs.frozen
class Run:
    """One run of the benchmarks. ``rounds``: how often each thing is measured."""

    rounds: int
    quick: bool = False
    terms: Terms = attrs.field(factory=Terms.make)


@attrs.frozen
class Line:
    """``ratio``: ours by theirs, the median over the rounds; it isn't exactly ``ours / theirs``, which are medians too.

    A ratio of rates should be at least its ``goal``, every other at most. Where nobody is next to ours, ``against`` is
    empty and the goal is for ``ours``.
    """

    what: str
    against: str
    measure: Measure
    ours: float
    unit: str
    theirs: float | None = None
    ratio: float | None = None
    goal: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none. Nothing is rounded before it is compared."""
        found = self.ours if self.ratio is None else self.ratio
        if self.goal is None:
            return None
        return found >= self.goal if self.measure == "rate" else found <= self.goal


def times(what: str, against: str, ours: Sequence[float], theirs: Sequence[float], goal: float | None = None) -> Line:
    """A line of times in seconds, one figure for each round."""
    ratio = median(one / other for one, other in zip(ours, theirs, strict=True))
    return Line(what, against, "time", median(ours) * 1e6, "µs", median(theirs) * 1e6, ratio, goal)


def rates(
    what: str, against: str, size: int, ours: Sequence[float], theirs: Sequence[float], goal: float | None = None
) -> Line:
    """A line of rates: ``ours`` and ``theirs`` are the seconds that ``size`` bytes took in each round."""
    ratio = median(other / one for one, other in zip(ours, theirs, strict=True))
    unit = "MB/s"
    return Line(what, against, "rate", size / median(ours) / 1e6, unit, size / median(theirs) / 1e6, ratio, goal)
