"""Peers that speak no TLS, say nothing, or go away, over real sockets on each reactor.

Each is told what it did and loses its connection, the application is told why, and nothing else is heard of it: the
child that runs a scenario looks for open sockets, for what is left in the reactor, and for errors in the log.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted_child import REACTORS, in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files

GARBAGE = "\x00\xff" * 50
REQUEST = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = "HTTP/1.1 400 Bad Request\r\n\r\n"
BANNER = "SSH-2.0-OpenSSH_10.0\r\n"
# A record header and the beginning of a ClientHello, and then no more.
HALF_A_HELLO = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
GOES_AWAY = "goes away"


def plain_peer(greeting: str) -> Any:
    """A protocol without TLS that says ``greeting`` as bytes; ``ended`` fires with all that it heard."""
    from twisted.internet.defer import Deferred
    from twisted.internet.protocol import Protocol

    class Plain(Protocol):
        def __init__(self) -> None:
            self.received = b""
            self.ended: Deferred[bytes] = Deferred()

        def connectionMade(self) -> None:
            if greeting == GOES_AWAY:
                self.transport.write(HALF_A_HELLO.encode("latin-1"))
                self.transport.loseConnection()
            else:
                self.transport.write(greeting.encode("latin-1"))

        def dataReceived(self, data: bytes) -> None:
            self.received += data

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(self.received)

    return Plain()


async def bad_clients(reactor: Any, words: str, greetings: list[str]) -> list[Any]:
    """What our server's protocol is told of each, and the alert that the client got."""
    from twisted.internet.defer import DeferredQueue
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
    from twisted.internet.protocol import Factory, Protocol

    reasons: DeferredQueue[Any] = DeferredQueue()

    class Server(Protocol):
        def connectionLost(self, reason: Any) -> None:
            reasons.put(reason.value)

    port = await serverFromString(reactor, words).listen(Factory.forProtocol(Server))
    told = []
    for greeting in greetings:
        peer = plain_peer(greeting)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), peer)
        reason = await reasons.get()
        told.append([type(reason).__name__, str(reason), list(await peer.ended)])
    await port.stopListening()
    return told


async def bad_servers(reactor: Any, words: str, greetings: list[str]) -> list[Any]:
    """How the Deferred of our client's endpoint fails for each; the server's side ends too."""
    from twisted.internet.defer import DeferredQueue
    from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString
    from twisted.internet.protocol import Factory, Protocol

    peers: DeferredQueue[Any] = DeferredQueue()
    told = []
    for greeting in greetings:

        def accept(greeting: str = greeting) -> Any:
            peer = plain_peer(greeting)
            peers.put(peer)
            return peer

        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(accept))
        endpoint = clientFromString(reactor, words.replace("PORT", str(port.getHost().port)))
        try:
            await endpoint.connect(Factory.forProtocol(Protocol))
        except Exception as problem:
            told.append([type(problem).__name__, str(problem)])
        else:
            raise AssertionError("the connection should have failed")
        await (await peers.get()).ended
        await port.stopListening()
    return told


async def given_up(reactor: Any, words: str, greeting: str) -> list[Any]:
    """The Deferred is cancelled in the middle of the handshake."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ServerEndpoint, clientFromString
    from twisted.internet.protocol import Factory, Protocol
    from twisted.internet.task import deferLater

    told: list[Any] = []
    begun: Deferred[None] = Deferred()
    peer = plain_peer(greeting)

    class Client(Protocol):
        def connectionMade(self) -> None:
            begun.callback(None)

        def connectionLost(self, reason: Any) -> None:
            told.append(type(reason.value).__name__)

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(lambda: peer))
    endpoint = clientFromString(reactor, words.replace("PORT", str(port.getHost().port)))
    connecting = endpoint.connect(Factory.forProtocol(Client))
    await begun
    while not peer.received:
        await deferLater(reactor, 0)
    connecting.cancel()
    try:
        await connecting
    except Exception as problem:
        told.append(type(problem).__name__)
    await peer.ended
    await port.stopListening()
    return told


async def useless_factories(reactor: Any, server_words: str, client_words: str) -> list[list[str]]:
    """Factories that build nothing, or raise, and protocols that change their mind, on the client's side."""
    from twisted.internet.defer import DeferredQueue
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.internet.protocol import Factory, Protocol

    ended: DeferredQueue[str] = DeferredQueue()

    class Server(Protocol):
        def connectionLost(self, reason: Any) -> None:
            ended.put(type(reason.value).__name__)

    class Nothing(Factory):
        def buildProtocol(self, addr: object) -> None:
            return None

    class Raising(Factory):
        def buildProtocol(self, addr: object) -> None:
            raise LookupError("no protocol today")

    class Leaving(Protocol):
        def connectionMade(self) -> None:
            self.transport.loseConnection()

    class Aborting(Protocol):
        def connectionMade(self) -> None:
            self.transport.abortConnection()

    port = await serverFromString(reactor, server_words).listen(Factory.forProtocol(Server))
    endpoint = clientFromString(reactor, client_words.replace("PORT", str(port.getHost().port)))
    told = []
    for factory in (Nothing(), Raising(), Factory.forProtocol(Leaving), Factory.forProtocol(Aborting)):
        try:
            await endpoint.connect(factory)
        except Exception as problem:
            told.append([type(problem).__name__, await ended.get()])
        else:
            raise AssertionError("the connection should have failed")
    await port.stopListening()
    return told


