"""Application data: sealed by one side, moved, and opened by the other; and the cipher alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks.contenders import Connection, Terms, contenders
from benchmarks.interleave import by_turns, microseconds, ratio

SIZES = (16_384, 1_024, 100)
BATCH = 300
CIPHER = "aead"


def measure(terms: Terms, rounds: int) -> list[dict[str, Any]]:
    """For each size of a record ``microseconds``, ``megabytes_per_second`` and ``ratios`` of times."""
    connections = {one.name: one.connect() for one in contenders(terms)}
    return [_measure_size(connections, size, rounds) for size in SIZES]


def _measure_size(connections: dict[str, Connection], size: int, rounds: int) -> dict[str, Any]:
    data = bytes(size)
    works: dict[str, Callable[[], object]] = {CIPHER: _cipher(data)}
    for name, connection in connections.items():
        if connection.carry(data) != size:
            raise RuntimeError(f"{name} does not carry {size} bytes at once")
        works[name] = _carry(connection, data)
    times = by_turns(works, rounds, BATCH)
    found = microseconds(times)
    return {
        "size": size,
        "microseconds": found,
        "megabytes_per_second": {name: round(size / value, 1) for name, value in found.items()},
        "ratios": {f"native/{other}": ratio(times, "native", other) for other in ("ssl", "pyopenssl", CIPHER)},
    }


def _carry(connection: Connection, data: bytes) -> Callable[[], object]:
    return lambda: connection.carry(data)


def _cipher(data: bytes) -> Callable[[], object]:
    """Encryption and decryption of what such a record holds, and nothing else."""
    aead, nonce, header = AESGCM(bytes(16)), bytes(12), bytes(5)
    inner = data + b"\x17"
    return lambda: aead.decrypt(nonce, aead.encrypt(nonce, inner, header), header)
