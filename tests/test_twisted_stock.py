"""Our protocol over what Twisted's own factory and connection creators make."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import VerificationError
from stock_creators import TOLERATED, certificate_options, client_options, only_tls12, over_stock_factory
from twisted.internet.error import ConnectionDone, ConnectionLost, TimeoutError
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.task import Clock
from twisted_pair import HalfCloser, Listener, Pair, Talker, assert_over, join_protocols
from twisted_pair import watch_log as watch_log
from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.twisted import ContextFactory, TLSProtocol
from tlsprovider.twisted.openssl_failures import ConnectionFailed
from tlsprovider.twisted.pyopenssl import Connection

pytestmark = [pytest.mark.usefixtures("logged"), pytest.mark.filterwarnings(TOLERATED)]

MEGABYTE = bytes(range(256)) * 4096
Join = Callable[..., Pair]


@pytest.fixture(name="join")
def make_join(authority: Authority) -> Join:
    """Connect a client and a server; who is not ``ours`` is driven by Twisted's own protocol."""

    def join(
        client: Any = None,
        server: Any = None,
        *,
        client_creator: Any = None,
        server_creator: Any = None,
        ours: tuple[bool, bool] = (True, True),
        start: bool = True,
    ) -> Pair:
        clock = Clock()
        client, server = client or Talker(), server or Talker()
        client_tls = over_stock_factory(
            client_creator or client_options(authority), client, clock, is_client=True, ours=ours[0]
        )
        server_tls = over_stock_factory(
            server_creator or certificate_options(authority), server, clock, is_client=False, ours=ours[1]
        )
        return join_protocols(client, server, client_tls, server_tls, clock, start=start)

    return join


