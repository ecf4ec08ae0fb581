"""How this suite uses hypothesis: the same examples on every run, bounded in number, and nothing left on the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings

from tlsprovider.errors import Fault, PeerFault


def bounded(examples: int) -> settings:
    """A decorator: ``examples`` examples that are always the same ones."""
    return settings(
        derandomize=True,
        database=None,
        deadline=None,
        max_examples=examples,
        # Fixtures here are values of the whole session that no example changes.
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def fault_of(call: Callable[..., object], *arguments: Any, **named: Any) -> Fault | None:
    """The fault that a call finds, or None when it finds none. Every other exception goes through: it is a bug."""
    try:
        call(*arguments, **named)
    except PeerFault as found:
        return found.fault
    return None
