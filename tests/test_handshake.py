"""Client and server of our own, through every combination that they can negotiate."""

from __future__ import annotations

import attrs
import pytest
from loop import pump, transfer

from tlsprovider.config import DEFAULT_CIPHER_SUITES, ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.errors import AlertReceived, CertificateFault, Fault, PeerFault, WantRead
from tlsprovider.events import Event
from tlsprovider.iana import AlertDescription, CipherSuite, NamedGroup
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

NATIVE = get_provider("native")
KEY_TYPES = ["p256", "p384", "p521", "ed25519", "ed448", "rsa2048", "rsa_pss", "mldsa44", "mldsa65", "mldsa87"]


def engines(client: ClientConfig, server: ServerConfig, name: str = "localhost") -> tuple[IEngine, IEngine]:
    return NATIVE.client_engine(client, name), NATIVE.server_engine(server)


def connect(client: ClientConfig, server: ServerConfig, name: str = "localhost") -> tuple[IEngine, IEngine]:
    pair = engines(client, server, name)
    pump(*pair)
    return pair


def check_data(client: IEngine, server: IEngine) -> None:
    for source, target in ((client, server), (server, client)):
        source.write(b"over the wire")
        transfer(source, target)
        assert target.read() == b"over the wire"


def failure_of(engine: IEngine) -> Exception:
    with pytest.raises(Exception) as raised:
        engine.do_handshake()
    return raised.value


@pytest.mark.parametrize("group", IMPLEMENTED_GROUPS, ids=str)
@pytest.mark.parametrize("suite", DEFAULT_CIPHER_SUITES, ids=str)
@pytest.mark.parametrize("retry", [False, True], ids=["direct", "retry"])
def test_suite_and_group(
    client_config: ClientConfig, server_config: ServerConfig, suite: CipherSuite, group: NamedGroup, retry: bool
) -> None:
    other = NamedGroup.x25519 if group is not NamedGroup.x25519 else NamedGroup.secp256r1
    groups = [other, group] if retry else [group]
    hellos: list[Event] = []
    client, server = connect(
        attrs.evolve(client_config, groups=groups, key_shares=groups[:1], cipher_suites=[suite]),
        attrs.evolve(server_config, groups=[group], on_event=hellos.append),
    )
    for engine in (client, server):
        assert (engine.version, engine.cipher, engine.group) == ("TLSv1.3", str(suite), str(group))
    seen = [event for event in hellos if event.kind == "message_received" and event.name == "client_hello"]
    assert len(seen) == 1 + retry
    check_data(client, server)


@pytest.mark.parametrize("client_auth", ["none", "request", "require"])
@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_key_type_on_both_sides(key_type: str, client_auth: str) -> None:
    authority = Authority("keys of all kinds")
    trust = TrustStore.from_crypto([authority.certificate])

    def identity(name: str, client: bool = False) -> Identity:
        issued = authority.issue(name, key_type=key_type, client=client)
        return Identity.from_crypto(issued.certificates, issued.private_key)

    alice = identity("alice", client=True)
    client, server = connect(
        ClientConfig(trust=trust, identity=alice),
        ServerConfig(identities=[identity("localhost")], client_auth=client_auth, trust=trust),  # type: ignore[arg-type]
    )
    assert client.signature_scheme in [str(scheme) for scheme in alice.schemes]
    assert client.peer_certificates == server.local_certificates
    assert client.verified_chain == (*client.peer_certificates, authority.certificate)
    if client_auth == "none":
        assert server.peer_certificates == () == client.local_certificates == server.verified_chain
        assert server.signature_scheme is None
    else:
        assert server.peer_certificates == alice.certificates == client.local_certificates
        assert server.verified_chain == (*alice.certificates, authority.certificate)
        assert server.signature_scheme == client.signature_scheme
    check_data(client, server)


