"""Lines of the contract with OpenSSL as the peer: Python's ssl module, over memory and over a blocking socket.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import socket
import ssl as stdlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import pytest
from contract_transports import PATIENCE, ROUNDS, BrokenBIO, Call, Result, is_suspended

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, Shutdown, SocketBIO


@pytest.fixture(scope="module")
def openssl_contexts(
    authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> tuple[stdlib.SSLContext, stdlib.SSLContext]:
    """A client's and a server's."""
    issued = authority.issue("localhost")
    path: Path = tmp_path_factory.mktemp("openssl") / "server.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    server = stdlib.SSLContext(stdlib.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(path)
    client = stdlib.SSLContext(stdlib.PROTOCOL_TLS_CLIENT)
    client.load_verify_locations(cadata=authority.certificate_pem.decode())
    return client, server


class OpenSSL:
    """A peer in memory, and our SSL object, joined."""

    def __init__(self, ours: SSL, contexts: tuple[stdlib.SSLContext, stdlib.SSLContext]) -> None:
        self.ours = ours
        self.rbio, self.wbio = MemoryBIO(), MemoryBIO()
        ours.set_bio(self.rbio, self.wbio)
        self.incoming, self.outgoing = stdlib.MemoryBIO(), stdlib.MemoryBIO()
        context = contexts[not ours.is_server()]
        name = None if not ours.is_server() else "localhost"
        self.theirs = context.wrap_bio(
            self.incoming, self.outgoing, server_side=not ours.is_server(), server_hostname=name
        )

    def deliver(self, piece: int = 1 << 20) -> None:
        self.incoming.write(self.wbio.read(piece))
        self.rbio.write(self.outgoing.read(piece))

    def both(self, at_ours: Call, at_theirs: Callable[[], object], piece: int = 1 << 20) -> tuple[Result, object]:
        """Make both calls, each again and again until it is done; ``piece``: bytes delivered between two calls."""
        ours: Result | None = None
        theirs: object = None
        finished = False
        for _ in range(ROUNDS * 4):
            if ours is None:
                result = at_ours()
                ours = None if is_suspended(self.ours, result) else result
            if not finished:
                try:
                    theirs, finished = at_theirs(), True
                except stdlib.SSLWantReadError:
                    finished = False
            self.deliver(piece)
            if ours is not None and finished:
                return ours, theirs
        raise AssertionError(f"stands still: {self.ours.state_string_long()}")

    def handshake(self) -> None:
        call = self.ours.accept if self.ours.is_server() else self.ours.connect
        ret, _ = self.both(call, self.theirs.do_handshake)
        assert ret == 1, self.ours.error


@pytest.fixture(params=["client", "server"])
def joined(
    request: pytest.FixtureRequest,
    client_config: ClientConfig,
    server_config: ServerConfig,
    openssl_contexts: tuple[stdlib.SSLContext, stdlib.SSLContext],
) -> OpenSSL:
    """Our object as what the parameter says."""
    ours = SSL(client_config, server_hostname="localhost") if request.param == "client" else SSL(server_config)
    return OpenSSL(ours, openssl_contexts)


def test_H7_H10_one_byte_at_a_time(joined: OpenSSL) -> None:
    call = joined.ours.accept if joined.ours.is_server() else joined.ours.connect
    ret, _ = joined.both(call, joined.theirs.do_handshake, piece=1)
    assert ret == 1
    assert joined.theirs.version() == joined.ours.version == "TLSv1.3"
    assert joined.theirs.cipher()[0] == joined.ours.cipher  # type: ignore[index]


def test_H12_an_alert_of_openssl(
    client_config: ClientConfig,
    server_config: ServerConfig,
    openssl_contexts: tuple[stdlib.SSLContext, stdlib.SSLContext],
) -> None:
    strict = stdlib.SSLContext(stdlib.PROTOCOL_TLS_CLIENT)
    joined = OpenSSL(SSL(server_config), (strict, openssl_contexts[1]))
    with pytest.raises(stdlib.SSLCertVerificationError):
        joined.both(joined.ours.accept, joined.theirs.do_handshake)
    joined.deliver()
    assert joined.ours.accept() == -1
    assert joined.ours.get_error(-1) is ErrorCode.SSL
    assert "unknown_ca" in str(joined.ours.error)
    assert joined.ours.get_shutdown() == Shutdown.RECEIVED


def test_H16_tickets_come_in_a_later_read(
    client_config: ClientConfig, openssl_contexts: tuple[stdlib.SSLContext, stdlib.SSLContext]
) -> None:
    joined = OpenSSL(SSL(client_config, server_hostname="localhost"), openssl_contexts)
    seen: list[int] = []
    joined.ours.set_msg_callback(lambda sent, version, kind, data, ssl: seen.append(data[0]))
    joined.handshake()
    assert 4 not in seen
    joined.deliver()
    assert joined.rbio.pending() > 0
    assert joined.ours.read(10) == b"" and joined.ours.want_read()
    assert seen.count(4) == 2
    joined.theirs.write(b"data")
    joined.deliver()
    assert joined.ours.read(10) == b"data"


def test_H11_E5_openssl_ends_the_handshake(joined: OpenSSL) -> None:
    """close_notify in plaintext, as OpenSSL would send it if it allowed SSL_shutdown() in a handshake."""
    joined.rbio.write(bytes.fromhex("15 03 03 00 02 01 00"))
    ret = joined.ours.accept() if joined.ours.is_server() else joined.ours.connect()
    assert (ret, joined.ours.get_error(0)) == (0, ErrorCode.ZERO_RETURN)


def test_D4_D15_data_in_both_directions(joined: OpenSSL) -> None:
    joined.handshake()
    big = bytes(range(256)) * 1024
    for _ in range(2):
        assert joined.ours.write(big) == len(big)
        joined.deliver()
        got = b""
        while len(got) < len(big):
            got += joined.theirs.read(1 << 16)
        assert got == big
        assert joined.theirs.write(big) == len(big)
        joined.deliver()
        got = b""
        while len(got) < len(big):
            got += joined.ours.read(1 << 16)
        assert got == big


def test_D7_D8_one_record_each_call(joined: OpenSSL) -> None:
    joined.handshake()
    for text in (b"first", b"second"):
        joined.theirs.write(text)
    joined.deliver()
    assert [joined.ours.read(100), joined.ours.read(100)] == [b"first", b"second"]


def test_D12_key_updates_under_way(joined: OpenSSL) -> None:
    joined.handshake()
    for number in range(3):
        assert joined.ours.key_update(request_peer=True) == 1
        assert joined.ours.write(b"%d" % number) == 1
        joined.deliver()
        assert joined.theirs.read(10) == b"%d" % number
        joined.theirs.write(b"answer")
        joined.deliver()
        assert joined.ours.read(10) == b"answer"


def test_X4_X5_shutdown_with_openssl(joined: OpenSSL) -> None:
    joined.handshake()
    assert joined.ours.shutdown() == 0
    joined.deliver()
    assert joined.theirs.read(10) == b""
    joined.theirs.unwrap()
    joined.deliver()
    assert joined.ours.shutdown() == 1


def test_X6_shutdown_after_openssl_was_first(joined: OpenSSL) -> None:
    joined.handshake()
    with pytest.raises(stdlib.SSLWantReadError):
        joined.theirs.unwrap()
    joined.deliver()
    assert joined.ours.read(1) == b""
    assert joined.ours.get_error(b"") is ErrorCode.ZERO_RETURN
    assert joined.ours.shutdown() == 1
    joined.deliver()
    joined.theirs.unwrap()


def test_decision_2_openssl_goes_without_a_word(joined: OpenSSL) -> None:
    joined.handshake()
    joined.deliver()
    joined.rbio.write_eof()
    assert joined.ours.read(10) == b""
    assert joined.ours.get_error(b"") is ErrorCode.SSL
    assert "unexpected eof" in str(joined.ours.error)


def test_E20_the_transport_fails(joined: OpenSSL) -> None:
    joined.handshake()
    joined.ours.set_bio(BrokenBIO(ConnectionResetError(104, "reset")), MemoryBIO())
    assert joined.ours.read(10) == b""
    assert joined.ours.get_error(b"") is ErrorCode.SYSCALL


def test_K11_K14_names_and_protocols(
    client_config: ClientConfig, openssl_contexts: tuple[stdlib.SSLContext, stdlib.SSLContext]
) -> None:
    server = openssl_contexts[1]
    server.set_alpn_protocols(["http/1.1", "h2"])
    names: list[str | None] = []
    server.sni_callback = lambda theirs, name, context: names.append(name)
    ours = SSL(attrs.evolve(client_config, alpn=["h2"]))
    ours.set1_host("localhost")
    joined = OpenSSL(ours, openssl_contexts)
    joined.handshake()
    assert (ours.alpn, joined.theirs.selected_alpn_protocol(), names) == ("h2", "h2", ["localhost"])


@pytest.mark.parametrize("side", ["client", "server"])
def test_H4_A3_C3_a_blocking_socket(
    side: str,
    client_config: ClientConfig,
    server_config: ServerConfig,
    openssl_contexts: tuple[stdlib.SSLContext, stdlib.SSLContext],
) -> None:
    """OpenSSL in a thread. Nothing is called twice."""
    ours = SSL(client_config, server_hostname="localhost") if side == "client" else SSL(server_config)
    context = openssl_contexts[side == "client"]
    mine, other = socket.socketpair()

    def openssl() -> bytes:
        name = None if side == "client" else "localhost"
        with context.wrap_socket(other, server_side=side == "client", server_hostname=name) as theirs:
            got = theirs.recv(100)
            theirs.sendall(b"answer")
            assert theirs.recv(100) == b""
            theirs.unwrap()
        return got

    with mine, other, ThreadPoolExecutor(1) as threads:
        other.settimeout(PATIENCE)
        peer = threads.submit(openssl)
        with ours:
            ours.set_bio(bio := SocketBIO(mine), bio)
            assert (ours.connect() if side == "client" else ours.accept()) == 1
            assert ours.write(b"hello") == 5
            assert ours.read(100) == b"answer"
            assert (ours.shutdown(), ours.shutdown()) == (0, 1)
        assert peer.result(PATIENCE) == b"hello"
