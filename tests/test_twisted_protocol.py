"""TLSProtocol as a transport: its interfaces, how a connection begins, what it tells, writing."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.interfaces import (
    IConsumer,
    IHalfCloseableProtocol,
    INegotiated,
    IProtocolNegotiationFactory,
    IPushProducer,
    ISSLTransport,
    ISystemHandle,
    ITCPTransport,
    ITLSTransport,
    IUNIXTransport,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted_pair import Connect, Listener, Talker, Wire, join_protocols, tls
from twisted_pair import make_connect as make_connect
from twisted_pair import watch_log as watch_log
from zope.interface import directlyProvides, implementer
from zope.interface.verify import verifyObject

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore
from tlsprovider.twisted import TLSFactory, TLSProtocol
from tlsprovider.twisted.connection import SEAL_AT
from tlsprovider.twisted.declarations import _known

pytestmark = pytest.mark.usefixtures("logged")

MEGABYTE = bytes(range(256)) * 4096


class TestInterfaces:
    def test_own_ones(self, connect: Connect) -> None:
        pair = connect()
        for interface in (ISystemHandle, INegotiated, ISSLTransport, ITCPTransport, IConsumer, IPushProducer):
            assert verifyObject(interface, pair.server_tls)
        assert verifyObject(IHalfCloseableProtocol, pair.client_tls)

    def test_those_of_the_transport_but_not_starttls(self, client_config: ClientConfig) -> None:
        protocol = tls(client_config, Talker(), Clock())
        assert not IUNIXTransport.providedBy(protocol)
        wire = Wire(protocol, False)
        directlyProvides(wire, IUNIXTransport)
        wire.clock = Clock()
        protocol.makeConnection(wire)
        assert IUNIXTransport.providedBy(protocol)
        assert ITLSTransport.providedBy(wire)
        assert not ITLSTransport.providedBy(protocol)

    def test_the_declaration_is_shared(self, client_config: ClientConfig) -> None:
        first, second = tls(client_config, Talker(), Clock()), tls(client_config, Talker(), Clock())
        for protocol in (first, second):
            protocol.makeConnection(StringTransport())
        assert first.__provides__ is second.__provides__

    def test_transports_of_many_kinds(self, client_config: ClientConfig) -> None:
        """Each is declared as what it is, though only so many are remembered."""
        for _ in range(250):
            protocol = tls(client_config, Talker(), Clock())
            kind = type("Transport", (StringTransport,), {})
            implementer(IUNIXTransport)(kind)
            protocol.makeConnection(kind())
            assert IUNIXTransport.providedBy(protocol)
            plain = tls(client_config, Talker(), Clock())
            plain.makeConnection(StringTransport())
            assert not IUNIXTransport.providedBy(plain)
        assert len(_known) <= 101

    def test_other_attributes_are_the_transports(self, connect: Connect) -> None:
        pair = connect()
        assert pair.client_tls.serial == pair.client_wire.serial
        assert pair.client_tls.getPeer() is pair.client_wire.peerAddress
        assert pair.client_tls.getHost() is pair.client_wire.hostAddress
        with pytest.raises(AttributeError, match="no_such_thing"):
            _ = pair.client_tls.no_such_thing

    def test_programs_may_ask_for_twisteds_classes(self, connect: Connect) -> None:
        """As autobahn does, before it uses what these have."""
        from OpenSSL.SSL import Connection
        from twisted.protocols.policies import ProtocolWrapper
        from twisted.protocols.tls import TLSMemoryBIOProtocol

        ours: Any = connect().client_tls
        for kind in (TLSProtocol, TLSMemoryBIOProtocol, ProtocolWrapper):
            assert isinstance(ours, kind)
        assert isinstance(ours.getHandle(), Connection)
        assert not isinstance(ours, Talker) and type(ours) is TLSProtocol

    def test_log_prefix(self, client_config: ClientConfig) -> None:
        protocol = tls(client_config, Talker(), Clock())
        assert protocol.logPrefix() == "Talker (TLS)"
        assert protocol.factory.logPrefix() == "Factory (TLS)"


class TestBeginning:
    def test_connection_made_comes_before_the_handshake(self, connect: Connect) -> None:
        pair = connect(Listener(), Listener(), start=False)
        assert pair.client.happened == pair.server.happened == ["made"]
        assert pair.client.transport is pair.client_tls
        pair.flush()
        assert pair.client.happened == pair.server.happened == ["made", "handshake"]

    def test_what_is_written_at_once_arrives_after_the_handshake(self, connect: Connect) -> None:
        class Eager(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                assert self.transport is not None
                self.transport.write(b"one ")
                self.transport.writeSequence([b"two ", b"three"])

        pair = connect(Eager(), Eager())
        assert pair.client.received == pair.server.received == b"one two three"

    def test_a_wrapped_protocol_that_is_connected_already(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        """As with STARTTLS."""
        clock = Clock()
        client, server = Listener(), Talker()
        factory = TLSFactory(client_config, Factory(), hostname="localhost", clock=clock)
        client_tls = TLSProtocol(factory, client, False)
        pair = join_protocols(client, server, client_tls, tls(server_config, server, clock), clock)
        pair.server_tls.loseConnection()
        pair.flush()
        assert client.happened == ["handshake", "lost"]

    def test_factory_knows_its_connections(self, connect: Connect) -> None:
        pair = connect()
        factory = pair.server_tls.factory
        assert list(factory.protocols) == [pair.server_tls]
        assert pair.server_tls.wrappedProtocol is pair.server
        pair.client_tls.loseConnection()
        pair.flush()
        assert factory.protocols == {}
        assert pair.server_tls.wrappedProtocol is None

    def test_a_factory_that_builds_nothing(self, server_config: ServerConfig) -> None:
        class Refusing(Factory):
            def buildProtocol(self, addr: object) -> None:
                return None

        assert TLSFactory(server_config, Refusing(), clock=Clock()).buildProtocol(None) is None

    def test_factory_forwards(self, client_config: ClientConfig) -> None:
        told: list[object] = []

        class Listening(Factory):
            def doStart(self) -> None:
                told.append("start")

            def doStop(self) -> None:
                told.append("stop")

            def startedConnecting(self, connector: object) -> None:
                told.append(connector)

            def clientConnectionFailed(self, connector: object, reason: object) -> None:
                told.append(("failed", connector, reason))

            def clientConnectionLost(self, connector: object, reason: object) -> None:
                told.append(("lost", connector, reason))

        factory: Any = TLSFactory(client_config, Listening(), hostname="localhost", clock=Clock())
        factory.doStart()
        factory.startedConnecting("connector")
        factory.clientConnectionFailed("connector", "why")
        factory.clientConnectionLost("connector", "why")
        factory.doStop()
        assert told == ["start", "connector", ("failed", "connector", "why"), ("lost", "connector", "why"), "stop"]

    def test_factory_refuses_nonsense(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        clock = Clock()
        with pytest.raises(ConfigError, match="expected a ClientConfig or a ServerConfig, got 'x'"):
            TLSFactory("x", Factory(), clock=clock)
        with pytest.raises(ConfigError, match="unknown provider 'nativ'"):
            TLSFactory(server_config, Factory(), provider="nativ", clock=clock)
        with pytest.raises(ConfigError, match="a server has none to verify"):
            TLSFactory(server_config, Factory(), hostname="localhost", clock=clock)
        with pytest.raises(ConfigError, match="a name is needed to verify the server's certificate"):
            TLSFactory(client_config, Factory(), clock=clock)
        with pytest.raises(ConfigError, match=r"not\.\.a\.\.name"):
            TLSFactory(client_config, Factory(), hostname="not..a..name", clock=clock)


class Broken:
    """A provider whose engines can't be made, from the second on."""

    def __init__(self, problem: Exception) -> None:
        self.problem = problem
        self.made = 0

    name = "broken"

    def server_engine(self, config: ServerConfig) -> Any:
        self.made += 1
        if self.made > 1:
            raise self.problem
        return get_provider("native").server_engine(config)


