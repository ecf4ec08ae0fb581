"""The contract of SSL_do_handshake(3): lines H.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import itertools
import select
from collections.abc import Callable

import attrs
import pytest
from contract_transports import (
    CLOSE_NOTIFY,
    NOT_TLS,
    SUSPENDED,
    BlockingLink,
    Link,
    MemoryLink,
    NonBlockingLink,
    PairLink,
    every_stepwise_transport,
    every_transport,
    is_suspended,
    make_ssls,
    records,
    reset,
    tcp_pair,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.identity import Identity
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, bio_pair
from tlsprovider.ssl.bio_socket import BufferBIO

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


@pytest.fixture
def roleless(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return SSL(client_config, server_hostname="localhost"), SSL(server_config)


def counting_entropy(start: int) -> Callable[[int], bytes]:
    counter = itertools.count(start)
    return lambda count: bytes(next(counter) % 251 for _ in range(count))


# -- H: SSL_do_handshake(3) --------------------------------------------------------------------------------------------


@every_stepwise_transport
def test_H1_server_waits_and_sends_nothing(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        ret = link.server.do_handshake()
        assert (ret, link.server.get_error(ret)) == (-1, ErrorCode.WANT_READ)
        assert link.waiting_for(link.client) == 0


@every_stepwise_transport
def test_H2_client_begins_with_the_first_call(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        ret = link.client.do_handshake()
        assert (ret, link.client.get_error(ret)) == (-1, ErrorCode.WANT_READ)
        assert link.waiting_for(link.server) > 100


@every_transport
def test_H3_without_a_role_it_fails_and_does_not_hang(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        for ssl in roleless:
            assert ssl.do_handshake() == -1
            assert ssl.get_error(-1) is ErrorCode.SSL
            assert "connection type not set" in str(ssl.error)
            assert link.waiting_for(link.peer(ssl)) == 0


def test_H4_blocking_returns_only_when_finished(ssls: Pair) -> None:
    with BlockingLink(*ssls) as link:
        returned = link.both(link.client.do_handshake, link.server.do_handshake)
        assert returned == (1, 1)
        assert [ssl.get_error(1) for ssl in ssls] == [ErrorCode.NONE] * 2


@every_stepwise_transport
def test_H5_non_blocking_returns_when_the_transport_is_empty(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.client.do_handshake() == -1
        assert is_suspended(link.client, -1)
        assert link.handshake().client.is_init_finished()


@every_stepwise_transport
def test_H6_every_step_wants_read_or_write(transport: type[Link], ssls: Pair) -> None:
    codes = set()

    def noting(ssl: SSL) -> Callable[[], int]:
        def call() -> int:
            ret = ssl.do_handshake()
            codes.add(ssl.get_error(ret))
            return ret

        return call

    with transport(*ssls) as link:
        assert link.both(noting(link.client), noting(link.server)) == (1, 1)
    assert codes - {ErrorCode.NONE} and codes - {ErrorCode.NONE} <= set(SUSPENDED)


class Recorder(MemoryLink):
    """Notes what each end sent; ``piece``: how many bytes at most are delivered between two calls."""

    piece = 1 << 20

    def _join(self) -> None:
        super()._join()
        self.sent = {self.client: b"", self.server: b""}

    def deliver(self) -> None:
        for source in (self.client, self.server):
            data = self.outgoing(source).read(self.piece)
            self.sent[source] += data
            self.incoming(self.peer(source)).write(data)


class OneByteAtATime(Recorder):
    piece = 1


def test_H7_repeating_goes_on_where_it_was(authority: Authority, client_config: ClientConfig) -> None:
    issued = authority.issue("localhost", key_type="ed25519")
    server = ServerConfig(identities=[Identity.from_crypto(issued.certificates, issued.private_key)], groups="x25519")
    sent = []
    for recorder in (Recorder, OneByteAtATime):
        # With the same randomness and signatures that need none, both runs send the same bytes or one of them is wrong.
        fields = {"groups": "x25519", "key_shares": "x25519", "entropy": counting_entropy(1), "sessions": None}
        client_side = attrs.evolve(client_config, **fields)
        server_side = attrs.evolve(server, entropy=counting_entropy(99))
        with recorder(*make_ssls(client_side, server_side)) as link:
            link.handshake()
            sent.append((link.sent[link.client], link.sent[link.server]))
    assert sent[0] == sent[1]
    assert [len(list(records(data))) > 1 for data in sent[0]] == [True, True]


def test_H8_non_blocking_socket_needs_only_select(ssls: Pair) -> None:
    with NonBlockingLink(*ssls) as link:
        waiting = {link.socket_of(ssl): ssl for ssl in ssls}
        for _ in range(50):
            for sock, ssl in list(waiting.items()):
                ret = ssl.do_handshake()
                if ret == 1:
                    del waiting[sock]
                else:
                    assert ssl.get_error(ret) is ErrorCode.WANT_READ
            if not waiting:
                break
            assert select.select(list(waiting), [], [], 10)[0]
        assert all(ssl.is_init_finished() for ssl in ssls)


def test_H9_a_pair_has_to_be_pumped_by_the_caller(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.client.do_handshake()
        sent = link.client_net.pending()
        for _ in range(3):
            assert link.client.do_handshake() == -1
            assert link.client.get_error(-1) is ErrorCode.WANT_READ
            assert link.server.do_handshake() == -1
        assert link.client_net.pending() == sent
        link.handshake()


@every_transport
def test_H10_one_means_complete(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.both(link.client.do_handshake, link.server.do_handshake) == (1, 1)
        assert link.client.version == link.server.version == "TLSv1.3"


@every_transport
def test_H11_zero_means_closed_in_a_controlled_way(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        for ssl in ssls:
            link.inject(ssl, CLOSE_NOTIFY)
            ret = link.one(ssl, ssl.do_handshake)
            assert (ret, ssl.get_error(0)) == (0, ErrorCode.ZERO_RETURN)
            assert not ssl.is_init_finished()


@every_stepwise_transport
def test_H11_a_client_that_gives_up(transport: type[Link], ssls: Pair) -> None:
    """RFC 9846 section 6.1: user_canceled, then close_notify."""
    with transport(*ssls) as link:
        assert link.client.do_handshake() == -1
        assert link.client.shutdown() == 0
        link.deliver()
        assert link.one(link.server, link.server.do_handshake) == 0
        assert link.server.get_error(0) is ErrorCode.ZERO_RETURN


@every_transport
def test_H12_negative_for_a_protocol_error(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.inject(link.server, NOT_TLS)
        assert link.one(link.server, link.server.do_handshake) == -1
        assert link.server.get_error(-1) is ErrorCode.SSL
        assert "does not speak TLS" in str(link.server.error)


def test_H12_negative_for_a_reset_connection(ssls: Pair) -> None:
    one, other = tcp_pair()
    with one:
        server = ssls[1]
        assert server.set_fd(one) == 1
        reset(other)
        assert server.do_handshake() == -1
        assert server.get_error(-1) is ErrorCode.SYSCALL
        assert isinstance(server.error, ConnectionResetError)


@every_stepwise_transport
def test_H12_negative_for_a_needed_action(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.server.do_handshake() == -1
        assert link.server.get_error(-1) is ErrorCode.WANT_READ
        assert link.server.error is None


@every_transport
def test_H13_after_completion_it_returns_one_and_sends_nothing(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        for ssl in ssls * 3:
            assert ssl.do_handshake() == 1
        assert [link.waiting_for(ssl) for ssl in ssls] == [0, 0]


@every_transport
def test_H14_a_fatal_error_stays(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.inject(link.server, NOT_TLS)
        assert link.one(link.server, link.server.do_handshake) == -1
        alert, unread = link.waiting_for(link.client), link.waiting_for(link.server)
        assert alert == 7
        message = str(link.server.error)
        for call in (link.server.do_handshake, link.server.accept, lambda: link.server.write(b"data")):
            assert call() == -1
            assert link.server.get_error(-1) is ErrorCode.SSL
            assert str(link.server.error) == message
        assert link.server.read(10) == b""
        assert (link.waiting_for(link.client), link.waiting_for(link.server)) == (alert, unread)


@every_transport
def test_H15_after_one_everything_is_known(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        for ssl in ssls:
            assert (ssl.is_init_finished(), ssl.in_init(), ssl.in_before()) == (False, True, True)
            assert (ssl.version, ssl.cipher, ssl.group, ssl.peer_certificates) == (None, None, None, ())
        link.handshake()
        for ssl in ssls:
            assert (ssl.is_init_finished(), ssl.in_init(), ssl.in_before()) == (True, False, False)
            assert (ssl.version, ssl.cipher) == ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
            assert ssl.server_name == "localhost"
            assert not ssl.session_reused
        assert link.client.group == link.server.group == "X25519MLKEM768"
        assert len(link.client.peer_certificates) == 1
        assert len(link.client.verified_chain) == 2
        assert link.client.signature_scheme == "ecdsa_secp256r1_sha256"
        assert link.server.peer_certificates == ()
        binding = link.client.channel_binding()
        assert len(binding) == 32 and binding == link.server.channel_binding()
        keys = [ssl.export_keying_material("label", b"context", 9) for ssl in ssls]
        assert len(keys[0]) == 9 and keys[0] == keys[1]


@every_stepwise_transport
def test_H16_a_server_is_done_after_the_client_finished(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        while link.client.do_handshake() != 1:
            link.deliver()
            ret = link.server.do_handshake()
            assert ret == -1, "the server can't be done before the client"
            link.deliver()
        assert not link.server.is_init_finished()
        link.deliver()
        assert link.server.do_handshake() == 1


def test_H17_the_final_flight_has_to_leave(ssls: Pair) -> None:
    client, server = ssls
    inner, net = bio_pair(1024)
    client.set_bio(inner, inner)
    server.set_bio(MemoryBIO(), MemoryBIO())
    incoming, outgoing = server.get_rbio(), server.get_wbio()
    assert incoming is not None and outgoing is not None

    def carry() -> None:
        incoming.write(net.read(1 << 16))

    while client.do_handshake() == -1 and client.want_write():
        carry()
    carry()
    assert server.do_handshake() == -1
    # No room at all for what the client sends in the end.
    room = inner.get_write_guarantee()
    assert inner.write(bytes(room)) == room
    while outgoing.pending():
        net.write(outgoing.read(net.get_write_guarantee()))
        ret = client.do_handshake()
    for _ in range(3):
        assert (ret, client.get_error(ret)) == (-1, ErrorCode.WANT_WRITE)
        assert not client.is_init_finished()
        ret = client.do_handshake()
    assert net.read(room) == bytes(room)
    assert client.do_handshake() == 1
    carry()
    assert server.do_handshake() == 1


def test_H17_through_a_buffering_bio_it_has_to_be_flushed(ssls: Pair) -> None:
    client = ssls[0]
    inner, net = bio_pair(100)
    client.set_bio(inner, BufferBIO(inner))
    assert client.do_handshake() == -1
    assert client.get_error(-1) is ErrorCode.WANT_WRITE
    hello = b""
    while client.want_write():
        hello += net.read(1000)
        client.do_handshake()
    assert client.want_read()
    hello += net.read(1000)
    assert [int.from_bytes(record[3:5], "big") + 5 for record in records(hello)] == [len(hello)]
