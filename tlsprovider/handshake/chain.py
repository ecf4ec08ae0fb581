"""The peer's certificates, out of its Certificate message (RFC 9846 section 4.5.1)."""

from __future__ import annotations

from typing import Final

from tlsprovider.crypto.certificates import MAX_REMEMBERED_SIZE, may_sign, parse_certificate
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.results import PeerChain
from tlsprovider.remember import remembered
from tlsprovider.wire.messages import Certificate

__all__ = ["read_chain"]

# Certificates in a chain: the web uses three or four. Each costs its receiver a parsing, and a search for its issuer.
MAX_CHAIN: Final = 10


@remembered(MAX_REMEMBERED_SIZE)
def read_chain(data: bytes, requested: frozenset[int]) -> PeerChain:
    """The chain in a Certificate message; it may be empty. ``requested``: the extensions that this side asked for.

    A server shows the same message to everybody, so the last few are remembered as parsed. Nothing is taken for
    verified by that: it is what :func:`parse_certificate` would say of the same bytes again.
    """
    message = Certificate.decode(data, requested, MAX_CHAIN)
    if message.context:
        # Inside a handshake the context is empty on both sides.
        raise PeerFault(Fault.CERTIFICATE_CONTEXT)
    certificates = tuple([parse_certificate(entry.data) for entry in message.entries])
    return PeerChain(certificates, message.entries, may_sign=not certificates or may_sign(certificates[0]))
