"""What arrives: every wrong that the record layer can see, and every right way to cut and pad what is good."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from bounded import bounded, fault_of
from hypothesis import given
from hypothesis import strategies as st
from sealing import ALERT, CHANGE_CIPHER_SPEC, COMPATIBILITY_MARK, DATA, HANDSHAKE, OTHER_SECRET, SECRET, Sealer, plain

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import CipherSuite
from tlsprovider.reassembly import MAX_CERTIFICATE_MESSAGE, MAX_CLIENT_HELLO, MAX_HANDSHAKE_MESSAGE, HandshakeBuffer
from tlsprovider.record import (
    MAX_CHANGE_CIPHER_SPECS,
    MAX_CIPHERTEXT,
    MAX_EMPTY_RECORDS,
    MAX_PLAINTEXT,
    RecordReader,
)

Record = tuple[int, bytes]


def reader_with(data: bytes = b"", *, secret: TrafficSecret | None = None, marks: bool = False) -> RecordReader:
    reader = RecordReader()
    if secret is not None:
        reader.change_keys(secret)
    reader.allow_change_cipher_spec = marks
    reader.feed(data)
    return reader


def protected(data: bytes = b"", marks: bool = False) -> RecordReader:
    return reader_with(data, secret=SECRET, marks=marks)


def all_of(reader: RecordReader) -> Iterator[Record]:
    while (record := reader.read()) is not None:
        yield record


def one_by_one(reader: RecordReader, data: bytes) -> Iterator[Record]:
    for index in range(len(data)):
        reader.feed(data[index : index + 1])
        yield from all_of(reader)


class TestPlaintext:
    @pytest.mark.parametrize("kind", [ALERT, HANDSHAKE])
    @pytest.mark.parametrize("length", [1, 2, 100, MAX_PLAINTEXT])
    def test_content(self, kind: int, length: int) -> None:
        reader = reader_with(plain(kind, b"x" * length))
        assert list(all_of(reader)) == [(kind, b"x" * length)]
        assert reader.buffered == 0

    @pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303, 0x0304, 0x03FF])
    def test_version_says_nothing(self, version: int) -> None:
        """Section 5.1: it MUST be ignored; old peers put all of these there."""
        assert reader_with(plain(HANDSHAKE, b"x", version)).read() == (HANDSHAKE, b"x")

    @pytest.mark.parametrize("version", [0x0000, 0x0200, 0x0403, 0x1603, 0xFEFD])
    def test_version_of_another_protocol(self, version: int) -> None:
        """The first byte has been 3 since SSL 3.0, and never anything else."""
        assert fault_of(reader_with(plain(HANDSHAKE, b"x", version)).read) is Fault.RECORD_VERSION

    @pytest.mark.parametrize("extra", [1, 256, 257, 0xFFFF - MAX_PLAINTEXT])
    def test_too_long_is_refused_by_its_header(self, extra: int) -> None:
        header = b"\x16\x03\x03" + (MAX_PLAINTEXT + extra).to_bytes(2, "big")
        assert fault_of(reader_with(header).read) is Fault.RECORD_OVERFLOW

    def test_application_data(self) -> None:
        assert fault_of(reader_with(plain(DATA, b"x")).read) is Fault.UNEXPECTED_APPLICATION_DATA
        assert fault_of(reader_with(plain(DATA, b"")).read) is Fault.UNEXPECTED_APPLICATION_DATA

    @pytest.mark.parametrize("kind", [ALERT, HANDSHAKE])
    def test_empty(self, kind: int) -> None:
        assert fault_of(reader_with(plain(kind, b"")).read) is Fault.EMPTY_FRAGMENT


class TestNotTls:
    @pytest.mark.parametrize("kind", [0, 19, 24, 25, 0x47, 0x80, 255])
    def test_first_byte_is_enough(self, kind: int) -> None:
        for length in (1, 4, 5, 100):
            assert fault_of(reader_with((bytes([kind]) * 100)[:length]).read) is Fault.NOT_TLS

    @pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\n", b"HTTP/1.1 400 Bad", b"POST /", b"PRI * HTTP/2.0"])
    def test_http_is_called_by_its_name(self, start: bytes) -> None:
        with pytest.raises(PeerFault, match="plain HTTP"):
            reader_with(start).read()

    def test_other_garbage_is_shown(self) -> None:
        with pytest.raises(PeerFault, match=r"it begins with b'\\x00\\x01SSH'"):
            reader_with(b"\0\1SSH-2.0").read()

    @pytest.mark.parametrize("kind", [0, 24, 0x47])
    def test_once_keys_are_there_it_was_tls(self, kind: int) -> None:
        assert fault_of(protected(bytes([kind])).read) is Fault.PLAINTEXT_RECORD_TYPE


@pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.number.name)
class TestEverySuite:
    def test_opens_in_order(self, suite: Suite) -> None:
        secret = TrafficSecret(suite, b"s" * suite.hash_length)
        sealer = Sealer(secret)
        reader = reader_with(b"".join(sealer.record(DATA, b"%d" % number) for number in range(300)), secret=secret)
        assert list(all_of(reader)) == [(DATA, b"%d" % number) for number in range(300)]

    def test_replay_and_loss_and_order_are_seen(self, suite: Suite) -> None:
        secret = TrafficSecret(suite, b"s" * suite.hash_length)
        sealer = Sealer(secret)
        first, second = sealer.record(DATA, b"1"), sealer.record(DATA, b"2")
        for wrong in (first + first, second + first, second):
            reader = reader_with(wrong, secret=secret)
            assert fault_of(lambda reader=reader: list(all_of(reader))) is Fault.BAD_RECORD_MAC


class TestProtected:
    @pytest.mark.parametrize("kind", [ALERT, HANDSHAKE, DATA])
    @pytest.mark.parametrize("padding", [0, 1, 15, 16, 255, 1000])
    def test_content_with_padding(self, kind: int, padding: int) -> None:
        assert protected(Sealer().record(kind, b"content", padding)).read() == (kind, b"content")

    @pytest.mark.parametrize("content", [b"\0", b"\0\0\0", b"x\0", b"\x17\0", b"\x17\x17"])
    def test_content_that_looks_like_padding(self, content: bytes) -> None:
        for padding in (0, 3):
            assert protected(Sealer().record(DATA, content, padding)).read() == (DATA, content)

    def test_longest(self) -> None:
        """Section 5.4: content, type and padding together, 2^14 + 1."""
        for length in (MAX_PLAINTEXT, 1, 0):
            record = Sealer().record(DATA, b"x" * length + b"", MAX_PLAINTEXT - length)
            assert list(all_of(protected(record))) == ([(DATA, b"x" * length)] if length else [])

    @pytest.mark.parametrize(
        ("length", "padding"), [(MAX_PLAINTEXT + 1, 0), (MAX_PLAINTEXT, 1), (0, MAX_PLAINTEXT + 1)]
    )
    def test_too_long_after_decryption(self, length: int, padding: int) -> None:
        assert fault_of(protected(Sealer().record(DATA, b"x" * length, padding)).read) is Fault.RECORD_OVERFLOW

    def test_longest_ciphertext(self) -> None:
        """2^14 + 256 is taken as a length; with our ciphers no such record can hold anything allowed."""
        record = Sealer().inner(b"x" * (MAX_CIPHERTEXT - 16))
        assert len(record) == 5 + MAX_CIPHERTEXT
        assert fault_of(protected(record).read) is Fault.RECORD_OVERFLOW
        assert fault_of(protected(record[:-1]).read) is None

    def test_too_long_is_refused_by_its_header(self) -> None:
        header = b"\x17\x03\x03" + (MAX_CIPHERTEXT + 1).to_bytes(2, "big")
        assert fault_of(protected(header).read) is Fault.RECORD_OVERFLOW

    @pytest.mark.parametrize("length", range(16))
    def test_shorter_than_a_tag(self, length: int) -> None:
        assert fault_of(protected(plain(DATA, bytes(length))).read) is Fault.RECORD_TOO_SHORT

    @pytest.mark.parametrize("padding", [0, 1, 100, MAX_PLAINTEXT])
    def test_nothing_but_padding(self, padding: int) -> None:
        assert fault_of(protected(Sealer().inner(bytes(padding))).read) is Fault.NO_INNER_TYPE

    @pytest.mark.parametrize("kind", [1, CHANGE_CIPHER_SPEC, 24, 255])
    def test_inner_type(self, kind: int) -> None:
        assert fault_of(protected(Sealer().record(kind, b"\1")).read) is Fault.INNER_TYPE

    @pytest.mark.parametrize("kind", [ALERT, HANDSHAKE])
    @pytest.mark.parametrize("padding", [0, 7])
    def test_empty(self, kind: int, padding: int) -> None:
        """Section 5.1: even if there is padding."""
        assert fault_of(protected(Sealer().record(kind, b"", padding)).read) is Fault.EMPTY_FRAGMENT

    @pytest.mark.parametrize("kind", [HANDSHAKE, ALERT])
    def test_plaintext_under_keys(self, kind: int) -> None:
        assert fault_of(protected(plain(kind, b"\2\50\0")).read) is Fault.PLAINTEXT_RECORD_TYPE

    @pytest.mark.parametrize("byte", [0, 1, 2, 3, 4, 5, 20, -1])
    def test_every_part_is_authenticated(self, byte: int) -> None:
        record = bytearray(Sealer().record(DATA, b"content"))
        record[byte] ^= 1
        expected = {0: Fault.PLAINTEXT_RECORD_TYPE, 1: Fault.RECORD_VERSION}.get(byte, Fault.BAD_RECORD_MAC)
        reader = protected(bytes(record))
        if byte in (3, 4):
            # Another length: 256 more bytes are waited for, or one.
            reader.feed(bytes(257))
        assert fault_of(reader.read) is expected

    def test_version_in_the_header_is_authenticated_as_it_came(self) -> None:
        assert protected(Sealer().inner(b"x\x17", version=0x0301)).read() == (DATA, b"x")

    def test_another_key(self) -> None:
        assert fault_of(reader_with(Sealer().record(DATA, b"x"), secret=OTHER_SECRET).read) is Fault.BAD_RECORD_MAC


class TestPlaintextAlert:
    """A peer that could not derive keys can only complain in plaintext."""

    ALERT_RECORD = plain(ALERT, b"\x02\x28")

    def test_before_anything_was_opened(self) -> None:
        assert protected(self.ALERT_RECORD).read() == (ALERT, b"\x02\x28")

    def test_not_once_a_record_has_proven_the_keys(self) -> None:
        reader = protected(Sealer().record(HANDSHAKE, b"x") + self.ALERT_RECORD)
        assert reader.read() == (HANDSHAKE, b"x")
        assert reader.handshake.next_message() is None
        assert fault_of(reader.read) is Fault.PLAINTEXT_RECORD_TYPE

    def test_not_after_new_keys_either(self) -> None:
        reader = protected(Sealer().record(HANDSHAKE, b"x"))
        reader.read()
        reader.change_keys(OTHER_SECRET)
        reader.feed(self.ALERT_RECORD)
        assert fault_of(reader.read) is Fault.PLAINTEXT_RECORD_TYPE

    def test_a_record_that_did_not_open_proves_nothing(self) -> None:
        reader = protected(COMPATIBILITY_MARK + self.ALERT_RECORD, marks=True)
        assert reader.read() == (ALERT, b"\x02\x28")

    @pytest.mark.parametrize("content", [b"", b"\2", b"\2\50\2\50"])
    def test_only_a_whole_alert(self, content: bytes) -> None:
        assert fault_of(protected(plain(ALERT, content)).read) is Fault.PLAINTEXT_RECORD_TYPE


class TestChangeCipherSpec:
    """Section 5: one byte 1, unprotected, between the first ClientHello and the peer's Finished."""

    def test_is_dropped(self) -> None:
        assert reader_with(COMPATIBILITY_MARK, marks=True).read() is None
        reader = protected(COMPATIBILITY_MARK + Sealer().record(HANDSHAKE, b"x"), marks=True)
        assert reader.read() == (HANDSHAKE, b"x")

    @pytest.mark.parametrize("secret", [None, SECRET])
    def test_not_when_it_is_not_allowed(self, secret: TrafficSecret | None) -> None:
        assert fault_of(reader_with(COMPATIBILITY_MARK, secret=secret).read) is Fault.CHANGE_CIPHER_SPEC

    @pytest.mark.parametrize("content", [b"", b"\0", b"\2", b"\1\1", bytes(100)])
    @pytest.mark.parametrize("secret", [None, SECRET])
    def test_of_another_value(self, content: bytes, secret: TrafficSecret | None) -> None:
        reader = reader_with(plain(CHANGE_CIPHER_SPEC, content), secret=secret, marks=True)
        assert fault_of(reader.read) is Fault.CHANGE_CIPHER_SPEC

    def test_a_flood(self) -> None:
        reader = reader_with(COMPATIBILITY_MARK * MAX_CHANGE_CIPHER_SPECS, marks=True)
        assert reader.read() is None
        reader.feed(COMPATIBILITY_MARK)
        assert fault_of(reader.read) is Fault.CHANGE_CIPHER_SPEC

    def test_both_that_a_retry_may_bring(self) -> None:
        assert MAX_CHANGE_CIPHER_SPECS >= 2

    def test_protected(self) -> None:
        reader = protected(Sealer().record(CHANGE_CIPHER_SPEC, b"\1"), marks=True)
        assert fault_of(reader.read) is Fault.INNER_TYPE

    def test_uses_no_sequence_number(self) -> None:
        sealer = Sealer()
        data = sealer.record(HANDSHAKE, b"1") + COMPATIBILITY_MARK + sealer.record(HANDSHAKE, b"2")
        assert [content for _, content in all_of(protected(data, marks=True))] == [b"1", b"2"]

    def test_in_the_middle_of_a_message(self) -> None:
        reader = reader_with(plain(HANDSHAKE, b"\1\0") + COMPATIBILITY_MARK, marks=True)
        _, fragment = next(all_of(reader))
        reader.handshake.add(fragment)
        assert fault_of(reader.read) is Fault.INTERLEAVED


