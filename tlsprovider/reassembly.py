"""Handshake messages put together from the fragments that records carry, RFC 9846 section 5.1."""

from __future__ import annotations

from typing import Final

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import HandshakeType

__all__ = ["HandshakeBuffer"]

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
