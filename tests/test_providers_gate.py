"""The gate in front of a TLS library: what is held back, what leaves, and which alert goes out when it says no."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import pytest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import certificate_der
from tlsprovider.errors import (
    CertificateFault,
    Fault,
    PeerFault,
    WantRead,
)
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.identity import Identity
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.gate import ClientGate, ServerGate, next_record
from tlsprovider.providers.library import LibraryError, LibrarySilent, peer_fault
from tlsprovider.questions import LATER

LIBRARIES = ("openssl", "stdlib")
HANDSHAKE_RECORD = b"\x16\x03\x03\x00\x05hello"
CLOSED = b"\x15\x03\x03\x00\x02\x01\x00"


class Script:
    """A library that does what it is told: each call of ``handshake`` takes the next step."""

    session_reused = False
    group = alpn = None

    def __init__(self, *steps: object, chain: Sequence[bytes] = (), verifies: bool = False) -> None:
        self.steps = list(steps)
        self.chain = chain
        self.verifies = verifies
        self.version, self.cipher = "TLSv1.3", "TLS_AES_128_GCM_SHA256"
        self.fed: list[bytes] = []
        self.plaintext: list[object] = []
        self.out = b""
        self.released = False

    def feed(self, record: bytes | memoryview) -> None:
        self.fed.append(bytes(record))

    def handshake(self) -> bool:
        step = self.steps.pop(0) if self.steps else False
        if isinstance(step, tuple):
            self.out, step = step
        if isinstance(step, Exception):
            raise step
        return bool(step)

    def outgoing(self) -> bytes:
        data, self.out = self.out, b""
        return data

    def read(self) -> bytes:
        found = self.plaintext.pop(0) if self.plaintext else LibrarySilent()
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, bytes)
        return found

    def write(self, data: memoryview) -> None:
        self.out += bytes(data)

    def close(self) -> None:
        self.out += CLOSED

    def peer_certificates(self) -> Sequence[bytes]:
        return self.chain

    def verified_chain(self) -> Sequence[bytes]:
        return self.chain if self.verifies else ()

    def stapled(self) -> tuple[None, tuple[()]]:
        return None, ()

    def alert_secret(self) -> None:
        return None

    def release_secrets(self) -> None:
        self.released = True

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        return bytes(length)


def client_around(script: Script, config: ClientConfig) -> LibraryEngine:
    return LibraryEngine(ClientGate(config, lambda *_: script, "localhost"), "scripted", lambda feature: True)


def server_around(script: Script, config: ServerConfig) -> LibraryEngine:
    return LibraryEngine(ServerGate(config, lambda *_: script, None), "scripted", lambda feature: True)


@pytest.fixture(scope="session")
def shown(server_identity: Identity) -> list[bytes]:
    return [certificate_der(one) for one in server_identity.certificates]


class TestClientGate:
    def test_the_last_flight_waits_for_the_judgement(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script((b"hello", False), (b"finished", True))
        engine = client_around(script, attrs.evolve(client_config, verify_peer=lambda question: LATER))
        with pytest.raises(WantRead):
            engine.do_handshake()
        script.chain = shown
        assert engine.process_outgoing() == b"hello"
        with pytest.raises(Exception, match="VerifyPeer") as waiting:
            engine.do_handshake()
        assert engine.process_outgoing() == b""
        waiting.value.question.answer(True)  # type: ignore[attr-defined]
        engine.do_handshake()
        assert engine.process_outgoing() == b"finished"
        assert script.released

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_a_refused_peer_gets_an_alert_in_place_of_the_flight(
        self, client_config: ClientConfig, shown: list[bytes], version: str
    ) -> None:
        """In TLS 1.2 the flight comes before the end, with the certificate known."""
        script = Script((b"hello", False), (b"finished", version == "TLSv1.3"))
        engine = client_around(script, attrs.evolve(client_config, verify_peer=lambda question: False))
        with pytest.raises(WantRead):
            engine.do_handshake()
        script.chain = shown
        engine.process_outgoing()
        with pytest.raises(CertificateFault):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Fault.CERTIFICATE_REFUSED.alert,))

    def test_a_refusal_of_the_library_drops_what_it_made(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        """As when it verifies behind its own handshake."""
        refusal = CertificateFault("not in the mood", Fault.CERTIFICATE_EXPIRED)
        engine = client_around(Script((b"finished", refusal), chain=shown, verifies=True), client_config)
        with pytest.raises(CertificateFault, match="not in the mood"):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Alert.certificate_expired,))

    def test_no_certificate_at_all(self, client_config: ClientConfig) -> None:
        """Even where none is verified: TLS knows no server without."""
        config = attrs.evolve(client_config, insecure_skip_verify=True)
        engine = client_around(Script((b"finished", True)), config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is Fault.EMPTY_CERTIFICATE
        assert engine.process_outgoing()[-1:] == bytes((Alert.decode_error,))

    def test_a_long_chain(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        engine = client_around(Script(True, chain=shown * 11), client_config)
        with pytest.raises(PeerFault, match="11 certificates, at most 10"):
            engine.do_handshake()

    def test_a_certificate_that_is_none(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(True, chain=[b"nonsense"]), client_config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is Fault.CERTIFICATE_UNPARSABLE

    @pytest.mark.parametrize(
        ("agreed", "fault"),
        [
            ({"version": "TLSv1.2"}, Fault.NO_COMMON_VERSION),
            ({"cipher": "TLS_AES_256_GCM_SHA384"}, Fault.SUITE_NOT_OFFERED),
            ({"alpn": "spdy/1"}, Fault.ALPN_NOT_OFFERED),
        ],
    )
    def test_what_the_library_agreed_to_is_checked(
        self, client_config: ClientConfig, shown: list[bytes], agreed: dict[str, str], fault: Fault
    ) -> None:
        script = Script((b"finished", True), chain=shown)
        for name, value in agreed.items():
            setattr(script, name, value)
        config = attrs.evolve(client_config, cipher_suites=["TLS_AES_128_GCM_SHA256"], alpn=["h2"])
        engine = client_around(script, config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is fault
        assert b"finished" not in engine.process_outgoing()

    @pytest.mark.parametrize("asked", [False, True])
    def test_whether_our_certificate_was_shown(
        self, client_config: ClientConfig, client_identity: Identity, shown: list[bytes], asked: bool
    ) -> None:
        flight = b"".join(client_identity.chain_der) + bytes(200) if asked else bytes(150)
        config = attrs.evolve(client_config, identity=client_identity)
        engine = client_around(Script((flight, True), chain=shown), config)
        engine.do_handshake()
        assert engine.local_certificates == (client_identity.certificates if asked else ())

    def test_the_librarys_own_alert_goes_out_alone(self, client_config: ClientConfig) -> None:
        fault = peer_fault(Alert.illegal_parameter, "odd")
        engine = client_around(Script((b"its alert", fault)), client_config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.alert is Alert.illegal_parameter
        assert engine.process_outgoing() == b"its alert"

    def test_a_library_that_fails_by_itself(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(LibraryError("out of luck")), client_config)
        with pytest.raises(LibraryError, match="out of luck"):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Alert.internal_error,))

    def test_a_mistake_of_the_binding(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(ZeroDivisionError("oops")), client_config)
        with pytest.raises(LibraryError, match="an internal error: ZeroDivisionError: oops") as caught:
            engine.do_handshake()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert engine.state == "failed"


class TestRecords:
    def test_one_at_a_time(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script(False, False, False, True, chain=shown)
        engine = client_around(script, client_config)
        engine.process_incoming(HANDSHAKE_RECORD * 4 + b"\x17\x03")
        engine.do_handshake()
        # Three for the handshake, the fourth behind it, and the beginning of a fifth is kept.
        assert script.fed == [HANDSHAKE_RECORD] * 4
        script.plaintext = [b"data"]
        engine.process_incoming(b"\x03\x00\x01x")
        assert script.fed[4:] == [b"\x17\x03\x03\x00\x01x"]
        assert engine.read() == b"data"

    @pytest.mark.parametrize(
        ("data", "end"),
        [
            (b"", 0),
            (b"\x16", 0),
            (b"\x16\x03\x03\x00", 0),
            (b"\x16\x03\x03\x00\x00", 5),
            (b"\x17\x03\x03\x00\x02a", 0),
            (b"\x17\x03\x03\x00\x02ab", 7),
            (b"\x17\x03\x03\x00\x02abc", 7),
            (b"G", 1),
            (b"GET", 3),
            (b"GET / HTTP/1.1", 5),
            (b"\x17\x02\x03\x00\x02ab", 5),
            (b"\x17\x03\x03\x48\x00", 0),
            (b"\x17\x03\x03\x48\x01", 5),
        ],
    )
    def test_where_a_record_ends(self, data: bytes, end: int) -> None:
        assert next_record(bytearray(b"before" + data), 6) == (end + 6 if end else 0)

    @pytest.mark.parametrize(
        ("header", "fault"),
        [
            (b"\x63\x03\x03\x00\x00", Fault.PLAINTEXT_RECORD_TYPE),
            (b"\x17\x02\x03\x00\x00", Fault.RECORD_VERSION),
            (b"\x17\x03\x03\xff\xff", Fault.RECORD_OVERFLOW),
        ],
    )
    @pytest.mark.parametrize("complete", [False, True])
    def test_a_library_that_lets_the_impossible_pass(
        self, client_config: ClientConfig, shown: list[bytes], header: bytes, fault: Fault, complete: bool
    ) -> None:
        engine = client_around(Script(complete, chain=shown), client_config)
        if complete:
            engine.do_handshake()
        engine.process_incoming(header)
        with pytest.raises(PeerFault) as caught:
            engine.read() if complete else engine.do_handshake()
        assert caught.value.fault is fault

    def test_what_follows_close_notify_never_enters_the_library(
        self, client_config: ClientConfig, shown: list[bytes]
    ) -> None:
        script = Script(True, chain=shown)
        engine = client_around(script, client_config)
        engine.do_handshake()
        script.plaintext = [b"data", b""]
        engine.process_incoming(HANDSHAKE_RECORD * 3)
        engine.process_incoming(b"plain")
        assert len(script.fed) == 2
        assert (engine.read(), engine.read(), engine.read()) == (b"data", b"", b"")
        assert engine.trailing_bytes() == HANDSHAKE_RECORD + b"plain"

    def test_what_came_before_a_failure_is_read_first(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script(True, chain=shown)
        engine = client_around(script, client_config)
        engine.do_handshake()
        script.plaintext = [b"data", peer_fault(Alert.bad_record_mac, "forged")]
        script.out = b"its alert"
        engine.process_incoming(HANDSHAKE_RECORD * 3)
        assert engine.read() == b"data"
        with pytest.raises(PeerFault, match="forged"):
            engine.read()
        assert engine.process_outgoing() == b"its alert"
        with pytest.raises(PeerFault, match="forged"):
            engine.write(b"x")


class TestPeerFault:
    def test_by_alert(self) -> None:
        assert peer_fault(Alert.no_application_protocol, "x").fault is Fault.NO_COMMON_ALPN
        assert peer_fault(Alert.illegal_parameter, "x").fault is Fault.DECODE_ERROR
        assert peer_fault(None, "x").alert is Fault.DECODE_ERROR.alert

    def test_the_alert_is_what_was_sent(self) -> None:
        problem = peer_fault(Alert.handshake_failure, "x", Fault.CERTIFICATE_REQUIRED)
        assert (problem.fault, problem.alert) == (Fault.CERTIFICATE_REQUIRED, Alert.handshake_failure)
        assert problem.afresh().alert is Alert.handshake_failure
