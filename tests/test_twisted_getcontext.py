"""``ContextFactory.getContext()``: a genuine context that does what the configuration says, or none."""

from __future__ import annotations

import time
from typing import Any

import attrs
import pytest
from cryptography import x509
from OpenSSL import SSL
from openssl_peers import PyOpenSSLPeer, client, collide, exchange, meet, server

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import ConfigError, UnsupportedByProvider
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER
from tlsprovider.trust import TrustStore
from tlsprovider.twisted import ContextFactory


def context_of(config: ClientConfig | ServerConfig, hostname: str | None = None) -> SSL.Context:
    return ContextFactory(config, hostname, "native").getContext()


def as_client(config: ClientConfig, hostname: str = "localhost") -> PyOpenSSLPeer:
    """Nothing is set on the connection: it has to be in the context."""
    return PyOpenSSLPeer(context_of(config, hostname))


def as_server(config: ServerConfig) -> PyOpenSSLPeer:
    return PyOpenSSLPeer(context_of(config), server_side=True)


def identity(authority: Authority, *names: str, **options: Any) -> Identity:
    issued = authority.issue(*names, **options)
    return Identity.from_crypto(issued.certificates, issued.private_key)


class TestClient:
    def test_it_connects(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        engine, peer = server(server_config), as_client(client_config)
        meet(engine, peer)
        exchange(engine, peer)
        assert engine.server_name == "localhost", "SNI is sent"
        assert peer.connection.get_protocol_version_name() == "TLSv1.3"

    @pytest.mark.parametrize("hostname", ["127.0.0.1", "::1", "example.com"])
    def test_names_and_addresses(self, client_config: ClientConfig, server_config: ServerConfig, hostname: str) -> None:
        engine = server(server_config)
        meet(engine, as_client(client_config, hostname))
        assert engine.server_name == (hostname if hostname == "example.com" else None)

    @pytest.mark.parametrize("hostname", ["elsewhere.example", "127.0.0.2"])
    def test_another_name(self, client_config: ClientConfig, server_config: ServerConfig, hostname: str) -> None:
        outcome = collide(server(server_config), as_client(client_config, hostname))
        assert outcome.theirs is not None and outcome.ours is not None

    def test_a_stranger(self, client_config: ClientConfig) -> None:
        config = ServerConfig(identities=[identity(Authority("somebody else"), "localhost")])
        outcome = collide(server(config), as_client(client_config))
        assert outcome.theirs is not None
        assert outcome.ours is not None and str(outcome.ours.alert) == "unknown_ca"

    def test_a_certificate_that_is_trusted_as_it_is(self, server_config: ServerConfig) -> None:
        """As with our own verification, what is in a trust store need not be an authority."""
        leaf = server_config.identities[0].certificates[0]
        config = ClientConfig(trust=TrustStore.from_crypto([leaf]))
        meet(server(server_config), as_client(config))
        other = identity(Authority("somebody else"), "localhost")
        assert collide(server(ServerConfig(identities=[other])), as_client(config)).theirs is not None

    def test_no_verification(self, server_config: ServerConfig) -> None:
        meet(server(server_config), as_client(ClientConfig(insecure_skip_verify=True), "whoever"))

    def test_certificate_and_chain(
        self, authority: Authority, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
    ) -> None:
        mine = identity(authority, "alice@example.com", client=True, intermediates=1)
        engine = server(attrs.evolve(server_config, client_auth="require", trust=trust))
        meet(engine, as_client(attrs.evolve(client_config, identity=mine)))
        assert engine.peer_certificates == mine.certificates and len(mine.certificates) == 2

    def test_lists(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        config = attrs.evolve(
            client_config, alpn=["h2"], groups=["secp384r1"], cipher_suites=["TLS_CHACHA20_POLY1305_SHA256"]
        )
        engine = server(attrs.evolve(server_config, alpn=["http/1.1", "h2"]))
        meet(engine, as_client(config))
        assert (engine.alpn, engine.group, engine.cipher) == ("h2", "secp384r1", "TLS_CHACHA20_POLY1305_SHA256")

    def test_keylog(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        lines: list[str] = []
        meet(server(server_config), as_client(attrs.evolve(client_config, keylog=lines.append)))
        assert any(line.startswith("CLIENT_TRAFFIC_SECRET_0 ") for line in lines)


class TestServer:
    def test_it_serves(self, client_config: ClientConfig, authority: Authority) -> None:
        mine = identity(authority, "localhost", intermediates=1)
        engine, peer = client(client_config), as_server(ServerConfig(identities=[mine], alpn=["h2"]))
        meet(engine, peer)
        exchange(engine, peer)
        assert engine.peer_certificates == mine.certificates
        assert engine.alpn is None, "the client offers none"

    def test_application_protocols(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        config = attrs.evolve(server_config, alpn=["h2", "http/1.1"])
        engine = client(attrs.evolve(client_config, alpn=["http/1.1", "h2"]))
        meet(engine, as_server(config))
        assert engine.alpn == "h2", "the server's order counts"
        outcome = collide(client(attrs.evolve(client_config, alpn=["imap"])), as_server(config))
        assert outcome.ours is not None and str(outcome.ours.alert) == "no_application_protocol"
        assert isinstance(outcome.theirs, SSL.Error), "Twisted takes nothing else for a failed handshake"

    def test_clients(
        self, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore, client_identity: Identity
    ) -> None:
        config = attrs.evolve(server_config, client_auth="require", trust=trust)
        peer = as_server(config)
        meet(client(attrs.evolve(client_config, identity=client_identity)), peer)
        assert peer.connection.get_peer_certificate(as_cryptography=True) == client_identity.certificates[0]
        assert collide(client(client_config), as_server(config)).theirs is not None
        stranger = identity(Authority("somebody else"), "mallory@example.com", client=True)
        outcome = collide(client(attrs.evolve(client_config, identity=stranger)), as_server(config))
        assert outcome.theirs is not None

    def test_requested_but_not_required(
        self, client_config: ClientConfig, server_config: ServerConfig, trust: TrustStore
    ) -> None:
        meet(client(client_config), as_server(attrs.evolve(server_config, client_auth="request", trust=trust)))

    def test_the_name_decides(self, authority: Authority, client_config: ClientConfig) -> None:
        names = ["one.example", "*.two.example", "three.example"]
        identities = [identity(authority, name) for name in names]
        context = context_of(ServerConfig(identities=identities, alpn=["h2"]))
        for name, wanted in [("one.example", 0), ("www.two.example", 1), ("three.example", 2)]:
            engine = client(attrs.evolve(client_config, alpn=["h2"]), name)
            meet(engine, PyOpenSSLPeer(context, server_side=True))
            assert engine.peer_certificates[0] is not None
            shown = engine.peer_certificates[0]
            assert isinstance(shown, x509.Certificate) and shown == identities[wanted].certificates[0]
            assert engine.alpn == "h2"

    def test_an_unknown_name_gets_the_first(self, authority: Authority) -> None:
        identities = [identity(authority, "one.example"), identity(authority, "two.example")]
        engine = client(ClientConfig(insecure_skip_verify=True), "three.example")
        meet(engine, as_server(ServerConfig(identities=identities)))
        assert engine.peer_certificates == identities[0].certificates


class TestNoContext:
    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"verify_peer": lambda question: True}, "the hook verify_peer"),
            ({"on_event": print}, "the hook on_event"),
            ({"trust": TrustStore.pinned(b"\1" * 32)}, "pinned keys"),
            ({"clock": lambda: time.time()}, "a clock of one's own"),
            ({"entropy": lambda count: b"\0" * count}, "entropy"),
            ({"groups": ["x25519", "secp256r1"]}, "groups"),
            ({"signature_schemes": ["ed25519"]}, "signature_schemes"),
            ({"choose_identity": lambda question: None}, "choose_identity"),
        ],
    )
    def test_of_a_client(self, client_config: ClientConfig, change: dict[str, Any], words: str) -> None:
        factory = ContextFactory(attrs.evolve(client_config, **change), "localhost", "native")
        for _ in range(2):
            with pytest.raises(UnsupportedByProvider, match=words):
                factory.getContext()

    @pytest.mark.parametrize("hook", ["verify_peer", "on_event", "choose_identity", "on_client_hello"])
    def test_of_a_server(self, server_config: ServerConfig, hook: str) -> None:
        with pytest.raises(UnsupportedByProvider, match=f"the hook {hook}"):
            context_of(attrs.evolve(server_config, **{hook: lambda argument: None}))

    def test_a_key_that_is_elsewhere(self, server_identity: Identity) -> None:
        elsewhere = Identity.with_signer(server_identity.certificates, lambda scheme, message: LATER)
        with pytest.raises(UnsupportedByProvider, match="key lives elsewhere"):
            context_of(ServerConfig(identities=[elsewhere]))

    def test_two_for_one_name(self, authority: Authority) -> None:
        """Which one a client can verify, a context can't ask."""
        both = [identity(authority, "localhost"), identity(authority, "localhost", key_type="ed25519")]
        with pytest.raises(UnsupportedByProvider, match="two identities for the same name"):
            context_of(ServerConfig(identities=both))


class TestTheContext:
    def test_it_is_made_when_asked_for_and_once(self, server_config: ServerConfig) -> None:
        factory = ContextFactory(server_config)
        assert factory._context is None
        assert factory.getContext() is factory.getContext() is factory.serverConnectionForTLS(None).get_context()

    def test_it_can_still_be_changed(self, client_config: ClientConfig) -> None:
        """As those of CertificateOptions, until it is used."""
        context = ContextFactory(client_config, "localhost").getContext()
        context.set_alpn_protos([b"h2"])

    def test_what_it_says_when_refusing(self, client_config: ClientConfig) -> None:
        with pytest.raises(ConfigError) as caught:
            context_of(attrs.evolve(client_config, verify_peer=lambda question: True), "localhost")
        assert str(caught.value) == (
            "the provider 'OpenSSL.SSL.Context' does not support the hook verify_peer;"
            " use the connections that a ContextFactory makes"
        )
