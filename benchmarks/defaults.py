"""Handshakes as each stack does them by itself: nothing is made equal.

In a process of its own, because the cipher suites of Python's ``ssl`` can only be set for a whole process, and there
they are set: see ``__main__.py``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

import attrs

from benchmarks.contenders import Contender, Native, PyOpenSSL, Stdlib
from benchmarks.interleave import by_turns
from benchmarks.lines import Line, Run, times

TITLE = "Handshakes in memory with each stack's own defaults"
BATCH = 10


def measure(run: Run) -> list[Line]:
    environment = {name: value for name, value in os.environ.items() if name != "OPENSSL_CONF"}
    finished = subprocess.run(
        [sys.executable, "-m", "benchmarks.defaults", str(run.rounds)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [Line(**line) for line in json.loads(finished.stdout)]


def _measure_here(rounds: int) -> list[Line]:
    run = Run(rounds)
    terms = attrs.evolve(run.terms, group=None, suite=None)
    found: list[Contender] = [Native(terms), Native(terms, fresh=True), Stdlib(terms), PyOpenSSL(terms)]
    works: dict[str, Callable[[], object]] = {one.name: one.connect for one in found}
    seconds = by_turns(works, rounds, BATCH)
    connection = Native(terms).connect()
    ours = f"{connection.server.group}, {connection.server.cipher}"
    return [
        times(what, f"{shown}, {other.connect().suite}", seconds[name], seconds[other.name])
        for name, what in (("native", ours), ("native, first seen", f"{ours}, chain first seen"))
        for other, shown in zip(found[2:], ("Python's ssl", "pyOpenSSL"), strict=True)
    ]


if __name__ == "__main__":
    json.dump([attrs.asdict(line) for line in _measure_here(int(sys.argv[1]))], sys.stdout)
