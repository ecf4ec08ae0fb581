"""How long an import takes, beyond what the framework's own import takes: each in a process of its own.

The packages load what they need when a name of theirs is first used; so the first use is measured too.
"""

from __future__ import annotations

import subprocess
import sys
from statistics import median

from benchmarks.lines import Line, Run

TITLE = "Imports, beyond what the framework itself imports"
GOAL = 60.0

# For Twisted and trio: what any program that uses TLS with them has imported anyway.
TWISTED, TRIO = "import twisted.internet.endpoints, twisted.internet.ssl", "import trio"
# What is measured, after what, and whether it has a goal.
IMPORTS = {
    "import tlsprovider": ("", True),
    "import tlsprovider.trio": (TRIO, True),
    "import tlsprovider.twisted": (TWISTED, True),
    "from tlsprovider import ClientConfig": ("", False),
    "from tlsprovider.trio import TLSStream": (TRIO, False),
    "from tlsprovider.twisted import TLSServerEndpoint": (TWISTED, False),
}

PROGRAM = """
import time
{before}
begin = time.process_time()
{statement}
print(time.process_time() - begin)
"""


def measure(run: Run) -> list[Line]:
    rounds = min(run.rounds, 2 if run.quick else 15)
    found: dict[str, list[float]] = {statement: [] for statement in IMPORTS}
    for _ in range(rounds):
        for statement, (before, _) in IMPORTS.items():
            found[statement].append(_seconds(before, statement))
    return [
        Line(statement, "", "time", median(found[statement]) * 1e3, "ms", goal=GOAL if has_goal else None)
        for statement, (_, has_goal) in IMPORTS.items()
    ]


def _seconds(before: str, statement: str) -> float:
    program = PROGRAM.format(before=before, statement=statement)
    finished = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True)
    return float(finished.stdout)
