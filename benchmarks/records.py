"""Application data: sealed by one side, moved, and opened by the other; and the cipher alone."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.contenders import Connection, contenders
from benchmarks.interleave import by_turns
from benchmarks.lines import Line, Run, rates

TITLE = "Application data in memory, sealed and opened, one write at a time"
BATCH = 200

# For each size of a write: against whom, and how much of their rate ours should be.
GOALS: dict[int, dict[str, float | None]] = {
    16_384: {"ssl": 1.1, "pyopenssl": 1.5, "aead": 0.75},
    1_024: {"ssl": 0.8, "pyopenssl": None, "aead": None},
    100: {"ssl": 0.8, "pyopenssl": None, "aead": None},
}
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL", "aead": "the cipher alone"}


def measure(run: Run) -> list[Line]:
    connections = {one.name: one.connect() for one in contenders(run.terms)}
    return [line for size in GOALS for line in _measure_size(connections, size, run.rounds)]


def _measure_size(connections: dict[str, Connection], size: int, rounds: int) -> list[Line]:
    data = bytes(size)
    works: dict[str, Callable[[], object]] = {"aead": _cipher(data)}
    for name, connection in connections.items():
        if connection.carry(data) != size:
            raise RuntimeError(f"{name} does not carry {size} bytes at once")
        works[name] = _carry(connection, data)
    seconds = by_turns(works, rounds, BATCH)
    return [
        rates(f"{size:,} bytes", SHOWN[other], size, seconds["native"], seconds[other], goal)
        for other, goal in GOALS[size].items()
    ]


def _carry(connection: Connection, data: bytes) -> Callable[[], object]:
    return lambda: connection.carry(data)


def _cipher(data: bytes) -> Callable[[], object]:
    """Encryption and decryption of what such a record holds, and nothing else."""
    aead, nonce, header = AESGCM(bytes(16)), bytes(12), bytes(5)
    inner = data + b"\x17"
    return lambda: aead.decrypt(nonce, aead.encrypt(nonce, inner, header), header)
