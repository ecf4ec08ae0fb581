"""What stays in memory: no secret longer than it is needed, none in any text, and nothing that grows with a square.

Python can't wipe memory, but it can let go: an object that nobody refers to is freed at once, without waiting for the
garbage collector. So these tests never collect; what is alive then is held by somebody.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import attrs
import pytest
from conversation import Side, Wire, converse, sides
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from test_properties import Spoiling, connected

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import groups
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret, MainSecret, TrafficSecret
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import Fault, PeerFault, TLSError, Want, WantRead
from tlsprovider.handshake.client import ClientHandshake, Offer
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.questions import LATER, Question
from tlsprovider.record import HANDSHAKE, RecordWriter
from tlsprovider.trust import TrustStore
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.messages import ClientHello

NATIVE = get_provider("native")

# What only a running handshake needs.
SECRETS = (HandshakeSecret, MainSecret, Offer, groups._Montgomery, groups._Weierstrass, groups._Hybrid)
OF_A_HANDSHAKE = (*SECRETS, EarlySecret, Transcript, ClientHandshake, ServerHandshake)
KEYS = (TrafficSecret, AESGCM, ChaCha20Poly1305)


@contextmanager
def without_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(kinds: tuple[type, ...]) -> list[object]:
    return [one for one in gc.get_objects() if type(one) in kinds]


def reachable(*roots: object) -> list[object]:
    """Everything that these objects hold, directly or through others; classes, modules and code are not looked into."""
    found: dict[int, object] = {}
    stack = list(roots)
    while stack:
        one = stack.pop()
        if id(one) in found or isinstance(one, LEFT_ALONE):
            continue
        found[id(one)] = one
        stack.extend(gc.get_referents(one))
    return list(found.values())


LEFT_ALONE = (type, ModuleType, FunctionType, BuiltinFunctionType, CodeType, FrameType)


def locals_of(error: BaseException | None) -> list[object]:
    """What the frames of its traceback hold, and those of its causes, as far as they are the library's."""
    found: list[object] = []
    while error is not None:
        traceback = error.__traceback__
        while traceback is not None:
            if "/tests/" not in traceback.tb_frame.f_code.co_filename:
                found.extend(traceback.tb_frame.f_locals.values())
            traceback = traceback.tb_next
        error = error.__cause__ or error.__context__
    return found


class TestAfterTheHandshake:
    @pytest.mark.parametrize("variant", ["plain", "retry", "client certificate"])
    def test_its_secrets_are_gone(self, variant: str) -> None:
        with without_collection():
            before = len(alive(OF_A_HANDSHAKE))
            pair = connected(variant)
            assert len(alive(OF_A_HANDSHAKE)) == before
            assert pair[0].engine.handshake_complete

    def test_with_a_hybrid_too(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        with without_collection():
            before = len(alive(OF_A_HANDSHAKE))
            client, server = NATIVE.client_engine(client_config, "localhost"), NATIVE.server_engine(server_config)
            for _ in range(3):
                for source, target in ((client, server), (server, client)):
                    try:
                        source.do_handshake()
                    except WantRead:
                        pass
                    target.process_incoming(source.process_outgoing())
            assert client.group == "X25519MLKEM768"
            assert len(alive(OF_A_HANDSHAKE)) == before

    def test_one_traffic_secret_for_each_direction(self) -> None:
        """Two ends, two directions each; those of the handshake are gone."""
        with without_collection():
            before = {id(one) for one in alive((TrafficSecret,))}
            pair = connected("plain")
            secrets = {one.secret for one in alive((TrafficSecret,)) if id(one) not in before}  # type: ignore[attr-defined]
            assert len(secrets) == 2
            assert pair[0].engine.handshake_complete

    def test_an_updated_key_takes_the_old_one_with_it(self) -> None:
        """Section 7.2: or whoever finds the memory later could read what was said before."""
        client, server = connected("plain")
        old = {one.secret for one in reachable(client.engine) if isinstance(one, TrafficSecret)}
        assert len(old) == 2
        client.engine.key_update(request_peer=True)
        server.incoming(client.outgoing())
        server.engine.write(b"")  # the answer
        client.incoming(server.outgoing())
        for side in (client, server):
            kept = [one for one in reachable(side.engine) if isinstance(one, bytes) and one in old]
            assert kept == []

    def test_a_let_go_connection_is_gone(self) -> None:
        with without_collection():
            before = len(alive(KEYS[:1]))
            client, server = connected("plain")
            client.engine.write(b"x")
            server.incoming(client.outgoing())
            assert server.engine.read() == b"x"
            del client, server
            assert len(alive(KEYS[:1])) == before


def damage_on_the_wire(direction: str, offset: int) -> tuple[Side, Side]:
    """A handshake with client certificates in which one byte was changed on the way."""

    def spoil(carried: int, data: bytes) -> bytes:
        at = offset - carried
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] if 0 <= at < len(data) else data

    client, server = sides("client certificate")
    spoiled = Wire(spoil=spoil)
    up, down = (spoiled, Wire()) if direction == "up" else (Wire(), spoiled)
    converse(client, server, up, down)
    return client, server


