"""The registry: TLS implementations by name.

Providers come from the entry-point group ``tlsprovider.providers``. Our own are named here as well, so that they are
found in a source tree that was never installed.
"""

from __future__ import annotations

import difflib
import logging
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

from tlsprovider.errors import ConfigError
from tlsprovider.interfaces import ITLSProvider

__all__ = ["get_provider", "list_providers"]

GROUP = "tlsprovider.providers"
BUILT_IN = {"native": "tlsprovider.providers.native:provider"}

log = logging.getLogger(__name__)


def get_provider(name: str | ITLSProvider = "native") -> ITLSProvider:
    """The provider of that name (a provider itself is given back as it is).

    Raises :exc:`~tlsprovider.errors.ConfigError` for an unknown name, with the names there are.
    """
    if not isinstance(name, str):
        if ITLSProvider.providedBy(name):
            return name
        raise ConfigError(f"provider: expected a name or an ITLSProvider, got {name!r}")
    known = _entry_points()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown provider {name!r}{hint} Installed: {', '.join(sorted(known))}")
    return _load(name)


def list_providers() -> list[ITLSProvider]:
    """Every provider that can be loaded; one that fails to import is logged and left out."""
    found = []
    for name in _entry_points():
        try:
            found.append(_load(name))
        except Exception:
            log.warning("the TLS provider %r could not be loaded", name, exc_info=True)
    return found


@cache
def _entry_points() -> dict[str, EntryPoint]:
    known = {name: EntryPoint(name, target, GROUP) for name, target in BUILT_IN.items()}
    for entry_point in entry_points(group=GROUP):
        known.setdefault(entry_point.name, entry_point)
    return known


@cache
def _load(name: str) -> ITLSProvider:
    target = _entry_points()[name]
    provider: ITLSProvider = getattr(import_module(target.module), target.attr)
    return provider
