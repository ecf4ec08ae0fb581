"""External pre-shared keys: instead of certificates, beside them, imported, and found by a hook."""

from __future__ import annotations

import hashlib
from typing import Any

import attrs
import pytest
from loop import pump
from resuming import World, messages_of, trust

from tlsprovider.config import ServerConfig
from tlsprovider.crypto.schedule import import_psk
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import AlertReceived, ConfigError, Fault, HookError, PeerFault, WantRead
from tlsprovider.psk import ExternalPsk
from tlsprovider.questions import LATER, FindSession, WantAnswer
from tlsprovider.session import Session

KEY = ExternalPsk(identity=b"device 7", secret=bytes(range(32)))
OTHER = ExternalPsk(identity=b"device 8", secret=bytes(range(1, 33)))
LONG = ExternalPsk(identity=b"device 9", secret=bytes(range(2, 50)), hash_name="sha384")


def meet(client: dict[str, Any], server: dict[str, Any]) -> tuple[World, NativeEngine, NativeEngine]:
    world = World({"sessions": None} | client, server)
    return world, *world.connect()


class TestInPlaceOfCertificates:
    @pytest.mark.parametrize("key", [KEY, LONG], ids=["sha256", "sha384"])
    def test_connects(self, key: ExternalPsk) -> None:
        world, client, server = meet({"psks": [key]}, {"psks": [OTHER, key], "identities": []})
        assert messages_of(world.events) == ["server_hello", "encrypted_extensions", "finished"]
        assert client.peer_certificates == server.local_certificates == ()
        assert client.group == server.group == "x25519"
        assert not client.session_reused
        exported = [one.export_keying_material("test", b"", 32) for one in (client, server)]
        assert exported[0] == exported[1]

    def test_the_suite_follows_the_key(self) -> None:
        _, client, _ = meet({"psks": [LONG]}, {"psks": [LONG], "identities": []})
        assert client.cipher == "TLS_AES_256_GCM_SHA384"

    def test_the_server_has_none_of_them(self) -> None:
        world = World({"psks": [KEY]}, {"psks": [OTHER], "identities": []})
        client, server = world.engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.UNKNOWN_PSK

    def test_the_secrets_differ(self) -> None:
        """The client learns that its key is wrong, rather than that it is unknown."""
        world = World({"psks": [KEY]}, {"psks": [attrs.evolve(OTHER, identity=KEY.identity)], "identities": []})
        client, server = world.engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.PSK_BINDER
        client.process_incoming(server.process_outgoing())
        with pytest.raises(AlertReceived, match="decrypt_error"):
            client.do_handshake()

    def test_through_a_retry(self) -> None:
        _, client, _ = meet({"psks": [LONG, KEY]}, {"psks": [KEY], "identities": [], "groups": ["secp256r1"]})
        assert client.group == "secp256r1"
        assert client.cipher == "TLS_AES_128_GCM_SHA256"

    def test_a_retry_drops_keys_with_another_hash(self) -> None:
        world = World({"psks": [LONG, KEY], "sessions": None}, {"psks": [KEY], "groups": ["secp256r1"]})
        client, server = world.engines()
        lengths = []
        for _ in range(3):
            for one, other in ((client, server), (server, client)):
                try:
                    one.do_handshake()
                except WantRead:
                    pass
                data = one.process_outgoing()
                if one is client:
                    lengths.append((LONG.identity in data, KEY.identity in data))
                other.process_incoming(data)
        assert lengths[:2] == [(True, True), (False, True)]
        assert client.handshake_complete

    def test_gives_no_tickets(self) -> None:
        """A session stands for certificates: there is nothing that it could be measured against."""
        world = World({"psks": [KEY]}, {"psks": [KEY]})
        client, _ = world.connect()
        assert client.session is None
        assert "new_session_ticket" not in messages_of(world.events)


class TestBesideCertificates:
    def test_a_server_that_knows_no_keys_shows_its_certificate(self) -> None:
        _, client, _ = meet({"psks": [KEY]}, {})
        assert client.peer_certificates

    def test_a_client_without_keys_gets_the_certificate(self) -> None:
        _, client, _ = meet({}, {"psks": [KEY]})
        assert client.peer_certificates

    def test_a_server_that_requires_certificates_takes_no_key(self) -> None:
        world = World({"psks": [KEY]}, {"psks": [KEY], "client_auth": "require", "trust": trust()})
        client, server = world.engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.CERTIFICATE_REQUIRED

    def test_a_session_comes_first(self) -> None:
        world = World()
        world.connect()
        assert world.client.sessions is not None
        world.server = attrs.evolve(world.server, psks=[KEY])
        world.client = attrs.evolve(world.client, psks=[KEY])
        assert world.connect()[0].session_reused


class TestWithoutKeyExchange:
    ALONE = attrs.evolve(KEY, key_exchange=False)

    def test_where_both_say_so(self) -> None:
        _, client, server = meet({"psks": [self.ALONE]}, {"psks": [self.ALONE], "identities": []})
        assert (client.group, server.group) == (None, None)

    @pytest.mark.parametrize("side", ["client", "server"])
    def test_not_where_one_does(self, side: str) -> None:
        keys = (self.ALONE, KEY) if side == "client" else (KEY, self.ALONE)
        _, client, _ = meet({"psks": [keys[0]]}, {"psks": [keys[1]], "identities": []})
        assert client.group == "x25519"


