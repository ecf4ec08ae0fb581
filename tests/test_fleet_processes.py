"""Two servers in processes of their own and one Redis: what a client, and somebody who replays it, meets."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis_server import RedisServer, needs_redis
from redis_server import redis as redis
from terminal import SECONDS, fails, invoke, serving, write_files
from test_early_data import go_on

from tlsprovider.config import ClientConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import WantRead
from tlsprovider.providers import get_provider
from tlsprovider.session import Session
from tlsprovider.trust import TrustStore

pytestmark = needs_redis

EARLY = b"early words\n"


@pytest.fixture
def config(authority: Authority) -> ClientConfig:
    trust = TrustStore.from_crypto([authority.certificate])
    return ClientConfig(trust=trust, groups=["x25519"], early_data=True)


@pytest.fixture
def ports(
    redis: RedisServer, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[int]]:
    """One server on trio and one on Twisted."""
    write_files(tmp_path, authority)
    monkeypatch.setenv("TLSPROVIDER_FLEET_SECRET", os.urandom(16).hex())
    options = ("--cert", str(tmp_path / "server.pem"), "--tickets", redis.url, "--early-data", "1000")
    with ExitStack() as stack:
        found = []
        for framework in ("trio", "twisted"):
            _, where = stack.enter_context(serving(*options, "--framework", framework))
            found.append(int(where.rpartition(":")[2]))
        yield found


def engine_for(config: ClientConfig, session: Session | None = None) -> NativeEngine:
    engine = get_provider("native").client_engine(config, "localhost")
    assert isinstance(engine, NativeEngine)
    if session is not None:
        engine.set_session(session)
    return engine


def visit(port: int, engine: NativeEngine) -> NativeEngine:
    """Shake hands, say something, and read the echo, with which the tickets come."""
    with socket.create_connection(("localhost", port), SECONDS) as connection:
        connection.settimeout(SECONDS)

        def wait_for(step: object) -> bytes:
            while True:
                try:
                    result: bytes = step()  # type: ignore[operator]
                except WantRead:
                    connection.sendall(engine.process_outgoing())
                    engine.process_incoming(connection.recv(65536))
                else:
                    connection.sendall(engine.process_outgoing())
                    return result

        wait_for(engine.do_handshake)
        engine.write(b"hello\n")
        assert wait_for(engine.read).endswith(b"hello\n")
    return engine


def answer_length(port: int, flight: bytes) -> int:
    """How long the server's protected answer to this hello is. It is longer where early data is accepted."""
    with socket.create_connection(("localhost", port), SECONDS) as connection:
        connection.settimeout(SECONDS)
        connection.sendall(flight)
        with connection.makefile("rb") as stream:
            while header := stream.read(5):
                content = stream.read(header[3] << 8 | header[4])
                if header[0] == 23:
                    return len(content)
                assert header[0] != 21, content
    raise AssertionError("the server has said nothing that is protected")


class TestFleet:
    def test_a_session_of_one_resumes_on_the_other(self, ports: list[int], config: ClientConfig) -> None:
        session = visit(ports[0], engine_for(config)).session
        for port in (ports[1], ports[0]):
            again = visit(port, engine_for(config, session))
            assert again.session_reused
            session = again.session

    def test_replays_are_accepted_once_in_all(self, ports: list[int], config: ClientConfig) -> None:
        session = visit(ports[0], engine_for(config)).session
        victim = engine_for(config, session)
        victim.write_early(EARLY)
        go_on(victim)
        flight = victim.process_outgoing()
        with ThreadPoolExecutor(20) as pool:
            lengths = list(pool.map(lambda number: answer_length(ports[number % 2], flight), range(200)))
        refused = min(lengths)
        # The extension early_data is four bytes long.
        assert sorted(set(lengths)) == [refused, refused + 4]
        assert lengths.count(refused + 4) == 1

    def test_no_connection_is_lost_with_redis(self, ports: list[int], config: ClientConfig, redis: RedisServer) -> None:
        """It is killed, and started again, while clients come and go."""
        session = visit(ports[0], engine_for(config)).session
        resumed = 0
        with ThreadPoolExecutor(4) as pool:
            for step in (redis.kill, lambda: None, redis.start, lambda: None):
                visits = [pool.submit(visit, ports[number % 2], engine_for(config, session)) for number in range(20)]
                step()
                resumed += sum(one.result().session_reused for one in visits)
        assert resumed == 80


@pytest.mark.parametrize(
    ("tickets", "words"),
    [
        ("many", "--tickets many: expected a number from 0 to 8, or redis://HOST:PORT"),
        ("http://localhost", "http://localhost is no URL of a Redis server"),
    ],
)
def test_wrong_words(tickets: str, words: str, tmp_path: Path, authority: Authority) -> None:
    write_files(tmp_path, authority)
    result = invoke("serve", "--cert", str(tmp_path / "server.pem"), "--tickets", tickets)
    assert words in fails(result)
