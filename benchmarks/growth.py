"""How cost grows: with connections at once, the size of a write, a peer that drips, the length of a chain.

What should stay the same is set against the smallest of its kind: a rate should not fall by more than a quarter, and
time for each byte not grow by more.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Literal

import attrs

from benchmarks.contenders import Contender, Native, NativeConnection, Terms, contenders
from benchmarks.interleave import Times, by_turns
from benchmarks.lines import Line, Run, times
from tlsprovider.errors import WantRead

TITLE = "How cost grows"
MEBIBYTE = 1 << 20
CONCURRENT, QUICK_CONCURRENT = (10, 100, 1_000, 5_000), (10, 100, 1_000)
SMALL_WRITES, WRITES = (1, 1_024), (16_384, 65_536, MEBIBYTE, 16 * MEBIBYTE, 64 * MEBIBYTE)
# What the adapters give to an engine at once.
RUN = 128 * 1024
DRIPPED = (1_000, 4_000, 16_000, 64_000)
# Certificates that a server sends: itself and its authorities, of which the verifier of `cryptography` takes eight at
# most; then the root, which need not be sent, is the tenth.
CHAINS = (1, 2, 4, 9, 10)
MOST_VERIFIED = 9
FLAT_RATE, FLAT_TIME = 0.75, 1.25
SHOWN = {"ssl": "Python's ssl", "pyopenssl": "pyOpenSSL"}


def measure(run: Run) -> list[Line]:
    return [*_connections(run), *_writes(run), *_drips(run), *_chains(run)]


# -- connections at once -----------------------------------------------------------------------------------------------


def _connections(run: Run) -> Iterator[Line]:
    """Handshakes until so many connections are open; and the memory of both ends of each."""
    counts = QUICK_CONCURRENT if run.quick else CONCURRENT
    found = contenders(run.terms)
    memory = {one.name: _memory_in_child(one.name, counts) for one in found}
    for count in counts:
        seconds = _hold_by_turns(found, count, max(1, min(run.rounds, (600 if run.quick else 15_000) // count)))
        for name, shown in SHOWN.items():
            ours, theirs = median(seconds["native"]), median(seconds[name])
            ratio = median(other / one for one, other in zip(seconds["native"], seconds[name], strict=True))
            yield Line(f"handshakes, {count:,} at once", shown, "rate", 1 / ours, "a second", 1 / theirs, ratio)
        for name, shown in SHOWN.items():
            what, own, theirs = f"both ends of {count:,} connections", memory["native"][count], memory[name][count]
            yield Line(what, shown, "memory", own, "KiB each", theirs, own / theirs)


def _hold_by_turns(found: list[Contender], count: int, rounds: int) -> Times:
    """Seconds for each handshake while all connections of one contender stay open."""
    seconds: Times = {one.name: [] for one in found}
    for number in range(rounds):
        first = number % len(found)
        for one in found[first:] + found[:first]:
            one.connect()
            gc.collect()
            begin = time.process_time()
            held = [one.connect() for _ in range(count)]
            seconds[one.name].append((time.process_time() - begin) / count)
            del held
    return seconds


def _memory_in_child(name: str, counts: tuple[int, ...]) -> dict[int, float]:
    """KiB of one connection. Python's own allocator is switched off there, so that every byte can be counted."""
    command = [sys.executable, "-m", "benchmarks.growth", name, *map(str, counts)]
    finished = subprocess.run(
        command, env={**os.environ, "PYTHONMALLOC": "malloc"}, stdout=subprocess.PIPE, text=True, check=True
    )
    return {int(count): kibibytes for count, kibibytes in json.loads(finished.stdout).items()}


def _memory(contender: Contender, count: int) -> float:
    contender.connect()
    gc.collect()
    before = _allocated()
    held = [contender.connect() for _ in range(count)]
    gc.collect()
    grown = _allocated() - before
    del held
    return grown / 1024 / count


