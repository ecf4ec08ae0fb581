"""What is said to an ``SSLContext`` and what becomes of it; what can't be honoured is refused when it is said."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from ssl_pair import Files, make_files, pair_of

from tlsprovider import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import ConfigError, HookError
from tlsprovider.identity import Identity
from tlsprovider.sslcontext import SSLContext, context_for, create_default_context
from tlsprovider.trust import TrustStore


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Files:
    return make_files(tmp_path_factory.mktemp("pem"), authority, "localhost")


@pytest.fixture
def client() -> SSLContext:
    return SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@pytest.fixture
def server() -> SSLContext:
    return SSLContext(ssl.PROTOCOL_TLS_SERVER)


class TestMaking:
    def test_defaults(self, client: SSLContext, server: SSLContext) -> None:
        assert isinstance(client, ssl.SSLContext)
        assert (client.verify_mode, client.check_hostname) == (ssl.CERT_REQUIRED, True)
        assert (server.verify_mode, server.check_hostname) == (ssl.CERT_NONE, False)
        assert not client.options & ssl.OP_IGNORE_UNEXPECTED_EOF
        assert repr(client) == "<SSLContext client native>"

    def test_needs_a_side(self) -> None:
        with pytest.raises(ConfigError, match="PROTOCOL_TLS_CLIENT or"):
            SSLContext(ssl.PROTOCOL_TLS)

    def test_default_context(self, files: Files) -> None:
        assert create_default_context().config.trust is TrustStore.system()
        assert create_default_context(cafile=files.ca).config.trust is not TrustStore.system()
        assert create_default_context(ssl.Purpose.CLIENT_AUTH).protocol is ssl.PROTOCOL_TLS_SERVER
        with pytest.raises(ValueError):
            create_default_context("a client")  # type: ignore[arg-type]

    def test_a_provider(self) -> None:
        assert create_default_context(provider="stdlib").provider.name == "stdlib"
        with pytest.raises(ConfigError, match="unknown provider"):
            create_default_context(provider="nobody")


class TestLoading:
    def test_a_chain(self, server: SSLContext, files: Files) -> None:
        server.load_cert_chain(str(files.chain), bytes(files.key))
        (identity,) = server.config.identities
        assert identity.names == ("localhost",)

    def test_a_chain_for_each_kind_of_key(self, server: SSLContext, authority: Authority, tmp_path: Path) -> None:
        for key_type in ("p256", "ed25519", "p256"):
            issued = authority.issue("localhost", key_type=key_type)
            path = tmp_path / "identity.pem"
            path.write_bytes(issued.chain_pem + issued.key_pem)
            server.load_cert_chain(path)
        assert [one.schemes[0].name for one in server.config.identities] == ["ecdsa_secp256r1_sha256", "ed25519"]

    @pytest.mark.parametrize("password", ["secret", b"secret", bytearray(b"secret"), lambda: "secret"])
    def test_an_encrypted_key(self, server: SSLContext, files: Files, tmp_path: Path, password: Any) -> None:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        from tlsprovider.crypto.handover import key_pem

        path = tmp_path / "key.pem"
        path.write_bytes(key_pem(load_pem_private_key(files.key.read_bytes(), None), b"secret"))  # type: ignore[arg-type]
        server.load_cert_chain(files.chain, path, password=password)
        assert server.config.identities

    def test_what_can_not_be_loaded(self, server: SSLContext, files: Files, tmp_path: Path) -> None:
        for arguments in ((tmp_path / "nothing",), (files.chain, tmp_path / "nothing")):
            with pytest.raises(FileNotFoundError):
                server.load_cert_chain(*arguments)
        with pytest.raises(TypeError, match="valid filesystem path"):
            server.load_cert_chain(3)  # type: ignore[arg-type]
        with pytest.raises(ssl.SSLError, match="no private key") as caught:
            server.load_cert_chain(files.ca, files.ca)
        assert isinstance(caught.value.__cause__, ConfigError)
        with pytest.raises(TypeError, match="password"):
            server.load_cert_chain(files.chain, files.key, password=lambda: 3)  # type: ignore[arg-type, return-value]

    def test_a_server_needs_one(self, server: SSLContext) -> None:
        with pytest.raises(ValueError, match="load_cert_chain"):
            server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)

    def test_authorities(self, client: SSLContext, files: Files, authority: Authority, tmp_path: Path) -> None:
        der = authority.certificate.public_bytes(Encoding.DER)
        other = Authority("another")
        folder = tmp_path / "hashed"
        folder.mkdir()
        (folder / "0123abcd.0").write_bytes(other.certificate_pem)
        (folder / "0123abcd.r0").write_text("a list of revoked ones")
        for arguments in (
            {"cafile": files.ca},
            {"cadata": files.ca.read_text()},
            {"cadata": der},
            {"cadata": memoryview(der + der)},
            {"capath": folder},
        ):
            client.load_verify_locations(**arguments)
        assert client.get_ca_certs(binary_form=True) == [der, other.certificate.public_bytes(Encoding.DER)]
        assert client.get_ca_certs()[0]["subject"] == client.get_ca_certs()[0]["issuer"]
        assert client.cert_store_stats() == {"x509": 2, "crl": 0, "x509_ca": 2}

    def test_a_folder_that_is_not_there_has_none(self, client: SSLContext, tmp_path: Path) -> None:
        client.load_verify_locations(capath=tmp_path / "nothing")
        assert client.get_ca_certs() == []

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({}, TypeError),
            ({"cafile": "/nonexistent"}, FileNotFoundError),
            ({"cafile": 3}, TypeError),
            ({"cadata": 3}, TypeError),
            ({"cadata": "ä"}, TypeError),
            ({"cadata": ""}, ValueError),
            ({"cadata": b""}, ValueError),
            ({"cadata": "junk"}, ssl.SSLError),
            ({"cadata": b"junk"}, ssl.SSLError),
            ({"cadata": b"\x30\x82\x01\x00 cut short"}, ssl.SSLError),
        ],
    )
    @pytest.mark.parametrize("make", [SSLContext, ssl.SSLContext])
    def test_what_is_no_authority(self, make: Any, arguments: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error):
            make(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(**arguments)

    def test_the_system(self, client: SSLContext, files: Files) -> None:
        client.load_default_certs()
        assert client.config.trust is TrustStore.system()
        client.load_verify_locations(files.ca)
        assert client.cert_store_stats()["x509"] == len(TrustStore.system().certificates) + 1
        with pytest.raises(TypeError):
            client.load_default_certs("servers")  # type: ignore[arg-type]


class TestSettings:
    def test_a_configuration_is_shared_until_something_changes(self, client: SSLContext) -> None:
        first = client.config
        client.set_alpn_protocols([])
        client.verify_mode = ssl.CERT_REQUIRED
        assert client.config is first
        client.set_alpn_protocols(["h2"])
        assert client.config is not first
        assert client.config.alpn == ("h2",)

    def test_verification(self, client: SSLContext, server: SSLContext, files: Files) -> None:
        assert not client.config.insecure_skip_verify
        with pytest.raises(ValueError):
            client.verify_mode = ssl.CERT_NONE
        client.check_hostname = False
        client.verify_mode = ssl.CERT_NONE
        assert client.config.insecure_skip_verify
        server.load_cert_chain(files.chain, files.key)
        for mode, word in ((ssl.CERT_OPTIONAL, "request"), (ssl.CERT_REQUIRED, "require"), (ssl.CERT_NONE, "none")):
            server.verify_mode = mode
            config = server.config
            assert isinstance(config, ServerConfig)
            assert config.client_auth == word

    @pytest.mark.parametrize("name", ["prime256v1", "secp256r1"])
    def test_a_group(self, client: SSLContext, name: str) -> None:
        client.set_ecdh_curve(name)
        assert [group.name for group in client.config.groups] == ["secp256r1"]
        with pytest.raises(ValueError, match="curve"):
            client.set_ecdh_curve("brainpool42")

    def test_ciphers(self, client: SSLContext) -> None:
        """As ssl has it: a list for TLS 1.2 says nothing about the suites of TLS 1.3."""
        client.set_ciphers("ECDHE+AESGCM")
        assert [one["name"] for one in client.get_ciphers()] == list(map(str, client.config.cipher_suites))
        assert [one["strength_bits"] for one in client.get_ciphers()] == [128, 256, 256]
        with pytest.raises(ssl.SSLError, match="No cipher"):
            client.set_ciphers("NONSENSE")

    def test_protocols(self, client: SSLContext) -> None:
        with pytest.raises(ssl.SSLError, match="1 to 255"):
            client.set_alpn_protocols(["x" * 256])

    def test_key_log(self, client: SSLContext, server: SSLContext, files: Files, tmp_path: Path) -> None:
        client.load_verify_locations(files.ca)
        server.load_cert_chain(files.chain, files.key)
        assert client.keylog_filename is None
        client.keylog_filename = str(tmp_path / "keys")
        assert client.keylog_filename == str(tmp_path / "keys")
        pair_of(client, server).shake_hands()
        words = {line.split()[0] for line in (tmp_path / "keys").read_text().splitlines()}
        assert "CLIENT_TRAFFIC_SECRET_0" in words
        assert (tmp_path / "keys").stat().st_mode & 0o077 == 0
        client.keylog_filename = None
        assert client.config.keylog is None
        with pytest.raises(FileNotFoundError):
            client.keylog_filename = str(tmp_path / "no" / "such" / "folder")

    def test_versions(self, client: SSLContext) -> None:
        for value in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            client.minimum_version = value
            assert client.minimum_version is value
        client.maximum_version = ssl.TLSVersion.TLSv1_3
        assert client.config.min_version.name == "TLSv1_3"

    def test_older_versions_with_a_provider_that_has_them(self) -> None:
        client = create_default_context(provider="stdlib")
        client.minimum_version = ssl.TLSVersion.TLSv1_2
        assert (client.config.min_version.name, client.config.max_version.name) == ("TLSv1_2", "TLSv1_3")
        client.maximum_version = ssl.TLSVersion.TLSv1_2
        assert (client.config.min_version.name, client.config.max_version.name) == ("TLSv1_2", "TLSv1_2")
        client.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
        with pytest.warns(DeprecationWarning):
            client.options |= ssl.OP_NO_TLSv1_2
        assert client.config.min_version.name == "TLSv1_3"

    def test_tickets(self, client: SSLContext, server: SSLContext, files: Files) -> None:
        server.load_cert_chain(files.chain, files.key)
        server.num_tickets = 3
        config = server.config
        assert isinstance(config, ServerConfig)
        assert server.num_tickets == config.ticket_count == 3
        server.options |= ssl.OP_NO_TICKET
        config = server.config
        assert isinstance(config, ServerConfig)
        assert config.tickets is None
        for value in (-1, 1000):
            with pytest.raises(ValueError, match="expected 0 to"):
                server.num_tickets = value
        with pytest.raises(ValueError, match="not a server context"):
            client.num_tickets = 2
        assert context_for(config).num_tickets == 3

    def test_sessions_are_resumed(self, client: SSLContext, server: SSLContext, files: Files) -> None:
        """By themselves: a configuration keeps them."""
        client.load_verify_locations(files.ca)
        server.load_cert_chain(files.chain, files.key)
        for reused in (False, True):
            made = pair_of(client, server)
            made.shake_hands()
            made.server.write(b"x")
            assert made.client.read() == b"x"
            assert made.client.session_reused is made.server.session_reused is reused
            assert ("DNS", "localhost") in made.client.getpeercert()["subjectAltName"]

    def test_names_in_any_letters(self, client: SSLContext, files: Files) -> None:
        shown = client.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="faß.de")
        assert shown.server_hostname == "xn--fa-hia.de"


REFUSED: dict[str, Any] = {
    "maximum_version 1.2": lambda one: setattr(one, "maximum_version", ssl.TLSVersion.TLSv1_2),
    "OP_NO_TLSv1_3": lambda one: setattr(one, "options", one.options | ssl.OP_NO_TLSv1_3),
    "OP_ENABLE_KTLS": lambda one: setattr(one, "options", one.options | 8),
    "revocation lists": lambda one: setattr(one, "verify_flags", ssl.VERIFY_CRL_CHECK_LEAF),
    "proxy certificates": lambda one: setattr(one, "verify_flags", ssl.VERIFY_ALLOW_PROXY_CERTS),
    "common names": lambda one: setattr(one, "hostname_checks_common_name", True),
    "post_handshake_auth": lambda one: setattr(one, "post_handshake_auth", True),
    "load_dh_params": lambda one: one.load_dh_params("dh.pem"),
    "set_npn_protocols": lambda one: one.set_npn_protocols(["h2"]),
    "psk client": lambda one: one.set_psk_client_callback(print),
    "psk server": lambda one: one.set_psk_server_callback(print),
    "sni_callback of a client": lambda one: setattr(one, "sni_callback", print),
}


@pytest.mark.parametrize("what", REFUSED)
def test_is_refused(client: SSLContext, what: str) -> None:
    with pytest.raises(ConfigError):
        REFUSED[what](client)


def test_is_no_wish(client: SSLContext, server: SSLContext) -> None:
    """The other value of what can be refused."""
    client.hostname_checks_common_name = False
    client.post_handshake_auth = False
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    client.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    server.sni_callback = None
    assert (client.hostname_checks_common_name, client.post_handshake_auth) == (False, False)
    with pytest.raises(TypeError):
        server.sni_callback = "callback"


def test_ciphers_of_a_provider_with_tls12_are_refused() -> None:
    with pytest.raises(ConfigError, match="set_ciphers"):
        create_default_context(provider="stdlib").set_ciphers("ECDHE+AESGCM")


def test_every_public_name_of_the_base_class_has_an_answer() -> None:
    """What a newer Python adds has to be thought about: recorded, honoured or refused."""
    known = {"sslobject_class", "sslsocket_class", "wrap_bio", "wrap_socket", "protocol", "security_level"}
    known |= {"session_stats", "set_servername_callback"}
    missing = {name for name in vars(ssl.SSLContext) | vars(ssl.SSLContext.__base__) if not name.startswith("_")}
    assert missing - known - set(vars(SSLContext)) == set()


class TestFromConfig:
    def test_of_a_client(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = context_for(client_config), context_for(server_config)
        assert client.config is client_config
        assert (client.verify_mode, client.check_hostname) == (ssl.CERT_REQUIRED, True)
        made = pair_of(client, server)
        made.shake_hands()
        assert made.client.version() == "TLSv1.3"
        assert client.get_ca_certs()
        assert server.get_ca_certs() == []
        assert client.keylog_filename is None

    @pytest.mark.parametrize(("auth", "mode"), [("request", ssl.CERT_OPTIONAL), ("require", ssl.CERT_REQUIRED)])
    def test_of_a_server(self, server_identity: Identity, trust: TrustStore, auth: Any, mode: ssl.VerifyMode) -> None:
        config = ServerConfig(identities=[server_identity], client_auth=auth, trust=trust)
        assert context_for(config).verify_mode is mode

    def test_pinned_and_unverified(self) -> None:
        pinned = context_for(ClientConfig(trust=TrustStore.pinned(b"x" * 32)))
        assert (pinned.verify_mode, pinned.check_hostname) == (ssl.CERT_REQUIRED, False)
        unverified = context_for(ClientConfig(insecure_skip_verify=True))
        assert (unverified.verify_mode, unverified.check_hostname) == (ssl.CERT_NONE, False)

    def test_protocols_may_change(self, client_config: ClientConfig) -> None:
        context = context_for(client_config)
        context.set_alpn_protocols(["h2"])
        config = context.config
        assert config.alpn == ("h2",)
        context.set_alpn_protocols(["h2"])
        assert context.config is config

    def test_nothing_else_may(self, client_config: ClientConfig, files: Files) -> None:
        context = context_for(client_config)
        for change in (
            lambda: context.load_verify_locations(files.ca),
            lambda: context.load_cert_chain(files.chain, files.key),
            lambda: context.load_default_certs(),
            lambda: setattr(context, "check_hostname", False),
            lambda: setattr(context, "keylog_filename", "keys"),
            lambda: setattr(context, "options", context.options | ssl.OP_NO_TICKET),
        ):
            with pytest.raises(ConfigError, match="made by context_for"):
                change()
        context.options |= ssl.OP_IGNORE_UNEXPECTED_EOF
        context.check_hostname = True

    def test_a_hook_answers_at_once(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        import attrs

        seen = []
        config = attrs.evolve(client_config, verify_peer=lambda question: seen.append(question.server_name) or True)
        pair_of(context_for(config), context_for(server_config)).shake_hands()
        assert seen == ["localhost"]

    def test_a_hook_can_not_wait(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        import attrs

        async def verify_peer(question: object) -> bool:
            return True

        made = pair_of(context_for(attrs.evolve(client_config, verify_peer=verify_peer)), context_for(server_config))
        with pytest.raises(ssl.SSLError, match="wants to wait") as caught:
            made.shake_hands()
        assert isinstance(caught.value.__cause__, HookError)
        with pytest.raises(ssl.SSLError) as heard:
            made.server.do_handshake()
        assert heard.value.reason == "TLSV1_ALERT_INTERNAL_ERROR"
