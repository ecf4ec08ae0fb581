"""Choices: an offer and a configuration in, a choice or a Fault out. Pure functions, no keys, no I/O.

Servers choose (``choose_``), clients check that what was chosen had been offered (``check_``). The server's order of
preference decides throughout; among its groups, one that the client has sent a share for saves a round trip, but never
at the price of post-quantum protection that both sides have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.values import value
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.messages import DOWNGRADE_TLS11, DOWNGRADE_TLS12, LEGACY_VERSION, ClientHello, ServerHello

if TYPE_CHECKING:
    from tlsprovider.handshake.psk import Psk
    from tlsprovider.session import Session

__all__ = [
    "PskTerms",
    "check_alpn",
    "check_hello_unchanged",
    "check_psk",
    "check_server_hello",
    "check_version",
    "choose_alpn",
    "choose_group",
    "choose_identity",
    "choose_psk",
    "choose_signature",
    "choose_suite",
    "choose_version",
]

TLS13: Final = ProtocolVersion.TLSv1_3
WAY_OUT: Final = "the provider 'openssl' speaks older versions"


# -- the server chooses ------------------------------------------------------------------------------------------------


def choose_version(hello: ClientHello) -> ProtocolVersion:
    """Section 4.3.1. Older versions than TLS 1.3 are not spoken here."""
    offered = hello.extensions.get(X.supported_versions) if hello.extensions else None
    if offered is None:
        newest = ProtocolVersion(min(hello.legacy_version, LEGACY_VERSION))
        raise PeerFault(Fault.NO_COMMON_VERSION, f"the client speaks {newest} at most; {WAY_OUT}")
    versions = ext.decode_offered_versions(offered)
    if TLS13 not in versions:
        names = _listed(map(ProtocolVersion, versions))
        raise PeerFault(Fault.NO_COMMON_VERSION, f"the client offers {names}; {WAY_OUT}")
    if hello.legacy_version != LEGACY_VERSION:
        raise PeerFault(Fault.LEGACY_VERSION, f"0x{hello.legacy_version:04x}")
    if hello.compression_methods != b"\0":
        raise PeerFault(Fault.COMPRESSION)
    return TLS13


def choose_suite(offered: Collection[int], allowed: Sequence[CipherSuite], hashes: Collection[str] = ()) -> CipherSuite:
    """Section 4.2.1. ``hashes``: those of external keys in the offer; a suite with one of them comes first (4.3.11)."""
    if hashes:
        allowed = sorted(allowed, key=lambda suite: SUITES[suite].hash_name not in hashes)
    for suite in allowed:
        if suite in offered:
            return suite
    raise PeerFault(Fault.NO_COMMON_SUITE, f"offered: {_names(CipherSuite, offered)}; allowed: {_listed(allowed)}")


POST_QUANTUM: Final = frozenset(
    (NamedGroup.X25519MLKEM768, NamedGroup.SecP256r1MLKEM768, NamedGroup.SecP384r1MLKEM1024)
)


def choose_group(
    offered: Collection[int], shares: Mapping[int, bytes], allowed: Sequence[NamedGroup]
) -> tuple[NamedGroup, bytes | None]:
    """The group, and the client's share for it; None means that a HelloRetryRequest has to ask for one."""
    common = [group for group in allowed if group in offered]
    if not common:
        raise PeerFault(Fault.NO_COMMON_GROUP, f"offered: {_names(NamedGroup, offered)}; allowed: {_listed(allowed)}")
    candidates = [group for group in common if group in POST_QUANTUM] if common[0] in POST_QUANTUM else common
    for group in candidates:
        if group in shares:
            return group, shares[group]
    return candidates[0], None


def choose_signature(offered: Collection[int], identity: Identity) -> SignatureScheme | None:
    """The first scheme of the identity's key that the peer can verify (section 4.3.3)."""
    for scheme in identity.schemes:
        if scheme in offered:
            return scheme
    return None


