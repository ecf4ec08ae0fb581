"""Remembering what was made of a stranger's bytes, within bounds that a stranger can't move."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, update_wrapper
from typing import Concatenate, Final, Generic, ParamSpec, TypeVar

__all__ = ["Remembered", "remembered"]

P = ParamSpec("P")
T = TypeVar("T", covariant=True)

# For each function; the one that was not asked for longest goes. More would be more for a stranger to fill.
MAX_REMEMBERED: Final = 64


class Remembered(Generic[P, T]):
    """A function of bytes, and of other hashable things, that remembers its last results; what fails is tried anew."""

    def __init__(self, function: Callable[Concatenate[bytes, P], T], size: int) -> None:
        self._function = function
        self._size = size
        self.known = lru_cache(maxsize=MAX_REMEMBERED)(function)
        update_wrapper(self, function)

    def __call__(self, content: bytes, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if len(content) > self._size:
            return self._function(content, *args, **kwargs)
        return self.known(content, *args, **kwargs)  # type: ignore[arg-type]  # all that is given is hashable


def remembered(size: int) -> Callable[[Callable[Concatenate[bytes, P], T]], Remembered[P, T]]:
    """For functions that give immutable values: contents of at most ``size`` bytes are remembered."""
    return lambda function: Remembered(function, size)
