"""Early data from both ends: accepted once, otherwise reported; and what a stranger can do with it."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from loop import pump, transfer
from resuming import World, identity, messages_of, trust

from tlsprovider.crypto.tickets import WINDOW, TicketKey, TicketKeyRing
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import CertificateFault, ConfigError, Fault, HookError, MisuseError, PeerFault, WantRead
from tlsprovider.handshake.psk import fingerprint
from tlsprovider.questions import LATER, AcceptEarlyData, WantAnswer
from tlsprovider.session import SessionKey

DATA = b"GET / HTTP/1.1\r\n\r\n"
LIMIT = 1000


class EarlyWorld(World):
    """Both sides allow early data, and have met before."""

    def __init__(self, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> None:
        super().__init__({"early_data": True} | (client or {}), {"max_early_data": LIMIT} | (server or {}))
        self.connect()
        self.events.clear()

    def early(self, data: bytes = DATA) -> tuple[NativeEngine, NativeEngine]:
        """A handshake with early data; nothing is read yet."""
        client, server = self.engines()
        client.write_early(data)
        pump(client, server)
        assert client.early_data == server.early_data or data == b""
        return client, server


def go_on(engine: NativeEngine) -> None:
    with pytest.raises(WantRead):
        engine.do_handshake()


class TestAccepted:
    def test_is_read_first_and_not_mixed(self) -> None:
        client, server = EarlyWorld().early()
        assert (client.early_data, client.session_reused) == ("accepted", True)
        client.write(b"later")
        transfer(client, server)
        assert (server.early_pending, server.pending) == (len(DATA), len(DATA) + 5)
        assert [server.read(), server.read()] == [DATA, b"later"]
        assert server.early_pending == 0

    def test_piece_by_piece(self) -> None:
        client, server = EarlyWorld().early()
        client.write(b"later")
        transfer(client, server)
        pieces = [server.read(7) for _ in range(4)]
        assert b"".join(pieces[:3]) == DATA
        assert pieces[3] == b"later"

    def test_in_the_middle_of_the_handshake(self) -> None:
        client, server = EarlyWorld().engines()
        client.write_early(DATA)
        go_on(client)
        transfer(client, server)
        go_on(server)
        assert server.state == "read_end_of_early_data"
        assert (server.early_data, server.early_pending) == ("accepted", len(DATA))
        assert (server.read_early(4), server.read_early(), server.read_early()) == (DATA[:4], DATA[4:], b"")
        with pytest.raises(MisuseError):
            server.read()
        pump(client, server)
        assert server.pending == 0
        assert client.early_data == "accepted"

    def test_in_as_many_records_as_it_needs(self) -> None:
        world = EarlyWorld(server={"max_early_data": 100_000})
        data = bytes(range(256)) * 390
        client, server = world.early(data)
        assert client.early_data == "accepted"
        assert server.read() == data

    def test_to_the_last_byte_allowed(self) -> None:
        _, server = EarlyWorld().early(bytes(LIMIT))
        assert server.read() == bytes(LIMIT)

    def test_the_messages(self) -> None:
        world = EarlyWorld()
        sent: list[Any] = []
        world.client = attrs.evolve(world.client, on_event=sent.append)
        world.early()
        assert messages_of(sent) == ["client_hello", "end_of_early_data", "finished"]

    def test_secrets_are_logged(self) -> None:
        lines: tuple[list[str], list[str]] = ([], [])
        world = EarlyWorld({"keylog": lines[0].append}, {"keylog": lines[1].append})
        for one in lines:
            one.clear()
        world.early()
        assert lines[0] == lines[1]
        assert lines[0][0].startswith("CLIENT_EARLY_TRAFFIC_SECRET ")

    def test_byte_by_byte(self) -> None:
        client, server = EarlyWorld().engines()
        client.write_early(DATA)
        for _ in range(6):
            for one, other in ((client, server), (server, client)):
                for byte in one.process_outgoing():
                    other.process_incoming(bytes((byte,)))
                    if not other.handshake_complete:
                        try:
                            other.do_handshake()
                        except WantRead:
                            pass
                if not one.handshake_complete:
                    try:
                        one.do_handshake()
                    except WantRead:
                        pass
        assert server.read() == DATA


class TestNotSent:
    def check(self, world: World, data: bytes = DATA) -> NativeEngine:
        client, server = world.engines()
        client.write_early(data)
        world.join(client, server)
        assert (client.early_data, server.early_data) == ("not_sent", "not_sent")
        return client

    def test_at_the_first_meeting(self) -> None:
        assert not self.check(World({"early_data": True}, {"max_early_data": LIMIT})).session_reused

    def test_where_the_server_allows_none(self) -> None:
        assert self.check(EarlyWorld(server={"max_early_data": 0})).session_reused

    def test_more_than_the_server_allows(self) -> None:
        """All or nothing: half a request is of no use."""
        assert self.check(EarlyWorld(), bytes(LIMIT + 1)).session_reused

    def test_nothing(self) -> None:
        assert self.check(EarlyWorld(), b"").session_reused

    def test_before_the_hook_agrees(self) -> None:
        """verify_peer is asked before anything is sent; then not again. If it objects, everything is as without."""
        asked: list[object] = []
        answers = [True, CertificateFault("not now"), True]

        def verify_peer(question: object) -> object:
            asked.append(question)
            return answers[len(asked) - 1]

        world = EarlyWorld({"verify_peer": verify_peer})
        self.check(world)
        assert len(asked) == 3

    def test_where_it_is_off(self) -> None:
        client, server = World().engines()
        for engine in (client, server):
            with pytest.raises(MisuseError, match="early"):
                engine.write_early(DATA)


class TestRejected:
    """The server goes on without it, and the client is told; nothing is sent again by itself."""

    def check(self, world: World, *, reused: bool = True, before: Any = None) -> tuple[NativeEngine, NativeEngine]:
        client, server = world.engines()
        client.write_early(DATA)
        go_on(client)
        if before is not None:
            before()
        world.join(client, server)
        assert (client.early_data, server.early_data) == ("rejected", "rejected")
        assert client.session_reused is reused
        assert server.early_pending == 0
        return client, server

    def test_when_the_server_wants_none_any_more(self) -> None:
        world = EarlyWorld()
        world.server = attrs.evolve(world.server, max_early_data=0)
        self.check(world)

    def test_when_the_ticket_is_unknown(self) -> None:
        world = EarlyWorld()
        world.server = attrs.evolve(world.server, tickets=TicketKeyRing())
        self.check(world, reused=False)

    def test_after_a_hello_retry_request(self) -> None:
        world = EarlyWorld(server={"groups": ["secp256r1"]})
        client, _ = self.check(world)
        assert client.group == "secp256r1"

    def test_after_a_retry_without_the_session(self) -> None:
        world = EarlyWorld(server={"groups": ["secp256r1"]})
        world.server = attrs.evolve(world.server, tickets=TicketKeyRing())
        self.check(world, reused=False)

    def test_when_it_was_on_its_way_for_too_long(self) -> None:
        world = EarlyWorld()

        def wait() -> None:
            world.time += WINDOW + 1

        self.check(world, before=wait)

    def test_when_the_client_lies_about_its_age(self) -> None:
        world = EarlyWorld()
        world.time += 3600
        session = world.client.sessions.take(*_key(world))  # type: ignore[union-attr]
        assert session is not None
        client, server = world.engines()
        client.set_session(attrs.evolve(session, age_add=session.age_add + 60_000))
        client.write_early(DATA)
        world.join(client, server)
        assert (client.early_data, client.session_reused) == ("rejected", True)

    def test_when_the_hook_declines(self) -> None:
        questions: list[AcceptEarlyData] = []

        def accept_early_data(question: AcceptEarlyData) -> bool:
            questions.append(question)
            return False

        self.check(EarlyWorld(server={"accept_early_data": accept_early_data}))
        (question,) = questions
        assert (question.server_name, question.alpn, question.peer_certificates) == ("localhost", None, ())
        assert len(question.unique) == 32

    def test_more_than_a_server_without_keys_passes_over(self) -> None:
        world = EarlyWorld(server={"max_early_data": 100_000})
        world.server = attrs.evolve(world.server, max_early_data=0)
        client, server = world.engines()
        client.write_early(bytes(60_000))
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.TOO_MUCH_EARLY_DATA

    def test_under_another_suite_with_the_same_hash(self) -> None:
        world = EarlyWorld()
        world.client = attrs.evolve(world.client)
        session = world.client.sessions.take(*_key(world))  # type: ignore[union-attr]
        assert session is not None
        client, server = world.engines()
        chacha = attrs.evolve(session, cipher_suite=world.client.cipher_suites[2])
        assert chacha.cipher_suite.name == "TLS_CHACHA20_POLY1305_SHA256"
        client.set_session(chacha)
        client.write_early(DATA)
        # The client believes in the other suite; the server knows better, and passes over what it can't read.
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault in (Fault.BAD_RECORD_MAC, Fault.EARLY_DATA_MISMATCH)


def _key(world: World) -> tuple[Any, float]:
    return SessionKey("localhost", None, fingerprint(world.client)), world.time


class TestReplays:
    def flight(self, world: World) -> bytes:
        client, _ = world.engines()
        client.write_early(DATA)
        go_on(client)
        return client.process_outgoing()

    def answers(self, world: World, flight: bytes) -> str:
        server = world.engines()[1]
        server.process_incoming(flight)
        go_on(server)
        return server.early_data

    def test_are_accepted_once(self) -> None:
        world = EarlyWorld()
        flight = self.flight(world)
        assert [self.answers(world, flight) for _ in range(5)] == ["accepted"] + ["rejected"] * 4

    def test_once_among_all_who_share_the_keys(self) -> None:
        world = EarlyWorld()
        flight = self.flight(world)
        assert self.answers(world, flight) == "accepted"
        world.server = attrs.evolve(world.server, ticket_count=1)
        assert self.answers(world, flight) == "rejected"

    def test_never_reach_the_reader_of_a_finished_handshake(self) -> None:
        """read() gives early data when the client has proven that it is there; whoever only replays can't."""
        world = EarlyWorld()
        server = world.engines()[1]
        server.process_incoming(self.flight(world))
        go_on(server)
        with pytest.raises(MisuseError, match="not complete"):
            server.read()

    def test_later_they_are_too_old(self) -> None:
        world = EarlyWorld()
        flight = self.flight(world)
        world.time += 2 * WINDOW
        assert self.answers(world, flight) == "rejected"

    def test_at_the_same_time_by_other_clients_they_are_none(self) -> None:
        world = EarlyWorld()
        assert [self.answers(world, self.flight(world)) for _ in range(2)] == ["accepted"] * 2

    def test_what_is_remembered_is_forgotten(self) -> None:
        ring = TicketKeyRing()
        for number in range(3000):
            assert ring.first_use(number.to_bytes(4, "big"), number, number)
        assert len(ring._uses._used) < 1100

    def test_a_full_memory_accepts_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tlsprovider.crypto.tickets.MAX_REMEMBERED", 2)
        ring = TicketKeyRing()
        assert [ring.first_use(bytes((number,)), 0, 0) for number in range(3)] == [True, True, False]

    def test_a_ring_with_given_keys_begins_slowly(self) -> None:
        """Section 8.2: another process may have accepted, just before this one began."""
        ring = TicketKeyRing([TicketKey(name=bytes(16), secret=bytes(32), introduced=0)])
        assert [ring.first_use(bytes((now,)), now, now) for now in (100, 105, 109, 110, 111)] == [
            False,
            False,
            False,
            True,
            True,
        ]