class TestInterleaving:
    """Section 5.1: between the fragments of a message, nothing else."""

    @pytest.mark.parametrize("kind", [ALERT, DATA])
    @pytest.mark.parametrize("content", [b"xx", b""])
    def test_another_type(self, kind: int, content: bytes) -> None:
        sealer = Sealer()
        reader = protected(sealer.record(HANDSHAKE, b"\1\0") + sealer.record(kind, content))
        _, fragment = next(all_of(reader))
        reader.handshake.add(fragment)
        assert fault_of(reader.read) is Fault.INTERLEAVED

    def test_after_the_last_fragment(self) -> None:
        sealer = Sealer()
        data = sealer.record(HANDSHAKE, b"\x18\0\0") + sealer.record(HANDSHAKE, b"\1\0") + sealer.record(DATA, b"x")
        reader = protected(data)
        for _ in range(2):
            record = reader.read()
            assert record is not None
            reader.handshake.add(record[1])
        assert reader.handshake.next_message() == b"\x18\0\0\1\0"
        assert reader.read() == (DATA, b"x")


class TestEmptyRecords:
    def test_some_in_a_row_are_cover_traffic(self) -> None:
        sealer = Sealer()
        data = b"".join(sealer.record(DATA, b"", index) for index in range(MAX_EMPTY_RECORDS))
        assert protected(data + sealer.record(DATA, b"x")).read() == (DATA, b"x")

    def test_too_many_in_a_row(self) -> None:
        sealer = Sealer()
        data = b"".join(sealer.record(DATA, b"") for _ in range(MAX_EMPTY_RECORDS + 1))
        assert fault_of(protected(data).read) is Fault.TOO_MANY_EMPTY_RECORDS

    def test_any_content_starts_the_count_again(self) -> None:
        sealer = Sealer()
        some = [sealer.record(DATA, b"x" if index % 10 == 9 else b"") for index in range(200)]
        assert len(list(all_of(protected(b"".join(some))))) == 20


