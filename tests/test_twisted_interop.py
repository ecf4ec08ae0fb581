"""Our TLS in Twisted against others: Twisted's own over pyOpenSSL, and Python's ``ssl``, in both roles."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import Any

import attrs
import pytest
from OpenSSL import crypto
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions, optionsForClientTLS, trustRootFromCertificates
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted_child import in_child
from twisted_pair import Files, Pair, Talker, join_protocols, tls
from twisted_pair import watch_log as watch_log
from twisted_pair import write_files as write_files

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.errors import AlertReceived
from tlsprovider.iana import AlertDescription
from tlsprovider.twisted import TLSProtocol

pytestmark = [
    pytest.mark.usefixtures("logged"),
    # It is Twisted that passes them.
    pytest.mark.filterwarnings("ignore:Passing pyOpenSSL (X509|PKey) objects is deprecated:DeprecationWarning"),
]

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def issued(authority: Authority) -> Issued:
    return authority.issue("localhost", "example.com")


def stock_server(issued: Issued, clock: Clock, protocol: Talker, **options: Any) -> Any:
    """Twisted's own server."""
    context = CertificateOptions(
        privateKey=crypto.PKey.from_cryptography_key(issued.private_key),
        certificate=crypto.X509.from_cryptography(issued.certificate),
        **options,
    )
    factory = TLSMemoryBIOFactory(context, False, Factory.forProtocol(lambda: protocol), clock)
    return factory.buildProtocol(None)


def stock_client(authority: Authority, clock: Clock, protocol: Talker, hostname: str = "localhost") -> Any:
    """Twisted's own client."""
    from twisted.internet.ssl import Certificate

    root = Certificate.loadPEM(authority.certificate_pem)
    context = optionsForClientTLS(hostname, trustRoot=trustRootFromCertificates([root]))
    factory = TLSMemoryBIOFactory(context, True, Factory.forProtocol(lambda: protocol), clock)
    return factory.buildProtocol(None)


Stock = Callable[[], Pair]


@pytest.fixture(params=["server", "client"])
def stock(request: pytest.FixtureRequest, authority: Authority, issued: Issued, client_config: Any) -> Stock:
    """Connects ours to a stock peer in that role."""

    def connect() -> Pair:
        clock, client, server = Clock(), Talker(), Talker()
        if request.param == "server":
            ends = tls(client_config, client, clock), stock_server(issued, clock, server)
        else:
            from tlsprovider.identity import Identity

            identity = Identity.from_crypto(issued.certificates, issued.private_key)
            ends = (
                stock_client(authority, clock, client),
                tls(ServerConfig(identities=[identity]), server, clock),
            )
        return join_protocols(client, server, *ends, clock)

    return connect


class TestStockTwisted:
    def test_data_in_both_directions(self, stock: Stock) -> None:
        pair = stock()
        pair.client_tls.write(MEGABYTE)
        pair.server_tls.write(MEGABYTE[::-1])
        pair.flush()
        assert pair.server.received == MEGABYTE
        assert pair.client.received == MEGABYTE[::-1]

    @pytest.mark.parametrize("who", ["client", "server"])
    def test_orderly_end(self, stock: Stock, who: str) -> None:
        pair = stock()
        ours, theirs = (pair.client, pair.server) if who == "client" else (pair.server, pair.client)
        ours.transport.write(b"bye")
        ours.transport.loseConnection()
        pair.flush()
        assert theirs.received == b"bye"
        assert type(pair.client.reason) is type(pair.server.reason) is ConnectionDone
        assert pair.clock.getDelayedCalls() == []

    def test_abort(self, stock: Stock) -> None:
        pair = stock()
        pair.client_tls.abortConnection()
        pair.flush()
        assert len(pair.client.lost) == len(pair.server.lost) == 1
        assert pair.clock.getDelayedCalls() == []

    def test_both_agree_on_the_certificate(self, stock: Stock, issued: Issued) -> None:
        certificate = stock().client_tls.getPeerCertificate()
        assert certificate is not None
        assert certificate.to_cryptography() == issued.certificate

    def test_application_protocol(self, client_config: ClientConfig, issued: Issued) -> None:
        clock, client = Clock(), Talker()
        server = stock_server(issued, clock, Talker(), acceptableProtocols=[b"h2", b"http/1.1"])
        config = attrs.evolve(client_config, alpn=["http/1.1", "h2"])
        pair = join_protocols(client, None, tls(config, client, clock), server, clock)
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"h2"

    def test_client_that_refuses_us(self, authority: Authority, server_config: ServerConfig) -> None:
        """Stock Twisted says nothing when a name does not match, so this is an authority it does not know."""
        clock, client, server = Clock(), Talker(), Talker()
        stranger = stock_client(Authority("somebody else"), clock, client)
        join_protocols(client, server, stranger, tls(server_config, server, clock), clock)
        assert isinstance(server.reason, AlertReceived)
        assert server.reason.alert is AlertDescription.unknown_ca

    def test_client_certificate(self, authority: Authority, client_config: ClientConfig, issued: Issued) -> None:
        from tlsprovider.identity import Identity

        alice = authority.issue("alice", client=True)
        root = crypto.X509.from_cryptography(authority.certificate)
        clock, client = Clock(), Talker()
        server = stock_server(issued, clock, Talker(), caCerts=[root], verify=True)
        config = attrs.evolve(client_config, identity=Identity.from_crypto(alice.certificates, alice.private_key))
        pair = join_protocols(client, None, tls(config, client, clock), server, clock)
        shown = pair.server_tls.getPeerCertificate()
        assert shown is not None and shown.to_cryptography() == alice.certificate


