"""``tlsprovider keyserver``: a process that holds private keys and signs handshakes for others."""

from __future__ import annotations

import asyncio
import logging
import resource

import click

from tlsprovider.cli.options import log_lines
from tlsprovider.keyserver.server import Keys, listen, serve

__all__ = ["command"]


@click.command("keyserver")
@click.option("--listen", "place", required=True, metavar="PATH", help="The Unix socket to make; its mode is 0600.")
@click.option("--key", "paths", required=True, multiple=True, metavar="FILE", help="A private key (PEM). Repeatable.")
def command(place: str, paths: tuple[str, ...]) -> None:
    """Sign TLS handshakes over a Unix socket until interrupted (SIGINT or SIGTERM).

    Only its owner can connect. A server shows a certificate whose key is here with serve --key-server PATH.
    """
    # A core file would hold the keys.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    keys = Keys.from_files(paths)
    listener = listen(place)
    log_lines("tlsprovider.keyserver", logging.WARNING)
    count = "1 key" if len(keys) == 1 else f"{len(keys)} keys"
    asyncio.run(serve(keys, listener, running=lambda: click.echo(f"signing with {count} at {place}")))
