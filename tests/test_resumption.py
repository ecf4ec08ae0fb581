"""Resumption, from both ends: what resumes, what does not, and that nothing the application asked for is skipped."""

from __future__ import annotations

import itertools

import attrs
import pytest
from loop import pump, transfer
from resuming import World, identity, messages_of, passing, trust

from tlsprovider.config import ClientConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.tickets import TicketKey, TicketKeyRing
from tlsprovider.errors import CertificateFault, ConfigError, HookError, MisuseError
from tlsprovider.identity import Identity
from tlsprovider.questions import VerifyPeer
from tlsprovider.session import MAX_LIFETIME, MemorySessions, Session, SessionKey
from tlsprovider.trust import TrustStore

DAY = 24 * 3600


class TestResumes:
    def test_by_itself(self) -> None:
        world = World()
        assert [world.resumes() for _ in range(4)] == [False, True, True, True]

    @pytest.mark.parametrize("suite", ["TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
    def test_with_each_suite(self, suite: str) -> None:
        world = World({"cipher_suites": [suite]})
        assert not world.resumes()
        client, server = world.connect()
        assert client.session_reused
        assert client.cipher == server.cipher == suite

    def test_without_certificates(self) -> None:
        world = World()
        world.connect()
        world.events.clear()
        client, server = world.connect()
        assert messages_of(world.events) == ["server_hello", "encrypted_extensions", "finished", "new_session_ticket"]
        assert client.peer_certificates == identity("localhost", "example.com", "127.0.0.1").certificates
        assert len(client.verified_chain) == 2
        assert client.signature_scheme is None
        assert server.local_certificates == ()

    def test_with_another_group_through_a_retry(self) -> None:
        world = World()
        world.connect()
        world.client = attrs.evolve(world.client, key_shares=["secp256r1"])
        world.server = attrs.evolve(world.server, groups=["x25519", "secp256r1"])
        assert not world.resumes(), "the server's groups are others"
        world.client = attrs.evolve(world.client, key_shares=["x25519"])
        world.server = attrs.evolve(world.server, groups=["secp256r1", "x25519"])
        world.connect()
        world.client = attrs.evolve(world.client, groups=["x25519", "secp256r1"], key_shares=["secp256r1"])
        assert world.resumes()

    def test_after_a_hello_retry_request(self) -> None:
        """The binder covers both hellos and the request between them."""
        world = World(server={"groups": ["secp256r1"]})
        assert not world.resumes()
        world.events.clear()
        client, server = world.connect()
        assert client.session_reused
        assert messages_of(world.events)[:2] == ["server_hello", "server_hello"]
        assert client.group == server.group == "secp256r1"

    def test_an_exporter_is_of_the_new_connection(self) -> None:
        world = World()
        before = world.connect()[0].export_keying_material("test", b"", 32)
        client, server = world.connect()
        after = client.export_keying_material("test", b"", 32)
        assert after == server.export_keying_material("test", b"", 32) != before

    def test_a_key_update_follows(self) -> None:
        world = World()
        world.connect()
        client, server = world.connect()
        server.key_update(request_peer=True)
        server.write(b"more")
        transfer(server, client)
        assert client.read() == b"more"

    def test_another_alpn_is_another_connection(self) -> None:
        world = World({"alpn": ["h2"]}, {"alpn": ["h2", "http/1.1"]})
        assert [world.resumes() for _ in range(2)] == [False, True]
        world.client = attrs.evolve(world.client, alpn=["http/1.1"])
        assert not world.resumes()

    def test_an_address_in_place_of_a_name(self) -> None:
        world = World()
        assert [world.resumes("127.0.0.1") for _ in range(2)] == [False, True]


class TestTickets:
    """When a server gives them, and how many."""

    def test_with_the_first_application_data(self) -> None:
        world = World()
        client, server = world.engines()
        pump(client, server)
        assert server.process_outgoing() == b""
        assert "new_session_ticket" not in messages_of(world.events)
        server.write(b"")
        assert server.process_outgoing() == b""
        server.write(b"word")
        server.write(b"word")
        assert messages_of(world.events).count("new_session_ticket") == 2
        transfer(server, client)
        assert client.read() == b"wordword"
        assert len(world.client.sessions) == 2  # type: ignore[arg-type]

    @pytest.mark.parametrize("count", [0, 1, 8])
    def test_as_many_as_configured(self, count: int) -> None:
        world = World(server={"ticket_count": count})
        world.connect()
        assert len(world.client.sessions) == count  # type: ignore[arg-type]
        assert world.resumes() is bool(count)

    def test_one_after_a_resumption(self) -> None:
        world = World()
        world.connect()
        world.events.clear()
        world.connect()
        assert messages_of(world.events).count("new_session_ticket") == 1

    @pytest.mark.parametrize("side", ["client", "server"])
    def test_none_where_they_are_off(self, side: str) -> None:
        world = World({"sessions": None} if side == "client" else {}, {"tickets": None} if side == "server" else {})
        assert [world.resumes() for _ in range(2)] == [False, False]
        assert "new_session_ticket" not in messages_of(world.events)

    def test_none_that_would_not_fit_into_a_hello(self) -> None:
        plain = identity("alice", client=True)
        big = Authority("big", key_type="mldsa87").issue("unused").certificates
        long = Identity.from_crypto([*plain.certificates, *big, *big], plain.private_key)
        terms = {"client_auth": "require", "insecure_skip_verify": True}
        world = World({"identity": long}, terms)
        client, _ = world.connect()
        assert len(client.local_certificates) > 1
        assert "new_session_ticket" not in messages_of(world.events)
        assert not world.resumes()

    def test_secrets_are_not_shown(self) -> None:
        world = World()
        client, _ = world.connect()
        session = client.session
        assert session is not None
        shown = repr(session) + repr(world.client.sessions) + repr(world.server.tickets) + repr(world.client)
        for secret in (session.secret, session.ticket):
            assert secret.hex() not in shown and repr(secret) not in shown


class TestWhatDoesNotResume:
    def test_another_name(self) -> None:
        world = World()
        world.connect("localhost")
        assert not world.resumes("example.com")

    def test_a_ticket_for_another_name(self) -> None:
        """A client that would try: the server declines, and the handshake is a full one."""
        world = World()
        session = world.connect("localhost")[0].session
        assert session is not None
        client, server = world.engines("example.com")
        client.set_session(attrs.evolve(session, server_name="example.com"))
        world.join(client, server)
        assert not client.session_reused

    def test_twice_with_one_ticket(self) -> None:
        """A client uses each once; a second connection at the same time takes another."""
        world = World(server={"ticket_count": 1})
        world.connect()
        first, second = world.engines(), world.engines()
        for client, server in (first, second):
            pump(client, server)
        assert (first[0].session_reused, second[0].session_reused) == (True, False)

    def test_without_a_name(self) -> None:
        world = World({"insecure_skip_verify": True})
        assert [world.resumes(None) for _ in range(2)] == [False, False]

    def test_a_session_on_another_port(self) -> None:
        world = World()
        reused = []
        for port in (443, 8443, 443):
            client, server = world.engines()
            client.set_port(port)
            world.join(client, server)
            reused.append(client.session_reused)
        assert reused == [False, False, True]

    @pytest.mark.parametrize("age", [2 * DAY, MAX_LIFETIME + 1])
    def test_an_old_session(self, age: int) -> None:
        world = World()
        world.connect()
        world.time += age
        assert not world.resumes()

    def test_a_session_whose_ticket_is_too_old_for_the_server(self) -> None:
        world = World()
        session = world.connect()[0].session
        assert session is not None
        world.time += 2 * DAY + 1
        client, server = world.engines()
        client.set_session(attrs.evolve(session, lifetime=MAX_LIFETIME))
        world.join(client, server)
        assert not client.session_reused

    def test_a_chain_of_resumptions_has_an_end(self) -> None:
        """Section 4.7.1: certificates are shown again at last, however often the session was renewed."""
        world = World()
        world.connect()
        for _ in range(6):
            world.time += DAY
            assert world.resumes()
        world.time += DAY
        assert not world.resumes()

    def test_under_a_certificate_that_has_expired(self) -> None:
        world = World(server={"identities": [passing("localhost")]})
        world.connect()
        world.time += 23 * 3600
        assert world.resumes()
        world.time += 2 * 3600
        client, server = world.engines()
        with pytest.raises(CertificateFault, match="expired"):
            pump(client, server)
        assert not client.session_reused

    def test_with_a_trust_store_that_does_not_believe(self) -> None:
        world = World()
        world.connect()
        others = TrustStore.from_crypto([Authority("somebody else").certificate])
        world.client = attrs.evolve(world.client, trust=others)
        with pytest.raises(CertificateFault):
            world.connect()

    @pytest.mark.parametrize(
        "change",
        [
            {"cipher_suites": ["TLS_AES_128_GCM_SHA256"]},
            {"signature_schemes": ["ecdsa_secp256r1_sha256"]},
            {"groups": ["x25519"]},
            {"client_auth": "request", "trust": trust()},
            {"client_auth": "require", "trust": trust()},
        ],
        ids=str,
    )
    def test_after_the_server_became_stricter(self, change: dict[str, object]) -> None:
        world = World({"identity": identity("alice", client=True)})
        world.connect()
        world.server = attrs.evolve(world.server, **change)
        assert not world.resumes()

    def test_after_the_client_became_stricter(self) -> None:
        world = World()
        world.connect()
        world.client = attrs.evolve(world.client, cipher_suites=["TLS_AES_256_GCM_SHA384"])
        assert not world.resumes()

    def test_for_a_client_with_another_certificate(self) -> None:
        world = World({"identity": identity("alice", client=True)}, {"client_auth": "request", "trust": trust()})
        assert [world.resumes() for _ in range(2)] == [False, True]
        world.client = attrs.evolve(world.client, identity=None)
        client, server = world.connect()
        assert not client.session_reused
        assert server.peer_certificates == ()

    def test_for_another_server_with_the_same_keys(self) -> None:
        """Servers of other names that share a ring can't be taken for each other."""
        world = World()
        world.connect()
        world.server = attrs.evolve(world.server, identities=[identity("localhost", "example.com", "another.example")])
        assert not world.resumes()

    def test_after_renewing_the_certificate_it_does(self) -> None:
        world = World()
        world.connect()
        names = identity("localhost", "example.com", "127.0.0.1").names
        world.server = attrs.evolve(world.server, identities=[passing(*names)])
        assert world.resumes()


class TestClientCertificates:
    def world(self, **server: object) -> World:
        terms = {"client_auth": "require", "trust": trust()} | server
        return World({"identity": passing("alice", client=True)}, terms)

    def test_are_remembered(self) -> None:
        world = self.world()
        world.connect()
        client, server = world.connect()
        assert server.session_reused
        assert server.peer_certificates == passing("alice", client=True).certificates
        assert len(server.verified_chain) == 2
        assert client.local_certificates == ()

    def test_are_judged_again(self) -> None:
        seen: list[VerifyPeer] = []

        def verify_peer(question: VerifyPeer) -> bool:
            seen.append(question)
            return len(seen) < 3

        world = self.world(verify_peer=verify_peer)
        assert [world.resumes() for _ in range(2)] == [False, True]
        assert seen[0].peer_certificates == seen[1].peer_certificates
        assert seen[0].verified_chain == seen[1].verified_chain
        client, server = world.engines()
        with pytest.raises(CertificateFault, match="refused"):
            pump(client, server)
        assert server.failure is not None

    def test_do_not_resume_when_they_have_expired(self) -> None:
        world = self.world()
        world.connect()
        world.time += 25 * 3600
        client, server = world.engines()
        with pytest.raises(CertificateFault, match="expired"):
            pump(client, server)
        assert not server.session_reused

    def test_are_not_remembered_for_a_hook_that_chose(self) -> None:
        asked = []

        def choose_identity(question: object) -> Identity:
            asked.append(question)
            return identity("alice", client=True)

        world = World({"choose_identity": choose_identity}, {"client_auth": "require", "trust": trust()})
        assert [world.resumes() for _ in range(2)] == [False, False]
        assert len(asked) == 2


class TestVerifyPeerOfAClient:
    def test_is_asked_again(self) -> None:
        seen: list[VerifyPeer] = []

        def verify_peer(question: VerifyPeer) -> bool:
            seen.append(question)
            return True

        world = World({"verify_peer": verify_peer})
        assert [world.resumes() for _ in range(2)] == [False, True]
        assert seen[0].peer_certificates == seen[1].peer_certificates
        assert seen[0].verified_chain == seen[1].verified_chain
        assert seen[0].server_name == seen[1].server_name == "localhost"

    def test_can_refuse(self) -> None:
        answers = iter([True, CertificateFault("revoked since")])
        world = World({"verify_peer": lambda question: next(answers)})
        world.connect()
        client, server = world.engines()
        with pytest.raises(CertificateFault, match="revoked since"):
            pump(client, server)
        transfer(client, server)
        assert not server.handshake_complete

    def test_can_fail(self) -> None:
        def verify_peer(question: VerifyPeer) -> bool:
            if asked:
                raise RuntimeError("the database is away")
            asked.append(question)
            return True

        asked: list[VerifyPeer] = []
        world = World({"verify_peer": verify_peer})
        world.connect()
        with pytest.raises(HookError, match="the database is away"):
            world.connect()

    def test_sees_what_was_stapled(self) -> None:
        session = attrs.evolve(_session(), stapled={5: b"\x01\x00\x00\x03abc"})
        assert Session.from_bytes(session.to_bytes()).stapled == {5: b"\x01\x00\x00\x03abc"}


class TestSetSession:
    def test_offers_that_one(self) -> None:
        world = World()
        session = world.connect()[0].session
        assert session is not None
        world.client = attrs.evolve(world.client, sessions=MemorySessions())
        client, server = world.engines()
        client.set_session(Session.from_bytes(session.to_bytes()))
        world.join(client, server)
        assert client.session_reused

    def test_only_before_the_handshake(self) -> None:
        world = World()
        client, server = world.connect()
        assert client.session is not None
        for engine in (client, server, world.engines()[1]):
            with pytest.raises(MisuseError, match="has not begun"):
                engine.set_session(client.session)


def _session(**changes: object) -> Session:
    world = World()
    session = world.connect()[0].session
    assert session is not None
    return attrs.evolve(session, **changes)


KEY = SessionKey("localhost", 443, b"f")


class TestMemorySessions:
    def test_the_newest_comes_first_and_once(self) -> None:
        store, first, second = MemorySessions(), _session(), _session()
        store.put(KEY, first)
        store.put(KEY, second)
        assert [store.take(KEY, first.issued) for _ in range(3)] == [second, first, None]

    def test_few_for_a_name(self) -> None:
        store, session = MemorySessions(per_name=3), _session()
        for number in range(5):
            store.put(KEY, attrs.evolve(session, lifetime=number + 1))
        assert len(store) == 3
        assert [one.lifetime for one in iter(lambda: store.take(KEY, session.issued), None)] == [5, 4, 3]

    def test_the_names_that_were_used_last(self) -> None:
        store, session = MemorySessions(names=2), _session()
        for host in ("a", "b", "a", "c"):
            store.put(KEY._replace(host=host), session)
        assert [bool(store.take(KEY._replace(host=host), session.issued)) for host in "abc"] == [True, False, True]

    def test_none_that_has_expired(self) -> None:
        store, session = MemorySessions(), _session()
        store.put(KEY, session)
        assert store.take(KEY, session.expires) is None
        assert len(store) == 0

    def test_clear(self) -> None:
        store = MemorySessions()
        store.put(KEY, _session())
        store.clear()
        assert len(store) == 0

    def test_room_for_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="at least one"):
            MemorySessions(per_name=0)


class TestFiles:
    def test_survive_a_restart(self, tmp_path) -> None:
        world = World()
        world.connect()
        path = tmp_path / "sessions"
        world.client.sessions.save(path)  # type: ignore[union-attr]
        assert path.stat().st_mode & 0o777 == 0o600
        assert [one.name for one in tmp_path.iterdir()] == ["sessions"]
        store = MemorySessions()
        store.load(path)
        assert len(store) == 2
        world.client = attrs.evolve(world.client, sessions=store)
        assert world.resumes()

    def test_replace_what_was_there(self, tmp_path) -> None:
        path = tmp_path / "sessions"
        path.write_bytes(b"old")
        path.chmod(0o644)
        store = MemorySessions()
        store.put(KEY, _session())
        store.put(KEY._replace(port=None), _session())
        store.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        again = MemorySessions()
        again.load(path)
        assert len(again) == 2

    @pytest.mark.parametrize("damage", ["missing", "foreign", "short"])
    def test_of_no_use(self, tmp_path, damage: str) -> None:
        path = tmp_path / "sessions"
        store = MemorySessions()
        store.put(KEY, _session())
        store.save(path)
        if damage == "missing":
            path.unlink()
        elif damage == "foreign":
            path.write_bytes(b"-----BEGIN SSL SESSION PARAMETERS-----")
        else:
            path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ConfigError, match="sessions: "):
            MemorySessions().load(path)

    @pytest.mark.parametrize("length", [0, 1, 3, 50, -1])
    def test_a_session_cut_short(self, length: int) -> None:
        data = _session().to_bytes()
        with pytest.raises(ConfigError, match="no session"):
            Session.from_bytes(data[:length])

    def test_a_session_of_another_version(self) -> None:
        data = _session().to_bytes()
        with pytest.raises(ConfigError, match="format 9"):
            Session.from_bytes(b"\x09" + data[1:])


