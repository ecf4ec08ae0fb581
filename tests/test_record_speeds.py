"""The reader's speeds give the same: ``read_one`` and ``read_application`` are ``read``, only faster.

All get the same bytes, in different pieces. They have to deliver the same plaintext, the same other records at the
same places between it, and the same fault at the end, whatever the mix of types, sizes, paddings and damage is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from bounded import bounded
from hypothesis import given
from hypothesis import strategies as st
from sealing import ALERT, COMPATIBILITY_MARK, DATA, HANDSHAKE, OTHER_SECRET, SECRET, Sealer, plain

from tlsprovider.crypto.suites import AEAD
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.record import MAX_EMPTY_RECORDS, MAX_PLAINTEXT, RecordReader

# What came out: application data joined where nothing else was between, other records, and a fault.
Outcome = tuple[list[tuple[int, bytes]], Fault | None]

KEY_UPDATE = b"\x18\0\0\1\0"


def established() -> tuple[RecordReader, Sealer]:
    """A reader as it is after a handshake: it has opened a record, so plaintext alerts are over."""
    reader, sealer = RecordReader(), Sealer()
    reader.change_keys(SECRET)
    reader.feed(sealer.record(HANDSHAKE, KEY_UPDATE))
    reader.read()
    return reader, sealer


class Told:
    """Collects what a reader gives, and does with handshake records what the engine would."""

    def __init__(self, reader: RecordReader) -> None:
        self.reader = reader
        self.found: list[tuple[int, bytes]] = []

    def take(self, kind: int, content: bytes) -> None:
        if kind == DATA and self.found and self.found[-1][0] == DATA:
            self.found[-1] = (DATA, self.found[-1][1] + content)
        else:
            self.found.append((kind, content))
        if kind != HANDSHAKE:
            return
        self.reader.handshake.add(content)
        while (message := self.reader.handshake.next_message()) is not None:
            if message == KEY_UPDATE:
                self.reader.change_keys(OTHER_SECRET)


def slowly(told: Told, piece: bytes) -> None:
    told.reader.feed(piece)
    while (record := told.reader.read()) is not None:
        told.take(*record)


def fast(told: Told, piece: bytes) -> None:
    """As the engine does it."""
    content = told.reader.read_one(piece)
    if content is not None:
        told.take(DATA, content)
    else:
        run(told, piece)


def run(told: Told, piece: bytes) -> None:
    chunks: list[bytes] = []
    try:
        record = told.reader.read_application(piece, chunks)
        while record is not None:
            for chunk in chunks:
                told.take(DATA, chunk)
            chunks.clear()
            told.take(*record)
            record = told.reader.read_application(b"", chunks)
    finally:
        for chunk in chunks:
            told.take(DATA, chunk)


def outcome(speed: Callable[[Told, bytes], None], data: bytes, cuts: Sequence[int]) -> Outcome:
    """Feed ``data`` in pieces of these sizes, and the rest of it as the last piece."""
    told = Told(established()[0])
    try:
        for cut in [*cuts, len(data) + 1]:
            speed(told, data[:cut])
            data = data[cut:]
    except PeerFault as problem:
        return told.found, problem.fault
    return told.found, None


KINDS = st.sampled_from([DATA, DATA, DATA, DATA, HANDSHAKE, ALERT])
SIZES = st.sampled_from([0, 0, 1, 1, 2, 17, 300, MAX_PLAINTEXT - 1, MAX_PLAINTEXT])
PADDINGS = st.sampled_from([0, 0, 0, 1, 30])
RECORDS = st.lists(st.tuples(KINDS, SIZES, PADDINGS), max_size=12)
CUTS = st.lists(st.sampled_from([0, 1, 4, 5, 6, 21, 22, 23, 24, 100, 16405, 16406, 40000]), max_size=12)
LAST = st.sampled_from(
    ["", "", "damaged", "again", "padding only", "inner type", "too long", "plaintext", "mark", "cut", "key update",
     "overlong", "another version", "no version"]
)  # fmt: skip


def ending(last: str, sealer: Sealer) -> bytes:
    """A last record that is wrong in one of many ways, and another behind it."""
    endings = {
        "": lambda: b"",
        "damaged": lambda: sealer.record(DATA, b"damage")[:-1] + b"!",
        "again": lambda: sealer.record(DATA, b"x") + Sealer().record(DATA, b"an old number"),
        "padding only": lambda: sealer.inner(bytes(20)),
        "inner type": lambda: sealer.record(20, b"\1"),
        "too long": lambda: sealer.record(DATA, bytes(MAX_PLAINTEXT + 1)),
        "plaintext": lambda: plain(ALERT, b"\2\50"),
        "mark": lambda: COMPATIBILITY_MARK,
        "cut": lambda: sealer.record(DATA, bytes(100))[:-10],
        "overlong": lambda: b"\x17\3\3\xff\xff" + bytes(70_000),
        "another version": lambda: sealer.inner(b"x\x17", 0x0301) + sealer.record(DATA, b"y"),
        "no version": lambda: sealer.inner(b"x\x17", 0x0403),
        "key update": lambda: sealer.record(HANDSHAKE, KEY_UPDATE) + Sealer(OTHER_SECRET).record(DATA, b"new keys"),
    }
    return endings[last]()


@bounded(250)
@given(records=RECORDS, last=LAST, one_way=CUTS, other_way=CUTS)
def test_same_outcome(records: list[tuple[int, int, int]], last: str, one_way: list[int], other_way: list[int]) -> None:
    sealer = established()[1]
    # A handshake record holds the start of a message that is never whole, so that interleaving is tried as well.
    data = b"".join(
        [sealer.record(kind, b"\x0b\1\0\0"[:size] if kind == HANDSHAKE else bytes([index + 65]) * size, padding)
         for index, (kind, size, padding) in enumerate(records) if size + padding <= MAX_PLAINTEXT]
    )  # fmt: skip
    data += ending(last, sealer)
    expected = outcome(slowly, data, [])
    assert outcome(slowly, data, one_way) == expected
    assert outcome(fast, data, []) == expected
    assert outcome(fast, data, one_way) == expected
    assert outcome(fast, data, other_way) == expected
    assert outcome(run, data, one_way) == expected
    assert outcome(fast, data, lengths_of(data)) == expected


def lengths_of(data: bytes) -> list[int]:
    """Each record in a piece of its own."""
    lengths = []
    while len(data) >= 5:
        lengths.append(5 + int.from_bytes(data[3:5], "big"))
        data = data[lengths[-1] :]
    return lengths


@pytest.mark.parametrize("speed", [slowly, run, fast])
class TestEmptyRecords:
    """Cover traffic is limited in a row, and a row ends with the next byte of content."""

    def test_between_data(self, speed: Callable[[Told, bytes], None]) -> None:
        sealer = established()[1]
        data = b"".join(sealer.record(DATA, b"x") + sealer.record(DATA, b"") for _ in range(3 * MAX_EMPTY_RECORDS))
        assert outcome(speed, data, []) == ([(DATA, b"x" * 3 * MAX_EMPTY_RECORDS)], None)

    def test_a_row_that_begins_behind_data(self, speed: Callable[[Told, bytes], None]) -> None:
        """Two network reads: what the first one counted is not forgotten because it began with data."""
        sealer = established()[1]
        first = sealer.record(DATA, b"x") + b"".join(sealer.record(DATA, b"") for _ in range(MAX_EMPTY_RECORDS))
        second = sealer.record(DATA, b"")
        expected = ([(DATA, b"x")], Fault.TOO_MANY_EMPTY_RECORDS)
        assert outcome(speed, first + second, [len(first)]) == expected

    def test_a_whole_row(self, speed: Callable[[Told, bytes], None]) -> None:
        sealer = established()[1]
        row = [sealer.record(DATA, b"", index) for index in range(MAX_EMPTY_RECORDS + 1)]
        assert outcome(speed, b"".join(row[:-1]), []) == ([], None)
        assert outcome(speed, b"".join(row), []) == ([], Fault.TOO_MANY_EMPTY_RECORDS)


class TestFast:
    def test_one_network_read_is_one_piece(self) -> None:
        reader, sealer = established()
        data = b"".join(sealer.record(DATA, bytes([index]) * 1000, index) for index in range(30))
        chunks: list[bytes] = []
        assert reader.read_application(data, chunks) is None
        assert chunks == [b"".join(bytes([index]) * 1000 for index in range(30))]

    def test_what_was_cut_is_one_piece_with_what_follows(self) -> None:
        reader, sealer = established()
        data = b"".join(sealer.record(DATA, bytes([index]) * 1000) for index in range(10))
        for cut in (3, 5, 700):
            reader, chunks = established()[0], []
            assert reader.read_application(data[:cut], chunks) is None
            assert chunks == []
            assert reader.read_application(data[cut:-1], chunks) is None
            assert chunks == [b"".join(bytes([index]) * 1000 for index in range(9))]
            assert reader.read_application(data[-1:], chunks) is None
            assert chunks[1:] == [bytes([9]) * 1000]

    def test_feeding_and_reading_go_between(self) -> None:
        """The reader counts what a record lacks; whoever else adds to it, or takes from it, is not forgotten."""
        reader, sealer = established()
        first, second = sealer.record(DATA, b"first"), sealer.record(DATA, b"second")
        chunks: list[bytes] = []
        assert reader.read_application(first[:9], chunks) is None
        reader.feed(first[9:-1])
        assert reader.read() is None
        assert reader.read_application(first[-1:] + second[:-1], chunks) is None
        reader.feed(second[-1:])
        assert reader.read() == (DATA, b"second")
        assert reader.read_application(sealer.record(DATA, b"third"), chunks) is None
        assert chunks == [b"first", b"third"]

    def test_one_record_in_one_piece(self) -> None:
        reader, sealer = established()
        for index in range(3):
            assert reader.read_one(sealer.record(DATA, b"%d" % index)) == b"%d" % index

    def test_what_is_not_one_plain_record_is_left_alone(self) -> None:
        """Nothing of the reader changes: whoever looks next finds it as it was."""
        good = established()[1].record(DATA, b"good")
        for number, make in enumerate(
            (
                lambda sealer: sealer.record(DATA, b"good", 5),
                lambda sealer: sealer.record(DATA, b""),
                lambda sealer: sealer.record(ALERT, b"\1\0"),
                lambda sealer: sealer.record(HANDSHAKE, KEY_UPDATE),
                lambda sealer: sealer.inner(bytes(10)),
                lambda sealer: sealer.record(DATA, b"x" * (MAX_PLAINTEXT + 1)),
                lambda sealer: good + good,
                lambda sealer: good[:-1],
                lambda sealer: good[:-1] + b"!",
                lambda sealer: good[:4],
                lambda sealer: b"",
                lambda sealer: b"\x16" + good[1:],
                lambda sealer: good[:1] + b"\2" + good[2:],
            )
        ):
            reader, sealer = established()
            assert reader.read_one(make(sealer)) is None, number
            assert reader.buffered == 0
            assert reader.read_one(good) == b"good"

    def test_not_past_what_waits(self) -> None:
        reader, sealer = established()
        first, second = sealer.record(DATA, b"1"), sealer.record(DATA, b"2")
        reader.feed(first[:7])
        assert reader.read_one(second) is None
        reader.feed(first[7:])
        assert reader.read() == (DATA, b"1")
        assert reader.read_one(second) == b"2"
        reader.handshake.add(b"\x18")
        assert reader.read_one(sealer.record(DATA, b"3")) is None

    def test_plaintext_before_a_fault_is_given(self) -> None:
        reader, sealer = established()
        data = sealer.record(DATA, b"before") + bytes(sealer.record(DATA, b"x"))[:-1] + b"!"
        chunks: list[bytes] = []
        with pytest.raises(PeerFault):
            reader.read_application(data, chunks)
        assert chunks == [b"before"]

    def test_the_given_object_is_not_kept(self) -> None:
        reader, sealer = established()
        data = bytearray(sealer.record(DATA, b"one") + sealer.record(DATA, b"two")[:-3])
        chunks: list[bytes] = []
        assert reader.read_application(memoryview(data), chunks) is None
        data.extend(b"resizing is an error while somebody holds a view")
        assert chunks == [b"one"]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_any_buffer(self, kind: type) -> None:
        reader, sealer = established()
        chunks: list[bytes] = []
        assert reader.read_application(kind(sealer.record(DATA, b"data")), chunks) is None
        assert chunks == [b"data"]

    def test_each_record_is_decrypted_once(self) -> None:
        """A record of another type stops the fast run; what is behind it isn't decrypted before the keys are known."""
        reader, sealer = established()
        data = b"".join(sealer.record(ALERT if index % 3 == 2 else DATA, b"xx") for index in range(30))
        counting = Counting(reader._aead)
        reader._aead = counting
        told = Told(reader)
        run(told, data)
        assert counting.count == 30
        assert [kind for kind, _ in told.found] == [DATA, ALERT] * 10


class Counting:
    """A cipher that counts what it decrypts."""

    def __init__(self, aead: AEAD | None) -> None:
        assert aead is not None
        self._aead = aead
        self.count = 0

    def decrypt(self, *arguments: bytes) -> bytes:
        self.count += 1
        return self._aead.decrypt(*arguments)

    def decrypt_into(self, *arguments: bytes) -> int:
        self.count += 1
        return self._aead.decrypt_into(*arguments)

    def encrypt(self, *arguments: bytes) -> bytes:
        raise AssertionError("a reader encrypts nothing")


def test_much_at_once_comes_in_order() -> None:
    """More than is decrypted in one go: several pieces, nothing lost, nothing kept."""
    sealer, reader = Sealer(), RecordReader()
    reader.change_keys(SECRET)
    parts = [bytes([number]) * MAX_PLAINTEXT for number in range(40)]
    chunks: list[bytes] = []
    assert reader.read_application(b"".join(sealer.record(DATA, part) for part in parts), chunks) is None
    assert b"".join(chunks) == b"".join(parts)
    assert len(chunks) < 10
    assert reader.buffered == 0
