"""The transcript hash, RFC 9846 section 4.1.

Which hash is known only once the server has chosen the suite, so the first messages wait as bytes; then one hash runs.
"""

from __future__ import annotations

import hashlib
from typing import Final

__all__ = ["Transcript"]

# Those of the suites; by name through hashlib.new() each would cost twice as much.
_CONSTRUCTORS: Final = {"sha256": hashlib.sha256, "sha384": hashlib.sha384}


class Transcript:
    """The handshake messages so far, in order, as bytes on the wire without record headers."""

    __slots__ = ("_hash", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._hash: hashlib._Hash | None = None

    def add(self, message: bytes) -> None:
        if self._hash is None:
            self._waiting.append(message)
        else:
            self._hash.update(message)

    def start(self, hash_name: str) -> None:
        """The suite is known: hash what has waited, and everything from now on. Doing it again changes nothing."""
        if self._hash is None:
            self._hash = _CONSTRUCTORS[hash_name](b"".join(self._waiting))
            self._waiting.clear()

    def restart(self, hash_name: str) -> None:
        """HelloRetryRequest: the first ClientHello is replaced by a message_hash message that holds its hash."""
        digest = _CONSTRUCTORS[hash_name](b"".join(self._waiting)).digest()
        self._waiting.clear()
        self._hash = _CONSTRUCTORS[hash_name](b"\xfe\x00\x00" + len(digest).to_bytes(1, "big") + digest)

    def digest_with(self, hash_name: str, message: bytes) -> bytes:
        """Transcript-Hash of everything so far and ``message``, which is not kept (section 4.3.11.2).

        ``hash_name`` counts only while nothing has decided which hash it is.
        """
        running = _CONSTRUCTORS[hash_name](b"".join(self._waiting)) if self._hash is None else self._hash.copy()
        running.update(message)
        return running.digest()

    def digest(self) -> bytes:
        """Transcript-Hash of everything added so far."""
        assert self._hash is not None, "the transcript is read only after start()"
        return self._hash.copy().digest()
