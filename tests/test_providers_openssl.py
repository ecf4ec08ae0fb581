"""The provider around pyOpenSSL: what callbacks may do, what OpenSSL's errors become, and what it must never do."""

from __future__ import annotations

import ssl
from typing import Any

import attrs
import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.ocsp import OCSPResponseBuilder, OCSPResponseStatus
from loop import pump, transfer
from OpenSSL import SSL
from openssl_peers import PyOpenSSLPeer, StdlibPeer, issue, meet, pyopenssl_context, stdlib_as_client, stdlib_client

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, Fault, HookError, PeerFault, UnsupportedByProvider, WantRead
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.providers.library import LibraryError
from tlsprovider.providers.openssl import OpenSSLProvider
from tlsprovider.providers.openssl_errors import alert_of, certificate_fault, failure, reason_of
from tlsprovider.questions import VerifyPeer
from tlsprovider.testing.bench import Bench
from tlsprovider.trust import TrustStore


@pytest.fixture
def provider() -> OpenSSLProvider:
    return OpenSSLProvider()


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "fault", "alert"),
        [
            ("no shared cipher", Fault.NO_COMMON_SUITE, Alert.handshake_failure),
            ("digest check failed", Fault.FINISHED_MISMATCH, Alert.decrypt_error),
            ("bad signature", Fault.SIGNATURE_INVALID, Alert.decrypt_error),
            ("http request", Fault.NOT_TLS, None),
            ("something that nobody knows", Fault.DECODE_ERROR, Alert.illegal_parameter),
            ("something that nobody knows", Fault.UNSOLICITED_EXTENSION, Alert.unsupported_extension),
        ],
    )
    def test_what_openssl_found_wrong(self, text: str, fault: Fault, alert: Alert | None) -> None:
        problem = failure(reason_of(text), text, None, alert)
        assert isinstance(problem, PeerFault)
        assert problem.fault is fault
        assert problem.alert is (alert or fault.alert)
        assert f"OpenSSL says {text!r}" in str(problem)

    def test_the_number_of_an_alert_counts_and_not_its_text(self) -> None:
        problem = failure("TLSV1_ALERT_UNKNOWN_CA", "tlsv1 alert unknown ca", Alert.bad_certificate, None)
        assert isinstance(problem, AlertReceived)
        assert problem.alert is Alert.bad_certificate

    @pytest.mark.parametrize(
        ("reason", "alert"),
        [
            ("TLSV1_ALERT_UNKNOWN_CA", Alert.unknown_ca),
            ("SSLV3_ALERT_HANDSHAKE_FAILURE", Alert.handshake_failure),
            ("TLSV13_ALERT_CERTIFICATE_REQUIRED", Alert.certificate_required),
            ("TLSV1_UNRECOGNIZED_NAME", Alert.unrecognized_name),
            ("TLSV1_ALERT_NO_APPLICATION_PROTOCOL", Alert.no_application_protocol),
            ("TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE", Alert.bad_certificate_status_response),
            ("TLSV1_ALERT_NO_RENEGOTIATION", Alert(100)),
            ("SSLV3_ALERT_NO_CERTIFICATE", Alert(41)),
            ("TLSV1_ALERT_SOMETHING_NEW", None),
            ("NO_SHARED_CIPHER", None),
        ],
    )
    def test_alerts_by_the_name_of_the_reason(self, reason: str, alert: Alert | None) -> None:
        assert alert_of(reason) is alert or alert_of(reason) == alert

    def test_nothing_is_known(self) -> None:
        assert isinstance(failure("", "no reason given", None, None), LibraryError)

    @pytest.mark.parametrize(
        ("code", "fault"),
        [
            (ssl.SSLErrorNumber.SSL_ERROR_SSL, Fault.CERTIFICATE_REFUSED),
            (10, Fault.CERTIFICATE_EXPIRED),
            (20, Fault.CERTIFICATE_UNKNOWN_ISSUER),
            (26, Fault.CERTIFICATE_PURPOSE),
            (62, Fault.CERTIFICATE_NAME),
        ],
    )
    def test_codes_of_verification(self, code: int, fault: Fault) -> None:
        problem = certificate_fault(code, "in words")
        assert (problem.fault, problem.detail) == (fault, "in words")

    def test_the_codes_are_pyopenssls(self) -> None:
        codes = SSL.X509VerificationCodes
        assert certificate_fault(codes.ERR_CERT_HAS_EXPIRED, "").fault is Fault.CERTIFICATE_EXPIRED
        assert certificate_fault(codes.ERR_CERT_NOT_YET_VALID, "").fault is Fault.CERTIFICATE_EXPIRED
        assert certificate_fault(codes.ERR_HOSTNAME_MISMATCH, "").fault is Fault.CERTIFICATE_NAME
        assert certificate_fault(codes.ERR_IP_ADDRESS_MISMATCH, "").fault is Fault.CERTIFICATE_NAME
        assert certificate_fault(codes.ERR_INVALID_PURPOSE, "").fault is Fault.CERTIFICATE_PURPOSE
        assert certificate_fault(codes.ERR_CERT_CHAIN_TOO_LONG, "").fault is Fault.CERTIFICATE_CHAIN_LONG
        assert certificate_fault(codes.ERR_CERT_SIGNATURE_FAILURE, "").fault is Fault.CERTIFICATE_SIGNATURE
        for code in (
            codes.ERR_UNABLE_TO_GET_ISSUER_CERT,
            codes.ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
            codes.ERR_SELF_SIGNED_CERT_IN_CHAIN,
            codes.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
            codes.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
            codes.ERR_CERT_UNTRUSTED,
        ):
            assert certificate_fault(code, "").fault is Fault.CERTIFICATE_UNKNOWN_ISSUER


