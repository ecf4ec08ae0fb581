"""Interoperation with the OpenSSL that ``cryptography`` brings along, through pyOpenSSL: hybrid groups, ML-DSA."""

from __future__ import annotations

import attrs
import pytest
from OpenSSL import SSL
from openssl_peers import (
    Heard,
    client,
    collide,
    engine_handshake,
    exchange,
    identity,
    issue,
    meet,
    meet_in_crumbs,
    pyopenssl_as_client,
    pyopenssl_as_server,
    pyopenssl_context,
    server,
    set_groups,
)
from pyopenssl_pair import Pair
from pyopenssl_pair import connected as connected
from pyopenssl_pair import pair as pair
from pyopenssl_pair import their_client as their_client
from pyopenssl_pair import theirs as theirs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import KEY_TYPES, Authority, KeyType
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import NamedGroup
from tlsprovider.trust import TrustStore

ALL_SUITES = [suite.name for suite in SUITES]
ALL_GROUPS = [group.name for group in IMPLEMENTED_GROUPS]
HYBRIDS = [name for name in ALL_GROUPS if "MLKEM" in name]


# -- what is negotiated --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", ALL_SUITES)
def test_cipher_suite(
    client_config: ClientConfig, server_config: ServerConfig, authority: Authority, suite: str
) -> None:
    theirs, their_client = pyopenssl_context(issue(authority)), pyopenssl_context(None, authority)
    for context in (theirs, their_client):
        context.set_tls13_ciphersuites(suite.encode())
    for engine, peer in (
        (client(client_config), pyopenssl_as_server(theirs)),
        (server(server_config), pyopenssl_as_client(their_client)),
    ):
        meet(engine, peer)
        assert engine.cipher == peer.connection.get_cipher_name() == suite
        exchange(engine, peer, 20_000)


def test_no_common_suite(client_config: ClientConfig, server_config: ServerConfig, their_client: SSL.Context) -> None:
    their_client.set_tls13_ciphersuites(b"TLS_AES_256_GCM_SHA384")
    config = attrs.evolve(server_config, cipher_suites=["TLS_AES_128_GCM_SHA256"])
    outcome = collide(server(config), pyopenssl_as_client(their_client))
    assert isinstance(outcome.ours, PeerFault)
    assert outcome.ours.fault is Fault.NO_COMMON_SUITE
    assert outcome.alert_seen == "handshake_failure"


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_group_as_client(client_config: ClientConfig, theirs: SSL.Context, group: str) -> None:
    set_groups(theirs, group)
    heard = Heard()
    engine = client(attrs.evolve(client_config, groups=[group], key_shares=[group], on_event=heard))
    peer = pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert engine.group == peer.connection.get_group_name() == group
    assert heard["message_sent", "client_hello"] == 1
    exchange(engine, peer)


@pytest.mark.parametrize("group", ALL_GROUPS)
def test_group_as_server(server_config: ServerConfig, their_client: SSL.Context, group: str) -> None:
    set_groups(their_client, group)
    heard = Heard()
    engine, peer = (
        server(attrs.evolve(server_config, groups=[group], on_event=heard)),
        pyopenssl_as_client(their_client),
    )
    meet(engine, peer)
    assert engine.group == peer.connection.get_group_name() == group
    assert heard["message_received", "client_hello"] == 1
    exchange(engine, peer)


