"""How cost grows: with connections at once, the size of a write, a peer that drips, the length of a chain."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from benchmarks.contenders import Connection, Contender, Native, NativeConnection, Terms, contenders
from benchmarks.interleave import by_turns
from benchmarks.lines import Line, Run, times
from tlsprovider.errors import WantRead

TITLE = "How cost grows"
MEBIBYTE = 1 << 20
CONCURRENT, QUICK_CONCURRENT = (10, 100, 1_000, 5_000), (10, 100, 1_000)
WRITES, QUICK_WRITES = (1, 1_024, 16_384, 65_536, MEBIBYTE, 16 * MEBIBYTE, 64 * MEBIBYTE), (1, 16_384, MEBIBYTE)
DRIPPED = (1_000, 4_000, 16_000)
# Certificates that a server sends. The verifier of `cryptography` takes no more than eight authorities.
CHAINS = (1, 2, 4, 9)
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL"}


def measure(run: Run) -> list[Line]:
    return [*_connections(run), *_writes(run), *_drips(run), *_chains(run)]


# -- connections at once -----------------------------------------------------------------------------------------------


def _connections(run: Run) -> Iterator[Line]:
    """Handshakes while so many connections are open; and their memory, each stack's in a process of its own."""
    for count in QUICK_CONCURRENT if run.quick else CONCURRENT:
        found = {one.name: _hold(one, count)[0] for one in contenders(run.terms)}
        ours = found["native"]
        for name, shown in SHOWN.items():
            what = f"handshakes, {count:,} at once"
            yield Line(what, shown, "rate", 1 / ours, "a second", 1 / found[name], found[name] / ours)
        if count < 1_000:
            # So few fit into what a process has anyway.
            continue
        memory = {name: _hold_in_child(name, count) for name in found}
        for name, shown in SHOWN.items():
            what, theirs = f"both ends of {count:,} connections", memory[name]
            yield Line(what, shown, "memory", memory["native"], "KiB each", theirs, memory["native"] / theirs)


def _hold(contender: Contender, count: int) -> tuple[float, float]:
    """``(seconds for one handshake, KiB of one connection)``, both ends together."""
    contender.connect()
    gc.collect()
    before = _resident()
    begin = time.process_time()
    held = [contender.connect() for _ in range(count)]
    seconds = (time.process_time() - begin) / count
    gc.collect()
    grown = _resident() - before
    del held
    return seconds, max(grown, 1) / 1024 / count


def _hold_in_child(name: str, count: int) -> float:
    """KiB of one connection, where nobody else has left room."""
    command = [sys.executable, "-m", "benchmarks.growth", name, str(count)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _resident() -> int:
    """Bytes of memory that this process has (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


# -- the size of one write ---------------------------------------------------------------------------------------------


def _writes(run: Run) -> Iterator[Line]:
    """Time per byte should not depend on how much is written in one call."""
    for size in QUICK_WRITES if run.quick else WRITES:
        connection, data = Native(run.terms).connect(), bytes(size)
        batch = max(1, min(200, MEBIBYTE // size))
        rounds = max(2, min(run.rounds, 256 * MEBIBYTE // (size * batch)))
        seconds = median(by_turns({"native": _carry(connection, data)}, rounds, batch)["native"])
        yield Line(f"one write of {size:,} bytes", "", "rate", size / seconds / 1e6, "MB/s")


def _carry(connection: Connection, data: bytes) -> Callable[[], object]:
    return lambda: connection.carry(data)


# -- a peer that drips -------------------------------------------------------------------------------------------------


def _drips(run: Run) -> Iterator[Line]:
    """A record that comes one byte at a time."""
    for size in DRIPPED:
        connection = Native(run.terms).connect()
        seconds = median(by_turns({"drip": _drip(connection, bytes(size))}, min(run.rounds, 10), 1)["drip"])
        yield Line(f"a record of {size:,} bytes, dripping", "", "time", seconds / size * 1e6, "µs a byte")


def _drip(connection: NativeConnection, data: bytes) -> Callable[[], object]:
    def drip() -> None:
        connection.client.write(data)
        record = connection.client.process_outgoing()
        for index in range(len(record)):
            connection.server.process_incoming(record[index : index + 1])
            try:
                connection.server.read()
            except WantRead:
                continue

    return drip


# -- the length of a chain ---------------------------------------------------------------------------------------------


def _chains(run: Run) -> Iterator[Line]:
    for length in CHAINS:
        terms = Terms.make(intermediates=length - 1)
        works: dict[str, Callable[[], object]] = {
            one.name: one.connect for one in [*contenders(terms), Native(terms, fresh=True)]
        }
        seconds = by_turns(works, min(run.rounds, 10), 5)
        for ours, words in (("native", ""), ("native, first seen", ", first seen")):
            what = f"handshake, {length} certificates{words}"
            for other, shown in SHOWN.items():
                yield times(what, shown, seconds[ours], seconds[other])


if __name__ == "__main__":
    (chosen,) = [one for one in contenders(Terms.make()) if one.name == sys.argv[1]]
    print(_hold(chosen, int(sys.argv[2]))[1])
