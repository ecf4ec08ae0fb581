"""``startTLS`` of Twisted's own protocols with our ``ContextFactory``, over real sockets: SMTP and AMP."""

from __future__ import annotations

import io
from typing import Any

import pytest
from twisted_child import REACTORS, in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files

MESSAGE = b"Subject: hello\n\n" + b"over TLS\n" * 2000


def factories(both: str, ca: str) -> tuple[Any, Any]:
    """For the server and for the client."""
    from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore
    from tlsprovider.twisted import ContextFactory

    return (
        ContextFactory(ServerConfig(identities=[Identity.from_files(both)])),
        ContextFactory(ClientConfig(trust=TrustStore.from_file(ca)), hostname="localhost"),
    )


def mail_server(context: Any, delivered: list[Any], ended: Any) -> Any:
    """A factory of SMTP servers that offer STARTTLS and take every message; ``ended`` fires when one has ended."""
    from twisted.internet.defer import Deferred, succeed
    from twisted.internet.interfaces import ISSLTransport
    from twisted.internet.protocol import Factory
    from twisted.mail import smtp
    from zope.interface import implementer

    @implementer(smtp.IMessage)
    class Message:
        def __init__(self, protocol: Any) -> None:
            self.protocol = protocol
            self.lines: list[bytes] = []

        def lineReceived(self, line: bytes) -> None:
            self.lines.append(line)

        def eomReceived(self) -> Deferred[None]:
            transport = self.protocol.transport
            handle = transport.getHandle()
            delivered.append([ISSLTransport.providedBy(transport), handle.get_protocol_version_name()])
            delivered.append(b"\n".join(self.lines).decode())
            return succeed(None)

        def connectionLost(self) -> None:
            raise AssertionError("in the middle of a message")

    @implementer(smtp.IMessageDelivery)
    class Delivery:
        def __init__(self, protocol: Any) -> None:
            self.protocol = protocol

        def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
            return b"Received: by a test"

        def validateFrom(self, helo: Any, origin: Any) -> Any:
            return origin

        def validateTo(self, user: Any) -> Any:
            return lambda: Message(self.protocol)

    class Server(smtp.ESMTP):
        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(reason)
            ended.callback(type(reason.value).__name__)

    def build() -> Any:
        protocol = Server(contextFactory=context)
        protocol.delivery = Delivery(protocol)
        protocol.host = b"localhost"
        return protocol

    return Factory.forProtocol(build)


async def send_mail(reactor: Any, both: str, ca: str) -> list[Any]:
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ServerEndpoint
    from twisted.mail.smtp import ESMTPSenderFactory

    server, client = factories(both, ca)
    delivered: list[Any] = []
    done: Deferred[Any] = Deferred()
    ended: Deferred[str] = Deferred()
    factory = mail_server(server, delivered, ended)
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
    sender = ESMTPSenderFactory(
        b"nobody", b"", b"a@localhost", b"b@localhost", io.BytesIO(MESSAGE), done,
        contextFactory=client, requireAuthentication=False, requireTransportSecurity=True, hostname="localhost",
    )  # fmt: skip
    sender.noisy = False
    reactor.connectTCP("127.0.0.1", port.getHost().port, sender)
    sent, _ = await done
    reason = await ended
    await port.stopListening()
    return [sent, reason, *delivered]


async def call_by_amp(reactor: Any, both: str, ca: str) -> list[Any]:
    """Both begin in plaintext, agree on TLS, and go on; the client wants to know who answers."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint, connectProtocol
    from twisted.internet.protocol import Factory
    from twisted.internet.ssl import Certificate
    from twisted.protocols import amp

    server_context, client_context = factories(both, ca)

    class Reverse(amp.Command):
        arguments = [(b"text", amp.String())]  # noqa: RUF012 - as AMP wants it
        response = [(b"text", amp.String())]  # noqa: RUF012

    class Server(amp.AMP):
        @amp.StartTLS.responder
        def start(self) -> dict[str, Any]:
            return {"tls_localCertificate": server_context}

        @Reverse.responder
        def reverse(self, text: bytes) -> dict[str, bytes]:
            return {"text": text[::-1]}

    class Client(amp.AMP):
        def connectionLost(self, reason: Any) -> None:
            super().connectionLost(reason)
            ended.callback(type(reason.value).__name__)

    ended: Deferred[str] = Deferred()
    port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(Factory.forProtocol(Server))
    client = await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port), Client())
    told = [(await client.callRemote(Reverse, text=b"plain"))["text"].decode()]
    with open(ca, "rb") as file:
        root = Certificate.loadPEM(file.read())
    await client.callRemote(amp.StartTLS, tls_localCertificate=client_context, tls_verifyAuthorities=[root])
    told.append((await client.callRemote(Reverse, text=b"sealed" * 10_000))["text"][:6].decode())
    told.append(client.transport.getHandle().get_protocol_version_name())
    told.append(client.peerCertificate.getIssuer().commonName.decode())
    client.transport.loseConnection()
    told.append(await ended)
    await port.stopListening()
    return told


async def mail_and_amp(reactor: Any, both: str, ca: str) -> list[Any]:
    return [await send_mail(reactor, both, ca), await call_by_amp(reactor, both, ca)]


@pytest.fixture(scope="module", params=REACTORS)
def told(request: pytest.FixtureRequest, files: Files) -> list[Any]:
    """One process for each reactor does both."""
    result: list[Any] = in_child(mail_and_amp, files.both, files.ca, reactor=request.param)
    return result


def test_smtp(told: list[Any]) -> None:
    sent, reason, over, text = told[0]
    assert (sent, reason) == (1, "ConnectionDone")
    assert over == [True, "TLSv1.3"]
    assert text.encode().endswith(MESSAGE.removesuffix(b"\n"))


def test_amp(told: list[Any]) -> None:
    assert told[1] == ["nialp", "delaes", "TLSv1.3", "tlsprovider tests", "ConnectionDone"]
