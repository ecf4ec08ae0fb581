"""``tlsprovider connect``: a TLS client for the terminal."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import attrs
import click
import trio
from rich.console import Console

from tlsprovider.cli.failures import Failure, sentence
from tlsprovider.cli.options import Address, address, common, common_fields, identity_from
from tlsprovider.cli.parameters import certificate_rows, parameter_rows, print_rows, session_rows
from tlsprovider.config import ClientConfig
from tlsprovider.providers import get_provider
from tlsprovider.providers.shared import tell_port
from tlsprovider.session import MemorySessions
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from tlsprovider.engine import NativeEngine

__all__ = ["command"]

CONNECT_SECONDS = 30
CHUNK = 64 * 1024
STDIN, STDOUT = 0, 1
INTERRUPTED = 130
"""What a shell says of a program that was ended by the keyboard: 128 and the number of the signal."""


@click.command("connect")
@click.argument("server", type=address, metavar="HOST:PORT")
@click.option("--ca", metavar="FILE", help="Believe these authorities (PEM) in place of the system's.")
@click.option("--name", metavar="NAME", help="The name that the certificate must have, if it is not HOST.")
@click.option("--cert", metavar="FILE", help="Show this certificate (PEM, with its chain) when asked for one.")
@click.option("--key", metavar="FILE", help="The key of --cert, if it is not in the same file.")
@click.option("--insecure", is_flag=True, help="Do not verify the server's certificate.")
@click.option(
    "--reconnect",
    type=click.IntRange(0, 100),
    default=0,
    metavar="N",
    help="Connect N times more, one after the other, with the same input. Sessions are resumed.",
)
@click.option(
    "--early-data",
    type=click.File("rb"),
    metavar="FILE",
    help="Begin with this: sent early (0-RTT) where a session allows it, else when the handshake is complete.",
)
@click.option("--sessions", metavar="FILE", help="Keep sessions in this file, for the next time.")
@common
def command(
    server: Address,
    ca: str | None,
    name: str | None,
    cert: str | None,
    key: str | None,
    insecure: bool,
    reconnect: int,
    early_data: BinaryIO | None,
    sessions: str | None,
    provider: str,
    **options: str | None,
) -> None:
    """Connect to HOST:PORT, show what was negotiated, and join the connection to standard input and output.

    The end of standard input sends close_notify; what the server still says is shown until it closes too.
    """
    if server.host is None:
        raise Failure(f"{server}: connect to which host? Write it before the colon")
    fields = common_fields(**options)
    store = MemorySessions()
    if early_data is not None:
        fields["early_data"] = True
    if sessions is not None:
        fields["sessions"] = store
        if Path(sessions).exists():
            store.load(sessions)
    config = ClientConfig(
        trust=TrustStore.system() if ca is None else TrustStore.from_file(ca),
        identity=identity_from(cert, key),
        insecure_skip_verify=insecure,
        **fields,
    )
    visits = Visits(reconnect, early_data.read() if early_data is not None else b"")
    # What the provider can't do, or can't do for this name, is to be known before anybody is bothered.
    get_provider(provider).client_engine(config, name or server.host)
    try:
        trio.run(partial(visits.run, partial(_converse, server, config, name or server.host, provider)))
        if sessions is not None:
            store.save(sessions)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except (OSError, trio.BrokenResourceError) as problem:
        raise Failure(f"{server}: {sentence(problem)}") from problem
    except BaseExceptionGroup as problems:
        if problems.subgroup(KeyboardInterrupt):
            raise SystemExit(INTERRUPTED) from None
        if problems.split((OSError, trio.BrokenResourceError))[1] is not None:
            raise
        raise Failure(f"{server}: {sentence(problems)}") from problems


Read = Callable[[], Awaitable[bytes]]
"""Gives the next piece of input; empty at its end."""


@attrs.define
class Visits:
    """One connection or several, with the same input; ``early`` is what each begins with."""

    more: int
    early: bytes

    async def run(self, converse: Callable[[Read, bytes], Awaitable[None]]) -> None:
        if not self.more:
            await converse(_standard_input, self.early)
            return
        # For a second time it has to be known.
        data = b""
        while piece := await _standard_input():
            data += piece
        for _ in range(1 + self.more):
            await converse(_once(data), self.early)


async def _standard_input() -> bytes:
    return await trio.to_thread.run_sync(os.read, STDIN, CHUNK, abandon_on_cancel=True)


def _once(data: bytes) -> Read:
    pieces = [b"", data]

    async def read() -> bytes:
        return pieces.pop() if pieces else b""

    return read


async def _converse(server: Address, config: ClientConfig, name: str, provider: str, read: Read, early: bytes) -> None:
    assert server.host is not None
    with trio.move_on_after(CONNECT_SECONDS) as in_time:
        async with await trio.open_tcp_stream(server.host, server.port) as transport:
            stream = TLSStream(transport, config, name, provider=provider)
            tell_port(stream.engine, server.port)
            if early:
                cast("NativeEngine", stream.engine).write_early(early)
            await stream.do_handshake()
            in_time.deadline = math.inf
            rows = certificate_rows(stream) + parameter_rows(stream) + session_rows(stream, bool(early))
            print_rows(rows, Console(stderr=True, highlight=False))
            async with stream, trio.open_nursery() as nursery:
                # Whether it is harmless to send it now was asked of the person who wrote --early-data.
                late = early if stream.early_data != "accepted" else b""
                nursery.start_soon(_send_input, stream, late, read)
                await _show_output(stream)
                nursery.cancel_scope.cancel()
    if in_time.cancelled_caught:
        raise Failure(f"{server}: no answer within {CONNECT_SECONDS} seconds")


async def _send_input(stream: TLSStream[trio.SocketStream], first: bytes, read: Read) -> None:
    if first:
        await stream.send_all(first)
    while data := await read():
        await stream.send_all(data)
    await stream.send_eof()


async def _show_output(stream: TLSStream[trio.SocketStream]) -> None:
    async for data in stream:
        try:
            _write(data)
        except BrokenPipeError:
            # Whoever read our output has seen enough.
            return


def _write(data: bytes | bytearray) -> None:
    unwritten = memoryview(data)
    while unwritten:
        unwritten = unwritten[os.write(STDOUT, unwritten) :]
