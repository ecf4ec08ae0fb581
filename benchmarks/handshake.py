"""Full handshakes, both sides together; and the cryptography in them, which no implementation can go below."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.x509.verification import PolicyBuilder, Store

from benchmarks.contenders import NAME, Terms, contenders
from benchmarks.interleave import by_turns, microseconds, ratio

BATCH = 20

# How often each is needed in one handshake, both sides together.
NEEDED = {"x25519 keygen": 2, "x25519 exchange": 2, "p256 sign": 1, "p256 verify": 1, "chain verify": 1}
SUM = "primitives"


def measure(terms: Terms, rounds: int) -> dict[str, Any]:
    """``microseconds`` for each contender and primitive; ``ratios``: time of the native engine by time of another."""
    works: dict[str, Callable[[], object]] = {one.name: one.connect for one in contenders(terms)}
    times = by_turns(works | _primitives(terms), rounds, BATCH)
    times[SUM] = [sum(NEEDED[name] * times[name][number] for name in NEEDED) for number in range(rounds)]
    return {
        "microseconds": microseconds(times),
        "needed": NEEDED,
        "ratios": {f"native/{other}": ratio(times, "native", other) for other in ("ssl", "pyopenssl", SUM)},
    }


def _primitives(terms: Terms) -> dict[str, Callable[[], object]]:
    key, leaf_key = X25519PrivateKey.generate(), terms.issued.private_key
    assert isinstance(leaf_key, ec.EllipticCurvePrivateKey)
    share = X25519PrivateKey.generate().public_key().public_bytes_raw()
    message, algorithm = bytes(130), ec.ECDSA(hashes.SHA256())
    signature, public = leaf_key.sign(message, algorithm), leaf_key.public_key()
    policy = PolicyBuilder().store(Store([terms.authority.certificate])).time(datetime.datetime.now(datetime.UTC))
    leaf, subject = terms.issued.certificate, x509.DNSName(NAME)
    return {
        "x25519 keygen": lambda: X25519PrivateKey.generate().public_key().public_bytes_raw(),
        "x25519 exchange": lambda: key.exchange(X25519PublicKey.from_public_bytes(share)),
        "p256 sign": lambda: leaf_key.sign(message, algorithm),
        "p256 verify": lambda: public.verify(signature, message, algorithm),
        "chain verify": lambda: policy.build_server_verifier(subject).verify(leaf, []),
    }
