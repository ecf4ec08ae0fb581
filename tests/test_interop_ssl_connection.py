"""Interoperation with Python's ``ssl`` module, second part: what comes after the handshake, and what refuses it."""

from __future__ import annotations

import datetime
import hashlib
import ssl
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from openssl_peers import (
    Heard,
    StdlibPeer,
    client,
    collide,
    engine_handshake,
    exchange,
    identity,
    issue,
    meet,
    meet_in_crumbs,
    server,
    stdlib_as_client,
    stdlib_as_server,
    stdlib_client,
    stdlib_server,
    transfer,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.errors import AlertReceived, CertificateFault, Fault, PeerFault, TruncatedError
from tlsprovider.iana import AlertDescription, ExtensionType
from tlsprovider.interfaces import IEngine
from tlsprovider.trust import TrustStore

Pair = tuple[IEngine, StdlibPeer]


@pytest.fixture
def theirs(authority: Authority) -> ssl.SSLContext:
    """Their server."""
    return stdlib_server(issue(authority))


@pytest.fixture
def their_client(authority: Authority) -> ssl.SSLContext:
    return stdlib_client(authority)


@pytest.fixture(params=["client", "server"])
def pair(
    request: pytest.FixtureRequest,
    client_config: ClientConfig,
    server_config: ServerConfig,
    theirs: ssl.SSLContext,
    their_client: ssl.SSLContext,
) -> Pair:
    """An engine in either role, with its peer, before the handshake."""
    if request.param == "client":
        return client(client_config), stdlib_as_server(theirs)
    return server(server_config), stdlib_as_client(their_client)


@pytest.fixture
def connected(pair: Pair) -> Pair:
    meet(*pair)
    return pair


# -- data ----------------------------------------------------------------------------------------------------------


def test_one_byte_at_a_time(pair: Pair) -> None:
    engine, peer = pair
    meet_in_crumbs(engine, peer)
    exchange(engine, peer)


def test_big_transfers(connected: Pair) -> None:
    engine, peer = connected
    # Long enough for many records, and not a multiple of anything.
    data = hashlib.shake_128(b"big").digest(3_000_001)
    engine.write(data)
    ciphertext = engine.process_outgoing()
    received = bytearray()
    for start in range(0, len(ciphertext), 100_003):
        peer.feed(ciphertext[start : start + 100_003])
        received += peer.read()
    assert received == data

    peer.write(data)
    ciphertext = peer.drain()
    received = bytearray()
    for start in range(0, len(ciphertext), 100_003):
        engine.process_incoming(ciphertext[start : start + 100_003])
        received += engine.read()
    assert received == data


def test_both_ways_at_once(connected: Pair) -> None:
    engine, peer = connected
    for size in (1, 16_383, 16_384, 16_385, 70_000):
        engine.write(b"a" * size)
        peer.write(b"b" * size)
        transfer(engine, peer)
        assert peer.read() == b"a" * size
        assert engine.read() == b"b" * size


def test_key_update(connected: Pair) -> None:
    engine, peer = connected
    for request_peer in (False, True, True, False):
        engine.key_update(request_peer)
        exchange(engine, peer, 20_000)


def test_client_asks_for_key_update(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    heard = Heard()
    engine, peer = client(attrs.evolve(client_config, on_event=heard)), stdlib_as_server(theirs)
    _ask_for_key_update(engine, peer, heard)


def test_server_asks_for_key_update(server_config: ServerConfig, their_client: ssl.SSLContext) -> None:
    heard = Heard()
    engine, peer = server(attrs.evolve(server_config, on_event=heard)), stdlib_as_client(their_client)
    _ask_for_key_update(engine, peer, heard)


def _ask_for_key_update(engine: IEngine, peer: StdlibPeer, heard: Heard) -> None:
    meet(engine, peer)
    for times in (1, 2, 3):
        engine.key_update(request_peer=True)
        exchange(engine, peer)
        assert (heard["key_update", "write"], heard["key_update", "read"]) == (times, times)
    exchange(engine, peer)


def test_tickets_are_ignored(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    heard = Heard()
    theirs.num_tickets = 5
    engine, peer = client(attrs.evolve(client_config, on_event=heard)), stdlib_as_server(theirs)
    meet(engine, peer)
    assert heard["message_received", "new_session_ticket"] == 5
    exchange(engine, peer)
    assert not engine.session_reused


def test_their_session_of_another_server(
    server_config: ServerConfig, theirs: ssl.SSLContext, their_client: ssl.SSLContext
) -> None:
    # A client that comes back to a name whose server has become ours offers what the old one gave it.
    first, old = stdlib_as_client(their_client), stdlib_as_server(theirs)
    for _ in range(3):
        first.do_handshake()
        old.feed(first.drain())
        old.do_handshake()
        first.feed(old.drain())
    assert first.read() == b""
    heard = Heard()
    engine = server(attrs.evolve(server_config, on_event=heard))
    peer = StdlibPeer(their_client, server_hostname="localhost", session=first.ssl.session)
    meet(engine, peer)
    assert heard.offered(ExtensionType.pre_shared_key)
    assert not peer.ssl.session_reused
    exchange(engine, peer)


# -- the end -------------------------------------------------------------------------------------------------------


def test_we_close_first(connected: Pair) -> None:
    engine, peer = connected
    engine.write(b"the last")
    engine.shutdown()
    transfer(engine, peer)
    assert peer.ssl.read(100) == b"the last"
    assert peer.ssl.read(100) == b""
    # Their direction is still open.
    peer.write(b"half open")
    transfer(engine, peer)
    assert engine.read() == b"half open"
    peer.ssl.unwrap()
    transfer(engine, peer)
    assert engine.read() == b""


def test_they_close_first(connected: Pair) -> None:
    engine, peer = connected
    peer.write(b"the last")
    with pytest.raises(ssl.SSLWantReadError):
        peer.ssl.unwrap()
    transfer(engine, peer)
    assert engine.read() == b"the last"
    assert engine.read() == b""
    assert engine.close_received
    engine.write(b"half open")
    transfer(engine, peer)
    assert peer.ssl.read(100) == b"half open"
    engine.shutdown()
    transfer(engine, peer)
    peer.ssl.unwrap()


def test_bytes_behind_close_notify(connected: Pair) -> None:
    # STARTTLS in reverse: the connection goes on in the clear.
    engine, peer = connected
    with pytest.raises(ssl.SSLWantReadError):
        peer.ssl.unwrap()
    engine.process_incoming(peer.drain() + b"plain text")
    assert engine.read() == b""
    assert engine.trailing_bytes() == b"plain text"


def test_truncation_is_seen_by_both(connected: Pair) -> None:
    engine, peer = connected
    engine.process_eof()
    with pytest.raises(TruncatedError):
        engine.read()
    peer.incoming.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        peer.ssl.read(100)


def test_truncation_in_the_handshake(pair: Pair) -> None:
    engine, peer = pair
    peer.do_handshake()
    transfer(engine, peer)
    engine.process_eof()
    with pytest.raises(TruncatedError):
        engine.do_handshake()


def test_we_give_up_in_the_handshake(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    engine, peer = client(client_config), stdlib_as_server(theirs)
    assert not engine_handshake(engine)
    transfer(engine, peer)
    assert not peer.do_handshake()
    engine.shutdown()
    peer.feed(engine.process_outgoing())
    with pytest.raises(ssl.SSLZeroReturnError):
        peer.do_handshake()


def test_damaged_record(connected: Pair) -> None:
    engine, peer = connected
    engine.write(b"attack at dawn")
    sealed = bytearray(engine.process_outgoing())
    sealed[-1] ^= 1
    peer.feed(bytes(sealed))
    with pytest.raises(ssl.SSLError, match="DECRYPTION_FAILED_OR_BAD_RECORD_MAC"):
        peer.read()
    engine.process_incoming(peer.drain())
    with pytest.raises(AlertReceived) as caught:
        engine.read()
    assert caught.value.alert is AlertDescription.bad_record_mac


# -- secrets -------------------------------------------------------------------------------------------------------


def test_key_logs_are_equal_as_client(client_config: ClientConfig, theirs: ssl.SSLContext, tmp_path: Path) -> None:
    ours: list[str] = []
    theirs.keylog_filename = str(tmp_path / "theirs.log")
    meet(client(attrs.evolve(client_config, keylog=ours.append)), stdlib_as_server(theirs))
    assert len(ours) == 5
    assert sorted(ours) == _their_lines(tmp_path / "theirs.log")


def test_key_logs_are_equal_as_server(
    server_config: ServerConfig, their_client: ssl.SSLContext, tmp_path: Path
) -> None:
    ours: list[str] = []
    their_client.keylog_filename = str(tmp_path / "theirs.log")
    meet(server(attrs.evolve(server_config, keylog=ours.append)), stdlib_as_client(their_client))
    assert len(ours) == 5
    assert sorted(ours) == _their_lines(tmp_path / "theirs.log")


def _their_lines(path: Path) -> list[str]:
    return sorted(line for line in path.read_text().splitlines() if not line.startswith("#"))


def test_channel_binding(
    client_config: ClientConfig, server_config: ServerConfig, theirs: ssl.SSLContext, their_client: ssl.SSLContext
) -> None:
    # tls-unique is not defined for TLS 1.3 (RFC 9846 appendix C.5); OpenSSL gives the client's Finished all the same.
    heard = Heard()
    engine, peer = client(attrs.evolve(client_config, on_event=heard)), stdlib_as_server(theirs)
    meet(engine, peer)
    assert peer.ssl.get_channel_binding("tls-unique") == heard.data("message_sent", "finished")[4:]
    with pytest.raises(ValueError, match="tls-exporter"):
        engine.channel_binding("tls-unique")

    heard = Heard()
    engine, peer = server(attrs.evolve(server_config, on_event=heard)), stdlib_as_client(their_client)
    meet(engine, peer)
    assert peer.ssl.get_channel_binding("tls-unique") == heard.data("message_received", "finished")[4:]


# -- old peers -----------------------------------------------------------------------------------------------------


def test_client_of_tls_1_2(server_config: ServerConfig, their_client: ssl.SSLContext) -> None:
    their_client.maximum_version = ssl.TLSVersion.TLSv1_2
    outcome = collide(server(server_config), stdlib_as_client(their_client))
    assert isinstance(outcome.ours, PeerFault)
    assert outcome.ours.fault is Fault.NO_COMMON_VERSION
    assert "TLSv1.2" in str(outcome.ours)
    assert "'openssl'" in str(outcome.ours)
    assert outcome.alert_seen == "protocol_version"


def test_server_of_tls_1_2(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    theirs.maximum_version = ssl.TLSVersion.TLSv1_2
    outcome = collide(client(client_config), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.protocol_version
    assert "'openssl'" in str(outcome.ours)


# -- refused certificates ------------------------------------------------------------------------------------------

LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
YESTERDAY = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)

# What is wrong with a server's certificate, and the fault that we find. OpenSSL sends the same alerts as we do.
REFUSED: dict[str, tuple[Callable[[Authority], Issued], Fault]] = {
    "expired": (
        lambda authority: authority.issue("localhost", not_before=LONG_AGO, not_after=YESTERDAY),
        Fault.CERTIFICATE_EXPIRED,
    ),
    "another name": (lambda authority: authority.issue("elsewhere.test"), Fault.CERTIFICATE_NAME),
    "a stranger's": (lambda authority: Authority("a stranger").issue("localhost"), Fault.CERTIFICATE_UNKNOWN_ISSUER),
    "a client's": (lambda authority: authority.issue("localhost", client=True), Fault.CERTIFICATE_PURPOSE),
}


@pytest.mark.parametrize(("make", "fault"), REFUSED.values(), ids=REFUSED)
def test_we_refuse(
    authority: Authority, client_config: ClientConfig, make: Callable[[Authority], Issued], fault: Fault
) -> None:
    outcome = collide(client(client_config), stdlib_as_server(stdlib_server(make(authority))))
    assert isinstance(outcome.ours, CertificateFault)
    assert outcome.ours.fault is fault
    assert outcome.alert_seen == fault.alert.name


@pytest.mark.parametrize(("make", "fault"), REFUSED.values(), ids=REFUSED)
def test_they_refuse(
    authority: Authority, their_client: ssl.SSLContext, make: Callable[[Authority], Issued], fault: Fault
) -> None:
    outcome = collide(server(ServerConfig(identities=[identity(make(authority))])), stdlib_as_client(their_client))
    assert isinstance(outcome.theirs, ssl.SSLCertVerificationError)
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is fault.alert


def test_we_refuse_a_client(authority: Authority, trust: TrustStore, server_config: ServerConfig) -> None:
    expired = authority.issue("alice@example.com", client=True, not_before=LONG_AGO, not_after=YESTERDAY)
    engine = server(attrs.evolve(server_config, client_auth="request", trust=trust))
    outcome = collide(engine, stdlib_as_client(stdlib_client(authority, expired)))
    assert isinstance(outcome.ours, CertificateFault)
    assert outcome.alert_seen == "certificate_expired"


def test_verify_peer_refuses(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    config = attrs.evolve(client_config, verify_peer=lambda question: CertificateFault("not on the list"))
    outcome = collide(client(config), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, CertificateFault)
    assert "not on the list" in str(outcome.ours)
    assert outcome.alert_seen == outcome.ours.fault.alert.name