def lie(speaker: str, number: int, offset: int) -> tuple[Side, Side]:
    """The same, but the byte was changed before it was protected: decryption finds nothing wrong."""
    writer = Spoiling(
        HANDSHAKE, number, lambda data: data[:offset] + bytes([data[offset] ^ 1]) + data[offset + 1 or len(data) :]
    )
    writers = (writer, RecordWriter()) if speaker == "client" else (RecordWriter(), writer)
    client, server = sides("client certificate", writers)
    converse(client, server, Wire(), Wire())
    return client, server


# Flights end with CertificateVerify, 72 bytes with an ed25519 key, and Finished, 36 bytes.
FAILURES: dict[str, Callable[[], tuple[Side, Side]]] = {
    "random of the client": lambda: damage_on_the_wire("up", 20),
    "protected flight of the client": lambda: damage_on_the_wire("up", 290),
    "session id of the server": lambda: damage_on_the_wire("down", 60),
    "key share of the server": lambda: damage_on_the_wire("down", 110),
    "protected flight of the server": lambda: damage_on_the_wire("down", 400),
    "encrypted extensions": lambda: lie("server", 1, 5),
    "certificate of the server": lambda: lie("server", 1, 300),
    "signature of the server": lambda: lie("server", 1, -50),
    "finished of the server": lambda: lie("server", 1, -1),
    "certificate of the client": lambda: lie("client", 1, 100),
    "signature of the client": lambda: lie("client", 1, -50),
    "finished of the client": lambda: lie("client", 1, -1),
}


@pytest.mark.parametrize("fail", FAILURES.values(), ids=list(FAILURES))
class TestAfterAFailure:
    """Somebody keeps the exceptions, as loggers do."""

    def test_its_secrets_are_gone(self, fail: Callable[[], tuple[Side, Side]]) -> None:
        with without_collection():
            before = {id(one) for one in alive(SECRETS)}
            pair = fail()
            assert any(isinstance(side.failure, PeerFault) for side in pair)
            going_on = reachable(*(side.engine for side in pair if side.failure is None))
            assert [one for one in alive(SECRETS) if id(one) not in before and one not in going_on] == []

    def test_its_exception_keeps_nothing_of_it(self, fail: Callable[[], tuple[Side, Side]]) -> None:
        for side in fail():
            if side.failure is not None:
                assert side.engine.failure is not None
                assert side.engine.failure.__traceback__ is None
                held = reachable(side.engine, side.engine.failure, *locals_of(side.failure))
                assert [one for one in held if isinstance(one, OF_A_HANDSHAKE)] == []

    def test_keys_are_forgotten(self, fail: Callable[[], tuple[Side, Side]]) -> None:
        """Section 6: both sides MUST forget the secret values and keys of a failed connection."""
        for side in fail():
            if side.failure is not None:
                side.outgoing()
                assert [one for one in reachable(side.engine) if isinstance(one, KEYS)] == []


class TestAfterALaterFailure:
    def broken(self) -> Side:
        _, server = connected("plain")
        server.incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
        with pytest.raises(PeerFault):
            server.engine.read()
        server.outgoing()
        return server

    def test_keys_are_forgotten(self) -> None:
        assert [one for one in reachable(self.broken().engine) if isinstance(one, KEYS)] == []

    def test_nothing_is_exported_any_more(self) -> None:
        engine = self.broken().engine
        with pytest.raises(TLSError):
            engine.export_keying_material("EXPORTER-x", b"", 32)


