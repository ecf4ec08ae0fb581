"""The look-alike of ``OpenSSL.SSL.Connection`` by itself, rule by rule, without any Twisted above it."""

from __future__ import annotations

import gc
import weakref
from socket import MSG_PEEK
from typing import Any

import attrs
import pytest
from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import VerificationError
from service_identity.pyopenssl import verify_hostname, verify_ip_address

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import CertificateFault, HookError, TruncatedError
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.questions import LATER, Question
from tlsprovider.trust import TrustStore
from tlsprovider.twisted.pyopenssl import Connection, ConnectionFailed, ConnectionTruncated

Ends = tuple[Connection, Connection]


def make(client: ClientConfig, server: ServerConfig, provider: str = "native") -> Ends:
    chosen = get_provider(provider)
    ends = Connection(chosen.client_engine(client, "localhost")), Connection(chosen.server_engine(server))
    ends[0].set_connect_state()
    ends[1].set_accept_state()
    return ends


def move(source: Connection, target: Connection) -> bool:
    try:
        target.bio_write(source.bio_read(1))
    except SSL.WantReadError:
        return False
    return True


def shake(ends: Ends) -> None:
    for _ in range(6):
        for one in ends:
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
        move(*ends)
        move(*reversed(ends))


@pytest.fixture
def before(configs: tuple[ClientConfig, ServerConfig]) -> Ends:
    return make(*configs)


@pytest.fixture
def ends(before: Ends) -> Ends:
    shake(before)
    for one in before:
        one.do_handshake()
    return before


class TestHandshake:
    def test_it_waits(self, before: Ends) -> None:
        for one in before:
            with pytest.raises(SSL.WantReadError):
                one.do_handshake()

    @pytest.mark.parametrize("call", [lambda one: one.send(b"data"), lambda one: one.recv(10)])
    def test_nothing_before_it(self, before: Ends, call: Any) -> None:
        for one in before:
            with pytest.raises(SSL.WantReadError):
                call(one)

    def test_close_notify_in_it(self, before: Ends) -> None:
        client, _ = before
        client.bio_write(b"\x15\x03\x03\x00\x02\x01\x00")
        with pytest.raises(ConnectionFailed) as caught:
            client.do_handshake()
        assert not isinstance(caught.value, SSL.ZeroReturnError | SSL.WantWriteError | SSL.WantX509LookupError)
        assert caught.value.args[0][0][0] == "SSL routines"

    def test_a_failure_stays(self, before: Ends) -> None:
        _, server = before
        server.bio_write(b"GET / HTTP/1.1\r\n\r\n")
        for call in (server.do_handshake, lambda: server.send(b"x"), lambda: server.recv(1), server.do_handshake):
            with pytest.raises(ConnectionFailed, match="plain HTTP"):
                call()
        assert server.bio_read(1)[0] == 21, "an alert"
        assert server.shutdown() is False

    def test_the_end_in_it(self, before: Ends) -> None:
        for one in before:
            one.bio_shutdown()
            with pytest.raises(ConnectionTruncated) as caught:
                one.recv(10)
            assert caught.value.args == (-1, "Unexpected EOF")
            with pytest.raises(ConnectionTruncated):
                one.do_handshake()

    def test_the_wrong_side(self, before: Ends) -> None:
        with pytest.raises(ValueError, match="ClientConfig"):
            before[1].set_connect_state()
        with pytest.raises(ValueError, match="ServerConfig"):
            before[0].set_accept_state()

    def test_a_question_without_twisted(self, configs: tuple[ClientConfig, ServerConfig]) -> None:
        asked: list[Question[Any]] = []
        config = attrs.evolve(configs[1], choose_identity=lambda question: asked.append(question) or LATER)
        ends = make(configs[0], config)
        shake(ends)
        with pytest.raises(SSL.WantReadError):
            ends[1].do_handshake()
        asked[0].answer(config.identities[0])
        shake(ends)
        ends[0].do_handshake()
        assert len(asked) == 1