class TestKeyChange:
    def test_sequence_starts_again(self) -> None:
        reader = protected(Sealer().record(DATA, b"1"))
        assert reader.read() == (DATA, b"1")
        reader.change_keys(OTHER_SECRET)
        reader.feed(Sealer(OTHER_SECRET).record(DATA, b"2"))
        assert reader.read() == (DATA, b"2")

    def test_holds_for_records_that_have_arrived_already(self) -> None:
        reader = protected(Sealer().record(DATA, b"1") + Sealer(OTHER_SECRET).record(DATA, b"2"))
        assert reader.read() == (DATA, b"1")
        reader.change_keys(OTHER_SECRET)
        assert reader.read() == (DATA, b"2")

    @pytest.mark.parametrize("started", [b"\1", b"\1\0\0\5", b"\1\0\0\5abc"])
    def test_in_the_middle_of_a_message(self, started: bytes) -> None:
        reader = protected()
        reader.handshake.add(started)
        assert fault_of(reader.change_keys, OTHER_SECRET) is Fault.KEY_CHANGE_SPLIT

    def test_another_suite(self) -> None:
        chacha = SUITES[CipherSuite.TLS_CHACHA20_POLY1305_SHA256]
        secret = TrafficSecret(chacha, b"c" * 32)
        reader = protected()
        reader.change_keys(secret)
        reader.feed(Sealer(secret).record(DATA, b"x"))
        assert reader.read() == (DATA, b"x")