class TestClientCertificates:
    def test_the_hook_is_asked_before_anything_is_accepted(self) -> None:
        """Whoever resumes is judged again, and nothing that it sent early is shown before."""
        answers = iter([True, True, CertificateFault("no longer a customer")])
        world = EarlyWorld(
            {"identity": identity("alice", client=True)},
            {"client_auth": "require", "trust": trust(), "verify_peer": lambda question: next(answers)},
        )
        _, server = world.early()
        assert server.read() == DATA
        server.write(b"more tickets")
        client, server = world.engines()
        client.write_early(DATA)
        go_on(client)
        transfer(client, server)
        with pytest.raises(CertificateFault, match="no longer"):
            server.do_handshake()
        assert server.early_data != "accepted"
        assert server.read_early() == b""


class TestHook:
    def test_can_wait(self) -> None:
        world = EarlyWorld(server={"accept_early_data": lambda question: LATER})
        client, server = world.engines()
        client.write_early(DATA)
        go_on(client)
        transfer(client, server)
        with pytest.raises(WantAnswer) as caught:
            server.do_handshake()
        assert isinstance(caught.value.question, AcceptEarlyData)
        assert caught.value.question.error_code == 66
        caught.value.question.answer(True)
        pump(client, server)
        assert server.read() == DATA

    def test_can_fail(self) -> None:
        world = EarlyWorld(server={"accept_early_data": lambda question: "yes"})
        with pytest.raises(HookError, match="must answer True or False"):
            world.early()


