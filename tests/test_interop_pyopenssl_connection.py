"""Interoperation through pyOpenSSL, second part: what comes after the handshake, and certificates."""

from __future__ import annotations

import datetime

import attrs
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from OpenSSL import SSL
from openssl_peers import (
    Heard,
    allow_early_data,
    client,
    collide,
    exchange,
    issue,
    meet,
    pyopenssl_as_client,
    pyopenssl_as_server,
    pyopenssl_context,
    server,
    session_of,
    transfer,
    write_early_data,
)
from pyopenssl_pair import Pair
from pyopenssl_pair import connected as connected
from pyopenssl_pair import pair as pair
from pyopenssl_pair import their_client as their_client
from pyopenssl_pair import theirs as theirs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import AlertReceived, CertificateFault, TruncatedError
from tlsprovider.iana import AlertDescription, ExtensionType
from tlsprovider.identity import Identity
from tlsprovider.questions import ChooseIdentity, VerifyPeer

ALL_SUITES = [suite.name for suite in SUITES]


# -- afterwards ----------------------------------------------------------------------------------------------------


def test_big_transfers(connected: Pair) -> None:
    engine, peer = connected
    exchange(engine, peer, 2_000_003)


def test_key_update(connected: Pair) -> None:
    # pyOpenSSL can't start one, but it answers.
    engine, peer = connected
    for request_peer in (False, True, True, False):
        engine.key_update(request_peer)
        exchange(engine, peer, 20_000)


def test_requested_key_update_is_answered(client_config: ClientConfig, theirs: SSL.Context) -> None:
    heard = Heard()
    engine, peer = client(attrs.evolve(client_config, on_event=heard)), pyopenssl_as_server(theirs)
    meet(engine, peer)
    # Asking again before the answer has come asks nothing new.
    engine.key_update(request_peer=True)
    engine.key_update(request_peer=True)
    exchange(engine, peer)
    assert (heard["key_update", "write"], heard["key_update", "read"]) == (2, 1)
    exchange(engine, peer)


def test_tickets_are_ignored(client_config: ClientConfig, theirs: SSL.Context) -> None:
    heard = Heard()
    engine, peer = client(attrs.evolve(client_config, on_event=heard)), pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert heard["message_received", "new_session_ticket"] == 2
    exchange(engine, peer)


def test_their_session_of_another_server(
    server_config: ServerConfig, theirs: SSL.Context, their_client: SSL.Context
) -> None:
    # A client that comes back to a name whose server has become ours offers what the old one gave it.
    session = session_of(pyopenssl_as_client(their_client), pyopenssl_as_server(theirs))
    heard = Heard()
    engine, peer = server(attrs.evolve(server_config, on_event=heard)), pyopenssl_as_client(their_client)
    peer.connection.set_session(session)
    meet(engine, peer)
    assert heard.offered(ExtensionType.pre_shared_key)
    assert not engine.session_reused
    exchange(engine, peer)


@pytest.mark.parametrize("groups", [["X25519MLKEM768"], ["secp521r1"]], ids=["at once", "after HelloRetryRequest"])
def test_their_early_data_is_skipped(
    server_config: ServerConfig, theirs: SSL.Context, their_client: SSL.Context, groups: list[str]
) -> None:
    allow_early_data(theirs)
    session = session_of(pyopenssl_as_client(their_client), pyopenssl_as_server(theirs))
    heard = Heard()
    engine = server(attrs.evolve(server_config, groups=groups, on_event=heard))
    peer = pyopenssl_as_client(their_client)
    peer.connection.set_session(session)
    write_early_data(peer, b"too early")
    write_early_data(peer, b"still too early")
    meet(engine, peer)
    assert heard.offered(ExtensionType.early_data)
    exchange(engine, peer)


@pytest.mark.parametrize(("label", "context", "length"), [("EXPERIMENTAL a", b"", 1), ("EXPORTER-b", b"c" * 100, 300)])
@pytest.mark.parametrize("suite", ALL_SUITES)
def test_exported_keys_are_equal(
    client_config: ClientConfig, theirs: SSL.Context, suite: str, label: str, context: bytes, length: int
) -> None:
    engine, peer = client(attrs.evolve(client_config, cipher_suites=[suite])), pyopenssl_as_server(theirs)
    meet(engine, peer)
    ours = engine.export_keying_material(label, context, length)
    assert ours == peer.connection.export_keying_material(label.encode(), length, context)


