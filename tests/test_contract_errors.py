"""The contract of SSL_get_error(3) and SSL_want(3): lines E.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import select
from collections.abc import Callable

import attrs
import pytest
from contract_transports import (
    FORGED_RECORD,
    NOT_TLS,
    BrokenBIO,
    CountingBIO,
    Link,
    MemoryLink,
    NonBlockingLink,
    PairLink,
    TricklingBIO,
    every_stepwise_transport,
    every_transport,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.questions import LATER
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, Mode, RetryReason, Wanted, bio_pair
from tlsprovider.ssl.codes import WANTED

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


# -- E: SSL_get_error(3) -----------------------------------------------------------------------------------------------


@every_stepwise_transport
def test_E1_every_operation_can_be_asked_about(transport: type[Link], ssls: Pair) -> None:
    operations: list[Callable[[SSL], int | bytes]] = [
        SSL.connect,
        SSL.do_handshake,
        lambda ssl: ssl.read(1),
        lambda ssl: ssl.peek(1),
        lambda ssl: ssl.read_into(bytearray(1)),
        lambda ssl: ssl.peek_into(bytearray(1)),
        lambda ssl: ssl.read_ex(bytearray(1))[0],
        lambda ssl: ssl.peek_ex(bytearray(1))[0],
        lambda ssl: ssl.write(b"x"),
        lambda ssl: ssl.write_ex(b"x")[0],
    ]
    with transport(*ssls) as link:
        for operation in operations:
            assert link.client.get_error(operation(link.client)) is ErrorCode.WANT_READ
            assert link.client.last_return == -1
        link.handshake()
        assert link.client.shutdown() == 0
        assert link.client.get_error(link.client.shutdown()) is ErrorCode.WANT_READ


@every_stepwise_transport
def test_E2_E3_other_objects_may_be_used_in_between(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.inject(link.server, NOT_TLS)
        # An error of before has no influence on what is asked about a later call.
        assert link.client.key_update() == -1
        assert link.client.get_error(-1) is ErrorCode.SSL
        ret = link.client.do_handshake()
        assert link.server.do_handshake() == -1
        assert (link.client.get_error(ret), link.client.error) == (ErrorCode.WANT_READ, None)
        assert link.server.get_error(-1) is ErrorCode.SSL


@every_transport
def test_E4_none_if_and_only_if_positive(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        for ssl in ssls:
            assert [ssl.get_error(ret) for ret in (1, 2, 16384, b"x")] == [ErrorCode.NONE] * 4
            assert ErrorCode.NONE not in [ssl.get_error(ret) for ret in (0, -1, -2, b"")]
        assert link.client.write(b"data") == 4
        link.deliver()
        data = link.one(link.server, lambda: link.server.read(10))
        assert (data, link.server.get_error(data)) == (b"data", ErrorCode.NONE)


@every_transport
def test_E5_zero_return_leaves_the_transport_open(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        link.deliver()
        for _ in range(2):
            assert link.one(link.server, lambda: link.server.read(10)) == b""
            assert link.server.get_error(b"") is ErrorCode.ZERO_RETURN
        assert link.server.write(b"still open this way") == 19
        link.deliver()
        assert link.one(link.client, lambda: link.client.read(100)) == b"still open this way"


def test_E6_E7_E8_each_retry_makes_progress_and_may_want_again(ssls: Pair) -> None:
    client, server = ssls
    with MemoryLink(*ssls) as link:
        assert client.do_handshake() == -1
        trickle = TricklingBIO()
        server.set_bio(trickle, MemoryBIO())
        trickle.write(MemoryLink.outgoing(client).read(1 << 16))
        rounds, left = 0, trickle.pending()
        while link.waiting_for(client) == 0:
            assert server.do_handshake() == -1
            assert server.get_error(-1) is ErrorCode.WANT_READ
            assert trickle.pending() == left - 1 or trickle.pending() == 0, "every retry takes a byte"
            rounds, left = rounds + 1, trickle.pending()
        assert rounds > 1000


def test_E9_select_tells_when_to_retry(ssls: Pair) -> None:
    with NonBlockingLink(*ssls) as link:
        assert (link.client.do_handshake(), link.server.do_handshake()) == (-1, -1)
        client = link.socket_of(link.client)
        assert link.client.want_read()
        assert select.select([client], [], [], 10)[0] == [client]
        assert link.client.do_handshake() == 1


def test_E10_read_may_want_to_write(ssls: Pair) -> None:
    client = ssls[0]
    inner, net = bio_pair(20)
    client.set_bio(inner, inner)
    for _ in range(2):
        assert client.read(10) == b""
        assert client.get_error(b"") is ErrorCode.WANT_WRITE
    while client.want_write():
        net.read(20)
        client.peek(10)
    assert client.get_error(b"") is ErrorCode.WANT_READ


@every_stepwise_transport
def test_E10_write_may_want_to_read(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls):
        for ssl in ssls:
            ret = ssl.write(b"data")
            assert (ret, ssl.get_error(ret)) == (-1, ErrorCode.WANT_READ)


@every_transport
def test_E11_read_peek_and_write_take_care_of_the_handshake(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.both(lambda: link.client.write(b"hello"), lambda: link.server.peek(10)) == (5, b"hello")
        assert link.server.is_init_finished() and link.client.is_init_finished()
        assert link.server.read(10) == b"hello"


def test_E12_reading_while_a_write_wants_something(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        big = bytes(40000)
        assert link.client.write(big) == -1
        assert link.client.want_write()
        assert link.server.write(b"meanwhile") == 9
        link.client_net.write(link.server_net.read(1000))
        assert link.client.read(100) == b"meanwhile"
        assert link.client.read(100) == b""
        assert link.client.get_error(b"") is ErrorCode.WANT_READ, "a read doesn't wait for the write's bytes to leave"
        sent, got = link.both(lambda: link.client.write(big), lambda: link.server.read(100))
        assert (sent, got) == (len(big), bytes(100))


@every_transport
def test_E13_without_auto_retry_a_record_without_data_ends_the_call(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.server.clear_mode(Mode.AUTO_RETRY) & Mode.AUTO_RETRY == 0
        assert link.client.key_update() == 1
        assert link.client.write(b"data") == 4
        link.deliver()
        assert link.server.read(10) == b""
        assert link.server.get_error(b"") is ErrorCode.WANT_READ
        assert link.waiting_for(link.server) > 0
        assert link.server.read(10) == b"data"


class ConnectingBIO(MemoryBIO):
    """Not there yet, in the way of a BIO that connects or accepts by itself."""

    def __init__(self, reason: RetryReason) -> None:
        super().__init__()
        self.reason = reason
        self.connected = False

    def _take(self, limit: int) -> bytes:
        return super()._take(limit) if self._is_connected() else b""

    def _put(self, data: memoryview) -> int:
        return super()._put(data) if self._is_connected() else 0

    def _is_connected(self) -> bool:
        if not self.connected:
            self.set_retry_special(self.reason)
        return self.connected

    def _nothing(self) -> int:
        return -1


@pytest.mark.parametrize(
    "reason, code", [(RetryReason.CONNECT, ErrorCode.WANT_CONNECT), (RetryReason.ACCEPT, ErrorCode.WANT_ACCEPT)]
)
def test_E14_a_bio_that_connects_or_accepts_by_itself(reason: RetryReason, code: ErrorCode, ssls: Pair) -> None:
    client = ssls[0]
    bio = ConnectingBIO(reason)
    client.set_bio(bio, bio)
    assert client.do_handshake() == -1
    assert client.get_error(-1) is code
    assert bio.get_retry_reason() is reason and bio.should_io_special()
    bio.connected = True
    while bio.pending() == 0:
        client.do_handshake()
    assert not bio.should_io_special()


@every_stepwise_transport
@pytest.mark.parametrize(
    "side, setter, code",
    [
        (1, SSL.set_cert_cb, ErrorCode.WANT_X509_LOOKUP),
        (1, SSL.set_client_hello_cb, ErrorCode.WANT_CLIENT_HELLO_CB),
        (0, SSL.set_verify_callback, ErrorCode.WANT_RETRY_VERIFY),
    ],
    ids=["E15", "E18", "E19"],
)
def test_E15_E18_E19_a_callback_that_asks_to_be_called_again(
    transport: type[Link],
    side: int,
    setter: Callable[[SSL, Callable[[SSL, object], int]], None],
    code: ErrorCode,
    ssls: Pair,
) -> None:
    verdicts = [-1, -1, -1, 1]
    calls: list[SSL] = []

    def callback(ssl: SSL, question: object) -> int:
        calls.append(ssl)
        return verdicts[len(calls) - 1]

    ssl = ssls[side]
    setter(ssl, callback)
    with transport(*ssls) as link:
        for expected in (1, 2, 3):
            while len(calls) < expected:
                ssl.do_handshake()
                link.deliver()
                if len(calls) < expected:
                    link.peer(ssl).do_handshake()
                    link.deliver()
            assert ssl.get_error(-1) is code
            assert ssl.question is not None
        link.handshake()
    assert calls == [ssl] * 4


@every_stepwise_transport
def test_E15_a_question_is_answered_instead(transport: type[Link], ssls: Pair, server_config: ServerConfig) -> None:
    server = SSL(attrs.evolve(server_config, choose_identity=lambda question: LATER))
    server.set_accept_state()
    with transport(ssls[0], server) as link:
        while server.question is None:
            for ssl in (link.client, server):
                assert ssl.do_handshake() == -1
                link.deliver()
        for _ in range(3):
            assert server.do_handshake() == -1
            assert server.get_error(-1) is ErrorCode.WANT_X509_LOOKUP
            assert server.want_x509_lookup()
        server.question.answer(server_config.identities[0])
        link.handshake()
        assert server.question is None


def test_E20_syscall_is_an_io_error(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.client.set_bio(BrokenBIO(ConnectionResetError(104, "reset")), MemoryBIO())
        assert link.client.read(10) == b""
        assert link.client.last_return == -1
        assert link.client.get_error(b"") is ErrorCode.SYSCALL
        assert isinstance(link.client.error, ConnectionResetError)


def test_E20_what_can_not_be_written_can_still_be_read(ssls: Pair) -> None:
    """The peer's last words are often here already when the transport says that it doesn't listen any more."""
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.server.write(b"last words")
        link.deliver()
        memory = link.incoming(link.client)
        memory.up_ref()
        link.client.set_bio(memory, BrokenBIO(BrokenPipeError(32, "gone")))
        for _ in range(2):
            assert (link.client.write(b"x"), link.client.get_error(-1)) == (-1, ErrorCode.SYSCALL)
            assert isinstance(link.client.error, BrokenPipeError)
        assert link.client.read(100) == b"last words"


@every_transport
def test_E21_ssl_is_a_protocol_error_or_an_unexpected_end(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.inject(link.client, FORGED_RECORD)
        assert link.one(link.client, lambda: link.client.read(10)) == b""
        assert link.client.get_error(b"") is ErrorCode.SSL
        assert "bad_record_mac" in str(link.client.error)
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(10)) == b""
        assert "bad_record_mac" in str(link.server.error)


@every_transport
def test_E21_an_end_without_close_notify(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.inject_eof(link.client)
        assert link.one(link.client, lambda: link.client.read(10)) == b""
        assert link.client.get_error(b"") is ErrorCode.SSL
        assert "unexpected eof while reading" in str(link.client.error)


@pytest.mark.parametrize("broken", [True, False], ids=["SYSCALL", "SSL"])
def test_E22_after_an_error_there_is_no_more_io(broken: bool, ssls: Pair) -> None:
    client = ssls[0]
    rbio = BrokenBIO(ConnectionResetError(104, "reset")) if broken else CountingBIO()
    if isinstance(rbio, CountingBIO):
        rbio.write(NOT_TLS)
    wbio = CountingBIO()
    client.set_bio(rbio, wbio)
    code = ErrorCode.SYSCALL if broken else ErrorCode.SSL
    assert client.do_handshake() == -1
    assert client.get_error(-1) is code
    later = CountingBIO()
    client.set_bio(later, later)
    assert (client.do_handshake(), client.write(b"x"), client.shutdown(), client.read(9)) == (-1, -1, -1, b"")
    assert client.get_error(-1) is code
    assert later.asked == later.brought == []


def test_E23_want(ssls: Pair) -> None:
    assert {code: WANTED[code] for code in list(ErrorCode)[2:5]} == {
        ErrorCode.WANT_READ: Wanted.READING,
        ErrorCode.WANT_WRITE: Wanted.WRITING,
        ErrorCode.WANT_X509_LOOKUP: Wanted.X509_LOOKUP,
    }
    assert [int(wanted) for wanted in Wanted] == [1, 2, 3, 4, 5, 6, 7, 8, 64, 65, 66]
    client, server = ssls
    assert client.want() is Wanted.NOTHING
    small, net = bio_pair(20)
    client.set_bio(small, small)
    client.do_handshake()
    assert client.want() is Wanted.WRITING
    while client.want_write():
        net.read(20)
        client.do_handshake()
    assert client.want() is Wanted.READING
    server.set_bio(MemoryBIO(NOT_TLS), MemoryBIO())
    assert server.do_handshake() == -1
    assert server.want() is Wanted.NOTHING


def test_E24_want_is_a_flag_and_asking_changes_nothing(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.client.do_handshake()
        for _ in range(2):
            assert link.client.get_error(1) is ErrorCode.NONE
            assert link.client.want() is Wanted.READING
        link.handshake()
        assert link.client.want() is Wanted.NOTHING


@every_stepwise_transport
def test_E25_want_agrees_with_get_error(transport: type[Link], ssls: Pair) -> None:
    def checked(ssl: SSL) -> Callable[[], int]:
        def call() -> int:
            ret = ssl.do_handshake()
            assert ssl.want() is Wanted.by(ssl.get_error(ret))
            return ret

        return call

    with transport(*ssls) as link:
        assert link.both(checked(link.client), checked(link.server)) == (1, 1)


@every_stepwise_transport
def test_E26_the_want_questions(transport: type[Link], ssls: Pair) -> None:
    def wants(ssl: SSL) -> tuple[int, int, int, int]:
        return ssl.want_nothing(), ssl.want_read(), ssl.want_write(), ssl.want_x509_lookup()

    ssls[1].set_cert_cb(lambda ssl, question: -1)
    with transport(*ssls) as link:
        assert wants(link.client) == (1, 0, 0, 0)
        link.client.do_handshake()
        assert wants(link.client) == (0, 1, 0, 0)
        link.deliver()
        link.server.do_handshake()
        assert wants(link.server) == (0, 0, 0, 1)
    client = ssls[0]
    client.clear()
    small, _ = bio_pair(5)
    client.set_bio(small, small)
    client.do_handshake()
    assert wants(client) == (0, 0, 1, 0)
