"""Where sessions are kept: a client's store, in memory and in a file, and the keys of a server's tickets."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from resuming import World, a_session

from tlsprovider.crypto.tickets import TicketKey, TicketKeyRing
from tlsprovider.errors import ConfigError
from tlsprovider.session import MemorySessions, Session, SessionKey

KEY = SessionKey("localhost", 443, b"f")


class TestMemorySessions:
    def test_the_newest_comes_first_and_once(self) -> None:
        store, first, second = MemorySessions(), a_session(), a_session()
        store.put(KEY, first)
        store.put(KEY, second)
        assert [store.take(KEY, first.issued) for _ in range(3)] == [second, first, None]

    def test_few_for_a_name(self) -> None:
        store, session = MemorySessions(per_name=3), a_session()
        for number in range(5):
            store.put(KEY, attrs.evolve(session, lifetime=number + 1))
        assert len(store) == 3
        assert [one.lifetime for one in iter(lambda: store.take(KEY, session.issued), None)] == [5, 4, 3]

    def test_the_names_that_were_used_last(self) -> None:
        store, session = MemorySessions(names=2), a_session()
        for host in ("a", "b", "a", "c"):
            store.put(KEY._replace(host=host), session)
        assert [bool(store.take(KEY._replace(host=host), session.issued)) for host in "abc"] == [True, False, True]

    def test_none_that_has_expired(self) -> None:
        store, session = MemorySessions(), a_session()
        store.put(KEY, session)
        assert store.take(KEY, session.expires) is None
        assert len(store) == 0

    def test_clear(self) -> None:
        store = MemorySessions()
        store.put(KEY, a_session())
        store.clear()
        assert len(store) == 0

    def test_room_for_nothing_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="at least one"):
            MemorySessions(per_name=0)


class TestFiles:
    def test_survive_a_restart(self, tmp_path: Path) -> None:
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

    def test_replace_what_was_there(self, tmp_path: Path) -> None:
        path = tmp_path / "sessions"
        path.write_bytes(b"old")
        path.chmod(0o644)
        store = MemorySessions()
        store.put(KEY, a_session())
        store.put(KEY._replace(port=None), a_session())
        store.save(path)
        assert path.stat().st_mode & 0o777 == 0o600
        again = MemorySessions()
        again.load(path)
        assert len(again) == 2

    @pytest.mark.parametrize("damage", ["missing", "foreign", "short"])
    def test_of_no_use(self, tmp_path: Path, damage: str) -> None:
        path = tmp_path / "sessions"
        store = MemorySessions()
        store.put(KEY, a_session())
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
        data = a_session().to_bytes()
        with pytest.raises(ConfigError, match="no session"):
            Session.from_bytes(data[:length])

    def test_a_session_of_another_version(self) -> None:
        data = a_session().to_bytes()
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
