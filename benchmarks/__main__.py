"""``python -m benchmarks``."""

from __future__ import annotations

import os
from pathlib import Path

# OpenSSL reads it once, when the first module that uses it is imported.
os.environ["OPENSSL_CONF"] = str(Path(__file__).with_name("openssl.cnf"))

import json

import click

from benchmarks import handshake, records, report, twisted
from benchmarks.contenders import Terms

ROUNDS, QUICK_ROUNDS = 60, 20


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--quick", is_flag=True, help="Less exact, in less than 20 seconds.")
@click.option(
    "--rounds", type=click.IntRange(min=1), help=f"How often all are measured. [{ROUNDS}; quick: {QUICK_ROUNDS}]"
)
@click.option("--json", "path", type=click.Path(dir_okay=False, path_type=Path), help="Write all results to a file.")
def main(quick: bool, rounds: int | None, path: Path | None) -> None:
    """Handshakes and records per second: the native engine, Python's ssl, pyOpenSSL, and the bare primitives.

    Then TLS in Twisted, over sockets: Twisted's own and ours.
    """
    count = rounds or (QUICK_ROUNDS if quick else ROUNDS)
    terms = Terms.make()
    results = {
        "machine": report.describe_machine(),
        "rounds": count,
        "handshake": handshake.measure(terms, count),
        "records": records.measure(terms, count),
        # A round of these takes seconds, and the first connections of a process say little about memory.
        "twisted": twisted.measure(terms, max(1, count // 6), min(twisted.IDLE, 100 * count)),
    }
    report.show(results)
    if path is not None:
        path.write_text(json.dumps(results, indent=2) + "\n")


main(prog_name="python -m benchmarks")
