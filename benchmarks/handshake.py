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
BATCH = 10
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL"}
FIRST_SEEN = "native, first seen"

# How often each is needed in one handshake, both sides together.
NEEDED = {"x25519 keygen": 2, "x25519 exchange": 2, "p256 sign": 1, "p256 verify": 1, "chain verify": 1}


def measure(run: Run) -> list[Line]:
    resumed = attrs.evolve(run.terms, resumed=True)
    mutual = attrs.evolve(run.terms, mutual=True)
    hybrid = attrs.evolve(run.terms, group="X25519MLKEM768")
    lines = _full(run)
    lines += _compared("resumed (psk_dhe_ke)", _all(resumed), {"ssl": 0.65, "pyopenssl": 0.9}, run)
    lines += _compared("mutual authentication", _all(mutual), {"ssl": 0.7, "pyopenssl": 0.95}, run)
    # The OpenSSL of Python's ssl may be too old for this group.
    two = agreed([Native(hybrid), Native(hybrid, fresh=True), PyOpenSSL(hybrid)], hybrid)
    lines += _compared("full, X25519MLKEM768", two, {"pyopenssl": 0.95}, run)
    return lines


def _all(terms: Terms) -> list[Contender]:
    return agreed([Native(terms), Native(terms, fresh=True), Stdlib(terms), PyOpenSSL(terms)], terms)


def _full(run: Run) -> list[Line]:
    works: dict[str, Callable[[], object]] = {one.name: one.connect for one in _all(run.terms)}
    found = by_turns(works | _primitives(run.terms), run.rounds, BATCH)
    total = [sum(NEEDED[name] * found[name][number] for name in NEEDED) for number in range(run.rounds)]
    lines = []
    for ours, what in (("native", "full"), (FIRST_SEEN, "full, chain first seen")):
        for other, goal in (("ssl", 0.65), ("pyopenssl", 0.9)):
            lines.append(times(what, SHOWN[other], found[ours], found[other], goal))
        lines.append(times(what, "its primitives", found[ours], total, 1.6))
    return lines


def _compared(what: str, found: list[Contender], goals: dict[str, float], run: Run) -> list[Line]:
    works: dict[str, Callable[[], object]] = {one.name: one.connect for one in found}
    seconds = by_turns(works, run.rounds, BATCH)
    return [
        times(words, SHOWN[other], seconds[ours], seconds[other], goal)
        for ours, words in (("native", what), (FIRST_SEEN, f"{what}, chain first seen"))
        for other, goal in goals.items()
    ]


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