class TestHandshakeBuffer:
    MESSAGES = (b"\x08\0\0\0", b"\x0b\0\0\5hello", b"\x0f\0\1\0" + bytes(256), b"\x14\0\0\1x")

    @bounded(60)
    @given(cuts=st.lists(st.integers(1, 60), max_size=20))
    def test_cut_and_packed_in_any_way(self, cuts: list[int]) -> None:
        buffer, found, data = HandshakeBuffer(), [], b"".join(self.MESSAGES)
        for cut in [*cuts, len(data)]:
            buffer.add(data[:cut])
            data = data[cut:]
            while (message := buffer.next_message()) is not None:
                found.append(message)
        assert tuple(found) == self.MESSAGES
        assert not buffer

    def test_knows_whether_a_message_has_begun(self) -> None:
        buffer = HandshakeBuffer()
        assert not buffer
        buffer.add(b"\x14")
        assert buffer
        buffer.add(b"\0\0\0")
        assert buffer.next_message() == b"\x14\0\0\0"
        assert not buffer

    @pytest.mark.parametrize(
        ("kind", "limit"), [(1, MAX_CLIENT_HELLO), (2, MAX_HANDSHAKE_MESSAGE), (11, MAX_CERTIFICATE_MESSAGE)]
    )
    def test_too_large_is_refused_by_its_header(self, kind: int, limit: int) -> None:
        buffer = HandshakeBuffer()
        buffer.add(bytes([kind]) + limit.to_bytes(3, "big"))
        assert buffer.next_message() is None
        buffer = HandshakeBuffer()
        buffer.add(bytes([kind]) + (limit + 1).to_bytes(3, "big"))
        assert fault_of(buffer.next_message) is Fault.MESSAGE_TOO_LARGE

    def test_largest(self) -> None:
        buffer = HandshakeBuffer()
        buffer.add(b"\x0b" + MAX_HANDSHAKE_MESSAGE.to_bytes(3, "big") + bytes(MAX_HANDSHAKE_MESSAGE))
        message = buffer.next_message()
        assert message is not None
        assert len(message) == 4 + MAX_HANDSHAKE_MESSAGE


