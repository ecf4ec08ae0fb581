"""What a configuration accepts, and how it says no: what was found, and what to write."""

from __future__ import annotations

import os
import re
import time
from typing import Any

import attrs
import pytest

from tlsprovider.config import (
    DEFAULT_CIPHER_SUITES,
    DEFAULT_GROUPS,
    DEFAULT_SIGNATURE_SCHEMES,
    ClientConfig,
    ServerConfig,
)
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.errors import ConfigError, TLSError
from tlsprovider.iana import CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore


def client(trust: TrustStore, **fields: Any) -> ClientConfig:
    return ClientConfig(trust=trust, **fields)


def server(identity: Identity, **fields: Any) -> ServerConfig:
    return ServerConfig(identities=[identity], **fields)


class TestDefaults:
    def test_groups_and_key_shares(self, trust: TrustStore) -> None:
        config = client(trust)
        assert [str(group) for group in config.groups] == [
            "X25519MLKEM768",
            "x25519",
            "secp256r1",
            "secp384r1",
            "secp521r1",
        ]
        assert config.key_shares == (NamedGroup.X25519MLKEM768, NamedGroup.x25519)

    def test_suites(self, server_identity: Identity) -> None:
        assert [str(suite) for suite in server(server_identity).cipher_suites] == [
            "TLS_AES_128_GCM_SHA256",
            "TLS_AES_256_GCM_SHA384",
            "TLS_CHACHA20_POLY1305_SHA256",
        ]

    def test_both_sides_have_the_same(self, trust: TrustStore, server_identity: Identity) -> None:
        for config in (client(trust), server(server_identity)):
            assert config.groups == DEFAULT_GROUPS
            assert config.cipher_suites == DEFAULT_CIPHER_SUITES
            assert config.signature_schemes == DEFAULT_SIGNATURE_SCHEMES
            assert config.min_version is config.max_version is ProtocolVersion.TLSv1_3
            assert config.alpn == ()
            assert (config.clock, config.entropy) == (time.time, os.urandom)
            assert config.insecure_skip_verify is False

    def test_nothing_weak_signs_a_handshake(self) -> None:
        assert not {scheme for scheme in DEFAULT_SIGNATURE_SCHEMES if "pkcs1" in scheme.name or "sha1" in scheme.name}

    def test_servers_ask_for_no_certificate(self, server_identity: Identity) -> None:
        assert server(server_identity).client_auth == "none"

    def test_keys_come_from_the_library_unless_a_test_says_otherwise(self, trust: TrustStore) -> None:
        assert client(trust).key_entropy is None
        fixed = bytes
        assert client(trust, entropy=fixed).key_entropy is fixed


class TestFrozen:
    def test_fields_cannot_be_set(self, trust: TrustStore) -> None:
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            client(trust).alpn = ("h2",)  # type: ignore[misc]

    def test_evolve_makes_a_checked_copy(self, trust: TrustStore) -> None:
        config = client(trust)
        assert attrs.evolve(config, alpn=["h2"]).alpn == ("h2",)
        assert config.alpn == ()
        with pytest.raises(ConfigError, match="listed twice"):
            attrs.evolve(config, alpn=["h2", "h2"])

    def test_fields_are_named_not_counted(self, trust: TrustStore) -> None:
        with pytest.raises(TypeError):
            ClientConfig(trust)  # type: ignore[misc]

    def test_hooks_and_clock_stay_out_of_the_repr(self, trust: TrustStore) -> None:
        text = repr(client(trust, keylog=print, verify_peer=print))
        assert "keylog" not in text
        assert "verify_peer" not in text


