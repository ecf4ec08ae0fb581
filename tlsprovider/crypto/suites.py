"""Cipher suites: which AEAD, which hash (RFC 9846 appendix B.4), and how much one key may protect (section 5.5)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from hashlib import sha256, sha384
from typing import Final, Protocol

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from cryptography.utils import Buffer

from tlsprovider.iana import CipherSuite

__all__ = ["AEAD", "IV_LENGTH", "SUITES", "TAG_LENGTH", "InvalidTag", "Suite"]

IV_LENGTH: Final = 12
TAG_LENGTH: Final = 16


class AEAD(Protocol):
    """What the record layer needs of a cipher."""

    def encrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...
    def encrypt_into(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, buf: Buffer, /) -> int: ...
    def decrypt(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, /) -> bytes: ...
    def decrypt_into(self, nonce: Buffer, data: Buffer, associated_data: Buffer | None, buf: Buffer, /) -> int: ...


@attrs.frozen
class Suite:
    """Lengths are in bytes; ``record_limit``: records that one sending key may protect before it has to change."""

    number: CipherSuite
    hash: Callable[[bytes], hashlib._Hash]
    hash_name: str
    hash_length: int
    block_length: int
    """Of the hash, which is what HMAC goes by."""
    key_length: int
    aead: Callable[[bytes], AEAD]
    record_limit: int


# AES-GCM: 2^24.5 full records keep the margin of section 5.5; ChaCha20-Poly1305 reaches the end of the sequence
# numbers first, and 2^48 epochs of this are out of anybody's reach.
AES_GCM_LIMIT: Final = 1 << 24
CHACHA_LIMIT: Final = 1 << 48

SUITES: Final = {
    suite.number: suite
    for suite in (
        Suite(CipherSuite.TLS_AES_128_GCM_SHA256, sha256, "sha256", 32, 64, 16, AESGCM, AES_GCM_LIMIT),
        Suite(CipherSuite.TLS_AES_256_GCM_SHA384, sha384, "sha384", 48, 128, 32, AESGCM, AES_GCM_LIMIT),
        Suite(CipherSuite.TLS_CHACHA20_POLY1305_SHA256, sha256, "sha256", 32, 64, 32, ChaCha20Poly1305, CHACHA_LIMIT),
    )
}
