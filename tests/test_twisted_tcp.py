"""Over real sockets and real reactors: endpoint strings, producers, halves, HTTP/1.1 and HTTP/2."""

from __future__ import annotations

import hashlib
import io
import socket
import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
from twisted_child import REACTORS, in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files

MEGABYTE = bytes(range(256)) * 4096
PAGE = MEGABYTE[:200_000]


def waiting_protocol() -> Any:
    """A protocol that collects, with Deferreds for what one waits for. Made in the child, where there is a reactor."""
    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IHalfCloseableProtocol
    from twisted.internet.protocol import Protocol
    from zope.interface import implementer

    @implementer(IHalfCloseableProtocol)
    class Waiting(Protocol):
        def __init__(self) -> None:
            self.received = b""
            self.read_ended: Deferred[None] = Deferred()
            self.ended: Deferred[str] = Deferred()

        def dataReceived(self, data: bytes) -> None:
            self.received += data

        def readConnectionLost(self) -> None:
            self.read_ended.callback(None)

        def writeConnectionLost(self) -> None:
            pass

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(reason.type.__name__)

    return Waiting()


async def connected(reactor: Any, server_words: str, client_words: str) -> tuple[Any, Any, Any]:
    """Listen by one string, connect by the other (``PORT`` is filled in): the port, client and server protocols."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.internet.protocol import Factory

    accepted: Deferred[Any] = Deferred()

    def build() -> Any:
        protocol = waiting_protocol()
        accepted.callback(protocol)
        return protocol

    port = await serverFromString(reactor, server_words).listen(Factory.forProtocol(build))
    endpoint = clientFromString(reactor, client_words.replace("PORT", str(getattr(port.getHost(), "port", None))))
    client = await endpoint.connect(Factory.forProtocol(waiting_protocol))
    return port, client, await accepted


async def half_closing_with_producers(reactor: Any, server_words: str, client_words: str) -> list[Any]:
    """Each side sends a file and closes its direction; neither closes all of it before both are done."""
    from twisted.internet.defer import gatherResults
    from twisted.protocols.basic import FileSender

    port, client, server = await connected(reactor, server_words, client_words)
    both = client, server
    senders = [FileSender().beginFileTransfer(io.BytesIO(MEGABYTE * 3), one.transport) for one in both]
    await gatherResults(senders)
    for one in both:
        one.transport.loseWriteConnection()
    await gatherResults([one.read_ended for one in both])
    for one in both:
        one.transport.loseConnection()
    reasons = await gatherResults([one.ended for one in both])
    await port.stopListening()
    group = client.transport.getHandle().group
    return [group, *reasons, *(hashlib.sha256(one.received).hexdigest() for one in both)]


async def sudden_end(reactor: Any, server_words: str, client_words: str, how: str) -> list[str]:
    port, client, server = await connected(reactor, server_words, client_words)
    if how == "abort":
        client.transport.abortConnection()
    elif how == "lose":
        client.transport.write(b"bye")
        client.transport.loseConnection()
        await server.read_ended
        server.transport.loseConnection()
    else:
        # As a process does that dies.
        client.transport.transport.loseConnection()
    reasons = [await client.ended, await server.ended]
    await port.stopListening()
    return [*reasons, server.received.decode()]


class TestStrings:
    @pytest.mark.parametrize("reactor", REACTORS)
    def test_both_directions(self, files: Files, reactor: str) -> None:
        result = in_child(
            half_closing_with_producers,
            f"tlsp:0:interface=127.0.0.1:cert={files.cert}:key={files.key}:groups=x25519",
            f"tlsp:127.0.0.1:PORT:name=localhost:ca={files.ca}",
            reactor=reactor,
        )
        digest = hashlib.sha256(MEGABYTE * 3).hexdigest()
        assert result == ["x25519", "ConnectionDone", "ConnectionDone", digest, digest]

    def test_tls_in_tls(self, files: Files) -> None:
        """An endpoint around an endpoint around an endpoint."""
        from twisted.internet.endpoints import quoteStringArgument

        server = quoteStringArgument(f"tlsp:endpoint=tcp\\:0\\:interface=127.0.0.1:cert={files.both}")
        client = quoteStringArgument(f"tlsp:127.0.0.1:PORT:ca={files.ca}")
        result = in_child(
            half_closing_with_producers,
            f"tlsp:endpoint={server}:cert={files.both}:clientCA={files.ca}",
            f"tlsp:endpoint={client}:name=example.com:ca={files.ca}:cert={files.client}",
        )
        assert result[1:3] == ["ConnectionDone", "ConnectionDone"]
        assert result[3] == result[4]

    @pytest.mark.parametrize("reactor", ["epoll", "asyncio"])
    def test_over_a_unix_socket(self, files: Files, tmp_path: Path, reactor: str) -> None:
        """With a certificate of the client, and the server's endpoint in front."""
        where = tmp_path / "socket"
        result = in_child(
            half_closing_with_producers,
            f"tlsp:unix:{where}:mode=600:privateKey={files.both}:clientCA={files.ca}",
            f"tlsp:localhost:0:endpoint=unix\\:{where}:trustRoots={files.ca}:certificate={files.client}",
            reactor=reactor,
        )
        digest = hashlib.sha256(MEGABYTE * 3).hexdigest()
        # Without TLS, Twisted would tell one of them that it was lost: both close such a socket at once.
        assert result == ["X25519MLKEM768", "ConnectionDone", "ConnectionDone", digest, digest]

    @pytest.mark.parametrize(
        ("how", "reasons"),
        [
            ("abort", ["ConnectionAborted", "ConnectionLost", ""]),
            ("lose", ["ConnectionDone", "ConnectionDone", "bye"]),
            ("cut", ["ConnectionLost", "ConnectionLost", ""]),
        ],
    )
    def test_reasons(self, files: Files, how: str, reasons: list[str]) -> None:
        words = f"tlsp:0:interface=127.0.0.1:cert={files.both}", f"tlsp:127.0.0.1:PORT:ca={files.ca}"
        assert in_child(sudden_end, *words, how) == reasons


