"""Which of trio's tests can't pass, and why. A test that is named here and passes is an error too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["MUST_PASS", "reason_for", "unused_patterns"]

MUST_PASS: Final = {"native": 34, "openssl": 63}
"""How many have to, by provider, so that a mistake in the patterns below can't hide many."""

RENEGOTIATION: Final = "renegotiation"
TLS12: Final = "TLS 1.2"
BINDING: Final = "tls-unique"

# Patterns of test names, as ``pytest -v`` shows them. The first one that matches counts.
ALWAYS: Final = ((r"test_renegotiation_\w+\[\w+\]", RENEGOTIATION),)
EXPECTED: Final = {
    "native": (*ALWAYS, (r"test_\w+\[(.*-)?tls12(-.*)?\]", TLS12)),
    "openssl": (*ALWAYS, (r"test_get_channel_binding_after_handshake\[tls12\]", BINDING)),
}


def reason_for(name: str, provider: str) -> str | None:
    """Why the test can't pass; None when it has to."""
    for pattern, reason in EXPECTED[provider]:
        if re.fullmatch(pattern, name):
            return reason
    return None


def unused_patterns(names: Iterable[str], provider: str) -> Iterator[str]:
    """Patterns that match no test any more."""
    for pattern, _ in EXPECTED[provider]:
        if not any(re.fullmatch(pattern, name) for name in names):
            yield pattern