class TestFragmentation:
    def test_one_byte_at_a_time(self) -> None:
        sealer = Sealer()
        data = b"".join(
            (
                sealer.record(HANDSHAKE, b"\x18\0\0\1\0"),
                COMPATIBILITY_MARK,
                sealer.record(DATA, b"", 3),
                sealer.record(DATA, bytes(500), 20),
                sealer.record(ALERT, b"\1\0"),
            )
        )
        whole = list(all_of(protected(data, marks=True)))
        assert list(one_by_one(protected(marks=True), data)) == whole
        assert [kind for kind, _ in whole] == [HANDSHAKE, DATA, ALERT]

    def test_nothing_of_an_incomplete_record(self) -> None:
        record = Sealer().record(DATA, b"content")
        for length in range(len(record)):
            reader = protected(record[:length])
            assert reader.read() is None
            assert reader.buffered == length

    def test_the_fed_object_is_not_kept(self) -> None:
        data = bytearray(Sealer().record(DATA, b"content"))
        reader = protected()
        reader.feed(memoryview(data)[:10])
        reader.feed(data[10:])
        data[:] = bytes(len(data))
        data.extend(b"can be resized: nobody looks at it any more")
        assert reader.read() == (DATA, b"content")

    def test_rest(self) -> None:
        reader = protected(Sealer().record(DATA, b"x") + b"not TLS at all")
        reader.read()
        assert reader.take_rest() == b"not TLS at all"
        assert (reader.take_rest(), reader.buffered) == (b"", 0)