class _MallInfo(ctypes.Structure):
    """``struct mallinfo2`` of mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


def _allocated() -> int:
    """Bytes that the C library has given out and not got back (glibc).

    What the process has of the system's memory says nothing about few connections: they fit into what is there.
    """
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


# -- the size of one write ---------------------------------------------------------------------------------------------


def _writes(run: Run) -> Iterator[Line]:
    """Time per byte should not depend on how much is written in one call, from a whole record on.

    An engine gives back all that a write has sealed as one piece. So the adapters give it large writes in runs, and
    send each before the next; whoever drives an engine without them should do so too. The last lines say why.
    """
    connection = Native(run.terms).connect()
    sizes = (*SMALL_WRITES, *WRITES)
    rounds = max(3, min(run.rounds // 2, 20))
    seconds = by_turns({str(size): partial(_in_runs, connection, bytes(size)) for size in sizes}, rounds, 1)
    rate = {size: [_worth(size) * size / 1e6 / one for one in seconds[str(size)]] for size in sizes}
    for size in sizes:
        what, ours = f"one write of {size:,} bytes", median(rate[size])
        if size <= WRITES[0]:
            yield Line(what, "", "rate", ours, "MB/s")
        else:
            yield _flat(what, "rate", "MB/s", rate[size], rate[WRITES[0]], f"{WRITES[0]:,} bytes")
    for size in WRITES[2:-1] if run.quick else WRITES[2:]:
        found = by_turns({"whole": partial(connection.carry, bytes(size))}, 3, 1)["whole"]
        yield Line(f"{size:,} bytes to the engine in one piece", "", "rate", size / 1e6 / median(found), "MB/s")


def _worth(size: int) -> int:
    """How often a write of this size is made in one measurement."""
    return max(1, min(200, MEBIBYTE // size))


def _in_runs(connection: NativeConnection, data: bytes) -> None:
    client, server = connection.client, connection.server
    for _ in range(_worth(len(data))):
        # As in TLSStream.send_all: a view costs more than it saves where there is a single record.
        rest = data if len(data) <= WRITES[0] else memoryview(data)
        for start in range(0, len(data), RUN):
            client.write(rest[start : start + RUN])
            server.process_incoming(client.process_outgoing())
            server.read()


def _flat(
    what: str, measure: Literal["time", "rate"], unit: str, values: list[float], first: list[float], against: str
) -> Line:
    """A line of what should be as it is for the smallest."""
    ratio = median(one / other for one, other in zip(values, first, strict=True))
    goal = FLAT_RATE if measure == "rate" else FLAT_TIME
    return Line(what, against, measure, median(values), unit, median(first), ratio, goal)


# -- a peer that drips -------------------------------------------------------------------------------------------------


def _drips(run: Run) -> Iterator[Line]:
    """Records that come one byte at a time."""
    connection = Native(run.terms).connect()
    works = {str(size): partial(_drip, connection, bytes(size)) for size in DRIPPED}
    seconds = by_turns(works, max(3, min(run.rounds // 2, 10)), 1)
    each = {size: [one / size * 1e6 for one in seconds[str(size)]] for size in DRIPPED}
    for size in DRIPPED:
        what = f"{size:,} bytes, dripping"
        if size == DRIPPED[0]:
            yield Line(what, "", "time", median(each[size]), "µs a byte")
        else:
            yield _flat(what, "time", "µs a byte", each[size], each[DRIPPED[0]], f"{DRIPPED[0]:,} bytes")


def _drip(connection: NativeConnection, data: bytes) -> None:
    connection.client.write(data)
    records = connection.client.process_outgoing()
    for index in range(len(records)):
        connection.server.process_incoming(records[index : index + 1])
        try:
            connection.server.read()
        except WantRead:
            continue


# -- the length of a chain ---------------------------------------------------------------------------------------------


def _chains(run: Run) -> Iterator[Line]:
    for length in CHAINS:
        terms = _terms(length)
        works: dict[str, Callable[[], object]] = {
            one.name: one.connect for one in [*contenders(terms), Native(terms, fresh=True)]
        }
        seconds = by_turns(works, min(run.rounds, 4 if run.quick else 10), 5)
        for ours, words in (("native", ""), ("native, first seen", ", first seen")):
            what = f"handshake, {_counted(length)}{words}"
            for other, shown in SHOWN.items():
                yield times(what, shown, seconds[ours], seconds[other])


def _terms(length: int) -> Terms:
    terms = Terms.make(intermediates=min(length, MOST_VERIFIED) - 1)
    if length <= MOST_VERIFIED:
        return terms
    sent = (*terms.issued.certificates, terms.authority.certificate)
    return attrs.evolve(terms, issued=attrs.evolve(terms.issued, certificates=sent))


def _counted(length: int) -> str:
    if length > MOST_VERIFIED:
        return f"{length} certificates, the root among them"
    return f"{length} certificates" if length > 1 else "1 certificate"


if __name__ == "__main__":
    (chosen,) = [one for one in contenders(Terms.make()) if one.name == sys.argv[1]]
    json.dump({count: _memory(chosen, int(count)) for count in sys.argv[2:]}, sys.stdout)
