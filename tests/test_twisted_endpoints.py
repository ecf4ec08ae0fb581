"""TLS endpoints around other endpoints, and the strings that make them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
)
from twisted.internet.error import (
    ConnectBindError,
    ConnectingCancelledError,
    ConnectionLost,
    ConnectionRefusedError,
    NoProtocol,
    TimeoutError,
)
from twisted.internet.interfaces import (
    IStreamClientEndpoint,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpoint,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.plugin import IPlugin
from twisted.python.failure import Failure
from twisted.test.iosim import ConnectionCompleter
from twisted_pair import Files, Listener, Talker
from twisted_pair import watch_log as watch_log
from twisted_pair import write_files as write_files
from zope.interface.verify import verifyObject

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, ConfigError
from tlsprovider.twisted import TLSClientEndpoint, TLSServerEndpoint

pytestmark = pytest.mark.usefixtures("logged")

ROOT = Path(__file__).parent.parent


@attrs.define
class Network:
    """A client endpoint and a listening server endpoint, on one reactor in memory."""

    reactor: MemoryReactorClock
    client: TLSClientEndpoint
    connecting: ConnectionCompleter
    server: Talker


@pytest.fixture
def network(client_config: ClientConfig, server_config: ServerConfig) -> Network:
    reactor = MemoryReactorClock()
    server = Talker()
    listening = TLSServerEndpoint(TCP4ServerEndpoint(reactor, 443), server_config, clock=reactor)
    assert verifyObject(IStreamServerEndpoint, listening)
    listening.listen(Factory.forProtocol(lambda: server))
    client = TLSClientEndpoint(TCP4ClientEndpoint(reactor, "192.0.2.1", 443), client_config, "localhost", clock=reactor)
    assert verifyObject(IStreamClientEndpoint, client)
    return Network(reactor, client, ConnectionCompleter(reactor), server)


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """Where the result, or the exception, will appear."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found


class TestClientEndpoint:
    def test_fires_after_the_handshake(self, network: Network) -> None:
        """Twisted's own fires when TCP is connected (twisted#8837)."""
        protocol = Listener()
        found = outcome(network.client.connect(Factory.forProtocol(lambda: protocol)))
        pump = network.connecting.succeedOnce(greet=False)
        assert pump is not None
        assert protocol.happened == ["made"] and found == []
        pump.flush()
        assert found == [protocol]
        assert protocol.happened == ["made", "handshake"]
        protocol.transport.write(b"hello")
        pump.flush()
        assert network.server.received == b"hello"

    def test_may_fire_before_the_handshake(self, network: Network) -> None:
        network.client.waitForHandshake = False
        protocol = Listener()
        found = outcome(network.client.connect(Factory.forProtocol(lambda: protocol)))
        pump = network.connecting.succeedOnce(greet=False)
        assert pump is not None
        assert found == [protocol] and protocol.happened == ["made"]
        pump.flush()
        assert protocol.happened == ["made", "handshake"]

    def test_fails_with_what_is_wrong(self, network: Network) -> None:
        network.client.hostname = "another.example"
        protocol = Talker()
        found = outcome(network.client.connect(Factory.forProtocol(lambda: protocol)))
        network.connecting.succeedOnce()
        (problem,) = found
        assert isinstance(problem, CertificateFault)
        assert "another.example" in str(problem)
        assert protocol.lost[0].value is problem
        assert network.reactor.getDelayedCalls() == []

    def test_fails_with_the_inner_endpoints_error(self, network: Network) -> None:
        found = outcome(network.client.connect(Factory.forProtocol(Talker)))
        network.connecting.failOnce(Failure(ConnectionRefusedError()))
        assert isinstance(found[0], ConnectionRefusedError)

    def test_no_handshake_in_time(self, network: Network) -> None:
        found = outcome(network.client.connect(Factory.forProtocol(Talker)))
        pump = network.connecting.succeedOnce(greet=False)
        assert pump is not None
        pump.serverIO.getOutBuffer()
        network.reactor.advance(30)
        pump.flush()
        assert isinstance(found[0], TimeoutError)
        assert network.reactor.getDelayedCalls() == []

    def test_connection_lost_in_the_handshake(self, network: Network) -> None:
        found = outcome(network.client.connect(Factory.forProtocol(Talker)))
        pump = network.connecting.succeedOnce(greet=False)
        assert pump is not None
        pump.serverIO.loseConnection()
        pump.flush()
        assert isinstance(found[0], ConnectionLost)

    def test_cancelled_while_connecting(self, network: Network) -> None:
        deferred = network.client.connect(Factory.forProtocol(Talker))
        found = outcome(deferred)
        deferred.cancel()
        assert isinstance(found[0], ConnectingCancelledError)
        assert network.reactor.connectors[0].stoppedConnecting

    def test_cancelled_in_the_handshake(self, network: Network) -> None:
        protocol = Talker()
        deferred = network.client.connect(Factory.forProtocol(lambda: protocol))
        found = outcome(deferred)
        pump = network.connecting.succeedOnce(greet=False)
        assert pump is not None
        deferred.cancel()
        assert isinstance(found[0], ConnectingCancelledError)
        pump.flush()
        assert protocol.happened == ["made", "lost"]
        assert network.reactor.getDelayedCalls() == []

    def test_factory_that_builds_nothing(self, network: Network) -> None:
        class Nothing(Factory):
            def buildProtocol(self, addr: object) -> None:
                return None

        found = outcome(network.client.connect(Nothing()))
        _, _, factory, _, _ = network.reactor.tcpClients[0]
        assert factory.buildProtocol(None) is None
        assert isinstance(found[0], NoProtocol)

    def test_configuration_that_can_not_work(self, network: Network) -> None:
        """There is no attempt to connect then."""
        network.client.hostname = "not..a..name"
        found = outcome(network.client.connect(Factory.forProtocol(Talker)))
        assert isinstance(found[0], ConfigError)
        assert network.reactor.tcpClients == []

    def test_wrong_kinds(self, network: Network, server_config: ServerConfig, client_config: ClientConfig) -> None:
        inner: Any = network.client.endpoint
        with pytest.raises(ConfigError, match="a client endpoint needs a ClientConfig, got ServerConfig"):
            TLSClientEndpoint(inner, server_config, "localhost")
        with pytest.raises(ConfigError, match="a server endpoint needs a ServerConfig, got ClientConfig"):
            TLSServerEndpoint(inner, client_config)
        with pytest.raises(ConfigError, match="unknown provider 'nativ'"):
            TLSClientEndpoint(inner, client_config, "localhost", provider="nativ")
        with pytest.raises(ConfigError, match="unknown provider 'nativ'"):
            TLSServerEndpoint(inner, server_config, provider="nativ")


