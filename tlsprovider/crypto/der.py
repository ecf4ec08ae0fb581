"""As much of DER (X.690) as is needed to look at what ``cryptography`` parsed but does not show.

Only for certificates that ``cryptography`` has parsed already, or that were made here: a length that lies about what
follows can't occur, so nothing here has to defend itself.
"""

from __future__ import annotations

from cryptography.x509 import Certificate

__all__ = ["children", "issuer", "sequence", "subject", "subject_public_key_info", "value"]

SEQUENCE = 0x30
BIT_STRING = 0x03
_EXPLICIT_0 = 0xA0


def value(tag: int, content: bytes) -> bytes:
    """One value with a definite length (X.690 section 8.1.3)."""
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*members: bytes) -> bytes:
    return value(SEQUENCE, b"".join(members))


def children(data: bytes) -> list[bytes]:
    """The members of a constructed value, each with its tag and length."""
    start, end = _span(data, 0)
    found = []
    while start < end:
        stop = _span(data, start)[1]
        found.append(data[start:stop])
        start = stop
    return found


def _span(data: bytes, at: int) -> tuple[int, int]:
    """Where the content of the value at ``at`` begins and ends."""
    length, start = data[at + 1], at + 2
    if length >= 0x80:
        start += length & 0x7F
        length = int.from_bytes(data[at + 2 : start], "big")
    return start, start + length


def _after_serial(certificate: Certificate) -> list[bytes]:
    """``[signature, issuer, validity, subject, subjectPublicKeyInfo, ...]`` of RFC 5280 section 4.1."""
    fields = children(certificate.tbs_certificate_bytes)
    return fields[2:] if fields[0][0] == _EXPLICIT_0 else fields[1:]  # version 1 leaves its version out


def issuer(certificate: Certificate) -> bytes:
    """The issuer's distinguished name as the certificate spells it."""
    return _after_serial(certificate)[1]


def subject(certificate: Certificate) -> bytes:
    """The subject's distinguished name as the certificate spells it."""
    return _after_serial(certificate)[3]


def subject_public_key_info(certificate: Certificate) -> bytes:
    """The key as the certificate spells it: encoding the parsed key again loses RSASSA-PSS and compressed points."""
    return _after_serial(certificate)[4]