def test_idle_reader_holds_no_memory() -> None:
    """A megabyte went through; nothing of it is left behind."""
    fresh = sys.getsizeof(RecordReader()._buffer)
    sealer, reader = Sealer(), protected()
    for _ in range(64):
        reader.feed(sealer.record(DATA, bytes(MAX_PLAINTEXT)))
    assert sum(len(content) for _, content in all_of(reader)) == 64 * MAX_PLAINTEXT
    assert sys.getsizeof(reader._buffer) <= fresh + 64
    chunks: list[bytes] = []
    assert (
        reader.read_application(b"".join(sealer.record(DATA, bytes(MAX_PLAINTEXT)) for _ in range(64)), chunks) is None
    )
    assert sys.getsizeof(reader._buffer) <= fresh + 64
    reader.handshake.add(b"\x0b" + (100_000).to_bytes(3, "big") + bytes(100_000))
    assert reader.handshake.next_message() is not None
    assert sys.getsizeof(reader.handshake.waiting) <= fresh + 64


@bounded(300)
@given(
    data=st.binary(max_size=80), marks=st.booleans(), secret=st.sampled_from([None, SECRET]), chunk=st.integers(1, 80)
)
def test_hostile_bytes(data: bytes, marks: bool, secret: TrafficSecret | None, chunk: int) -> None:
    """Content, not yet, or a PeerFault; and the same whatever pieces they come in."""

    def outcome(size: int) -> tuple[list[Record], Fault | None]:
        reader, found = reader_with(secret=secret, marks=marks), []
        for start in range(0, len(data), size):
            reader.feed(data[start : start + size])
            try:
                found.extend(all_of(reader))
            except PeerFault as problem:
                return found, problem.fault
        return found, None

    assert outcome(chunk) == outcome(len(data) or 1)
