"""trio over loopback TCP, both ends in one process: our stream next to trio's own, and next to none.

Processor time is counted, which is that of both ends and of trio's run loop. Every contender has a listener and a
connection that stays; they are measured by turns in one run. What idle connections take is measured in processes of
their own, one after the other, since memory that was once used doesn't go back.

(This module is ``benchmarks.trio``. Run it as that, never by its path: then it would be found in place of trio itself.)
"""

from __future__ import annotations

import gc
import json
import resource
import ssl
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from benchmarks.contenders import NAME, Native, Stdlib, Terms
from benchmarks.interleave import Times
from benchmarks.lines import Line, Run, rates, times
from tlsprovider.sslcontext import context_for
from tlsprovider.trio import TLSStream

TITLE = "trio over loopback TCP, both ends in one process"

OURS, TRIOS, OVER_CONTEXT, TCP = "ours", "trio.SSLStream", "trio.SSLStream over our SSLContext", "TCP without TLS"
MEBIBYTE = 1 << 20
PIECE = 1 << 16
BULK, QUICK_BULK = 16 * MEBIBYTE, 4 * MEBIBYTE
ROUND_TRIPS, QUICK_ROUND_TRIPS = 300, 100
AT_ONCE = 20
IDLE, QUICK_IDLE = 2000, 200
DONE = b"."

Stream = trio.abc.Stream
Wrap = Callable[[trio.SocketStream], Stream]


@attrs.frozen
class Contender:
    """How each end of a TCP connection becomes a stream."""

    client: Wrap
    server: Wrap


def contenders(terms: Terms) -> dict[str, Contender]:
    native, stdlib = Native(terms), Stdlib(terms)
    client, server = native._client, native._server
    own = Contender(lambda below: TLSStream(below, client, NAME), lambda below: TLSStream(below, server, None, True))
    return {
        OURS: own,
        TRIOS: _with_contexts(stdlib._client, stdlib._server),
        OVER_CONTEXT: _with_contexts(context_for(client), context_for(server)),
        TCP: Contender(lambda below: below, lambda below: below),
    }


def _with_contexts(client: ssl.SSLContext, server: ssl.SSLContext) -> Contender:
    return Contender(
        lambda below: trio.SSLStream(below, client, server_hostname=NAME),
        lambda below: trio.SSLStream(below, server, server_side=True),
    )


# -- both ends ---------------------------------------------------------------------------------------------------------


