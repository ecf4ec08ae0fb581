"""The record layer, RFC 9846 section 5: framing, protection, and handshake messages put together from fragments.

Two objects, because the two directions never share anything: a :class:`RecordReader` turns what arrived into content,
a :class:`RecordWriter` turns content into what should be sent. Together with ``wire`` this is the only place that looks
at a stranger's bytes, and everything it can find there is either content, "not yet", or a ``PeerFault``.

The reader has two speeds. During the handshake :meth:`RecordReader.read` gives one record at a time, since each may
change the keys for the next. Afterwards :meth:`RecordReader.read_application` decrypts every complete record of a
network read into one buffer, back to back: each record's plaintext overwrites the content type that ends the one
before, so nothing is copied twice and all of it is handed out in one piece.
"""

from __future__ import annotations

import struct
from typing import Final

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import AEAD, IV_LENGTH, TAG_LENGTH, InvalidTag
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import AlertDescription, ContentType, HandshakeType

__all__ = ["HandshakeBuffer", "RecordReader", "RecordWriter"]

HEADER_LENGTH: Final = 5
# Type, the first byte of the version, which is all of it that counts, and length.
_HEADER: Final = struct.Struct(">BBxH")
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
# again and again.
MAX_RUN: Final = 1 << 17
# Nobody needs longer messages than these, and whoever announces one only wants us to wait and to buffer.
MAX_HANDSHAKE_MESSAGE: Final = 64 * 1024
# Three post-quantum key shares and every extension there is fit into a quarter of this.
MAX_CLIENT_HELLO: Final = 24 * 1024
# Ten certificates with ML-DSA-87 keys and signatures, 7.5 KB each, and what is stapled to them.
MAX_CERTIFICATE_MESSAGE: Final = 100 * 1024
_MESSAGE_LIMITS: Final = {
    int(HandshakeType.client_hello): MAX_CLIENT_HELLO,
    int(HandshakeType.certificate): MAX_CERTIFICATE_MESSAGE,
}

# Plain numbers: the hot path compares them with bytes of a buffer.
CHANGE_CIPHER_SPEC: Final = int(ContentType.change_cipher_spec)
ALERT: Final = int(ContentType.alert)
HANDSHAKE: Final = int(ContentType.handshake)
APPLICATION_DATA: Final = int(ContentType.application_data)
# What follows the content inside a protected record (section 5.2).
_ENDINGS: Final = tuple(bytes((number,)) for number in range(256))


def alert_bytes(description: AlertDescription) -> bytes:
    """An alert of section 6: its level only says whether it is one of the two closure alerts."""
    closure = description in (AlertDescription.close_notify, AlertDescription.user_canceled)
    return bytes((1 if closure else 2, description))


class HandshakeBuffer:
    """Handshake messages out of record fragments: cut and packed in any way that section 5.1 allows."""

    __slots__ = ("_taken", "waiting")

    def __init__(self) -> None:
        self.waiting: bytes | bytearray = b""
        self._taken = 0

    def __bool__(self) -> bool:
        """Whether a message has begun that is not complete."""
        return bool(self.waiting)

    def add(self, fragment: bytes) -> None:
        data = self.waiting
        if not data:
            # As nearly always: the record holds whole messages, which are cut out of it as it is.
            self.waiting = fragment
        elif isinstance(data, bytearray):
            del data[: self._taken]
            data += fragment
        else:
            self.waiting = bytearray(data[self._taken :]) + fragment
        self._taken = 0

    def next_message(self) -> bytes | None:
        """The next whole message with its header, or None. A length that is too large is refused before it arrives."""
        data, start = self.waiting, self._taken
        size, body = len(data), start + 4
        if size < body:
            return None
        length = int.from_bytes(data[start + 1 : body], "big")
        # No limit is lower than this one.
        if length > MAX_CLIENT_HELLO:
            self._check_length(data[start], length)
        end = body + length
        if size < end:
            return None
        if size == end:
            self.waiting, self._taken = b"", 0
        else:
            self._taken = end
        return bytes(data[start:end])

    @staticmethod
    def _check_length(kind: int, length: int) -> None:
        limit = _MESSAGE_LIMITS.get(kind, MAX_HANDSHAKE_MESSAGE)
        if length > limit:
            raise PeerFault(Fault.MESSAGE_TOO_LARGE, f"{HandshakeType(kind)} of {length} bytes, at most {limit}")


