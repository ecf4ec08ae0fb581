"""``tlsprovider serve``: a TLS server for the terminal."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from importlib import import_module

import attrs
import click

from tlsprovider.cli.failures import Failure, sentence
from tlsprovider.cli.options import Address, address, common, common_fields, identity_from
from tlsprovider.cli.parameters import Negotiated
from tlsprovider.cli.talk import Echo, Page, Talk
from tlsprovider.config import MAX_EARLY_DATA, MAX_TICKET_COUNT, ServerConfig
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

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


@click.command("serve")
@click.option("--listen", type=address, default="localhost:8443", show_default=True, metavar="HOST:PORT")
@click.option("--cert", required=True, metavar="FILE", help="The server's certificate (PEM, with its chain).")
@click.option("--key", metavar="FILE", help="The key of --cert, if it is not in the same file.")
@click.option("--http", is_flag=True, help="Answer HTTP requests with the connection's parameters; without it: echo.")
@click.option("--client-ca", metavar="FILE", help="Believe client certificates of these authorities (PEM).")
@click.option(
    "--client-auth",
    type=click.Choice(["none", "request", "require"]),
    help="Whether to ask clients for a certificate; with --client-ca the default is require.",
)
@click.option(
    "--tickets", type=click.IntRange(0, MAX_TICKET_COUNT), metavar="N", help="Session tickets for a client; 0: none."
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
    http: bool,
    client_ca: str | None,
    client_auth: str | None,
    tickets: int | None,
    early_data: int | None,
    framework: str,
    provider: str,
    **options: str | None,
) -> None:
    """Serve TLS until interrupted (SIGINT or SIGTERM). Port 0 takes any free one; the line says which."""
    identity = identity_from(cert, key)
    assert identity is not None
    if client_ca is None and client_auth in ("request", "require"):
        raise Failure(f"--client-auth {client_auth}: whose certificates are to be believed? Add --client-ca FILE")
    if http:
        options["alpn"] = options["alpn"] or "http/1.1"
    fields = common_fields(**options)
    if tickets is not None:
        fields["ticket_count"] = tickets
    if early_data is not None:
        fields["max_early_data"] = early_data
    if client_auth is not None or client_ca is not None:
        fields["client_auth"] = client_auth or "require"
    config = ServerConfig(
        identities=[identity], trust=None if client_ca is None else TrustStore.from_file(client_ca), **fields
    )
    # What the provider can't do is to be known now, and not at the first connection.
    get_provider(provider).server_engine(config)
    try:
        sockets = _listen(listen)
    except OSError as error:
        raise Failure(f"{listen}: {sentence(error)}") from error
    run = import_module(f"tlsprovider.cli.serve_{framework}").run
    actual = attrs.evolve(listen, port=sockets[0].getsockname()[1])
    run(Service(actual, sockets, config, provider, Page if http else Echo))


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
