"""``ContextFactory`` under Twisted's own TLS protocol: connections that work, and Twisted's defects that ours lack."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import attrs
import pytest
from OpenSSL import SSL
from OpenSSL.crypto import X509
from stock_pair import Offering, StockConnect, join_stock, stock
from stock_pair import make_join as make_join
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLContextFactory,
    IOpenSSLServerConnectionCreator,
    IProtocolNegotiationFactory,
)
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted_pair import Listener, Talker, assert_over
from twisted_pair import watch_log as watch_log
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import ConfigError, Fault, HookError, PeerFault
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.session import MemorySessions
from tlsprovider.trust import TrustStore
from tlsprovider.twisted import ContextFactory
from tlsprovider.twisted.pyopenssl import Connection, ConnectionFailed
from tlsprovider.twisted.refused import RefusedEngine

pytestmark = pytest.mark.usefixtures("logged")

LETTER = b"dear peer, " * 20_000


def offering(protocol: Any, *names: bytes) -> Offering:
    factory = Offering(protocol, lambda: list(names))
    directlyProvides(factory, IProtocolNegotiationFactory)
    return factory


class TestConnecting:
    def test_data_both_ways_and_a_proper_end(self, join_ours: StockConnect) -> None:
        pair = join_ours(Listener(), Listener())
        pair.client_tls.write(LETTER)
        pair.server_tls.write(LETTER[::-1])
        pair.flush()
        assert (pair.server.received, pair.client.received) == (LETTER, LETTER[::-1])
        pair.client_tls.loseConnection()
        pair.flush()
        assert pair.client.happened[:2] == pair.server.happened[:2] == ["made", "handshake"]
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)

    def test_a_byte_at_a_time(self, join_ours: StockConnect) -> None:
        pair = join_ours(start=False)
        ends = [(pair.client_wire, pair.server_tls), (pair.server_wire, pair.client_tls)]
        pair.client_tls.write(b"in crumbs")
        for wire, other in ends * 3:
            pair.clock.advance(0)
            for byte in wire.getOutBuffer() or b"":
                other.dataReceived(bytes([byte]))
        assert pair.server.received == b"in crumbs"

    def test_both_close_at_once(self, join_ours: StockConnect) -> None:
        pair = join_ours()
        pair.client_tls.loseConnection()
        pair.server_tls.loseConnection()
        pair.flush()
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)

    def test_what_is_written_before_the_handshake_arrives(self, join_ours: StockConnect) -> None:
        class Eager(Talker):
            def connectionMade(self) -> None:
                super().connectionMade()
                self.transport.write(b"too early")
                self.transport.loseConnection()

        pair = join_ours(Eager())
        assert pair.server.received == b"too early"
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)

    def test_what_is_known(self, join_ours: StockConnect, server_identity: Identity) -> None:
        pair = join_ours(on_client={"alpn": ["h2"]}, on_server={"alpn": ["http/1.1", "h2"]})
        client, server = pair.client_tls.getHandle(), pair.server_tls.getHandle()
        assert isinstance(client, Connection)
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"h2"
        assert client.get_cipher_name() == client.cipher == server.get_cipher_name()
        assert client.get_servername() == server.get_servername() == b"localhost"
        assert client.group == server.get_group_name()
        certificate = pair.client_tls.getPeerCertificate()
        assert isinstance(certificate, X509)
        assert certificate.to_cryptography() == server_identity.certificates[0]
        assert pair.server_tls.getPeerCertificate() is None
        assert Certificate.peerFromTransport(pair.client_tls).original.to_cryptography() in client.peer_certificates

    def test_interfaces(self, client_config: ClientConfig) -> None:
        creator = ContextFactory(client_config, "localhost")
        assert verifyObject(IOpenSSLContextFactory, creator)
        assert verifyObject(IOpenSSLClientConnectionCreator, creator)
        assert verifyObject(IOpenSSLServerConnectionCreator, creator)

    def test_sessions_are_resumed(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        config = attrs.evolve(client_config, sessions=MemorySessions())
        creators = ContextFactory(config, "localhost", "native"), ContextFactory(server_config, None, "native")
        reused = []
        for _ in range(2):
            pair = join_stock(*creators)
            reused.append(pair.client_tls.getHandle().session_reused)
            assert pair.client_tls.getPeerCertificate() is not None
            pair.server_tls.write(b"with this go the tickets")
            pair.flush()
            pair.client_tls.loseConnection()
            pair.flush()
            assert_over(pair)
        assert reused == [False, True]

    @pytest.mark.parametrize("provider", ["native", "openssl", "stdlib"])
    def test_each_provider(self, client_config: ClientConfig, server_config: ServerConfig, provider: str) -> None:
        pair = join_stock(
            ContextFactory(client_config, "localhost", provider), ContextFactory(server_config, None, provider)
        )
        pair.client_tls.write(LETTER)
        pair.flush()
        assert pair.server.received == LETTER
        pair.server_tls.loseConnection()
        pair.flush()
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)


@pytest.mark.filterwarnings("ignore:Passing pyOpenSSL:DeprecationWarning")
class TestWithStockAtTheOtherEnd:
    @pytest.fixture
    def their_server(self, authority: Authority) -> CertificateOptions:
        issued = authority.issue("localhost")
        pem = issued.key_pem + issued.chain_pem
        options: CertificateOptions = PrivateCertificate.loadPEM(pem).options()
        return options

    @pytest.fixture
    def their_client(self, authority: Authority) -> Any:
        return optionsForClientTLS("localhost", Certificate.loadPEM(authority.certificate_pem))

    def test_their_server(self, client_config: ClientConfig, their_server: CertificateOptions) -> None:
        pair = join_stock(ContextFactory(client_config, "localhost"), their_server)
        pair.client_tls.write(LETTER)
        pair.flush()
        assert pair.server.received == LETTER
        pair.server_tls.loseConnection()
        pair.flush()
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)

    def test_their_client(self, server_config: ServerConfig, their_client: Any) -> None:
        pair = join_stock(their_client, ContextFactory(server_config))
        pair.server_tls.write(LETTER)
        pair.flush()
        assert pair.client.received == LETTER
        pair.client_tls.loseConnection()
        pair.flush()
        assert isinstance(pair.client.reason, ConnectionDone) and isinstance(pair.server.reason, ConnectionDone)
        assert_over(pair)

    def test_we_refuse_their_certificate(self, client_config: ClientConfig, their_server: CertificateOptions) -> None:
        pair = join_stock(ContextFactory(client_config, "elsewhere.example"), their_server)
        problem = pair.client.reason
        assert isinstance(problem, ConnectionFailed) and problem.alert is AlertDescription.bad_certificate
        assert len(problem.chain) == 1, "what was shown can be looked at"
        assert problem.args == ([("SSL routines", "", "certificate verify failed")],)
        assert "elsewhere.example" in str(problem)
        assert "bad certificate" in pair.server.reason.args[0][0][2]
        assert_over(pair)

    def test_they_refuse_our_certificate(self, server_identity: Identity) -> None:
        stranger = Authority("somebody else").issue("localhost")
        config = ServerConfig(identities=[Identity.from_crypto(stranger.certificates, stranger.private_key)])
        theirs = optionsForClientTLS("localhost", Certificate.loadPEM(Authority("third").certificate_pem))
        pair = join_stock(theirs, ContextFactory(config))
        problem = pair.server.reason
        assert isinstance(problem, ConnectionFailed) and problem.alert is AlertDescription.unknown_ca
        assert problem.args[0][0][2] == "tlsv1 alert unknown ca"
        assert_over(pair)


class TestApplicationProtocols:
    def test_of_the_wrapped_factory(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        ours, theirs = ContextFactory(client_config, "localhost"), ContextFactory(server_config)
        configs = []
        for _ in range(2):
            client, server = Talker(), Talker()
            pair = join_stock(
                ours,
                theirs,
                client_factory=offering(client, b"http/1.1"),
                server_factory=offering(server, b"h2", b"http/1.1"),
            )
            assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"http/1.1"
            configs.append(pair.server_tls.getHandle().engine._config)
        assert configs[0] is configs[1], "much is computed once for each configuration"

    def test_the_configuration_comes_first(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        pair = join_stock(
            ContextFactory(attrs.evolve(client_config, alpn=["h2"]), "localhost"),
            ContextFactory(attrs.evolve(server_config, alpn=["h2"])),
            client_factory=offering(Talker(), b"http/1.1"),
            server_factory=offering(Talker(), b"http/1.1"),
        )
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"h2"

    def test_none_in_common(self, join_ours: StockConnect) -> None:
        """Twisted's own sends internal_error."""
        pair = join_ours(on_client={"alpn": ["h2"]}, on_server={"alpn": ["http/1.1"]})
        for reason in (pair.client.reason, pair.server.reason):
            assert isinstance(reason, ConnectionFailed)
            assert reason.alert is AlertDescription.no_application_protocol
        assert_over(pair)

    def test_lists_are_not_kept_for_ever(self, server_config: ServerConfig) -> None:
        creator = ContextFactory(server_config)
        for number in range(200):
            factory = offering(Talker(), b"p%d" % number)
            stock(creator, None, False, Clock(), factory).makeConnection(StringTransport())
        assert len(creator._configs) <= 64