async def behind_a_proxy(reactor: Any, words: str, ca: str) -> list[str]:
    """A proxy says whom it connects for before TLS begins; the server's protocol sees that address."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.interfaces import IHandshakeListener
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.threads import deferToThread
    from zope.interface import implementer

    @implementer(IHandshakeListener)
    class Server(Protocol):
        def handshakeCompleted(self) -> None:
            self.transport.write(self.transport.getPeer().host.encode())
            self.transport.loseConnection()

        def connectionLost(self, reason: Any) -> None:
            ended.callback(type(reason.value).__name__)

    def ask(number: int) -> str:
        context = ssl.create_default_context(cafile=ca)
        with socket.create_connection(("127.0.0.1", number), timeout=5) as plain:
            plain.sendall(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 443\r\n")
            with context.wrap_socket(plain, server_hostname="localhost") as secured:
                answer = secured.recv(100)
                secured.unwrap()
                return answer.decode()

    ended: Deferred[str] = Deferred()
    port = await serverFromString(reactor, words).listen(Factory.forProtocol(Server))
    told = [await deferToThread(ask, port.getHost().port), await ended]
    await port.stopListening()
    return told


def test_behind_a_proxy(files: Files) -> None:
    for words in ("tlsp:haproxy:tcp:0:interface=127.0.0.1", "tlsp:endpoint=haproxy\\:tcp\\:0\\:interface=127.0.0.1"):
        told = in_child(behind_a_proxy, f"{words}:privateKey={files.both}", files.ca)
        assert told == ["192.0.2.7", "ConnectionDone"]


async def refused(reactor: Any, server_words: str, client_words: str) -> list[Any]:
    """What the client's Deferred says, and whether the server's protocol was told the same story."""
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.internet.protocol import Factory

    servers: list[Any] = []

    def build() -> Any:
        servers.append(waiting_protocol())
        return servers[0]

    port = await serverFromString(reactor, server_words).listen(Factory.forProtocol(build))
    endpoint = clientFromString(reactor, client_words.replace("PORT", str(port.getHost().port)))
    try:
        await endpoint.connect(Factory.forProtocol(waiting_protocol))
    except Exception as problem:
        told = [type(problem).__name__, str(problem)]
    else:
        raise AssertionError("the connection should have failed")
    told.append(await servers[0].ended)
    await port.stopListening()
    return told


def test_failed_handshake(files: Files) -> None:
    words = f"tlsp:0:interface=127.0.0.1:cert={files.both}", f"tlsp:127.0.0.1:PORT:name=other.example:ca={files.ca}"
    kind, text, server = in_child(refused, *words)
    assert kind == "CertificateFault" and "other.example" in text
    assert server == "AlertReceived"


async def slow_hooks(reactor: Any, cert: str, key: str, ca: str) -> list[str]:
    """Both sides take their decisions in coroutines that wait for the reactor."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from twisted.internet.protocol import Factory
    from twisted.internet.task import deferLater

    from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore
    from tlsprovider.twisted import TLSClientEndpoint, TLSServerEndpoint

    identity = Identity.from_files(cert, key)
    asked: list[str] = []

    async def choose(question: Any) -> Identity:
        asked.append("choose")
        await deferLater(reactor, 0.01)
        return identity

    async def verify(question: Any) -> bool:
        asked.append("verify")
        await deferLater(reactor, 0.01)
        return True

    accepted: Deferred[Any] = Deferred()

    def build() -> Any:
        protocol = waiting_protocol()
        accepted.callback(protocol)
        return protocol

    listening = TLSServerEndpoint(
        TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), ServerConfig(choose_identity=choose)
    )
    port = await listening.listen(Factory.forProtocol(build))
    config = ClientConfig(trust=TrustStore.from_file(ca), verify_peer=verify)
    connecting = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = await TLSClientEndpoint(connecting, config, "localhost").connect(Factory.forProtocol(waiting_protocol))
    client.transport.write(b"after all that")
    client.transport.loseConnection()
    server = await accepted
    await server.read_ended
    server.transport.loseConnection()
    await server.ended
    await client.ended
    await port.stopListening()
    return [*asked, server.received.decode()]


