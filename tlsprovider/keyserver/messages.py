"""What front ends and key servers say to each other: one request and one response for each connection.

A key that signs whatever it is shown can be used for anything: for another protocol, for certificates, for a message
that somebody else chose. So a front end can't ask for the signature of a message. It names the side and gives the hash
of the transcript, and the key server writes down the content of a CertificateVerify (RFC 9846 section 4.5.2) itself:
64 spaces, the context string, a zero byte, the hash. It signs under the schemes that TLS 1.3 has for handshakes, and
under no other: in particular not with PKCS #1 v1.5, where signing and decrypting are one operation.

::

    request:   length (2 bytes), version (1), key (32), scheme (2), side (1: 0 client, 1 server), hash (32 or 48)
    response:  length (2 bytes), status (1: 0 signed, 1 refused), the signature, or a sentence in UTF-8

``key`` is the SHA-256 of the public key. Whatever else arrives is refused.
"""

from __future__ import annotations

import struct
from typing import Final

import attrs

from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.handshake.steps import Steps
from tlsprovider.iana import SignatureScheme

__all__ = [
    "MAX_REQUEST",
    "MAX_RESPONSE",
    "KeyServerError",
    "Request",
    "decode_response",
    "encode_refusal",
    "encode_signature",
]

VERSION: Final = 1
KEY_LENGTH: Final = 32
# Of SHA-256 and SHA-384: the suites of TLS 1.3 have no others.
HASH_LENGTHS: Final = (32, 48)
FIXED: Final = struct.Struct(">B32sHB")
LENGTH: Final = struct.Struct(">H")

MAX_REQUEST: Final = FIXED.size + max(HASH_LENGTHS)
"""Bytes after the length; no request is longer."""
MAX_RESPONSE: Final = 8192
"""The largest signature, ML-DSA-87's, has 4627 bytes."""
SIGNED: Final = 0
REFUSED: Final = 1


class KeyServerError(Exception):
    """The key server can't be reached, refuses, or says what can't be understood. The handshake is aborted."""


@attrs.frozen
class Request:
    """Sign a CertificateVerify: with which key and scheme, for which side, over which transcript."""

    key: bytes
    scheme: SignatureScheme
    is_server: bool
    digest: bytes = attrs.field(repr=False)

    @classmethod
    def of(cls, key: bytes, scheme: SignatureScheme, content: bytes) -> Request:
        """From the content of a CertificateVerify. Raises KeyServerError for any other message."""
        for is_server, start in Steps.SIGNING_CONTEXTS.items():
            if content.startswith(start) and len(content) - len(start) in HASH_LENGTHS:
                return cls(key, scheme, is_server, content[len(start) :])
        raise KeyServerError("a key server signs the content of a CertificateVerify message and nothing else")

    @property
    def content(self) -> bytes:
        """What is signed, RFC 9846 section 4.5.2."""
        return Steps.SIGNING_CONTEXTS[self.is_server] + self.digest

    def encode(self) -> bytes:
        body = FIXED.pack(VERSION, self.key, self.scheme, self.is_server) + self.digest
        return LENGTH.pack(len(body)) + body

    @classmethod
    def decode(cls, body: bytes) -> Request:
        """``body``: what follows the length. Raises KeyServerError, naming what is wrong."""
        if len(body) - FIXED.size not in HASH_LENGTHS:
            raise KeyServerError(f"a request of {len(body)} bytes is none")
        version, key, scheme, side = FIXED.unpack_from(body)
        if version != VERSION:
            raise KeyServerError(f"version {version} of the protocol is not known here; this is version {VERSION}")
        if scheme not in HANDSHAKE_SCHEMES:
            raise KeyServerError(f"{SignatureScheme(scheme)} is no scheme for handshakes")
        if side not in (0, 1):
            raise KeyServerError(f"side {side} is neither a client (0) nor a server (1)")
        return cls(key, SignatureScheme(scheme), bool(side), body[FIXED.size :])


def encode_signature(signature: bytes) -> bytes:
    return LENGTH.pack(1 + len(signature)) + bytes((SIGNED,)) + signature


def encode_refusal(sentence: str) -> bytes:
    text = sentence.encode("utf-8")[:200]
    return LENGTH.pack(1 + len(text)) + bytes((REFUSED,)) + text


def decode_response(data: bytes | bytearray) -> bytes | None:
    """The signature out of what has arrived so far; None while more is to come. Raises KeyServerError."""
    if len(data) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack_from(data)
    if not 1 <= length <= MAX_RESPONSE:
        raise KeyServerError(f"the key server announces an answer of {length} bytes: is it one?")
    end = LENGTH.size + length
    if len(data) > end:
        raise KeyServerError("the key server says more than its answer: is it one?")
    if len(data) < end:
        return None
    status, body = data[LENGTH.size], bytes(data[LENGTH.size + 1 :])
    if status == REFUSED:
        # Quoted, as everything that comes from elsewhere.
        raise KeyServerError(f"the key server refuses: {body.decode('utf-8', 'replace')!r}")
    if status != SIGNED or not body:
        raise KeyServerError(f"the key server answers with status {status} and {len(body)} bytes: is it one?")
    return body
