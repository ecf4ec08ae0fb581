"""How long an import takes, beyond what the framework's own import takes: each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.lines import Line, Run

TITLE = "Imports, beyond what the framework itself imports"
GOAL = 60.0

# What is imported, after what: for Twisted and trio, what any program that uses TLS with them has imported anyway.
IMPORTS = {
    "tlsprovider": "",
    "tlsprovider.trio": "trio",
    "tlsprovider.twisted": "twisted.internet.endpoints, twisted.internet.ssl",
}

PROGRAM = """
import time
{before}
begin = time.process_time()
import {name}
print(time.process_time() - begin)
"""


def measure(run: Run) -> list[Line]:
    rounds = 5 if run.quick else 15
    found: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(min(rounds, run.rounds)):
        for name, before in IMPORTS.items():
            found[name].append(_import(name, before))
    return [
        Line(f"import {name}", "", "time", median(seconds) * 1e3, "ms", goal=GOAL) for name, seconds in found.items()
    ]


def _import(name: str, before: str) -> float:
    program = PROGRAM.format(name=name, before=f"import {before}" if before else "")
    finished = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return float(finished.stdout)
