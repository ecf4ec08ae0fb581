"""Extensions: the block they come in, the table of who may carry which, and their contents (RFC 9846 section 4.3).

A block is a dict from number to content, in wire order; contents stay bytes until somebody needs them. One function,
:func:`decode_block`, deals with duplicates, with extensions in the wrong message, and with answers to questions that
were never asked, so that no reader of a message has to.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from enum import IntFlag, auto
from typing import Final, NamedTuple

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.remember import remembered
from tlsprovider.wire.codec import Reader, u8, u16, u16_list, u16s, u32, vector8, vector16, whole_vector16

__all__ = ["Extensions", "In", "OfferedPsks", "decode_block", "encode_block", "encode_entries"]

Extensions = Mapping[int, bytes]


class In(IntFlag):
    """Messages that carry extensions, by the abbreviations of section 4.3."""

    CH = auto()
    SH = auto()
    HRR = auto()
    EE = auto()
    CR = auto()
    CT = auto()
    NST = auto()


# The table of section 4.3. A number that isn't here is unknown to us: ignored in a request, a fault in an answer.
ALLOWED: Final[Mapping[int, In]] = {
    X.server_name: In.CH | In.EE | In.CR,
    X.status_request: In.CH | In.CR | In.CT,
    X.supported_groups: In.CH | In.EE,
    X.signature_algorithms: In.CH | In.CR,
    X.use_srtp: In.CH | In.EE,
    X.heartbeat: In.CH | In.EE,
    X.application_layer_protocol_negotiation: In.CH | In.EE,
    X.signed_certificate_timestamp: In.CH | In.CR | In.CT,
    X.client_certificate_type: In.CH | In.EE,
    X.server_certificate_type: In.CH | In.EE,
    X.padding: In.CH,
    X.compress_certificate: In.CH | In.CR,
    X.record_size_limit: In.CH | In.EE,
    X.delegated_credential: In.CH | In.CR | In.CT,
    X.pre_shared_key: In.CH | In.SH,
    X.early_data: In.CH | In.EE | In.NST,
    X.supported_versions: In.CH | In.SH | In.HRR,
    X.cookie: In.CH | In.HRR,
    X.psk_key_exchange_modes: In.CH,
    X.certificate_authorities: In.CH | In.CR,
    X.oid_filters: In.CR,
    X.post_handshake_auth: In.CH,
    X.signature_algorithms_cert: In.CH | In.CR,
    X.key_share: In.CH | In.SH | In.HRR,
    X.transparency_info: In.CH | In.CR | In.CT,
    X.quic_transport_parameters: In.CH | In.EE,
    X.ticket_request: In.CH | In.EE,
    X.encrypted_client_hello: In.CH | In.HRR | In.EE,
}

# The same table turned round, as the reader of a message needs it: what is known and may not be there, and how to call
# the block in an error.
_RULES: Final = {
    message: (
        frozenset(int(number) for number, allowed in ALLOWED.items() if message not in allowed),
        f"the extensions of {message.name}",
    )
    for message in In
}


# The number of an extension, and the length of its content.
_ENTRY: Final = struct.Struct(">HH")


def encode_entries(extensions: Iterable[tuple[int, bytes]]) -> bytes:
    """Extensions without the length of the block, to be put together from parts."""
    return b"".join([_ENTRY.pack(number, len(content)) + content for number, content in extensions])


def encode_block(extensions: Iterable[tuple[int, bytes]]) -> bytes:
    return vector16(encode_entries(extensions))


def decode_block(reader: Reader, message: In, offered: frozenset[int] | None = None) -> dict[int, bytes]:
    """Read an extension block out of ``reader`` and hold it against the table.

    ``offered``: for an answer, the extensions that this side sent; None for a request (then unknown ones are ignored
    by whoever looks them up). The cookie of HelloRetryRequest is the one answer that needs no question.
    """
    forbidden, name = _RULES[message]
    block = reader.vector16()
    end = len(block)
    position = 0
    extensions: dict[int, bytes] = {}
    # Without a Reader: this runs for every extension of every message.
    while position < end:
        start = position + 4
        if start > end:
            raise PeerFault(Fault.DECODE_ERROR, f"{name} is cut short")
        number, length = _ENTRY.unpack_from(block, position)
        position = start + length
        if position > end:
            raise PeerFault(Fault.DECODE_ERROR, f"{name} is cut short")
        if number in extensions:
            raise PeerFault(Fault.DUPLICATE_EXTENSION, str(X(number)))
        extensions[number] = block[start:position]
    if not forbidden.isdisjoint(extensions):
        first = next(number for number in extensions if number in forbidden)
        raise PeerFault(Fault.MISPLACED_EXTENSION, f"{X(first)} in {message.name}")
    if offered is not None and not offered.issuperset(extensions):
        for number in extensions:
            if number not in offered and not (number == X.cookie and message is In.HRR):
                raise PeerFault(Fault.UNSOLICITED_EXTENSION, f"{X(number)} in {message.name}")
    return extensions


# -- contents, in the order of the RFC: encode_x makes the content, decode_x reads it --------------------------------

# Programs say the same in each hello. What is remembered is filled by strangers: 64 contents of so many bytes, and what
# they say, stay below 1 MB for each function.
MAX_REMEMBERED_SIZE: Final = 256


def encode_server_name(name: str) -> bytes:
    """RFC 6066 section 3: a list of one DNS name."""
    return vector16(b"\x00" + vector16(name.encode("ascii")))


@remembered(MAX_REMEMBERED_SIZE)
def decode_server_name(content: bytes) -> str:
    """The one DNS name asked for, in lower case."""
    names = whole_vector16(content, "server_name", 1)
    if names[0] != 0:
        raise Reader(names, "server_name").fault("has a name that is not a DNS name")
    # "MUST NOT contain more than one name of the same name_type", and only one type was ever defined.
    raw = whole_vector16(names[1:], "server_name", 1)
    # A zero byte or control character in a name is an attack on whoever logs or compares it, never a name.
    if not raw.isascii() or not (name := raw.decode("ascii")).isprintable():
        raise Reader(raw, "server_name").fault("is not a DNS name in ASCII")
    return name.lower()


def encode_u16s(numbers: Iterable[int]) -> bytes:
    """supported_groups (section 4.3.7) and signature_algorithms (4.3.3)."""
    return vector16(u16_list(numbers))


@remembered(MAX_REMEMBERED_SIZE)
def decode_u16s(content: bytes, number: X) -> tuple[int, ...]:
    return u16s(whole_vector16(content, number, 2), number)


def encode_alpn(names: Iterable[str]) -> bytes:
    """RFC 7301 section 3.1."""
    return vector16(b"".join([vector8(name.encode("latin-1")) for name in names]))


@remembered(MAX_REMEMBERED_SIZE)
def decode_alpn(content: bytes) -> tuple[str, ...]:
    name = "application_layer_protocol_negotiation"
    names = Reader(whole_vector16(content, name, 2), name)
    found: list[str] = []
    while names.more:
        found.append(names.vector8(1).decode("latin-1"))
    return tuple(found)


def encode_offered_versions(versions: Iterable[int]) -> bytes:
    return vector8(u16_list(versions))


@remembered(MAX_REMEMBERED_SIZE)
def decode_offered_versions(content: bytes) -> tuple[int, ...]:
    reader = Reader(content, "supported_versions")
    versions = reader.vector8(2)
    reader.end()
    return u16s(versions, "supported_versions")


def decode_selected_u16(content: bytes, number: X) -> int:
    """selected_version (section 4.3.1), and selected_group of HelloRetryRequest (4.3.8)."""
    if len(content) != 2:
        raise Reader(content, number).fault(f"has {len(content)} bytes instead of 2")
    return content[0] << 8 | content[1]


def encode_key_share(group: int, share: bytes) -> bytes:
    """One KeyShareEntry: all of a ServerHello's key_share (section 4.3.8)."""
    return u16(group) + vector16(share)