def test_chain_with_intermediates(authority: Authority, client_config: ClientConfig) -> None:
    issued = authority.issue("localhost", intermediates=2)
    identity = Identity.from_crypto(issued.certificates, issued.private_key)
    client, _ = connect(client_config, ServerConfig(identities=[identity]))
    assert client.verified_chain == (*issued.certificates, authority.certificate)


@pytest.mark.parametrize(
    ("offered", "allowed", "chosen"),
    [
        (["h2", "http/1.1"], ["h2", "http/1.1"], "h2"),
        (["h2", "http/1.1"], ["http/1.1", "h2"], "http/1.1"),
        (["http/1.1"], ["h2", "http/1.1"], "http/1.1"),
        ([], ["h2"], None),
        (["h2"], [], None),
        ([], [], None),
        (["\xe9\xff"], ["\xe9\xff"], "\xe9\xff"),
    ],
)
def test_alpn(
    client_config: ClientConfig, server_config: ServerConfig, offered: list[str], allowed: list[str], chosen: str | None
) -> None:
    pair = connect(attrs.evolve(client_config, alpn=offered), attrs.evolve(server_config, alpn=allowed))
    assert [engine.alpn for engine in pair] == [chosen, chosen]


def test_alpn_without_overlap_is_its_own_alert(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, server = engines(attrs.evolve(client_config, alpn=["h2"]), attrs.evolve(server_config, alpn=["smtp"]))
    with pytest.raises(PeerFault) as raised:
        pump(client, server)
    assert raised.value.fault is Fault.NO_COMMON_ALPN
    assert str(raised.value) == (
        "no application protocol that both sides allow: offered: 'h2'; allowed: smtp"
        " [no_application_protocol, RFC 7301 3.2]"
    )
    transfer(server, client)
    failure = failure_of(client)
    assert isinstance(failure, AlertReceived)
    assert failure.alert is AlertDescription.no_application_protocol


class TestNames:
    def test_name_selects_the_certificate(self, authority: Authority, client_config: ClientConfig) -> None:
        identities = []
        for names in (["localhost"], ["*.example.com"], ["www.example.com"]):
            issued = authority.issue(*names)
            identities.append(Identity.from_crypto(issued.certificates, issued.private_key))
        config = ServerConfig(identities=identities)
        for name, index in (("localhost", 0), ("a.example.com", 1), ("WWW.example.com.", 1), ("www.example.com", 1)):
            client, server = connect(client_config, config, name)
            assert client.peer_certificates == identities[index].certificates
            assert server.server_name == name.lower().rstrip(".")

    def test_unknown_name_gets_the_first_certificate(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, server = engines(client_config, server_config, "unknown.example.org")
        with pytest.raises(CertificateFault) as raised:
            pump(client, server)
        assert raised.value.fault is Fault.CERTIFICATE_NAME
        assert "unknown.example.org" in str(raised.value)
        assert "localhost" in str(raised.value)

    def test_address_is_verified_and_never_sent(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = connect(client_config, server_config, "127.0.0.1")
        assert server.server_name is None
        assert client.server_name == "127.0.0.1"
        client, server = connect(client_config, server_config, "[::1]")
        assert server.server_name is None

    def test_certificate_by_what_the_client_can_verify(self, authority: Authority, trust: TrustStore) -> None:
        identities = []
        for key_type in ("ed25519", "p384"):
            issued = authority.issue("localhost", key_type=key_type)
            identities.append(Identity.from_crypto(issued.certificates, issued.private_key))
        schemes = ["ecdsa_secp384r1_sha384", "ecdsa_secp256r1_sha256"]
        client, _ = connect(ClientConfig(trust=trust, signature_schemes=schemes), ServerConfig(identities=identities))
        assert client.signature_scheme == "ecdsa_secp384r1_sha384"


class TestClientCertificates:
    @pytest.fixture
    def asking(self, server_config: ServerConfig, trust: TrustStore) -> ServerConfig:
        return attrs.evolve(server_config, client_auth="request", trust=trust)

    def test_request_is_content_with_none(self, client_config: ClientConfig, asking: ServerConfig) -> None:
        _, server = connect(client_config, asking)
        assert server.peer_certificates == ()

    def test_require_is_not(self, client_config: ClientConfig, asking: ServerConfig) -> None:
        client, server = engines(client_config, attrs.evolve(asking, client_auth="require"))
        with pytest.raises(PeerFault) as raised:
            pump(client, server)
        assert raised.value.fault is Fault.CERTIFICATE_REQUIRED
        # TLS 1.3's client is done by then: the alert reaches it while reading.
        assert client.handshake_complete
        transfer(server, client)
        with pytest.raises(AlertReceived) as received:
            client.read()
        assert received.value.alert is AlertDescription.certificate_required

    def test_stranger_is_refused(self, client_config: ClientConfig, asking: ServerConfig) -> None:
        stranger = Authority("stranger").issue("mallory", client=True)
        identity = Identity.from_crypto(stranger.certificates, stranger.private_key)
        with pytest.raises(CertificateFault) as raised:
            pump(*engines(attrs.evolve(client_config, identity=identity), asking))
        assert raised.value.fault is Fault.CERTIFICATE_UNKNOWN_ISSUER

    def test_skipping_verification_still_wants_the_key(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        stranger = Authority("stranger").issue("mallory", client=True)
        identity = Identity.from_crypto(stranger.certificates, stranger.private_key)
        config = attrs.evolve(server_config, client_auth="require", insecure_skip_verify=True)
        _, server = connect(attrs.evolve(client_config, identity=identity), config)
        assert server.peer_certificates == stranger.certificates
        assert server.verified_chain == ()

    def test_key_that_the_server_cannot_verify_is_not_shown(
        self, authority: Authority, client_config: ClientConfig, asking: ServerConfig
    ) -> None:
        issued = authority.issue("alice", key_type="ed25519", client=True)
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        config = attrs.evolve(asking, signature_schemes=["ecdsa_secp256r1_sha256"])
        client, server = connect(attrs.evolve(client_config, identity=identity), config)
        assert server.peer_certificates == () == client.local_certificates


class TestGroups:
    def test_post_quantum_outranks_a_round_trip(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """A client that has it but sent no share is asked for one."""
        config = attrs.evolve(client_config, groups=["x25519", "X25519MLKEM768"], key_shares=["x25519"])
        client, _ = connect(config, server_config)
        assert client.group == "X25519MLKEM768"

    def test_round_trip_outranks_the_order_otherwise(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        config = attrs.evolve(client_config, groups=["secp256r1", "x25519"], key_shares=["secp256r1"])
        client, _ = connect(config, attrs.evolve(server_config, groups=["x25519", "secp256r1"]))
        assert client.group == "secp256r1"

    def test_defaults_are_post_quantum(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        assert [engine.group for engine in connect(client_config, server_config)] == ["X25519MLKEM768"] * 2


def test_byte_by_byte_is_the_same_handshake(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client, server = engines(client_config, server_config)
    for _ in range(4):
        for engine, other in ((client, server), (server, client)):
            try:
                engine.do_handshake()
            except WantRead:
                pass
            for byte in engine.process_outgoing():
                other.process_incoming(bytes([byte]))
                if not other.handshake_complete:
                    try:
                        other.do_handshake()
                    except WantRead:
                        pass
    assert client.handshake_complete and server.handshake_complete
    check_data(client, server)


def test_clock_decides_about_expiry(
    authority: Authority, client_config: ClientConfig, server_config: ServerConfig
) -> None:
    later = authority.certificate.not_valid_after_utc.timestamp() + 86400
    with pytest.raises(CertificateFault) as raised:
        pump(*engines(attrs.evolve(client_config, clock=lambda: later), server_config))
    assert raised.value.fault is Fault.CERTIFICATE_EXPIRED
