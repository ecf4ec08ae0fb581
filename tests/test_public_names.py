"""The public names: all there, imported only when used."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

import tlsprovider
import tlsprovider.trio
import tlsprovider.twisted

PACKAGES = (tlsprovider, tlsprovider.trio, tlsprovider.twisted)


@pytest.mark.parametrize(("package", "name"), [(one, name) for one in PACKAGES for name in one.__all__])
def test_name_is_there(package: ModuleType, name: str) -> None:
    assert getattr(package, name) is not None
    assert name in dir(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_unknown_name(package: ModuleType) -> None:
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'ClientConfg'"):
        package.ClientConfg  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        "import sys, tlsprovider; print([m for m in ('cryptography', 'twisted', 'trio', 'ssl') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    assert result.stdout == "[]\n"