def decode_key_share(content: bytes) -> tuple[int, bytes]:
    # Whatever is cut short before the share has no share either.
    return int.from_bytes(content[:2], "big"), whole_vector16(content[2:], "key_share", 1)


def encode_key_shares(shares: Iterable[tuple[int, bytes]]) -> bytes:
    return vector16(b"".join([encode_key_share(group, share) for group, share in shares]))


def decode_key_shares(content: bytes) -> dict[int, bytes]:
    """Shares by their groups, in the client's order."""
    entries = Reader(whole_vector16(content, "key_share"), "key_share")
    shares: dict[int, bytes] = {}
    while entries.more:
        group, share = entries.u16(), entries.vector16(1)
        if group in shares:
            raise PeerFault(Fault.KEY_SHARE_DUPLICATE)
        shares[group] = share
    return shares


def encode_cookie(cookie: bytes) -> bytes:
    return vector16(cookie)


def decode_cookie(content: bytes) -> bytes:
    return whole_vector16(content, "cookie", 1)


def encode_authorities(names: Iterable[bytes]) -> bytes:
    """certificate_authorities, section 4.3.4: DER encoded distinguished names."""
    return vector16(b"".join([vector16(name) for name in names]))


def decode_authorities(content: bytes) -> tuple[bytes, ...]:
    names = Reader(whole_vector16(content, "certificate_authorities", 3), "certificate_authorities")
    found: list[bytes] = []
    while names.more:
        found.append(names.vector16(1))
    return tuple(found)


