"""Connections that fail: what each side is told, and that nothing waits for ever."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionAborted, TimeoutError
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted_pair import Connect, Talker, assert_over, join, tls
from twisted_pair import make_connect as make_connect
from twisted_pair import watch_log as watch_log

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, CertificateFault, ClosedByPeer, Fault, PeerFault, TLSError
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT

pytestmark = pytest.mark.usefixtures("logged")


class TestFailing:
    def test_certificate_is_not_trusted(self, connect: Connect) -> None:
        stranger = Authority("somebody else")
        pair = connect(on_client={"trust": TrustStore.from_crypto([stranger.certificate])})
        assert isinstance(pair.client.reason, CertificateFault)
        assert pair.client.reason.__traceback__ is None, "its frames could hold secrets"
        assert isinstance(pair.server.reason, AlertReceived)
        assert pair.server.reason.alert is pair.client.reason.alert is AlertDescription.unknown_ca
        assert pair.client.happened == pair.server.happened == ["made", "lost"]
        assert_over(pair)

    def test_no_common_application_protocol(self, connect: Connect) -> None:
        """Stock Twisted sends internal_error."""
        pair = connect(on_client={"alpn": ["h2"]}, on_server={"alpn": ["http/1.1"]})
        assert isinstance(pair.server.reason, PeerFault) and pair.server.reason.fault is Fault.NO_COMMON_ALPN
        assert isinstance(pair.client.reason, AlertReceived)
        assert pair.client.reason.alert is AlertDescription.no_application_protocol
        assert_over(pair)

    def test_server_refuses_the_client_after_its_handshake(self, connect: Connect, trust: TrustStore) -> None:
        """In TLS 1.3 the client learns it later."""
        pair = connect(on_server={"client_auth": "require", "trust": trust})
        assert isinstance(pair.client.reason, AlertReceived)
        assert pair.client.reason.alert is AlertDescription.certificate_required
        assert_over(pair)

    def test_no_tls_at_all(self, server_config: ServerConfig) -> None:
        talker, transport = Talker(), StringTransport()
        protocol = tls(server_config, talker, Clock())
        protocol.makeConnection(transport)
        protocol.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
        assert transport.value()[0] == 21, "an alert"
        assert transport.disconnecting
        protocol.connectionLost()
        assert isinstance(talker.reason, PeerFault) and talker.reason.fault is Fault.NOT_TLS

    def test_damaged_record(self, connect: Connect) -> None:
        pair = connect()
        pair.client_tls.write(b"good")
        pair.clock.advance(0)
        good = pair.client_wire.getOutBuffer()
        pair.client_tls.write(b"damaged")
        pair.clock.advance(0)
        bad = bytearray(pair.client_wire.getOutBuffer())
        bad[-1] ^= 1
        pair.server_tls.dataReceived(good + bytes(bad))
        assert pair.server_wire.disconnecting, "at once"
        pair.flush()
        assert pair.server.received == b"good", "what came before it is not lost"
        assert isinstance(pair.server.reason, PeerFault) and pair.server.reason.fault is Fault.BAD_RECORD_MAC
        assert isinstance(pair.client.reason, AlertReceived)
        assert_over(pair)

    def test_what_can_not_be_sealed(self, connect: Connect) -> None:
        class Worn:
            """An engine that can't protect any more."""

            def __init__(self, engine: Any) -> None:
                self.engine = engine

            def __getattr__(self, name: str) -> Any:
                return getattr(self.engine, name)

            def write(self, data: bytes) -> int:
                raise problem

        problem = TLSError("worn out")
        pair = connect()
        engine: Any = Worn(pair.client_tls.getHandle().engine)
        pair.client_tls._engine = engine
        pair.client_tls.write(b"x")
        pair.flush()
        assert pair.client.reason is problem
        assert_over(pair)

    def test_close_notify_in_the_middle_of_the_handshake(self, client_config: ClientConfig) -> None:
        """Stock Twisted gives the application an IndexError."""
        talker, transport = Talker(), StringTransport()
        protocol = tls(client_config, talker, Clock())
        protocol.makeConnection(transport)
        protocol.dataReceived(b"\x15\x03\x03\x00\x02\x01\x00")
        assert transport.disconnecting
        protocol.connectionLost()
        assert isinstance(talker.reason, ClosedByPeer)

    def test_alert_that_nobody_takes(self, client_config: ClientConfig) -> None:
        """The transport is not kept open for it."""
        clock, transport = Clock(), StringTransport()
        protocol = tls(client_config, Talker(), clock)
        protocol.makeConnection(transport)
        protocol.dataReceived(b"no TLS")
        assert transport.disconnecting and not transport.disconnected
        clock.advance(CLOSE_TIMEOUT)
        assert transport.disconnected
        protocol.connectionLost(Failure(ConnectionAborted()))
        assert clock.getDelayedCalls() == []

    def test_large_flight(self, authority: Authority, client_config: ClientConfig) -> None:
        """Stock Twisted hangs when a flight is over 32 KiB."""
        issued = authority.issue("localhost", *(f"host-number-{number}.example.com" for number in range(1500)))
        server = ServerConfig(identities=[Identity.from_crypto(issued.certificates, issued.private_key)])
        pair = join(client_config, server)
        assert max(map(len, pair.server_wire.writes)) > 32768
        pair.client_tls.write(b"here I am")
        pair.flush()
        assert pair.server.received == b"here I am"

    def test_application_that_raises_in_its_own_turn(self, connect: Connect, logged: list[str]) -> None:
        """Nobody else would hear of it."""

        class Faulty(Talker):
            def dataReceived(self, data: bytes) -> None:
                raise LookupError("a mistake")

        pair = connect(server=Faulty())
        pair.server_tls.pauseProducing()
        pair.client_tls.write(b"x")
        pair.clock.advance(0)
        pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        pair.server_tls.resumeProducing()
        pair.flush()
        assert isinstance(pair.server.reason, LookupError)
        (line,) = logged
        assert line == "an exception of the application ends its TLS connection"
        logged.clear()
        assert_over(pair)

    def test_application_that_raises_in_data_received(self, connect: Connect) -> None:
        """It reaches the reactor, as without TLS; what was written before is not lost."""

        class Faulty(Talker):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"before")
                raise LookupError("a mistake")

        pair = connect(server=Faulty())
        pair.client_tls.write(b"x")
        pair.clock.advance(0)
        with pytest.raises(LookupError):
            pair.server_tls.dataReceived(pair.client_wire.getOutBuffer())
        pair.flush()
        assert pair.client.received == b"before"


