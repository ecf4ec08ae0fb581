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
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    quoteStringArgument,
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
from tlsprovider.twisted.strings import parse_client, parse_server

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


def server_words(description: str) -> TLSServerEndpoint:
    """As ``serverFromString`` does once it has found the plugin."""
    from twisted.internet.endpoints import _parse

    args, kwargs = _parse(description)
    return parse_server(MemoryReactorClock(), args[1:], kwargs)


def client_words(description: str) -> TLSClientEndpoint:
    from twisted.internet.endpoints import _parse

    args, kwargs = _parse(description)
    return parse_client(MemoryReactorClock(), args[1:], kwargs)


class TestServerStrings:
    def test_short(self, files: Files) -> None:
        endpoint = server_words(f"tlsp:8443:cert={files.cert}:key={files.key}")
        inner: Any = endpoint.endpoint
        assert isinstance(inner, TCP4ServerEndpoint)
        assert (inner._port, inner._interface, inner._backlog) == (8443, "", 50)
        config = endpoint.config
        assert config.identities[0].names[0] == "localhost"
        assert config.client_auth == "none" and config.trust is None and config.alpn == ()
        assert endpoint.provider.name == "native"
        assert endpoint._limits["handshakeTimeout"] == 30 and endpoint._limits["closeTimeout"] == 10

    def test_long(self, files: Files) -> None:
        endpoint = server_words(
            f"tlsp:0:cert={files.both}:interface=127.0.0.1:backlog=7:alpn=h2,http/1.1:clientCA={files.ca}"
            ":groups=x25519,secp256r1:ciphers=TLS_AES_256_GCM_SHA384:provider=native:handshakeTimeout=2.5:closeTimeout=0"
        )
        inner: Any = endpoint.endpoint
        assert (inner._port, inner._interface, inner._backlog) == (0, "127.0.0.1", 7)
        config = endpoint.config
        assert config.alpn == ("h2", "http/1.1")
        assert [str(group) for group in config.groups] == ["x25519", "secp256r1"]
        assert [str(suite) for suite in config.cipher_suites] == ["TLS_AES_256_GCM_SHA384"]
        assert config.client_auth == "require" and config.trust is not None
        assert endpoint._limits["handshakeTimeout"] == 2.5 and endpoint._limits["closeTimeout"] == 0

    def test_ipv6(self, files: Files) -> None:
        inner: Any = server_words(f"tlsp:8443:cert={files.both}:interface=\\:\\:1").endpoint
        assert isinstance(inner, TCP6ServerEndpoint)
        assert inner._interface == "::1"

    def test_optional_client_certificates(self, files: Files) -> None:
        endpoint = server_words(f"tlsp:1:cert={files.both}:clientCA={files.ca}:clientAuth=request")
        assert endpoint.config.client_auth == "request"

    def test_no_limit_for_the_handshake(self, files: Files) -> None:
        assert server_words(f"tlsp:1:cert={files.both}:handshakeTimeout=0")._limits["handshakeTimeout"] is None

    def test_on_another_endpoint(self, files: Files) -> None:
        inner: Any = server_words(f"tlsp:endpoint=unix\\:/run/app.sock\\:mode=600:cert={files.both}").endpoint
        assert isinstance(inner, UNIXServerEndpoint)
        assert inner._address == "/run/app.sock" and inner._mode == 0o600
        quoted = quoteStringArgument("tcp:8443:interface=127.0.0.1")
        inner = server_words(f"tlsp:endpoint={quoted}:cert={files.both}").endpoint
        assert isinstance(inner, TCP4ServerEndpoint)
        assert (inner._port, inner._interface) == (8443, "127.0.0.1")

    @pytest.mark.parametrize(
        ("description", "problem"),
        [
            ("tlsp:8443:cert=CERT:keys=KEY", r"unknown argument 'keys'; did you mean 'key'\? Known: cert, key, inter"),
            ("tlsp:8443:cert=CERT:frobnicate=1", r"unknown argument 'frobnicate'\. Known: cert, key"),
            ("tlsp:8443:cert=CERT:name=x", "unknown argument 'name'"),
            ("tlsp:8443:extra:cert=CERT", "'extra' is one word too many: expected tlsp:port and then only name=value"),
            ("tlsp:cert=CERT", r"port is missing; expected tlsp:port or tlsp:endpoint=\.\.\."),
            ("tlsp:http:cert=CERT", "port=http: expected a port number"),
            ("tlsp:70000:cert=CERT", "port=70000: expected a port number"),
            ("tlsp:tcp\\:8443:cert=CERT", r"port=tcp:8443: .*endpoint=tcp\\:8443"),
            ("tlsp:1:endpoint=tcp\\:1:cert=CERT", "port '1' and endpoint= are too much"),
            ("tlsp:endpoint=nonsense\\:1:cert=CERT", "Unknown endpoint type: 'nonsense'"),
            ("tlsp:8443", "cert= is missing, the PEM file with the server's certificate chain"),
            ("tlsp:8443:key=KEY", "key= needs cert="),
            ("tlsp:8443:cert=CERT:backlog=many", "backlog=many: expected a number"),
            ("tlsp:8443:cert=CERT:clientAuth=maybe", "clientAuth=maybe: expected none, request or require"),
            ("tlsp:8443:cert=CERT:clientAuth=require", "clientAuth=require needs clientCA="),
            ("tlsp:8443:cert=CERT:handshakeTimeout=soon", "handshakeTimeout=soon: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:closeTimeout=-1", "closeTimeout=-1: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:closeTimeout=inf", "closeTimeout=inf: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:groups=x25518", "unknown group 'x25518'"),
            ("tlsp:8443:cert=CERT:ciphers=RC4", "unknown cipher suite 'RC4'"),
            ("tlsp:8443:cert=CERT:provider=nativ", "unknown provider 'nativ'"),
            ("tlsp:8443:cert=/no/such/file", "/no/such/file"),
            ("tlsp:8443:cert=CERT:clientCA=/no/such/file", "/no/such/file"),
        ],
    )
    def test_wrong(self, files: Files, description: str, problem: str) -> None:
        description = description.replace("CERT", files.both).replace("KEY", files.key)
        with pytest.raises(ValueError, match=problem):
            server_words(description)