def choose_alpn(offered: Sequence[str] | None, allowed: Sequence[str]) -> str | None:
    """RFC 7301 section 3.2. No protocols on either side: none is spoken of."""
    if not offered or not allowed:
        return None
    for name in allowed:
        if name in offered:
            return name
    # Quoted, because a stranger may put control characters into them.
    raise PeerFault(Fault.NO_COMMON_ALPN, f"offered: {_listed(map(repr, offered))}; allowed: {', '.join(allowed)}")


def choose_identity(
    identities: Sequence[Identity],
    server_name: str | None,
    schemes: Collection[int],
    authorities: Collection[bytes],
) -> Identity:
    """The certificate to show: one that can sign for this client, best by name, then by the issuers it knows."""
    if isinstance(identities, IdentityDirectory):
        identities = identities.for_name(server_name)
    if len(identities) == 1 and choose_signature(schemes, identities[0]) is not None:
        return identities[0]
    able = [one for one in identities if choose_signature(schemes, one) is not None]
    if not able:
        raise PeerFault(Fault.NO_COMMON_SIGNATURE, f"the client can verify: {_names(SignatureScheme, schemes)}")
    named = [one for one in able if server_name is not None and one.matches(server_name)] or able
    known = [one for one in named if any(issuer in authorities for issuer in one.issuers)] if authorities else []
    return (known or named)[0]


@value(kw_only=True)
class PskTerms:
    """What a pre-shared key has to fit, on a server."""

    hash_name: str
    server_name: str | None
    alpn: str | None
    fingerprint: bytes
    needs_certificate: bool
    now: float


def choose_psk(candidates: Sequence[Psk | None], modes: Collection[int], terms: PskTerms) -> int | None:
    """Section 4.3.11: which of the offered keys to use, by its place among them; None: a certificate is shown.

    ``candidates``: what is known of each key offered, None for a stranger's. ``modes``: those that the client has.
    """
    for index, psk in enumerate(candidates):
        if psk is None or psk.hash_name != terms.hash_name or not _session_fits(psk.session, terms):
            continue
        if ext.PSK_DHE_KE in modes or without_key_exchange(psk, modes):
            return index
    return None


def without_key_exchange(psk: Psk, modes: Collection[int]) -> bool:
    """Section 4.3.9: psk_ke, where both sides have said so about this very key."""
    return not psk.key_exchange and ext.PSK_KE in modes


def _session_fits(session: Session | None, terms: PskTerms) -> bool:
    """A key from outside belongs to no certificate and no connection; a session to connections like its own."""
    if session is None:
        return not terms.needs_certificate
    return (
        session.server_name == terms.server_name
        and session.alpn == terms.alpn
        and session.fingerprint == terms.fingerprint
        and (bool(session.peer_certificates) or not terms.needs_certificate)
        and terms.now < session.expires
    )


def check_hello_unchanged(first: ClientHello, second: ClientHello) -> None:
    """Section 4.2.2: what a client may change after HelloRetryRequest, and nothing else."""
    same = (
        first.random == second.random
        and first.session_id == second.session_id
        and first.cipher_suites == second.cipher_suites
        and first.legacy_version == second.legacy_version
        and first.compression_methods == second.compression_methods
    )
    if not same or _lasting(first) != _lasting(second):
        raise PeerFault(Fault.HELLO_CHANGED)
    if X.early_data in (second.extensions or {}):
        raise PeerFault(Fault.HELLO_CHANGED, "early_data is not allowed after HelloRetryRequest")


CHANGEABLE: Final = frozenset((X.key_share, X.early_data, X.cookie, X.pre_shared_key, X.padding))


def _lasting(hello: ClientHello) -> dict[int, bytes]:
    return {number: data for number, data in (hello.extensions or {}).items() if number not in CHANGEABLE}


# -- the client checks -------------------------------------------------------------------------------------------------


