"""Every provider with every other, on both sides, over Twisted and over trio: data, halves, refusals, alerts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import broken_by, connected, expect_broken, receive_all, trio_run
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted_child import in_child
from twisted_pair import Files, HalfCloser, Pair, Talker, assert_over, join_protocols, tls
from twisted_pair import write_files as write_files

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import AlertReceived, CertificateFault, HookError, TLSError
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.identity import Identity
from tlsprovider.questions import VerifyPeer
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

PROVIDERS = ("native", "openssl", "stdlib")
MATRIX = list(product(PROVIDERS, PROVIDERS))
OLD = [(client, server) for client, server in MATRIX if "native" not in (client, server)]
DATA = bytes(range(256)) * 2048

both = pytest.mark.parametrize(("client", "server"), MATRIX)


def twisted_pair(
    ours: ClientConfig, theirs: ServerConfig, client: str, server: str, talkers: tuple[Any, Any] | None = None
) -> Pair:
    """Connected over Twisted's memory transport, each side with its own provider; run until nothing happens."""
    clock = Clock()
    near, far = talkers or (Talker(), Talker())
    return join_protocols(
        near, far, tls(ours, near, clock, provider=client), tls(theirs, far, clock, provider=server), clock
    )


@pytest.fixture
def old(client_config: ClientConfig, server_config: ServerConfig) -> Iterator[tuple[ClientConfig, ServerConfig]]:
    fields = {"min_version": "TLSv1.2", "max_version": "TLSv1.2"}
    yield attrs.evolve(client_config, **fields), attrs.evolve(server_config, **fields)


@pytest.fixture
def mutual(
    client_config: ClientConfig, server_config: ServerConfig, client_identity: Identity, trust: TrustStore
) -> tuple[ClientConfig, ServerConfig]:
    """Both sides show a certificate, and agree on a protocol."""
    return (
        attrs.evolve(client_config, identity=client_identity, alpn=["h2", "x"]),
        attrs.evolve(server_config, client_auth="require", trust=trust, alpn=["x"]),
    )


