"""The record layer, RFC 9846 section 5: framing and protection.

Two objects, because the two directions never share anything: a :class:`RecordReader` turns what arrived into content,
a :class:`RecordWriter` turns content into what should be sent. Together with ``wire`` this is the only place that looks
at a stranger's bytes, and everything it can find there is either content, "not yet", or a ``PeerFault``.

The reader has two speeds. During the handshake :meth:`RecordReader.read` gives one record at a time, since each may
change the keys for the next. Afterwards :meth:`RecordReader.read_application` decrypts every complete record of a
network read into one buffer, back to back: each record's plaintext overwrites the content type that ends the one
before, so nothing is copied twice and all of it is handed out in one piece.
"""

from __future__ import annotations

from io import BytesIO
from struct import Struct
from typing import Final

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import AEAD, IV_LENGTH, TAG_LENGTH, InvalidTag
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import AlertDescription, ContentType
from tlsprovider.reassembly import HandshakeBuffer

__all__ = ["HandshakeBuffer", "RecordReader", "RecordWriter"]

HEADER_LENGTH: Final = 5
MAX_PLAINTEXT: Final = 1 << 14
MAX_CIPHERTEXT: Final = MAX_PLAINTEXT + 256
# Content, content type and padding together (section 5.4).
MAX_INNER: Final = MAX_PLAINTEXT + 1

# A record that carries nothing costs its receiver a decryption; more than this many in a row are an attack.
MAX_EMPTY_RECORDS: Final = 16
# In compatibility mode a peer sends one change_cipher_spec, or two around HelloRetryRequest (appendix E.4).
MAX_CHANGE_CIPHER_SPECS: Final = 2
# What a record of rejected early data counts for at the least: so there are at most 256 of them.
MIN_SKIPPED: Final = 64
# Decrypted in one go at the most, so that records of other types in between can't make us allocate for all the rest
# again and again: a network read of 128 KiB, and a record that it completes.
MAX_RUN: Final = (1 << 17) + HEADER_LENGTH + MAX_CIPHERTEXT

# Plain numbers: the hot path compares them with bytes of a buffer.
CHANGE_CIPHER_SPEC: Final = int(ContentType.change_cipher_spec)
ALERT: Final = int(ContentType.alert)
HANDSHAKE: Final = int(ContentType.handshake)
APPLICATION_DATA: Final = int(ContentType.application_data)
# What follows the content inside a protected record (section 5.2).
_ENDINGS: Final = tuple(bytes((number,)) for number in range(256))
# What protection adds to the content: its type, and the tag.
_OVERHEAD: Final = 1 + TAG_LENGTH
# The header of a protected record as a number, which the length of what follows is to be added to.
_HEADER: Final = 0x17_0303_0000
# Copying more than this costs more than what it takes to do without a copy.
_LARGE: Final = 4096
# Type, version (only its first byte counts) and length.
# Type, version, length.
_HEADER_FORM: Final = Struct(">BHH")
_pack_header, _unpack_header = _HEADER_FORM.pack, _HEADER_FORM.unpack_from


def alert_bytes(description: AlertDescription) -> bytes:
    """An alert of section 6: its level only says whether it is one of the two closure alerts."""
    closure = description in (AlertDescription.close_notify, AlertDescription.user_canceled)
    return bytes((1 if closure else 2, description))


