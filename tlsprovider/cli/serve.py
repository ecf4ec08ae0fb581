"""``tlsprovider serve``: a TLS server for the terminal."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

import attrs
import click

from tlsprovider.cli.failures import Failure, sentence
from tlsprovider.cli.options import Address, address, common, common_fields, identity_from, log_lines
from tlsprovider.cli.parameters import Negotiated
from tlsprovider.cli.talk import Echo, Page, Talk
from tlsprovider.config import MAX_EARLY_DATA, MAX_TICKET_COUNT, ServerConfig
from tlsprovider.fleet import RedisFleet, fleet_secret
from tlsprovider.identity import Identity
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.keyserver import KeyServer
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore, read_file

__all__ = ["Service", "command"]


@attrs.frozen
class Service:
    """What to serve, and whom to tell: what both frameworks get."""

    address: Address
    sockets: list[socket.socket]
    config: ServerConfig
    provider: str
    talk: Callable[[Callable[[], Negotiated]], Talk]

    def running(self) -> None:
        """Signals end the server in order from here on, so now the world may know of it."""
        click.echo(f"listening on {self.address}")

    def failed(self, peer: object, error: BaseException) -> None:
        """A connection that failed is worth a line and nothing more: the next one may do better."""
        click.echo(f"{peer}: {sentence(error)}", err=True)


def _tickets(text: str) -> int | str:
    """How many, or from where."""
    if "://" in text:
        return text
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_TICKET_COUNT):
        raise Failure(f"--tickets {text}: expected a number from 0 to {MAX_TICKET_COUNT}, or redis://HOST:PORT")
    return int(text)


@click.command("serve")
@click.option("--listen", type=address, default="localhost:8443", show_default=True, metavar="HOST:PORT")
@click.option(
    "--cert",
    required=True,
    metavar="FILE|DIR",
    help="The server's certificate (PEM, with its chain), or a directory of certificates, chosen by name and kept up to"
    " date.",
)
@click.option("--key", metavar="FILE", help="The key of --cert, if it is not in the same file.")
@click.option(
    "--key-server", metavar="PATH", help="Where the tlsprovider keyserver that has the key of --cert listens."
)
@click.option("--http", is_flag=True, help="Answer HTTP requests with the connection's parameters; without it: echo.")
@click.option("--client-ca", metavar="FILE", help="Believe client certificates of these authorities (PEM).")
@click.option(
    "--client-auth",
    type=click.Choice(["none", "request", "require"]),
    help="Whether to ask clients for a certificate; with --client-ca the default is require.",
)
@click.option(
    "--tickets",
    type=_tickets,
    metavar="N|URL",
    help="Session tickets for a client; 0: none. Or the Redis through which servers share them: redis://HOST:PORT, with"
    " their common secret in TLSPROVIDER_FLEET_SECRET.",
)
@click.option(
    "--early-data", type=click.IntRange(0, MAX_EARLY_DATA), metavar="BYTES", help="Accept so much early data (0-RTT)."
)
@click.option("--framework", type=click.Choice(["trio", "twisted"]), default="trio", show_default=True)
@common
def command(
    listen: Address,
    cert: str,
    key: str | None,
    key_server: str | None,
    http: bool,
    client_ca: str | None,
    client_auth: str | None,
    tickets: int | str | None,
    early_data: int | None,
    framework: str,
    provider: str,
    **options: str | None,
) -> None:
    """Serve TLS until interrupted (SIGINT or SIGTERM). Port 0 takes any free one; the line says which."""
    identities = _identities_from(cert, key) if key_server is None else [_remote(cert, key, key_server, framework)]
    if client_ca is None and client_auth in ("request", "require"):
        raise Failure(f"--client-auth {client_auth}: whose certificates are to be believed? Add --client-ca FILE")
    if http:
        options["alpn"] = options["alpn"] or "http/1.1"
    fields = common_fields(**options)
    if isinstance(tickets, int):
        fields["ticket_count"] = tickets
    if early_data is not None:
        fields["max_early_data"] = early_data
    if client_auth is not None or client_ca is not None:
        fields["client_auth"] = client_auth or "require"
    config = ServerConfig(
        identities=identities, trust=None if client_ca is None else TrustStore.from_file(client_ca), **fields
    )
    if isinstance(tickets, str):
        config = _fleet(tickets, framework).join(config)
    # What the provider can't do is to be known now, and not at the first connection.
    get_provider(provider).server_engine(config)
    try:
        sockets = _listen(listen)
    except OSError as error:
        raise Failure(f"{listen}: {sentence(error)}") from error
    run = import_module(f"tlsprovider.cli.serve_{framework}").run
    actual = attrs.evolve(listen, port=sockets[0].getsockname()[1])
    run(Service(actual, sockets, config, provider, Page if http else Echo))


def _identities_from(cert: str, key: str | None) -> Sequence[Identity]:
    """The certificates to show; a directory tells on standard error what it notices."""
    if not Path(cert).is_dir():
        identity = identity_from(cert, key)
        assert identity is not None
        return [identity]
    if key is not None:
        raise Failure("--key: with a directory as --cert, each key lies beside its certificate, so leave it out")
    log_lines(IdentityDirectory.__module__, logging.INFO)
    return IdentityDirectory(cert)


def _remote(cert: str, key: str | None, path: str, framework: str) -> Identity:
    """A certificate whose key is held by a key server."""
    if key is not None:
        raise Failure("--key: with --key-server the key is there; leave one of them out")
    server: KeyServer = import_module(f"tlsprovider.{framework}.keyserver").KeyServer(path)
    return server.identity(read_file(cert))


def _fleet(url: str, framework: str) -> RedisFleet:
    """The keys of tickets that this server shares with others; what happens to them is told on standard error."""
    log_lines(RedisFleet.__module__, logging.INFO)
    fleet: RedisFleet = import_module(f"tlsprovider.{framework}.fleet").RedisFleet(url, secret=fleet_secret())
    return fleet


def _listen(where: Address) -> list[socket.socket]:
    """A listening socket for each address that the host has; all have the same port, also if that was 0."""
    found = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    port = where.port
    for family, host in dict.fromkeys((family, str(name[0])) for family, _, _, _, name in found):
        try:
            sockets.append(socket.create_server((host, port), family=family))
        except OSError as error:
            # A machine without IPv6 still resolves names to it: one address that works is enough.
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            problem = error
        else:
            port = sockets[0].getsockname()[1]
    if problem is not None and not sockets:
        raise problem
    return sockets
