"""Which interfaces a TLS connection provides: its own, and those of the transport below."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import ITLSTransport
from zope.interface import providedBy
from zope.interface.declarations import Provides

__all__ = ["declare_as"]

# Declaring takes longer than starting a connection otherwise would, and there are only a few kinds of transports.
# The key has an id() and not the specification, whose equality goes by name; the value keeps it alive.
_known: dict[tuple[type, int], tuple[object, object]] = {}


def declare_as(wrapper: Any, transport: object) -> None:
    """Let ``wrapper`` provide what ``transport`` provides, except STARTTLS: TLS has begun already."""
    specification = providedBy(transport)
    key = type(wrapper), id(specification)
    if key not in _known:
        if len(_known) > 100:
            _known.clear()
        interfaces = [one for one in specification if not one.isOrExtends(ITLSTransport)]
        _known[key] = specification, Provides(type(wrapper), *interfaces)
    wrapper.__provides__ = _known[key][1]
