"""trio over loopback TCP, both ends in one process: our stream next to trio's own, and next to none.

Processor time is counted, which is that of both ends and of trio's run loop. Every contender has a listener and a
connection that stays; they are measured by turns in one run. Visits are made as programs make them, by the helpers of
each library: ours, and those of trio for its own stream. What idle connections take is measured in processes of their
own, since memory that was once used doesn't go back.

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
from tlsprovider.trio import TLSStream, open_tls_stream, serve_tls

TITLE = "trio over loopback TCP, both ends in one process"

OURS, TRIOS, OVER_CONTEXT, TCP = "ours", "trio.SSLStream", "trio.SSLStream over our SSLContext", "TCP without TLS"
MEBIBYTE = 1 << 20
PIECES = {"64 KiB": 1 << 16, "1 MiB": MEBIBYTE}
BULK, QUICK_BULK = 16 * MEBIBYTE, 4 * MEBIBYTE
ROUND_TRIPS, QUICK_ROUND_TRIPS = 300, 100
IN_A_ROW, AT_ONCE = 5, 20
IDLE, QUICK_IDLE = 2000, 200
DONE = b"."
HOST = "127.0.0.1"

Stream = trio.abc.Stream
Wrap = Callable[[trio.SocketStream], Stream]


@attrs.frozen
class Contender:
    """How each end of a TCP connection becomes a stream, and the helpers that make and accept connections."""

    client: Wrap
    server: Wrap
    connect: Callable[[int], Awaitable[Stream]]
    serve: Callable[..., Awaitable[object]]


def contenders(terms: Terms) -> dict[str, Contender]:
    native, stdlib = Native(terms), Stdlib(terms)
    client, server = native._client, native._server
    own = Contender(
        lambda below: TLSStream(below, client, NAME),
        lambda below: TLSStream(below, server, None, True),
        lambda port: open_tls_stream(HOST, port, client, server_hostname=NAME),
        partial(serve_tls, config=server),
    )
    return {
        OURS: own,
        TRIOS: _with_contexts(stdlib._client, stdlib._server),
        OVER_CONTEXT: _with_contexts(context_for(client), context_for(server)),
        TCP: Contender(_itself, _itself, partial(trio.open_tcp_stream, HOST), trio.serve_tcp),
    }


def _with_contexts(client: ssl.SSLContext, server: ssl.SSLContext) -> Contender:
    async def connect(port: int) -> Stream:
        # trio.open_ssl_over_tcp_stream, which has no place for another name.
        return trio.SSLStream(await trio.open_tcp_stream(HOST, port), client, server_hostname=NAME)

    return Contender(
        lambda below: trio.SSLStream(below, client, server_hostname=NAME),
        lambda below: trio.SSLStream(below, server, server_side=True),
        connect,
        partial(trio.serve_ssl_over_tcp, ssl_context=server),
    )


def _itself(below: trio.SocketStream) -> Stream:
    return below


# -- both ends ---------------------------------------------------------------------------------------------------------


@attrs.define
class Place:
    """A listener of one contender, which echoes, and a connection to another that stays open."""

    contender: Contender
    port: int = 0
    near: Stream = attrs.field(init=False)
    far: Stream = attrs.field(init=False)

    async def open(self, nursery: trio.Nursery, stack: AsyncExitStack) -> None:
        (listener,) = await nursery.start(partial(self.contender.serve, _echo, port=0, host=HOST))
        self.port = getattr(listener, "transport_listener", listener).socket.getsockname()[1]
        (once,) = await trio.open_tcp_listeners(0, host=HOST)
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

    async def bulk(self, size: int, piece: bytes, up: bool) -> None:
        source, sink = (self.near, self.far) if up else (self.far, self.near)

        async def send() -> None:
            for _ in range(size // len(piece)):
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
        async with await self.contender.connect(self.port) as stream:
            await stream.send_all(DONE)
            await stream.receive_some()

    async def visits_in_a_row(self, count: int) -> None:
        for _ in range(count):
            await self.visit()

    async def visits_at_once(self, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.visit)


async def _echo(stream: Stream) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def _shake_hands(stream: Stream) -> None:
    if hasattr(stream, "do_handshake"):
        await stream.do_handshake()


def _suite(stream: Stream) -> str | None:
    cipher: Any = getattr(stream, "cipher", None)
    found: str | None = cipher()[0] if callable(cipher) else cipher
    return found


# -- by turns ----------------------------------------------------------------------------------------------------------


async def by_turns(works: Mapping[str, Callable[[], Awaitable[None]]], rounds: int) -> Times:
    """As :func:`benchmarks.interleave.by_turns`, for what awaits."""
    names = list(works)
    found: Times = {name: [] for name in names}
    for name in names:
        await works[name]()
    gc.collect()
    # What is there already, and stays, isn't looked at in each collection.
    gc.freeze()
    try:
        for number in range(rounds):
            first = number % len(names)
            for name in names[first:] + names[:first]:
                gc.collect()
                begin = time.process_time()
                await works[name]()
                found[name].append(time.process_time() - begin)
    finally:
        gc.unfreeze()
    return found


def measure(run: Run) -> list[Line]:
    return [*trio.run(_measure_times, run), *_memory(run)]


async def _measure_times(run: Run) -> list[Line]:
    places = {name: Place(contender) for name, contender in contenders(run.terms).items()}
    bulk = QUICK_BULK if run.quick else BULK
    count = QUICK_ROUND_TRIPS if run.quick else ROUND_TRIPS
    rounds = min(run.rounds, 5 if run.quick else 30)
    lines: list[Line] = []

    async def found(rounds: int, work: Callable[..., Awaitable[None]], *arguments: object) -> Times:
        return await by_turns({name: partial(work, place, *arguments) for name, place in places.items()}, rounds)

    async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
        for place in places.values():
            await place.open(nursery, stack)
        for where, up in (("client to server", True), ("server to client", False)):
            for words, size in PIECES.items():
                times = await found(rounds, Place.bulk, bulk, bytes(size), up)
                lines += _rates(f"bulk, {where}, {words} a write", bulk, times)
        for size in (100, 1):
            times = await found(rounds, Place.round_trips, size, count)
            lines += _times(f"{size}-byte round trip", times, count, 0.5)
        times = await found(rounds * 2, Place.visits_in_a_row, IN_A_ROW)
        lines += _times("connect, 1 byte there and back, close", times, IN_A_ROW, 0.6)
        times = await found(rounds, Place.visits_at_once, AT_ONCE)
        lines += _times(f"the same, {AT_ONCE} at once, each", times, AT_ONCE, 0.6)
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
    # At the same time, as far as there are processors: time is no matter here.
    children = {name: _hold_in_child(name, count) for name in (OURS, TRIOS, OVER_CONTEXT, TCP)}
    found = {name: _kibibytes(child) for name, child in children.items()}
    for other in (TRIOS, TCP):
        what, ratio = f"both ends of {count:,} idle connections", found[OURS] / found[other]
        yield Line(what, other, "memory", found[OURS], "KiB each", found[other], ratio, 0.4 if other == TRIOS else None)
    what, ratio = f"the same: {OVER_CONTEXT}", found[OVER_CONTEXT] / found[TRIOS]
    yield Line(what, TRIOS, "memory", found[OVER_CONTEXT], "KiB each", found[TRIOS], ratio)


def _hold_in_child(name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.trio", name, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _kibibytes(child: subprocess.Popen[str]) -> float:
    with child:
        found, _ = child.communicate()
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, child.args)
    return float(json.loads(found))


async def _hold(name: str, count: int) -> float:
    """KiB that one connection takes, both ends together."""
    contender = contenders(Terms.make())[name]
    (listener,) = await trio.open_tcp_listeners(0, host=HOST)
    port = listener.socket.getsockname()[1]
    held: list[Stream] = []

    async def connect() -> None:
        near = contender.client(await trio.open_tcp_stream(HOST, port))
        far = contender.server(await listener.accept())
        held.extend((near, far))
        async with trio.open_nursery() as both:
            both.start_soon(_shake_hands, near)
            both.start_soon(_shake_hands, far)
        for one, other in ((near, far), (far, near)):
            await one.send_all(DONE)
            await other.receive_some()

    async with listener:
        try:
            # The first ones also pay for what is made once in a process.
            for _ in range(20):
                await connect()
            gc.collect()
            before = _resident()
            for _ in range(count):
                await connect()
            gc.collect()
            return max(_resident() - before, 1) / 1024 / count
        finally:
            for one in held:
                await trio.aclose_forcefully(one)


def _resident() -> int:
    """Bytes of memory that this process has (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


if __name__ == "__main__":
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    json.dump(trio.run(_hold, sys.argv[1], int(sys.argv[2])), sys.stdout)
