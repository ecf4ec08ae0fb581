"""Every place where Twisted starts TLS, with our ``ContextFactory``, over real sockets and with real peers.

SMTP and AMP are in ``test_twisted_starttls``.
"""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from twisted_child import REACTORS, in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files

LETTER = bytes(range(256)) * 1000
WAYS = ("reactor", "endpoints", "wrapping", "their server", "their client")


def ours(both: str, ca: str) -> tuple[Any, Any]:
    """For the server and for the client."""
    from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore
    from tlsprovider.twisted import ContextFactory

    return (
        ContextFactory(ServerConfig(identities=[Identity.from_files(both)])),
        ContextFactory(ClientConfig(trust=TrustStore.from_file(ca)), "localhost"),
    )


def theirs(both: str, ca: str) -> tuple[Any, Any]:
    """Twisted's own."""
    import warnings
    from pathlib import Path

    from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS

    warnings.simplefilter("ignore", DeprecationWarning)
    return (
        PrivateCertificate.loadPEM(Path(both).read_bytes()).options(),
        optionsForClientTLS("localhost", Certificate.loadPEM(Path(ca).read_bytes())),
    )


def echo() -> Any:
    from twisted.internet.protocol import Factory, Protocol

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    return factory


def visitor(done: Any) -> Any:
    """Sends a letter, and when it has all come back says goodbye; ``done`` fires with what it saw."""
    from twisted.internet.protocol import ClientFactory, Protocol

    class Visitor(Protocol):
        received = b""

        def connectionMade(self) -> None:
            self.transport.write(LETTER)

        def dataReceived(self, data: bytes) -> None:
            self.received += data
            if len(self.received) == len(LETTER):
                self.version = self.transport.getHandle().get_protocol_version_name()
                self.transport.loseConnection()

        def connectionLost(self, reason: Any) -> None:
            done.callback([self.received == LETTER, self.version, reason.type.__name__])

    factory = ClientFactory.forProtocol(Visitor)
    factory.noisy = False
    return factory


async def send_a_letter(reactor: Any, both: str, ca: str, way: str) -> list[Any]:
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import (
        SSL4ClientEndpoint,
        SSL4ServerEndpoint,
        TCP4ClientEndpoint,
        wrapClientTLS,
    )

    server, client = ours(both, ca)
    server = theirs(both, ca)[0] if way == "their server" else server
    client = theirs(both, ca)[1] if way == "their client" else client
    done: Deferred[list[Any]] = Deferred()
    if way == "reactor":
        port = reactor.listenSSL(0, echo(), server, interface="127.0.0.1")
        reactor.connectSSL("127.0.0.1", port.getHost().port, visitor(done), client)
    else:
        port = await SSL4ServerEndpoint(reactor, 0, server, interface="127.0.0.1").listen(echo())
        number = port.getHost().port
        if way == "endpoints":
            endpoint = SSL4ClientEndpoint(reactor, "127.0.0.1", number, client)
        else:
            endpoint = wrapClientTLS(client, TCP4ClientEndpoint(reactor, "127.0.0.1", number))
        await endpoint.connect(visitor(done))
    result = await done
    await port.stopListening()
    return result


async def each_way(reactor: Any, both: str, ca: str) -> list[Any]:
    return [await send_a_letter(reactor, both, ca, way) for way in WAYS]


def test_each_way(files: Files) -> None:
    results = in_child(each_way, files.both, files.ca)
    assert dict(zip(WAYS, results, strict=True)) == {way: [True, "TLSv1.3", "ConnectionDone"] for way in WAYS}


@pytest.mark.parametrize("reactor", [name for name in REACTORS if name != "select"])
def test_each_reactor(files: Files, reactor: str) -> None:
    result = in_child(send_a_letter, files.both, files.ca, "reactor", reactor=reactor)
    assert result == [True, "TLSv1.3", "ConnectionDone"]


async def read_mail_by_imap(reactor: Any, both: str, ca: str) -> list[Any]:
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
    from twisted.internet.protocol import Factory
    from twisted.mail.imap4 import IMAP4Client, IMAP4Server

    server_context, client_context = ours(both, ca)
    ended: Deferred[str] = Deferred()

    class Client(IMAP4Client):
        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(reason)
            ended.callback(reason.type.__name__)

    factory = Factory.forProtocol(lambda: IMAP4Server(contextFactory=server_context))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = await connectProtocol(endpoint, Client(client_context))
    offered = await client.getCapabilities()
    await client.startTLS()
    capabilities = await client.getCapabilities(useCache=False)
    version = client.transport.getHandle().get_protocol_version_name()
    await client.logout()
    reason = await ended
    await port.stopListening()
    return [b"STARTTLS" in offered, b"STARTTLS" in capabilities, version, reason]


