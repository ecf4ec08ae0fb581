"""The benchmarks run and say what they promise; how fast anything is does not matter here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.lines import Line, rates, times

ROOT = Path(__file__).parent.parent
QUICK_SUBJECTS = ("handshake", "records", "imports")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any]]:
    """The printed report and the written results of one round, in a process of its own as it sets its OpenSSL up."""
    path = tmp_path_factory.mktemp("benchmarks") / "results.json"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-m", "benchmarks", *QUICK_SUBJECTS, "--rounds", "1", "--json", str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout, json.loads(path.read_text())


def test_machine_is_described(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    assert {"processor", "cores", "python", "ssl", "pyopenssl", "cryptography"} <= results["machine"].keys()
    assert results["rounds"] == 1


def test_lines(run: tuple[str, dict[str, Any]]) -> None:
    """Each has a figure of ours; what has a goal says whether it is met, by the figures that are written."""
    _, results = run
    assert tuple(results["subjects"]) == QUICK_SUBJECTS
    for line in (line for lines in results["subjects"].values() for line in lines):
        assert line["ours"] > 0
        found = line["ours"] if line["ratio"] is None else line["ratio"]
        if line["goal"] is not None:
            assert line["met"] == (found >= line["goal"] if line["measure"] == "rate" else found <= line["goal"])


def test_everything_is_compared(run: tuple[str, dict[str, Any]]) -> None:
    _, results = run
    handshakes = {(line["what"], line["against"]) for line in results["subjects"]["handshake"]}
    for kind in ("full", "mutual authentication"):
        for what in (kind, f"{kind}, chain first seen"):
            assert {(what, "Python's ssl"), (what, "pyOpenSSL")} <= handshakes
    records = {(line["what"], line["against"]) for line in results["subjects"]["records"]}
    assert {size for size, _ in records} >= {"16,384 bytes", "1,024 bytes", "100 bytes"}
    assert {other for _, other in records} == {"Python's ssl", "pyOpenSSL", "the cipher alone"}


def test_report_is_printed(run: tuple[str, dict[str, Any]]) -> None:
    printed, results = run
    for words in ("Handshakes in memory", "16,384 bytes", "ours / theirs", results["machine"]["cryptography"]):
        assert words in printed


class TestMet:
    """Goals: rates at least, everything else at most, and nothing rounded."""

    def test_ratios(self) -> None:
        assert times("", "", [1.0], [2.0], 0.5).met is True
        assert times("", "", [1.001], [2.0], 0.5).met is False
        assert rates("", "", 1, [1.0], [2.0], 2.0).met is True
        assert rates("", "", 1, [1.001], [2.0], 2.0).met is False
        assert times("", "", [1.0], [2.0]).met is None

    def test_alone(self) -> None:
        assert Line("", "", "time", 60.0, "ms", goal=60.0).met is True
        assert Line("", "", "time", 60.1, "ms", goal=60.0).met is False

    def test_medians_of_ratios(self) -> None:
        """Of neighbours in time: a slow moment that both had is none of either."""
        assert times("", "", [1.0, 10.0, 3.0], [2.0, 20.0, 6.0]).ratio == 0.5