class TestNoEngine:
    """The peer must not be left waiting for ever (stock Twisted leaves it)."""

    def connect(self, server_config: ServerConfig, problem: Exception) -> tuple[Talker, StringTransport]:
        failures: list[BaseException | None] = []
        from tlsprovider.interfaces import ITLSProvider

        provider: Any = Broken(problem)
        directlyProvides(provider, ITLSProvider)
        talker, transport = Talker(), StringTransport()
        protocol = tls(server_config, talker, Clock(), provider=provider)
        protocol.factory.makeEngine()
        protocol.makeConnection(transport)
        protocol.whenHandshakeCompleted().addErrback(lambda failure: failures.append(failure.value))
        protocol.dataReceived(b"hello?")
        protocol.connectionLost()
        protocol.whenHandshakeCompleted().addErrback(lambda failure: failures.append(failure.value))
        assert failures == [problem, problem]
        return talker, transport

    def test_wrong_configuration_is_one_line(self, server_config: ServerConfig, logged: list[str]) -> None:
        talker, transport = self.connect(server_config, ConfigError("the key has gone"))
        assert transport.disconnected
        assert talker.happened == []
        (line,) = logged
        assert line.startswith("TLS with IPv4Address") and line.endswith("can't begin: the key has gone")
        logged.clear()

    def test_other_exceptions_are_logged_too(self, server_config: ServerConfig, logged: list[str]) -> None:
        talker, transport = self.connect(server_config, KeyError("key"))
        assert transport.disconnected
        assert talker.happened == []
        assert [line.split("\n")[0].split(" with ")[0] for line in logged] == ["TLS"]
        logged.clear()