class TestNames:
    @pytest.mark.parametrize(
        "value",
        [["x25519"], ["X25519"], [NamedGroup.x25519], [29], ("x25519",), "x25519", iter(["x25519"])],
        ids=repr,
    )
    def test_spellings(self, trust: TrustStore, value: object) -> None:
        assert client(trust, groups=value).groups == (NamedGroup.x25519,)

    @pytest.mark.parametrize("text", ["secp256r1,x25519", "secp256r1:x25519", "secp256r1, x25519"])
    def test_one_string_may_hold_a_list(self, trust: TrustStore, text: str) -> None:
        assert client(trust, groups=text).groups == (NamedGroup.secp256r1, NamedGroup.x25519)

    def test_order_is_the_users(self, trust: TrustStore) -> None:
        config = client(trust, cipher_suites=["tls_chacha20_poly1305_sha256", CipherSuite.TLS_AES_128_GCM_SHA256])
        assert config.cipher_suites == (
            CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
            CipherSuite.TLS_AES_128_GCM_SHA256,
        )

    @pytest.mark.parametrize("version", ["TLSv1.3", "1.3", "tls 1.3", ProtocolVersion.TLSv1_3, 0x0304])
    def test_versions(self, trust: TrustStore, version: object) -> None:
        assert client(trust, min_version=version).min_version is ProtocolVersion.TLSv1_3

    @pytest.mark.parametrize("group", IMPLEMENTED_GROUPS, ids=str)
    def test_every_implemented_group_can_be_asked_for(self, trust: TrustStore, group: NamedGroup) -> None:
        config = client(trust, groups=[str(group)])
        assert config.groups == config.key_shares == (group,)

    @pytest.mark.parametrize("scheme", HANDSHAKE_SCHEMES, ids=str)
    def test_every_implemented_scheme_can_be_asked_for(self, trust: TrustStore, scheme: SignatureScheme) -> None:
        assert client(trust, signature_schemes=[str(scheme)]).signature_schemes == (scheme,)


# Field of the configuration, a value that can't be used, and the words that the error must have.
REFUSED_BY_BOTH = [
    ("groups", ["x2559"], r"groups: unknown group 'x2559': did you mean 'x25519'\?"),
    ("groups", [], "groups: the list is empty, so no handshake could succeed; leave it out"),
    ("groups", ["x25519", "X25519"], "groups: x25519 is listed twice"),
    ("groups", ["ffdhe2048"], "groups: ffdhe2048 can't be used here. Choose from: .*x25519"),
    ("groups", [0x6A6A], "groups: 0x6a6a can't be used here"),
    ("groups", [1.5], "groups: "),
    ("groups", None, "groups: expected a list of names, got None"),
    (
        "cipher_suites",
        ["TLS_AES_128_GCM"],
        "cipher_suites: unknown cipher suite .* did you mean 'TLS_AES_128_GCM_SHA256'",
    ),
    ("cipher_suites", ["ECDHE-RSA-AES128-GCM-SHA256"], "cipher_suites: unknown cipher suite"),
    ("signature_schemes", ["rsa_pkcs1_sha256"], "signature_schemes: rsa_pkcs1_sha256 can't be used here"),
    ("alpn", "h2", r"alpn: expected a list such as \['h2', 'http/1.1'\], got 'h2'"),
    ("alpn", b"h2", "alpn: expected a list"),
    ("alpn", 5, "alpn: expected a list"),
    ("alpn", ["h2", "h2"], "alpn: 'h2' is listed twice"),
    ("alpn", [""], "alpn: '' is not a protocol name of 1 to 255 characters"),
    ("alpn", ["x" * 256], "is not a protocol name of 1 to 255 characters"),
    ("alpn", [7], "alpn: 7 is not a protocol name"),
    ("alpn", ["h€"], "alpn: 'h€' has characters outside latin-1"),
    ("min_version", "TLSv1.4", "min_version: unknown TLS version 'TLSv1.4'"),
    ("min_version", None, "min_version: expected a version as 'TLSv1.3', got None"),
    ("max_version", "TLSv1.2", r"min_version \(TLSv1.3\) is above max_version \(TLSv1.2\): no version is left"),
    ("verify_peer", "yes", "verify_peer: expected something to call, or None; got 'yes'"),
    ("choose_identity", 1, "choose_identity: expected something to call"),
    ("keylog", "keys.log", "keylog: expected something to call, or None; got 'keys.log'"),
    ("on_event", [], "on_event: expected something to call"),
    ("insecure_skip_verify", 1, "insecure_skip_verify: expected True or False, got 1"),
]


