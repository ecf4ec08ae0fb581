"""TLSStream against ``trio.SSLStream``, which is OpenSSL, in both roles; and against peers that misbehave."""

from __future__ import annotations

import os
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import (
    Crumbs,
    Through,
    broken_by,
    connected,
    expect_broken,
    receive_all,
    receive_exactly,
    socket_pair,
    tcp_pair,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, CertificateFault, PeerFault, TruncatedError
from tlsprovider.identity import Identity
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

DATA = bytes(range(256)) * 2048

Stream = trio.abc.Stream


@pytest.fixture(scope="module")
def server_context(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    _load(context, authority.issue("localhost"), tmp_path_factory.mktemp("server"))
    return context


@pytest.fixture(scope="module")
def client_context(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """One with a certificate to show; OpenSSL reports a bare end."""
    context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    _load(context, authority.issue("alice@example.com", client=True), tmp_path_factory.mktemp("client"))
    return context


def _load(context: ssl.SSLContext, issued: Any, folder: Path) -> None:
    file = folder / "chain-and-key.pem"
    file.write_bytes(issued.chain_pem + issued.key_pem)
    context.load_cert_chain(file)


@pytest.fixture(params=["ours is the client", "ours is the server"])
def roles(
    request: pytest.FixtureRequest,
    client_config: ClientConfig,
    server_config: ServerConfig,
    client_context: ssl.SSLContext,
    server_context: ssl.SSLContext,
) -> Any:
    """``(transport, transport) -> (our stream, trio's)``; both ways round."""

    def make(ours: Stream, theirs: Stream, **options: Any) -> tuple[TLSStream[Any], trio.SSLStream[Any]]:
        if request.param == "ours is the client":
            return (
                TLSStream(ours, client_config, "localhost", **options),
                trio.SSLStream(theirs, server_context, server_side=True, **options),
            )
        return (
            TLSStream(ours, server_config, server_side=True, **options),
            trio.SSLStream(theirs, client_context, server_hostname="localhost", **options),
        )

    return make


async def meet(ours: TLSStream[Any], theirs: trio.SSLStream[Any]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.do_handshake)
        nursery.start_soon(theirs.do_handshake)


class TestWithSSLStream:
    @trio_run(seconds=30)
    async def test_trios_own_checks_both_ways(self, roles: Any) -> None:
        async def maker() -> tuple[Stream, Stream]:
            return roles(*trio.testing.memory_stream_pair())  # type: ignore[no-any-return]

        await trio.testing.check_two_way_stream(maker, None)

    @trio_run
    @pytest.mark.parametrize("kind", ["tcp", "socketpair", "memory", "lockstep", "crumbs"])
    async def test_full_duplex(self, roles: Any, kind: str) -> None:
        transports: tuple[Stream, Stream]
        if kind == "tcp":
            transports = await tcp_pair()
        elif kind == "socketpair":
            transports = socket_pair()
        elif kind == "lockstep":
            transports = trio.testing.lockstep_stream_pair()
        else:
            transports = trio.testing.memory_stream_pair()
        data = DATA
        if kind == "crumbs":
            near, far = transports
            transports, data = (Crumbs(near), Crumbs(far)), DATA[:500]
        ours, theirs = roles(*transports)

        async def expect(stream: Stream) -> None:
            assert await receive_exactly(stream, len(data)) == data

        async with trio.open_nursery() as nursery:
            for stream in (ours, theirs):
                nursery.start_soon(stream.send_all, data)
                nursery.start_soon(expect, stream)
        assert ours.version == theirs.version() == "TLSv1.3"

    @trio_run
    async def test_closing(self, roles: Any) -> None:
        for close_ours in (True, False):
            ours, theirs = roles(*trio.testing.memory_stream_pair())
            await meet(ours, theirs)
            closing, reading = (ours, theirs) if close_ours else (theirs, ours)
            await closing.send_all(b"goodbye")
            await closing.aclose()
            assert await receive_all(reading) == b"goodbye"
            await reading.aclose()

    @trio_run
    async def test_a_bare_end(self, roles: Any) -> None:
        ours, theirs = roles(*trio.testing.memory_stream_pair())
        await meet(ours, theirs)
        await theirs.transport_stream.aclose()
        with broken_by(TruncatedError):
            await ours.receive_some()

    @trio_run
    async def test_https_and_a_bare_end(self, roles: Any) -> None:
        ours, theirs = roles(*trio.testing.memory_stream_pair(), https_compatible=True)
        await meet(ours, theirs)
        await theirs.send_all(b"body")
        await theirs.aclose()
        assert await receive_all(ours) == b"body"

    @trio_run
    async def test_unwrap(self, roles: Any) -> None:
        ours, theirs = roles(*trio.testing.memory_stream_pair())
        await meet(ours, theirs)
        results: list[tuple[Stream, bytes]] = []

        async def unwrap(stream: Any) -> None:
            results.append(await stream.unwrap())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(unwrap, ours)
            nursery.start_soon(unwrap, theirs)
        (one, _), (other, _) = results
        await one.send_all(b"plain")
        assert await other.receive_some() == b"plain"

    @trio_run
    async def test_channel_binding(self, roles: Any) -> None:
        ours, theirs = roles(*trio.testing.memory_stream_pair())
        await meet(ours, theirs)
        assert ours.cipher == theirs.cipher()[0]

    @trio_run
    async def test_tls_in_their_tls_in_ours(self, roles: Any) -> None:
        ours, theirs = roles(*roles(*trio.testing.memory_stream_pair()))
        await meet(ours, theirs)
        await ours.send_all(b"deep")
        assert await theirs.receive_some() == b"deep"


class TestNegotiation:
    @trio_run
    async def test_alpn_and_names(
        self, client_config: ClientConfig, server_config: ServerConfig, authority: Authority
    ) -> None:
        context = ssl.create_default_context(cadata=authority.certificate_pem.decode())
        context.set_alpn_protocols(["h2", "http/1.1"])
        near, far = trio.testing.memory_stream_pair()
        theirs = trio.SSLStream(near, context, server_hostname="example.com")
        ours = TLSStream(far, attrs.evolve(server_config, alpn=["http/1.1"]), server_side=True)
        await meet(ours, theirs)
        assert ours.alpn == theirs.selected_alpn_protocol() == "http/1.1"
        assert ours.server_name == "example.com"

    @trio_run
    async def test_client_certificates(
        self, server_config: ServerConfig, trust: TrustStore, client_context: ssl.SSLContext
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        theirs = trio.SSLStream(near, client_context, server_hostname="localhost")
        config = attrs.evolve(server_config, client_auth="require", trust=trust)
        ours = TLSStream(far, config, server_side=True)
        await meet(ours, theirs)
        assert len(ours.verified_chain) == 2
        assert ours.peer_certificates[0].public_bytes is not None

    @trio_run
    async def test_our_client_certificate(
        self,
        client_config: ClientConfig,
        client_identity: Identity,
        authority: Authority,
        tmp_path: Path,
    ) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.certificate_pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        _load(context, authority.issue("localhost"), tmp_path)
        near, far = trio.testing.memory_stream_pair()
        ours = TLSStream(near, attrs.evolve(client_config, identity=client_identity), "localhost")
        theirs = trio.SSLStream(far, context, server_side=True)
        await meet(ours, theirs)
        assert theirs.getpeercert()["subjectAltName"] == (("email", "alice@example.com"),)

    @trio_run
    async def test_they_refuse_us(self, server_config: ServerConfig) -> None:
        near, far = trio.testing.memory_stream_pair()
        theirs = trio.SSLStream(near, ssl.create_default_context(), server_hostname="localhost")
        ours = TLSStream(far, server_config, server_side=True)

        async def refuse() -> None:
            with pytest.raises(trio.BrokenResourceError) as found:
                await theirs.do_handshake()
            # trio's stream leaves the alert in its buffer, so the best that we can be told is the end.
            await near.send_all(theirs._outgoing.read())
            assert isinstance(found.value.__cause__, ssl.SSLCertVerificationError)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refuse)
            nursery.start_soon(expect_broken, ours, AlertReceived)

    @trio_run
    async def test_we_refuse_them_and_say_so(self, server_context: ssl.SSLContext) -> None:
        near, far = trio.testing.memory_stream_pair()
        strangers = TrustStore.from_crypto([Authority("somebody else").certificate])
        ours = TLSStream(near, ClientConfig(trust=strangers), "localhost")
        theirs = trio.SSLStream(far, server_context, server_side=True)

        async def hear() -> None:
            with pytest.raises(trio.BrokenResourceError) as found:
                await theirs.do_handshake()
            assert "TLSV1_ALERT_UNKNOWN_CA" in str(found.value.__cause__)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(hear)
            nursery.start_soon(expect_broken, ours, CertificateFault)


class Cut(Through):
    """Ends, or falls silent, after so many bytes."""

    def __init__(self, stream: Stream, most: int, silent: bool) -> None:
        super().__init__(stream)
        self.left, self.silent = most, silent

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self.left:
            data = await super().receive_some(min(self.left, max_bytes or self.left))
            self.left -= len(data)
            return data
        await trio.lowlevel.checkpoint()
        if self.silent:
            await trio.sleep_forever()
        return b""


class TestMisbehaviour:
    @trio_run(seconds=20)
    @pytest.mark.parametrize("most", [0, 1, 4, 5, 6, 50, 300, 400])
    async def test_the_peer_leaves_in_the_middle(self, roles: Any, most: int) -> None:
        near, far = trio.testing.memory_stream_pair()
        ours, theirs = roles(Cut(near, most, silent=False), far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ignoring_breaks, theirs)
            await expect_broken(ours, TruncatedError)
            await ours.aclose()

    @trio_run(mock_clock=True)
    @pytest.mark.parametrize("most", [0, 5, 300])
    async def test_the_peer_falls_silent(self, roles: Any, most: int) -> None:
        near, far = trio.testing.memory_stream_pair()
        ours, theirs = roles(Cut(near, most, silent=True), far)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ignoring_breaks, theirs)
            with trio.move_on_after(2) as scope:
                await ours.do_handshake()
            assert scope.cancelled_caught
            await ours.aclose()

    @trio_run
    @pytest.mark.parametrize(
        "garbage",
        [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x16\x03\x03\xff\xff" + bytes(64), b"\x17\x03\x03\x00\x10" + bytes(16)],
        ids=["http", "too long a record", "data too early"],
    )
    async def test_garbage(self, client_config: ClientConfig, server_config: ServerConfig, garbage: bytes) -> None:
        for make in (
            partial(TLSStream, config=client_config, server_hostname="localhost"),
            partial(TLSStream, config=server_config, server_side=True),
        ):
            near, far = trio.testing.memory_stream_pair()
            await far.send_all(garbage)
            ours = make(near)
            await expect_broken(ours, PeerFault)
            with broken_by(PeerFault):
                await ours.receive_some()
            await ours.aclose()
            sent = await receive_all(far)
            assert sent[-7:-4] == b"\x15\x03\x03"  # an alert of two bytes, and nothing behind it

    @trio_run
    async def test_a_flipped_bit(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        class Flipping(Through):
            async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
                data = bytearray(await super().receive_some(max_bytes))
                if ours.handshake_complete and data:
                    data[-1] ^= 1
                return data

        near, far = trio.testing.memory_stream_pair()
        ours = TLSStream(Flipping(near), client_config, "localhost")
        peer = TLSStream(far, server_config, server_side=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ours.do_handshake)
            nursery.start_soon(peer.do_handshake)
        await peer.send_all(b"precious")
        with broken_by(PeerFault):
            await ours.receive_some()

    @trio_run
    async def test_a_reset_connection(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        ours, peer = await connected(client_config, server_config, await tcp_pair())
        linger = b"\1\0\0\0\0\0\0\0"  # close sends a reset
        peer.transport_stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        await trio.aclose_forcefully(peer.transport_stream)
        with broken_by(OSError):
            await ours.receive_some()
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await ours.send_all(b"x")
        with pytest.raises(trio.BrokenResourceError):
            await ours.wait_send_all_might_not_block()
        await ours.aclose()

    @trio_run
    async def test_a_reset_in_the_handshake(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, far = await tcp_pair()
        ours = TLSStream(near, client_config, "localhost")
        linger = b"\1\0\0\0\0\0\0\0"  # close sends a reset
        far.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_reset, ours)
            await far.receive_some()
            await trio.aclose_forcefully(far)
        with pytest.raises(trio.BrokenResourceError, match="broken off"):
            await ours.send_all(b"x")
        await ours.aclose()

    @trio_run
    async def test_a_transport_that_was_closed_below(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        ours, _ = await connected(client_config, server_config, socket_pair())
        await ours.transport_stream.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await ours.receive_some()
        with pytest.raises(trio.ClosedResourceError):
            await ours.send_all(b"x")
        await ours.aclose()

    @trio_run
    async def test_the_number_of_a_closed_socket_belongs_to_somebody_else(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        ours, _ = await connected(client_config, server_config, socket_pair())
        number = ours.transport_stream.socket.fileno()
        ours.transport_stream.socket.close()
        here, there = socket.socketpair()
        with here, there:
            if here.fileno() != number:
                os.dup2(here.fileno(), number)
            there.sendall(b"for somebody else")
            try:
                with pytest.raises(trio.ClosedResourceError):
                    await ours.receive_some()
                with pytest.raises(trio.ClosedResourceError):
                    await ours.send_all(b"x")
                await ours.aclose()
                there.setblocking(False)
                with pytest.raises(BlockingIOError):
                    there.recv(1)
                assert here.recv(100) == b"for somebody else"
            finally:
                if here.fileno() != number:
                    os.close(number)


async def _expect_reset(stream: TLSStream[Any]) -> None:
    with broken_by(OSError):
        await stream.do_handshake()


async def _ignoring_breaks(stream: Any) -> None:
    try:
        await stream.do_handshake()
        await stream.receive_some()
    except trio.BrokenResourceError:
        pass