class Everything:
    """One handshake, with all that can be seen of it and all that must not be."""

    def __init__(self, authority: Authority) -> None:
        self.shown: list[object] = []
        self.secrets: list[bytes] = []
        own = self.identity(authority, "alice", client=True)
        self.servers = self.identity(authority, "localhost")
        external = Identity.with_signer(self.servers.certificates, lambda scheme, message: LATER)
        trust = TrustStore.from_crypto([authority.certificate])
        common: dict[str, Any] = {"keylog": self.log, "on_event": self.shown.append, "verify_peer": lambda _: LATER}
        client_config = ClientConfig(trust=trust, identity=own, **common)
        server_config = ServerConfig(
            identities=[external], trust=trust, client_auth="require", choose_identity=lambda _: LATER, **common
        )
        self.shown += [own, external, trust, client_config, server_config, attrs.asdict(client_config)]
        self.client = NATIVE.client_engine(client_config, "localhost")
        self.server = NATIVE.server_engine(server_config)
        self.answers = {"ChooseIdentity": external, "VerifyPeer": True}
        self.run()

    def identity(self, authority: Authority, name: str, client: bool = False) -> Identity:
        issued = authority.issue(name, client=client)
        key: Any = issued.private_key
        formats = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.secrets.append(key.private_numbers().private_value.to_bytes(32, "big"))
        self.secrets.append(key.private_bytes(serialization.Encoding.DER, *formats))
        return Identity.from_crypto(issued.certificates, key)

    def log(self, line: str) -> None:
        self.secrets.append(bytes.fromhex(line.split(" ")[2]))

    def run(self) -> None:
        for _ in range(20):
            for source, target in ((self.client, self.server), (self.server, self.client)):
                self.shown += [source, source._reader, source._writer, source._handshake, source._coroutine]
                try:
                    source.do_handshake()
                except Want as want:
                    self.shown += [want, source.question]
                    self.answer(source.question)
                target.process_incoming(source.process_outgoing())
        assert self.server.handshake_complete
        for engine in (self.client, self.server):
            connected = engine._connected
            self.shown += [engine, connected, connected.established, connected.established.peer, engine._reader]
            self.shown += [one for one in reachable(engine) if isinstance(one, TrafficSecret)]

    def answer(self, question: Question[Any] | None) -> None:
        if question is None or question.answered:
            return
        kind = type(question).__name__
        question.answer(
            self.servers.sign(question.scheme, question.message) if kind == "SignHandshake" else self.answers[kind]
        )


class TestTexts:
    def test_no_secret_in_any(self, authority: Authority) -> None:
        everything = Everything(authority)
        assert len(everything.secrets) == 2 * 2 + 2 * 5
        assert {type(one).__name__ for one in everything.shown} >= {"SignHandshake", "VerifyPeer", "ChooseIdentity"}
        for one in everything.shown:
            for text in (repr(one), str(one), f"{one!r:.100000}"):
                for secret in everything.secrets:
                    assert secret.hex() not in text.lower()
                    assert repr(secret)[2:-1] not in text
                    assert str(int.from_bytes(secret, "big")) not in text


def cost_of(work: Callable[[], object]) -> float:
    """Processor time, so that other programs on this machine don't count."""
    start = time.process_time()
    work()
    return time.process_time() - start


def check_linear(prepare: Callable[[int], Callable[[], object]], size: int) -> None:
    """Four times as much costs about four times as much. A square would make it sixteen; the bound is nine.

    Noise can only make one measurement larger than it is, so the smallest of each counts.
    """
    small, large = float("inf"), float("inf")
    for _ in range(5):
        small = min(small, cost_of(prepare(size)))
        large = min(large, cost_of(prepare(4 * size)))
        if large < 9 * small:
            return
    raise AssertionError(f"{size}: {small:.4f} s, {4 * size}: {large:.4f} s")


def until_wanting(side: Side) -> None:
    with pytest.raises(WantRead):
        side.engine.do_handshake()
        side.engine.read()


