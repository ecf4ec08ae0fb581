"""What is sent: cutting, protecting, changing keys, and keeping nothing."""

from __future__ import annotations

import pytest
from bounded import bounded
from hypothesis import given
from hypothesis import strategies as st
from sealing import ALERT, COMPATIBILITY_MARK, DATA, HANDSHAKE, OTHER_SECRET, SECRET, SUITE, Sealer, plain

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.iana import AlertDescription
from tlsprovider.record import MAX_PLAINTEXT, RecordReader, RecordWriter, alert_bytes

LENGTHS = [0, 1, MAX_PLAINTEXT - 1, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 3 * MAX_PLAINTEXT, 3 * MAX_PLAINTEXT + 7]


def pieces(data: bytes) -> list[bytes]:
    """As section 5.1 wants it: full records, then the rest; nothing for nothing."""
    return [data[start : start + MAX_PLAINTEXT] for start in range(0, len(data), MAX_PLAINTEXT)]


def writer_under(secret: TrafficSecret) -> RecordWriter:
    writer = RecordWriter()
    writer.change_keys(secret)
    return writer


@pytest.mark.parametrize("length", LENGTHS)
class TestCutting:
    def test_plaintext(self, length: int) -> None:
        data = bytes(range(256)) * (length // 256 + 1)
        writer = RecordWriter()
        writer.write(HANDSHAKE, data[:length])
        assert writer.drain() == b"".join(plain(HANDSHAKE, piece) for piece in pieces(data[:length]))

    @pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.number.name)
    def test_protected(self, length: int, suite: Suite) -> None:
        secret = TrafficSecret(suite, b"s" * suite.hash_length)
        data = bytes(range(256)) * (length // 256 + 1)
        writer, sealer = writer_under(secret), Sealer(secret)
        writer.write(DATA, data[:length])
        assert writer.drain() == b"".join(sealer.record(DATA, piece) for piece in pieces(data[:length]))

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    @pytest.mark.parametrize("secret", [None, SECRET])
    def test_any_buffer(self, length: int, kind: type, secret: TrafficSecret | None) -> None:
        def sealed(data: bytes | bytearray | memoryview) -> bytes:
            writer = RecordWriter()
            if secret is not None:
                writer.change_keys(secret)
            writer.write(DATA, data)
            return writer.drain()

        assert sealed(kind(bytes(length))) == sealed(bytes(length))


@pytest.mark.parametrize("version", [0x0301, 0x0303])
def test_version_of_a_plaintext_record(version: int) -> None:
    writer = RecordWriter()
    writer.write(HANDSHAKE, b"hello", version=version)
    assert writer.drain() == plain(HANDSHAKE, b"hello", version)


def test_version_of_a_protected_record_is_always_the_same() -> None:
    writer = writer_under(SECRET)
    writer.write(HANDSHAKE, b"hello", version=0x0301)
    assert writer.drain() == Sealer().record(HANDSHAKE, b"hello")


class TestSequence:
    def test_goes_on_over_calls_and_drains(self) -> None:
        writer, sealer = writer_under(SECRET), Sealer()
        for kind, content in ((HANDSHAKE, b"1"), (DATA, b"2"), (ALERT, b"\1\0"), (DATA, b"3")):
            writer.write(kind, content)
            assert writer.drain() == sealer.record(kind, content)

    def test_starts_again_with_new_keys(self) -> None:
        writer = writer_under(SECRET)
        writer.write(DATA, b"1")
        writer.change_keys(OTHER_SECRET)
        writer.write(DATA, b"2")
        assert writer.drain() == Sealer().record(DATA, b"1") + Sealer(OTHER_SECRET).record(DATA, b"2")

    def test_records_before_the_change_keep_their_keys(self) -> None:
        writer = RecordWriter()
        writer.write(HANDSHAKE, b"plain")
        writer.change_keys(SECRET)
        writer.write(HANDSHAKE, b"protected")
        assert writer.drain() == plain(HANDSHAKE, b"plain") + Sealer().record(HANDSHAKE, b"protected")

    def test_mark_uses_no_number_and_no_key(self) -> None:
        writer, sealer = writer_under(SECRET), Sealer()
        writer.write(DATA, b"1")
        writer.write_change_cipher_spec()
        writer.write(DATA, b"2")
        assert writer.drain() == sealer.record(DATA, b"1") + COMPATIBILITY_MARK + sealer.record(DATA, b"2")

    def test_left_is_counted_down_by_records(self) -> None:
        writer = writer_under(SECRET)
        assert writer.records_left == SUITE.record_limit
        writer.write(DATA, bytes(3 * MAX_PLAINTEXT))
        writer.write(ALERT, b"\1\0")
        assert writer.records_left == SUITE.record_limit - 4
        writer.write(DATA, b"")
        assert writer.records_left == SUITE.record_limit - 4
        writer.change_keys(OTHER_SECRET)
        assert writer.records_left == SUITE.record_limit


class TestDrain:
    def test_nothing_is_given_twice(self) -> None:
        writer = RecordWriter()
        assert not writer.pending
        assert writer.drain() == b""
        writer.write(HANDSHAKE, b"x")
        assert writer.pending
        assert writer.drain() == plain(HANDSHAKE, b"x")
        assert not writer.pending
        assert writer.drain() == b""

    def test_nothing_is_kept(self) -> None:
        writer = writer_under(SECRET)
        writer.write(DATA, bytes(1 << 20))
        writer.drain()
        assert writer._out == []

    def test_empty_writes_leave_nothing_pending(self) -> None:
        for writer in (RecordWriter(), writer_under(SECRET)):
            writer.write(DATA, b"")
            assert not writer.pending

    def test_what_was_written_is_not_looked_at_again(self) -> None:
        """A caller may use the buffer for something else as soon as write() has returned."""
        for writer in (RecordWriter(), writer_under(SECRET)):
            data = bytearray(b"content")
            writer.write(DATA, memoryview(data))
            expected = RecordWriter() if writer._aead is None else writer_under(SECRET)
            expected.write(DATA, b"content")
            data[:] = b"changed"
            data.clear()
            assert writer.drain() == expected.drain()


class TestAlerts:
    @pytest.mark.parametrize("alert", AlertDescription, ids=str)
    def test_level(self, alert: AlertDescription) -> None:
        """Section 6: fatal, all but the two closure alerts."""
        warning = alert in (AlertDescription.close_notify, AlertDescription.user_canceled)
        assert alert_bytes(alert) == bytes([1 if warning else 2, alert])

    def test_a_record_of_its_own(self) -> None:
        writer = writer_under(SECRET)
        writer.write_alert(AlertDescription.close_notify)
        assert writer.drain() == Sealer().record(ALERT, b"\1\0")
        writer = RecordWriter()
        writer.write_alert(AlertDescription.decode_error)
        assert writer.drain() == plain(ALERT, b"\2\62")


WRITES = st.lists(st.tuples(st.sampled_from([HANDSHAKE, ALERT, DATA]), st.integers(0, 40000)), max_size=6)


@bounded(60)
@given(writes=WRITES, chunk=st.integers(1, 5000))
def test_reader_gets_what_was_written(writes: list[tuple[int, int]], chunk: int) -> None:
    writer, reader = writer_under(SECRET), RecordReader()
    reader.change_keys(SECRET)
    for kind, length in writes:
        writer.write(kind, bytes([length % 256]) * length)
    data = writer.drain()
    found: list[tuple[int, bytes]] = []
    for start in range(0, len(data), chunk):
        reader.feed(data[start : start + chunk])
        while (record := reader.read()) is not None:
            found.append(record)
    assert found == [(kind, piece) for kind, length in writes for piece in pieces(bytes([length % 256]) * length)]