# How a pre-shared key may be used, section 4.3.9.
PSK_KE: Final = 0
PSK_DHE_KE: Final = 1


def encode_psk_modes(modes: Iterable[int]) -> bytes:
    return vector8(bytes(modes))


def decode_psk_modes(content: bytes) -> bytes:
    """The modes, one a byte."""
    reader = Reader(content, "psk_key_exchange_modes")
    modes = reader.vector8(1)
    reader.end()
    return modes


class OfferedPsks(NamedTuple):
    """A client's pre_shared_key, section 4.3.11: identities with their obfuscated ages, and their binders."""

    identities: tuple[tuple[bytes, int], ...]
    binders: tuple[bytes, ...]

    @property
    def binders_length(self) -> int:
        """Bytes at the end of the ClientHello that the binders don't cover (section 4.3.11.2)."""
        return 2 + sum(1 + len(binder) for binder in self.binders)


def encode_offered_psks(offered: OfferedPsks) -> bytes:
    identities = b"".join([vector16(identity) + u32(age) for identity, age in offered.identities])
    return vector16(identities) + encode_binders(offered.binders)


def encode_binders(binders: Iterable[bytes]) -> bytes:
    """What ends a ClientHello with pre_shared_key, and is filled in last."""
    return vector16(b"".join(map(vector8, binders)))


def decode_offered_psks(content: bytes) -> OfferedPsks:
    outer = Reader(content, "pre_shared_key")
    entries, binders = Reader(outer.vector16(7), "pre_shared_key"), Reader(outer.vector16(33), "pre_shared_key")
    outer.end()
    identities: list[tuple[bytes, int]] = []
    found: list[bytes] = []
    while entries.more:
        identities.append((entries.vector16(1), entries.u32()))
    while binders.more:
        found.append(binders.vector8(32))
    if len(identities) != len(found):
        raise PeerFault(Fault.PSK_BINDER_COUNT, f"{len(identities)} keys, {len(found)} binders")
    return OfferedPsks(tuple(identities), tuple(found))


def decode_max_early_data(content: bytes) -> int:
    """max_early_data_size of NewSessionTicket, section 4.3.10."""
    reader = Reader(content, "early_data")
    size = reader.u32()
    reader.end()
    return size


def decode_empty(content: bytes, number: X) -> None:
    """An extension whose presence is all that it says."""
    Reader(content, number).end()


# An OCSP request without responder IDs and request extensions: RFC 6066 section 8.
STATUS_REQUEST: Final = u8(1) + vector16(b"") + vector16(b"")


def decode_status_request(content: bytes) -> None:
    """Check a client's status_request; only its presence matters to us."""
    reader = Reader(content, "status_request")
    kind = reader.u8()
    if kind == 1:
        reader.vector16()
        reader.vector16()
        reader.end()


def decode_ocsp_response(content: bytes) -> bytes:
    """CertificateStatus in a certificate entry (section 4.5.1.1): a DER encoded OCSPResponse."""
    reader = Reader(content, "status_request")
    if reader.u8() != 1:
        raise reader.fault("is of a type that was not asked for")
    response = reader.vector24(1)
    reader.end()
    return response


def decode_scts(content: bytes) -> tuple[bytes, ...]:
    """SignedCertificateTimestampList, RFC 6962 section 3.3."""
    entries = Reader(whole_vector16(content, "signed_certificate_timestamp", 1), "signed_certificate_timestamp")
    found: list[bytes] = []
    while entries.more:
        found.append(entries.vector16(1))
    return tuple(found)
