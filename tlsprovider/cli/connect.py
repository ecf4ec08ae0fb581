"""``tlsprovider connect``: a TLS client for the terminal."""

from __future__ import annotations

import math
import os
from functools import partial

import click
import trio
from rich.console import Console

from tlsprovider.cli.failures import Failure, sentence
from tlsprovider.cli.options import Address, address, common, common_fields, identity_from
from tlsprovider.cli.parameters import certificate_rows, parameter_rows, print_rows
from tlsprovider.config import ClientConfig
from tlsprovider.providers import get_provider
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

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
@common
def command(
    server: Address,
    ca: str | None,
    name: str | None,
    cert: str | None,
    key: str | None,
    insecure: bool,
    provider: str,
    **options: str | None,
) -> None:
    """Connect to HOST:PORT, show what was negotiated, and join the connection to standard input and output.

    The end of standard input sends close_notify; what the server still says is shown until it closes too.
    """
    if server.host is None:
        raise Failure(f"{server}: connect to which host? Write it before the colon")
    config = ClientConfig(
        trust=TrustStore.system() if ca is None else TrustStore.from_file(ca),
        identity=identity_from(cert, key),
        insecure_skip_verify=insecure,
        **common_fields(**options),
    )
    # What the provider can't do, or can't do for this name, is to be known before anybody is bothered.
    get_provider(provider).client_engine(config, name or server.host)
    try:
        trio.run(partial(_converse, server, config, name or server.host, provider))
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


async def _converse(server: Address, config: ClientConfig, name: str, provider: str) -> None:
    assert server.host is not None
    with trio.move_on_after(CONNECT_SECONDS) as in_time:
        async with await trio.open_tcp_stream(server.host, server.port) as transport:
            stream = TLSStream(transport, config, name, provider=provider)
            await stream.do_handshake()
            in_time.deadline = math.inf
            print_rows(certificate_rows(stream) + parameter_rows(stream), Console(stderr=True, highlight=False))
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(_send_input, stream)
                await _show_output(stream)
                nursery.cancel_scope.cancel()
    if in_time.cancelled_caught:
        raise Failure(f"{server}: no answer within {CONNECT_SECONDS} seconds")


async def _send_input(stream: TLSStream[trio.SocketStream]) -> None:
    while data := await trio.to_thread.run_sync(os.read, STDIN, CHUNK, abandon_on_cancel=True):
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
