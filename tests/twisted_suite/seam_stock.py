"""Twisted as it is: the yardstick. What fails here fails because of the machine."""

from __future__ import annotations

KNOWN: dict[str, tuple[str, ...]] = {}


def install() -> None:
    """Nothing to put in place."""
