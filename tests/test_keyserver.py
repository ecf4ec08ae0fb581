"""The key server: what it says, what it signs and what not, who may connect, and front ends of every kind."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from loop import pump, transfer
from pages import command
from programs import Program
from terminal import fails, invoke, run, serving, write_files
from test_handshake import check_data, engines
from trio_run import shake_hands, tls_pair, trio_run
from twisted_child import in_child

from tlsprovider import keyserver
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import signatures
from tlsprovider.crypto.authority import KEY_TYPES, Authority, Issued, KeyType
from tlsprovider.crypto.certificates import key_id
from tlsprovider.errors import AlertReceived, ConfigError, HookError
from tlsprovider.iana import AlertDescription
from tlsprovider.iana import SignatureScheme as S
from tlsprovider.identity import Identity
from tlsprovider.keyserver import KeyServerError, server
from tlsprovider.keyserver.messages import (
    FIXED,
    MAX_REQUEST,
    Request,
    decode_response,
    encode_refusal,
    encode_signature,
)
from tlsprovider.keyserver.server import Connections, Keys, listen
from tlsprovider.trio import KeyServer as TrioKeyServer

CONTENT = b" " * 64 + b"TLS 1.3, server CertificateVerify\0" + bytes(32)


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("localhost")


@pytest.fixture
def place(tmp_path: Path) -> str:
    return str(tmp_path / "keys.sock")


def request(issued: Issued) -> bytes:
    return Request.of(key_id(issued.certificate), S.ecdsa_secp256r1_sha256, CONTENT).encode()


class TestMessages:
    @pytest.mark.parametrize("side", [b"server", b"client"])
    @pytest.mark.parametrize("length", [32, 48])
    def test_content_of_certificate_verify(self, side: bytes, length: int) -> None:
        content = b" " * 64 + b"TLS 1.3, " + side + b" CertificateVerify\0" + os.urandom(length)
        asked = Request.of(bytes(32), S.ed25519, content)
        encoded = asked.encode()
        assert int.from_bytes(encoded[:2], "big") == len(encoded) - 2 <= MAX_REQUEST
        assert Request.decode(encoded[2:]) == asked
        assert asked.content == content

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"a message",
            CONTENT[1:],
            CONTENT[:-1],
            CONTENT + b"\0",
            CONTENT.replace(b"server", b"Server"),
            CONTENT.replace(b"1.3", b"1.2"),
            CONTENT.replace(b"\0", b" ", 1),
        ],
    )
    def test_anything_else_can_not_be_asked(self, content: bytes) -> None:
        with pytest.raises(KeyServerError, match="nothing else"):
            Request.of(bytes(32), S.ed25519, content)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            (b"", "0 bytes"),
            (bytes(FIXED.size), "bytes is none"),
            (FIXED.pack(1, bytes(32), S.ed25519, 1) + bytes(31), "bytes is none"),
            (FIXED.pack(1, bytes(32), S.ed25519, 1) + bytes(64), "bytes is none"),
            (FIXED.pack(2, bytes(32), S.ed25519, 1) + bytes(32), "version 2"),
            (FIXED.pack(1, bytes(32), S.rsa_pkcs1_sha256, 1) + bytes(32), "rsa_pkcs1_sha256 is no scheme"),
            (FIXED.pack(1, bytes(32), 0x6A6A, 1) + bytes(32), "0x6a6a is no scheme"),
            (FIXED.pack(1, bytes(32), S.ed25519, 2) + bytes(32), "side 2"),
        ],
    )
    def test_requests_that_are_refused(self, body: bytes, words: str) -> None:
        with pytest.raises(KeyServerError, match=words):
            Request.decode(body)

    def test_responses(self) -> None:
        encoded = encode_signature(b"signature")
        for cut in range(len(encoded)):
            assert decode_response(encoded[:cut]) is None
        assert decode_response(encoded) == b"signature"

    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (encode_refusal("no such key"), "refuses: 'no such key'"),
            (encode_signature(b""), "is it one"),
            (encode_signature(b"x") + b"y", "more than its answer"),
            (b"\0\0", "0 bytes"),
            (b"HTTP/1.1 400 Bad Request", "is it one"),
            (b"\0\2\7x", "status 7"),
        ],
    )
    def test_responses_that_are_none(self, data: bytes, words: str) -> None:
        with pytest.raises(KeyServerError, match=words):
            decode_response(data)


class TestKeys:
    @pytest.mark.parametrize("kind", KEY_TYPES)
    def test_every_kind(self, authority: Authority, kind: KeyType) -> None:
        issued = authority.issue("localhost", key_type=kind)
        keys = Keys([authority.issue("other").private_key, issued.private_key])
        [scheme, *_] = signatures.schemes_for(issued.certificate)
        signature = keys.sign(Request.of(key_id(issued.certificate), scheme, CONTENT))
        signatures.verify(issued.certificate, scheme, signature, CONTENT)

    def test_no_such_key(self, issued: Issued) -> None:
        with pytest.raises(KeyServerError, match="no key 0000"):
            Keys([issued.private_key]).sign(Request.of(bytes(32), S.ed25519, CONTENT))

    def test_scheme_of_another_key(self, issued: Issued) -> None:
        with pytest.raises(KeyServerError, match="can't sign with ed25519"):
            Keys([issued.private_key]).sign(Request.of(key_id(issued.certificate), S.ed25519, CONTENT))

    def test_none(self) -> None:
        with pytest.raises(ConfigError, match="there is none"):
            Keys([])


class TestListen:
    def test_only_for_its_owner(self, place: str) -> None:
        before = os.umask(0)
        try:
            with listen(place):
                assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
            assert os.umask(0) == 0, "it is as it was"
        finally:
            os.umask(before)

    def test_left_over(self, place: str) -> None:
        listen(place).close()
        listen(place).close()

    def test_taken(self, place: str) -> None:
        with listen(place), pytest.raises(ConfigError, match="another server listens there"):
            listen(place)

    def test_something_else(self, place: str) -> None:
        Path(place).touch()
        with pytest.raises(ConfigError, match="no socket"):
            listen(place)

    def test_no_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="can't listen there: No such file"):
            listen(tmp_path / "missing" / "keys.sock")


Talk = Callable[[Connections, asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


class TestHostilePeers:
    """What a peer may say and do, and that the next one is served all the same."""

    def meet(self, place: str, issued: Issued, talk: Talk) -> None:
        async def both() -> None:
            async with Connections(Keys([issued.private_key]), listen(place)) as connections, asyncio.timeout(10):
                await talk(connections, *await asyncio.open_unix_connection(place))
                reader, writer = await asyncio.open_unix_connection(place)
                writer.write(request(issued))
                signature = decode_response(await reader.read())
                assert signature is not None
                signatures.verify(issued.certificate, S.ecdsa_secp256r1_sha256, signature, CONTENT)
                writer.close()

        asyncio.run(both())
        assert not os.path.exists(place)

    @pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n\r\n", b"\0\1x", b"\xff\xff", b"\0\0"])
    def test_garbage(self, place: str, issued: Issued, garbage: bytes) -> None:
        async def talk(_: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(garbage)
            with pytest.raises(KeyServerError, match=r"refuses: .* bytes is none"):
                decode_response(await reader.read())
            writer.close()

        self.meet(place, issued, talk)

    def test_truncation(self, place: str, issued: Issued) -> None:
        async def talk(_: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(request(issued)[:-1])
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()

        self.meet(place, issued, talk)

    def test_slow_peer(self, place: str, issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "REQUEST_SECONDS", 0.05)

        async def talk(_: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(request(issued)[:10])
            assert await reader.read() == b""
            writer.close()

        self.meet(place, issued, talk)

    def test_too_many(self, place: str, issued: Issued, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)

        async def talk(one: Connections, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            other, their_writer = await asyncio.open_unix_connection(place)
            assert await other.read() == b""
            their_writer.close()
            writer.write(request(issued))
            assert decode_response(await reader.read()) is not None
            writer.close()
            while one._tasks:
                await asyncio.sleep(0)

        self.meet(place, issued, talk)


@attrs.frozen
class Running:
    """A key server in a process of its own, with what a front end has."""

    place: str
    chain: bytes
    program: Program


@pytest.fixture(scope="module")
def running(issued: Issued, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("keyserver")
    (folder / "key.pem").write_bytes(issued.key_pem)
    place = str(folder / "keys.sock")
    with Program(*command("keyserver", "--listen", place, "--key", str(folder / "key.pem"))) as program:
        program.wait_for(b"signing with 1 key at ")
        yield Running(place, issued.chain_pem, program)


@contextmanager
def impostor(place: str, says: bytes) -> Iterator[None]:
    """Something that is no key server."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place)
        listener.listen()

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(says)

        thread = threading.Thread(target=answer)
        thread.start()
        yield
        thread.join(10)