class TestErrors:
    def test_certificate(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        stranger = TrustStore.from_crypto([Authority("somebody else").certificate])
        client, server = make(attrs.evolve(client_config, trust=stranger), server_config)
        with pytest.raises(ConnectionFailed) as caught:
            shake((client, server))
        problem = caught.value
        assert isinstance(problem, SSL.Error)
        assert problem.args == ([("SSL routines", "", "certificate verify failed")],)
        assert problem.alert is AlertDescription.unknown_ca
        assert problem.chain == server_config.identities[0].certificates
        assert isinstance(problem.__cause__, CertificateFault) and problem.__cause__.__traceback__ is None
        assert str(problem) == problem.reason and problem.reason.endswith("[unknown_ca]")
        move(client, server)
        with pytest.raises(ConnectionFailed) as received:
            server.do_handshake()
        assert received.value.args == ([("SSL routines", "", "tlsv1 alert unknown ca")],)
        assert received.value.alert is AlertDescription.unknown_ca and received.value.chain == ()

    @pytest.mark.parametrize(
        ("alert", "words"),
        [
            (40, "sslv3 alert handshake failure"),
            (80, "tlsv1 alert internal error"),
            (112, "tlsv1 unrecognized name"),
            (116, "tlsv13 alert certificate required"),
            (120, "tlsv1 alert no application protocol"),
        ],
    )
    def test_alerts_in_the_words_of_openssl(self, before: Ends, alert: int, words: str) -> None:
        before[0].bio_write(b"\x15\x03\x03\x00\x02\x02" + bytes([alert]))
        with pytest.raises(ConnectionFailed) as caught:
            before[0].do_handshake()
        assert caught.value.args[0][0][2] == words
        assert caught.value.alert == alert

    def test_a_hook(self, configs: tuple[ClientConfig, ServerConfig]) -> None:
        def fail(_: object) -> None:
            raise RuntimeError("out of order")

        with pytest.raises(ConnectionFailed, match="out of order") as caught:
            shake(make(configs[0], attrs.evolve(configs[1], choose_identity=fail)))
        assert isinstance(caught.value.failure, HookError)

    def test_no_secret_frames_are_kept(self, before: Ends) -> None:
        before[1].bio_write(b"\0" * 20)
        with pytest.raises(ConnectionFailed) as caught:
            before[1].do_handshake()
        assert caught.value.failure.__traceback__ is None
        assert caught.value.__context__ is None


class TestData:
    def test_send_takes_all(self, ends: Ends) -> None:
        client, server = ends
        assert client.send(bytes(100_000)) == 100_000
        assert client.sendall(b"more") == client.write(b"more") == 4
        move(client, server)
        assert server.pending() == 100_008

    def test_recv_gives_at_most_what_was_asked_for(self, ends: Ends) -> None:
        client, server = ends
        client.send(b"0123456789")
        move(client, server)
        assert (server.recv(4), server.read(3), server.recv(100)) == (b"0123", b"456", b"789")
        with pytest.raises(SSL.WantReadError):
            server.recv(1)

    @pytest.mark.parametrize(("count", "wanted"), [(None, b"01234567"), (3, b"012"), (100, b"01234567")])
    def test_recv_into(self, ends: Ends, count: int | None, wanted: bytes) -> None:
        ends[0].send(b"0123456789")
        move(*ends)
        buffer = bytearray(8)
        assert ends[1].recv_into(buffer, count) == len(wanted)
        assert buffer.startswith(wanted)

    def test_recv_of_nothing(self, ends: Ends) -> None:
        """It would have to be b"", for which Twisted would ask for ever."""
        ends[0].send(b"data")
        move(*ends)
        with pytest.raises(ValueError, match="at least one byte"):
            ends[1].recv(0)
        assert ends[1].recv(10) == b"data"

    def test_no_looking_without_taking(self, ends: Ends) -> None:
        ends[0].send(b"data")
        move(*ends)
        for call in (lambda: ends[1].recv(4, MSG_PEEK), lambda: ends[1].recv_into(bytearray(4), None, MSG_PEEK)):
            with pytest.raises(ValueError, match="MSG_PEEK"):
                call()
        assert ends[1].recv(4) == b"data"

    def test_bio_read_gives_everything(self, ends: Ends) -> None:
        ends[0].send(bytes(200_000))
        assert len(ends[0].bio_read(1)) > 200_000
        with pytest.raises(SSL.WantReadError):
            ends[0].bio_read(1)

    def test_bio_write_takes_everything_and_nothing(self, ends: Ends) -> None:
        ends[0].send(b"data")
        records = ends[0].bio_read(1000)
        assert ends[1].bio_write(b"") == 0
        assert ends[1].bio_write(memoryview(records)) == len(records)
        assert ends[1].recv(10) == b"data"


class TestEnd:
    def test_close_notify(self, ends: Ends) -> None:
        client, server = ends
        client.send(b"last words")
        assert client.shutdown() is False and client.get_shutdown() == SSL.SENT_SHUTDOWN
        move(client, server)
        assert server.recv(100) == b"last words"
        for _ in range(2):
            with pytest.raises(SSL.ZeroReturnError):
                server.recv(100)
        assert server.get_shutdown() == SSL.RECEIVED_SHUTDOWN
        assert server.send(b"half of it is open") == 18
        assert server.shutdown() is True
        move(server, client)
        assert client.recv(100) == b"half of it is open"
        assert client.shutdown() is True
        assert client.get_shutdown() == SSL.SENT_SHUTDOWN | SSL.RECEIVED_SHUTDOWN

    def test_send_after_it(self, ends: Ends) -> None:
        ends[0].shutdown()
        with pytest.raises(ConnectionFailed) as caught:
            ends[0].send(b"more")
        assert caught.value.args[0] == [("SSL routines", "", "protocol is shutdown")]

    def test_truncation(self, ends: Ends) -> None:
        client, server = ends
        client.send(b"data")
        move(client, server)
        server.bio_shutdown()
        assert server.recv(10) == b"data", "what came before it is not lost"
        for _ in range(2):
            with pytest.raises(SSL.SysCallError) as caught:
                server.recv(10)
            assert caught.value.args == (-1, "Unexpected EOF")
            assert isinstance(caught.value, ConnectionTruncated) and isinstance(caught.value.failure, TruncatedError)
            assert "close_notify" in str(caught.value)

    def test_no_truncation_after_close_notify(self, ends: Ends) -> None:
        ends[0].shutdown()
        move(*ends)
        ends[1].bio_shutdown()
        with pytest.raises(SSL.ZeroReturnError):
            ends[1].recv(10)

    def test_shutdown_in_the_middle_of_the_handshake(self, before: Ends) -> None:
        shake_once = before[0]
        with pytest.raises(SSL.WantReadError):
            shake_once.do_handshake()
        assert shake_once.shutdown() is False
        assert shake_once.shutdown() is False
        assert shake_once.bio_read(1)[-1] == 0, "close_notify"

    def test_shutdown_before_anything(self, before: Ends) -> None:
        for one in before:
            assert one.shutdown() is False
            with pytest.raises(SSL.WantReadError):
                one.bio_read(1)

    def test_shutdown_inside_a_hook(self, configs: tuple[ClientConfig, ServerConfig]) -> None:
        results: list[bool] = []

        def hook(_: object) -> Identity:
            results.append(ends[1].shutdown())
            return configs[1].identities[0]

        ends = make(configs[0], attrs.evolve(configs[1], choose_identity=hook))
        shake(ends)
        assert results == [False]
        assert not ends[0].handshake_complete and not ends[1].handshake_complete

    def test_no_cycles(self, configs: tuple[ClientConfig, ServerConfig]) -> None:
        asked: list[Question[Any]] = []
        config = attrs.evolve(configs[1], choose_identity=lambda question: asked.append(question) or LATER)
        gc.collect()
        gc.disable()
        try:
            connected, waiting = make(*configs), make(configs[0], config)
            shake(connected)
            shake(waiting)
            left = [weakref.ref(one) for one in (*connected, *waiting)]
            for one in (*connected, *waiting):
                one.bio_shutdown()
            del connected, waiting, one
            assert [reference() for reference in left] == [None] * 4
        finally:
            gc.enable()


class TestWhatIsKnown:
    def test_before_the_handshake(self, before: Ends) -> None:
        """As pyOpenSSL has it."""
        client, server = before
        for one in before:
            assert one.get_cipher_name() is one.get_cipher_bits() is one.get_cipher_version() is None
            assert one.get_peer_certificate() is one.get_peer_cert_chain() is one.get_verified_chain() is None
            assert one.get_certificate() is one.get_session() is one.get_finished() is one.get_group_name() is None
            assert (one.get_protocol_version_name(), one.get_protocol_version()) == ("TLSv1.3", 0x304)
            assert (one.get_alpn_proto_negotiated(), one.get_shutdown(), one.pending()) == (b"", 0, 0)
        assert (client.get_servername(), server.get_servername()) == (b"localhost", None)
        assert (client.get_state_string(), server.get_state_string()) == (b"start", b"start")

    def test_afterwards(self, ends: Ends, server_identity: Identity) -> None:
        client, server = ends
        assert client.get_cipher_name() == "TLS_AES_128_GCM_SHA256"
        assert (client.get_cipher_bits(), client.get_cipher_version()) == (128, "TLSv1.3")
        assert client.get_state_string() == b"connected"
        leaf = server_identity.certificates[0]
        for call in (client.get_peer_certificate, server.get_certificate, server.get_host_certificate):
            shown = call()
            assert isinstance(shown, X509) and shown.to_cryptography() == leaf
            assert call(as_cryptography=True) == leaf
        assert client.get_peer_cert_chain(as_cryptography=True) == [leaf]
        assert [one.to_cryptography() for one in client.get_peer_cert_chain()] == [leaf]
        assert client.get_verified_chain(as_cryptography=True)[0] == leaf
        assert len(client.get_verified_chain()) == 2
        assert server.get_verified_chain() is client.get_certificate() is None
        exported = [one.export_keying_material(b"EXPORTER-mine", 16, b"context") for one in ends]
        assert exported[0] == exported[1] and len(exported[0]) == 16
        assert client.export_keying_material(b"EXPORTER-mine", 16) != exported[0]

    def test_what_others_do_with_it(self, ends: Ends) -> None:
        """The package with which applications check names."""
        verify_hostname(ends[0], "localhost")  # type: ignore[arg-type]
        verify_ip_address(ends[0], "127.0.0.1")  # type: ignore[arg-type]
        with pytest.raises(VerificationError):
            verify_hostname(ends[0], "elsewhere.example")  # type: ignore[arg-type]

    def test_nothing_to_export_yet(self, before: Ends) -> None:
        with pytest.raises(ConnectionFailed, match="nothing to export yet"):
            before[0].export_keying_material(b"EXPORTER-mine", 16)

    @pytest.mark.parametrize(("provider", "length"), [("native", 32), ("openssl", 32), ("stdlib", None)])
    def test_finished(self, configs: tuple[ClientConfig, ServerConfig], provider: str, length: int | None) -> None:
        """For channel bindings of the old kind."""
        client_config = attrs.evolve(configs[0], groups=ClientConfig().groups)
        client, server = ends = make(client_config, configs[1], provider)
        assert client.get_finished() is server.get_peer_finished() is None
        shake(ends)
        assert client.get_finished() == server.get_peer_finished()
        assert server.get_finished() == client.get_peer_finished()
        for content in (client.get_finished(), server.get_finished()):
            assert content is None if length is None else content is not None and len(content) == length
        assert length is None or client.get_finished() != server.get_finished()

    def test_the_name_of_an_address(self, client_config: ClientConfig) -> None:
        engine: IEngine = get_provider("native").client_engine(client_config, "127.0.0.1")
        assert Connection(engine).get_servername() is None

    def test_tls12_in_the_words_of_openssl(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        versions: dict[str, Any] = {"min_version": "TLSv1.2", "max_version": "TLSv1.2"}
        ends = make(attrs.evolve(client_config, **versions), attrs.evolve(server_config, **versions), "openssl")
        shake(ends)
        assert ends[0].get_cipher_name() == "ECDHE-ECDSA-AES128-GCM-SHA256"
        assert ends[0].cipher == "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"
        assert (ends[0].get_protocol_version(), ends[0].get_protocol_version_name()) == (0x303, "TLSv1.2")

    def test_the_engine_shows_through(self, ends: Ends) -> None:
        client, _ = ends
        assert client.group == client.engine.group == "x25519"
        assert client.peer_certificates and client.handshake_complete
        assert len(client.channel_binding("tls-exporter")) == 32
        with pytest.raises(AttributeError, match="ClientConfig or ServerConfig"):
            client.set_verify(0, None)
        with pytest.raises(AttributeError, match="no attribute"):
            client.nonsense  # noqa: B018
        with pytest.raises(AttributeError, match="no attribute"):
            client._reader  # noqa: B018

    def test_what_tls_13_does_not_have(self, ends: Ends) -> None:
        client, _ = ends
        assert client.renegotiate() is client.renegotiate_pending() is False
        assert client.total_renegotiations() == 0
        assert client.get_selected_srtp_profile() == b""

    def test_a_bare_one_has_no_context(self, ends: Ends) -> None:
        with pytest.raises(AttributeError, match="made without"):
            ends[0].get_context()