class TestImported:
    """RFC 9258."""

    def test_connects(self) -> None:
        one, other = (ExternalPsk.imported(b"device 7", bytes(range(32)), context=b"us two") for _ in range(2))
        for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"):
            _, client, _ = meet({"psks": one, "cipher_suites": [suite]}, {"psks": other, "identities": []})
            assert client.cipher == suite

    def test_another_context_is_another_key(self) -> None:
        one = ExternalPsk.imported(b"device 7", bytes(range(32)), context=b"us two")
        other = ExternalPsk.imported(b"device 7", bytes(range(32)), context=b"us three")
        assert not {key.identity for key in one} & {key.identity for key in other}

    def test_is_not_the_key_itself(self) -> None:
        """The binder's label tells them apart, also where a key was imported under a name that somebody made up."""
        (imported, _) = ExternalPsk.imported(b"device 7", bytes(range(32)))
        plain = ExternalPsk(identity=imported.identity, secret=imported.secret)
        client, server = World({"psks": [imported]}, {"psks": [plain], "identities": []}).engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.PSK_BINDER

    def test_the_structure(self) -> None:
        first, second = ExternalPsk.imported(b"id", bytes(16), context=b"ctx")
        assert first.identity == b"\0\x02id\0\x03ctx\x03\x04\0\x01"
        assert second.identity == b"\0\x02id\0\x03ctx\x03\x04\0\x02"
        assert (len(first.secret), len(second.secret)) == (32, 48)

    def test_the_derivation(self) -> None:
        """As section 4.1 writes it, over somebody else's HKDF."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

        extracted = HKDF.extract(hashes.SHA256(), None, b"secret of 16 byt")
        label = b"\x00\x30" + b"\x11tls13 derived psk" + b"\x20" + hashlib.sha256(b"identity").digest()
        expected = HKDFExpand(hashes.SHA256(), 48, label).derive(extracted)
        assert import_psk("sha256", b"secret of 16 byt", b"identity", 48) == expected


class TestFindSession:
    def world(self, hook: Any) -> World:
        return World({"psks": [KEY], "sessions": None}, {"identities": [], "find_session": hook})

    def test_finds_a_key(self) -> None:
        asked: list[FindSession] = []

        def find_session(question: FindSession) -> ExternalPsk:
            asked.append(question)
            return KEY

        client, _ = self.world(find_session).connect()
        assert client.peer_certificates == ()
        assert [(one.identity, one.server_name) for one in asked] == [(b"device 7", "localhost")]

    def test_can_wait(self) -> None:
        client, server = self.world(lambda question: LATER).engines()
        with pytest.raises(WantAnswer) as caught:
            pump(client, server)
        assert caught.value.question.error_code == 65
        caught.value.question.answer(KEY)
        pump(client, server)

    def test_finds_a_session(self) -> None:
        """Kept by the application, in a database for instance: resumed as any other, with the same checks."""
        world = World()
        kept: dict[bytes, bytes] = {}

        class Tickets:
            def lifetime(self, now: float) -> int:
                return 3600

            def seal(self, state: bytes, now: float) -> bytes:
                kept[b"row %d" % len(kept)] = state
                return b"row %d" % (len(kept) - 1)

            def open(self, ticket: bytes, now: float) -> None:
                return None

            def first_use(self, unique: bytes, sent: float, now: float) -> bool:
                return False

        world.server = attrs.evolve(
            world.server,
            tickets=Tickets(),
            find_session=lambda question: Session.from_bytes(kept[question.identity]),
        )
        assert [world.resumes() for _ in range(2)] == [False, True]
        world.server = attrs.evolve(world.server, client_auth="require", trust=trust())
        client, server = world.engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.CERTIFICATE_REQUIRED

    def test_knows_nothing(self) -> None:
        client, server = self.world(lambda question: None).engines()
        with pytest.raises(PeerFault) as caught:
            pump(client, server)
        assert caught.value.fault is Fault.UNKNOWN_PSK

    def test_answers_something_else(self) -> None:
        client, server = self.world(lambda question: b"secret").engines()
        with pytest.raises(HookError, match="find_session must answer"):
            pump(client, server)


class TestConfiguration:
    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"identity": b"", "secret": bytes(32)}, "identity has to be"),
            ({"identity": "device", "secret": bytes(32)}, "identity has to be"),
            ({"identity": bytes(2000), "secret": bytes(32)}, "identity has to be"),
            ({"identity": b"device", "secret": b"password"}, "a password is of no use"),
            ({"identity": b"device", "secret": bytes(32), "hash_name": "md5"}, "hash_name has to be"),
        ],
    )
    def test_of_a_key(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            ExternalPsk(**fields)

    def test_imported_is_checked_as_well(self) -> None:
        with pytest.raises(ConfigError, match="a password is of no use"):
            ExternalPsk.imported(b"device", b"password")

    def test_of_a_server(self) -> None:
        with pytest.raises(ConfigError, match="expected ExternalPsk"):
            ServerConfig(psks=[b"key"])  # type: ignore[list-item]
        with pytest.raises(ConfigError, match="the same identity"):
            ServerConfig(psks=[KEY, KEY])

    def test_the_secret_is_not_shown(self) -> None:
        config = ServerConfig(psks=[KEY])
        assert repr(KEY.secret) not in repr(KEY) + repr(config)
