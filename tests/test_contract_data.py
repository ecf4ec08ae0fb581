"""The contract of SSL_read(3), SSL_peek(3), SSL_write(3) and SSL_pending(3): lines D.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import pytest
from contract_transports import (
    CLOSE_NOTIFY,
    HANDSHAKE_FAILURE,
    BlockingLink,
    BrokenBIO,
    CountingBIO,
    Link,
    MemoryLink,
    PairLink,
    every_stepwise_transport,
    every_transport,
    make_ssls,
    records,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, Shutdown

Pair = tuple[SSL, SSL]
# Header, content type and tag around what a record carries.
OVERHEAD = 5 + 1 + 16


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


def counting(link: MemoryLink, ssl: SSL) -> CountingBIO:
    """Put a counting BIO on the reading side, with what the memory BIO before it held."""
    link.deliver()
    bio = CountingBIO()
    bio.write(link.incoming(ssl).read(1 << 20))
    ssl.set_bio(bio, ssl.get_wbio())
    return bio


# -- D: reading --------------------------------------------------------------------------------------------------------


@every_transport
def test_D1_read_gives_one_to_num_bytes(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.write(b"0123456789") == 10
        link.deliver()
        buffer = bytearray(4)
        assert link.one(link.server, lambda: link.server.read_into(buffer)) == 4
        assert buffer == b"0123"
        assert link.server.read(100) == b"456789"
        assert link.server.last_return == 6


@every_stepwise_transport
def test_D2_read_ex_and_peek_ex(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        buffer = bytearray(3)
        assert link.server.read_ex(buffer) == link.server.peek_ex(buffer) == (0, 0)
        assert link.server.get_error(0) is ErrorCode.WANT_READ
        link.client.write(b"hello")
        link.deliver()
        assert (link.server.peek_ex(buffer), bytes(buffer)) == ((1, 3), b"hel")
        assert (link.server.read_ex(buffer), bytes(buffer)) == ((1, 3), b"hel")
        assert (link.server.read_ex(buffer), bytes(buffer[:2])) == ((1, 2), b"lo")


@every_transport
def test_D3_peek_leaves_the_bytes(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.write(b"hello")
        link.deliver()
        assert link.one(link.server, lambda: link.server.peek(3)) == b"hel"
        buffer = bytearray(10)
        assert (link.server.peek_into(buffer), bytes(buffer[:5])) == (5, b"hello")
        assert link.server.pending() == 5
        assert (link.server.read(2), link.server.peek(9), link.server.read(9)) == (b"he", b"llo", b"llo")
        assert link.server.pending() == 0


@every_transport
def test_D4_read_and_write_do_the_handshake(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.both(lambda: link.client.write(b"hello"), lambda: link.server.read(10)) == (5, b"hello")


def test_D5_nothing_of_an_incomplete_record_is_returned(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.client.write(bytes(16384))
        record = link.outgoing(link.client).read(1 << 16)
        assert len(record) == 16384 + OVERHEAD
        for piece in (record[:5], record[5:9000], record[9000:-1]):
            link.incoming(link.server).write(piece)
            assert link.server.read(10) == b""
            assert link.server.want_read()
        link.incoming(link.server).write(record[-1:])
        assert link.server.read(20000) == bytes(16384)


@every_transport
def test_D6_the_rest_is_kept(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.write(b"0123456789")
        link.deliver()
        assert [link.one(link.server, lambda: link.server.read(3)) for _ in range(4)] == [b"012", b"345", b"678", b"9"]


@every_transport
@pytest.mark.parametrize("read_ahead", [False, True])
def test_D7_D8_one_call_gives_one_record(transport: type[Link], read_ahead: bool, ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.server.set_read_ahead(read_ahead)
        assert link.server.get_read_ahead() is read_ahead
        for text in (b"first", b"second"):
            link.client.write(text)
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(2)) == b"fi"
        second = link.waiting_for(link.server)
        assert second == (0 if read_ahead else 6 + OVERHEAD)
        assert link.server.read(100) == b"rst"
        assert link.waiting_for(link.server) == second
        assert link.server.read(100) == b"second"


def test_D7_without_read_ahead_no_byte_is_read_too_early(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        bio = counting(link, link.server)
        for text in (b"first", b"second"):
            link.client.write(text)
        link.deliver()
        assert link.server.read(100) == b"first"
        assert bio.asked == [5, 5 + 17]


@every_stepwise_transport
def test_D9_a_record_may_need_several_reads(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.write(b"0123456789")
        outgoing = MemoryBIO()
        link.deliver()
        bio = link.server.get_rbio()
        assert bio is not None
        outgoing.write(bio.read(1000))
        trickle = MemoryBIO()
        link.server.set_bio(trickle, MemoryBIO())
        while outgoing.pending() > 1:
            trickle.write(outgoing.read(1))
            assert link.server.read(100) == b"" and link.server.want_read()
        trickle.write(outgoing.read(1))
        assert link.server.read(100) == b"0123456789"


def test_D10_blocking_read_and_write_return_when_finished(ssls: Pair) -> None:
    with BlockingLink(*ssls) as link:
        link.handshake()
        big = bytes(range(256)) * 4096

        def reading() -> bytes:
            got = b""
            while len(got) < len(big):
                got += (new := link.server.read(1 << 16))
                assert new
            return got

        assert link.both(lambda: link.client.write(big), reading) == (len(big), big)


@every_stepwise_transport
def test_D11_non_blocking_is_minus_one_and_repeated(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        for _ in range(2):
            assert (link.server.read_into(bytearray(5)), link.server.get_error(-1)) == (-1, ErrorCode.WANT_READ)
        link.client.write(b"hello")
        link.deliver()
        assert link.server.read_into(bytearray(5)) == 5


@every_transport
def test_D12_read_may_cause_writes(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.key_update(request_peer=True) == 1
        assert link.client.write(b"data") == 4
        link.deliver()
        assert link.waiting_for(link.client) == 0
        assert link.one(link.server, lambda: link.server.read(10)) == b"data"
        assert link.waiting_for(link.client) > 0, "the answer to the KeyUpdate"
        link.server.write(b"under new keys")
        link.deliver()
        assert link.one(link.client, lambda: link.client.read(100)) == b"under new keys"


def test_D12_an_answer_that_is_stuck_does_not_stop_reading(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        link.client.key_update(request_peer=True)
        link.client.write(b"data")
        link.deliver()
        inner = link.server.get_wbio()
        assert inner is not None
        while inner.write(bytes(1000)) > 0:
            pass
        assert link.server.read(10) == b"data"
        assert (link.server.read(10), link.server.get_error(b"")) == (b"", ErrorCode.WANT_READ)
        assert len(link.server_net.read(1 << 16)) == 17 * 1024
        assert link.server.read(10) == b""
        assert link.server_net.pending() > 0, "it left with the next call"


def test_D13_with_pending_data_the_transport_is_not_touched(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.client.write(b"0123456789")
        link.deliver()
        assert link.server.read(1) == b"0"
        trouble = BrokenBIO(ConnectionResetError(104, "touched"))
        link.server.set_bio(trouble, trouble)
        assert link.server.pending() == 9
        assert (link.server.peek(2), link.server.read(9)) == (b"12", b"123456789")
        assert link.server.pending() == 0
        assert link.server.read(1) == b""
        assert link.server.get_error(b"") is ErrorCode.SYSCALL


@every_transport
def test_D14_zero_is_a_clean_close(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.write(b"bye")
        assert link.client.shutdown() == 0
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(10)) == b"bye"
        assert link.server.get_shutdown() == Shutdown.NONE
        assert link.one(link.server, lambda: link.server.read_into(bytearray(10))) == 0
        assert link.server.get_error(0) is ErrorCode.ZERO_RETURN
        assert link.server.get_shutdown() == Shutdown.RECEIVED


# -- D: writing --------------------------------------------------------------------------------------------------------


@every_stepwise_transport
def test_D15_write_returns_when_all_is_written(transport: type[Link], ssls: Pair) -> None:
    big = bytes(3 << 20)
    with transport(*ssls) as link:
        link.handshake()
        received = 0
        ret = link.client.write(big)
        while received < len(big):
            if ret != len(big):
                assert (ret, link.client.get_error(ret)) == (-1, ErrorCode.WANT_WRITE)
                ret = link.client.write(big)
            link.deliver()
            while data := link.server.read(1 << 16):
                received += len(data)
                link.deliver()
        assert ret == len(big)
        assert received == len(big)


@pytest.mark.parametrize("other", [b"x" * 40000, bytes(39999), bytes(40001), b""])
def test_D16_another_write_is_a_bad_write_retry(other: bytes, ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        data = bytes(40000)
        assert link.client.write(data) == -1
        assert link.client.want_write()
        assert (link.client.write(other), link.client.get_error(-1)) == (-1, ErrorCode.SSL)
        assert "bad write retry" in str(link.client.error)
        assert link.client.write(data) == -1
        assert link.client.want_write(), "the suspended write is still there"


@every_transport
def test_D17_nothing_to_write(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert (link.client.write(b""), link.client.write_ex(b""), link.client.error) == (0, (1, 0), None)
        assert link.waiting_for(link.server) == 0


@every_stepwise_transport
def test_D18_write_may_cause_reads(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.client.write(b"x") == -1
        link.deliver()
        before = link.waiting_for(link.server)
        assert before and link.server.write(b"x") == -1
        assert link.waiting_for(link.server) == 0


@every_transport
def test_D19_write_returns_the_count_zero_or_minus_one(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.inject(link.server, CLOSE_NOTIFY)
        assert link.one(link.server, lambda: link.server.write(b"data")) == 0
        assert link.server.get_error(0) is ErrorCode.ZERO_RETURN
        assert link.server.write_ex(b"data") == (0, 0)
        link.client.set_shutdown(Shutdown.SENT)
        assert (link.client.write(b"data"), link.client.get_error(-1)) == (-1, ErrorCode.SSL)


@every_transport
def test_D19_write_returns_the_count(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.write(b"data") == link.client.write(memoryview(b"data")) == 4
        assert link.client.write_ex(bytearray(b"more")) == (1, 4)
        link.deliver()
        assert [link.one(link.server, lambda: link.server.read(9)) for _ in range(3)] == [b"data", b"data", b"more"]


def test_D20_pending_and_has_pending(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        server = link.server
        link.client.write(b"first")
        link.client.write(b"second")
        link.deliver()
        assert (server.pending(), server.has_pending()) == (0, False)
        assert server.read(1) == b"f"
        assert (server.pending(), server.has_pending()) == (4, True)
        assert server.read(9) == b"irst"
        assert (server.pending(), server.has_pending()) == (0, False)
        rest = link.incoming(server).read(100)
        link.incoming(server).write(rest[:9])
        assert server.read(9) == b""
        assert (server.pending(), server.has_pending()) == (0, True), "a part of a record"
        link.incoming(server).write(rest[9:])
        assert server.read(9) == b"second"
        assert not server.has_pending()
        server.set_read_ahead(1)
        link.client.write(b"first")
        link.client.key_update()
        link.deliver()
        assert server.read(9) == b"first"
        assert (server.pending(), server.has_pending()) == (0, True), "a KeyUpdate that nobody has looked at"


@every_transport
def test_D21_after_a_fatal_alert_nothing_more(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.inject(link.server, HANDSHAKE_FAILURE)
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(10)) == b""
        link.deliver()
        assert link.one(link.client, lambda: link.client.read(10)) == b""
        for ssl in ssls:
            assert ssl.get_error(b"") is ErrorCode.SSL
            assert (ssl.write(b"x"), ssl.get_error(-1)) == (-1, ErrorCode.SSL)
            assert (ssl.read(1), ssl.get_error(b"")) == (b"", ErrorCode.SSL)


def test_D15_records_are_full(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        assert link.client.write(bytes(40000)) == 40000
        sizes = [len(record) - OVERHEAD for record in records(link.outgoing(link.client).read(1 << 16))]
        assert sizes == [16384, 16384, 40000 - 32768]


def test_D1_reading_wants_a_count(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        with pytest.raises(TypeError, match="read_into"):
            link.client.read(bytearray(5))  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            link.client.read(-1)
        assert (link.client.read(0), link.client.last_return, link.client.error) == (b"", 0, None)