class MemoryPeer:
    """Python's ``ssl`` in memory, joined to one of our connections."""

    def __init__(self, context: ssl.SSLContext, ours: TLSProtocol, clock: Clock, server_side: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        hostname = None if server_side else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side, hostname)
        self.ours, self.clock, self.transport = ours, clock, StringTransport()
        ours.makeConnection(self.transport)

    def until(self, action: Callable[[], Any]) -> Any:
        """The result of ``action``, once enough bytes have gone back and forth for it."""
        for _ in range(20):
            try:
                return action()
            except ssl.SSLWantReadError:
                pass
            finally:
                self.move()
        raise AssertionError("the bytes do not suffice")

    def move(self) -> None:
        data = self.outgoing.read()
        if data:
            self.ours.dataReceived(data)
        self.clock.advance(0)
        self.incoming.write(self.transport.value())
        self.transport.clear()

    def read_all(self, count: int) -> bytes:
        received = b""
        while len(received) < count:
            received += self.until(lambda: self.tls.read(65536))
        return received


def client_context(files: Files) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def server_context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.cert, files.key)
    return context


class TestPythonsSsl:
    @pytest.mark.parametrize("theirs", ["client", "server"])
    def test_conversation(
        self, files: Files, client_config: ClientConfig, server_config: ServerConfig, theirs: str
    ) -> None:
        clock, talker = Clock(), Talker()
        is_server = theirs == "server"
        context = server_context(files) if is_server else client_context(files)
        ours = tls(client_config if is_server else server_config, talker, clock)
        peer = MemoryPeer(context, ours, clock, is_server)
        peer.until(peer.tls.do_handshake)
        assert peer.tls.version() == "TLSv1.3"
        peer.tls.write(MEGABYTE)
        peer.move()
        assert talker.received == MEGABYTE
        ours.write(MEGABYTE)
        clock.advance(0)
        assert peer.read_all(len(MEGABYTE)) == MEGABYTE
        ours.loseConnection()
        peer.until(peer.tls.unwrap)
        assert peer.transport.disconnecting
        ours.connectionLost()
        assert type(talker.reason) is ConnectionDone
        assert clock.getDelayedCalls() == []

    def test_half_close(self, files: Files, server_config: ServerConfig) -> None:
        """OpenSSL reads on after it has sent close_notify, if one lets it."""
        from twisted_pair import HalfCloser

        clock, talker = Clock(), HalfCloser()
        ours = tls(server_config, talker, clock)
        peer = MemoryPeer(client_context(files), ours, clock, False)
        peer.until(peer.tls.do_handshake)
        with pytest.raises(ssl.SSLWantReadError):
            peer.tls.unwrap()
        peer.move()
        assert talker.happened == ["made", "read lost"]
        assert not peer.transport.disconnecting
        ours.loseConnection()
        assert peer.transport.disconnecting


async def asked_by_threads(reactor: Any, cert: str, key: str, ca: str, count: int) -> list[Any]:
    """Our echo server, and blocking clients of Python's ``ssl`` in threads."""
    from twisted.internet.defer import gatherResults
    from twisted.internet.endpoints import serverFromString
    from twisted.internet.protocol import Protocol
    from twisted.internet.threads import deferToThread

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            self.transport.write(data)

    words = f"tlsp:0:interface=127.0.0.1:cert={cert}:key={key}:alpn=echo"
    port = await serverFromString(reactor, words).listen(Factory.forProtocol(Echo))
    context = ssl.create_default_context(cafile=ca)
    context.set_alpn_protocols(["echo"])

    def ask(data: bytes) -> list[Any]:
        with (
            socket.create_connection(("127.0.0.1", port.getHost().port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            received = b""
            secured.sendall(data)
            while len(received) < len(data):
                received += secured.recv(65536)
            facts = [secured.version(), secured.selected_alpn_protocol(), received == data]
            secured.unwrap().close()
            return facts

    answers = await gatherResults([deferToThread(ask, bytes([number]) * 100_000) for number in range(count)])
    await port.stopListening()
    return answers


def test_python_clients_in_threads(files: Files) -> None:
    assert in_child(asked_by_threads, files.cert, files.key, files.ca, 5) == [["TLSv1.3", "echo", True]] * 5


async def ask_a_thread(reactor: Any, cert: str, key: str, ca: str) -> list[Any]:
    """A blocking server of Python's ``ssl`` in a thread, which wants a client certificate, and our client."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import clientFromString
    from twisted.internet.protocol import Protocol
    from twisted.internet.threads import deferToThread

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(5)

    def serve() -> str:
        plain, _ = listening.accept()
        plain.settimeout(5)
        with listening, plain, context.wrap_socket(plain, server_side=True) as secured:
            received = b""
            while part := secured.recv(65536):
                received += part
            secured.sendall(received[::-1])
            secured.unwrap()
            return "served"

    class Asking(Protocol):
        def connectionMade(self) -> None:
            self.received = b""
            self.ended: Deferred[str] = Deferred()

        def dataReceived(self, data: bytes) -> None:
            self.received += data

        def connectionLost(self, reason: Any) -> None:
            self.ended.callback(reason.type.__name__)

    served = deferToThread(serve)
    endpoint = clientFromString(reactor, f"tlsp:localhost:{listening.getsockname()[1]}:ca={ca}")
    client = await endpoint.connect(Factory.forProtocol(Asking))
    client.transport.write(MEGABYTE)
    client.transport.loseWriteConnection()
    reason = await client.ended
    return [await served, client.received == MEGABYTE[::-1], reason]


def test_python_server_in_a_thread(files: Files) -> None:
    assert in_child(ask_a_thread, files.cert, files.key, files.ca) == ["served", True, "ConnectionDone"]
