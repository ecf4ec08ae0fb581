"""Resumption, from both ends: what resumes, what does not, and that nothing the application asked for is skipped."""

from __future__ import annotations

import itertools

import attrs
import pytest
from loop import pump, transfer
from resuming import World, a_session, identity, messages_of, passing, trust

from tlsprovider.config import ClientConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import CertificateFault, ConfigError, HookError, MisuseError
from tlsprovider.identity import Identity
from tlsprovider.questions import VerifyPeer
from tlsprovider.session import MAX_LIFETIME, MemorySessions, Session
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
        session = attrs.evolve(a_session(), stapled={5: b"\x01\x00\x00\x03abc"})
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
