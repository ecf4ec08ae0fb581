"""The tests of the SSL object, Twisted and trio over the other providers; over_providers.py has what differs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SECONDS = 200
# What they test lies above the engine.
THE_SAME = {
    "test_twisted_bad_peers.py",
    "test_twisted_endpoint_mixins.py",
    "test_twisted_starttls.py",
    "test_twisted_strings.py",
    "test_twisted_website.py",
}
FILES = sorted(
    path.name
    for pattern in ("test_contract_*.py", "test_trio_*.py", "test_twisted_*.py")
    for path in TESTS.glob(pattern)
    if path.name not in THE_SAME
)


@pytest.mark.timeout(SECONDS + 10)
@pytest.mark.parametrize("provider", ["openssl", "stdlib"])
def test_over(provider: str) -> None:
    options = ["-q", "-p", "over_providers", "-p", "no:cacheprovider", "--timeout", "20"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *FILES],
        env={**os.environ, "TLSPROVIDER_DEFAULT": provider, "PYTHONPATH": str(TESTS)},
        cwd=TESTS,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    passed = re.search(r"^(\d+) passed", done.stdout.splitlines()[-1])
    assert passed is not None and int(passed[1]) > 900