@attrs.define
class Place:
    """A listener of one contender, which echoes, and a connection to another that stays open."""

    contender: Contender
    port: int = 0
    near: Stream = attrs.field(init=False)
    far: Stream = attrs.field(init=False)

    async def open(self, nursery: trio.Nursery, stack: AsyncExitStack) -> None:
        (listener,) = await nursery.start(partial(trio.serve_tcp, self._echo, 0, host="127.0.0.1"))
        self.port = listener.socket.getsockname()[1]
        (once,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with once:
            self.near = self.contender.client(await trio.open_tcp_stream(*once.socket.getsockname()))
            self.far = self.contender.server(await once.accept())
        stack.push_async_callback(trio.aclose_forcefully, self.near)
        stack.push_async_callback(trio.aclose_forcefully, self.far)
        async with trio.open_nursery() as both:
            both.start_soon(_shake_hands, self.near)
            both.start_soon(_shake_hands, self.far)
        suite = _suite(self.near)
        if suite not in (None, "TLS_AES_128_GCM_SHA256"):
            raise RuntimeError(f"{suite} was negotiated: nothing could be compared")

    async def _echo(self, below: trio.SocketStream) -> None:
        async with self.contender.server(below) as stream:
            async for data in stream:
                await stream.send_all(data)

    async def bulk(self, size: int, up: bool) -> None:
        source, sink = (self.near, self.far) if up else (self.far, self.near)
        piece = bytes(PIECE)

        async def send() -> None:
            for _ in range(size // PIECE):
                await source.send_all(piece)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            left = size
            while left:
                left -= len(await sink.receive_some())

    async def round_trips(self, size: int, count: int) -> None:
        message = bytes(size)

        async def answer() -> None:
            for _ in range(count):
                await self.far.receive_some()
                await self.far.send_all(message)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer)
            for _ in range(count):
                await self.near.send_all(message)
                await self.near.receive_some()

    async def visit(self) -> None:
        """Connect, shake hands, one byte there and back, close."""
        async with self.contender.client(await trio.open_tcp_stream("127.0.0.1", self.port)) as stream:
            await stream.send_all(DONE)
            await stream.receive_some()

    async def visits(self, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.visit)


async def _shake_hands(stream: Stream) -> None:
    if hasattr(stream, "do_handshake"):
        await stream.do_handshake()


def _suite(stream: Stream) -> str | None:
    cipher: Any = getattr(stream, "cipher", None)
    return cipher()[0] if callable(cipher) else cipher


# -- by turns ----------------------------------------------------------------------------------------------------------


async def by_turns(works: Mapping[str, Callable[[], Awaitable[None]]], rounds: int) -> Times:
    """As :func:`benchmarks.interleave.by_turns`, for what awaits."""
    names = list(works)
    found: Times = {name: [] for name in names}
    for name in names:
        await works[name]()
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            gc.collect()
            begin = time.process_time()
            await works[name]()
            found[name].append(time.process_time() - begin)
    return found


def measure(run: Run) -> list[Line]:
    return [*trio.run(_measure_times, run), *_memory(run)]


async def _measure_times(run: Run) -> list[Line]:
    places = {name: Place(contender) for name, contender in contenders(run.terms).items()}
    bulk = QUICK_BULK if run.quick else BULK
    count = QUICK_ROUND_TRIPS if run.quick else ROUND_TRIPS
    rounds = min(run.rounds, 4 if run.quick else 30)
    lines: list[Line] = []
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for place in places.values():
            await place.open(nursery, stack)
        for up, where in ((True, "client to server"), (False, "server to client")):
            found = await by_turns({name: partial(one.bulk, bulk, up) for name, one in places.items()}, rounds)
            lines += _rates(f"bulk, {where}", bulk, found)
        for size, what in ((100, "100-byte round trip"), (1, "1-byte round trip")):
            found = await by_turns(
                {name: partial(one.round_trips, size, count) for name, one in places.items()}, rounds
            )
            lines += _times(what, found, count, 0.5)
        found = await by_turns({name: one.visit for name, one in places.items()}, rounds * 4)
        lines += _times("connect, 1 byte there and back, close", found, 1, 0.6)
        found = await by_turns({name: partial(one.visits, AT_ONCE) for name, one in places.items()}, rounds)
        lines += _times(f"the same, {AT_ONCE} at once, each", found, AT_ONCE, 0.6)
        nursery.cancel_scope.cancel()
    return lines


def _rates(what: str, size: int, found: Times) -> Iterator[Line]:
    yield rates(what, TRIOS, size, found[OURS], found[TRIOS], 2.0)
    yield rates(what, TCP, size, found[OURS], found[TCP])
    yield rates(f"{what}: {OVER_CONTEXT}", TRIOS, size, found[OVER_CONTEXT], found[TRIOS])


def _times(what: str, found: Times, count: int, goal: float) -> Iterator[Line]:
    each = {name: [seconds / count for seconds in values] for name, values in found.items()}
    yield times(what, TRIOS, each[OURS], each[TRIOS], goal)
    yield times(what, TCP, each[OURS], each[TCP])
    yield times(f"{what}: {OVER_CONTEXT}", TRIOS, each[OVER_CONTEXT], each[TRIOS])


# -- memory ------------------------------------------------------------------------------------------------------------


def _memory(run: Run) -> Iterator[Line]:
    """Both ends of so many idle connections; as many as the process may have descriptors for."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    wanted = QUICK_IDLE if run.quick else IDLE
    count = wanted if limit == resource.RLIM_INFINITY else min(wanted, (limit - 100) // 2)
    found = {name: _kibibytes(name, count) for name in (OURS, TRIOS, OVER_CONTEXT, TCP)}
    for other in (TRIOS, TCP):
        what, ratio = f"both ends of {count:,} idle connections", found[OURS] / found[other]
        yield Line(what, other, "memory", found[OURS], "KiB each", found[other], ratio, 0.4 if other == TRIOS else None)
    what, ratio = f"the same: {OVER_CONTEXT}", found[OVER_CONTEXT] / found[TRIOS]
    yield Line(what, TRIOS, "memory", found[OVER_CONTEXT], "KiB each", found[TRIOS], ratio)


def _kibibytes(name: str, count: int) -> float:
    command = [sys.executable, "-m", "benchmarks.trio", name, str(count)]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(finished.stdout))


async def _hold(name: str, count: int) -> float:
    """KiB that one connection takes, both ends together."""
    contender = contenders(Terms.make())[name]
    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        held: list[Stream] = []

        async def connect() -> None:
            near = contender.client(await trio.open_tcp_stream("127.0.0.1", port))
            far = contender.server(await listener.accept())
            held.extend((near, far))
            for one in (near, far):
                stack.push_async_callback(trio.aclose_forcefully, one)
            async with trio.open_nursery() as both:
                both.start_soon(_shake_hands, near)
                both.start_soon(_shake_hands, far)
            if name != TCP:
                await far.send_all(DONE)
                await near.receive_some()

        await connect()
        gc.collect()
        before = _resident()
        for _ in range(count):
            await connect()
        gc.collect()
        grown = _resident() - before
        nursery.cancel_scope.cancel()
        await listener.aclose()
    return max(grown, 1) / 1024 / count


def _resident() -> int:
    """Bytes of memory that this process has (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    json.dump(trio.run(_hold, sys.argv[1], int(sys.argv[2])), sys.stdout)
