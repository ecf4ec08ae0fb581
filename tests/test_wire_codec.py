"""The presentation language: numbers and vectors, strict at both ends."""

from __future__ import annotations

import struct
from collections.abc import Callable

import pytest
from bounded import bounded, fault_of
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.wire.codec import (
    Reader,
    u8,
    u16,
    u16_list,
    u16s,
    u24,
    u32,
    vector8,
    vector16,
    vector24,
    whole_vector16,
)

NUMBERS: dict[str, tuple[Callable[[int], bytes], Callable[[Reader], int], int]] = {
    "u8": (u8, Reader.u8, 1),
    "u16": (u16, Reader.u16, 2),
    "u24": (u24, Reader.u24, 3),
    "u32": (u32, Reader.u32, 4),
}
VECTORS: dict[str, tuple[Callable[[bytes], bytes], Callable[..., bytes], int]] = {
    "vector8": (vector8, Reader.vector8, 1),
    "vector16": (vector16, Reader.vector16, 2),
    "vector24": (vector24, Reader.vector24, 3),
}


@pytest.mark.parametrize("name", NUMBERS)
class TestNumbers:
    def test_round_trip_at_both_ends_of_the_range(self, name: str) -> None:
        encode, decode, size = NUMBERS[name]
        for number in (0, 1, 0x7F, 256**size // 2, 256**size - 1):
            reader = Reader(encode(number), "x")
            assert decode(reader) == number
            reader.end()

    def test_is_big_endian(self, name: str) -> None:
        encode, _, size = NUMBERS[name]
        assert encode(1) == bytes(size - 1) + b"\x01"

    def test_cut_short(self, name: str) -> None:
        encode, decode, size = NUMBERS[name]
        for length in range(size):
            assert fault_of(decode, Reader(encode(1)[:length], "x")) is Fault.DECODE_ERROR

    def test_too_large_is_our_own_mistake(self, name: str) -> None:
        encode, _, size = NUMBERS[name]
        with pytest.raises(OverflowError):
            encode(256**size)


@pytest.mark.parametrize("name", VECTORS)
class TestVectors:
    def test_round_trip(self, name: str) -> None:
        encode, decode, size = VECTORS[name]
        for content in (b"", b"a", bytes(255)):
            encoded = encode(content)
            assert encoded == len(content).to_bytes(size, "big") + content
            reader = Reader(encoded, "x")
            assert decode(reader) == content
            reader.end()

    def test_cut_short_at_every_byte(self, name: str) -> None:
        encode, decode, _ = VECTORS[name]
        encoded = encode(b"four")
        for length in range(len(encoded)):
            assert fault_of(decode, Reader(encoded[:length], "x")) is Fault.DECODE_ERROR

    def test_bounds_are_inclusive(self, name: str) -> None:
        encode, decode, _ = VECTORS[name]
        allowed = [length for length in range(6) if fault_of(decode, Reader(encode(bytes(length)), "x"), 2, 4) is None]
        assert allowed == [2, 3, 4]

    def test_leaves_what_follows(self, name: str) -> None:
        encode, decode, _ = VECTORS[name]
        reader = Reader(encode(b"one") + b"two", "x")
        assert decode(reader) == b"one"
        assert reader.more
        assert reader.rest() == b"two"


def test_vectors_that_do_not_fit_are_our_own_mistake() -> None:
    with pytest.raises(OverflowError):
        vector8(bytes(256))
    with pytest.raises(OverflowError):
        vector16(bytes(1 << 16))


class TestU16List:
    def test_round_trip(self) -> None:
        for numbers in ((0,), (1, 2, 3), (0xFFFF, 0x0A0A)):
            assert Reader(vector16(u16_list(numbers)), "x").u16_list() == numbers
            assert u16s(Reader(vector8(u16_list(numbers)), "x").vector8(2), "x") == numbers

    def test_takes_any_iterable(self) -> None:
        assert u16_list(number for number in (1, 2)) == b"\0\1\0\2"

    @pytest.mark.parametrize("block", [b"", b"\1", b"\1\2\3"])
    def test_empty_and_odd_are_faults(self, block: bytes) -> None:
        assert fault_of(Reader(vector16(block), "x").u16_list) is Fault.DECODE_ERROR
        assert fault_of(lambda: u16s(Reader(vector8(block), "x").vector8(2), "x")) is Fault.DECODE_ERROR


class TestReader:
    def test_starts_where_it_is_told(self) -> None:
        assert Reader(b"header.body", "x", position=7).rest() == b"body"

    def test_starting_behind_the_end_is_cut_short(self) -> None:
        reader = Reader(b"ab", "x", position=4)
        assert not reader.more
        assert fault_of(reader.u8) is Fault.DECODE_ERROR
        assert fault_of(reader.take, 1) is Fault.DECODE_ERROR
        assert fault_of(reader.end) is Fault.DECODE_ERROR

    def test_end_counts_what_is_left(self) -> None:
        reader = Reader(b"abc", "Finished")
        reader.u8()
        with pytest.raises(PeerFault, match="Finished has 2 bytes too many"):
            reader.end()

    def test_end_is_silent_when_everything_was_read(self) -> None:
        reader = Reader(b"abc", "x")
        assert reader.take(3) == b"abc"
        reader.end()

    def test_a_fault_moves_nothing(self) -> None:
        reader = Reader(b"ab", "x")
        assert fault_of(reader.take, 3) is Fault.DECODE_ERROR
        assert reader.take(2) == b"ab"

    def test_faults_say_what_was_read(self) -> None:
        with pytest.raises(PeerFault, match="ClientHello is cut short"):
            Reader(b"", "ClientHello").u16()
        with pytest.raises(PeerFault, match="cookie has a vector of 0 bytes where 1 to 65535 are allowed"):
            Reader(b"\0\0", "cookie").vector16(1)


OPERATIONS: list[Callable[[Reader], object]] = [
    Reader.u8,
    Reader.u16,
    Reader.u24,
    Reader.u32,
    Reader.vector8,
    Reader.vector16,
    Reader.vector24,
    Reader.u16_list,
    Reader.end,
    lambda reader: reader.take(3),
    lambda reader: reader.vector8(1, 32),
    lambda reader: u16s(reader.vector8(2), "x"),
    lambda reader: reader.unpack(struct.Struct(">HB")),
]


@bounded(300)
@given(data=st.binary(max_size=40), operations=st.lists(st.sampled_from(OPERATIONS), max_size=12))
def test_whatever_the_bytes_are(data: bytes, operations: list[Callable[[Reader], object]]) -> None:
    """Reading never goes past the end, never back, and fails only as a decode_error."""
    reader = Reader(data, "x")
    left = len(data)
    for operation in operations:
        assert fault_of(operation, reader) in (None, Fault.DECODE_ERROR)
        rest = Reader.rest(reader)
        assert data.endswith(rest)
        assert len(rest) <= left
        left = len(rest)
        reader = Reader(data, "x", position=len(data) - left)


@bounded(300)
@given(data=st.binary(max_size=12) | st.binary(max_size=8).map(vector16), least=st.integers(0, 3))
def test_a_whole_vector_is_what_a_reader_makes_of_it(data: bytes, least: int) -> None:
    def slowly() -> bytes:
        reader = Reader(data, "x")
        content = reader.vector16(least)
        reader.end()
        return content

    try:
        expected = slowly()
    except PeerFault:
        assert fault_of(whole_vector16, data, "x", least) is Fault.DECODE_ERROR
    else:
        assert whole_vector16(data, "x", least) == expected