@implementer(IProtocolNegotiationFactory)
class Web(Factory):
    protocol = Talker

    def acceptableProtocols(self) -> list[bytes]:
        return [b"h2", b"http/1.1"]


class TestFacts:
    def test_before_and_after_the_handshake(self, connect: Connect) -> None:
        pair = connect(on_client={"alpn": ["http/1.1"]}, on_server={"alpn": ["h2", "http/1.1"]}, start=False)
        assert pair.client_tls.negotiatedProtocol is None
        assert pair.client_tls.getPeerCertificate() is None
        pair.flush()
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"http/1.1"
        handle = pair.client_tls.getHandle()
        assert handle is not None and handle.version == "TLSv1.3"

    def test_handle_answers_as_pyopenssl_would(
        self, connect: Connect, trust: TrustStore, client_identity: Identity
    ) -> None:
        """Stock Twisted's ``hostFromTransport`` fails on every real connection."""
        pair = connect(on_client={"identity": client_identity}, on_server={"trust": trust, "client_auth": "require"})
        for ours, theirs in ((pair.client, pair.server), (pair.server, pair.client)):
            peer = Certificate.peerFromTransport(ours.transport)
            assert peer == Certificate.hostFromTransport(theirs.transport)
        assert peer.original.to_cryptography() == client_identity.certificates[0]
        handle = pair.client_tls.getHandle()
        assert handle is pair.client_tls.getHandle()
        assert handle.get_cipher_name() == handle.cipher and handle.engine is pair.client_tls._engine

    def test_unconnected(self, client_config: ClientConfig) -> None:
        protocol = tls(client_config, Talker(), Clock())
        assert protocol.getHandle() is None
        assert protocol.negotiatedProtocol is None
        assert protocol.getPeerCertificate() is None

    def test_peer_certificate_also_after_the_connection(self, connect: Connect) -> None:
        """Stock Twisted raises AttributeError then."""
        pair = connect()
        leaf = pair.server_tls.factory.config.identities[0].certificates[0]
        for _ in range(2):
            certificate = pair.client_tls.getPeerCertificate()
            assert certificate is not None
            assert certificate.to_cryptography() == leaf
            pair.client_tls.loseConnection()
            pair.flush()
        assert pair.server_tls.getPeerCertificate() is None

    @pytest.mark.parametrize(("configured", "chosen"), [((), b"h2"), (("http/1.1",), b"http/1.1")])
    def test_application_protocols_of_the_factory(
        self, client_config: ClientConfig, server_config: ServerConfig, configured: tuple[str, ...], chosen: bytes
    ) -> None:
        """They are taken if the configuration has none."""
        clock = Clock()
        factory = TLSFactory(attrs.evolve(server_config, alpn=configured), Web(), clock=clock)
        server_tls = factory.buildProtocol(None)
        assert server_tls is not None
        client_tls = tls(attrs.evolve(client_config, alpn=["h2", "http/1.1"]), Talker(), clock)
        pair = join_protocols(None, None, client_tls, server_tls, clock)
        assert pair.client_tls.negotiatedProtocol == chosen


