"""Bytes between an engine and two BIOs, one record at a time.

SSL_read(3) promises that a call takes from the transport what it needs and no more: the five bytes of a record's header
(RFC 9846 section 5.1), then as many as the header announces. What follows the record stays where it is, so that a
program may hand the transport to somebody else, ``select`` tells the truth, and a BIO pair can say how many bytes the
next step needs. The only framing done here is that arithmetic. Every byte goes to the engine as soon as it was read,
once and in order, and the engine alone judges it.

With ``read_ahead`` the transport is read in large pieces; the engine still gets one record at a time.
"""

from __future__ import annotations

from typing import Final

from tlsprovider.ssl.bio import BIO, RetryReason
from tlsprovider.ssl.bio_socket import SocketBIO
from tlsprovider.ssl.codes import ErrorCode

__all__ = ["Stuck", "Transport"]

HEADER_LENGTH: Final = 5
MAX_CIPHERTEXT: Final = (1 << 14) + 256
CONTENT_TYPES: Final = range(20, 24)
AHEAD: Final = 4 * (HEADER_LENGTH + MAX_CIPHERTEXT)


class Stuck(Exception):
    """A BIO asks for a retry. Nothing is wrong; ``code`` says what to wait for."""

    def __init__(self, code: ErrorCode) -> None:
        super().__init__(code)
        self.code = code


class Transport:
    """The two BIOs of one SSL object and what is on the way: half-read records, bytes that could not be sent yet."""

    def __init__(self, rbio: BIO | None = None, wbio: BIO | None = None) -> None:
        self.rbio = rbio
        self.wbio = wbio
        self.read_ahead = False
        # Why writing failed. Reading may go on: what the peer had sent before is still there.
        self.write_error: OSError | None = None
        self._header = bytearray()
        self._missing = HEADER_LENGTH
        self._ahead = bytearray()
        self._unsent = memoryview(b"")

    def peer_address(self) -> tuple[str, int] | None:
        """``(host, port)`` where the BIO to read from is a socket of the internet."""
        return self.rbio.peer_address() if isinstance(self.rbio, SocketBIO) else None

    def acknowledge_now(self) -> None:
        """Nothing answers what was read last: see :mod:`tlsprovider.quick_ack`."""
        if isinstance(self.rbio, SocketBIO):
            self.rbio.acknowledge_now()

    def anew(self) -> Transport:
        """For a new connection over the same BIOs."""
        other = Transport(self.rbio, self.wbio)
        other.read_ahead = self.read_ahead
        return other

    def replace(self, rbio: BIO | None, wbio: BIO | None) -> None:
        """Use other BIOs; those that are not used any more are closed, each once."""
        old = {id(bio): bio for bio in (self.rbio, self.wbio) if bio is not None}
        self.rbio, self.wbio = rbio, wbio
        for bio in old.values():
            if bio is not rbio and bio is not wbio:
                bio.close()

    # -- reading ----------------------------------------------------------------------------------------------------

    @property
    def between_records(self) -> bool:
        return not self._header

    @property
    def holds_input(self) -> bool:
        """Whether bytes were read that are not a whole record yet, or belong to records to come."""
        return bool(self._header or self._ahead)

    @property
    def suspicious(self) -> bool:
        """Whether the header just read can't be that of a record: waiting for its body could take for ever."""
        header = self._header
        return len(header) == HEADER_LENGTH and (
            header[0] not in CONTENT_TYPES or header[1] != 3 or int.from_bytes(header[3:], "big") > MAX_CIPHERTEXT
        )

    def receive(self) -> bytes:
        """The next bytes of the record that is being read; ``b""`` when the transport has ended.

        Raises Stuck, and OSError when the transport failed.
        """
        data = self._take_ahead() if self.read_ahead or self._ahead else self._read(self._missing)
        if len(self._header) < HEADER_LENGTH:
            self._header += data
            self._missing = HEADER_LENGTH - len(self._header)
            if not self._missing:
                self._missing = int.from_bytes(self._header[3:], "big")
        else:
            self._missing -= len(data)
        if not self._missing:
            self._header.clear()
            self._missing = HEADER_LENGTH
        return data

    def _take_ahead(self) -> bytes:
        if not self._ahead:
            self._ahead += self._read(AHEAD)
        data = bytes(self._ahead[: self._missing])
        del self._ahead[: self._missing]
        return data

    def _read(self, limit: int) -> bytes:
        bio = self.rbio
        assert bio is not None
        data = bio.read(limit)
        if not data:
            if bio.should_retry():
                raise Stuck(_waiting_for(bio))
            if bio.error is not None:
                raise bio.error
        return data

    # -- writing ----------------------------------------------------------------------------------------------------

    @property
    def unsent(self) -> int:
        """Bytes that the transport had no room for."""
        return len(self._unsent)

    def send(self, data: bytes = b"") -> None:
        """Send what was left over and then ``data``, all of it. Raises Stuck (the rest is kept), and OSError."""
        if self.write_error is not None:
            raise self.write_error
        if data:
            self._unsent = memoryview(bytes(self._unsent) + data) if self._unsent else memoryview(data)
        try:
            self._push()
        except OSError as problem:
            self.write_error = problem.with_traceback(None)
            self._unsent = memoryview(b"")
            raise

    def _push(self) -> None:
        bio = self.wbio
        assert bio is not None
        while self._unsent:
            taken = bio.write(self._unsent)
            if taken <= 0:
                self._blocked(bio)
            self._unsent = self._unsent[taken:]
        if bio.flush() <= 0:
            self._blocked(bio)

    def _blocked(self, bio: BIO) -> None:
        if bio.should_retry():
            raise Stuck(_waiting_for(bio))
        raise bio.error or BrokenPipeError("the BIO took no bytes")


def _waiting_for(bio: BIO) -> ErrorCode:
    """What a BIO that asks for a retry waits for."""
    if bio.should_io_special():
        return ErrorCode.WANT_ACCEPT if bio.get_retry_reason() is RetryReason.ACCEPT else ErrorCode.WANT_CONNECT
    return ErrorCode.WANT_READ if bio.should_read() else ErrorCode.WANT_WRITE
