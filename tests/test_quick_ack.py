"""What a server says to TCP when the handshake is complete, in each adapter: once, and only over TCP."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
import trio
from programs import SECONDS

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.quick_ack import acknowledge_now
from tlsprovider.ssl import SSL, SocketBIO
from tlsprovider.trio import TLSStream

QUICKACK = getattr(socket, "TCP_QUICKACK", None)


class Recorder:
    """In the place of a socket."""

    def __init__(self, family: int, error: OSError | None = None) -> None:
        self.family = family
        self.error = error
        self.said: list[tuple[int, int, int]] = []

    def setsockopt(self, *option: Any) -> None:
        if self.error is not None:
            raise self.error
        self.said.append(option)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_tcp(family: int) -> None:
    recorder = Recorder(family)
    acknowledge_now(recorder)
    assert recorder.said == ([] if QUICKACK is None else [(socket.IPPROTO_TCP, QUICKACK, 1)])


def test_others_are_left_alone() -> None:
    recorder = Recorder(socket.AF_UNIX)
    acknowledge_now(recorder)
    assert not recorder.said
    acknowledge_now(None)
    acknowledge_now(object())


def test_a_socket_that_is_gone() -> None:
    acknowledge_now(Recorder(socket.AF_INET, OSError("closed")))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The sockets that it was said of."""
    found: list[object] = []
    for place in ("trio.handshaking", "ssl.bio_socket", "twisted.connection", "twisted.pyopenssl"):
        monkeypatch.setattr(f"tlsprovider.{place}.acknowledge_now", found.append)
    return found


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname(), SECONDS)
        server, _ = listener.accept()
    server.settimeout(SECONDS)
    return client, server


def test_trio(told: list[object], client_config: ClientConfig, server_config: ServerConfig) -> None:
    async def main() -> None:
        one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in tcp_pair())
        client, server = TLSStream(one, client_config, "localhost"), TLSStream(other, server_config, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            nursery.start_soon(server.do_handshake)
        assert told == [other.socket]
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)

    trio.run(main)


def test_trio_when_a_request_came_along(
    told: list[object], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """The answer to it acknowledges the Finished, which travelled in the same segment."""

    async def main() -> None:
        one, other = (trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in tcp_pair())
        client, server = TLSStream(one, client_config, "localhost"), TLSStream(other, server_config, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"?")
            assert await server.receive_some() == b"?"
        assert told == []
        await trio.aclose_forcefully(client)
        await trio.aclose_forcefully(server)

    trio.run(main)


def test_ssl_object(told: list[object], client_config: ClientConfig, server_config: ServerConfig) -> None:
    one, other = tcp_pair()
    with one, other:
        client, server = SSL(client_config, server_hostname="localhost"), SSL(server_config)
        for side, end in ((client, one), (server, other)):
            bio = SocketBIO(end)
            side.set_bio(bio, bio)
        thread = threading.Thread(target=client.connect)
        thread.start()
        assert server.accept() == 1
        thread.join()
        assert told == [other]


@pytest.mark.parametrize("listening", ["TLSFactory", "ContextFactory"])
def test_twisted(listening: str, told: list[object], client_config: ClientConfig, server_config: ServerConfig) -> None:
    from twisted.internet.error import ConnectionDone
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.testing import StringTransport
    from twisted.protocols.tls import TLSMemoryBIOFactory
    from twisted.python.failure import Failure

    from tlsprovider.twisted import ContextFactory, TLSFactory

    def factory(config: ClientConfig | ServerConfig, name: str | None) -> Any:
        wrapped = Factory.forProtocol(Protocol)
        if listening == "TLSFactory":
            return TLSFactory(config, wrapped, hostname=name)
        return TLSMemoryBIOFactory(ContextFactory(config, name), name is not None, wrapped)

    ends = []
    for config, name in ((client_config, "localhost"), (server_config, None)):
        protocol = factory(config, name).buildProtocol(None)
        transport: Any = StringTransport()
        transport.socket = name
        protocol.makeConnection(transport)
        ends.append((protocol, transport))
    for _ in range(2):
        for (_, sent), (receiver, _) in (ends, ends[::-1]):
            data = sent.value()
            sent.clear()
            receiver.dataReceived(data)
    assert told == [None], "the server's, which has no socket here"
    for protocol, _ in ends:
        protocol.abortConnection()
        protocol.connectionLost(Failure(ConnectionDone()))
