"""The provider around Python's ssl: keys on their way through a file, clients verified twice, ready contexts."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
from loop import pump, transfer
from openssl_peers import stdlib_client

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    ConfigError,
    Fault,
    TLSError,
    UnsupportedByProvider,
    WantRead,
)
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.providers.stdlib import StdlibProvider
from tlsprovider.testing.bench import Bench, Pair, raises
from tlsprovider.trust import TrustStore


@pytest.fixture
def provider() -> StdlibProvider:
    return StdlibProvider()


class TestKeys:
    def test_the_file_is_encrypted_and_gone(
        self, provider: StdlibProvider, server_config: ServerConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """ssl takes keys from files only."""
        written: dict[Path, bytes] = {}
        real = Path.write_bytes

        def watch(path: Path, data: bytes) -> int:
            written[path] = data
            return real(path, data)

        monkeypatch.setattr(Path, "write_bytes", watch)
        provider.server_engine(attrs.evolve(server_config))
        [(path, content)] = written.items()
        assert b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in content
        assert b"-----BEGIN PRIVATE KEY-----" not in content
        assert not path.exists() and not path.parent.exists()

    def test_once_for_all_connections(self, provider: StdlibProvider, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = Bench(provider)
        server = bench.server()
        provider.server_engine(server)
        monkeypatch.setattr(Path, "write_bytes", lambda path, data: pytest.fail("written again"))
        for _ in range(2):
            assert bench.connected("server", server=server).server.handshake_complete

    def test_a_key_that_openssl_does_not_take(self, provider: StdlibProvider, authority: Authority) -> None:
        issued = authority.issue("localhost", key_type="rsa_pss")
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        with pytest.raises(UnsupportedByProvider, match="RSASSA-PSS"):
            provider.server_engine(ServerConfig(identities=[identity]))


class TestClientsAreVerifiedTwice:
    """ssl can't ask for a certificate without verifying it; our trust store has the last word."""

    def configs(self, **server: Any) -> tuple[Bench, ClientConfig, ServerConfig]:
        bench = Bench(get_provider("stdlib"))
        return bench, bench.client(identity=bench.client_identity), bench.server(client_auth="require", **server)

    def test_ours_says_no(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(self: TrustStore, certificates: object, now: float) -> None:
            raise CertificateFault("not by us", Fault.CERTIFICATE_SIGNATURE)

        bench, client, server = self.configs(trust=Bench(get_provider("stdlib")).trust)
        monkeypatch.setattr(TrustStore, "verify_client", refuse)
        pair = bench.pair("server", client, server)
        mine, _ = pair.fail()
        assert isinstance(mine, CertificateFault)
        assert mine.detail == "not by us"
        assert not pair.server.handshake_complete

    def test_openssl_says_no(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TrustStore, "verify_client", lambda *arguments: pytest.fail("not reached"))
        bench = Bench(get_provider("stdlib"))
        bench, client, server = self.configs(trust=bench.strangers)
        mine, other = bench.pair("server", client, server).fail()
        assert isinstance(mine, CertificateFault)
        assert mine.fault is Fault.CERTIFICATE_UNKNOWN_ISSUER
        assert isinstance(other, AlertReceived)
        assert other.alert is Alert.unknown_ca


class TestChoices:
    @pytest.mark.parametrize("group", ["secp256r1", "secp384r1", "secp521r1", "x25519", "x448"])
    def test_one_group(self, group: str) -> None:
        bench = Bench(get_provider("stdlib"))
        pair = bench.connected(
            "client", bench.client(groups=[group]), bench.server(groups=["x448", *map(str, bench.server().groups)])
        )
        assert pair.client.group == pair.server.group == group

    @pytest.mark.parametrize("suite", ["TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
    def test_suites_of_tls_12(self, suite: str) -> None:
        bench = Bench(get_provider("stdlib"), "TLSv1.2")
        pair = bench.connected("client", bench.client(cipher_suites=[suite]))
        assert pair.client.cipher == pair.server.cipher == f"TLS_ECDHE_ECDSA_WITH_{suite.removeprefix('TLS_')}"

    def test_suites_of_tls_13(self, provider: StdlibProvider, client_config: ClientConfig) -> None:
        config = attrs.evolve(client_config, min_version="TLSv1.2", cipher_suites=["TLS_AES_128_GCM_SHA256"])
        with pytest.raises(UnsupportedByProvider, match="cipher_suites="):
            provider.client_engine(config, "localhost")


# -- ready contexts --------------------------------------------------------------------------------------------------


@pytest.fixture
def ready(authority: Authority) -> ssl.SSLContext:
    context = stdlib_client(authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


class LateObject(ssl.SSLObject):
    """Verifies behind OpenSSL's handshake, as truststore does where the operating system judges."""

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.server_hostname != "localhost":
            error = ssl.SSLCertVerificationError("refused by the operating system")
            error.verify_code, error.verify_message = 20, "refused by the operating system"
            raise error


def server_for(config: ServerConfig) -> IEngine:
    return get_provider("native").server_engine(config)


class TestReadyContext:
    def test_verifies(self, ready: ssl.SSLContext, server_config: ServerConfig, authority: Authority) -> None:
        client, server = StdlibProvider(ready).client_engine(ClientConfig(), "localhost"), server_for(server_config)
        pump(client, server)
        assert client.peer_certificates == server_config.identities[0].certificates
        assert client.verified_chain[-1] == authority.certificate
        assert server.server_name == "localhost"

    @pytest.mark.parametrize("name", ["127.0.0.1", "LOCALHOST."])
    def test_names_as_people_write_them(self, ready: ssl.SSLContext, server_config: ServerConfig, name: str) -> None:
        client, server = StdlibProvider(ready).client_engine(ClientConfig(), name), server_for(server_config)
        pump(client, server)

    def test_refuses(self, ready: ssl.SSLContext, server_config: ServerConfig) -> None:
        client, server = (
            StdlibProvider(ready).client_engine(ClientConfig(), "elsewhere.example"),
            server_for(server_config),
        )
        mine, other = Pair(client, server, "client").fail()
        assert isinstance(mine, CertificateFault)
        assert mine.fault is Fault.CERTIFICATE_NAME
        assert "elsewhere.example" in mine.detail
        assert isinstance(other, AlertReceived)
        assert other.alert is Alert.bad_certificate
        assert not server.handshake_complete

    def test_refuses_late(self, ready: ssl.SSLContext, server_config: ServerConfig) -> None:
        """OpenSSL has made its Finished by then: it must not leave."""
        ready.sslobject_class = LateObject
        pump(StdlibProvider(ready).client_engine(ClientConfig(), "localhost"), server_for(server_config))
        client, server = StdlibProvider(ready).client_engine(ClientConfig(), "example.com"), server_for(server_config)
        mine, other = Pair(client, server, "client").fail()
        assert isinstance(mine, CertificateFault)
        assert (mine.fault, mine.detail) == (Fault.CERTIFICATE_UNKNOWN_ISSUER, "refused by the operating system")
        assert isinstance(other, AlertReceived)
        assert other.alert is Alert.unknown_ca
        assert not server.handshake_complete

    def test_verify_peer_comes_after(self, ready: ssl.SSLContext, server_config: ServerConfig) -> None:
        seen: list[Any] = []
        config = ClientConfig(verify_peer=lambda question: seen.append(question) or False)
        client, server = StdlibProvider(ready).client_engine(config, "localhost"), server_for(server_config)
        mine, _ = Pair(client, server, "client").fail()
        assert isinstance(mine, CertificateFault)
        assert len(seen[0].verified_chain) == 2
        assert not server.handshake_complete

    def test_is_used_as_it_is(self, ready: ssl.SSLContext, server_config: ServerConfig) -> None:
        ready.set_alpn_protocols(["h2"])
        before = (ready.options, ready.verify_flags, ready.minimum_version, ready.maximum_version, ready.get_ciphers())
        client = StdlibProvider(ready).client_engine(ClientConfig(), "localhost")
        server = server_for(attrs.evolve(server_config, alpn=["h2"]))
        pump(client, server)
        assert client.alpn == "h2"
        assert before == (
            ready.options,
            ready.verify_flags,
            ready.minimum_version,
            ready.maximum_version,
            ready.get_ciphers(),
        )

    def test_one_that_does_not_verify(self, server_config: ServerConfig) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        provider = StdlibProvider(context)
        with pytest.raises(ConfigError, match="insecure_skip_verify=False: the SSLContext does not verify"):
            provider.client_engine(ClientConfig(), "localhost")
        client = provider.client_engine(ClientConfig(insecure_skip_verify=True), None)
        pump(client, server_for(server_config))
        assert client.peer_certificates and not client.verified_chain

    def test_contradictions(self, ready: ssl.SSLContext, client_identity: Identity, trust: TrustStore) -> None:
        provider = StdlibProvider(ready)
        for fields, text in (
            ({"alpn": ["h2"]}, "alpn="),
            ({"groups": ["x25519"]}, "groups="),
            ({"cipher_suites": ["TLS_AES_128_GCM_SHA256"]}, "cipher_suites="),
            ({"trust": trust}, "trust= beside a ready SSLContext"),
            ({"identity": client_identity}, "an identity|identity= beside"),
            ({"clock": float}, "clock="),
            ({"keylog": print}, "keylog"),
        ):
            with pytest.raises(UnsupportedByProvider, match=text):
                provider.client_engine(ClientConfig(**fields), "localhost")  # type: ignore[arg-type]

    def test_verification_that_is_on_and_should_be_off(self, ready: ssl.SSLContext) -> None:
        with pytest.raises(ConfigError, match="insecure_skip_verify=True: the SSLContext verifies"):
            StdlibProvider(ready).client_engine(ClientConfig(insecure_skip_verify=True), "localhost")

    def test_names_that_are_not_checked(self, ready: ssl.SSLContext) -> None:
        ready.check_hostname = False
        with pytest.raises(ConfigError, match="check_hostname is off"):
            StdlibProvider(ready).client_engine(ClientConfig(), "localhost")

    def test_older_versions_than_the_configuration_allows(self, authority: Authority) -> None:
        context = stdlib_client(authority)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        provider = StdlibProvider(context)
        with pytest.raises(ConfigError, match=r"the SSLContext allows TLSv1_2, the configuration TLSv1\.3 at least"):
            provider.client_engine(ClientConfig(), "localhost")
        provider.client_engine(ClientConfig(min_version="TLSv1.2"), "localhost")

    def test_newer_version_than_the_configuration_allows(
        self, ready: ssl.SSLContext, server_config: ServerConfig
    ) -> None:
        """Noticed when it was negotiated, before anything is sent."""
        config = ClientConfig(min_version="TLSv1.2", max_version="TLSv1.2")
        client, server = StdlibProvider(ready).client_engine(config, "localhost"), server_for(server_config)
        mine, _ = Pair(client, server, "client").fail()
        assert isinstance(mine, TLSError)
        assert "TLSv1.3 was negotiated" in str(mine)
        assert not server.handshake_complete

    def test_not_for_servers(self, ready: ssl.SSLContext, server_config: ServerConfig) -> None:
        with pytest.raises(ConfigError, match="made around an SSLContext for clients"):
            StdlibProvider(ready).server_engine(server_config)
        with pytest.raises(ConfigError, match="PROTOCOL_TLS_CLIENT"):
            StdlibProvider(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))

    def test_nobody_to_verify(self, ready: ssl.SSLContext) -> None:
        with pytest.raises(ConfigError, match="server_hostname"):
            StdlibProvider(ready).client_engine(ClientConfig(), None)

    def test_features(self, ready: ssl.SSLContext) -> None:
        provider = StdlibProvider(ready)
        assert provider.supports("VerifyPeer") and not provider.supports("alpn")
        assert repr(provider).startswith("<StdlibProvider <ssl.SSLContext")
        assert repr(StdlibProvider()) == "<StdlibProvider>"


def test_no_exporter(provider: StdlibProvider) -> None:
    pair = Bench(provider).connected("client")
    with pytest.raises(UnsupportedByProvider, match="use the provider 'native' or 'openssl'"):
        pair.client.export_keying_material("EXPERIMENTAL", b"", 32)


def test_half_closed_by_unwrap(provider: StdlibProvider) -> None:
    """SSLObject.unwrap() would wait for the peer; what still comes is read all the same."""
    pair = Bench(provider).connected("client")
    pair.client.shutdown()
    transfer(pair.client, pair.server)
    for number in range(3):
        pair.server.write(b"%d" % number)
        transfer(pair.server, pair.client)
        assert pair.client.read() == b"%d" % number
    raises(WantRead, "nothing more", pair.client.read)