class TestTicketKeyRing:
    def test_rotates_by_the_clock(self) -> None:
        ring = TicketKeyRing(encrypt_lifetime=100, decrypt_lifetime=300)
        old = ring.seal(b"state", 1000)
        assert ring.seal(b"state", 1099)[:16] == old[:16]
        new = ring.seal(b"state", 1100)
        assert new[:16] != old[:16]
        assert (ring.open(old, 1299), ring.open(new, 1299)) == (b"state", b"state")
        assert (ring.open(old, 1300), ring.open(new, 1399), ring.open(new, 1400)) == (None, b"state", None)
        assert ring.lifetime(1400) == 300

    def test_forgets_keys(self) -> None:
        ring = TicketKeyRing(encrypt_lifetime=1, decrypt_lifetime=2)
        for now in range(100):
            ring.seal(b"state", now)
        assert repr(ring) == "<TicketKeyRing of 2 keys>"

    def test_with_given_keys(self) -> None:
        keys = [_ticket_key(1, 1000), _ticket_key(2, 1050)]
        one, other = TicketKeyRing(keys), TicketKeyRing(reversed(keys))
        ticket = one.seal(b"state", 1060)
        assert ticket[:16] == bytes([2]) * 16
        assert other.open(ticket, 1061) == b"state"
        assert one.lifetime(1049) == 151
        assert one.lifetime(1150) == 0

    def test_a_key_of_the_future_only_opens(self) -> None:
        ahead = TicketKeyRing([_ticket_key(1, 1000)])
        assert TicketKeyRing([_ticket_key(1, 1000)]).open(ahead.seal(b"state", 1000), 990) == b"state"
        assert ahead.lifetime(990) == 0

    def test_replace(self) -> None:
        ring = TicketKeyRing([_ticket_key(1, 1000)])
        ticket = ring.seal(b"state", 1000)
        ring.replace([_ticket_key(2, 1000)])
        assert ring.open(ticket, 1000) is None

    @pytest.mark.parametrize("length", [0, 15, 16, 28, 43, 60])
    def test_a_ticket_cut_short(self, length: int) -> None:
        ring = TicketKeyRing()
        assert ring.open(ring.seal(b"a state of some length", 0)[:length], 0) is None

    def test_every_changed_byte_counts(self) -> None:
        ring = TicketKeyRing()
        ticket = ring.seal(b"state", 0)
        for position in range(len(ticket)):
            changed = bytearray(ticket)
            changed[position] ^= 1
            assert ring.open(bytes(changed), 0) is None

    def test_of_no_use(self) -> None:
        with pytest.raises(ConfigError, match="name of its own"):
            TicketKeyRing([])
        with pytest.raises(ConfigError, match="name of its own"):
            TicketKeyRing([_ticket_key(1, 0), _ticket_key(1, 5)])
        with pytest.raises(ConfigError, match="encrypt_lifetime"):
            TicketKeyRing(encrypt_lifetime=3, decrypt_lifetime=2)
        with pytest.raises(ConfigError, match="secret has to be 32 bytes"):
            TicketKey(name=bytes(16), secret=bytes(16), introduced=0)

    def test_two_processes_with_one_key(self) -> None:
        """As behind a balancer: what one node sealed, the other opens."""
        keys = [_ticket_key(1, World().time)]
        first = World(server={"tickets": TicketKeyRing(keys)})
        first.connect()
        first.server = World(server={"tickets": TicketKeyRing(keys)}).server
        assert first.resumes()
        first.server = World().server
        assert not first.resumes()


