"""The presentation language of RFC 9846 section 3: numbers, and vectors with a length in front.

Decoding is where a stranger's bytes first meet the code. :class:`Reader` is strict by construction: it never reads past
its end, a vector becomes a reader of its own, and :meth:`Reader.end` insists that nothing is left over. Whatever the
bytes are, the only exception is ``PeerFault(Fault.DECODE_ERROR)``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from tlsprovider.errors import Fault, PeerFault

__all__ = [
    "Reader",
    "u8",
    "u16",
    "u16_list",
    "u16s",
    "u24",
    "u32",
    "vector8",
    "vector16",
    "vector24",
    "whole_vector16",
]


class Reader:
    """Reads ``data`` from front to back; ``what``, as text, names it in errors."""

    __slots__ = ("_data", "_end", "_what", "position")

    def __init__(self, data: bytes, what: object, position: int = 0) -> None:
        self._data = data
        self._what = what
        self.position = position
        self._end = len(data)

    def fault(self, detail: str) -> PeerFault:
        return PeerFault(Fault.DECODE_ERROR, f"{self._what} {detail}")

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes."""
        start = self.position
        stop = start + length
        if stop > self._end:
            raise self.fault("is cut short")
        self.position = stop
        return self._data[start:stop]

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Numbers and bytes of fixed sizes, as many at once as ``form`` has."""
        start = self.position
        stop = start + form.size
        if stop > self._end:
            raise self.fault("is cut short")
        self.position = stop
        return form.unpack_from(self._data, start)

    def u8(self) -> int:
        position = self.position
        if position >= self._end:
            raise self.fault("is cut short")
        self.position = position + 1
        return self._data[position]

    def u16(self) -> int:
        position = self.position
        stop = position + 2
        if stop > self._end:
            raise self.fault("is cut short")
        self.position = stop
        return self._data[position] << 8 | self._data[position + 1]

    def u24(self) -> int:
        return int.from_bytes(self.take(3), "big")

    def u32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def vector8(self, least: int = 0, most: int = 0xFF) -> bytes:
        """``opaque name<least..most>`` with one byte of length."""
        return self._vector(self.u8(), least, most)

    def vector16(self, least: int = 0, most: int = 0xFFFF) -> bytes:
        # As _vector() does it; the most frequent of all, so it has no call within.
        start, end, data = self.position + 2, self._end, self._data
        if start > end:
            raise self.fault("is cut short")
        length = data[start - 2] << 8 | data[start - 1]
        stop = start + length
        if stop > end or not least <= length <= most:
            raise self._bad_vector(length, least, most)
        self.position = stop
        return data[start:stop]

    def vector24(self, least: int = 0, most: int = 0xFFFFFF) -> bytes:
        return self._vector(self.u24(), least, most)

    def _vector(self, length: int, least: int, most: int) -> bytes:
        start = self.position
        stop = start + length
        if stop > self._end or not least <= length <= most:
            raise self._bad_vector(length, least, most)
        self.position = stop
        return self._data[start:stop]

    def _bad_vector(self, length: int, least: int, most: int) -> PeerFault:
        if least <= length <= most:
            return self.fault("is cut short")
        return self.fault(f"has a vector of {length} bytes where {least} to {most} are allowed")

    def u16_list(self) -> tuple[int, ...]:
        """``uint16 name<2..2^16-2>``: at least one number."""
        return u16s(self.vector16(2), self._what)

    @property
    def more(self) -> bool:
        return self.position < self._end

    def rest(self) -> bytes:
        return self.take(self._end - self.position)

    def end(self) -> None:
        """Insist that everything was read: trailing bytes are a decode_error (section 4.3)."""
        if self.position != self._end:
            raise self.fault(f"has {self._end - self.position} bytes too many")


def whole_vector16(data: bytes, what: object, least: int = 0) -> bytes:
    """``opaque name<least..2^16-1>`` that is all of ``data``: the content of most extensions."""
    length = len(data) - 2
    if length >= least and int.from_bytes(data[:2], "big") == length:
        return data[2:]
    reader = Reader(data, what)
    content = reader.vector16(least)
    reader.end()
    return content


def u16s(block: bytes, what: object) -> tuple[int, ...]:
    """The numbers of a list whose length has been read."""
    if len(block) % 2:
        raise Reader(block, what).fault("has a list of 16 bit numbers with an odd length")
    return struct.unpack(f">{len(block) // 2}H", block)


def u8(number: int) -> bytes:
    return number.to_bytes(1, "big")


def u16(number: int) -> bytes:
    return number.to_bytes(2, "big")


def u24(number: int) -> bytes:
    return number.to_bytes(3, "big")


def u32(number: int) -> bytes:
    return number.to_bytes(4, "big")


def u16_list(numbers: Iterable[int]) -> bytes:
    values = tuple(numbers)
    return struct.pack(f">{len(values)}H", *values)


def vector8(content: bytes) -> bytes:
    return len(content).to_bytes(1, "big") + content


def vector16(content: bytes) -> bytes:
    return len(content).to_bytes(2, "big") + content


def vector24(content: bytes) -> bytes:
    return len(content).to_bytes(3, "big") + content
