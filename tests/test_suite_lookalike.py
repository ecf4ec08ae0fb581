"""Twisted's own tests of STARTTLS over our look-alike of a connection: the seam of ``tests/twisted_suite`` works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SECONDS = 150


@pytest.mark.timeout(SECONDS + 10)
def test_starttls_of_twisted() -> None:
    command = [sys.executable, "-m", "twisted_suite", "--seam", "lookalike", "twisted.internet.test.test_newtls"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(TESTS.parent), str(TESTS)))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert done.stdout.endswith("0 failed; 0 unexpected\n") and " 0 passed" not in done.stdout