BAD_SERVERS = [
    (b"", "in the middle of its answer"),
    (encode_signature(bytes(70))[:-5], "in the middle of its answer"),
    (b"220 mail.example.com ESMTP\r\n", "is it one"),
    (encode_refusal("no such key"), "no such key"),
]


class TestBlocking:
    def test_handshake(self, running: Running, client_config: ClientConfig) -> None:
        identity = keyserver.KeyServer(running.place).identity(running.chain)
        assert identity.external and identity.private_key is None
        client, served = engines(client_config, ServerConfig(identities=[identity]))
        pump(client, served)
        check_data(client, served)

    @pytest.mark.parametrize(("says", "words"), BAD_SERVERS)
    def test_bad_server(self, place: str, issued: Issued, client_config: ClientConfig, says: bytes, words: str) -> None:
        identity = keyserver.KeyServer(place).identity(issued.certificates)
        client, served = engines(client_config, ServerConfig(identities=[identity]))
        with impostor(place, says), pytest.raises(HookError, match=words) as raised:
            pump(client, served)
        assert isinstance(raised.value.__cause__, KeyServerError)
        transfer(served, client)
        with pytest.raises(AlertReceived) as received:
            client.do_handshake()
        assert received.value.alert is AlertDescription.internal_error

    def test_wrong_signature(self, place: str, issued: Issued, client_config: ClientConfig) -> None:
        identity = keyserver.KeyServer(place).identity(issued.certificates)
        client, served = engines(client_config, ServerConfig(identities=[identity]))
        with impostor(place, encode_signature(bytes(70))), pytest.raises(HookError, match="not valid"):
            pump(client, served)

    def test_gone(self, place: str, issued: Issued) -> None:
        identity = keyserver.KeyServer(place).identity(issued.certificates)
        with pytest.raises(KeyServerError, match=r"keys.sock: the key server can't be reached: No such file"):
            identity.sign(S.ecdsa_secp256r1_sha256, CONTENT)
        listen(place).close()
        with pytest.raises(KeyServerError, match="Connection refused"):
            identity.sign(S.ecdsa_secp256r1_sha256, CONTENT)

    def test_slow(self, place: str, issued: Issued) -> None:
        identity = keyserver.KeyServer(place, timeout=0.05).identity(issued.certificates)
        with listen(place), pytest.raises(KeyServerError, match=r"no answer within 0.05 seconds"):
            identity.sign(S.ecdsa_secp256r1_sha256, CONTENT)

    def test_no_certificate(self, place: str) -> None:
        with pytest.raises(ConfigError, match="no certificate"):
            keyserver.KeyServer(place).identity([])
        assert "keys.sock" in repr(keyserver.KeyServer(place))