class TestClientStrings:
    def test_short(self) -> None:
        endpoint = client_words("tlsp:example.com:443")
        inner: Any = endpoint.endpoint
        assert isinstance(inner, HostnameEndpoint)
        assert (inner._hostText, inner._port, inner._timeout, inner._bindAddress) == ("example.com", 443, 30, None)
        assert endpoint.hostname == "example.com"
        assert not endpoint.config.insecure_skip_verify and endpoint.config.identity is None
        assert "system" in repr(endpoint.config.trust)

    def test_long(self, files: Files) -> None:
        endpoint = client_words(
            f"tlsp:port=8443:host=192.0.2.7:name=example.com:ca={files.ca}:cert={files.client}:alpn=h2:groups=x25519"
            ":timeout=5:bindAddress=127.0.0.2:provider=native:insecure=no:closeTimeout=1"
        )
        inner: Any = endpoint.endpoint
        assert (inner._hostText, inner._port, inner._timeout) == ("192.0.2.7", 8443, 5)
        assert inner._bindAddress == ("127.0.0.2", 0)
        assert endpoint.hostname == "example.com"
        assert files.ca in repr(endpoint.config.trust)
        assert endpoint.config.alpn == ("h2",) and endpoint.config.identity is not None
        assert endpoint._limits["handshakeTimeout"] == 5 and endpoint._limits["closeTimeout"] == 1

    def test_bytes(self) -> None:
        """Descriptions may be bytes."""
        endpoint = parse_client(MemoryReactorClock(), [b"example.com", b"443"], {"alpn": b"h2"})
        assert endpoint.hostname == "example.com" and endpoint.config.alpn == ("h2",)

    def test_insecure(self) -> None:
        assert client_words("tlsp:example.com:443:insecure=yes").config.insecure_skip_verify

    def test_on_another_endpoint(self) -> None:
        endpoint = client_words("tlsp:endpoint=unix\\:/run/app.sock:name=app.internal")
        assert isinstance(endpoint.endpoint, UNIXClientEndpoint)
        assert endpoint.hostname == "app.internal"

    @pytest.mark.parametrize(
        ("description", "problem"),
        [
            ("tlsp:example.com:443:caa=x", "unknown argument 'caa'; did you mean 'ca'"),
            ("tlsp:example.com", r"port is missing; expected tlsp:host:port or tlsp:endpoint=\.\.\."),
            ("tlsp:example.com:443:444", "'444' is one word too many"),
            ("tlsp:example.com:https", "port=https: expected a port number"),
            ("tlsp:example.com:endpoint=tcp\\:a\\:1", "host 'example.com' and endpoint= are too much"),
            ("tlsp:endpoint=tcp\\:a\\:1", "name= is missing, whom the server's certificate must name"),
            ("tlsp:example.com:443:insecure=maybe", "insecure=maybe: expected yes or no"),
            ("tlsp:example.com:443:timeout=never", "timeout=never: expected a number of seconds"),
            ("tlsp:example.com:443:key=x", "key= needs cert="),
            ("tlsp:example.com:443:ca=/no/such/file", "/no/such/file"),
        ],
    )
    def test_wrong(self, description: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            client_words(description)


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
