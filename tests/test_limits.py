"""Every bound on what a stranger can make us do: that it is there, where it is, and that it lies above decent use.

The attacks and the states in which they leave a connection are those of ``benchmarks/adversarial.py``, which prints
what they cost. Here only the shape of that counts: nothing may grow with the square of what a peer sends.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable

import pytest
from certificate_maker import CA, make, san
from conversation import Side
from cryptography.hazmat.primitives.asymmetric import rsa
from scripted import ScriptedClient, ScriptedServer
from sealing import COMPATIBILITY_MARK, plain
from test_properties import connected

from benchmarks import adversarial
from benchmarks.adversarial import ATTACKS, STATES, Attack, cost_per_byte, in_records, memory_of, unfinished
from tlsprovider import driver, reassembly, record, remember
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import certificates, tickets
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import AlertReceived, CertificateFault, ClosedByPeer, Fault, PeerFault
from tlsprovider.handshake import after, chain, psk, server_psk
from tlsprovider.iana import AlertDescription, HandshakeType
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.questions import LATER
from tlsprovider.record import ALERT, APPLICATION_DATA, HANDSHAKE
from tlsprovider.trust import TrustStore

NATIVE = get_provider("native")
KIB = 1024

LIMITS = [
    (reassembly, "MAX_HANDSHAKE_MESSAGE", 64 * KIB),
    (reassembly, "MAX_CLIENT_HELLO", 24 * KIB),
    (reassembly, "MAX_CERTIFICATE_MESSAGE", 100 * KIB),
    (record, "MAX_EMPTY_RECORDS", 16),
    (record, "MAX_CHANGE_CIPHER_SPECS", 2),
    (record, "MIN_SKIPPED", 64),
    (after, "MAX_MESSAGES_WITHOUT_DATA", 32),
    (chain, "MAX_CHAIN", 10),
    (server_psk, "MAX_SKIPPED_EARLY_DATA", 16 * KIB),
    (psk, "MAX_TRIED", 8),
    (tickets, "MAX_REMEMBERED", 100_000),
    (driver, "MAX_WAITING", 64 * KIB),
    (driver, "MAX_UNREAD", 256 * KIB),
    (certificates, "MIN_RSA_BITS", 2048),
    (certificates, "MAX_RSA_BITS", 16384),
    (certificates, "MAX_RSA_EXPONENT_BITS", 33),
    (remember, "MAX_REMEMBERED", 64),
    (certificates, "MAX_REMEMBERED_SIZE", 8 * KIB),
]


@pytest.mark.parametrize(("module", "name", "value"), LIMITS, ids=[limit[1] for limit in LIMITS])
def test_every_limit_is_a_constant_with_its_reason(module: object, name: str, value: int) -> None:
    assert getattr(module, name) == value
    lines = inspect.getsource(module).splitlines()  # type: ignore[arg-type]
    place = next(number for number, line in enumerate(lines) if line.startswith(name))
    # The comment stands above it, perhaps above a few that belong together.
    while not lines[place].startswith("#"):
        assert lines[place], f"{name} says nowhere why it is {value}"
        place -= 1


@pytest.fixture
def against_client(server_identity: Identity, trust: TrustStore) -> ScriptedServer:
    config = ClientConfig(trust=trust, groups=["x25519"])
    return ScriptedServer(NATIVE.client_engine(config, "localhost"), server_identity)


@pytest.fixture
def against_server(server_config: ServerConfig) -> ScriptedClient:
    return ScriptedClient(NATIVE.server_engine(server_config))


def fault_of(engine: object) -> Fault | None:
    failure = engine.failure  # type: ignore[attr-defined]
    assert failure is None or isinstance(failure, PeerFault), failure
    return failure.fault if failure is not None else None


def first_message(is_server: bool, kind: int, size: int) -> NativeEngine:
    """An engine that has read a message of ``size`` bytes, all but its last byte."""
    victim = (adversarial.new_server() if is_server else adversarial.new_client())[0]
    Attack(victim, [in_records(unfinished(kind, size))]).run()
    return victim


class TestHandshakeMessages:
    @pytest.mark.parametrize(
        ("is_server", "kind", "limit"),
        [
            (True, HandshakeType.client_hello, 24 * KIB),
            (False, HandshakeType.server_hello, 64 * KIB),
            (False, HandshakeType.certificate, 100 * KIB),
            (True, HandshakeType.certificate, 100 * KIB),
            (False, HandshakeType.certificate_request, 64 * KIB),
            (False, 254, 64 * KIB),
        ],
    )
    def test_the_largest_and_one_more(self, is_server: bool, kind: int, limit: int) -> None:
        assert fault_of(first_message(is_server, kind, limit)) is None
        assert fault_of(first_message(is_server, kind, limit + 1)) is Fault.MESSAGE_TOO_LARGE

    def test_the_header_is_enough(self) -> None:
        """It is refused before it arrives."""
        victim = adversarial.new_client()[0]
        Attack(victim, [plain(HANDSHAKE, b"\x02\xff\xff\xff")]).run()
        assert fault_of(victim) is Fault.MESSAGE_TOO_LARGE

    def test_after_the_handshake(self, against_client: ScriptedServer) -> None:
        against_client.connect()
        against_client.send_records(HANDSHAKE, b"\x04" + (64 * KIB + 1).to_bytes(3, "big"))
        assert fault_of(against_client.engine) is Fault.MESSAGE_TOO_LARGE

    @pytest.mark.parametrize(
        ("count", "fault"), [(10, Fault.CERTIFICATE_UNPARSABLE), (11, Fault.CERTIFICATE_CHAIN_LONG)]
    )
    def test_certificates_in_a_chain(self, against_client: ScriptedServer, count: int, fault: Fault) -> None:
        """Too many are counted before the first of them is parsed."""
        against_client.start()
        against_client.parameters()
        against_client.certificate([b"garbage"] * count)
        assert fault_of(against_client.engine) is fault

    def test_a_chain_of_post_quantum_certificates_fits(self) -> None:
        """The longest that is accepted, of the largest keys that are known here, with room for what is stapled."""
        largest = Authority("large", key_type="mldsa87").issue("localhost", key_type="mldsa87").certificate
        assert 10 * len(certificates.certificate_der(largest)) + 10 * KIB < 100 * KIB


class TestUselessRecords:
    @pytest.mark.parametrize("is_server", [False, True])
    def test_empty_ones_in_a_row(
        self, is_server: bool, against_client: ScriptedServer, against_server: ScriptedClient
    ) -> None:
        script = against_server if is_server else against_client
        script.connect()
        for count in (16, 16):
            script.raw(b"".join(script.protected(bytes([APPLICATION_DATA])) for _ in range(count)))
            assert script.engine.failure is None
            script.send_records(APPLICATION_DATA, b"something")
        script.raw(b"".join(script.protected(bytes([APPLICATION_DATA])) for _ in range(17)))
        assert fault_of(script.engine) is Fault.TOO_MANY_EMPTY_RECORDS
        assert script.engine.read() == b"something" * 2

    def test_during_the_handshake(self, against_client: ScriptedServer) -> None:
        against_client.start()
        against_client.raw(b"".join(against_client.protected(bytes([APPLICATION_DATA])) for _ in range(17)))
        assert fault_of(against_client.engine) is Fault.TOO_MANY_EMPTY_RECORDS

    @pytest.mark.parametrize("is_server", [False, True])
    def test_compatibility_marks(self, is_server: bool) -> None:
        """From the first ClientHello on (section 5)."""
        victim = adversarial.half_open() if is_server else adversarial.new_client()[0]
        Attack(victim, [COMPATIBILITY_MARK * 2]).run()
        assert victim.failure is None
        Attack(victim, [COMPATIBILITY_MARK]).run()
        assert fault_of(victim) is Fault.CHANGE_CIPHER_SPEC

    @pytest.mark.parametrize(("length", "most"), [(0, 256), (17, 256), (64, 256), (128, 128), (16 * KIB, 1)])
    def test_rejected_early_data(self, length: int, most: int) -> None:
        """16 KiB of it are passed over; a small record counts for more than its length, or it could come for ever."""
        victim = adversarial.new_server()[0]
        piece = b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)
        Attack(victim, [adversarial.early_hello(), piece * most]).run()
        assert victim.failure is None
        Attack(victim, [piece]).run()
        assert fault_of(victim) is Fault.TOO_MUCH_EARLY_DATA


CLOSURE = (AlertDescription.close_notify, AlertDescription.user_canceled)


class TestAlerts:
    """Section 6: the level says nothing, and of all alerts only two do not end the connection as an error."""

    @pytest.mark.parametrize("alert", [one for one in AlertDescription if one not in CLOSURE] + [AlertDescription(200)])
    def test_a_warning_is_an_error(self, against_client: ScriptedServer, alert: AlertDescription) -> None:
        against_client.send_records(ALERT, bytes((1, alert)))
        assert isinstance(against_client.engine.failure, AlertReceived)
        assert against_client.engine.failure.alert == alert

    @pytest.mark.parametrize("alert", [AlertDescription.unrecognized_name, AlertDescription(200)])
    def test_also_after_the_handshake(self, against_client: ScriptedServer, alert: AlertDescription) -> None:
        against_client.connect()
        against_client.send_records(ALERT, bytes((1, alert)))
        assert isinstance(against_client.engine.failure, AlertReceived)

    @pytest.mark.parametrize("level", [1, 2])
    def test_the_two_closure_alerts(self, against_client: ScriptedServer, level: int) -> None:
        against_client.send_records(ALERT, bytes((level, AlertDescription.user_canceled)))
        assert against_client.engine.failure is None
        against_client.send_records(ALERT, bytes((level, AlertDescription.close_notify)))
        assert isinstance(against_client.engine.failure, ClosedByPeer)

    def test_a_handshake_is_canceled_once(self, against_client: ScriptedServer) -> None:
        for _ in range(2):
            against_client.send_records(ALERT, bytes((1, AlertDescription.user_canceled)))
        assert isinstance(against_client.engine.failure, AlertReceived)


TICKET = b"\x04\x00\x00\x0f" + bytes(8) + b"\x00" + b"\x00\x02ab" + b"\x00\x00"


class TestMessagesAfterTheHandshake:
    @pytest.mark.parametrize(
        ("kind", "content"), [(HANDSHAKE, TICKET), (ALERT, b"\x01\x5a")], ids=["tickets", "user_canceled"]
    )
    def test_so_many_without_data(self, against_client: ScriptedServer, kind: int, content: bytes) -> None:
        script = against_client
        script.connect()
        for _ in range(2):
            for _ in range(32):
                script.send_records(kind, content)
            assert script.engine.failure is None
            script.send_records(APPLICATION_DATA, b"x")
        for _ in range(33):
            assert script.engine.failure is None
            script.send_records(kind, content)
        assert fault_of(script.engine) is Fault.TOO_MANY_MESSAGES

    def test_of_any_kind(self, against_client: ScriptedServer) -> None:
        """One count for all of them; and a record without content is no data."""
        script = against_client
        script.connect()
        for _ in range(16):
            script.send_records(HANDSHAKE, TICKET)
            script.send_records(ALERT, b"\x01\x5a")
            script.raw(script.protected(bytes([APPLICATION_DATA])))
        assert script.engine.failure is None
        script.send_records(HANDSHAKE, TICKET)
        assert fault_of(script.engine) is Fault.TOO_MANY_MESSAGES

    def test_key_updates(self) -> None:
        """Each of ours costs the peer a derivation; after 32 in a row it has enough."""
        one, other = connected("plain")
        for number in range(33):
            assert other.engine.failure is None, number
            one.engine.key_update()
            other.incoming(one.outgoing())
        assert fault_of(other.engine) is Fault.TOO_MANY_MESSAGES

    def test_one_request_is_open(self) -> None:
        """A second one waits for the answer to the first; each answer, and nothing else, allows another."""
        one, other = connected("plain")
        for _ in range(3):
            one.events.clear()
            for _ in range(4):
                one.engine.key_update(request_peer=True)
            assert requests_in(one) == [1, 0, 0, 0]
            other.incoming(one.outgoing())
            other.engine.write(b"x")
            one.incoming(other.outgoing())
            one.engine.write(b"x")

    def test_one_answer_is_owed(self) -> None:
        """However many requests come while we are silent, nothing is sent for them, and then one answer."""
        one, other = connected("plain")
        other.events.clear()
        for _ in range(20):
            one.engine.key_update(request_peer=True)
            one.engine._connected._update_requested = False  # type: ignore[union-attr]
            other.incoming(one.outgoing())
        assert other.outgoing() == b""
        other.engine.write(b"x")
        other.engine.write(b"y")
        assert requests_in(other) == [0]


def requests_in(side: Side) -> list[int]:
    """The last byte of each KeyUpdate that was sent."""
    return [event.data[-1] for event in side.events if (event.kind, event.name) == ("message_sent", "key_update")]


class TestKeyChange:
    """Section 5.1: no message runs across one. Every place where keys change is here."""

    def test_behind_server_hello(self, against_client: ScriptedServer) -> None:
        against_client.transcript.start("sha256")
        against_client.send(against_client.server_hello() + b"\x08", note=False)
        assert fault_of(against_client.engine) is Fault.KEY_CHANGE_SPLIT

    def test_behind_client_hello(self, against_server: ScriptedClient) -> None:
        against_server.send(against_server.client_hello() + b"\x14")
        assert fault_of(against_server.engine) is Fault.KEY_CHANGE_SPLIT

    def test_behind_the_servers_finished(self, against_client: ScriptedServer) -> None:
        script = against_client
        script.start()
        script.parameters()
        script.certificate()
        script.verify()
        script.send(script.finished() + b"\x04", note=False)
        assert fault_of(script.engine) is Fault.KEY_CHANGE_SPLIT

    def test_behind_the_clients_finished(self, against_server: ScriptedClient) -> None:
        against_server.start()
        against_server.read_flight()
        against_server.send(against_server.finished() + b"\x18", note=False)
        assert fault_of(against_server.engine) is Fault.KEY_CHANGE_SPLIT

    def test_behind_key_update(self, against_client: ScriptedServer) -> None:
        against_client.connect()
        against_client.send_records(HANDSHAKE, b"\x18\x00\x00\x01\x00" + TICKET[:1])
        assert fault_of(against_client.engine) is Fault.KEY_CHANGE_SPLIT


class TestBackPressure:
    """An engine takes what it is given; ``wants_input`` is how it asks for no more."""

    def test_ciphertext_while_a_question_is_open(self, server_identity: Identity) -> None:
        config = ServerConfig(identities=[server_identity], on_client_hello=lambda question: LATER)
        script = ScriptedClient(NATIVE.server_engine(config))
        script.send(script.client_hello())
        engine = script.engine
        assert engine.question is not None
        sent = 0
        while engine.wants_input:
            engine.process_incoming(bytes(KIB))
            sent += KIB
        assert sent == 64 * KIB

    def test_plaintext_that_nobody_reads(self) -> None:
        one, other = connected("plain")
        sent = 0
        while other.engine.wants_input:
            one.engine.write(bytes(16 * KIB))
            other.incoming(one.outgoing())
            sent += 16 * KIB
        assert sent == 256 * KIB
        other.engine.read(1)
        assert other.engine.wants_input

    def test_what_follows_the_end(self) -> None:
        one, other = connected("plain")
        one.engine.shutdown()
        other.incoming(one.outgoing())
        assert not other.engine.wants_input

    def test_what_follows_a_failure_is_not_kept(self) -> None:
        _, other = connected("plain")
        other.incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert not other.engine.wants_input
        before = other.engine._reader.buffered
        other.incoming(bytes(100 * KIB))
        assert other.engine._reader.buffered == before


# Bytes: what a connection may hold, and what it may need on the way there.
MEMORY: dict[str, tuple[int, int]] = {
    "waiting_for_hello": (40 * KIB, 160 * KIB),
    "half_open": (16 * KIB, 32 * KIB),
    "waiting_for_message": (120 * KIB, 400 * KIB),
    "idle": (8 * KIB, 32 * KIB),
    "unread_data": (320 * KIB, 400 * KIB),
    "failed": (8 * KIB, 200 * KIB),
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_memory_of_one_connection(state: Callable[[], NativeEngine]) -> None:
    """Counted, not timed: the most that an attacker makes one connection hold, and the budget for it."""
    held, peak = memory_of(state)
    most_held, highest = MEMORY[state.__name__]
    assert held <= most_held
    assert peak <= highest


def rsa_certificate(bits: int, exponent_bits: int = 17) -> bytes:
    """Signed by somebody else, so that nobody needs the private key of a number made up here."""
    numbers = random.Random(bits)
    modulus = numbers.getrandbits(bits) | 1 | 1 << (bits - 1)
    exponent = 1 << (exponent_bits - 1) | 1
    issuer = make("issuer", [CA])
    public_key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return certificates.certificate_der(make("x", issuer=issuer, public_key=public_key).certificate)


class TestCertificates:
    @pytest.mark.parametrize("bits", [2048, 3072, 16384])
    def test_rsa_keys_that_are_taken(self, bits: int) -> None:
        certificates.parse_certificate(rsa_certificate(bits))

    @pytest.mark.parametrize("bits", [1024, 2047, 16385])
    def test_rsa_keys_that_are_not(self, bits: int) -> None:
        with pytest.raises(PeerFault, match=f"RSA key of {bits} bits") as raised:
            certificates.parse_certificate(rsa_certificate(bits))
        assert raised.value.fault is Fault.CERTIFICATE_KEY

    def test_rsa_exponents(self) -> None:
        """A long exponent makes a verification a hundred times as long, and serves nobody."""
        certificates.parse_certificate(rsa_certificate(2048, 33))
        for bits in (34, 64, 2000):
            with pytest.raises(PeerFault, match="exponent") as raised:
                certificates.parse_certificate(rsa_certificate(2048, bits))
            assert raised.value.fault is Fault.CERTIFICATE_KEY

    def test_only_small_ones_are_remembered(self) -> None:
        """A certificate of 90 KB with 10,000 names takes almost two megabytes once it is parsed."""
        names = [f"h{number}.example" for number in range(2000)]
        made = [make("x", [san(*names[:count])]).certificate for count in (10, 2000)]
        small, large = map(certificates.certificate_der, made)
        assert certificates.parse_certificate(small) is certificates.parse_certificate(small)
        assert certificates.parse_certificate(large) is not certificates.parse_certificate(large)


class TestVerification:
    """What could grow faster than the chain ends at budgets of ``cryptography``; here is who notices if they go."""

    def test_the_chains_are_right_but_for_trust(self) -> None:
        """Or they would be refused before they cost anything."""
        maze, constrained = adversarial.maze(2), adversarial.constrained_names(2)
        verified = TrustStore.from_crypto(maze[-1:]).verify_server(maze, adversarial.NAME, adversarial.NOW)
        assert verified[0] == maze[0]
        with pytest.raises(CertificateFault, match="constraint"):
            TrustStore.from_crypto(constrained[-1:]).verify_server(constrained, adversarial.NAME, adversarial.NOW)

    def test_no_maze_of_issuers(self) -> None:
        """There are a hundred thousand ways through it. Measured: 15 times the time of the only way out of one."""
        _, direct = adversarial.verification_cost(adversarial.maze(1))
        _, lost = adversarial.verification_cost(adversarial.maze(9))
        assert lost < 1000 * direct

    def test_names_and_constraints(self) -> None:
        """Twice as many of both would be four times the comparisons."""
        small, large = float("inf"), float("inf")
        for _ in range(5):
            small = min(small, adversarial.verification_cost(adversarial.constrained_names(1500), 1)[1])
            large = min(large, adversarial.verification_cost(adversarial.constrained_names(3000), 1)[1])
            if large < 3 * small:
                return
        raise AssertionError(f"{small:.1f} ms, then {large:.1f} ms")


# What an attack comes to: the fault that ends it, or the state in which the victim is left.
OUTCOMES: dict[str, Fault | str] = {
    "dripped_hello": Fault.NO_COMMON_GROUP,
    "message_in_tiny_records": "read_server_hello",
    "many_extensions": Fault.NO_COMMON_GROUP,
    "many_suites": Fault.NO_COMMON_GROUP,
    "many_key_shares": Fault.NO_COMMON_GROUP,
    "many_names": "connected",
    "skipped_early_data": "read_finished",
    "dripped_data": "connected",
    "tiny_records": "connected",
    "data_and_alerts": "connected",
    "data_and_key_updates": "connected",
    "ticket_in_tiny_records": "connected",
}

attacks = pytest.mark.parametrize(("attack", "size"), ATTACKS.items(), ids=[attack.__name__ for attack in ATTACKS])


@attacks
class TestNothingIsQuadratic:
    def test_the_attack_gets_through(self, attack: Callable[[int], Attack], size: int) -> None:
        """At both sizes: an attack that a limit stops early would measure nothing."""
        for each in (size, 4 * size):
            one = attack(each)
            one.run()
            expected = OUTCOMES[attack.__name__]
            if isinstance(expected, Fault):
                assert fault_of(one.victim) is expected
            else:
                assert one.victim.failure is None
                assert one.victim.state == expected

    def test_cost_of_a_byte(self, attack: Callable[[int], Attack], size: int) -> None:
        """Four times as much may not cost each byte three times as much; a square would make it four times.

        Noise makes a measurement larger, never smaller: the best of a few counts, and the first good pair is enough.
        """
        small, large = float("inf"), float("inf")
        for _ in range(6):
            small = min(small, cost_per_byte(attack, size, rounds=1)[1])
            large = min(large, cost_per_byte(attack, 4 * size, rounds=1)[1])
            if large < 3 * small:
                return
        raise AssertionError(f"{small:.2f} us for a byte of {size}, {large:.2f} us for a byte of {4 * size}")


def test_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """``python -m benchmarks.adversarial``, with one line of each table."""
    monkeypatch.setattr(adversarial, "ATTACKS", {adversarial.many_suites: 10})
    monkeypatch.setattr(adversarial, "CHAINS", {adversarial.maze: (1, 2)})
    monkeypatch.setattr(adversarial, "STATES", [adversarial.half_open])
    adversarial.main()
    printed = capsys.readouterr().out
    for line in ("many suites", "maze", "half open"):
        assert line in printed