def test_channel_binding(connected: Pair) -> None:
    engine, peer = connected
    # RFC 9266 section 4.2: an absent context is an empty one.
    for context in (None, b""):
        theirs = peer.connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, context)
        assert engine.channel_binding("tls-exporter") == theirs


def test_key_logs_are_equal(client_config: ClientConfig, theirs: SSL.Context) -> None:
    ours: list[str] = []
    logged: list[bytes] = []
    theirs.set_keylog_callback(lambda connection, line: logged.append(line))
    meet(client(attrs.evolve(client_config, keylog=ours.append)), pyopenssl_as_server(theirs))
    assert len(ours) == 5
    assert sorted(ours) == sorted(line.decode() for line in logged)


def test_half_close(connected: Pair) -> None:
    engine, peer = connected
    engine.write(b"the last")
    engine.shutdown()
    transfer(engine, peer)
    assert peer.connection.recv(100) == b"the last"
    with pytest.raises(SSL.ZeroReturnError):
        peer.connection.recv(100)
    peer.write(b"half open")
    peer.connection.shutdown()
    transfer(engine, peer)
    assert engine.read() == b"half open"
    assert engine.read() == b""


def test_truncation(connected: Pair) -> None:
    engine, peer = connected
    peer.write(b"half a sen")
    transfer(engine, peer)
    engine.process_eof()
    assert engine.read() == b"half a sen"
    with pytest.raises(TruncatedError):
        engine.read()
    peer.connection.bio_shutdown()
    with pytest.raises(SSL.SysCallError):
        peer.connection.recv(100)


# -- certificates --------------------------------------------------------------------------------------------------


def test_stapled_ocsp_response(authority: Authority, client_config: ClientConfig, theirs: SSL.Context) -> None:
    now = datetime.datetime.now(datetime.UTC)
    response = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=issue(authority).certificate,
            issuer=authority.certificate,
            algorithm=hashes.SHA256(),
            cert_status=ocsp.OCSPCertStatus.GOOD,
            this_update=now,
            next_update=now + datetime.timedelta(days=1),
            revocation_time=None,
            revocation_reason=None,
        )
        .responder_id(ocsp.OCSPResponderEncoding.NAME, authority.certificate)
        .sign(authority.private_key, hashes.SHA256())
        .public_bytes(Encoding.DER)
    )
    theirs.set_ocsp_server_callback(lambda connection, data: response)
    questions: list[VerifyPeer] = []

    def believe(question: VerifyPeer) -> bool:
        questions.append(question)
        return True

    meet(client(attrs.evolve(client_config, verify_peer=believe)), pyopenssl_as_server(theirs))
    assert [question.ocsp_response for question in questions] == [response]


def test_names_of_authorities(
    authority: Authority, client_config: ClientConfig, client_identity: Identity, server_config: ServerConfig
) -> None:
    theirs = pyopenssl_context(issue(authority), believed=authority)
    theirs.add_client_ca(authority.certificate)
    questions: list[ChooseIdentity] = []

    def choose(question: ChooseIdentity) -> Identity:
        questions.append(question)
        return client_identity

    meet(client(attrs.evolve(client_config, choose_identity=choose)), pyopenssl_as_server(theirs))
    assert [question.authorities for question in questions] == [client_config.trust.subjects]

    engine = server(attrs.evolve(server_config, client_auth="request", trust=client_config.trust))
    peer = pyopenssl_as_client(pyopenssl_context(None, believed=authority))
    meet(engine, peer)
    assert [name.commonName for name in peer.connection.get_client_ca_list()] == [authority.name]


def test_we_refuse(client_config: ClientConfig) -> None:
    theirs = pyopenssl_context(Authority("a stranger").issue("localhost"))
    outcome = collide(client(client_config), pyopenssl_as_server(theirs))
    assert isinstance(outcome.ours, CertificateFault)
    assert outcome.alert_seen == "unknown_ca"


def test_they_refuse(authority: Authority, client_config: ClientConfig) -> None:
    outcome = collide(
        client(client_config), pyopenssl_as_server(pyopenssl_context(issue(authority), believed=authority))
    )
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.certificate_required
