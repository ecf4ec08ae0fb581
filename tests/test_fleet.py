"""Ticket keys and the memory of early data, shared through a real Redis."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from loop import pump, transfer
from redis_server import RedisServer, needs_redis
from redis_server import redis as redis
from resuming import World
from test_early_data import go_on

from tlsprovider.crypto.tickets import TicketKey
from tlsprovider.errors import ConfigError
from tlsprovider.fleet import FleetTickets, RedisFleet, WaitingFleet
from tlsprovider.questions import AcceptEarlyData, WantAnswer

pytestmark = needs_redis

SECRET = b"a secret of the fleet, and long!"
HOUR, DAY = 3600.0, 86400.0


class Node(World):
    """A server of the fleet with a client of its own. It looks at the keys when it is told to."""

    def __init__(self, redis: RedisServer, **fields: Any) -> None:
        super().__init__(client={"early_data": True}, server={"max_early_data": 1000, "ticket_count": 4, **fields})
        self.fleet = RedisFleet(redis.url, secret=SECRET, refresh=HOUR, clock=lambda: self.time)
        self.server = self.fleet.join(self.server)

    @property
    def keys(self) -> dict[bytes, float]:
        return {key.name: key.introduced for key in self.fleet._tickets._keys}


@pytest.fixture
def nodes(redis: RedisServer) -> Iterator[tuple[Node, Node]]:
    one, other = Node(redis), Node(redis)
    other.client = one.client
    yield one, other
    one.fleet.close()
    other.fleet.close()


def advance(nodes: tuple[Node, Node], seconds: float) -> None:
    for node in nodes:
        node.time += seconds
    for node in nodes:
        node.fleet.refresh()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "tlsprovider.fleet"]


def early_flight(node: Node) -> bytes:
    """What a client of the fleet sends with early data."""
    client, _ = node.engines()
    client.write_early(b"GET / HTTP/1.1\r\n\r\n")
    go_on(client)
    return client.process_outgoing()


def accepts(node: Node, flight: bytes) -> bool:
    """Whether a server of this node accepts the early data in it."""
    _, server = node.engines()
    server.process_incoming(flight)
    go_on(server)
    return server.read_early() == b"GET / HTTP/1.1\r\n\r\n"


class TestKeys:
    def test_a_session_of_one_resumes_on_the_other(self, nodes: tuple[Node, Node]) -> None:
        one, other = nodes
        assert not one.resumes()
        assert other.resumes()

    def test_before_and_after_a_rotation(self, nodes: tuple[Node, Node]) -> None:
        one, other = nodes
        one.resumes()
        first = one.keys
        # Half a lead before its end the next key is there, and opens on both; the first one still seals.
        advance(nodes, DAY - HOUR)
        assert one.keys == other.keys and len(one.keys) == 2
        (successor,) = set(one.keys) - set(first)
        assert one.keys[successor] == pytest.approx(next(iter(first.values())) + DAY)
        assert other.resumes()
        advance(nodes, HOUR + 1)
        assert one.resumes() and other.resumes()

    def test_of_many_nodes_one_makes_the_key(self, redis: RedisServer) -> None:
        nodes = [Node(redis) for _ in range(8)]
        tomorrow = nodes[0].time + DAY
        for node in nodes:
            node.time = tomorrow
        barrier = threading.Barrier(len(nodes))

        def refresh(node: Node) -> None:
            barrier.wait()
            node.fleet.refresh()

        with ThreadPoolExecutor(len(nodes)) as pool:
            list(pool.map(refresh, nodes))
        for node in nodes:
            node.fleet.refresh()
            node.fleet.close()
        assert len({frozenset(node.keys) for node in nodes}) == 1
        assert len(nodes[0].keys) == 2

    def test_old_keys_go(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        one, _ = nodes
        (first,) = one.keys
        for _ in range(3):
            advance(nodes, DAY)
        assert first not in one.keys
        with redis_client.Redis.from_url(redis.url) as client:
            assert set(client.hkeys(one.fleet._keys)) == set(one.keys)

    def test_redis_sees_no_key(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        one, _ = nodes
        with redis_client.Redis.from_url(redis.url) as client:
            everything = b"".join(b"".join(pair) for pair in client.hgetall(one.fleet._keys).items())
        assert one.fleet._tickets._keys[0].secret not in everything

    def test_other_secrets_are_other_fleets(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        stranger = RedisFleet(redis.url, secret=b"another secret of another fleet", refresh=HOUR)
        stranger.close()
        assert stranger._tickets._keys[0].name not in nodes[0].keys

    def test_a_thread_follows_the_keys(self, redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        looked = threading.Event()
        fleet = RedisFleet(redis.url, secret=SECRET, refresh=0.05)
        monkeypatch.setattr(fleet, "refresh", looked.set)
        assert looked.wait(10)
        fleet.close()
        assert not fleet._thread.is_alive()


class TestTampering:
    @pytest.mark.parametrize("value", [b"", b"x", bytes(200)], ids=["empty", "short", "zeros"])
    def test_values_are_passed_over(
        self, nodes: tuple[Node, Node], redis: RedisServer, value: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = nodes
        one.resumes()
        kept = one.keys
        with redis_client.Redis.from_url(redis.url) as client:
            client.hset(one.fleet._keys, b"n" * 16, value)
            client.hset(one.fleet._keys, b"short name", value)
        advance(nodes, 1)
        advance(nodes, 1)
        assert one.keys == kept
        assert other.resumes()
        # Once for each value and node, though they looked twice.
        assert [line for line in warnings(caplog) if "is passed over" in line].__len__() == 4

    def test_a_key_under_another_name(
        self, nodes: tuple[Node, Node], redis: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, _ = nodes
        (name,) = one.keys
        with redis_client.Redis.from_url(redis.url) as client:
            client.hset(one.fleet._keys, b"n" * 16, client.hget(one.fleet._keys, name))
        advance(nodes, 1)
        assert list(one.keys) == [name]
        assert "changed, or sealed with another secret" in warnings(caplog)[0]

    def test_a_wrong_kind_of_value(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        one, other = nodes
        one.resumes()
        with redis_client.Redis.from_url(redis.url) as client:
            client.set(one.fleet._keys, b"not a hash")
        advance(nodes, 1)
        assert other.resumes(), "it goes on with what it has"

    def test_everything_ruined_heals(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        one, other = nodes
        with redis_client.Redis.from_url(redis.url) as client:
            client.delete(one.fleet._keys)
            client.set(one.fleet._newest, b"nonsense")
            client.set(one.fleet._since, b"never")
        before = one.keys
        advance(nodes, 1)
        assert one.keys == other.keys == before
        one.resumes()
        assert other.resumes()


class TestEarlyData:
    def test_once_in_the_fleet(self, nodes: tuple[Node, Node]) -> None:
        one, other = nodes
        one.resumes()
        flight = early_flight(other)
        assert accepts(other, flight)
        assert not accepts(other, flight)
        assert not accepts(one, flight)

    def test_two_hundred_replays_at_once(self, redis: RedisServer) -> None:
        """On servers that have not seen the flight themselves, so all of them ask Redis."""
        nodes = [Node(redis) for _ in range(4)]
        for node in nodes:
            node.client, node.time = nodes[0].client, nodes[0].time
        nodes[0].resumes()
        flight = early_flight(nodes[0])
        asked: list[bytes] = []
        for node in nodes:
            claim = node.fleet.claim
            node.fleet.claim = lambda unique, claim=claim: bool(asked.append(unique)) or claim(unique)  # type: ignore[method-assign]
        with ThreadPoolExecutor(16) as pool:
            accepted = list(pool.map(lambda number: accepts(nodes[number % 4], flight), range(200)))
        for node in nodes:
            node.fleet.close()
        assert accepted.count(True) == 1
        assert len(set(asked)) == 1 and len(asked) == 4, "each node asks once"

    def test_the_configuration_is_asked_as_well(self, redis: RedisServer) -> None:
        asked: list[AcceptEarlyData] = []
        node = Node(redis, accept_early_data=lambda question: bool(asked.append(question)))
        node.resumes()
        flight = early_flight(node)
        assert not accepts(node, flight)
        assert len(asked) == 1
        node.fleet.close()

    def test_none_without_redis(
        self, nodes: tuple[Node, Node], redis: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, other = nodes
        one.resumes()
        redis.kill()
        assert not accepts(one, early_flight(one))
        assert not accepts(one, early_flight(one))
        lines = [line for line in warnings(caplog) if "goes on with the 1 keys that it has" in line]
        assert len(lines) == 1
        assert "refuses early data" in lines[0]
        assert other.resumes(), "everything else goes on"

    def test_a_memory_that_was_lost(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        """A flight that was accepted before is not accepted by a Redis that has forgotten it."""
        one, other = nodes
        one.resumes()
        flight = early_flight(other)
        assert accepts(one, flight)
        redis.kill()
        redis.start()
        # Neither before anybody has noticed ...
        assert not accepts(other, flight)
        # ... nor after.
        advance(nodes, 1)
        assert not accepts(other, flight)
        assert other.resumes(), "the keys are the same: a node has brought them back"
        advance(nodes, 12)
        assert accepts(one, early_flight(other)), "and new flights are accepted again"

    def test_a_claim_against_a_younger_memory(self, nodes: tuple[Node, Node], redis: RedisServer) -> None:
        """A flight was judged, then Redis lost its memory and the node saw that: its claim must not succeed now."""
        one, _ = nodes
        tickets, now = one.fleet._tickets, one.time
        assert tickets.first_use(b"flight", now, now)
        assert tickets.first_use(b"another", now, now)
        assert one.fleet.claim(b"another")
        redis.kill()
        redis.start()
        one.time += 1
        one.fleet.refresh()
        assert not one.fleet.claim(b"flight")
        assert not one.fleet.claim(b"never judged")

    def test_what_may_be_older_than_the_memory(self) -> None:
        tickets = FleetTickets()
        key = TicketKey.new(1000.0, (DAY, DAY))
        tickets.follow([key], since=2000.0, memory=b"2000")
        assert not tickets.first_use(b"before", 2009.0, 2009.0)
        assert tickets.first_use(b"after", 2010.0, 2010.0)
        tickets.follow([TicketKey.new(2000.0, (DAY, DAY))], since=2000.0, memory=b"2000")
        assert tickets.first_use(b"key of this memory", 2000.0, 2000.0)
        assert not tickets.first_use(b"long ago", 2000.0, 2011.0)
        tickets.alone()
        assert not tickets.first_use(b"alone", 2010.0, 2010.0)


class TestFrameworks:
    def test_the_event_loop_goes_on(self, redis: RedisServer) -> None:
        """The claim is made by whatever ``wait_for_claim`` says, and the handshake waits."""
        waiting: list[bytes] = []

        class Fleet(WaitingFleet):
            async def wait_for_claim(self, unique: bytes) -> bool:  # type: ignore[override]
                waiting.append(unique)
                return self.claim(unique)

        world = World(client={"early_data": True}, server={"max_early_data": 1000})
        fleet = Fleet(redis.url, secret=SECRET, refresh=HOUR, clock=lambda: world.time)
        world.server = fleet.join(world.server)
        world.resumes()
        client, server = world.engines()
        client.write_early(b"early")
        go_on(client)
        server.process_incoming(client.process_outgoing())
        with pytest.raises(WantAnswer):
            server.do_handshake()
        question = server.question
        assert isinstance(question, AcceptEarlyData) and question.pending is not None
        with pytest.raises(StopIteration) as answer:
            question.pending.__await__().send(None)
        question.answer(answer.value.value)
        pump(client, server)
        transfer(client, server)
        assert (client.early_data, server.early_data, len(waiting)) == ("accepted", "accepted", 1)
        fleet.close()


class TestMistakes:
    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda: RedisFleet("http://localhost"), "is no URL of a Redis server"),
            (lambda: RedisFleet("redis://localhost", secret=b"short"), "at least 16 random bytes, got 5"),
            (lambda: RedisFleet("redis://localhost", secret=SECRET, refresh=DAY), "refresh"),
        ],
    )
    def test_mistakes(self, make: Callable[[], object], words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            make()

    def test_a_password_is_not_repeated(self) -> None:
        with pytest.raises(ConfigError) as caught:
            RedisFleet("http://user:hunter2@localhost", secret=SECRET)
        assert "hunter2" not in str(caught.value)

    def test_nobody_there(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        """No error: the server starts, gives no tickets, and finds Redis when it comes."""
        redis = RedisServer(tmp_path)
        caplog.set_level(logging.INFO, "tlsprovider.fleet")
        node = Node(redis)
        assert not node.resumes() and not node.resumes()
        assert "goes on with the 0 keys" in warnings(caplog)[0]
        redis.start()
        node.fleet.refresh()
        assert warnings(caplog)[-1].endswith("is back; this node follows the keys of the fleet again")
        node.resumes()
        assert node.resumes()
        node.fleet.close()
        redis.kill()

    def test_no_secret_is_worth_a_line(self, redis: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        RedisFleet(redis.url).close()
        assert "whoever reads this Redis can read all sessions" in warnings(caplog)[0]
