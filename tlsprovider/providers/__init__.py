"""The registry: TLS implementations by name.

Providers come from the entry-point group ``tlsprovider.providers``. Our own are named here as well, so that they are
found in a source tree that was never installed, and so that nobody can take their names. A provider that can't be
loaded, has another name than its entry point, or a name that somebody else uses, is reported in the log; it is not
available, and the others are.

Two words stand for a choice: ``auto`` is the first provider that can do what the configuration asks for
(:mod:`tlsprovider.providers.auto`), and None is the process's default: ``native``, or what the environment variable
``TLSPROVIDER_DEFAULT`` says.
"""

from __future__ import annotations

import difflib
import logging
import os
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from tlsprovider.errors import ConfigError
from tlsprovider.interfaces import ITLSProvider

__all__ = ["default_provider", "get_provider", "list_providers"]

GROUP = "tlsprovider.providers"
BUILT_IN = {
    "native": "tlsprovider.providers.native:provider",
    "openssl": "tlsprovider.providers.openssl:provider",
    "stdlib": "tlsprovider.providers.stdlib:provider",
}
AUTO = "tlsprovider.providers.auto:provider"
DEFAULT_VARIABLE = "TLSPROVIDER_DEFAULT"

log = logging.getLogger(__name__)


def default_provider() -> str:
    """The name of the process's default provider."""
    return os.environ.get(DEFAULT_VARIABLE) or "native"


def get_provider(name: str | ITLSProvider | None = None) -> ITLSProvider:
    """The provider of that name, the default for None; a provider itself is given back as it is.

    Raises :exc:`~tlsprovider.errors.ConfigError` for an unknown name, with the names there are, and for a provider that
    can't be loaded.
    """
    where = ""
    if name is None:
        name = default_provider()
        where = f"{DEFAULT_VARIABLE}: " if DEFAULT_VARIABLE in os.environ else ""
    if not isinstance(name, str):
        if ITLSProvider.providedBy(name):
            return name
        raise ConfigError(f"provider: expected a name or an ITLSProvider, got {name!r}")
    known = _entry_points()
    if name != "auto" and name not in known:
        near = difflib.get_close_matches(name, [*known, "auto"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise ConfigError(f"{where}unknown provider {name!r}{hint} Installed: {', '.join(sorted(known))}")
    return _load(name)


def list_providers() -> list[ITLSProvider]:
    """Every provider that can be loaded, ours first; one that can't be is reported in the log, once."""
    found = []
    for name in _entry_points():
        try:
            found.append(_load(name))
        except Exception as problem:
            _report(name, str(problem))
    return found


@cache
def _report(name: str, problem: str) -> None:
    """Once for each problem: a list is often asked for."""
    log.warning("the TLS provider %r is not available: %s", name, problem)


@cache
def _entry_points() -> dict[str, EntryPoint]:
    known = {name: EntryPoint(name, target, GROUP) for name, target in BUILT_IN.items()}
    for entry_point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        first = known.setdefault(entry_point.name, entry_point)
        if entry_point.name == "auto" or first.value != entry_point.value:
            _report(entry_point.name, f"{entry_point.value} has a name that is taken")
    known.pop("auto", None)
    return known


@cache
def _load(name: str) -> ITLSProvider:
    target = EntryPoint(name, AUTO, GROUP) if name == "auto" else _entry_points()[name]
    try:
        provider: ITLSProvider = target.load()
    except Exception as problem:
        raise ConfigError(f"the provider {name!r} can't be loaded: {type(problem).__name__}: {problem}") from problem
    if not ITLSProvider.providedBy(provider):
        raise ConfigError(f"the provider {name!r} is no ITLSProvider: {target.value} is {provider!r}")
    if provider.name != name:
        raise ConfigError(f"the provider {name!r} calls itself {provider.name!r}; the two names must be the same")
    return provider
