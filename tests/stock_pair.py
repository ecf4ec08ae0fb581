"""A client and a server under Twisted's own TLS protocol, which gets its connections from our ``ContextFactory``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted_pair import Pair, Talker, join_protocols

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.twisted import ContextFactory

StockConnect = Callable[..., Pair]


class Offering(Factory):
    """A factory that says which application protocols its protocols speak."""

    def __init__(self, protocol: Any, names: Any) -> None:
        self.names = names
        self.buildProtocol = lambda addr: protocol  # type: ignore[method-assign]

    def acceptableProtocols(self) -> Any:
        return self.names()


def stock(creator: Any, protocol: Any, is_client: bool, clock: Clock, factory: Any = None) -> Any:
    """Twisted's own TLS around ``protocol``, not connected yet."""
    wrapped = Factory.forProtocol(lambda: protocol) if factory is None else factory
    return TLSMemoryBIOFactory(creator, is_client, wrapped, clock).buildProtocol(None)


def join_stock(
    client_creator: Any,
    server_creator: Any,
    client: Any = None,
    server: Any = None,
    *,
    client_factory: Any = None,
    server_factory: Any = None,
    start: bool = True,
) -> Pair:
    """Connect both; with ``start`` also run until nothing happens any more."""
    clock = Clock()
    client, server = client or Talker(), server or Talker()
    client_tls = stock(client_creator, client, True, clock, client_factory)
    server_tls = stock(server_creator, server, False, clock, server_factory)
    return join_protocols(client, server, client_tls, server_tls, clock, start=start)


@pytest.fixture(name="join_ours")
def make_join(client_config: ClientConfig, server_config: ServerConfig) -> StockConnect:
    """:func:`join_stock` with ours on both sides; ``on_client`` and ``on_server`` are changes to the configurations."""

    def connect(
        client: Any = None,
        server: Any = None,
        on_client: dict[str, Any] | None = None,
        on_server: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        **options: Any,
    ) -> Pair:
        # No sessions: every handshake is a whole one.
        ours = attrs.evolve(client_config, sessions=None, **(on_client or {}))
        theirs = attrs.evolve(server_config, **(on_server or {}))
        limits = limits or {}
        return join_stock(
            ContextFactory(ours, "localhost", **limits), ContextFactory(theirs, **limits), client, server, **options
        )

    return connect