def _ticket_key(number: int, introduced: float) -> TicketKey:
    return TicketKey(
        name=bytes([number]) * 16,
        secret=bytes([number]) * 32,
        introduced=introduced,
        encrypt_lifetime=100,
        decrypt_lifetime=200,
    )


class Kept:
    """Sessions that stay with the server, each for one use: the stateful way."""

    def __init__(self) -> None:
        self.states: dict[bytes, bytes] = {}
        self.numbers = itertools.count(1)

    def lifetime(self, now: float) -> int:
        return 3600

    def seal(self, state: bytes, now: float) -> bytes:
        ticket = b"ticket %d" % next(self.numbers)
        self.states[ticket] = state
        return ticket

    def open(self, ticket: bytes, now: float) -> bytes | None:
        return self.states.pop(ticket, None)

    def first_use(self, unique: bytes, sent: float, now: float) -> bool:
        return True


def test_sessions_kept_by_the_server() -> None:
    world = World(server={"tickets": Kept()})
    session = world.connect()[0].session
    assert session is not None and session.ticket == b"ticket 2"
    for expected in (True, False):
        client, server = world.engines()
        client.set_session(session)
        world.join(client, server)
        assert client.session_reused is expected


def test_a_client_without_sessions_says_so() -> None:
    with pytest.raises(ConfigError, match=r"sessions: expected None, or something with put\(\)"):
        ClientConfig(trust=trust(), sessions={})  # type: ignore[arg-type]


class Breaks:
    """A store that is away."""

    def __init__(self, *calls: str) -> None:
        self.calls = calls

    def __getattr__(self, name: str):
        def call(*arguments: object) -> object:
            if name in self.calls:
                raise ConnectionError("the database is away")
            return {"lifetime": 3600, "seal": b"ticket"}.get(name)

        return call


@pytest.mark.parametrize("call", ["take", "put"])
def test_a_store_of_a_client_that_fails(call: str) -> None:
    """As any hook that fails, it ends the connection, and its exception reaches the caller."""
    with pytest.raises(HookError, match="the hook sessions failed: ConnectionError: the database is away"):
        World({"sessions": Breaks(call)}).connect()


def test_a_store_of_a_server_that_fails() -> None:
    world = World(server={"tickets": Breaks("open")})
    world.connect()
    with pytest.raises(HookError, match="the hook tickets failed: ConnectionError: the database is away"):
        world.connect()
    with pytest.raises(HookError, match="the hook tickets failed"):
        World(server={"tickets": Breaks("seal")}).connect()
