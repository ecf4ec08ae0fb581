"""``PYTHONPATH=tests python -m trio_suite``: all runs, each in a process of its own, and what came out."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from tlsprovider.providers import DEFAULT_VARIABLE
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


def run(provider: str, seam: str, arguments: list[str]) -> tuple[dict[str, Any], list[str]]:
    """What came out, and what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="trio-suite-") as folder:
        result = Path(folder, "result.json")
        command = [sys.executable, "-m", "trio_suite", "--one", seam, "--result", str(result), *arguments]
        environment = {**os.environ, DEFAULT_VARIABLE: provider}
        status = subprocess.run(command, env=environment, timeout=SECONDS, check=False).returncode
        found = json.loads(result.read_text()) if result.exists() else {"outcomes": {}, "used": {}}
    where, counts = f"{provider}, {seam}", Counter(found["outcomes"].values())
    wrong = [f"{where}: {name}: {outcome}" for name, outcome in found["outcomes"].items() if outcome in UNEXPECTED]
    if status:
        wrong.append(f"{where}: pytest ended with status {status}")
    if not arguments and counts["passed"] < MUST_PASS[provider]:
        wrong.append(f"{where}: {counts['passed']} tests passed; {MUST_PASS[provider]} have to")
    if not found["used"].get("Connection" if seam == "context" else "SSLStream"):
        wrong.append(f"{where}: our TLS was not used at all")
    print(f"{where}: {dict(counts)}; made {found['used']}")
    return found["outcomes"], wrong


UNEXPECTED: Final = ("failed", "unexpected pass", "skipped")


def table(found: dict[tuple[str, str], dict[str, str]]) -> str:
    """For the documentation."""
    rows = ["| provider | seam | passed | can't pass | failed |", "| --- | --- | ---: | ---: | ---: |"]
    for (provider, seam), outcomes in found.items():
        counts = Counter(outcomes.values())
        failed = sum(counts[outcome] for outcome in UNEXPECTED)
        rows.append(f"| {provider} | {seam} | {counts['passed']} | {counts['expected failure']} | {failed} |")
    rows += ["", "| can't pass | with `native` | with `openssl` |", "| --- | --- | --- |"]
    for name in sorted({name for outcomes in found.values() for name in outcomes}):
        reasons = [reason_for(name, provider) for provider in MUST_PASS]
        if any(reasons):
            rows.append(f"| `{name}` | {' | '.join(reason or '' for reason in reasons)} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m trio_suite", description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/trio_suite.md")
    parser.add_argument("--one", choices=SEAMS, help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.one:
        return run_one(options.one, options.result, arguments)
    found: dict[tuple[str, str], dict[str, str]] = {}
    wrong: list[str] = []
    for provider, seam in product(MUST_PASS, SEAMS):
        found[provider, seam], problems = run(provider, seam, arguments)
        wrong += problems
    if options.write_docs:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(before + BEGIN + table(found) + END + rest.partition(END)[2], encoding="utf-8")
    print("\n".join(wrong) or "all as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