class TestWriting:
    @pytest.mark.parametrize("wrong", ["text", 5, None])
    def test_only_bytes(self, connect: Connect, wrong: Any) -> None:
        """And this is said at the call, also before the handshake."""
        for start in (False, True):
            pair = connect(start=start)
            with pytest.raises(TypeError):
                pair.client_tls.write(wrong)
            with pytest.raises(TypeError):
                pair.client_tls.writeSequence([b"fine", wrong])
            pair.flush()
            assert pair.server.received == b""

    def test_what_may_change_later_is_copied(self, connect: Connect) -> None:
        pair = connect()
        data = bytearray(b"before")
        pair.client_tls.write(data)
        pair.client_tls.write(memoryview(data))
        data[:] = b"after!"
        pair.flush()
        assert pair.server.received == b"beforebefore"

    def test_small_writes_from_outside_become_one(self, connect: Connect) -> None:
        pair = connect()
        pair.client_wire.writes.clear()
        for _ in range(100):
            pair.client_tls.write(b"x")
        assert pair.client_wire.writes == []
        pair.flush()
        (sealed,) = pair.client_wire.writes
        assert len(sealed) < 200
        assert pair.server.pieces == [b"x" * 100]

    def test_writes_while_data_is_received_become_one(self, connect: Connect) -> None:
        class Echo(Talker):
            def dataReceived(self, data: bytes) -> None:
                for byte in data:
                    self.transport.write(bytes([byte]))

        pair = connect(server=Echo())
        pair.server_wire.writes.clear()
        pair.client_tls.write(b"hello")
        pair.clock.advance(0)
        pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        assert len(pair.server_wire.writes) == 1
        assert pair.clock.getDelayedCalls() == []
        pair.flush()
        assert pair.client.pieces == [b"hello"]
        assert len(pair.server_wire.writes) == 1

    def test_much_is_sealed_at_once(self, connect: Connect) -> None:
        """So that the transport can say when it has enough."""
        pair = connect()
        pair.client_wire.writes.clear()
        pair.client_tls.write(bytes(SEAL_AT - 1))
        assert pair.client_wire.writes == []
        pair.client_tls.write(b"!")
        assert len(pair.client_wire.writes) == 1
        pair.flush()
        assert pair.server.received == bytes(SEAL_AT - 1) + b"!"

    def test_much_data_arrives_in_one_piece_per_read(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(MEGABYTE)
        pair.flush()
        assert pair.server.pieces == [MEGABYTE]

    def test_dropped_after_lose_connection(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"before")
        pair.client_tls.loseConnection()
        pair.client_tls.write(b"after")
        pair.client_tls.writeSequence([b"after"])
        pair.flush()
        pair.client_tls.write(b"much later")
        assert pair.server.received == b"before"

    def test_nothing_is_sent_for_nothing(self, connect: Connect) -> None:
        pair = connect()
        pair.client_wire.writes.clear()
        pair.client_tls.write(b"")
        assert pair.clock.getDelayedCalls() == []
        pair.flush()
        assert pair.client_wire.writes == []