class Unwilling:
    """What a factory of application protocols must not say."""

    def acceptableProtocols(self) -> list[bytes]:
        return [b"h2", b"h2"]


def test_endpoints_fail_for_what_turns_out_later(
    network: Network, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    from twisted.internet.interfaces import IProtocolNegotiationFactory
    from zope.interface import directlyProvides

    factory: Any = Unwilling()
    directlyProvides(factory, IProtocolNegotiationFactory)
    server = TLSServerEndpoint(TCP4ServerEndpoint(network.reactor, 1), server_config, clock=network.reactor)
    for deferred in (network.client.connect(factory), server.listen(factory)):
        found = outcome(deferred)
        assert isinstance(found[0], ConfigError) and "'h2' is listed twice" in str(found[0])


def test_listen_passes_on_what_the_inner_endpoint_says(server_config: ServerConfig) -> None:
    class Taken:
        def listen(self, factory: object) -> Deferred[Any]:
            raise ConnectBindError

    endpoint: Any = Taken()
    with pytest.raises(ConnectBindError):
        TLSServerEndpoint(endpoint, server_config, clock=MemoryReactorClock()).listen(Factory())


def run(code: str) -> str:
    """What a fresh interpreter prints that was started in the checkout."""
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


class TestPlugin:
    def test_is_one(self) -> None:
        from twisted.plugins import tlsprovider_plugins

        plugin = tlsprovider_plugins.tlsp
        for interface in (
            IPlugin,
            IStreamServerEndpointStringParser,
            IStreamClientEndpointStringParserWithReactor,
        ):
            assert verifyObject(interface, plugin)
        assert plugin.prefix == "tlsp"
        assert not list((ROOT / "twisted").rglob("__init__.py")), "it would hide every other plugin"

    def test_is_found_in_a_checkout(self, files: Files) -> None:
        code = f"""if True:
            from twisted.internet.endpoints import clientFromString, serverFromString
            from twisted.internet.testing import MemoryReactorClock
            reactor = MemoryReactorClock()
            print(type(serverFromString(reactor, 'tlsp:8443:cert={files.cert}:key={files.key}')).__name__)
            print(type(clientFromString(reactor, 'TLSP:example.com:443')).__name__)
            print(type(clientFromString(reactor, b'tlsp:example.com:443')).__name__)
            """
        assert run(code).split() == ["TLSServerEndpoint", "TLSClientEndpoint", "TLSClientEndpoint"]

    def test_imports_nothing_heavy(self) -> None:
        """Every process that looks for plugins imports it."""
        code = """if True:
            import sys
            import twisted.plugins.tlsprovider_plugins
            heavy = ('cryptography', 'OpenSSL', 'twisted.internet.reactor', 'trio', 'tlsprovider.engine')
            print([name for name in heavy if name in sys.modules])
            """
        assert run(code) == "[]"

    def test_package_installs_no_reactor(self) -> None:
        code = """if True:
            import sys
            import tlsprovider.twisted
            print('twisted' in sys.modules, 'trio' in sys.modules)
            for name in tlsprovider.twisted.__all__:
                getattr(tlsprovider.twisted, name)
            print('twisted.internet.reactor' in sys.modules, 'trio' in sys.modules)
            print(sorted(set(tlsprovider.twisted.__all__) - set(dir(tlsprovider.twisted))))
            try:
                tlsprovider.twisted.nothing
            except AttributeError as problem:
                print(problem)
            """
        assert run(code).splitlines() == [
            "False False",
            "False False",
            "[]",
            "module 'tlsprovider.twisted' has no attribute 'nothing'",
        ]
