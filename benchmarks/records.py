"""Application data: sealed by one side, moved, and opened by the other; in bulk; and the cipher alone."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from contextlib import suppress

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from OpenSSL import SSL

from benchmarks.contenders import Connection, NativeConnection, PyOpenSSLConnection, StdlibConnection, contenders
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
# Large writes, and what comes of them read from the network in pieces of this size, which cut records anywhere.
BULK = (65_536, 262_144)
NETWORK_READ = 65_536
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL", "aead": "the cipher alone"}


def measure(run: Run) -> list[Line]:
    connections = {one.name: one.connect() for one in contenders(run.terms)}
    found = [line for size in GOALS for line in _measure_size(connections, size, run.rounds)]
    return found + [line for size in BULK for line in _measure_bulk(run, size)]


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


def _measure_bulk(run: Run, size: int) -> list[Line]:
    works = {one.name: _stream(one.connect(), size) for one in contenders(run.terms)}
    seconds = by_turns(works, run.rounds, BATCH * 16_384 // size)
    what = f"{size >> 10} KiB, read by {NETWORK_READ >> 10} KiB"
    return [rates(what, SHOWN[other], size, seconds["native"], seconds[other], None) for other in ("ssl", "pyopenssl")]


def _stream(connection: Connection, size: int) -> Callable[[], object]:
    """One write; then the other side opens all that fills a network read, and the rest waits for the next write."""
    data, waiting = bytes(size), b""

    def write_and_read() -> None:
        nonlocal waiting
        wire, position = _seal(connection, data), 0
        while len(waiting) + len(wire) - position >= NETWORK_READ:
            end = position + NETWORK_READ - len(waiting)
            _open(connection, waiting + wire[position:end])
            position, waiting = end, b""
        waiting += wire[position:]

    return write_and_read


def _seal(connection: Connection, data: bytes) -> bytes:
    match connection:
        case NativeConnection():
            connection.client.write(data)
            return bytes(connection.client.process_outgoing())
        case StdlibConnection():
            connection.client.write(data)
            return connection.from_client.read()
        case PyOpenSSLConnection():
            connection.client.sendall(data)
            return connection.client.bio_read(2 * len(data))
    raise TypeError(connection)


def _open(connection: Connection, wire: bytes) -> None:
    """All that is there, as adapters do it: until the stack has no more."""
    match connection:
        case NativeConnection():
            connection.server.process_incoming(wire)
            connection.server.read()
        case StdlibConnection():
            connection.to_server.write(wire)
            _exhaust(connection.server.read)
        case PyOpenSSLConnection():
            connection.server.bio_write(wire)
            _exhaust(connection.server.recv)


def _exhaust(read: Callable[[int], bytes]) -> None:
    with suppress(ssl.SSLWantReadError, SSL.WantReadError):
        while read(NETWORK_READ):
            pass
