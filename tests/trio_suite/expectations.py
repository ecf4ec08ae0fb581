"""Which of trio's tests can't pass, and why. A test that is named here and passes is an error too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["MUST_PASS", "reason_for", "unused_patterns"]

MUST_PASS: Final = 34
"""How many have to, so that a mistake in the patterns below can't hide many."""

OLDER: Final = "the client is set to TLS 1.2, which our own engine does not have; the SSLContext refuses that"
RENEGOTIATION: Final = "renegotiation was removed in TLS 1.3; its peer is an OpenSSL that is set to TLS 1.2"

# Patterns of test names, as ``pytest -v`` shows them. The first one that matches counts.
EXPECTED: Final = (
    (r"test_renegotiation_\w+\[tls13\]", RENEGOTIATION),
    (r"test_\w+\[(.*-)?tls12(-.*)?\]", OLDER),
)


def reason_for(name: str) -> str | None:
    """Why the test can't pass; None when it has to."""
    for pattern, reason in EXPECTED:
        if re.fullmatch(pattern, name):
            return reason
    return None


def unused_patterns(names: list[str]) -> Iterator[str]:
    """Patterns that match no test any more."""
    for pattern, _ in EXPECTED:
        if not any(re.fullmatch(pattern, name) for name in names):
            yield pattern