class TestCost:
    def test_data_byte_by_byte(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            client, server = connected("plain")
            server.engine.write(bytes(size))
            data = server.outgoing()

            def work() -> None:
                for index in range(len(data)):
                    client.incoming(data[index : index + 1])
                assert client.engine.pending == size

            return work

        check_linear(prepare, 4000)

    def test_hello_byte_by_byte_in_records_of_one_byte(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            server, writer = sides()[1], RecordWriter()
            message = b"\x01" + size.to_bytes(3, "big") + bytes(size - 1)
            for byte in message:
                writer.write(HANDSHAKE, bytes([byte]))
            data = writer.drain()

            def work() -> None:
                for index in range(len(data)):
                    server.incoming(data[index : index + 1])
                    if index % 6 == 5:
                        server.work()
                assert server.failure is None

            return work

        check_linear(prepare, 1000)

    def test_a_large_message_in_records_of_one_byte(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            client, server = connected("plain")
            ticket = bytes(8) + b"\0" + size.to_bytes(2, "big") + bytes(size) + b"\0\0"
            for byte in b"\x04" + len(ticket).to_bytes(3, "big") + ticket:
                server.engine._writer.write(HANDSHAKE, bytes([byte]))
            data = server.outgoing()

            def work() -> None:
                client.incoming(data)
                until_wanting(client)

            return work

        # 4 * 16,000 bytes of one message are almost the 64 KiB that a ticket can have.
        check_linear(prepare, 16_000)

    def test_small_records(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            client, server = connected("plain")
            for _ in range(size):
                server.engine.write(b"x")
            data = server.outgoing()

            def work() -> None:
                client.incoming(data)
                assert client.engine.pending == size

            return work

        check_linear(prepare, 2000)

    def test_small_reads(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            client, server = connected("plain")
            server.engine.write(bytes(size))
            client.incoming(server.outgoing())

            def work() -> None:
                while client.engine.pending:
                    client.engine.read(1)

            return work

        check_linear(prepare, 60_000)

    def test_large_writes(self) -> None:
        def prepare(size: int) -> Callable[[], None]:
            client, _ = connected("plain")
            return lambda: client.engine.write(bytes(size)) and client.outgoing()

        # Not so much that the allocator asks the system for the pages of each write: that costs more than sealing.
        check_linear(prepare, 1 << 18)

    def test_hello_with_as_many_key_shares_as_fit(self) -> None:
        """A stranger chooses all of this, and pays for 24 KiB."""

        def prepare(size: int) -> Callable[[], None]:
            numbers = range(0x1000, 0x1000 + size)
            block = ext.encode_block(
                [
                    (X.supported_versions, ext.encode_offered_versions([0x0304])),
                    (X.signature_algorithms, ext.encode_u16s([0x0403])),
                    (X.supported_groups, ext.encode_u16s(numbers)),
                    (X.key_share, ext.encode_key_shares([(number, b"x") for number in numbers[-size // 2 :]])),
                ]
            )
            server, writer = sides()[1], RecordWriter()
            writer.write(HANDSHAKE, ClientHello.encode(bytes(32), b"", [0x1301], block))
            server.incoming(writer.drain())

            def work() -> None:
                server.work()
                assert isinstance(server.failure, PeerFault)
                assert server.failure.fault is Fault.NO_COMMON_GROUP

            return work

        check_linear(prepare, 1250)

    @pytest.mark.parametrize("what", ["suites", "extensions", "protocols", "authorities"])
    def test_hello_with_as_much_as_fits(self, what: str) -> None:
        def prepare(size: int) -> Callable[[], None]:
            contents: dict[int, bytes] = {
                X.supported_versions: ext.encode_offered_versions([0x0304]),
                X.signature_algorithms: ext.encode_u16s([0x0403]),
                X.supported_groups: ext.encode_u16s([0x17]),
                X.key_share: ext.encode_key_shares([]),
            }
            if what == "protocols":
                contents[X.application_layer_protocol_negotiation] = ext.encode_alpn(["x"] * size)
            elif what == "authorities":
                contents[X.certificate_authorities] = ext.encode_authorities([b"x"] * size)
            elif what == "extensions":
                contents |= dict.fromkeys(range(0x1000, 0x1000 + size), b"")
            suites = range(0x2000, 0x2000 + size) if what == "suites" else [0xC02F]
            message = ClientHello.encode(bytes(32), b"", suites, ext.encode_block(contents.items()))
            server, writer = sides()[1], RecordWriter()
            writer.write(HANDSHAKE, message)
            server.incoming(writer.drain())

            def work() -> None:
                server.work()
                assert isinstance(server.failure, PeerFault)

            return work

        check_linear(prepare, 1250)
