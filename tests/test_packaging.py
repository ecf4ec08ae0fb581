"""What would be released: it is built, installed where the checkout is not to be seen, and looked at."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import attrs
import pytest

import tlsprovider
from tlsprovider.providers import BUILT_IN

ROOT = Path(__file__).parent.parent
SECONDS = 50
NOT_SOURCE = shutil.ignore_patterns(
    ".git",
    ".venv",
    ".nox",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "*.egg-info",
    "build",
    "dist",
    "_build",
    "dropin.cache",
)

LOOK = """
import json
from importlib.metadata import distribution, entry_points
import tlsprovider, tlsprovider.interfaces, tlsprovider.providers
from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser
from twisted.plugin import getPlugins
import twisted.plugins

print(json.dumps({
    "file": tlsprovider.__file__,
    "version": distribution("tlsprovider").version,
    "server prefixes": [plugin.prefix for plugin in getPlugins(IStreamServerEndpointStringParser)],
    "client prefixes": [plugin.prefix for plugin in getPlugins(IStreamClientEndpointStringParserWithReactor)],
    "plugin providers": sorted(plugin.name for plugin in getPlugins(tlsprovider.interfaces.ITLSProvider)),
    "plugin file": __import__("twisted.plugins.tlsprovider_plugins", fromlist=["x"]).__file__,
    "entry points": sorted({point.name: point.value for point in entry_points(group="tlsprovider.providers")}.items()),
    "providers": [provider.name for provider in tlsprovider.list_providers()],
}))
"""


@attrs.frozen
class Built:
    """The files that a release consists of."""

    wheel: Path
    sdist: Path


def run(*command: str, folder: Path) -> str:
    """Run something that ends by itself, with no trace of the checkout in its environment."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built from a copy: first the sdist, then the wheel from what the sdist contains."""
    folder = tmp_path_factory.mktemp("build")
    shutil.copytree(ROOT, folder / "source", ignore=NOT_SOURCE)
    # Not isolated: that would download setuptools.
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist"), folder=folder / "source")
    [wheel], [sdist] = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return Built(wheel, sdist)


@pytest.fixture(scope="module")
def installed(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel in it; what it depends on is borrowed from the one that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    python = folder / "venv" / "bin" / "python"
    [site_packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    options = ("--quiet", "--disable-pip-version-check", "install", "--no-deps", "--no-index")
    run(sys.executable, "-m", "pip", "--python", str(python), *options, str(built.wheel), folder=folder)
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder / "venv"


def test_wheel_contains_the_package_the_plugin_and_nothing_else(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    source = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tlsprovider").rglob("*.py")}
    # With an __init__.py in twisted/ or twisted/plugins/, Twisted would find no plugin there.
    assert names == source | {"tlsprovider/py.typed", "twisted/plugins/tlsprovider_plugins.py"}


def test_wheel_tells_what_it_is(built: Built) -> None:
    assert built.wheel.name == f"tlsprovider-{tlsprovider.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(built.wheel) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith("/METADATA")]
        metadata = wheel.read(name).decode()
        assert any(name.endswith("/LICENSE") for name in wheel.namelist())
    assert "Requires-Python: >=3.11\n" in metadata
    assert "License: MIT\n" in metadata or "License-Expression: MIT\n" in metadata
    assert "Description-Content-Type: text/markdown\n" in metadata


def test_sdist_contains_what_it_takes_to_test_and_document(built: Built) -> None:
    with tarfile.open(built.sdist) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = {"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md", "CONTRIBUTING.md", "noxfile.py", "pyproject.toml"}
    for folder, patterns in {
        "tests": ("*.py", "*.json"),
        "docs": ("*.py", "*.md"),
        "examples": ("*.py", "*.md"),
        "tlsprovider": ("*.py", "py.typed"),
        "twisted": ("*.py",),
    }.items():
        found = {path.relative_to(ROOT).as_posix() for pattern in patterns for path in (ROOT / folder).rglob(pattern)}
        wanted |= {name for name in found if not name.startswith("docs/_build/")}
    assert wanted <= names, f"missing: {sorted(wanted - names)}"


def test_installed_package_is_found_by_python_and_by_twisted(installed: Path, tmp_path: Path) -> None:
    seen = json.loads(run(str(installed / "bin" / "python"), "-c", LOOK, folder=tmp_path))
    assert Path(seen["file"]).is_relative_to(installed)
    assert Path(seen["plugin file"]).is_relative_to(installed)
    assert seen["version"] == tlsprovider.__version__
    assert "tlsp" in seen["server prefixes"]
    assert "tlsp" in seen["client prefixes"]
    assert seen["plugin providers"] == sorted([*BUILT_IN, "auto"])
    assert seen["entry points"] == sorted([name, target] for name, target in BUILT_IN.items())
    assert set(BUILT_IN) <= set(seen["providers"])


def test_installed_command_runs(installed: Path, tmp_path: Path) -> None:
    said = run(str(installed / "bin" / "tlsprovider"), "--version", folder=tmp_path)
    assert said == f"tlsprovider, version {tlsprovider.__version__}\n"
    assert "native" in run(str(installed / "bin" / "tlsprovider"), "providers", folder=tmp_path)


def read_setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def test_setup_cfg_has_the_version_of_the_package() -> None:
    assert read_setup_cfg()["metadata"]["version"] == tlsprovider.__version__


def test_setup_cfg_names_every_package() -> None:
    found = {path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "tlsprovider").rglob("*.py")}
    named = set(read_setup_cfg()["options"]["packages"].split())
    assert named == {name.replace("/", ".") for name in found} | {"twisted.plugins"}


def test_setup_cfg_has_the_built_in_providers_as_entry_points() -> None:
    lines = read_setup_cfg()["options.entry_points"]["tlsprovider.providers"].strip().splitlines()
    assert dict(line.split(" = ") for line in lines) == BUILT_IN