class RecordReader:
    """What the peer sends: bytes in with :meth:`feed`, records out."""

    __slots__ = (
        "_aead",
        "_buffer",
        "_change_cipher_specs",
        "_empty_records",
        "_iv",
        "_lacking",
        "_opened_any",
        "_sequence",
        "allow_change_cipher_spec",
        "handshake",
        "skippable",
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
        # So many bytes the first record in the buffer lacks, if read_application() has seen its header; else 0.
        self._lacking = 0
        self._aead: AEAD | None = None
        self._iv = 0
        self._sequence = 0
        self._opened_any = False
        self._empty_records = 0
        self._change_cipher_specs = 0
        # Section 5: from the first ClientHello until the peer's Finished.
        self.allow_change_cipher_spec = False
        # Section 4.3.10: so many bytes of early data, which this side rejects, may still be passed over; None: no more.
        self.skippable: int | None = None
        self.handshake = HandshakeBuffer()

    @property
    def buffered(self) -> int:
        """Bytes that arrived and were not read yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        self._buffer += data
        self._lacking = 0

    def take_rest(self) -> bytes:
        """Everything not read yet, as it came: after close_notify it isn't TLS."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self._lacking = 0
        return rest

    def change_keys(self, secret: TrafficSecret) -> None:
        """From now on records are protected under ``secret``. No message may run across the change (section 5.1)."""
        if self.handshake.waiting:
            raise PeerFault(Fault.KEY_CHANGE_SPLIT)
        self._aead, self._iv = secret.keys()
        self._sequence = 0

    def forget(self) -> None:
        """The connection has failed: let go of the key, and of everything that was not read (section 6)."""
        self._aead, self._iv = None, 0
        self._buffer.clear()
        self._lacking = 0
        self.handshake = HandshakeBuffer()

    def read(self) -> tuple[int, bytes] | None:
        """The next record that carries something, as ``(content type, content)``; None when it isn't all there."""
        buffer = self._buffer
        while len(buffer) >= HEADER_LENGTH:
            # A header is checked as soon as its five bytes are there.
            outer_type, version, length = _unpack_header(buffer)
            if version >> 8 != 3 or length > MAX_PLAINTEXT or not CHANGE_CIPHER_SPEC <= outer_type <= APPLICATION_DATA:
                self._check_header(outer_type, version, length)
            if len(buffer) < HEADER_LENGTH + length:
                return None
            record = self._open(outer_type, length)
            if record is None:
                continue
            content_type, content = record
            if content_type != HANDSHAKE and self.handshake.waiting:
                raise PeerFault(Fault.INTERLEAVED, str(ContentType(content_type)))
            if content:
                self._empty_records = 0
                return record
            self._count_empty(content_type)
        if buffer and not CHANGE_CIPHER_SPEC <= buffer[0] <= APPLICATION_DATA:
            raise self._not_tls()
        return None

    def _check_header(self, outer_type: int, version: int, length: int) -> None:
        """What is unusual about a header has to be a protected record of more than 16 KiB, padding included."""
        if not CHANGE_CIPHER_SPEC <= outer_type <= APPLICATION_DATA:
            raise self._not_tls()
        if version >> 8 != 3:
            raise PeerFault(Fault.RECORD_VERSION, f"0x{version:04x}")
        # Early data that is passed over is protected, though not under keys of ours.
        plaintext = self._aead is None and (self.skippable is None or outer_type != APPLICATION_DATA)
        if length > (MAX_PLAINTEXT if plaintext else MAX_CIPHERTEXT):
            raise PeerFault(Fault.RECORD_OVERFLOW, f"{length} bytes")

    def _not_tls(self) -> PeerFault:
        start = bytes(self._buffer[:HEADER_LENGTH])
        if self._aead is not None or self._change_cipher_specs:
            return PeerFault(Fault.PLAINTEXT_RECORD_TYPE, f"0x{start[0]:02x}")
        words = (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI ", b"HTTP", b"CONN")
        plain = ": these are the words of plain HTTP" if start[:4] in words else ""
        return PeerFault(Fault.NOT_TLS, f"it begins with {start!r}{plain}")

    def _open(self, outer_type: int, length: int) -> tuple[int, bytes] | None:
        """Take one record off the buffer; None for one that is dropped."""
        buffer = self._buffer
        header = bytes(buffer[:HEADER_LENGTH])
        payload = bytes(buffer[HEADER_LENGTH : HEADER_LENGTH + length])
        del buffer[: HEADER_LENGTH + length]
        if outer_type == CHANGE_CIPHER_SPEC:
            self._check_change_cipher_spec(payload)
            return None
        aead = self._aead
        if aead is None:
            if outer_type != APPLICATION_DATA:
                return outer_type, payload
            # Between HelloRetryRequest and the second ClientHello early data is known by its outer type.
            self._skip(length, Fault.UNEXPECTED_APPLICATION_DATA)
            return None
        if outer_type != APPLICATION_DATA:
            # A peer that could not even derive keys says so in plaintext. Believing it costs nothing that cutting
            # the wire wouldn't cost, and only until the first record has proven that it has the keys.
            if outer_type == ALERT and not self._opened_any and length == 2:
                return outer_type, payload
            raise PeerFault(Fault.PLAINTEXT_RECORD_TYPE, str(ContentType(outer_type)))
        if length < TAG_LENGTH:
            self._skip(length, Fault.RECORD_TOO_SHORT)
            return None
        try:
            inner = aead.decrypt((self._iv ^ self._sequence).to_bytes(IV_LENGTH, "big"), payload, header)
        except InvalidTag:
            self._skip(length, Fault.BAD_RECORD_MAC)
            return None
        self._sequence += 1
        self._opened_any = True
        self.skippable = None
        return self._strip_padding(inner)

    def _skip(self, length: int, otherwise: Fault) -> None:
        """Pass over a record of early data that was rejected: it is under keys that this side doesn't have."""
        if self.skippable is None:
            raise PeerFault(otherwise)
        # An empty record is not free either, or it could be sent for ever.
        cost = max(length, MIN_SKIPPED)
        if cost > self.skippable:
            raise PeerFault(Fault.TOO_MUCH_EARLY_DATA)
        self.skippable -= cost

    def _strip_padding(self, inner: bytes) -> tuple[int, bytes]:
        """TLSInnerPlaintext to content: the last byte that isn't zero is the type (section 5.4)."""
        if len(inner) > MAX_INNER:
            raise PeerFault(Fault.RECORD_OVERFLOW, f"{len(inner)} bytes after decryption")
        if not inner or inner[-1] == 0:
            inner = inner.rstrip(b"\0")
            if not inner:
                raise PeerFault(Fault.NO_INNER_TYPE)
        content_type = inner[-1]
        if content_type not in (ALERT, HANDSHAKE, APPLICATION_DATA):
            raise PeerFault(Fault.INNER_TYPE, str(ContentType(content_type)))
        return content_type, inner[:-1]

    def _count_empty(self, content_type: int) -> None:
        """Section 5.1: application data may be empty, if not too often in a row; nothing else may."""
        if content_type != APPLICATION_DATA:
            raise PeerFault(Fault.EMPTY_FRAGMENT, str(ContentType(content_type)))
        self._empty_records += 1
        if self._empty_records > MAX_EMPTY_RECORDS:
            raise PeerFault(Fault.TOO_MANY_EMPTY_RECORDS)

    def _check_change_cipher_spec(self, payload: bytes) -> None:
        """Drop the one that compatibility mode allows (section 5); anything else is a fault."""
        self._change_cipher_specs += 1
        if not self.allow_change_cipher_spec:
            raise PeerFault(Fault.CHANGE_CIPHER_SPEC, "not at this point")
        if payload != b"\x01":
            raise PeerFault(Fault.CHANGE_CIPHER_SPEC, "not the single byte 1")
        if self._change_cipher_specs > MAX_CHANGE_CIPHER_SPECS:
            raise PeerFault(Fault.CHANGE_CIPHER_SPEC, f"more than {MAX_CHANGE_CIPHER_SPECS}")
        if self.handshake:
            raise PeerFault(Fault.INTERLEAVED, "change_cipher_spec")

    def read_one(self, data: bytes | bytearray | memoryview) -> bytes | None:
        """The content of ``data``, if it is exactly one plain record of application data and nothing waits before it.

        By far the most frequent case of small messages. None: nothing was touched, :meth:`read_application` is to look.
        """
        length = len(data) - HEADER_LENGTH
        # ``waiting`` and not the truth of the buffer itself: that would be a call for each record.
        if not _OVERHEAD < length <= MAX_PLAINTEXT + _OVERHEAD or self._buffer or self.handshake.waiting:
            return None
        header = (_HEADER + length).to_bytes(HEADER_LENGTH)
        if data[:HEADER_LENGTH] != header:
            return None
        aead, sequence = self._aead, self._sequence
        assert aead is not None, "application data is read only under keys"
        sealed = data[HEADER_LENGTH:] if length < _LARGE else memoryview(data)[HEADER_LENGTH:]
        try:
            inner = aead.decrypt((self._iv ^ sequence).to_bytes(IV_LENGTH), sealed, header)
        except InvalidTag:
            return None
        if inner[-1] != APPLICATION_DATA:
            return None
        self._sequence = sequence + 1
        self._empty_records = 0
        if length < _LARGE:
            return inner[:-1]
        # The same without a copy, if nobody else knows ``inner``.
        content = BytesIO(inner)
        del inner
        content.truncate(length - _OVERHEAD)
        return content.getvalue()

    def read_application(self, data: bytes | bytearray | memoryview, chunks: list[bytes]) -> tuple[int, bytes] | None:
        """After the handshake: decrypt all complete records in what is buffered and in ``data``.

        Application data is appended to ``chunks``, as one piece where it isn't much. The first record of another type
        is given back at once, since it may change the keys for those behind it; then call again with ``b""``. None:
        nothing is left.
        """
        buffer, lacking = self._buffer, self._lacking
        if lacking > len(data):
            # A network cuts a record into a dozen pieces: only the last of them gives something to do.
            buffer += data
            self._lacking = lacking - len(data)
            return None
        self._lacking = 0
        if self.handshake.waiting:
            buffer += data
            return self.read()
        with memoryview(data) as view:
            # Of a record that was cut only what it lacks is copied.
            position = (lacking or len(view)) if buffer else 0
            buffer += view[:position]
            position, other, fault = self._decrypt_all(view, position, chunks)
            buffer += view[position:]
        if fault is not None:
            raise fault
        return other if other is not None or not buffer or self._is_cut() else self.read()

    def _decrypt_all(
        self, view: memoryview, position: int, chunks: list[bytes]
    ) -> tuple[int, tuple[int, bytes] | None, PeerFault | None]:
        """Runs through the buffer and then ``view[position:]``; see :meth:`_decrypt_run`.

        What two network reads have cut goes into one piece, with all that is whole in the second.
        """
        buffer = self._buffer
        other: tuple[int, bytes] | None = None
        fault: PeerFault | None = None
        while other is None and fault is None:
            size = min(len(buffer) + len(view) - position, MAX_RUN)
            begin, front, written = position, 0, 0
            output = BytesIO(bytes(size))
            with output.getbuffer() as target:
                if buffer:
                    with memoryview(buffer) as waiting:
                        front, written, other, fault = self._decrypt_run(waiting, 0, size, target, 0)
                if front == len(buffer) and other is None and fault is None:
                    end = position + size - front
                    position, written, other, fault = self._decrypt_run(view, position, end, target, written)
            if front:
                del buffer[:front]
            if written:
                # Neither copies: the bytes that were made first are made shorter.
                output.truncate(written)
                chunks.append(output.getvalue())
            if size < MAX_RUN or front + position == begin:
                break
        return position, other, fault

    def _is_cut(self) -> bool:
        """Whether the buffer begins with a record of application data, as usual, that isn't all there; see _lacking."""
        buffer = self._buffer
        if len(buffer) < HEADER_LENGTH:
            return False
        kind, version, length = _unpack_header(buffer)
        lacking = HEADER_LENGTH + length - len(buffer)
        if lacking <= 0 or kind != APPLICATION_DATA or version != 0x0303 or length > MAX_CIPHERTEXT:
            return False
        self._lacking = lacking
        return True

    def _decrypt_run(
        self, view: memoryview, position: int, end: int, target: memoryview, written: int
    ) -> tuple[int, int, tuple[int, bytes] | None, PeerFault | None]:
        """Decrypt records back to back while they are complete application_data records.

        From ``view[position:end]`` to ``target[written:]``, which is long enough. Gives ``position`` and ``written`` as
        they are afterwards, a record of another type, and what was wrong. It stops, and leaves the judgement to
        :meth:`read`, at everything that is unusual. The fault is returned, not raised: the plaintext before it counts.
        """
        assert self._aead is not None, "application data is read only under keys"
        decrypt_into = self._aead.decrypt_into
        iv, sequence = self._iv, self._sequence
        end = min(end, len(view))
        other: tuple[int, bytes] | None = None
        fault: PeerFault | None = None
        while (body := position + HEADER_LENGTH) <= end:
            kind, version, length = _unpack_header(view, position)
            stop, tail = body + length, written + length - TAG_LENGTH
            if kind != APPLICATION_DATA or version != 0x0303 or stop > end or not 0 < tail - written <= MAX_INNER:
                break
            header = (_HEADER + length).to_bytes(HEADER_LENGTH)
            nonce = (iv ^ sequence).to_bytes(IV_LENGTH)
            try:
                # No name for any part of a view: the traceback of a fault would keep it.
                decrypt_into(nonce, view[body:stop], header, target[written:tail])
            except InvalidTag:
                break
            sequence += 1
            position = stop
            last = tail - 1
            if target[last] != APPLICATION_DATA or last == written:
                # Padding, another type, or nothing at all.
                try:
                    content_type, content = self._strip_padding(bytes(target[written:tail]))
                    if content:
                        self._empty_records = 0
                    else:
                        self._count_empty(content_type)
                except PeerFault as found:
                    fault = found
                    break
                if content_type != APPLICATION_DATA:
                    other = (content_type, content)
                    break
                last = written + len(content)
            elif self._empty_records:
                self._empty_records = 0
            written = last
        self._sequence = sequence
        self._opened_any = True
        return position, written, other, fault


class RecordWriter:
    """What goes to the peer: content in, records out with :meth:`drain`."""

    __slots__ = ("_aead", "_iv", "_out", "_sequence", "records_left")

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._aead: AEAD | None = None
        self._iv = 0
        self._sequence = 0
        # How many records the current key may still protect (section 5.5).
        self.records_left = 0

    def change_keys(self, secret: TrafficSecret) -> None:
        self._aead, self._iv = secret.keys()
        self._sequence = 0
        self.records_left = secret.suite.record_limit

    def unprotect(self) -> None:
        """Back to plaintext, for the hello that follows early data and a HelloRetryRequest."""
        self._aead, self._iv = None, 0

    def forget(self) -> None:
        """The connection has failed: let go of the key (section 6). What was written before is still to be sent."""
        self._aead, self._iv = None, 0

    def write(self, content_type: int, data: bytes | bytearray | memoryview, version: int = 0x0303) -> None:
        """Cut ``data`` into records and protect them under the current keys, if there are any.

        ``version`` goes into the header of a plaintext record; it means nothing (section 5.1).
        """
        if self._aead is None:
            self._write_plaintext(content_type, data, version)
        elif 0 < len(data) <= MAX_PLAINTEXT:
            self.write_one(content_type, data)
        elif data:
            self._write_many(self._aead, _ENDINGS[content_type], data)

    def write_one(self, content_type: int, data: bytes | bytearray | memoryview) -> None:
        """What :meth:`write` does when there are keys, and some data that fits into one record."""
        aead, sequence = self._aead, self._sequence
        assert aead is not None, "nothing is protected without keys"
        # This is the one copy that is needed: the content type has to follow the content (section 5.2).
        ending = _ENDINGS[content_type]
        inner = data + ending if type(data) is bytes else b"".join((data, ending))
        header = (_HEADER + TAG_LENGTH + len(inner)).to_bytes(HEADER_LENGTH)
        # Before anything can leave: whatever interrupts this, the number is never used again.
        self._sequence = sequence + 1
        self.records_left -= 1
        self._out.append(header + aead.encrypt((self._iv ^ sequence).to_bytes(IV_LENGTH), inner, header))

    def _write_many(self, aead: AEAD, ending: bytes, data: bytes | bytearray | memoryview) -> None:
        """What :meth:`write_one` does, in a loop and into one buffer."""
        iv, sequence, length = self._iv, self._sequence, len(data)
        count = -(-length // MAX_PLAINTEXT)
        output = BytesIO(bytes(length + count * (HEADER_LENGTH + _OVERHEAD)))
        position = 0
        with memoryview(data) as source, output.getbuffer() as target:
            for start in range(0, length, MAX_PLAINTEXT):
                inner = b"".join((source[start : start + MAX_PLAINTEXT], ending))
                header = (_HEADER + TAG_LENGTH + len(inner)).to_bytes(HEADER_LENGTH)
                body = position + HEADER_LENGTH
                target[position:body] = header
                position = body + len(inner) + TAG_LENGTH
                aead.encrypt_into((iv ^ sequence).to_bytes(IV_LENGTH), inner, header, target[body:position])
                sequence += 1
        self._sequence = sequence
        self.records_left -= count
        self._out.append(output.getvalue())

    def _write_plaintext(self, content_type: int, data: bytes | bytearray | memoryview, version: int) -> None:
        for position in range(0, len(data), MAX_PLAINTEXT):
            fragment = data[position : position + MAX_PLAINTEXT]
            self._out.append(b"".join((_pack_header(content_type, version, len(fragment)), fragment)))

    def write_change_cipher_spec(self) -> None:
        """The dummy of compatibility mode, never protected (appendix E.4)."""
        self._out.append(b"\x14\x03\x03\x00\x01\x01")

    def write_alert(self, description: AlertDescription) -> None:
        self.write(ALERT, alert_bytes(description))

    @property
    def pending(self) -> bool:
        return bool(self._out)

    def drain(self) -> bytes:
        """Everything written since the last call."""
        out = self._out
        if len(out) == 1:
            return out.pop()
        self._out = []
        return b"".join(out)