class TestTrio:
    @trio_run
    async def test_handshakes(self, running: Running, client_config: ClientConfig) -> None:
        config = ServerConfig(identities=[TrioKeyServer(running.place).identity(running.chain)])
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(shake_hands, *tls_pair(client_config, config))

    @trio_run
    @pytest.mark.parametrize(("says", "words"), BAD_SERVERS)
    async def test_bad_server(self, place: str, issued: Issued, says: bytes, words: str) -> None:
        identity = TrioKeyServer(place).identity(issued.certificates)
        signed: Any = identity.sign(S.ecdsa_secp256r1_sha256, CONTENT)
        with impostor(place, says), pytest.raises(KeyServerError, match=words):
            await signed

    @trio_run
    async def test_gone(self, place: str, issued: Issued) -> None:
        signed: Any = TrioKeyServer(place).identity(issued.certificates).sign(S.ecdsa_secp256r1_sha256, CONTENT)
        with pytest.raises(KeyServerError, match="can't be reached: "):
            await signed

    @trio_run(mock_clock=True)
    async def test_slow(self, place: str, issued: Issued) -> None:
        signed: Any = TrioKeyServer(place).identity(issued.certificates).sign(S.ecdsa_secp256r1_sha256, CONTENT)
        with listen(place), pytest.raises(KeyServerError, match="no answer within 5 seconds"):
            await signed


async def twisted_handshakes(reactor: Any, place: str, chain: str, ca: str) -> list[Any]:
    """Ten at a time by the key server, then what is said when there is none."""
    from twisted.internet.defer import gatherResults
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from twisted.internet.protocol import Factory, Protocol

    from tlsprovider import TrustStore
    from tlsprovider.twisted import KeyServer, TLSClientEndpoint, TLSServerEndpoint

    identity = KeyServer(place).identity(chain.encode())
    listening = await TLSServerEndpoint(
        TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), ServerConfig(identities=[identity])
    ).listen(Factory.forProtocol(Protocol))
    where = TCP4ClientEndpoint(reactor, "127.0.0.1", listening.getHost().port)
    endpoint = TLSClientEndpoint(where, ClientConfig(trust=TrustStore.from_pem(ca)), "localhost")
    made = await gatherResults([endpoint.connect(Factory.forProtocol(Protocol)) for _ in range(10)])
    for protocol in made:
        protocol.transport.abortConnection()
    await listening.stopListening()
    said = []
    for holder, scheme in ((KeyServer(place + ".none"), 0x0403), (KeyServer(place), 0x0807)):
        signed: Any = holder.identity(chain.encode()).sign(S(scheme), CONTENT)
        try:
            await signed
        except KeyServerError as problem:
            said.append(str(problem))
    return [len(made), said]