class TestDefectsOfTwisted:
    def test_a_flight_of_more_than_32_kib(self, authority: Authority, join_ours: StockConnect) -> None:
        """Twisted reads once from its connection and then waits for the peer, which waits for the rest."""
        names = [f"a-name-of-some-length-{number}.example.com" for number in range(1200)]
        issued = authority.issue("localhost", *names)
        assert len(issued.chain_pem) > 50_000
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        pair = join_ours(on_server={"identities": [identity]})
        pair.client_tls.write(b"through")
        pair.flush()
        assert pair.server.received == b"through"
        pair.client_tls.loseConnection()
        pair.flush()
        assert_over(pair)

    def test_host_certificate(self, join_ours: StockConnect, server_identity: Identity) -> None:
        """pyOpenSSL has no such method, so Twisted's own never finds one."""
        pair = join_ours()
        host = Certificate.hostFromTransport(pair.server_tls)
        assert host.original.to_cryptography() == server_identity.certificates[0]

    def test_close_notify_in_the_middle_of_the_handshake(self, client_config: ClientConfig) -> None:
        """Twisted looks for an error in the arguments of an exception that has none, and reports an IndexError."""
        talker, transport = Talker(), StringTransport()
        tls = stock(ContextFactory(client_config, "localhost"), talker, True, Clock())
        tls.makeConnection(transport)
        tls.dataReceived(b"\x15\x03\x03\x00\x02\x01\x00")
        assert transport.disconnecting
        tls.connectionLost(None)
        assert isinstance(talker.reason, ConnectionFailed)
        assert str(talker.reason) == "the peer closed the connection during the handshake"


