"""Handshake messages, RFC 9846 section 4 and appendix B.3.

``decode`` takes a whole message as it was received, with its four byte header; ``encode`` makes one. A received message
keeps its bytes: the transcript hashes those, never a second encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import ClassVar, Final, Self

import attrs

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType, ProtocolVersion
from tlsprovider.remember import remembered
from tlsprovider.values import value
from tlsprovider.wire.codec import Reader, u8, u16, u16_list, u32, vector8, vector16, vector24, whole_vector16
from tlsprovider.wire.extensions import MAX_REMEMBERED_SIZE, Extensions, In, decode_block, encode_block

__all__ = [
    "HEADER_LENGTH",
    "HELLO_RETRY_RANDOM",
    "Certificate",
    "CertificateEntry",
    "CertificateRequest",
    "CertificateVerify",
    "ClientHello",
    "EncryptedExtensions",
    "EndOfEarlyData",
    "Finished",
    "KeyUpdate",
    "NewSessionTicket",
    "ServerHello",
    "encode_message",
]

HEADER_LENGTH: Final = 4
LEGACY_VERSION: Final = int(ProtocolVersion.TLSv1_2)
_LEGACY_VERSION: Final = u16(LEGACY_VERSION)
# legacy_version and random; cipher_suite and legacy_compression_method.
_HELLO_FRONT: Final = struct.Struct(">H32s")
_CHOICES: Final = struct.Struct(">HB")

# SHA-256 of "HelloRetryRequest", section 4.2.3.
HELLO_RETRY_RANDOM: Final = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")
# The last bytes of a random whose server was made to speak an older version, section 4.2.3.
DOWNGRADE_TLS12: Final = b"DOWNGRD\x01"
DOWNGRADE_TLS11: Final = b"DOWNGRD\x00"


def encode_message(kind: HandshakeType, body: bytes) -> bytes:
    return (kind << 24 | len(body)).to_bytes(HEADER_LENGTH, "big") + body


@value
class ClientHello:
    """Section 4.2.2. ``extensions`` is None for an old client's hello that ends before them."""

    kind: ClassVar = HandshakeType.client_hello

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]
    compression_methods: bytes
    extensions: Extensions | None
    raw: bytes = attrs.field(repr=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        reader = Reader(data, "ClientHello", HEADER_LENGTH)
        version, random = reader.unpack(_HELLO_FRONT)
        session_id = reader.vector8(0, 32)
        cipher_suites, compression = reader.u16_list(), reader.vector8(1)
        extensions = decode_block(reader, In.CH) if reader.more else None
        reader.end()
        if extensions is not None and X.pre_shared_key in extensions and next(reversed(extensions)) != X.pre_shared_key:
            raise PeerFault(Fault.PSK_NOT_LAST)
        return cls(version, random, session_id, cipher_suites, compression, extensions, data)

    @staticmethod
    def encode(random: bytes, session_id: bytes, cipher_suites: Iterable[int], extension_block: bytes) -> bytes:
        """``extension_block`` comes encoded, because most of it depends on the configuration alone."""
        return encode_message(
            HandshakeType.client_hello,
            _LEGACY_VERSION
            + random
            + vector8(session_id)
            + vector16(u16_list(cipher_suites))
            + b"\x01\x00"
            + extension_block,
        )


@value
class ServerHello:
    """Sections 4.2.3 and 4.2.4: a HelloRetryRequest is a ServerHello with a special random."""

    kind: ClassVar = HandshakeType.server_hello

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: Extensions
    raw: bytes = attrs.field(repr=False)

    @property
    def is_retry_request(self) -> bool:
        return self.random == HELLO_RETRY_RANDOM

    @classmethod
    def decode(cls, data: bytes, offered: frozenset[int]) -> Self:
        """``offered``: the extensions of our ClientHello.

        What an older server sends is read as far as the version takes, so that the fault can say what it is: its
        extensions follow other rules, and are not held against this version's table.
        """
        reader = Reader(data, "ServerHello", HEADER_LENGTH)
        version, random = reader.unpack(_HELLO_FRONT)
        session_id = reader.vector8(0, 32)
        suite, compression = reader.unpack(_CHOICES)
        if not reader.more:
            return cls(version, random, session_id, suite, compression, {}, data)
        start = reader.position
        message = In.HRR if random == HELLO_RETRY_RANDOM else In.SH
        try:
            extensions = decode_block(reader, message, offered)
        except PeerFault:
            if _names_version(data[start:]):
                raise
            extensions = {}
        else:
            reader.end()
        if X.supported_versions not in extensions:
            extensions = {}
        return cls(version, random, session_id, suite, compression, extensions, data)

    @staticmethod
    def encode(random: bytes, session_id: bytes, cipher_suite: int, extensions: Iterable[tuple[int, bytes]]) -> bytes:
        return encode_message(
            HandshakeType.server_hello,
            _LEGACY_VERSION + random + vector8(session_id) + u16(cipher_suite) + b"\x00" + encode_block(extensions),
        )


def _names_version(block: bytes) -> bool:
    """Whether an extension block holds supported_versions, whatever else it holds."""
    outer = Reader(block, "ServerHello")
    entries = Reader(outer.vector16(), "the extensions of ServerHello")
    outer.end()
    while entries.more:
        number = entries.u16()
        entries.vector16()
        if number == X.supported_versions:
            return True
    return False


@value
class EncryptedExtensions:
    """Section 4.4.1."""

    kind: ClassVar = HandshakeType.encrypted_extensions

    extensions: Extensions

    @staticmethod
    @remembered(MAX_REMEMBERED_SIZE)
    def decode(data: bytes, offered: frozenset[int]) -> EncryptedExtensions:
        reader = Reader(data, "EncryptedExtensions", HEADER_LENGTH)
        extensions = decode_block(reader, In.EE, offered)
        reader.end()
        return EncryptedExtensions(extensions)

    def encode(self) -> bytes:
        return encode_message(self.kind, encode_block(self.extensions.items()))


@value
class CertificateRequest:
    """Section 4.4.2."""

    kind: ClassVar = HandshakeType.certificate_request

    context: bytes
    extensions: Extensions

    @classmethod
    def decode(cls, data: bytes) -> Self:
        reader = Reader(data, "CertificateRequest", HEADER_LENGTH)
        context = reader.vector8()
        extensions = decode_block(reader, In.CR)
        reader.end()
        return cls(context, extensions)

    def encode(self) -> bytes:
        return encode_message(self.kind, vector8(self.context) + encode_block(self.extensions.items()))


@value
class CertificateEntry:
    """One certificate of a chain: DER, and what is stapled to it."""

    data: bytes = attrs.field(repr=False)
    extensions: Extensions


@value
class Certificate:
    """Section 4.5.1."""

    kind: ClassVar = HandshakeType.certificate

    context: bytes
    entries: tuple[CertificateEntry, ...]

    @classmethod
    def decode(cls, data: bytes, requested: frozenset[int], most: int) -> Self:
        """``requested``: the extensions that this side asked for; ``most``: how many certificates it accepts."""
        reader = Reader(data, "Certificate", HEADER_LENGTH)
        context = reader.vector8()
        chain = Reader(reader.vector24(), "Certificate")
        reader.end()
        entries: list[CertificateEntry] = []
        while chain.more:
            if len(entries) == most:
                raise PeerFault(Fault.CERTIFICATE_CHAIN_LONG, f"more than {most} certificates")
            entries.append(CertificateEntry(chain.vector24(1), decode_block(chain, In.CT, requested)))
        return cls(context, tuple(entries))

    @staticmethod
    def encode(context: bytes, chain: Iterable[bytes]) -> bytes:
        entries = b"".join([vector24(certificate) + b"\x00\x00" for certificate in chain])
        return encode_message(HandshakeType.certificate, vector8(context) + vector24(entries))


@value
class CertificateVerify:
    """Section 4.5.2."""

    kind: ClassVar = HandshakeType.certificate_verify

    scheme: int
    signature: bytes = attrs.field(repr=False)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        # Whatever is cut short before the signature has no signature either.
        return cls(int.from_bytes(data[4:6], "big"), whole_vector16(data[6:], "CertificateVerify"))

    def encode(self) -> bytes:
        return encode_message(self.kind, u16(self.scheme) + vector16(self.signature))


class Finished:
    """Section 4.5.3. Its length is that of the hash; a wrong length is a decode error."""

    kind: ClassVar = HandshakeType.finished

    @staticmethod
    def decode(data: bytes, length: int) -> bytes:
        if len(data) != HEADER_LENGTH + length:
            raise PeerFault(Fault.DECODE_ERROR, f"Finished has {len(data) - HEADER_LENGTH} bytes instead of {length}")
        return data[HEADER_LENGTH:]

    @staticmethod
    def encode(verify_data: bytes) -> bytes:
        return encode_message(HandshakeType.finished, verify_data)


@value
class KeyUpdate:
    """Section 4.7.3."""

    kind: ClassVar = HandshakeType.key_update

    update_requested: bool

    @classmethod
    def decode(cls, data: bytes) -> Self:
        reader = Reader(data, "KeyUpdate", HEADER_LENGTH)
        value = reader.u8()
        reader.end()
        if value > 1:
            raise PeerFault(Fault.KEY_UPDATE_REQUEST, f"the value {value}")
        return cls(value == 1)

    def encode(self) -> bytes:
        return encode_message(self.kind, u8(self.update_requested))


@value
class NewSessionTicket:
    """Section 4.7.1."""

    kind: ClassVar = HandshakeType.new_session_ticket

    lifetime: int
    age_add: int
    nonce: bytes
    ticket: bytes = attrs.field(repr=False)
    extensions: Extensions

    @classmethod
    def decode(cls, data: bytes) -> Self:
        reader = Reader(data, "NewSessionTicket", HEADER_LENGTH)
        lifetime, age_add = reader.u32(), reader.u32()
        nonce, ticket = reader.vector8(), reader.vector16(1)
        extensions = decode_block(reader, In.NST)
        reader.end()
        return cls(lifetime, age_add, nonce, ticket, extensions)

    def encode(self) -> bytes:
        return encode_message(
            self.kind,
            u32(self.lifetime)
            + u32(self.age_add)
            + vector8(self.nonce)
            + vector16(self.ticket)
            + encode_block(self.extensions.items()),
        )


class EndOfEarlyData:
    """Section 4.6. It says nothing but its name."""

    kind: ClassVar = HandshakeType.end_of_early_data

    @staticmethod
    def decode(data: bytes) -> None:
        Reader(data, "EndOfEarlyData", HEADER_LENGTH).end()

    @staticmethod
    def encode() -> bytes:
        return encode_message(HandshakeType.end_of_early_data, b"")
