"""Interoperation with OpenSSL as Python's ``ssl`` module has it, over memory BIOs.

That module can neither set the cipher suites of TLS 1.3 nor show the group that was used (before Python 3.14), so our
side decides about suites, and groups are shown by leaving the other side, or ours, no choice.
"""

from __future__ import annotations

import ssl

import attrs
import pytest
from openssl_peers import (
    Heard,
    StdlibPeer,
    client,
    collide,
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
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, KeyType
from tlsprovider.errors import AlertReceived, Fault, PeerFault
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore

SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
# Our name, and the one that set_ecdh_curve takes.
GROUPS = [
    ("x25519", "X25519"),
    ("secp256r1", "prime256v1"),
    ("secp384r1", "secp384r1"),
    ("secp521r1", "secp521r1"),
    ("x448", "X448"),
]
KEY_TYPES = ["p256", "p384", "p521", "ed25519", "ed448", "rsa2048", "rsa_pss"]


@pytest.fixture
def theirs(authority: Authority) -> ssl.SSLContext:
    """Their server."""
    return stdlib_server(issue(authority), clients=authority)


@pytest.fixture
def their_client(authority: Authority) -> ssl.SSLContext:
    return stdlib_client(authority)


@pytest.fixture(scope="module")
def stranger() -> Authority:
    """An authority that nobody here believes."""
    return Authority("a stranger")


# -- what is negotiated --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
def test_cipher_suite_as_client(client_config: ClientConfig, theirs: ssl.SSLContext, suite: str) -> None:
    engine, peer = client(attrs.evolve(client_config, cipher_suites=[suite])), stdlib_as_server(theirs)
    meet(engine, peer)
    assert engine.cipher == suite
    assert peer.ssl.cipher()[:2] == (suite, "TLSv1.3")
    exchange(engine, peer, 20_000)


@pytest.mark.parametrize("suite", SUITES)
def test_cipher_suite_as_server(server_config: ServerConfig, their_client: ssl.SSLContext, suite: str) -> None:
    engine, peer = server(attrs.evolve(server_config, cipher_suites=[suite])), stdlib_as_client(their_client)
    meet(engine, peer)
    assert engine.cipher == suite
    assert peer.ssl.cipher()[:2] == (suite, "TLSv1.3")
    exchange(engine, peer, 20_000)


@pytest.mark.parametrize(("group", "curve"), GROUPS)
def test_group_as_client(client_config: ClientConfig, theirs: ssl.SSLContext, group: str, curve: str) -> None:
    theirs.set_ecdh_curve(curve)
    engine, peer = client(attrs.evolve(client_config, groups=[group], key_shares=[group])), stdlib_as_server(theirs)
    meet(engine, peer)
    assert engine.group == group
    exchange(engine, peer)


@pytest.mark.parametrize(("group", "curve"), GROUPS)
def test_group_as_server(server_config: ServerConfig, their_client: ssl.SSLContext, group: str, curve: str) -> None:
    their_client.set_ecdh_curve(curve)
    engine, peer = server(attrs.evolve(server_config, groups=[group])), stdlib_as_client(their_client)
    meet(engine, peer)
    assert engine.group == group
    exchange(engine, peer)


def test_no_common_group_as_client(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    theirs.set_ecdh_curve("secp521r1")
    config = attrs.evolve(client_config, groups=["x25519"], key_shares=["x25519"])
    outcome = collide(client(config), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.handshake_failure


def test_no_common_group_as_server(server_config: ServerConfig, their_client: ssl.SSLContext) -> None:
    their_client.set_ecdh_curve("secp521r1")
    outcome = collide(server(attrs.evolve(server_config, groups=["x25519"])), stdlib_as_client(their_client))
    assert isinstance(outcome.ours, PeerFault)
    assert outcome.ours.fault is Fault.NO_COMMON_GROUP
    assert outcome.alert_seen == "handshake_failure"


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_their_certificate(authority: Authority, client_config: ClientConfig, key_type: KeyType) -> None:
    issued = issue(authority, key_type)
    engine, peer = client(client_config), stdlib_as_server(stdlib_server(issued))
    meet(engine, peer)
    assert engine.peer_certificates == issued.certificates
    assert engine.verified_chain == (*issued.certificates, authority.certificate)
    assert engine.signature_scheme == str(identity(issued).schemes[0])


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_our_certificate(authority: Authority, their_client: ssl.SSLContext, key_type: KeyType) -> None:
    ours = identity(issue(authority, key_type))
    engine, peer = server(ServerConfig(identities=[ours])), stdlib_as_client(their_client)
    meet(engine, peer)
    assert peer.ssl.getpeercert(binary_form=True) == ours.chain_der[0]
    assert engine.local_certificates == ours.certificates
    exchange(engine, peer)


@pytest.mark.parametrize("scheme", [f"rsa_pss_rsae_sha{size}" for size in (256, 384, 512)])
def test_rsa_scheme_is_ours_to_choose(authority: Authority, trust: TrustStore, scheme: str) -> None:
    engine = client(ClientConfig(trust=trust, signature_schemes=[scheme, "ecdsa_secp256r1_sha256"]))
    meet(engine, stdlib_as_server(stdlib_server(issue(authority, "rsa2048"))))
    assert engine.signature_scheme == scheme


@pytest.mark.parametrize("intermediates", [1, 3])
def test_intermediate_certificates(authority: Authority, client_config: ClientConfig, intermediates: int) -> None:
    issued = authority.issue("localhost", intermediates=intermediates)
    engine = client(client_config)
    meet(engine, stdlib_as_server(stdlib_server(issued)))
    assert len(engine.verified_chain) == 2 + intermediates
    peer = stdlib_as_client(stdlib_client(authority))
    meet(server(ServerConfig(identities=[identity(issued)])), peer)
    assert peer.ssl.getpeercert(binary_form=True) == identity(issued).chain_der[0]


# (ours, theirs, chosen by a server of ours, chosen by theirs). A server of theirs that finds nothing goes on without.
ALPN = [
    (["h2", "http/1.1"], ["http/1.1", "h2"], "h2", "http/1.1"),
    (["h2", "http/1.1"], ["http/1.1"], "http/1.1", "http/1.1"),
    (["h2"], [], None, None),
    ([], ["h2"], None, None),
    ([], [], None, None),
    (["h2"], ["http/1.1"], "no_application_protocol", None),
]


@pytest.mark.parametrize(("ours", "offered", "chosen", "_"), ALPN)
def test_alpn_as_server(
    server_config: ServerConfig,
    their_client: ssl.SSLContext,
    ours: list[str],
    offered: list[str],
    chosen: str | None,
    _: object,
) -> None:
    their_client.set_alpn_protocols(offered)
    engine, peer = server(attrs.evolve(server_config, alpn=ours)), stdlib_as_client(their_client)
    if chosen == "no_application_protocol":
        outcome = collide(engine, peer)
        assert isinstance(outcome.ours, PeerFault)
        assert outcome.ours.fault is Fault.NO_COMMON_ALPN
        assert outcome.alert_seen == chosen
    else:
        meet(engine, peer)
        assert engine.alpn == chosen == peer.ssl.selected_alpn_protocol()


@pytest.mark.parametrize(("ours", "known", "_", "chosen"), ALPN)
def test_alpn_as_client(
    client_config: ClientConfig,
    theirs: ssl.SSLContext,
    ours: list[str],
    known: list[str],
    _: object,
    chosen: str | None,
) -> None:
    if known:
        theirs.set_alpn_protocols(known)
    engine, peer = client(attrs.evolve(client_config, alpn=ours)), stdlib_as_server(theirs)
    meet(engine, peer)
    assert engine.alpn == chosen == peer.ssl.selected_alpn_protocol()


# -- server_name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sent"), [("localhost", "localhost"), ("Example.COM", "example.com"), ("127.0.0.1", None), ("::1", None)]
)
def test_sni_as_client(
    server_identity: Identity, authority: Authority, client_config: ClientConfig, name: str, sent: str | None
) -> None:
    issued = authority.issue("localhost", "example.com", "127.0.0.1", "::1")
    context, asked = stdlib_server(issued), []
    context.sni_callback = lambda connection, name, context: asked.append(name)
    engine, peer = client(client_config, name), stdlib_as_server(context)
    meet(engine, peer)
    assert asked == [sent]
    exchange(engine, peer)


@pytest.mark.parametrize(("name", "seen"), [("localhost", "localhost"), ("Example.com", "example.com"), ("::1", None)])
def test_sni_as_server(server_config: ServerConfig, their_client: ssl.SSLContext, name: str, seen: str | None) -> None:
    engine, peer = server(server_config), StdlibPeer(their_client, server_hostname=name)
    meet(engine, peer)
    assert engine.server_name == seen


def test_sni_chooses_our_certificate(authority: Authority, their_client: ssl.SSLContext) -> None:
    identities = {name: identity(authority.issue(name)) for name in ("first.test", "second.test", "*.third.test")}
    config = ServerConfig(identities=identities.values())
    for name, key in [("second.test", "second.test"), ("a.third.test", "*.third.test"), ("first.test", "first.test")]:
        peer = StdlibPeer(their_client, server_hostname=name)
        meet(server(config), peer)
        assert peer.ssl.getpeercert(binary_form=True) == identities[key].chain_der[0]


def test_sni_chooses_their_certificate(authority: Authority, client_config: ClientConfig) -> None:
    first, second = stdlib_server(authority.issue("first.test")), stdlib_server(authority.issue("second.test"))

    def choose(connection: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        connection.context = second

    first.sni_callback = choose
    engine, peer = client(client_config, "second.test"), stdlib_as_server(first)
    meet(engine, peer)
    exchange(engine, peer)


def test_unrecognized_name(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    theirs.sni_callback = lambda connection, name, context: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    outcome = collide(client(client_config), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.unrecognized_name


# -- client authentication -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_our_client_certificate(
    client_config: ClientConfig, client_identity: Identity, theirs: ssl.SSLContext, mode: ssl.VerifyMode
) -> None:
    theirs.verify_mode = mode
    engine, peer = client(attrs.evolve(client_config, identity=client_identity)), stdlib_as_server(theirs)
    meet(engine, peer)
    shown = mode is not ssl.CERT_NONE
    assert peer.ssl.getpeercert(binary_form=True) == (client_identity.chain_der[0] if shown else None)
    assert engine.local_certificates == (client_identity.certificates if shown else ())
    exchange(engine, peer)


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_kinds_of_client_certificates(
    authority: Authority,
    client_config: ClientConfig,
    server_config: ServerConfig,
    theirs: ssl.SSLContext,
    key_type: KeyType,
) -> None:
    issued = issue(authority, key_type, client=True)
    theirs.verify_mode = ssl.CERT_REQUIRED
    meet(client(attrs.evolve(client_config, identity=identity(issued))), stdlib_as_server(theirs))

    config = attrs.evolve(server_config, client_auth="require", trust=client_config.trust)
    engine, peer = server(config), stdlib_as_client(stdlib_client(authority, issued))
    meet(engine, peer)
    # OpenSSL adds the root, since it has it.
    assert engine.peer_certificates == (issued.certificate, authority.certificate)
    assert engine.signature_scheme == str(identity(issued).schemes[0])


def test_no_client_certificate_of_ours(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    theirs.verify_mode = ssl.CERT_OPTIONAL
    engine, peer = client(client_config), stdlib_as_server(theirs)
    meet(engine, peer)
    assert peer.ssl.getpeercert() is None
    exchange(engine, peer)

    theirs.verify_mode = ssl.CERT_REQUIRED
    # Without the session of before: it is theirs to decide that a certificate is wanted for that as well.
    outcome = collide(client(attrs.evolve(client_config, sessions=None)), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.certificate_required


def test_client_certificate_of_ours_from_a_stranger(
    client_config: ClientConfig, stranger: Authority, theirs: ssl.SSLContext
) -> None:
    theirs.verify_mode = ssl.CERT_REQUIRED
    config = attrs.evolve(client_config, identity=identity(issue(stranger, client=True)))
    outcome = collide(client(config), stdlib_as_server(theirs))
    assert isinstance(outcome.ours, AlertReceived)
    assert outcome.ours.alert is AlertDescription.unknown_ca


@pytest.mark.parametrize("client_auth", ["none", "request", "require"])
@pytest.mark.parametrize("shows", ["nothing", "certificate", "stranger's"])
def test_their_client_certificate(
    authority: Authority,
    trust: TrustStore,
    server_config: ServerConfig,
    stranger: Authority,
    client_auth: str,
    shows: str,
) -> None:
    issued = {
        "nothing": None,
        "certificate": issue(authority, client=True),
        "stranger's": issue(stranger, client=True),
    }[shows]
    engine = server(attrs.evolve(server_config, client_auth=client_auth, trust=trust))
    peer = stdlib_as_client(stdlib_client(authority, issued))
    refusals = {
        ("require", "nothing"): "certificate_required",
        ("require", "stranger's"): "unknown_ca",
        ("request", "stranger's"): "unknown_ca",
    }
    if alert := refusals.get((client_auth, shows)):
        outcome = collide(engine, peer)
        assert isinstance(outcome.ours, PeerFault)
        assert outcome.alert_seen == alert
        return
    meet(engine, peer)
    expected = (issued.certificate, authority.certificate) if issued is not None and client_auth != "none" else ()
    assert engine.verified_chain == expected
    exchange(engine, peer)


def test_post_handshake_authentication_is_not_offered(client_config: ClientConfig, theirs: ssl.SSLContext) -> None:
    theirs.verify_mode = ssl.CERT_REQUIRED
    theirs.post_handshake_auth = True
    engine, peer = client(client_config), stdlib_as_server(theirs)
    meet(engine, peer)
    with pytest.raises(ssl.SSLError, match="EXTENSION_NOT_RECEIVED"):
        peer.ssl.verify_client_post_handshake()


# -- HelloRetryRequest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize(("group", "curve"), GROUPS[1:])
def test_they_retry(client_config: ClientConfig, theirs: ssl.SSLContext, suite: str, group: str, curve: str) -> None:
    theirs.set_ecdh_curve(curve)
    heard = Heard()
    config = attrs.evolve(
        client_config, groups=["x25519", group], key_shares=["x25519"], cipher_suites=[suite], on_event=heard
    )
    engine, peer = client(config), stdlib_as_server(theirs)
    meet(engine, peer)
    assert (heard["message_sent", "client_hello"], heard["message_received", "server_hello"]) == (2, 2)
    assert engine.group == group
    exchange(engine, peer)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("group", ["secp256r1", "secp384r1", "secp521r1", "x448"])
def test_we_retry(server_config: ServerConfig, their_client: ssl.SSLContext, suite: str, group: str) -> None:
    heard = Heard()
    engine = server(attrs.evolve(server_config, groups=[group], cipher_suites=[suite], on_event=heard))
    peer = stdlib_as_client(their_client)
    meet(engine, peer)
    assert (heard["message_received", "client_hello"], heard["message_sent", "server_hello"]) == (2, 2)
    assert engine.group == group
    exchange(engine, peer)


def test_retry_with_everything_else(
    authority: Authority, client_config: ClientConfig, client_identity: Identity, theirs: ssl.SSLContext
) -> None:
    theirs.set_ecdh_curve("secp384r1")
    theirs.verify_mode = ssl.CERT_REQUIRED
    theirs.set_alpn_protocols(["h2"])
    engine = client(attrs.evolve(client_config, identity=client_identity, alpn=["h2"]))
    peer = stdlib_as_server(theirs)
    meet_in_crumbs(engine, peer)
    assert (engine.group, engine.alpn) == ("secp384r1", "h2")
    assert peer.ssl.getpeercert(binary_form=True) == client_identity.chain_der[0]
