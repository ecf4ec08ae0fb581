"""A client and a server of :mod:`tlsprovider.twisted`, joined in memory by Twisted's ``iosim``, on their own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.test import iosim
from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.twisted import TLSFactory, TLSProtocol


class Wire(iosim.FakeTransport):
    """A transport that can also be paused, that knows an abort from a close, and that remembers each write."""

    clock: Clock

    def __init__(self, protocol: Any, isServer: bool) -> None:
        super().__init__(protocol, isServer)
        self.writes: list[bytes] = []
        self.reading = True
        self.aborted = False
        self._held = b""

    def write(self, data: bytes) -> None:
        assert type(data) is bytes
        self.writes.append(data)
        super().write(data)

    def bufferReceived(self, buf: bytes) -> None:
        if self.reading:
            self.protocol.dataReceived(buf)
        else:
            self._held += buf

    def pauseProducing(self) -> None:
        self.reading = False

    def resumeProducing(self) -> None:
        self.reading = True
        self.clock.callLater(0, self._release)

    def _release(self) -> None:
        held, self._held = self._held, b""
        if held:
            self.bufferReceived(held)

    def abortConnection(self) -> None:
        self.aborted = True
        self.stream.clear()
        self.disconnectReason = ConnectionAborted()
        self.disconnecting = True

    def reportDisconnect(self) -> None:
        # As TCP does, so that nothing refers to a lost connection.
        protocol, self.protocol = self.protocol, None
        protocol.connectionLost(Failure(self.disconnectReason))


class Talker(Protocol):
    """Remembers what happened to it, in order."""

    def __init__(self) -> None:
        self.happened: list[str] = []
        self.pieces: list[bytes] = []
        self.lost: list[Failure] = []

    @property
    def received(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def reason(self) -> BaseException:
        """The one reason for which the connection was lost."""
        (failure,) = self.lost
        assert failure.value is not None
        return failure.value

    def connectionMade(self) -> None:
        self.happened.append("made")

    def dataReceived(self, data: bytes) -> None:
        self.happened.append("data")
        self.pieces.append(data)

    def connectionLost(self, reason: Failure) -> None:
        self.happened.append("lost")
        self.lost.append(reason)


@implementer(IHandshakeListener)
class Listener(Talker):
    def handshakeCompleted(self) -> None:
        self.happened.append("handshake")


@implementer(IHalfCloseableProtocol)
class HalfCloser(Talker):
    def readConnectionLost(self) -> None:
        self.happened.append("read lost")

    def writeConnectionLost(self) -> None:
        self.happened.append("write lost")


@attrs.define
class Pair:
    """Both ends: the application's protocols, their TLS, and the transports below."""

    client: Any
    server: Any
    client_tls: TLSProtocol
    server_tls: TLSProtocol
    client_wire: Wire
    server_wire: Wire
    pump: iosim.IOPump
    clock: Clock

    def flush(self) -> None:
        """Move bytes and run what is due, until nothing happens any more."""
        moved = True
        while moved:
            moved = self.pump.flush()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.flush()

    def cut(self, side: str) -> None:
        """Let one end's TCP connection end without a word of TLS."""
        wire = self.client_wire if side == "client" else self.server_wire
        wire.loseConnection()
        self.flush()


def tls(config: ClientConfig | ServerConfig, protocol: Any, clock: Clock, **options: Any) -> TLSProtocol:
    """One TLS connection around ``protocol``, not connected yet."""
    if isinstance(config, ClientConfig):
        options.setdefault("hostname", "localhost")
    factory = TLSFactory(config, Factory.forProtocol(lambda: protocol), clock=clock, **options)
    built = factory.buildProtocol(None)
    assert built is not None
    return built


def join(
    client_config: ClientConfig,
    server_config: ServerConfig,
    client: Any = None,
    server: Any = None,
    *,
    start: bool = True,
    **options: Any,
) -> Pair:
    """Connect both; with ``start`` also run until nothing happens any more, so that the handshake is complete."""
    clock = Clock()
    client = Talker() if client is None else client
    server = Talker() if server is None else server
    client_tls = tls(client_config, client, clock, **options)
    server_tls = tls(server_config, server, clock, **options)
    return join_protocols(client, server, client_tls, server_tls, clock, start=start)


def join_protocols(
    client: Any, server: Any, client_tls: Any, server_tls: Any, clock: Clock, *, start: bool = True
) -> Pair:
    """Connect any two protocols that take their time from ``clock``."""
    client_wire, server_wire = Wire(client_tls, False), Wire(server_tls, True)
    client_wire.clock = server_wire.clock = clock
    pump = iosim.connect(server_tls, server_wire, client_tls, client_wire, greet=False, clock=clock)
    pair = Pair(client, server, client_tls, server_tls, client_wire, server_wire, pump, clock)
    if start:
        pair.flush()
    return pair


def assert_over(pair: Pair) -> None:
    """Everybody knows, once, and nothing is left behind on the clock."""
    assert pair.client.happened.count("lost") == pair.server.happened.count("lost") == 1
    assert pair.clock.getDelayedCalls() == []
    assert pair.client_tls.factory.protocols == pair.server_tls.factory.protocols == {}


Connect = Callable[..., Pair]


@pytest.fixture(name="connect")
def make_connect(client_config: ClientConfig, server_config: ServerConfig) -> Connect:
    """:func:`join` with the usual configurations; ``on_client`` and ``on_server`` are changes to them."""

    def connect(
        client: Any = None,
        server: Any = None,
        on_client: dict[str, Any] | None = None,
        on_server: dict[str, Any] | None = None,
        **options: Any,
    ) -> Pair:
        ours, theirs = (
            attrs.evolve(client_config, **(on_client or {})),
            attrs.evolve(server_config, **(on_server or {})),
        )
        return join(ours, theirs, client, server, **options)

    return connect


@attrs.frozen
class Files:
    """The same authority and certificates as elsewhere, as PEM files."""

    ca: str
    cert: str
    key: str
    both: str
    client: str


@pytest.fixture(name="files", scope="session")
def write_files(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("pem")
    server, client = authority.issue("localhost", "example.com", "127.0.0.1"), authority.issue("alice", client=True)
    contents = {
        "ca": authority.certificate_pem,
        "cert": server.chain_pem,
        "key": server.key_pem,
        "both": server.key_pem + server.chain_pem,
        "client": client.chain_pem + client.key_pem,
    }
    for name, content in contents.items():
        (folder / f"{name}.pem").write_bytes(content)
    return Files(**{name: str(folder / f"{name}.pem") for name in contents})


@pytest.fixture(name="logged")
def watch_log() -> Iterator[list[str]]:
    """What was logged as a warning or worse. A test that expects something takes it out; nothing may be left."""
    lines: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.warn:
            lines.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    yield lines
    globalLogPublisher.removeObserver(observe)
    assert lines == []
