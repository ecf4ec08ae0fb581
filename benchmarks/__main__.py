"""``python -m benchmarks``."""

from __future__ import annotations

import os
from pathlib import Path

# OpenSSL reads it once, when the first module that uses it is imported.
os.environ["OPENSSL_CONF"] = str(Path(__file__).with_name("openssl.cnf"))

import json
from importlib import import_module

import attrs
import click

from benchmarks import report
from benchmarks.lines import Run

# One module each; see the head of the package.
SUBJECTS = ("handshake", "records", "defaults", "growth", "imports", "processes", "twisted", "trio")
ROUNDS, QUICK_ROUNDS = 60, 8


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("subjects", nargs=-1, type=click.Choice(SUBJECTS), metavar="[SUBJECT]...")
@click.option("--quick", is_flag=True, help="Less exact, in about a minute of processor time.")
@click.option(
    "--rounds", type=click.IntRange(min=1), help=f"How often all are measured. [{ROUNDS}; quick: {QUICK_ROUNDS}]"
)
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write all results to a file.")
def main(subjects: tuple[str, ...], quick: bool, rounds: int | None, path: Path | None) -> None:
    """Speed and memory next to others', in the same run.

    Subjects, all of them when none is named: handshake, records, defaults, growth, imports, processes, twisted, trio.
    """
    run = Run(rounds or (QUICK_ROUNDS if quick else ROUNDS), quick)
    machine = report.describe_machine()
    report.show_machine(machine, run.rounds)
    found: dict[str, list[dict[str, object]]] = {}
    for name in subjects or SUBJECTS:
        subject = import_module(f"benchmarks.{name}")
        lines = subject.measure(run)
        report.show(subject.TITLE, lines)
        found[name] = [{**attrs.asdict(line), "met": line.met} for line in lines]
    if path is not None:
        path.write_text(json.dumps({"machine": machine, "rounds": run.rounds, "subjects": found}, indent=2) + "\n")


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
