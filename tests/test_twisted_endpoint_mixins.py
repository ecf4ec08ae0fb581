"""Our endpoints under the tests that Twisted has for every endpoint of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.test import test_endpoints as twisteds
from twisted.trial import unittest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.twisted import TLSClientEndpoint, TLSFactory, TLSServerEndpoint


@attrs.frozen
class Around:
    """Equal to a factory of ours around ``wrapped``."""

    wrapped: object

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TLSFactory) and other.wrappedFactory is self.wrapped


class TLSEndpointTests(twisteds.EndpointTestCaseMixin, unittest.SynchronousTestCase):  # type: ignore[misc]
    """TLS over TCP; what is checked is that the parameters arrive, and what becomes of the Deferreds."""

    client_config: ClientConfig
    server_config: ServerConfig

    @pytest.fixture(autouse=True)
    def configs_of_the_session(self, client_config: ClientConfig, server_config: ServerConfig) -> Iterator[None]:
        self.client_config, self.server_config = client_config, server_config
        yield

    expectedAddress = "localhost"  # noqa: N815 - Twisted's name

    def expectedServers(self, reactor: Any) -> Any:
        return reactor.tcpServers

    def expectedClients(self, reactor: Any) -> Any:
        return reactor.tcpClients

    def assertConnectArgs(self, received: Any, expected: Any) -> None:
        assert [*received[:2], *received[3:]] == [*expected[:2], *expected[3:]]

    def satisfyPendingConnect(self, factory: Any, protocol: object) -> None:
        connection = factory._wrappedFactory.protocol(factory, protocol)
        connection._handshake_done = True
        factory._onConnection.callback(connection)

    def connectArgs(self) -> dict[str, object]:
        return {"timeout": 10, "bindAddress": ("localhost", 49595)}

    def listenArgs(self) -> dict[str, object]:
        return {"backlog": 100, "interface": "127.0.0.1"}

    def createServerEndpoint(self, reactor: Any, factory: Any, **listen: Any) -> Any:
        expected = (0, Around(factory), listen.get("backlog", 50), listen.get("interface", ""))
        endpoint = TLSServerEndpoint(TCP4ServerEndpoint(reactor, 0, **listen), self.server_config, clock=reactor)
        return endpoint, expected, IPv4Address("TCP", "0.0.0.0", 0)

    def createClientEndpoint(self, reactor: Any, factory: Any, **connect: Any) -> Any:
        inner = TCP4ClientEndpoint(reactor, "localhost", 80, **connect)
        endpoint = TLSClientEndpoint(inner, self.client_config, "localhost", clock=reactor)
        expected = ("localhost", 80, Around(factory), connect.get("timeout", 30), connect.get("bindAddress"))
        return endpoint, expected, IPv4Address("TCP", "localhost", 80)