@pytest.mark.parametrize("reactor", ["select", "asyncio"])
def test_coroutines_of_the_reactor(files: Files, reactor: str) -> None:
    result = in_child(slow_hooks, files.cert, files.key, files.ca, reactor=reactor)
    assert result == ["choose", "verify", "after all that"]


async def get_pages(reactor: Any, both: str, ca: str) -> dict[str, Any]:
    """A ``Site`` asked by Twisted's ``Agent`` in HTTP/1.1, and by ``h2`` in HTTP/2."""
    from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
    from twisted.web.client import Agent, HTTPConnectionPool, readBody
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore
    from tlsprovider.twisted import TLSClientEndpoint, TLSServerEndpoint

    class Page(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            request.setHeader("x-version", request.clientproto)
            request.setHeader("x-secure", str(request.isSecure()))
            return PAGE

    config = ClientConfig(trust=TrustStore.from_file(ca))
    listening = TLSServerEndpoint(
        TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), ServerConfig(identities=[Identity.from_files(both)])
    )
    port = await listening.listen(Site(Page()))
    number = port.getHost().port

    class Endpoints:
        def endpointForURI(self, uri: Any) -> Any:
            inner = HostnameEndpoint(reactor, "127.0.0.1", uri.port)
            return TLSClientEndpoint(inner, attrs.evolve(config, alpn=["http/1.1"]), uri.host.decode())

    pool = HTTPConnectionPool(reactor, persistent=False)
    agent = Agent.usingEndpointFactory(reactor, Endpoints(), pool)
    response = await agent.request(b"GET", f"https://localhost:{number}/".encode())
    old = {
        "version": response.headers.getRawHeaders("x-version"),
        "secure": response.headers.getRawHeaders("x-secure"),
        "same": await readBody(response) == PAGE,
    }
    endpoint = TLSClientEndpoint(
        HostnameEndpoint(reactor, "127.0.0.1", number), attrs.evolve(config, alpn=["h2", "http/1.1"]), "localhost"
    )
    new = await get_by_http2(endpoint)
    await port.stopListening()
    return {"HTTP/1.1": old, "HTTP/2": new}


async def get_by_http2(endpoint: Any) -> dict[str, Any]:
    import h2.connection
    import h2.events
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Factory, Protocol

    class Client(Protocol):
        def connectionMade(self) -> None:
            self.http = h2.connection.H2Connection()
            self.headers: dict[str, str] = {}
            self.body = b""
            self.complete: Deferred[None] = Deferred()
            self.ended: Deferred[None] = Deferred()

        def start(self) -> None:
            self.http.initiate_connection()
            names = (":method", "GET"), (":path", "/"), (":scheme", "https"), (":authority", "localhost")
            self.http.send_headers(1, names, end_stream=True)
            self.transport.write(self.http.data_to_send())

        def dataReceived(self, data: bytes) -> None:
            for event in self.http.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    self.headers.update((_text(name), _text(value)) for name, value in event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.body += event.data
                    self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.complete.callback(None)
            self.transport.write(self.http.data_to_send())

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(None)

    client = await endpoint.connect(Factory.forProtocol(Client))
    client.start()
    await client.complete
    client.transport.loseConnection()
    await client.ended
    return {
        "version": [client.headers["x-version"]],
        "secure": [client.headers["x-secure"]],
        "same": client.body == PAGE,
        "alpn": client.transport.negotiatedProtocol.decode(),
    }


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_website_by_http1_and_http2(files: Files) -> None:
    result = in_child(get_pages, files.both, files.ca)
    assert result["HTTP/1.1"] == {"version": ["HTTP/1.1"], "secure": ["True"], "same": True}
    assert result["HTTP/2"] == {"version": ["HTTP/2"], "secure": ["True"], "same": True, "alpn": "h2"}
