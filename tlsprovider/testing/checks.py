"""The list of checks: each is a function that takes a :class:`~tlsprovider.testing.bench.Bench` and raises or returns.

A check says which features it needs; a provider without them has refused, and there is nothing to check.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import attrs

from tlsprovider.testing.bench import SIDES, Bench

__all__ = ["CHECKS", "Check", "check"]


@attrs.frozen
class Check:
    """``needs``: the features without which there is nothing to check."""

    name: str
    run: Callable[[Bench], None]
    needs: tuple[str, ...]


CHECKS: Final[dict[str, Check]] = {}

F = TypeVar("F", bound=Callable[..., None])


def check(*needs: str, sides: bool = True) -> Callable[[F], F]:
    """Put a function on the list, once for each side (then it takes the side as well), or once."""

    def register(function: F) -> F:
        name = function.__name__
        if sides:
            for side in SIDES:
                CHECKS[f"{name}[{side}]"] = Check(f"{name}[{side}]", partial(function, side=side), needs)
        else:
            CHECKS[name] = Check(name, function, needs)
        return function

    return register