class TestCreatorsNeverRaise:
    """A creator that raises leaves the peer connected, neither answered nor closed."""

    def refused(self, creator: ContextFactory, factory: Any = None, is_client: bool = False) -> Talker:
        talker, transport, clock = Talker(), StringTransport(), Clock()
        if factory is not None:
            factory.buildProtocol = lambda addr: talker
        tls = stock(creator, talker, is_client, clock, factory)
        tls.makeConnection(transport)
        assert transport.value() == b"\x15\x03\x03\x00\x02\x02\x50", "the alert internal_error"
        assert transport.disconnecting
        tls.dataReceived(b"whatever comes")
        tls.connectionLost(None)
        assert clock.getDelayedCalls() == []
        return talker

    def test_the_application_fails_to_name_its_protocols(self, server_config: ServerConfig, logged: list[str]) -> None:
        def fail() -> None:
            raise RuntimeError("no idea")

        factory = Offering(None, fail)
        directlyProvides(factory, IProtocolNegotiationFactory)
        reason = self.refused(ContextFactory(server_config), factory).reason
        assert isinstance(reason, ConnectionFailed) and isinstance(reason.failure, HookError)
        assert isinstance(reason.failure.__cause__, RuntimeError)
        assert logged.pop() == "a hook of the TLS configuration failed"

    def test_names_that_are_none(self, server_config: ServerConfig, logged: list[str]) -> None:
        reason = self.refused(ContextFactory(server_config), offering(None, b"")).reason
        assert isinstance(reason, ConnectionFailed) and isinstance(reason.failure, ConfigError)
        assert "protocol name" in logged.pop()

    @pytest.mark.parametrize("is_client", [True, False])
    def test_the_wrong_side(
        self, client_config: ClientConfig, server_config: ServerConfig, is_client: bool, logged: list[str]
    ) -> None:
        creator = ContextFactory(server_config) if is_client else ContextFactory(client_config, "localhost")
        reason = self.refused(creator, is_client=is_client).reason
        assert isinstance(reason, ConnectionFailed) and isinstance(reason.failure, ConfigError)
        assert ("a client needs a ClientConfig" if is_client else "a server needs a ServerConfig") in str(reason)
        assert "needs a" in logged.pop()

    @pytest.mark.parametrize("is_server", [True, False])
    def test_it_is_an_engine(self, is_server: bool) -> None:
        assert verifyObject(IEngine, RefusedEngine(ConfigError("no"), is_server))

    def test_what_is_left_of_it(self, client_config: ClientConfig, logged: list[str]) -> None:
        connection = ContextFactory(client_config, "localhost").serverConnectionForTLS(None)
        logged.clear()
        connection.set_accept_state()
        with pytest.raises(SSL.Error):
            connection.send(b"data")
        with pytest.raises(SSL.Error):
            connection.recv(10)
        assert connection.shutdown() is False
        assert connection.get_peer_certificate() is connection.get_cipher_name() is connection.group is None
        assert "ServerConfig" in repr(connection)


