"""``python -m twisted_suite``: run the modules, compare with what is known, and say what is different."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from twisted_suite.modules import MODULES
from twisted_suite.seam import names, seam_named

SECONDS = 600
Outcomes = dict[str, tuple[str, str]]


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seam", type=click.Choice(names()), required=True, help="What of ours takes the place of Twisted's.")
@click.option("--verbose", is_flag=True, help="Also show the tracebacks of known failures, and what was skipped.")
@click.argument("modules", nargs=-1)
def main(seam: str, verbose: bool, modules: Sequence[str]) -> None:
    """Run Twisted's tests of TLS, all of them or some MODULES. The exit status is 1 if anything is unexpected."""
    tables = [seam_named(one).KNOWN for one in ("stock", seam)]
    known = {test: reason for table in tables for reason, tests in table.items() for test in tests}
    total: Counter[str] = Counter()
    unexpected = 0
    for module in modules or MODULES:
        outcomes = _run(seam, module)
        counts = Counter(outcome for outcome, _ in outcomes.values())
        click.echo(f"{module}: {_words(counts)}")
        total += counts
        unexpected += _compare(outcomes, known, verbose)
    click.echo(f"\n{seam}: {_words(total)}; {unexpected} unexpected")
    sys.exit(1 if unexpected else 0)


def _run(seam: str, module: str) -> Outcomes:
    """How each test of a module went. A process that dies fails as a test of that name."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "outcomes.json"
        command = [sys.executable, "-m", "twisted_suite.child", seam, module, str(path)]
        try:
            finished = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return {module: ("failed", f"not done after {SECONDS} seconds")}
        if not path.exists():
            return {module: ("failed", finished.stderr)}
        return {test: (outcome, why) for test, (outcome, why) in json.loads(path.read_text()).items()}


def _compare(outcomes: Outcomes, known: dict[str, str], verbose: bool) -> int:
    """Say what is different from what is known; how many tests are."""
    unexpected = 0
    for test, (outcome, why) in sorted(outcomes.items()):
        failed, expected = outcome == "failed", test in known
        if failed and not expected:
            unexpected += 1
            click.echo(f"  FAILED {test}\n{_indented(why)}")
        elif expected and outcome == "passed":
            unexpected += 1
            click.echo(f"  PASSED, though known to fail: {test}\n{_indented(known[test])}")
        elif verbose and outcome != "passed":
            click.echo(f"  {outcome} {test}\n{_indented(known.get(test, ''))}\n{_indented(why)}")
    return unexpected


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _words(counts: Counter[str]) -> str:
    return f"{counts.total()} run, {counts['passed']} passed, {counts['skipped']} skipped, {counts['failed']} failed"


main(prog_name="python -m twisted_suite")
