"""A ClientHello of any version, read in front of a TLS library that can't wait for decisions.

OpenSSL asks which certificate to show, and which settings to go on with, in callbacks that have to answer at once. So
the hello is read here first: the questions are asked while the library has not seen a single byte, and it is started
when the answers are there. What this side and the client have in common is judged here as well, by the same functions
as in the native engine, so the faults and their alerts are the same.
"""

from __future__ import annotations

from typing import Final

import attrs

from tlsprovider.config import ServerConfig
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake import negotiate
from tlsprovider.iana import CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.questions import ChooseIdentity, ClientHelloReceived
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.messages import ClientHello

__all__ = ["Offer", "choose_identity", "choose_version"]

TLS12: Final = ProtocolVersion.TLSv1_2
TLS13: Final = ProtocolVersion.TLSv1_3


@attrs.frozen
class Offer:
    """What a ClientHello offers and asks for; what it doesn't mention is empty."""

    versions: tuple[ProtocolVersion, ...]
    cipher_suites: tuple[int, ...]
    server_name: str | None
    alpn: tuple[str, ...]
    groups: tuple[int, ...]
    schemes: tuple[int, ...]
    authorities: tuple[bytes, ...] = attrs.field(repr=False)
    random: bytes = attrs.field(repr=False)
    raw: bytes = attrs.field(repr=False)

    @classmethod
    def read(cls, message: bytes) -> Offer:
        """Raises PeerFault for what is no ClientHello."""
        hello = ClientHello.decode(message)
        found = hello.extensions or {}
        versions = found.get(X.supported_versions)
        name = found.get(X.server_name)
        alpn = found.get(X.application_layer_protocol_negotiation)
        groups = found.get(X.supported_groups)
        schemes = found.get(X.signature_algorithms)
        authorities = found.get(X.certificate_authorities)
        if versions is None:
            # RFC 9846 section 4.3.1: an older client, and legacy_version is what it speaks at most.
            offered: tuple[int, ...] = (min(hello.legacy_version, TLS12),)
        else:
            offered = ext.decode_offered_versions(versions)
        return cls(
            versions=tuple(map(ProtocolVersion, offered)),
            cipher_suites=hello.cipher_suites,
            server_name=ext.decode_server_name(name) if name is not None else None,
            alpn=ext.decode_alpn(alpn) if alpn is not None else (),
            groups=ext.decode_u16s(groups, X.supported_groups) if groups is not None else (),
            schemes=ext.decode_u16s(schemes, X.signature_algorithms) if schemes is not None else (),
            authorities=ext.decode_authorities(authorities) if authorities is not None else (),
            random=hello.random,
            raw=message,
        )

    def question(self, client_address: tuple[str, int] | None) -> ClientHelloReceived:
        return ClientHelloReceived(
            server_name=self.server_name,
            alpn=self.alpn,
            versions=self.versions,
            cipher_suites=tuple(map(CipherSuite, self.cipher_suites)),
            groups=tuple(map(NamedGroup, self.groups)),
            signature_schemes=tuple(map(SignatureScheme, self.schemes)),
            raw=self.raw,
            client_address=client_address,
        )

    def identity_question(self) -> ChooseIdentity:
        return ChooseIdentity(
            is_server=True,
            server_name=self.server_name,
            signature_schemes=tuple(map(SignatureScheme, self.schemes)),
            authorities=self.authorities,
        )


def choose_version(offer: Offer, config: ServerConfig) -> tuple[ProtocolVersion, str | None]:
    """``(version, application protocol)``. Raises PeerFault where the two sides have something needed not in common.

    Which suite and which group it will be is the library's choice out of what the configuration allows.
    """
    common = [version for version in offer.versions if config.min_version <= version <= config.max_version]
    if not common:
        names = ", ".join(map(str, offer.versions))
        allowed = f"{config.min_version} to {config.max_version}"
        raise PeerFault(Fault.NO_COMMON_VERSION, f"the client offers {names}; allowed: {allowed}")
    version = max(common)
    if version == TLS13:
        negotiate.choose_suite(offer.cipher_suites, config.cipher_suites)
        negotiate.choose_group(offer.groups, {}, config.groups)
    return version, negotiate.choose_alpn(offer.alpn, config.alpn)


def choose_identity(offer: Offer, config: ServerConfig, version: ProtocolVersion) -> Identity:
    """By name, by what the client can verify, and by the issuers that it knows."""
    schemes = offer.schemes if version == TLS13 else verifiable_before_13(offer.schemes)
    return negotiate.choose_identity(config.identities, offer.server_name, schemes, offer.authorities)


def verifiable_before_13(offered: tuple[int, ...]) -> tuple[int, ...]:
    """The schemes of TLS 1.2 by what they say of keys: there ECDSA names no curve, and RSA signs PKCS#1 v1.5 as well.

    RFC 5246 section 7.4.1.4.1: who doesn't send the extension takes anything.
    """
    names = [SignatureScheme(number).name for number in offered]
    ecdsa = not offered or any(name.startswith("ecdsa_") and "sha1" not in name for name in names)
    pkcs1 = not offered or any(name.startswith("rsa_pkcs1_sha") and "sha1" not in name for name in names)
    more = [
        scheme
        for scheme in SignatureScheme
        if (ecdsa and scheme.name.startswith("ecdsa_secp")) or (pkcs1 and scheme.name.startswith("rsa_pss_rsae"))
    ]
    return (*offered, *more)