class TestMakingOne:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (("no config",), "expected a ClientConfig or a ServerConfig"),
            ((ClientConfig(),), "a name is needed"),
            ((ClientConfig(min_version="TLSv1.2"), "localhost", "native"), "does not support"),
            ((ClientConfig(), "localhost", "nobody"), "unknown provider"),
            ((ClientConfig(), b"localhost"), "hostname: expected text"),
        ],
    )
    def test_mistakes_show_at_once(self, arguments: Any, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            ContextFactory(*arguments)

    def test_a_server_verifies_no_name(self, server_config: ServerConfig) -> None:
        with pytest.raises(ConfigError, match="hostname: a server has none"):
            ContextFactory(server_config, "localhost")

    def test_options_trust_these_only(
        self, authority: Authority, client_config: ClientConfig, server_config: ServerConfig, client_identity: Identity
    ) -> None:
        """As PrivateCertificate.options, for AMP."""
        root = Certificate.loadPEM(authority.certificate_pem)
        nobody = attrs.evolve(client_config, trust=TrustStore.pinned(b"\0" * 32), identity=client_identity)
        ours = ContextFactory(nobody, "localhost", clock=Clock(), handshakeTimeout=5, closeTimeout=6)
        client, server = ours.options(root), ContextFactory(server_config).options(root)
        assert isinstance(server.config, ServerConfig) and server.config.client_auth == "require"
        assert (client.clock, client.handshakeTimeout, client.closeTimeout) == (ours.clock, 5, 6)
        pair = join_stock(client, server)
        shown = Certificate.peerFromTransport(pair.server_tls).original.to_cryptography()
        assert shown == client_identity.certificates[0]

    def test_options_without_authorities(self, server_config: ServerConfig) -> None:
        creator = ContextFactory(server_config, provider=get_provider("native"))
        assert creator.options() is creator


class TestEnds:
    @pytest.mark.parametrize("side", ["client", "server"])
    def test_the_stream_is_cut(self, join_ours: StockConnect, side: str) -> None:
        pair = join_ours()
        pair.cut(side)
        for one in (pair.client, pair.server):
            assert isinstance(one.reason, ConnectionLost)
        assert_over(pair)

    def test_an_alert_after_the_handshake(self, join_ours: StockConnect, trust: TrustStore) -> None:
        """In TLS 1.3 a client learns only then that the server wanted a certificate."""
        pair = join_ours(on_server={"client_auth": "require", "trust": trust})
        reason = pair.client.reason
        assert isinstance(reason, ConnectionFailed) and reason.alert is AlertDescription.certificate_required
        assert isinstance(pair.server.reason, ConnectionFailed)
        assert isinstance(pair.server.reason.failure, PeerFault)
        assert pair.server.reason.failure.fault is Fault.CERTIFICATE_REQUIRED
        assert_over(pair)

    def test_damage(self, join_ours: StockConnect) -> None:
        pair = join_ours()
        pair.client_tls.write(b"good")
        pair.clock.advance(0)
        data = bytearray(pair.client_wire.getOutBuffer())
        pair.client_tls.write(b"bad")
        pair.clock.advance(0)
        data += pair.client_wire.getOutBuffer()
        data[-1] ^= 1
        pair.server_tls.dataReceived(bytes(data))
        pair.flush()
        assert pair.server.received == b"good", "what came before it is not lost"
        assert isinstance(pair.server.reason, ConnectionFailed)
        assert pair.server.reason.alert is AlertDescription.bad_record_mac
        assert_over(pair)

    @pytest.mark.parametrize("fails", [True, False])
    def test_nothing_keeps_a_lost_connection(self, join_ours: StockConnect, fails: bool) -> None:
        """Without the help of the garbage collector."""
        stranger = TrustStore.from_crypto([Authority("somebody else").certificate])
        gc.collect()
        gc.disable()
        try:
            pair = join_ours(on_client={"trust": stranger} if fails else {}, start=False)
            kept = [weakref.ref(one.getHandle()) for one in (pair.client_tls, pair.server_tls)]
            pair.flush()
            pair.client_tls.loseConnection()
            pair.flush()
            assert_over(pair)
            pair.client.lost.clear()
            pair.server.lost.clear()
            assert [reference() for reference in kept] == [None, None]
        finally:
            gc.enable()