def test_defaults_on_both_sides_are_post_quantum(connected: Pair) -> None:
    engine, peer = connected
    assert engine.group == peer.connection.get_group_name() == "X25519MLKEM768"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_their_certificate(authority: Authority, client_config: ClientConfig, key_type: KeyType) -> None:
    issued = issue(authority, key_type)
    engine, peer = client(client_config), pyopenssl_as_server(pyopenssl_context(issued))
    meet(engine, peer)
    assert engine.peer_certificates == issued.certificates
    assert engine.verified_chain == (*issued.certificates, authority.certificate)
    assert engine.signature_scheme == str(identity(issued).schemes[0])


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_our_certificate(authority: Authority, their_client: SSL.Context, key_type: KeyType) -> None:
    issued = issue(authority, key_type)
    engine, peer = server(ServerConfig(identities=[identity(issued)])), pyopenssl_as_client(their_client)
    meet(engine, peer)
    assert peer.connection.get_peer_certificate(as_cryptography=True) == issued.certificate
    exchange(engine, peer)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_our_client_certificate(authority: Authority, client_config: ClientConfig, key_type: KeyType) -> None:
    issued = issue(authority, key_type, client=True)
    engine = client(attrs.evolve(client_config, identity=identity(issued)))
    peer = pyopenssl_as_server(pyopenssl_context(issue(authority), believed=authority))
    meet(engine, peer)
    assert peer.connection.get_peer_certificate(as_cryptography=True) == issued.certificate
    exchange(engine, peer)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_their_client_certificate(
    authority: Authority, server_config: ServerConfig, trust: TrustStore, key_type: KeyType
) -> None:
    issued = issue(authority, key_type, client=True)
    engine = server(attrs.evolve(server_config, client_auth="require", trust=trust))
    peer = pyopenssl_as_client(pyopenssl_context(issued, believed=authority))
    meet(engine, peer)
    assert engine.peer_certificates[0] == issued.certificate
    assert engine.verified_chain == (issued.certificate, authority.certificate)
    assert engine.signature_scheme == str(identity(issued).schemes[0])


@pytest.mark.parametrize("key_type", ["p384", "p521", "rsa2048", "mldsa44", "mldsa65", "mldsa87"])
def test_kinds_of_authorities(key_type: KeyType) -> None:
    authority = Authority("another kind", key_type=key_type)
    issued = authority.issue("localhost", intermediates=1)
    trust = TrustStore.from_crypto([authority.certificate])
    meet(client(ClientConfig(trust=trust)), pyopenssl_as_server(pyopenssl_context(issued)))
    meet(server(ServerConfig(identities=[identity(issued)])), pyopenssl_as_client(pyopenssl_context(None, authority)))


def test_our_alpn(client_config: ClientConfig, theirs: SSL.Context) -> None:
    theirs.set_alpn_select_callback(lambda connection, offered: offered[-1])
    engine, peer = client(attrs.evolve(client_config, alpn=["h2", "http/1.1"])), pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert engine.alpn == "http/1.1"
    assert peer.connection.get_alpn_proto_negotiated() == b"http/1.1"


def test_their_alpn(server_config: ServerConfig, their_client: SSL.Context) -> None:
    their_client.set_alpn_protos([b"http/1.1", b"h2"])
    engine, peer = server(attrs.evolve(server_config, alpn=["h2", "http/1.1"])), pyopenssl_as_client(their_client)
    meet(engine, peer)
    assert engine.alpn == "h2"
    assert peer.connection.get_alpn_proto_negotiated() == b"h2"


def test_they_accept_none_of_our_alpn(client_config: ClientConfig, theirs: SSL.Context) -> None:
    # Without a choice pyOpenSSL goes on; a server that insists answers with an alert, which its callback can't send.
    theirs.set_alpn_select_callback(lambda connection, offered: SSL.NO_OVERLAPPING_PROTOCOLS)
    engine, peer = client(attrs.evolve(client_config, alpn=["h2"])), pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert engine.alpn is None


def test_every_group_is_tested() -> None:
    assert {NamedGroup.parse(name) for name in ALL_GROUPS} == set(IMPLEMENTED_GROUPS)
    assert len(HYBRIDS) == 3


# -- HelloRetryRequest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [name for name in ALL_GROUPS if name != "x25519"])
def test_they_retry(client_config: ClientConfig, theirs: SSL.Context, group: str) -> None:
    set_groups(theirs, group)
    heard = Heard()
    config = attrs.evolve(client_config, groups=["x25519", group], key_shares=["x25519"], on_event=heard)
    engine, peer = client(config), pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert (heard["message_sent", "client_hello"], heard["message_received", "server_hello"]) == (2, 2)
    assert engine.group == peer.connection.get_group_name() == group
    exchange(engine, peer)


