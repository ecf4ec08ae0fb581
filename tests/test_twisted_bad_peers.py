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


@pytest.mark.parametrize("reactor", REACTORS)
def test_bad_clients(files: Files, reactor: str) -> None:
    garbage, http, silent, half, gone = in_child(
        bad_clients,
        f"tlsp:0:interface=127.0.0.1:privateKey={files.both}:handshakeTimeout=0.2",
        [GARBAGE, REQUEST, "", HALF_A_HELLO, GOES_AWAY],
        reactor=reactor,
    )
    unexpected_message = [21, 3, 3, 0, 2, 2, 10]
    assert garbage[0] == "PeerFault" and garbage[1].startswith("the peer does not speak TLS")
    assert garbage[2] == unexpected_message
    assert http[0] == "PeerFault" and "these are the words of plain HTTP" in http[1]
    assert http[2] == unexpected_message
    for kind, text, received in (silent, half):
        assert kind == "TimeoutError" and "the TLS handshake took longer than 0.2 seconds" in text
        assert received == []
    assert gone[0] == "ConnectionLost" and "during the TLS handshake" in gone[1]


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


@pytest.mark.parametrize("reactor", REACTORS)
def test_bad_servers(files: Files, reactor: str) -> None:
    garbage, http, ssh, silent, gone = in_child(
        bad_servers,
        f"tlsp:127.0.0.1:PORT:hostname=localhost:trustRoots={files.ca}:handshakeTimeout=0.2",
        [GARBAGE, "HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_10.0\r\n", "", GOES_AWAY],
        reactor=reactor,
    )
    assert garbage[0] == ssh[0] == "PeerFault" and garbage[1].startswith("the peer does not speak TLS")
    assert http[0] == "PeerFault" and "these are the words of plain HTTP" in http[1]
    assert silent[0] == "TimeoutError" and "the TLS handshake took longer than 0.2 seconds" in silent[1]
    assert gone[0] == "ConnectionLost" and "during the TLS handshake" in gone[1]


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


@pytest.mark.parametrize("reactor", REACTORS)
def test_useless_factories(files: Files, reactor: str) -> None:
    told = in_child(
        useless_factories,
        f"tlsp:0:interface=127.0.0.1:privateKey={files.both}",
        f"tlsp:127.0.0.1:PORT:hostname=localhost:trustRoots={files.ca}",
        reactor=reactor,
    )
    assert told == [
        ["NoProtocol", "ConnectionLost"],
        ["LookupError", "ConnectionLost"],
        ["ConnectionDone", "ConnectionLost"],
        ["ConnectionAborted", "ConnectionLost"],
    ]
