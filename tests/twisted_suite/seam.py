"""What the seams have in common: looking one up, and putting one object in the place of another everywhere."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

import twisted_suite

__all__ = ["Seam", "names", "replace", "seam_named"]

PREFIX = "seam_"


class Seam(Protocol):
    """What a module ``seam_NAME`` has to have."""

    KNOWN: Mapping[str, Sequence[str]]

    def install(self) -> None:
        """Put ours in place."""


def names() -> list[str]:
    modules = [module.name for module in pkgutil.iter_modules(twisted_suite.__path__)]
    return [name.removeprefix(PREFIX) for name in modules if name.startswith(PREFIX)]


def seam_named(name: str) -> Seam:
    return cast(Seam, importlib.import_module(f"twisted_suite.{PREFIX}{name}"))


def replace(module: str, name: str, ours: Any) -> None:
    """Put ``ours`` in the place of ``module.name``, and of each copy that ``from module import name`` has made."""
    theirs = getattr(importlib.import_module(module), name)
    for other in list(sys.modules.values()):
        if getattr(other, "__name__", "").startswith("twisted."):
            for attribute, value in list(vars(other).items()):
                if value is theirs:
                    setattr(other, attribute, ours)
