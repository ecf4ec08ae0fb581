"""What a handshake gives: proof of who the peer is, and what was agreed."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import attrs

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import Suite
from tlsprovider.iana import NamedGroup, SignatureScheme
from tlsprovider.values import value
from tlsprovider.wire.messages import CertificateEntry

if TYPE_CHECKING:
    from cryptography import x509

    from tlsprovider.session import Session, SessionKey
    from tlsprovider.wire.extensions import Extensions

__all__ = ["ApplicationSecrets", "Established", "PeerChain", "VerifiedPeer"]


class VerifiedPeer:
    """Proof that the peer was checked, or a reason why not. Nothing is finished without one.

    Made by :meth:`Steps.read_certificate_verify` after the signature and the chain have been found good; by
    :meth:`Steps.verify_psk` for a chain that was, in the connection that a session comes from; and by
    :meth:`unchecked`, which says why there was nothing to check. Search for that word when reviewing.
    """

    __slots__ = ("certificates", "scheme", "stapled", "unchecked_because", "verified_chain")
    _KEY: ClassVar = object()

    def __init__(
        self,
        key: object,
        certificates: tuple[x509.Certificate, ...],
        verified_chain: tuple[x509.Certificate, ...],
        scheme: SignatureScheme | None,
        unchecked_because: str,
        stapled: Extensions,
    ) -> None:
        if key is not VerifiedPeer._KEY:
            raise TypeError("a VerifiedPeer comes out of a check, or of VerifiedPeer.unchecked(reason)")
        self.certificates = certificates
        self.verified_chain = verified_chain
        self.scheme = scheme
        self.unchecked_because = unchecked_because
        self.stapled = stapled

    @classmethod
    def unchecked(cls, reason: str) -> VerifiedPeer:
        """No certificate was there to check, for this reason."""
        return cls(cls._KEY, (), (), None, reason, {})


@value(repr=False)
class Established:
    """What a finished handshake has found out. Nothing of it is secret."""

    suite: Suite
    group: NamedGroup | None
    """None: a pre-shared key alone."""
    alpn: str | None
    server_name: str | None
    peer: VerifiedPeer
    local_certificates: tuple[x509.Certificate, ...]
    session: Session | None
    """The session that was resumed."""
    early_data: str
    """``not_sent``, ``accepted`` or ``rejected``."""
    session_key: SessionKey | None
    """Client: where sessions of this connection are kept; None: nowhere."""


@attrs.define(repr=False)
class ApplicationSecrets:
    """What protects the connection from here on, and what exporters are derived from (section 7.5)."""

    read: TrafficSecret
    write: TrafficSecret
    exporter: bytes
    resumption: bytes = b""
    """What tickets are derived from (section 7.1); empty where there will be none."""


@value
class PeerChain:
    """A Certificate message, parsed."""

    certificates: tuple[x509.Certificate, ...]
    entries: tuple[CertificateEntry, ...]
    may_sign: bool
    """Whether the leaf's keyUsage allows it to sign a handshake."""
