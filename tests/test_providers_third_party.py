"""A package of somebody else beside tlsprovider: found by name, put through the kit, used in an endpoint string."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from test_providers_matrix import by_string
from twisted_child import RESULT, TESTS
from twisted_pair import Files
from twisted_pair import write_files as write_files

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "examples" / "third_party_provider"
SECONDS = 50

REFUSED = {
    "ChooseIdentity.client",
    "FindSession",
    "SignHandshake",
    "TLSv1.2",
    "VerifyPeer.ocsp",
    "VerifyPeer.scts",
    "cipher_suites",
    "client_auth",
    "client_auth.clock",
    "client_auth.pinned",
    "client_auth.unverified",
    "early_data",
    "entropy",
    "exporter",
    "half_close",
    "identity.mldsa",
    "identity.rsa_pss",
    "key_update",
    "keylog",
    "on_event.messages",
    "psks",
    "sessions",
    "signature_schemes",
    "tickets",
    "tls-exporter",
}

LOOK = """
import json
import tlsprovider
from tlsprovider.providers import get_provider, list_providers
provider = get_provider("tlslite")
print(json.dumps({
    "names": [one.name for one in list_providers()],
    "file": __import__(type(provider).__module__).__file__,
}))
"""

KIT = """
import json
from tlsprovider.testing import check_provider
report = check_provider("tlslite")
print(json.dumps({"passed": len(report.passed), "skipped": report.skipped, "refused": sorted(report.refused)}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the example was installed into, out of a copy, without network."""
    folder = tmp_path_factory.mktemp("third-party")
    shutil.copytree(EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("build", "*.egg-info", "__pycache__"))
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "site"), "./source"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


def run(installed: Path, *arguments: str) -> Any:
    """Run Python with the example installed; what it printed last."""
    path = os.pathsep.join(map(str, (installed, ROOT, TESTS)))
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": path},
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return json.loads(done.stdout.splitlines()[-1].removeprefix(RESULT))


def test_is_found_by_name(installed: Path) -> None:
    seen = run(installed, "-c", LOOK)
    assert seen["names"] == ["native", "openssl", "stdlib", "tlslite"]
    assert Path(seen["file"]).is_relative_to(installed)


def test_passes_the_kit(installed: Path) -> None:
    """With exactly these refusals."""
    seen = run(installed, "-c", KIT)
    assert set(seen["refused"]) == REFUSED
    assert seen["passed"] > 60
    assert "handshake[client]" not in seen["skipped"] and "keylog[client]" in seen["skipped"]


def test_command_lists_it(installed: Path) -> None:
    path = os.pathsep.join(map(str, (installed, ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "tlsprovider.cli", "providers"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "tlslite" in done.stdout


@pytest.mark.parametrize(("server", "client"), [("tlslite", "native"), ("native", "tlslite"), ("tlslite", "openssl")])
def test_serves_an_endpoint_string(installed: Path, files: Files, server: str, client: str) -> None:
    words = [
        f"tlsp:0:interface=127.0.0.1:cert={files.cert}:key={files.key}:provider={server}",
        f"tlsp:localhost:PORT:ca={files.ca}:provider={client}",
    ]
    child = [str(TESTS / "twisted_child.py"), "select", by_string.__module__, by_string.__name__, json.dumps(words)]
    answer, version, _ = run(installed, *child)
    assert (answer, version) == ("ping", "TLSv1.3")