class TestHandshakeTimeout:
    @pytest.mark.parametrize(("options", "seconds"), [({}, HANDSHAKE_TIMEOUT), ({"handshakeTimeout": 2}, 2)])
    def test_silent_peer(self, server_config: ServerConfig, options: dict[str, Any], seconds: float) -> None:
        clock, talker, transport = Clock(), Talker(), StringTransport()
        protocol = tls(server_config, talker, clock, **options)
        protocol.makeConnection(transport)
        clock.advance(seconds - 0.1)
        assert not transport.disconnected
        clock.advance(0.2)
        assert transport.disconnected
        protocol.connectionLost(Failure(ConnectionAborted()))
        assert isinstance(talker.reason, TimeoutError)
        assert f"took longer than {seconds:g} seconds" in str(talker.reason)
        assert clock.getDelayedCalls() == []

    def test_over_when_the_handshake_is_complete(self, connect: Connect) -> None:
        pair = connect(handshakeTimeout=5)
        assert pair.clock.getDelayedCalls() == []

    def test_no_limit(self, server_config: ServerConfig) -> None:
        clock = Clock()
        protocol = tls(server_config, Talker(), clock, handshakeTimeout=None)
        protocol.makeConnection(StringTransport())
        assert clock.getDelayedCalls() == []
