"""``PYTHONPATH=tests python -m trio_suite``: both runs, each in a process of its own, and what came out."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest

from trio_suite.expectations import MUST_PASS, reason_for

SEAMS: Final = ("context", "stream")
MODULES: Final = ("trio._tests.test_ssl", "trio._tests.test_highlevel_ssl_helpers")
PAGE: Final = Path(__file__).parents[2] / "docs" / "trio_suite.md"
BEGIN, END = "<!-- trio suite: begin -->\n", "<!-- trio suite: end -->\n"
SECONDS: Final = 240


def run_one(seam: str, result: Path, arguments: list[str]) -> int:
    """In a process of its own: run the tests over one seam and write what came out."""
    from trio_suite import plugin

    with tempfile.TemporaryDirectory(prefix="trio-suite-") as folder:
        ini = Path(folder, "pytest.ini")
        ini.write_text("[pytest]\n")
        options = ["-c", str(ini), "-q", "-p", "no:cacheprovider", "-p", "trio._tests.pytest_plugin", "--run-slow"]
        status = pytest.main([*options, f"--tls-seam={seam}", *arguments, "--pyargs", *MODULES], plugins=[plugin])
    result.write_text(json.dumps({"outcomes": plugin.OUTCOMES, "used": plugin.USED}))
    return int(status)


def run(seam: str, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What came out, and what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="trio-suite-") as folder:
        result = Path(folder, "result.json")
        command = [sys.executable, "-m", "trio_suite", "--one", seam, "--result", str(result), *arguments]
        status = subprocess.run(command, timeout=SECONDS, check=False).returncode
        found = json.loads(result.read_text()) if result.exists() else {"outcomes": {}, "used": {}}
    counts = Counter(found["outcomes"].values())
    wrong = [f"{seam}: {name}: {outcome}" for name, outcome in found["outcomes"].items() if outcome in UNEXPECTED]
    if status:
        wrong.append(f"{seam}: pytest ended with status {status}")
    if not arguments and counts["passed"] < MUST_PASS:
        wrong.append(f"{seam}: {counts['passed']} tests passed; {MUST_PASS} have to")
    if not found["used"].get("Connection" if seam == "context" else "SSLStream"):
        wrong.append(f"{seam}: our TLS was not used at all")
    print(f"{seam}: {dict(counts)}; made {found['used']}")
    return found, wrong


UNEXPECTED: Final = ("failed", "unexpected pass", "skipped")


def table(found: dict[str, dict[str, Any]]) -> str:
    """For the documentation."""
    rows = ["| seam | passed | can't pass | failed |", "| --- | ---: | ---: | ---: |"]
    for seam, one in found.items():
        counts = Counter(one["outcomes"].values())
        failed = sum(counts[outcome] for outcome in UNEXPECTED)
        rows.append(f"| {seam} | {counts['passed']} | {counts['expected failure']} | {failed} |")
    rows += ["", "| can't pass | why |", "| --- | --- |"]
    names = sorted({name for one in found.values() for name in one["outcomes"]})
    rows += [f"| `{name}` | {reason} |" for name in names if (reason := reason_for(name)) is not None]
    return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trio_suite", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/trio_suite.md")
    parser.add_argument("--one", choices=SEAMS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.one:
        return run_one(options.one, options.result, arguments)
    found: dict[str, dict[str, Any]] = {}
    wrong: list[str] = []
    for seam in SEAMS:
        found[seam], problems = run(seam, arguments)
        wrong += problems
    if options.write_docs:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(found) + END + rest.partition(END)[2], encoding="utf-8")
    print("\n".join(wrong) or "all as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