class TestTwisted:
    def test_handshakes(self, running: Running, authority: Authority) -> None:
        arguments = (running.place, running.chain.decode(), authority.certificate_pem.decode())
        count, (gone, refused) = in_child(twisted_handshakes, *arguments)
        assert count == 10
        assert "the key server can't be reached: " in gone
        assert "can't sign with ed25519" in refused

    @pytest.mark.parametrize(("says", "words"), BAD_SERVERS)
    def test_bad_server(self, place: str, issued: Issued, says: bytes, words: str) -> None:
        from twisted.internet.error import ConnectionDone
        from twisted.internet.testing import MemoryReactorClock, StringTransport
        from twisted.python.failure import Failure

        from tlsprovider.twisted import KeyServer

        reactor = MemoryReactorClock()
        signed: Any = KeyServer(place, reactor=reactor).identity(issued.certificates).sign(S(0x0403), CONTENT)
        failures: list[Failure] = []
        signed.addErrback(failures.append)
        [(path, factory, *_)] = reactor.unixClients
        assert path == place
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        assert transport.value() == request(issued)
        for number in range(len(says)):
            protocol.dataReceived(says[number : number + 1])
        protocol.connectionLost(Failure(ConnectionDone()))
        assert failures[0].check(KeyServerError) and words in str(failures[0].value)
        assert reactor.getDelayedCalls() == []

    def test_slow(self, place: str, issued: Issued) -> None:
        from twisted.internet.testing import MemoryReactorClock, StringTransport

        from tlsprovider.twisted import KeyServer

        reactor = MemoryReactorClock()
        signed: Any = KeyServer(place, reactor=reactor).identity(issued.certificates).sign(S(0x0403), CONTENT)
        failures: list[Any] = []
        signed.addErrback(failures.append)
        transport = StringTransport()
        reactor.unixClients[0][1].buildProtocol(None).makeConnection(transport)
        reactor.advance(4.9)
        assert failures == [] and not transport.disconnected
        reactor.advance(0.2)
        assert "no answer within 5 seconds" in str(failures[0].value)
        assert transport.disconnected


@pytest.mark.parametrize("framework", ["trio", "twisted"])
def test_serve(running: Running, framework: str, tmp_path: Path, authority: Authority) -> None:
    write_files(tmp_path, authority)
    (tmp_path / "shown.pem").write_bytes(running.chain)
    options = ("--cert", str(tmp_path / "shown.pem"), "--key-server", running.place, "--framework", framework)
    with serving(*options) as (_, where):
        done = run("connect", where, "--ca", str(tmp_path / "ca.pem"), say=b"hello")
    assert (done.code, done.output) == (0, b"hello"), done.errors


class TestCommand:
    def test_signals_end_it_cleanly(self, place: str, tmp_path: Path, issued: Issued) -> None:
        (tmp_path / "key.pem").write_bytes(issued.key_pem)
        with Program(*command("keyserver", "--listen", place, "--key", str(tmp_path / "key.pem"))) as program:
            program.wait_for(b"signing with 1 key")
            os.kill(program._process.pid, signal.SIGTERM)
            assert program.wait() == 0
        assert not os.path.exists(place)

    def test_no_key(self, place: str, tmp_path: Path, issued: Issued) -> None:
        (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
        said = fails(invoke("keyserver", "--listen", place, "--key", str(tmp_path / "chain.pem")))
        assert said.endswith("chain.pem: no private key in there; found CERTIFICATE")

    def test_key_in_two_places(self, place: str) -> None:
        said = fails(invoke("serve", "--cert", "a.pem", "--key", "b.pem", "--key-server", place))
        assert "leave one of them out" in said


def test_identity_is_a_signer(issued: Issued) -> None:
    """Anything with ``schemes`` and ``sign`` is one."""
    known = Identity.from_crypto(issued.certificates, issued.private_key)
    assert Identity.with_signer(issued.certificates, known).schemes == known.schemes