@pytest.mark.parametrize(("field", "value", "words"), REFUSED_BY_BOTH)
class TestRefused:
    def test_by_clients(self, trust: TrustStore, field: str, value: object, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            client(trust, **{field: value})

    def test_by_servers(self, server_identity: Identity, field: str, value: object, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            server(server_identity, **{field: value})


class TestClient:
    def test_key_shares_follow_groups(self, trust: TrustStore) -> None:
        config = client(trust, groups=["secp384r1", "x25519", "secp256r1"])
        assert config.key_shares == (NamedGroup.secp384r1, NamedGroup.x25519)

    def test_key_shares_can_be_fewer(self, trust: TrustStore) -> None:
        assert client(trust, key_shares=["secp256r1"]).key_shares == (NamedGroup.secp256r1,)

    def test_key_share_outside_groups(self, trust: TrustStore) -> None:
        with pytest.raises(ConfigError, match="key_shares: x448 is not in groups; add it there or take it out here"):
            client(trust, key_shares=["x448"])

    def test_key_shares_out_of_order(self, trust: TrustStore) -> None:
        with pytest.raises(ConfigError, match="key_shares: must be in the order of groups"):
            client(trust, key_shares=["secp256r1", "x25519"])

    def test_trust_is_a_store(self) -> None:
        with pytest.raises(ConfigError, match=re.escape("trust: expected a TrustStore, got 'ca.pem'")):
            ClientConfig(trust="ca.pem")  # type: ignore[arg-type]

    def test_identity_is_an_identity(self, trust: TrustStore) -> None:
        with pytest.raises(ConfigError, match=r"identity: expected an Identity, got 'me.pem'; see Identity.from_files"):
            client(trust, identity="me.pem")

    def test_identity(self, trust: TrustStore, client_identity: Identity) -> None:
        assert client(trust, identity=client_identity).identity is client_identity


class TestServer:
    def test_needs_a_certificate(self) -> None:
        with pytest.raises(ConfigError, match=r"identities: a server needs a certificate: .*Identity.from_files"):
            ServerConfig()

    @pytest.mark.parametrize("hook", ["choose_identity", "on_client_hello"])
    def test_or_somebody_who_brings_one(self, hook: str) -> None:
        fields: dict[str, Any] = {hook: print}
        assert ServerConfig(**fields).identities == ()

    def test_one_identity_needs_no_list(self, server_identity: Identity) -> None:
        assert ServerConfig(identities=server_identity).identities == (server_identity,)

    @pytest.mark.parametrize("value", [["cert.pem"], 5, None])
    def test_identities_are_identities(self, value: object) -> None:
        with pytest.raises(ConfigError, match="identities: expected"):
            ServerConfig(identities=value)  # type: ignore[arg-type]

    @pytest.mark.parametrize("value", ["required", True, None])
    def test_client_auth_words(self, server_identity: Identity, value: object) -> None:
        with pytest.raises(ConfigError, match=f"client_auth: expected 'none', 'request' or 'require', got {value!r}"):
            server(server_identity, client_auth=value)

    @pytest.mark.parametrize("value", ["request", "require"])
    def test_client_auth_needs_trust(self, server_identity: Identity, trust: TrustStore, value: str) -> None:
        with pytest.raises(ConfigError, match=f"trust: client_auth='{value}' needs to know whose certificates"):
            server(server_identity, client_auth=value)
        assert server(server_identity, client_auth=value, trust=trust).client_auth == value
        assert server(server_identity, client_auth=value, insecure_skip_verify=True).trust is None

    def test_trust_is_a_store(self, server_identity: Identity) -> None:
        with pytest.raises(ConfigError, match="trust: expected a TrustStore"):
            server(server_identity, trust="ca.pem")


def test_errors_are_of_both_families(trust: TrustStore) -> None:
    """Whoever catches ValueError, and whoever catches everything of ours, gets them."""
    with pytest.raises(ValueError, match="groups") as caught:
        client(trust, groups=[])
    assert isinstance(caught.value, TLSError)
    assert caught.value.__cause__ is None
