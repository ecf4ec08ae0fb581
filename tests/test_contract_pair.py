"""The contract of BIO_s_bio(3), the BIO pair: lines P.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import pytest
from contract_transports import PairLink, make_ssls

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import MisuseError
from tlsprovider.ssl import BIO, SSL, PairBIO, bio_pair

RECORD = 16 * 1024 + 256 + 5


def retry_of(bio: BIO) -> tuple[bool, bool, bool, bool]:
    return bio.should_retry(), bio.should_read(), bio.should_write(), bio.should_io_special()


NO_RETRY = (False, False, False, False)
RETRY_READ = (True, True, False, False)
RETRY_WRITE = (True, False, True, False)


def test_P1_both_directions_are_independent() -> None:
    one, other = bio_pair()
    assert (one.write(b"to the other"), other.write(b"to one")) == (12, 6)
    assert (one.read(100), other.read(100)) == (b"to one", b"to the other")


def test_P3_reading_from_an_empty_half_asks_for_a_retry() -> None:
    one, _ = bio_pair()
    assert (one.read(1), one.last_return) == (b"", -1)
    assert retry_of(one) == RETRY_READ
    assert one.read_into(bytearray(4)) == -1


def test_P4_writing_to_a_full_half_asks_for_a_retry() -> None:
    one, other = bio_pair(3)
    assert one.write(b"abc") == 3
    assert retry_of(one) == NO_RETRY
    assert one.write(b"d") == -1
    assert retry_of(one) == RETRY_WRITE
    assert other.read(1) == b"a"
    assert one.write(b"d") == 1
    assert retry_of(one) == NO_RETRY


def test_P5_pending_and_wpending() -> None:
    one, other = bio_pair()
    one.write(b"abc")
    assert (one.pending(), one.wpending(), other.pending(), other.wpending()) == (0, 3, 3, 0)
    other.read(2)
    assert (one.wpending(), other.pending()) == (1, 1)


def test_P6_reset_clears_what_was_written_here() -> None:
    one, other = bio_pair()
    one.write(b"abc")
    other.write(b"defg")
    assert one.reset() == 1
    assert (one.wpending(), other.pending(), one.pending()) == (0, 0, 4)


def test_P7_make_pair_joins_two_bios_once() -> None:
    one, other, third = PairBIO(), PairBIO(), PairBIO()
    assert one.make_pair(other) == 1
    one.write(b"x")
    assert other.read(1) == b"x"
    for mistake in (lambda: one.make_pair(third), lambda: third.make_pair(other), lambda: third.make_pair(third)):
        with pytest.raises(MisuseError, match="in use"):
            mistake()


@pytest.mark.parametrize("end", [PairBIO.destroy_pair, PairBIO.close])
def test_P8_the_association_can_be_ended_from_either_half(end: object) -> None:
    for chosen in (0, 1):
        halves = bio_pair()
        halves[chosen].write(b"x")
        assert callable(end)
        end(halves[chosen])
        other = halves[not chosen]
        assert other.peer is None
        assert (other.read(1), other.last_return, other.eof()) == (b"", 0, True)
        assert other.write(b"x") == -1
        assert isinstance(other.error, BrokenPipeError)
        assert retry_of(other) == NO_RETRY
        assert other.make_pair(PairBIO()) == 1


def test_P9_shutdown_wr() -> None:
    one, other = bio_pair()
    one.write(b"abc")
    assert one.shutdown_wr() == 1
    assert one.write(b"d") == -1
    assert isinstance(one.error, BrokenPipeError)
    assert retry_of(one) == NO_RETRY
    assert other.read(2) == b"ab"
    assert other.read(2) == b"c"
    assert (other.read(2), other.last_return) == (b"", 0)
    assert retry_of(other) == NO_RETRY
    assert other.write(b"this way is open") == 16


def test_P10_P11_the_size_of_the_write_buffer() -> None:
    assert [half.get_write_buf_size() for half in bio_pair()] == [17 * 1024, 17 * 1024]
    assert 17 * 1024 >= RECORD
    lone = PairBIO()
    assert lone.set_write_buf_size(100) == 1
    assert lone.get_write_buf_size() == 100
    lone.make_pair(PairBIO())
    with pytest.raises(MisuseError, match="in use"):
        lone.set_write_buf_size(200)
    assert lone.get_write_buf_size() == 100
    with pytest.raises(ValueError):
        PairBIO().set_write_buf_size(0)


def test_P12_bio_pair_gives_both_halves() -> None:
    assert [half.get_write_buf_size() for half in bio_pair(10, 20)] == [10, 20]
    assert [half.get_write_buf_size() for half in bio_pair(0, 20)] == [17 * 1024, 20]
    one, other = bio_pair()
    assert one.peer is other and other.peer is one


def test_P13_a_write_above_the_guarantee_is_short() -> None:
    one, _ = bio_pair(5)
    assert one.get_write_guarantee() == 5
    assert one.write(b"abcdefgh") == 5
    assert one.get_write_guarantee() == 0
    assert one.write(b"fgh") == -1
    assert PairBIO().get_write_guarantee() == 0


def test_P14_read_request_is_what_the_other_half_did_not_get() -> None:
    one, other = bio_pair(10)
    assert one.get_read_request() == 0
    other.read(7)
    assert (one.get_read_request(), other.get_read_request()) == (7, 0)
    other.read(100)
    assert one.get_read_request() == 10, "at most the size of the buffer"


def test_P15_a_successful_read_clears_the_request() -> None:
    one, other = bio_pair()
    one.write(b"abc")
    other.read(2)
    assert one.get_read_request() == 0
    other.read(100)
    assert one.get_read_request() == 0


@pytest.mark.parametrize("written", [b"ab", b"abcdefg"])
def test_P16_new_data_clears_the_request(written: bytes) -> None:
    one, other = bio_pair()
    other.read(7)
    one.write(written)
    assert one.get_read_request() == 0


def test_P17_the_request_is_never_above_the_guarantee() -> None:
    one, other = bio_pair(10)
    for size in (3, 10, 50):
        other.read(size)
        assert one.get_read_request() <= one.get_write_guarantee()
    one.shutdown_wr()
    assert (one.get_read_request(), one.get_write_guarantee()) == (0, 0)


def test_P18_the_request_can_be_reset() -> None:
    one, other = bio_pair()
    other.read(7)
    one.reset_read_request()
    assert one.get_read_request() == 0


@pytest.mark.parametrize("first", [0, 1])
def test_P19_either_half_may_be_closed_first(first: int, client_config: ClientConfig) -> None:
    halves = bio_pair()
    halves[first].close()
    assert not halves[not first].closed
    halves[not first].close()
    halves[first].close()
    inner, net = bio_pair()
    ssl = SSL(client_config, server_hostname="localhost")
    ssl.set_bio(inner, inner)
    for _ in range(2):
        ssl.close()
        assert inner.closed and not net.closed


def test_P20_send_what_is_pending_before_waiting(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with PairLink(*make_ssls(client_config, server_config)) as link:
        for _ in range(10):
            # A driver that waits for input first: the ClientHello lies there, and WANT_READ doesn't say so.
            assert link.client.do_handshake() == -1
            assert link.client.want_read()
            assert link.client_net.pending() > 0
            link.client_net.write(link.server_net.read(1 << 16))
        link.handshake()


def test_P21_eof_iff_the_other_half_is_shut_down_and_has_no_data() -> None:
    one, other = bio_pair()
    assert not other.eof()
    one.write(b"x")
    one.shutdown_wr()
    assert not other.eof()
    other.read(1)
    assert other.eof() and not one.eof()


def test_P22_type_and_name() -> None:
    assert (PairBIO().method_type(), PairBIO().method_name()) == (19 | 0x0400, "BIO pair")


def test_P23_a_pair_never_blocks() -> None:
    one, other = bio_pair(4)
    data, got = bytearray(b"0123456789"), b""
    calls = 0
    while len(got) < 10:
        calls += 1
        del data[: max(one.write(data), 0)]
        got += other.read(3)
    assert (got, calls) == (b"0123456789", 4)
    assert other.read(1) == b"" and other.should_read()


def test_P24_read_request_is_what_the_next_step_needs(client_config: ClientConfig, server_config: ServerConfig) -> None:
    with PairLink(*make_ssls(client_config, server_config)) as link:
        assert (link.client.do_handshake(), link.server.do_handshake()) == (-1, -1)
        net = link.server_net
        assert net.get_read_request() == 5, "a record's header"
        net.write(link.client_net.read(5))
        assert link.server.do_handshake() == -1
        body = link.client_net.pending()
        assert net.get_read_request() == body, "the rest of the record"
        net.write(link.client_net.read(body - 1))
        assert link.server.do_handshake() == -1
        assert net.get_read_request() == 1
        net.write(link.client_net.read(1))
        assert link.server.do_handshake() == -1
        assert net.get_read_request() == 5, "the header of the next"
