"""install(): our protocol under what Twisted starts TLS with, over real sockets; and the way back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import test_twisted_starttls
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted_child import REACTORS, in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files

from tlsprovider.twisted import TLSProtocol, install, uninstall


class TestAssignment:
    @pytest.fixture(autouse=True)
    def restore(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(TLSMemoryBIOFactory, "protocol", TLSMemoryBIOFactory.protocol)

    def test_there_and_back(self) -> None:
        assert TLSMemoryBIOFactory.protocol is BufferingTLSTransport
        install()
        install(handshakeTimeout=7, closeTimeout=None)
        ours: Any = TLSMemoryBIOFactory.protocol
        assert issubclass(ours, TLSProtocol)
        assert (ours.handshakeTimeout, ours.closeTimeout) == (7, None)
        assert TLSProtocol.handshakeTimeout == 30
        uninstall()
        assert TLSMemoryBIOFactory.protocol is BufferingTLSTransport

    def test_somebody_elses_is_put_back(self) -> None:
        class Another(BufferingTLSTransport):
            pass

        TLSMemoryBIOFactory.protocol = Another
        install()
        uninstall()
        assert TLSMemoryBIOFactory.protocol is Another

    def test_nothing_is_installed_by_importing(self) -> None:
        program = (
            "import tlsprovider.twisted as ours\n"
            "for name in ours.__all__: getattr(ours, name)\n"
            "import sys\n"
            "assert 'twisted.internet.reactor' not in sys.modules\n"
            "from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory\n"
            "assert TLSMemoryBIOFactory.protocol is BufferingTLSTransport\n"
        )
        subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def creators(kind: str, files: dict[str, str]) -> tuple[Any, Any]:
    """For the server and for the client: of Twisted's making, or of ours; both with ALPN."""
    from pathlib import Path

    from twisted.internet import ssl

    if kind == "ours":
        from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore
        from tlsprovider.twisted import ContextFactory

        identity, trust = Identity.from_files(files["both"]), TrustStore.from_file(files["ca"])
        return (
            ContextFactory(ServerConfig(identities=[identity], alpn=["x"])),
            ContextFactory(ClientConfig(trust=trust, alpn=["x"]), hostname="localhost"),
        )
    certificate = ssl.PrivateCertificate.loadPEM(Path(files["both"]).read_bytes())
    root = ssl.Certificate.loadPEM(Path(files["ca"]).read_bytes())
    return (
        ssl.CertificateOptions(certificate.privateKey.original, certificate.original, acceptableProtocols=[b"x"]),
        ssl.optionsForClientTLS("localhost", trustRoot=root, acceptableProtocols=[b"x"]),
    )


def make_protocol(megabytes: int) -> Any:
    """Sends so much by a producer, closes its direction, and is done when it has as much and the other's close."""
    import io

    from twisted.internet.defer import Deferred
    from twisted.internet.interfaces import IHalfCloseableProtocol, IHandshakeListener
    from twisted.internet.protocol import Protocol
    from twisted.protocols.basic import FileSender
    from zope.interface import implementer

    @implementer(IHandshakeListener, IHalfCloseableProtocol)
    class Sender(Protocol):
        def __init__(self) -> None:
            self.received = 0
            self.done: Deferred[None] = Deferred()
            self.ended: Deferred[str] = Deferred()

        def handshakeCompleted(self) -> None:
            sent = FileSender().beginFileTransfer(io.BytesIO(bytes(megabytes << 20)), self.transport)
            sent.addCallback(lambda _: self.transport.loseWriteConnection())

        def dataReceived(self, data: bytes) -> None:
            self.received += len(data)

        def readConnectionLost(self) -> None:
            self.done.callback(None)

        def writeConnectionLost(self) -> None:
            pass

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(reason.type.__name__)

    return Sender()


async def exchange_twice(reactor: Any, kind: str, files: dict[str, str]) -> list[Any]:
    return [await exchange(reactor, kind, how, files) for how in ("ssl", "startTLS")]


async def exchange(reactor: Any, kind: str, how: str, files: dict[str, str]) -> list[Any]:
    """Megabytes both ways at once, half-closed in the end, over ``listenSSL`` or over ``startTLS``."""
    import warnings

    from twisted.internet.defer import gatherResults
    from twisted.internet.interfaces import INegotiated
    from twisted.internet.protocol import ClientFactory, Factory

    from tlsprovider.twisted import TLSProtocol, install

    warnings.simplefilter("ignore", DeprecationWarning)
    install()
    server_creator, client_creator = creators(kind, files)
    server, client = make_protocol(2), make_protocol(3)
    build, factory = Factory.forProtocol(lambda: server), ClientFactory()
    factory.noisy, factory.protocol = False, lambda: client
    if how == "ssl":
        port = reactor.listenSSL(0, build, server_creator, interface="127.0.0.1")
        reactor.connectSSL("127.0.0.1", port.getHost().port, factory, client_creator)
    else:
        server.connectionMade = lambda: server.transport.startTLS(server_creator)
        client.connectionMade = lambda: client.transport.startTLS(client_creator)
        port = reactor.listenTCP(0, build, interface="127.0.0.1")
        reactor.connectTCP("127.0.0.1", port.getHost().port, factory)
    await gatherResults([server.done, client.done])
    assert all(INegotiated.providedBy(one.transport) for one in (server, client))
    names = [one.transport.negotiatedProtocol.decode() for one in (server, client)]
    versions = [one.transport.getHandle().get_protocol_version_name() for one in (server, client)]
    if how == "ssl":
        assert isinstance(client.transport, TLSProtocol)
    for one in (server, client):
        one.transport.loseConnection()
    reasons = await gatherResults([server.ended, client.ended])
    await port.stopListening()
    return [server.received, client.received, *names, *versions, *reasons]


@pytest.mark.parametrize(("reactor", "kind"), [*((reactor, "stock") for reactor in REACTORS), ("select", "ours")])
def test_exchange(files: Files, reactor: str, kind: str) -> None:
    found = in_child(exchange_twice, kind, {"both": files.both, "ca": files.ca}, reactor=reactor)
    expected = [3 << 20, 2 << 20, "x", "x", "TLSv1.3", "TLSv1.3", "ConnectionDone", "ConnectionDone"]
    assert found == [expected, expected]


async def installed(reactor: Any, name: str, both: str, ca: str) -> Any:
    from tlsprovider.twisted import install

    install()
    return await getattr(test_twisted_starttls, name)(reactor, both, ca)


def test_smtp(files: Files) -> None:
    sent, reason, over, text = in_child(installed, "send_mail", files.both, files.ca)
    assert (sent, reason, over) == (1, "ConnectionDone", [True, "TLSv1.3"])
    assert text.encode().endswith(test_twisted_starttls.MESSAGE.removesuffix(b"\n"))


def test_amp(files: Files) -> None:
    """Which asks for the peer's certificate by ``Certificate.peerFromTransport``."""
    told = in_child(installed, "call_by_amp", files.both, files.ca)
    assert told == ["nialp", "delaes", "TLSv1.3", "tlsprovider tests", "ConnectionDone"]