class TestCallbacks:
    """OpenSSL can't be told of an exception in a callback: none may get out, and none may be forgotten."""

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    @pytest.mark.parametrize("side", ["client", "server"])
    @pytest.mark.parametrize("line", range(6))
    def test_a_key_log_that_fails_at_any_line(
        self, version: str, side: Any, line: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        seen: list[str] = []

        def failing(text: str) -> None:
            seen.append(text)
            if len(seen) > line:
                raise OSError("no space left on device")

        bench = Bench(get_provider("openssl"), version)
        configs = {"client": bench.client(), "server": bench.server()}
        configs[side] = attrs.evolve(configs[side], keylog=failing)
        pair = bench.pair(side, configs["client"], configs["server"])
        mine, other = pair.fail()
        assert capfd.readouterr().err == ""
        if len(seen) <= line:
            # There are fewer lines than that: TLS 1.2 has one.
            assert mine is None
            return
        assert len(seen) == line + 1
        assert isinstance(mine, HookError)
        assert isinstance(mine.__cause__, OSError)
        assert not pair.mine.handshake_complete
        if isinstance(other, AlertReceived):
            assert other.alert is Alert.internal_error
        if side == "client":
            assert not pair.other.handshake_complete

    def test_contexts_are_shared_and_key_logs_are_not(self, provider: OpenSSLProvider) -> None:
        """The log of a hook's answer is used for its connections alone."""
        bench = Bench(provider)
        logged: list[str] = []
        server = bench.server()
        bench.connected("server", server=attrs.evolve(server, keylog=logged.append))
        lines = len(logged)
        assert lines == 5
        bench.connected("server", server=server)
        assert len(logged) == lines


class TestAlwaysAnew:
    """A session from before would bring along a peer that nobody has looked at now."""

    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("name", ["openssl", "stdlib"])
    def test_nothing_is_resumed(
        self, name: str, version: ssl.TLSVersion, authority: Authority, server_config: ServerConfig
    ) -> None:
        context = stdlib_client(authority)
        context.maximum_version = version
        config = attrs.evolve(server_config, min_version="TLSv1.2")
        session = None
        for _ in range(3):
            engine = get_provider(name).server_engine(config)
            peer = StdlibPeer(context, server_hostname="localhost", session=session)
            meet(engine, peer)
            engine.write(b"x")
            peer.feed(engine.process_outgoing())
            assert peer.read() == b"x"
            session = peer.ssl.session
            if name == "openssl" or version is ssl.TLSVersion.TLSv1_3:
                assert not peer.ssl.session_reused
            assert engine.session_reused is peer.ssl.session_reused


class TestOldClients:
    """TLS 1.2 says of keys other things than TLS 1.3."""

    @pytest.mark.parametrize("key_type", ["p256", "p384", "rsa2048", "ed25519"])
    @pytest.mark.parametrize("name", ["openssl", "stdlib"])
    def test_keys(self, name: str, key_type: Any, authority: Authority) -> None:
        issued = authority.issue("localhost", key_type=key_type)
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        engine = get_provider(name).server_engine(ServerConfig(identities=[identity], min_version="TLSv1.2"))
        context = stdlib_client(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        peer: Any = stdlib_as_client(context)
        meet(engine, peer)
        assert engine.version == "TLSv1.2" == peer.ssl.version()
        # Where the version leaves several, nobody can know.
        assert engine.signature_scheme is None

    def test_no_suite_without_forward_secrecy(self, authority: Authority, server_config: ServerConfig) -> None:
        engine = get_provider("openssl").server_engine(attrs.evolve(server_config, min_version="TLSv1.2"))
        context = stdlib_client(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES128-SHA256:AES128-GCM-SHA256")
        peer = stdlib_as_client(context)
        peer.do_handshake()
        engine.process_incoming(peer.drain())
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is Fault.NO_COMMON_SUITE
        assert engine.process_outgoing()[-2:] == bytes((2, Alert.handshake_failure))

    @pytest.mark.parametrize("name", ["openssl", "stdlib"])
    def test_no_exporter(self, name: str) -> None:
        pair = Bench(get_provider(name), "TLSv1.2").connected("client")
        with pytest.raises(UnsupportedByProvider, match="export"):
            pair.mine.export_keying_material("EXPERIMENTAL", b"", 32)
        with pytest.raises(UnsupportedByProvider, match=r"RFC 9266|tls-exporter"):
            pair.mine.channel_binding("tls-exporter")


class TestOneCurve:
    @pytest.mark.parametrize("group", ["secp256r1", "secp384r1", "secp521r1"])
    def test_is_used(self, provider: OpenSSLProvider, group: str) -> None:
        bench = Bench(provider)
        for side in ("client", "server"):
            fields = {side: {"groups": [group]}}
            pair = bench.connected(
                side,  # type: ignore[arg-type]
                bench.client(**fields.get("client", {})),
                bench.server(**fields.get("server", {})),
            )
            assert pair.mine.group == pair.other.group == group

    @pytest.mark.parametrize("groups", [["x25519"], ["X25519MLKEM768"], ["secp256r1", "secp384r1"]])
    def test_everything_else_is_refused(
        self, provider: OpenSSLProvider, client_config: ClientConfig, groups: list[str]
    ) -> None:
        with pytest.raises(UnsupportedByProvider, match="groups="):
            provider.client_engine(attrs.evolve(client_config, groups=groups), "localhost")


class TestStaples:
    def serve(self, authority: Authority, response: bytes) -> PyOpenSSLPeer:
        context = pyopenssl_context(issue(authority))
        context.set_ocsp_server_callback(lambda connection, data: response)
        return PyOpenSSLPeer(context, server_side=True)

    @pytest.mark.parametrize(
        "response",
        [OCSPResponseBuilder.build_unsuccessful(OCSPResponseStatus.TRY_LATER).public_bytes(Encoding.DER), b""],
        ids=["stapled", "none"],
    )
    def test_ocsp_response(self, authority: Authority, trust: TrustStore, response: bytes) -> None:
        asked: list[VerifyPeer] = []
        config = ClientConfig(trust=trust, verify_peer=lambda question: asked.append(question) is None)
        engine = get_provider("openssl").client_engine(config, "localhost")
        meet(engine, self.serve(authority, response))
        [question] = asked
        assert question.ocsp_response == (response or None)
        assert question.scts == ()


class TestClientAuthorities:
    def test_are_named(self, authority: Authority, server_config: ServerConfig, trust: TrustStore) -> None:
        config = attrs.evolve(server_config, client_auth="request", trust=trust)
        engine = get_provider("openssl").server_engine(config)
        peer = PyOpenSSLPeer(pyopenssl_context(None, authority), server_hostname="localhost")
        meet(engine, peer)
        assert peer.connection.get_client_ca_list(as_cryptography=True) == [authority.certificate.subject]

    def test_a_long_list_is_left_out(
        self, authority: Authority, server_config: ServerConfig, trust: TrustStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tlsprovider.providers.contexts.MAX_AUTHORITIES_LENGTH", len(trust.subjects[0]) + 1)
        config = attrs.evolve(server_config, client_auth="request", trust=trust)
        engine = get_provider("openssl").server_engine(config)
        peer = PyOpenSSLPeer(pyopenssl_context(None, authority), server_hostname="localhost")
        meet(engine, peer)
        assert peer.connection.get_client_ca_list(as_cryptography=True) == []


def test_both_sides_of_one_provider_at_once(provider: OpenSSLProvider) -> None:
    """Interleaved connections don't see each other's notes."""
    bench = Bench(provider)
    client, server = bench.client(), bench.server()
    fine = bench.engine("client", client), bench.engine("server", server)
    broken = bench.engine("client", client), bench.engine("server", server)
    for pair in (broken, fine):
        for engine in pair:
            with pytest.raises(WantRead):
                engine.do_handshake()
            if not engine.is_server:
                transfer(*pair)
    with pytest.raises(WantRead):
        broken[1].do_handshake()
    flight = bytearray(broken[1].process_outgoing())
    flight[-1] ^= 1
    broken[0].process_incoming(flight)
    with pytest.raises(PeerFault):
        broken[0].do_handshake()
    pump(*fine)
    assert fine[0].failure is None


def test_description_is_one_line() -> None:
    assert "\n" not in get_provider("openssl").description
