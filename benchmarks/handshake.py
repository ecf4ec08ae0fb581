"""Full handshakes, both sides together; and the cryptography in them, which no implementation can go below."""

from __future__ import annotations

import datetime
from collections.abc import Callable

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.x509.verification import PolicyBuilder, Store

from benchmarks.contenders import NAME, Contender, Native, PyOpenSSL, Stdlib, Terms, agreed
from benchmarks.interleave import by_turns
from benchmarks.lines import Line, Run, times

TITLE = "Handshakes in memory, client and server together"
BATCH = 20
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL", "primitives": "its primitives"}

# How often each is needed in one handshake, both sides together.
NEEDED = {"x25519 keygen": 2, "x25519 exchange": 2, "p256 sign": 1, "p256 verify": 1, "chain verify": 1}


def measure(run: Run) -> list[Line]:
    resumed = attrs.evolve(run.terms, resumed=True)
    mutual = attrs.evolve(run.terms, mutual=True)
    hybrid = attrs.evolve(run.terms, group="X25519MLKEM768")
    return [
        *_compared("full", run.terms, {"ssl": 0.65, "pyopenssl": 0.9, "primitives": 1.6}, run.rounds),
        *_compared("resumed (psk_dhe_ke)", resumed, {"ssl": 0.65, "pyopenssl": 0.9}, run.rounds),
        *_compared("mutual authentication", mutual, {"ssl": 0.7, "pyopenssl": 0.95}, run.rounds),
        # The OpenSSL of Python's ssl may be too old for this group.
        *_compared("full, X25519MLKEM768", hybrid, {"pyopenssl": 0.95}, run.rounds),
    ]


def _compared(what: str, terms: Terms, goals: dict[str, float], rounds: int) -> list[Line]:
    """Twice, each with its own turns: what one run remembers, the other would forget."""
    lines = []
    for fresh, words in ((False, what), (True, f"{what}, chain first seen")):
        others = [kind(terms) for kind in (Stdlib, PyOpenSSL) if kind.name in goals]
        found: list[Contender] = agreed([Native(terms, fresh), *others], terms)
        works: dict[str, Callable[[], object]] = {one.name: one.connect for one in found}
        if "primitives" in goals:
            works |= _primitives(terms)
        seconds = by_turns(works, rounds, BATCH)
        if "primitives" in goals:
            seconds["primitives"] = [
                sum(NEEDED[name] * seconds[name][turn] for name in NEEDED) for turn in range(rounds)
            ]
        ours = seconds[found[0].name]
        lines += [times(words, SHOWN[other], ours, seconds[other], goal) for other, goal in goals.items()]
    return lines


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