class TestGenuineConnections:
    @pytest.mark.parametrize("ours", [(True, True), (True, False), (False, True)], ids=["both", "client", "server"])
    @pytest.mark.parametrize("version", ["TLSv1.3", "TLSv1.2"])
    def test_everything_arrives_both_ways(
        self, join: Join, authority: Authority, ours: tuple[bool, bool], version: str
    ) -> None:
        options = certificate_options(authority)
        if version == "TLSv1.2":
            only_tls12(options.getContext())
        pair = join(Listener(), Listener(), server_creator=options, ours=ours, start=False)
        pair.client_tls.write(b"before the handshake")
        pair.flush()
        pair.server.transport.write(MEGABYTE)
        pair.client.transport.writeSequence([b"+", MEGABYTE])
        pair.advance(0)
        assert pair.client.received == MEGABYTE
        assert pair.server.received == b"before the handshake+" + MEGABYTE
        assert pair.client.happened[:2] == pair.server.happened[:2] == ["made", "handshake"]
        pair.client.transport.loseConnection()
        pair.advance(0)
        assert_over(pair)
        assert isinstance(pair.client.reason, ConnectionDone)
        assert isinstance(pair.server.reason, ConnectionDone)

    def test_byte_by_byte(self, join: Join) -> None:
        """Records in pieces, and pieces of several records."""
        pair = join(start=False)
        for end in (pair.client_wire, pair.server_wire):
            whole = end.bufferReceived
            end.bufferReceived = lambda data, whole=whole: [whole(bytes((one,))) for one in data]  # type: ignore
        pair.flush()
        pair.client.transport.write(b"ping")
        pair.advance(0)
        pair.client_tls.write(b"pong" * 5000)
        pair.advance(0)
        assert pair.server.received == b"ping" + b"pong" * 5000

    def test_handle_is_the_connection_of_the_creator(self, join: Join) -> None:
        pair = join()
        handle = pair.client_tls.getHandle()
        assert type(handle) is SSL.Connection
        assert pair.client_tls._tlsConnection is handle
        assert isinstance(pair.client_tls.getPeerCertificate(), X509)
        engine = pair.client_tls._engine
        assert engine is not None and not engine.is_server and engine.version == handle.get_protocol_version_name()
        assert engine.server_name == "localhost"
        assert [one.subject for one in engine.peer_certificates] == [
            handle.get_peer_certificate(as_cryptography=True).subject
        ]
        assert len(engine.verified_chain) == 2
        server = pair.server_tls._engine
        assert server is not None and server.is_server and server.peer_certificates == server.verified_chain == ()

    def test_alpn(self, join: Join, authority: Authority) -> None:
        pair = join(server_creator=certificate_options(authority, acceptableProtocols=[b"h2"]))
        assert pair.server_tls.negotiatedProtocol is None
        pair = join(
            client_creator=client_options(authority, acceptableProtocols=[b"h2"]),
            server_creator=certificate_options(authority, acceptableProtocols=[b"http/1.1", b"h2"]),
        )
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"h2"

    @pytest.mark.parametrize("ours", [(True, True), (True, False)], ids=["both", "client"])
    def test_large_flight(self, join: Join, authority: Authority, ours: tuple[bool, bool]) -> None:
        """Twisted's own sends 32 KiB and then waits for ever (twisted#5095); it can read more."""
        names = [f"{number}.a-rather-long-name.example" for number in range(1500)]
        creator = certificate_options(authority, "localhost", *names)
        pair = join(Listener(), Listener(), server_creator=creator, ours=(ours[1], ours[0]))
        assert len(pair.server_wire.writes[0]) > 1 << 15
        assert "handshake" in pair.client.happened

    def test_half_close(self, join: Join) -> None:
        """Twisted's own closes all of TCP; its twin then reports a truncation (twisted#5341)."""
        pair = join(HalfCloser(), HalfCloser())
        pair.client.transport.loseWriteConnection()
        pair.advance(0)
        assert pair.server.happened == ["made", "read lost"]
        pair.server.transport.write(b"still there")
        pair.advance(0)
        assert pair.client.received == b"still there"
        pair.server.transport.loseConnection()
        pair.advance(0)
        assert isinstance(pair.client.reason, ConnectionDone) or pair.client.happened[-1] == "read lost"

    def test_nothing_refers_to_a_lost_connection(self, join: Join) -> None:
        """Without the help of the garbage collector."""
        gc.disable()
        try:
            pair = join()
            tls, handle = weakref.ref(pair.client_tls), weakref.ref(pair.client_tls.getHandle())
            pair.client.transport.loseConnection()
            pair.advance(0)
            assert_over(pair)
            assert pair.client_tls.getPeerCertificate() is None and pair.client_tls.getHandle() is None
            pair.client.transport = None
            pair.server_tls = pair.client_tls = pair.pump = None  # type: ignore[assignment]
            pair.client_wire = pair.server_wire = None  # type: ignore[assignment]
            assert tls() is None and handle() is None
        finally:
            gc.enable()

    def test_a_new_negotiation_of_tls_1_2_holds_up_what_is_written(self, join: Join, authority: Authority) -> None:
        """While it goes on OpenSSL writes nothing; Twisted's own keeps it then as well."""
        options = certificate_options(authority)
        only_tls12(options.getContext())
        pair = join(server_creator=options)
        pair.server_tls.getHandle().renegotiate()
        pair.server.transport.write(b"asks for it")
        pair.advance(0)
        pair.client.transport.write(b"here")
        pair.server.transport.write(MEGABYTE)
        pair.advance(0)
        pair.server.transport.loseConnection()
        pair.advance(0)
        assert pair.client.received == b"asks for it" + MEGABYTE
        assert pair.server.received == b"here"
        assert_over(pair)


