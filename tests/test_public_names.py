"""The public names: all there, imported only when used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tlsprovider


@pytest.mark.parametrize("name", tlsprovider.__all__)
def test_name_is_there(name: str) -> None:
    assert getattr(tlsprovider, name) is not None
    assert name in dir(tlsprovider)


def test_names_have_homes() -> None:
    assert sorted(tlsprovider._HOME) == sorted(tlsprovider.__all__)


def test_unknown_name() -> None:
    with pytest.raises(AttributeError, match="'ClientConfg'"):
        tlsprovider.ClientConfg  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, tlsprovider; print([m for m in ('cryptography', 'twisted', 'trio', 'ssl') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == "[]\n"