def test_imap(files: Files) -> None:
    result = in_child(read_mail_by_imap, files.both, files.ca)
    assert result == [True, False, "TLSv1.3", "ConnectionDone"]


async def read_mail_by_pop3(reactor: Any, both: str, ca: str) -> list[Any]:
    """Twisted's POP3 server has no STLS, so it gets one here."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
    from twisted.internet.protocol import Factory
    from twisted.mail.pop3 import POP3, AdvancedPOP3Client

    server_context, client_context = ours(both, ca)
    ended: Deferred[str] = Deferred()
    greeted: Deferred[bytes] = Deferred()

    class Server(POP3):
        timeOut = None  # noqa: N815

        def listCapabilities(self) -> list[bytes]:
            return [*super().listCapabilities(), b"STLS"]

        def processCommand(self, command: bytes, *args: bytes) -> Any:
            if command.upper() != b"STLS":
                return super().processCommand(command, *args)
            self.successResponse(b"go ahead")
            return self.transport.startTLS(server_context)

    class Client(AdvancedPOP3Client):
        def serverGreeting(self, message: bytes) -> None:
            greeted.callback(message)

        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(reason)
            ended.callback(reason.type.__name__)

    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Server))
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    client = await connectProtocol(endpoint, Client())
    await greeted
    await client.startTLS(client_context)
    capabilities = await client.capabilities()
    version = client.transport.getHandle().get_protocol_version_name()
    await client.quit()
    reason = await ended
    await port.stopListening()
    return [b"STLS" in capabilities, version, reason]


def test_pop3(files: Files) -> None:
    assert in_child(read_mail_by_pop3, files.both, files.ca) == [True, "TLSv1.3", "ConnectionDone"]


async def chat_by_xmpp(reactor: Any, both: str, ca: str) -> list[Any]:
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from twisted.internet.protocol import Factory
    from twisted.words.protocols.jabber.jid import JID
    from twisted.words.protocols.jabber.xmlstream import (
        NS_XMPP_TLS,
        ConnectAuthenticator,
        ListenAuthenticator,
        TLSInitiatingInitializer,
        XmlStream,
    )
    from twisted.words.xish import domish

    server_context, client_context = ours(both, ca)
    spoken: Deferred[str] = Deferred()
    ended: Deferred[None] = Deferred()

    class Answering(ListenAuthenticator):
        """Offers TLS in the first stream, and nothing more in the second."""

        secure = False

        def streamStarted(self, root: Any) -> None:
            super().streamStarted(root)
            self.xmlstream.sendHeader()
            features = domish.Element(("http://etherx.jabber.org/streams", "features"))
            if not self.secure:
                features.addElement((NS_XMPP_TLS, "starttls"))
                self.xmlstream.addOnetimeObserver(f"/starttls[@xmlns='{NS_XMPP_TLS}']", self.proceed)
            self.xmlstream.send(features)

        def proceed(self, _: Any) -> None:
            self.secure = True
            self.xmlstream.send(domish.Element((NS_XMPP_TLS, "proceed")))
            self.xmlstream.transport.startTLS(server_context)
            self.xmlstream.reset()

    class Asking(ConnectAuthenticator):
        def associateWithStream(self, stream: Any) -> None:
            super().associateWithStream(stream)
            stream.initializers = [TLSInitiatingInitializer(stream, configurationForTLS=client_context)]

    listening = Factory.forProtocol(lambda: XmlStream(Answering()))
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(listening)
    stream = XmlStream(Asking(JID("localhost").host))
    stream.addObserver("//event/stream/authd", lambda one: spoken.callback(one.transport.getHandle().version))
    stream.addObserver("//event/stream/end", lambda reason: ended.callback(None))
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
    await endpoint.connect(Factory.forProtocol(lambda: stream))
    version = await spoken
    stream.sendFooter()
    stream.transport.loseConnection()
    await ended
    await port.stopListening()
    return [version]


def test_xmpp(files: Files) -> None:
    assert in_child(chat_by_xmpp, files.both, files.ca) == ["TLSv1.3"]


async def late_certificate(reactor: Any, both: str, ca: str) -> list[Any]:
    """A certificate that takes a turn of the reactor, asked for by name."""
    import attrs
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater

    server, client = ours(both, ca)
    names: list[Any] = []

    async def choose(question: Any) -> Any:
        names.append(question.server_name)
        return await deferLater(reactor, 0.01, lambda: server.config.identities[0])

    late = type(server)(attrs.evolve(server.config, choose_identity=choose))
    done: Deferred[list[Any]] = Deferred()
    port = reactor.listenSSL(0, echo(), late, interface="127.0.0.1")
    reactor.connectSSL("127.0.0.1", port.getHost().port, visitor(done), client)
    result = await done
    await port.stopListening()
    return [names, *result]


def test_a_decision_that_takes_its_time(files: Files) -> None:
    result = in_child(late_certificate, files.both, files.ca)
    assert result == [["localhost"], True, "TLSv1.3", "ConnectionDone"]


async def bad_peers(reactor: Any, both: str, ca: str) -> list[Any]:
    """Peers that say nothing after STARTTLS, or plain HTTP where TLS was expected: why the server lost them."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
    from twisted.internet.protocol import Factory, Protocol

    patient, _ = ours(both, ca)
    hasty = type(patient)(patient.config, handshakeTimeout=0.05)
    told: list[list[str]] = []

    class Server(Protocol):
        starts_tls = False

        def connectionMade(self) -> None:
            if self.starts_tls:
                self.transport.startTLS(hasty)

        def connectionLost(self, reason: Any) -> None:
            told.append([reason.type.__name__, str(reason.value)])

    class Starting(Server):
        starts_tls = True

    class Client(Protocol):
        def __init__(self, words: bytes) -> None:
            self.words = words
            self.ended: Deferred[None] = Deferred()

        def connectionMade(self) -> None:
            self.transport.write(self.words)

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(None)

    starting = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
    ports = [
        await starting.listen(Factory.forProtocol(Starting)),
        reactor.listenSSL(0, Factory.forProtocol(Server), patient, interface="127.0.0.1"),
    ]
    for port, words in zip(ports, (b"", b"GET / HTTP/1.1\r\n\r\n"), strict=True):
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await (await connectProtocol(endpoint, Client(words))).ended
        await port.stopListening()
    return told