class TestFailures:
    def test_wrong_name(self, join: Join, authority: Authority) -> None:
        """The identity check of ``optionsForClientTLS`` gives its own reason, from inside the handshake."""
        pair = join(client_creator=client_options(authority, "elsewhere.example"))
        assert isinstance(pair.client.reason, VerificationError)
        assert_over(pair)

    def test_unknown_issuer_is_openssls_error_on_both_sides(self, join: Join) -> None:
        pair = join(client_creator=client_options(Authority("another")))
        assert pair.client.reason.args == ([("SSL routines", "", "certificate verify failed")],)
        assert type(pair.client.reason) is type(pair.server.reason) is SSL.Error
        assert "unknown ca" in str(pair.server.reason)
        assert_over(pair)

    def test_truncation(self, join: Join) -> None:
        pair = join()
        pair.cut("client")
        assert isinstance(pair.server.reason, ConnectionLost)

    def test_plain_http(self, join: Join, authority: Authority) -> None:
        talker, clock = Talker(), Clock()
        server = over_stock_factory(certificate_options(authority), talker, clock, is_client=False)
        pair = join_protocols(Talker(), talker, Talker(), server, clock)
        pair.client_tls.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        pair.flush()
        assert talker.reason.args == ([("SSL routines", "", "http request")],)

    def test_close_notify_in_the_middle_of_the_handshake(self, join: Join) -> None:
        """Twisted's own fails with IndexError, and its client's connectionLost gets that."""
        pair = join(start=False)
        pair.client_tls.dataReceived(b"\x15\x03\x03\x00\x02\x01\x00")
        pair.flush()
        assert isinstance(pair.client.reason, SSL.Error)

    def test_callback_that_raises(self, join: Join, authority: Authority) -> None:
        def choose(*_: object) -> bytes:
            raise LookupError("no such protocol")

        options = certificate_options(authority)
        options.getContext().set_alpn_select_callback(choose)
        pair = join(client_creator=client_options(authority, acceptableProtocols=[b"h2"]), server_creator=options)
        assert str(pair.server.reason) == "no such protocol" and type(pair.server.reason) is LookupError
        assert_over(pair)

    def test_creator_that_raises_leaves_nobody_waiting(self, join: Join, logged: list[str]) -> None:
        """Twisted's own leaves the peer connected, neither answered nor closed."""

        @implementer(IOpenSSLServerConnectionCreator)
        class Broken:
            def serverConnectionForTLS(self, protocol: object) -> Any:
                raise LookupError("no certificate today")

        pair = join(server_creator=Broken())
        assert isinstance(pair.client.reason, ConnectionLost)
        assert isinstance(pair.server_tls._reason.value, LookupError)  # type: ignore[union-attr]
        assert [line for line in logged if "can't begin" in line]
        logged.clear()

    def test_silent_peer(self, authority: Authority) -> None:
        talker, clock = Talker(), Clock()
        server = over_stock_factory(certificate_options(authority), talker, clock, is_client=False)
        pair = join_protocols(Talker(), talker, Talker(), server, clock)
        pair.advance(TLSProtocol.handshakeTimeout or 0)
        assert isinstance(talker.reason, TimeoutError)

    def test_peer_that_never_closes(self, join: Join) -> None:
        """Twisted's own waits for ever (twisted#7926)."""
        pair = join()
        pair.server_wire.reading = False
        pair.client.transport.loseConnection()
        pair.flush()
        assert pair.client.lost == []
        pair.advance(TLSProtocol.closeTimeout or 0)
        assert isinstance(pair.client.reason, ConnectionDone)


class TestOurCreator:
    @pytest.fixture
    def creators(self, client_config: ClientConfig, server_config: ServerConfig) -> dict[str, Any]:
        return {
            "client_creator": ContextFactory(client_config, "localhost"),
            "server_creator": ContextFactory(server_config),
        }

    def test_its_own_engine_is_driven(self, join: Join, creators: dict[str, Any]) -> None:
        pair = join(**creators)
        pair.client.transport.write(MEGABYTE)
        pair.advance(0)
        assert pair.server.received == MEGABYTE
        handle = pair.client_tls.getHandle()
        assert type(handle) is Connection and handle.engine is pair.client_tls._engine
        pair.client.transport.loseConnection()
        pair.advance(0)
        assert_over(pair)

    def test_errors_are_the_same_as_without_us(
        self, join: Join, creators: dict[str, Any], client_config: ClientConfig
    ) -> None:
        creators["client_creator"] = ContextFactory(client_config, "elsewhere.example")
        for ours in ((True, True), (False, False)):
            pair = join(**creators, ours=ours)
            assert isinstance(pair.client.reason, ConnectionFailed)
            assert "elsewhere.example" in str(pair.client.reason)
            assert isinstance(pair.server.reason, ConnectionFailed)

    def test_its_limits_are_the_protocols(self, join: Join, client_config: ClientConfig) -> None:
        creator = ContextFactory(client_config, "localhost", handshakeTimeout=3)
        pair = join(client_creator=creator, start=False)
        pair.clock.advance(3)
        pair.flush()
        assert isinstance(pair.client.reason, TimeoutError)

    def test_a_refusal_is_told(
        self, join: Join, creators: dict[str, Any], server_config: ServerConfig, logged: list[str]
    ) -> None:
        """A configuration for the other side."""
        creators["client_creator"] = ContextFactory(server_config)
        pair = join(**creators)
        assert "ClientConfig" in str(pair.client.reason)
        logged.clear()
