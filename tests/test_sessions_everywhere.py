"""Sessions resume by themselves wherever an engine is used: the SSL object, trio, Twisted, the command."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import trio
from contract_transports import Link, every_transport, make_ssls
from pages import environment
from resuming import identity, trust
from terminal import fails, invoke, run, serving, write_files
from trio.testing import memory_stream_pair
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport

from tlsprovider import UnsupportedByProvider
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import MisuseError
from tlsprovider.session import MemorySessions, Session
from tlsprovider.ssl import SSL, EarlyDataStatus
from tlsprovider.trio import TLSStream, open_tls_stream, serve_tls
from tlsprovider.twisted.factory import TLSFactory

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def client() -> ClientConfig:
    return ClientConfig(trust=trust(), groups=["x25519"], early_data=True)


@pytest.fixture
def server() -> ServerConfig:
    return ServerConfig(identities=[identity("localhost")], max_early_data=1000)


class TestSSL:
    def meet(self, link: Link) -> None:
        """A handshake, and a word of the server."""
        link.handshake()
        assert link.both(lambda: link.client.read(100), lambda: link.server.write(b"hello")) == (b"hello", 5)

    @every_transport
    def test_resumes(self, transport: type[Link], client: ClientConfig, server: ServerConfig) -> None:
        for number in range(3):
            with transport(*make_ssls(client, server)) as link:
                self.meet(link)
                assert link.client.session_reused is link.server.session_reused is (number > 0)
                assert isinstance(link.client.get1_session(), Session)
                assert (link.server.get1_session() is not None) is (number > 0)

    @every_transport
    def test_set_session_and_early_data(
        self, transport: type[Link], client: ClientConfig, server: ServerConfig
    ) -> None:
        """K15: written before the handshake; the status tells afterwards."""
        with transport(*make_ssls(client, server)) as link:
            assert link.client.get_early_data_status() is EarlyDataStatus.NOT_SENT
            assert link.client.get1_session() is None
            self.meet(link)
            session = link.client.get1_session()
            assert link.client.get_early_data_status() is EarlyDataStatus.NOT_SENT
        alone = attrs.evolve(client, sessions=MemorySessions())
        with transport(*make_ssls(alone, server)) as link:
            assert link.client.set_session(session) == 1
            assert link.client.write_early_data(b"early ") == 6
            assert link.client.write_early_data(b"words") == 5
            link.handshake()
            assert link.client.get_early_data_status() is EarlyDataStatus.ACCEPTED
            assert link.server.get_early_data_status() is EarlyDataStatus.ACCEPTED
            assert link.server.read_early_data(6) == b"early "
            assert link.one(link.server, lambda: link.server.read(100)) == b"words"
            assert link.server.read_early_data(6) == b""

    def test_only_before_the_handshake(self, client: ClientConfig, server: ServerConfig) -> None:
        ours, theirs = make_ssls(client, server)
        with pytest.raises(MisuseError, match="has not begun"):
            theirs.set_session(None)
        with pytest.raises(MisuseError, match="early data is off"):
            SSL(attrs.evolve(client, early_data=False), server_hostname="localhost").write_early_data(b"early")
        assert ours.set_session(None) == 1

    def test_a_provider_without_sessions(self) -> None:
        ssl = SSL(ClientConfig(trust=trust()), provider="stdlib", server_hostname="localhost")
        assert ssl.get1_session() is None
        with pytest.raises(UnsupportedByProvider, match="set_session"):
            ssl.set_session(None)


class TestTrio:
    def test_streams(self, client: ClientConfig, server: ServerConfig) -> None:
        async def main() -> None:
            for number in range(3):
                left, right = memory_stream_pair()
                ours = TLSStream(left, client, "localhost")
                theirs = TLSStream(right, server, server_side=True)
                assert isinstance(ours.engine, NativeEngine)
                ours.engine.write_early(b"early")
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(theirs.do_handshake)
                    await ours.do_handshake()
                accepted = "accepted" if number else "not_sent"
                assert (ours.session_reused, ours.early_data) == (number > 0, accepted)
                if number:
                    assert await theirs.receive_some() == b"early"
                await theirs.send_all(b"hello")
                assert await ours.receive_some() == b"hello"
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(theirs.aclose)
                    await ours.aclose()

        trio.run(main)

    def test_open_tls_stream(self, client: ClientConfig, server: ServerConfig) -> None:
        async def echo(stream: TLSStream[trio.SocketStream]) -> None:
            async with stream:
                async for data in stream:
                    await stream.send_all(data)

        async def main() -> list[bool]:
            reused = []
            async with trio.open_nursery() as nursery:
                for listening in (0, 0):
                    listeners = await nursery.start(
                        lambda task_status, port=listening: serve_tls(
                            echo, port, server, host="127.0.0.1", task_status=task_status
                        )
                    )
                    port = listeners[0].transport_listener.socket.getsockname()[1]
                    for _ in range(2):
                        async with await open_tls_stream(
                            "127.0.0.1", port, client, server_hostname="localhost"
                        ) as stream:
                            await stream.send_all(b"hello")
                            assert await stream.receive_some() == b"hello"
                            reused.append(stream.session_reused)
                nursery.cancel_scope.cancel()
            return reused

        # Each port has sessions of its own.
        assert trio.run(main) == [False, True, False, True]


class Greets(Protocol):
    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(b"hello")


class TestTwisted:
    def test_factories(self, client: ClientConfig, server: ServerConfig) -> None:
        clients = TLSFactory(client, Factory.forProtocol(Protocol), hostname="localhost")
        servers = TLSFactory(server, Factory.forProtocol(Greets))
        reused = []
        for _ in range(3):
            ours, theirs = clients.buildProtocol(None), servers.buildProtocol(None)
            assert ours is not None and theirs is not None
            lines = StringTransport(), StringTransport()
            ours.makeConnection(lines[0])
            theirs.makeConnection(lines[1])
            for _ in range(8):
                for line, other in ((lines[0], theirs), (lines[1], ours)):
                    data = line.value()
                    line.clear()
                    if data:
                        other.dataReceived(data)
            reused.append(ours._engine.session_reused)
        assert reused == [False, True, True]


class TestCommand:
    @pytest.fixture(autouse=True)
    def surroundings(self, tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
        write_files(tmp_path, authority)
        monkeypatch.chdir(tmp_path)
        for name, value in environment().items():
            monkeypatch.setenv(name, value)

    def test_reconnect(self) -> None:
        with serving("--cert", "server.pem") as (_, address):
            done = run("connect", address, "--ca", "ca.pem", "--reconnect", "2", say=b"hello\n")
        assert (done.code, done.output) == (0, b"hello\n" * 3)
        assert [line.split()[-1] for line in done.errors.splitlines() if line.startswith("session")] == [
            "new",
            "resumed",
            "resumed",
        ]

    def test_early_data_and_a_file_of_sessions(self) -> None:
        Path("request").write_bytes(REQUEST)
        connect = ("--ca", "ca.pem", "--early-data", "request", "--sessions", "kept")
        serve = ("--cert", "server.pem", "--http", "--early-data", "1000")
        with serving(*serve, "--framework", "twisted") as (_, address):
            first = run("connect", address, *connect)
            assert Path("kept").stat().st_mode & 0o777 == 0o600
            second = run("connect", address, *connect)
        # Another process has other keys.
        with serving(*serve, listen=address):
            third = run("connect", address, *connect)
        for done, session, words in (
            (first, "new", "not possible yet: it is sent now"),
            (second, "resumed", "accepted"),
            (third, "new", "rejected: it is sent again"),
        ):
            assert done.code == 0, done.errors
            assert done.output.startswith(b"HTTP/1.1 200 OK"), done.errors
            assert f"session               {session} " in done.errors
            assert f"early data            {words}" in done.errors

    def test_a_provider_that_can_not(self) -> None:
        Path("request").write_bytes(REQUEST)
        said = fails(
            invoke("connect", "localhost:1", "--ca", "ca.pem", "--early-data", "request", "--provider", "stdlib")
        )
        assert said == "the provider 'stdlib' does not support early_data=True; use the provider 'native'"

    def test_a_file_of_something_else(self) -> None:
        said = fails(invoke("connect", "localhost:1", "--ca", "ca.pem", "--sessions", "ca.pem"))
        assert said == "ca.pem: is no file of sessions, as MemorySessions.save writes it"