class TestTwisted:
    @both
    def test_data_and_end(
        self, client: str, server: str, mutual: tuple[ClientConfig, ServerConfig], client_identity: Identity
    ) -> None:
        pair = twisted_pair(*mutual, client, server)
        for sender in (pair.client, pair.server):
            sender.transport.write(DATA)
        pair.flush()
        assert pair.client.received == pair.server.received == DATA
        handles = [end.transport.getHandle() for end in (pair.client, pair.server)]
        assert [handle.version for handle in handles] == ["TLSv1.3", "TLSv1.3"]
        assert pair.client_tls.negotiatedProtocol == pair.server_tls.negotiatedProtocol == b"x"
        assert handles[1].peer_certificates == client_identity.certificates
        pair.client.transport.loseConnection()
        pair.flush()
        for end in (pair.client, pair.server):
            assert isinstance(end.reason, ConnectionDone)
        assert_over(pair)

    @pytest.mark.parametrize(("client", "server"), OLD)
    def test_tls_12(self, client: str, server: str, old: tuple[ClientConfig, ServerConfig]) -> None:
        pair = twisted_pair(*old, client, server)
        for sender in (pair.client, pair.server):
            sender.transport.write(DATA)
            sender.transport.loseConnection()
        pair.flush()
        assert pair.client.received == pair.server.received == DATA
        assert_over(pair)

    @both
    def test_halves(self, client: str, server: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
        pair = twisted_pair(client_config, server_config, client, server, (HalfCloser(), HalfCloser()))
        pair.client.transport.loseWriteConnection()
        pair.advance(0)
        assert "read lost" in pair.server.happened
        pair.server.transport.write(DATA)
        pair.advance(0)
        assert pair.client.received == DATA
        pair.server.transport.loseConnection()
        pair.advance(0)
        assert_over(pair)

    @both
    def test_a_server_that_is_not_believed(
        self, client: str, server: str, server_config: ServerConfig, client_config: ClientConfig
    ) -> None:
        """The client says why, the server sees the alert, and no application data has moved."""
        strict = attrs.evolve(client_config, verify_peer=lambda question: False)
        near, far = Talker(), Talker()
        near.connectionMade = lambda: near.transport.write(b"secret")  # type: ignore[method-assign]
        pair = twisted_pair(strict, server_config, client, server, (near, far))
        pair.flush()
        assert isinstance(near.reason, CertificateFault)
        assert isinstance(far.reason, AlertReceived)
        assert far.reason.alert is Alert.certificate_unknown
        assert far.received == near.received == b""
        assert_over(pair)

    @both
    def test_a_decision_that_takes_its_time(
        self, client: str, server: str, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        decision: Deferred[bool] = Deferred()
        waiting = attrs.evolve(client_config, verify_peer=lambda question: decision)
        pair = twisted_pair(waiting, server_config, client, server)
        pair.client.transport.write(b"after all")
        pair.flush()
        assert pair.server.received == b""
        assert not pair.server_tls.getHandle().handshake_complete
        decision.callback(True)
        pair.advance(0)
        assert pair.server.received == b"after all"


class TestTrio:
    @both
    @trio_run
    async def test_data_and_end(
        self, client: str, server: str, mutual: tuple[ClientConfig, ServerConfig], client_identity: Identity
    ) -> None:
        near, far = self.pair(mutual, client, server)

        async def talk(stream: TLSStream[Any], received: list[bytes]) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.send_and_end, stream)
                received.append(await receive_all(stream))

        received: list[bytes] = []
        async with trio.open_nursery() as nursery:
            for stream in (near, far):
                nursery.start_soon(talk, stream, received)
        assert received == [DATA, DATA]
        assert (near.alpn, far.alpn) == ("x", "x")
        assert far.peer_certificates == client_identity.certificates

    @staticmethod
    def pair(
        configs: tuple[ClientConfig, ServerConfig], client: str, server: str
    ) -> tuple[TLSStream[Any], TLSStream[Any]]:
        near, far = trio.testing.memory_stream_pair()
        return (
            TLSStream(near, configs[0], "localhost", provider=client),
            TLSStream(far, configs[1], server_side=True, provider=server),
        )

    @staticmethod
    async def send_and_end(stream: TLSStream[Any]) -> None:
        await stream.send_all(DATA)
        await stream.send_eof()

    @pytest.mark.parametrize(("client", "server"), OLD)
    @trio_run
    async def test_tls_12(self, client: str, server: str, old: tuple[ClientConfig, ServerConfig]) -> None:
        near, far = self.pair(old, client, server)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.send_and_end, near)
            assert await receive_all(far) == DATA
        assert near.version == far.version == "TLSv1.2"

    @both
    @trio_run
    async def test_a_server_that_is_not_believed(
        self, client: str, server: str, server_config: ServerConfig, client_config: ClientConfig
    ) -> None:
        async def refuse(question: VerifyPeer) -> bool:
            await trio.lowlevel.checkpoint()
            return False

        near, far = self.pair((attrs.evolve(client_config, verify_peer=refuse), server_config), client, server)
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, far, AlertReceived, found)
            with broken_by(CertificateFault):
                await near.send_all(b"secret")
            await trio.aclose_forcefully(near)
        assert isinstance(found[0], TLSError)
        assert found[0].alert is Alert.certificate_unknown

    @both
    @trio_run
    async def test_a_hook_that_fails(
        self, client: str, server: str, server_config: ServerConfig, client_config: ClientConfig
    ) -> None:
        async def fail(question: VerifyPeer) -> bool:
            raise LookupError("the directory is down")

        near, far = self.pair((attrs.evolve(client_config, verify_peer=fail), server_config), client, server)
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, far, AlertReceived, found)
            with broken_by(HookError) as causes:
                await near.do_handshake()
            await trio.aclose_forcefully(near)
        assert isinstance(causes[0].__cause__, LookupError)
        assert isinstance(found[0], TLSError)
        assert found[0].alert is Alert.internal_error

    @pytest.mark.parametrize("provider", PROVIDERS)
    @trio_run
    async def test_trios_own_checks(
        self, provider: str, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        async def make() -> tuple[Any, Any]:
            return await connected(client_config, server_config, provider=provider)

        await trio.testing.check_half_closeable_stream(make, None)


# -- real reactors and endpoint strings --------------------------------------------------------------------------------


async def by_string(reactor: Any, server_words: str, client_words: str) -> list[str]:
    """Listen by one string, connect by the other, say something both ways, and close: what was said and agreed."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.internet.protocol import Factory, Protocol

    class Echo(Protocol):
        def dataReceived(self, data: bytes) -> None:
            assert self.transport is not None
            self.transport.write(data)

    class Asking(Protocol):
        def __init__(self) -> None:
            self.answer: Deferred[bytes] = Deferred()
            self.ended: Deferred[None] = Deferred()

        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.write(b"ping")

        def dataReceived(self, data: bytes) -> None:
            self.answer.callback(data)

        def connectionLost(self, reason: Any = None) -> None:
            self.ended.callback(None)

    port = await serverFromString(reactor, server_words).listen(Factory.forProtocol(Echo))
    endpoint = clientFromString(reactor, client_words.replace("PORT", str(port.getHost().port)))
    client = await endpoint.connect(Factory.forProtocol(Asking))
    answer = await client.answer
    handle = client.transport.getHandle()
    client.transport.loseConnection()
    await client.ended
    await port.stopListening()
    return [answer.decode(), handle.version, type(handle.engine).__name__]


@pytest.mark.parametrize("provider", ["openssl", "stdlib", "auto"])
def test_endpoint_strings(files: Files, provider: str) -> None:
    """The provider's name is all that changes."""
    answer, version, engine = in_child(
        by_string,
        f"tlsp:0:interface=127.0.0.1:cert={files.cert}:key={files.key}:provider={provider}",
        f"tlsp:localhost:PORT:ca={files.ca}:provider={provider}",
    )
    assert (answer, version) == ("ping", "TLSv1.3")
    assert engine == ("NativeEngine" if provider == "auto" else "LibraryEngine")
