"""The benchmarks run and say what they promise; how fast anything is does not matter here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CONTENDERS = {"native", "ssl", "pyopenssl"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The printed report and the written results of one round, in a process of its own as it sets its OpenSSL up."""
    path = tmp_path_factory.mktemp("benchmarks") / "results.json"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", "--rounds", "1", "--json", str(path)],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=58,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, json.loads(path.read_text())


def test_machine_is_described(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    assert {"processor", "cores", "python", "ssl", "pyopenssl", "cryptography"} <= results["machine"].keys()
    assert results["rounds"] == 1


def test_handshakes(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    found = results["handshake"]
    assert found["microseconds"].keys() == CONTENDERS | {"primitives"} | found["needed"].keys()
    assert found["ratios"].keys() == {"native/ssl", "native/pyopenssl", "native/primitives"}
    assert all(value > 0 for value in (*found["microseconds"].values(), *found["ratios"].values()))
    total = sum(count * found["microseconds"][name] for name, count in found["needed"].items())
    assert found["microseconds"]["primitives"] == pytest.approx(total, rel=0.01)


def test_records(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    assert [found["size"] for found in results["records"]] == [16_384, 1_024, 100]
    for found in results["records"]:
        assert found["microseconds"].keys() == found["megabytes_per_second"].keys() == CONTENDERS | {"aead"}
        assert found["ratios"].keys() == {"native/ssl", "native/pyopenssl", "native/aead"}
        assert all(value > 0 for value in (*found["microseconds"].values(), *found["ratios"].values()))


def test_twisted(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    measures = dict(results["twisted"])
    idle = measures.pop("idle connections")
    assert idle["count"] == 100
    assert idle["kibibytes"].keys() == {"stock", "installed", "native"}
    assert {"bulk to the server", "bulk to the client", "ping-pong", "requests of Agent"} < measures.keys()
    for found in measures.values():
        assert found["microseconds"].keys() == {"stock", "installed", "native"}
        assert found["ratios"].keys() == {"installed/stock", "native/stock"}
        assert all(value > 0 for value in (*found["microseconds"].values(), *found["ratios"].values()))


def test_report_is_printed(run: tuple[str, dict[str, Any]]) -> None:
    printed, results = run
    for words in (
        "Twisted over loopback",
        "Full handshake",
        "Records of 16384 bytes",
        "native / this",
        results["machine"]["cryptography"],
    ):
        assert words in printed