def check_version(hello: ServerHello) -> None:
    """Section 4.3.1; the downgrade sentinel of section 4.2.3 tells an old server from an attacker."""
    selected = hello.extensions.get(X.supported_versions)
    if selected is None:
        if hello.random.endswith((DOWNGRADE_TLS12, DOWNGRADE_TLS11)):
            raise PeerFault(Fault.DOWNGRADE)
        version = ProtocolVersion(hello.legacy_version)
        raise PeerFault(Fault.NO_COMMON_VERSION, f"the server chose {version}; {WAY_OUT}")
    number = ext.decode_selected_u16(selected, X.supported_versions)
    if number != TLS13:
        raise PeerFault(Fault.VERSION_NOT_OFFERED, str(ProtocolVersion(number)))
    if hello.legacy_version != LEGACY_VERSION:
        raise PeerFault(Fault.LEGACY_VERSION, f"0x{hello.legacy_version:04x}")


def check_server_hello(
    hello: ServerHello, session_id: bytes, offered: Collection[CipherSuite], retry: ServerHello | None
) -> CipherSuite:
    """Sections 4.2.3 and 4.2.4, for a ServerHello and a HelloRetryRequest alike; gives the suite."""
    if retry is not None and hello.extensions.get(X.supported_versions) != retry.extensions[X.supported_versions]:
        raise PeerFault(Fault.VERSION_CHANGED)
    check_version(hello)
    if hello.session_id != session_id:
        raise PeerFault(Fault.SESSION_ID_ECHO)
    if hello.compression_method != 0:
        raise PeerFault(Fault.COMPRESSION)
    suite = CipherSuite(hello.cipher_suite)
    if suite not in offered:
        raise PeerFault(Fault.SUITE_NOT_OFFERED, str(suite))
    if retry is not None and suite != retry.cipher_suite:
        raise PeerFault(Fault.SUITE_CHANGED, f"{CipherSuite(retry.cipher_suite)} to {suite}")
    return suite


def check_psk(hello: ServerHello, suite: Suite, offered: Sequence[Psk]) -> Psk | None:
    """Section 4.3.11: the key that the server selected, if it did; it has to fit the suite."""
    content = hello.extensions.get(X.pre_shared_key)
    if content is None:
        return None
    index = ext.decode_selected_u16(content, X.pre_shared_key)
    if index >= len(offered):
        raise PeerFault(Fault.PSK_SELECTED, f"number {index} of {len(offered)}")
    if offered[index].hash_name != suite.hash_name:
        raise PeerFault(Fault.PSK_SELECTED, f"its hash is not that of {suite.number}")
    if X.key_share not in hello.extensions and offered[index].key_exchange:
        raise PeerFault(Fault.PSK_SELECTED, "without a key exchange, which was not offered")
    return offered[index]


def check_alpn(content: bytes | None, offered: Sequence[str]) -> str | None:
    """RFC 7301 section 3.1: the server names exactly one protocol, out of those that were offered."""
    if content is None:
        return None
    names = ext.decode_alpn(content)
    if len(names) != 1:
        raise PeerFault(Fault.DECODE_ERROR, f"the server selected {len(names)} application protocols")
    if names[0] not in offered:
        raise PeerFault(Fault.ALPN_NOT_OFFERED, repr(names[0]))
    return names[0]


# An error shows so many of a stranger's words, and counts the rest.
MAX_SHOWN: Final = 12


def _names(kind: type[CipherSuite] | type[NamedGroup] | type[SignatureScheme], numbers: Iterable[int]) -> str:
    return _listed(map(kind, numbers)) or "nothing"


def _listed(values: Iterable[object]) -> str:
    words = [str(value) for value in values]
    rest = f" and {len(words) - MAX_SHOWN} more" if len(words) > MAX_SHOWN else ""
    return ", ".join(words[:MAX_SHOWN]) + rest