class RecordReader:
    """What the peer sends: bytes in with :meth:`feed`, records out."""

    __slots__ = (
        "_aead",
        "_buffer",
        "_change_cipher_specs",
        "_empty_records",
        "_iv",
        "_opened_any",
        "_sequence",
        "allow_change_cipher_spec",
        "handshake",
        "skippable",
    )

    def __init__(self) -> None:
        self._buffer = bytearray()
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

    def take_rest(self) -> bytes:
        """Everything not read yet, as it came: after close_notify it isn't TLS."""
        rest = bytes(self._buffer)
        self._buffer.clear()
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
        self.handshake = HandshakeBuffer()

    def read(self) -> tuple[int, bytes] | None:
        """The next record that carries something, as ``(content type, content)``; None when it isn't all there."""
        buffer = self._buffer
        while len(buffer) >= HEADER_LENGTH:
            # A header is checked as soon as its five bytes are there.
            outer_type, version, length = _HEADER.unpack_from(buffer)
            if version != 3 or length > MAX_PLAINTEXT or not CHANGE_CIPHER_SPEC <= outer_type <= APPLICATION_DATA:
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
        if version != 3:
            raise PeerFault(Fault.RECORD_VERSION, f"0x{version:02x}{self._buffer[2]:02x}")
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
        if not TAG_LENGTH + 1 < length <= MAX_INNER + TAG_LENGTH or self._buffer or self.handshake.waiting:
            return None
        header = data[:HEADER_LENGTH]
        if header != b"\x17\x03\x03" + length.to_bytes(2, "big"):
            return None
        assert self._aead is not None, "application data is read only under keys"
        nonce = (self._iv ^ self._sequence).to_bytes(IV_LENGTH, "big")
        try:
            inner = self._aead.decrypt(nonce, data[HEADER_LENGTH:], header)
        except InvalidTag:
            return None
        if inner[-1] != APPLICATION_DATA:
            return None
        self._sequence += 1
        self._empty_records = 0
        return inner[:-1]

    def read_application(self, data: bytes | bytearray | memoryview, chunks: list[bytes]) -> tuple[int, bytes] | None:
        """After the handshake: decrypt all complete records in what is buffered and in ``data``.

        Application data is appended to ``chunks``, as one piece where it isn't much. The first record of another type
        is given back at once, since it may change the keys for those behind it; then call again with ``b""``. None:
        nothing is left.
        """
        source: bytes | bytearray | memoryview = data
        buffer = self._buffer
        if buffer:
            buffer += data
            # A network cuts a record into a dozen pieces: only the last of them gives something to do.
            if len(buffer) >= HEADER_LENGTH and buffer[0] == APPLICATION_DATA and buffer[1] == 3:
                length = buffer[3] << 8 | buffer[4]
                if len(buffer) - HEADER_LENGTH < length <= MAX_CIPHERTEXT:
                    return None
            source = buffer
        if len(source) < HEADER_LENGTH or self.handshake:
            return self._read_slowly(source)
        position = 0
        with memoryview(source) as view:
            while True:
                with view[position : position + MAX_RUN] as run:
                    consumed, gathered, other, fault = self._decrypt_run(run)
                    rest = len(run) == MAX_RUN
                position += consumed
                if gathered:
                    chunks.append(gathered)
                if not (rest and consumed) or other is not None or fault is not None:
                    break
            if source is not self._buffer:
                self._buffer += view[position:]
        if source is self._buffer:
            del self._buffer[:position]
        if fault is not None:
            raise fault
        if other is not None:
            return other
        return self._read_slowly(self._buffer)

    def _read_slowly(self, source: bytes | bytearray | memoryview) -> tuple[int, bytes] | None:
        """What the fast loop leaves alone: partial headers, and every record that isn't plain application data."""
        if source is not self._buffer:
            self._buffer += source
        return self.read()

    def _decrypt_run(self, view: memoryview) -> tuple[int, bytes, tuple[int, bytes] | None, PeerFault | None]:
        """Decrypt records back to back while they are complete application_data records.

        ``(bytes consumed, plaintext, a record of another type, what was wrong)``. It stops, and leaves the judgement to
        :meth:`read`, at everything that is unusual. The fault is returned, not raised: the plaintext before it counts.
        """
        aead = self._aead
        assert aead is not None, "application data is read only under keys"
        decrypt_into = aead.decrypt_into
        iv, sequence = self._iv, self._sequence
        end = len(view)
        position = written = 0
        output = bytearray(end)
        other: tuple[int, bytes] | None = None
        fault: PeerFault | None = None
        with memoryview(output) as target:
            while end - position >= HEADER_LENGTH and view[position] == APPLICATION_DATA:
                length = view[position + 3] << 8 | view[position + 4]
                body = position + HEADER_LENGTH
                if not TAG_LENGTH < length <= MAX_CIPHERTEXT or view[position + 1] != 3 or end - body < length:
                    break
                stop = written + length - TAG_LENGTH
                try:
                    decrypt_into(
                        (iv ^ sequence).to_bytes(IV_LENGTH, "big"),
                        view[body : body + length],
                        view[position:body],
                        target[written:stop],
                    )
                except InvalidTag:
                    fault = PeerFault(Fault.BAD_RECORD_MAC)
                    break
                sequence += 1
                position = body + length
                last = stop - 1
                if output[last] != APPLICATION_DATA or stop - written > MAX_INNER or last == written:
                    # Padding, another type, or nothing at all.
                    try:
                        content_type, content = self._strip_padding(bytes(target[written:stop]))
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
            gathered = bytes(target[:written])
        self._sequence = sequence
        self._opened_any = True
        return position, gathered, other, fault


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
        aead = self._aead
        length = len(data)
        if aead is None:
            self._write_plaintext(content_type, data, version)
        elif 0 < length <= MAX_PLAINTEXT:
            # Joining is the one copy that is needed: the content type has to follow the content (section 5.2).
            inner = b"".join((data, _ENDINGS[content_type]))
            header = b"\x17\x03\x03" + (length + 1 + TAG_LENGTH).to_bytes(2, "big")
            nonce = (self._iv ^ self._sequence).to_bytes(IV_LENGTH, "big")
            self._out.append(header + aead.encrypt(nonce, inner, header))
            self._sequence += 1
            self.records_left -= 1
        else:
            self._write_many(aead, _ENDINGS[content_type], data)

    def _write_many(self, aead: AEAD, ending: bytes, data: bytes | bytearray | memoryview) -> None:
        """What :meth:`write` does for a single record, in a loop."""
        encrypt, append = aead.encrypt, self._out.append
        iv, sequence = self._iv, self._sequence
        for start in range(0, len(data), MAX_PLAINTEXT):
            inner = b"".join((data[start : start + MAX_PLAINTEXT], ending))
            header = b"\x17\x03\x03" + (len(inner) + TAG_LENGTH).to_bytes(2, "big")
            append(header)
            append(encrypt((iv ^ sequence).to_bytes(IV_LENGTH, "big"), inner, header))
            sequence += 1
        self.records_left -= sequence - self._sequence
        self._sequence = sequence

    def _write_plaintext(self, content_type: int, data: bytes | bytearray | memoryview, version: int) -> None:
        start = _ENDINGS[content_type] + version.to_bytes(2, "big")
        for position in range(0, len(data), MAX_PLAINTEXT):
            fragment = data[position : position + MAX_PLAINTEXT]
            self._out.append(b"".join((start, len(fragment).to_bytes(2, "big"), fragment)))

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
        out, self._out = self._out, []
        return b"".join(out)