async def all_of_it(reactor: Any, server_words: str, client_words: str) -> dict[str, Any]:
    short = ":handshakeTimeout=0.2"
    return {
        "bad clients": await bad_clients(reactor, server_words, [GARBAGE, REQUEST, GOES_AWAY]),
        "silent clients": await bad_clients(reactor, server_words + short, ["", HALF_A_HELLO]),
        "bad servers": await bad_servers(reactor, client_words, [GARBAGE, ANSWER, BANNER, GOES_AWAY]),
        "silent servers": await bad_servers(reactor, client_words + short, [""]),
        "given up": await given_up(reactor, client_words, ""),
        "useless factories": await useless_factories(reactor, server_words, client_words),
    }


@pytest.fixture(scope="module", params=REACTORS)
def told(request: pytest.FixtureRequest, files: Files) -> dict[str, Any]:
    """One process for each reactor does it all."""
    words = (
        f"tlsp:0:interface=127.0.0.1:privateKey={files.both}",
        f"tlsp:127.0.0.1:PORT:hostname=localhost:trustRoots={files.ca}",
    )
    result: dict[str, Any] = in_child(all_of_it, *words, reactor=request.param)
    return result


def test_bad_clients(told: dict[str, Any]) -> None:
    garbage, http, gone = told["bad clients"]
    unexpected_message = [21, 3, 3, 0, 2, 2, 10]
    assert garbage[0] == "PeerFault" and garbage[1].startswith("the peer does not speak TLS")
    assert garbage[2] == unexpected_message
    assert http[0] == "PeerFault" and "these are the words of plain HTTP" in http[1]
    assert http[2] == unexpected_message
    assert gone[0] == "ConnectionLost" and "during the TLS handshake" in gone[1]


def test_silent_clients(told: dict[str, Any]) -> None:
    for kind, text, received in told["silent clients"]:
        assert kind == "TimeoutError" and "the TLS handshake took longer than 0.2 seconds" in text
        assert received == []


def test_bad_servers(told: dict[str, Any]) -> None:
    garbage, http, ssh, gone = told["bad servers"]
    assert garbage[0] == ssh[0] == "PeerFault" and garbage[1].startswith("the peer does not speak TLS")
    assert http[0] == "PeerFault" and "these are the words of plain HTTP" in http[1]
    assert gone[0] == "ConnectionLost" and "during the TLS handshake" in gone[1]


def test_silent_servers(told: dict[str, Any]) -> None:
    [[kind, text]] = told["silent servers"]
    assert kind == "TimeoutError" and "the TLS handshake took longer than 0.2 seconds" in text


def test_given_up(told: dict[str, Any]) -> None:
    assert sorted(told["given up"]) == ["ConnectingCancelledError", "ConnectionAborted"]


def test_useless_factories(told: dict[str, Any]) -> None:
    assert told["useless factories"] == [
        ["NoProtocol", "ConnectionLost"],
        ["LookupError", "ConnectionLost"],
        ["ConnectionDone", "ConnectionLost"],
        ["ConnectionAborted", "ConnectionLost"],
    ]