class TestBadInput:
    def reading(self, world: World | None = None) -> tuple[NativeEngine, NativeEngine]:
        """A server that reads early data, and the client that sends it."""
        client, server = (world or EarlyWorld()).engines()
        client.write_early(DATA)
        go_on(client)
        transfer(client, server)
        go_on(server)
        assert server.state == "read_end_of_early_data"
        return client, server

    def fault(self, server: NativeEngine) -> Fault:
        with pytest.raises(PeerFault) as caught:
            server.do_handshake()
        return caught.value.fault

    def test_more_than_was_allowed(self) -> None:
        client, server = self.reading()
        client._writer.write(23, bytes(LIMIT - len(DATA)))
        transfer(client, server)
        go_on(server)
        client._writer.write(23, b"!")
        transfer(client, server)
        assert self.fault(server) is Fault.TOO_MUCH_EARLY_DATA

    def test_a_damaged_record(self) -> None:
        """Section 4.3.10: once it is accepted, nothing is passed over."""
        client, server = self.reading()
        client._writer.write(23, b"more")
        record = client.process_outgoing()
        server.process_incoming(record[:-1] + bytes((record[-1] ^ 1,)))
        assert self.fault(server) is Fault.BAD_RECORD_MAC

    def test_end_of_early_data_with_content(self) -> None:
        client, server = self.reading()
        client._writer.write(22, b"\x05\x00\x00\x01?")
        transfer(client, server)
        assert self.fault(server) is Fault.DECODE_ERROR

    def test_finished_without_an_end(self) -> None:
        client, server = self.reading()
        client._writer.write(22, b"\x14\x00\x00\x20" + bytes(32))
        transfer(client, server)
        assert self.fault(server) is Fault.UNEXPECTED_MESSAGE

    def test_a_message_across_the_change_of_keys(self) -> None:
        client, server = self.reading()
        client._writer.write(22, b"\x05\x00\x00\x00\x14")
        transfer(client, server)
        assert self.fault(server) is Fault.KEY_CHANGE_SPLIT


class TestConfiguration:
    @pytest.mark.parametrize("count", [-1, 1 << 21, True, "many"])
    def test_how_much(self, count: object) -> None:
        with pytest.raises(ConfigError, match="max_early_data: expected a number"):
            World(server={"max_early_data": count})

    def test_whether(self) -> None:
        with pytest.raises(ConfigError, match="early_data: expected True or False"):
            World({"early_data": 1})