def test_bad_peers(files: Files) -> None:
    (silent, why), (plain, words) = in_child(bad_peers, files.both, files.ca)
    assert (silent, plain) == ("TimeoutError", "ConnectionFailed")
    assert "took longer than 0.05 seconds" in why and "plain HTTP" in words


async def serve_a_site(reactor: Any, both: str, ca: str) -> list[Any]:
    """A web server on ``listenSSL`` says by itself which application protocols it speaks."""
    import ssl

    import httpx
    from twisted.internet.threads import deferToThread
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Page(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            return b"%s, secure: %d" % (request.clientproto, request.isSecure()) + LETTER

    site = Site(Page())
    site.noisy = False
    port = reactor.listenSSL(0, site, ours(both, ca)[0], interface="127.0.0.1")
    trust = ssl.create_default_context(cafile=ca)

    def visit() -> list[Any]:
        told = []
        for http2 in (True, False):
            with httpx.Client(verify=trust, http1=not http2, http2=http2, trust_env=False) as client:
                response = client.get(f"https://localhost:{port.getHost().port}/")
                told.append([response.http_version, response.content.removesuffix(LETTER).decode()])
        return told

    told = await deferToThread(visit)
    await port.stopListening()
    return told


def test_http2_and_http1(files: Files) -> None:
    told = in_child(serve_a_site, files.both, files.ca)
    assert told == [["HTTP/2", "HTTP/2, secure: 1"], ["HTTP/1.1", "HTTP/1.1, secure: 1"]]


async def serve_openssl(reactor: Any, both: str, ca: str) -> list[Any]:
    """``openssl s_client`` visits, sends a line and goes."""
    from twisted.internet.threads import deferToThread

    server, _ = ours(both, ca)
    port = reactor.listenSSL(0, echo(), server, interface="127.0.0.1")
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port.getHost().port}", "-CAfile", ca, "-servername"]
    command += ["localhost", "-verify_return_error", "-verify_hostname", "localhost", "-brief", "-ign_eof"]

    def visit() -> tuple[int, str]:
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdin is not None and process.stdout is not None and process.stderr is not None
            process.stdin.write(b"hello\n")
            process.stdin.flush()
            line = process.stdout.readline()
            process.terminate()
            return process.stderr.read().count(b"TLSv1.3"), line.decode()

    result = await deferToThread(visit)
    await port.stopListening()
    return list(result)


def test_openssl_as_client(files: Files) -> None:
    assert in_child(serve_openssl, files.both, files.ca) == [1, "hello\n"]