@pytest.mark.parametrize("group", [name for name in ALL_GROUPS if name != "x25519"])
def test_we_retry(server_config: ServerConfig, their_client: SSL.Context, group: str) -> None:
    # OpenSSL sends a share for the first group of its list, unless the list says otherwise.
    set_groups(their_client, f"X25519:{group}")
    heard = Heard()
    engine = server(attrs.evolve(server_config, groups=[group], on_event=heard))
    peer = pyopenssl_as_client(their_client)
    meet(engine, peer)
    assert (heard["message_received", "client_hello"], heard["message_sent", "server_hello"]) == (2, 2)
    assert engine.group == peer.connection.get_group_name() == group
    exchange(engine, peer)


def test_retry_for_the_sake_of_post_quantum_protection(server_config: ServerConfig, their_client: SSL.Context) -> None:
    # The client has it but sends no share for it: the round trip is worth it.
    set_groups(their_client, "X25519:X25519MLKEM768")
    engine, peer = server(server_config), pyopenssl_as_client(their_client)
    meet(engine, peer)
    assert peer.connection.get_group_name() == "X25519MLKEM768"


def test_several_shares_of_theirs(server_config: ServerConfig, their_client: SSL.Context) -> None:
    set_groups(their_client, "*X25519:*secp256r1:*X25519MLKEM768:secp384r1")
    for group, retries in [("X25519MLKEM768", 0), ("secp256r1", 0), ("x25519", 0), ("secp384r1", 1)]:
        heard = Heard()
        engine, peer = (
            server(attrs.evolve(server_config, groups=[group], on_event=heard)),
            pyopenssl_as_client(their_client),
        )
        meet(engine, peer)
        assert peer.connection.get_group_name() == group
        assert heard["message_sent", "server_hello"] == 1 + retries


@pytest.mark.parametrize("group", HYBRIDS)
def test_all_our_shares_at_once(client_config: ClientConfig, theirs: SSL.Context, group: str) -> None:
    set_groups(theirs, group)
    engine = client(attrs.evolve(client_config, groups=ALL_GROUPS, key_shares=ALL_GROUPS))
    peer = pyopenssl_as_server(theirs)
    meet(engine, peer)
    assert engine.group == group
    exchange(engine, peer)


# -- flights in pieces ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_flights_in_pieces(pair: Pair, size: int) -> None:
    engine, peer = pair
    meet_in_crumbs(engine, peer, size)
    exchange(engine, peer)


def cut_records(data: bytes, size: int) -> bytes:
    """The same plaintext handshake messages in records of at most ``size`` bytes; other records stay as they are."""
    found = bytearray()
    while data:
        header, length = data[:3], int.from_bytes(data[3:5], "big")
        content, data = data[5 : 5 + length], data[5 + length :]
        step = size if header[0] == 22 else length
        for start in range(0, length, step):
            fragment = content[start : start + step]
            found += header + len(fragment).to_bytes(2, "big") + fragment
    return bytes(found)


@pytest.mark.parametrize("size", [1, 64, 1000])
def test_messages_in_many_records(pair: Pair, size: int) -> None:
    engine, peer = pair
    if engine.is_server:
        assert not peer.do_handshake()
        engine.process_incoming(cut_records(peer.drain(), size))
    else:
        assert not engine_handshake(engine)
        peer.feed(cut_records(engine.process_outgoing(), size))
        assert not peer.do_handshake()
        engine.process_incoming(cut_records(peer.drain(), size))
    meet(engine, peer)
    exchange(engine, peer)


def test_a_chain_of_several_records(authority: Authority, client_config: ClientConfig) -> None:
    # Certificates that nobody needs make the message longer than a record; then a signature of 4.6 KB follows.
    issued = authority.issue("localhost", key_type="mldsa87")
    ballast = [Authority(f"ballast {number}", key_type="mldsa87").certificate for number in range(3)]
    issued = attrs.evolve(issued, certificates=(*issued.certificates, *ballast))
    assert sum(map(len, identity(issued).chain_der)) > 1 << 14

    engine, peer = client(client_config), pyopenssl_as_server(pyopenssl_context(issued))
    meet_in_crumbs(engine, peer, 4096)
    assert engine.peer_certificates == issued.certificates

    engine = server(ServerConfig(identities=[identity(issued)]))
    peer = pyopenssl_as_client(pyopenssl_context(None, believed=authority))
    meet_in_crumbs(engine, peer, 4096)
    chain = peer.connection.get_peer_cert_chain(as_cryptography=True)
    assert chain is not None
    assert tuple(chain) == issued.certificates
