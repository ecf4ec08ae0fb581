"""What a ClientHello asks for, decoded: section 4.3, and what section 9.2 insists on."""

from __future__ import annotations

from typing import Final

import attrs

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import NamedGroup
from tlsprovider.values import value
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.extensions import OfferedPsks
from tlsprovider.wire.messages import ClientHello

__all__ = ["Asked", "decode_asked"]


@value
class Asked:
    """What a ClientHello asks for, decoded."""

    server_name: str | None
    alpn: tuple[str, ...]
    groups: tuple[int, ...]
    schemes: tuple[int, ...]
    shares: dict[int, bytes] = attrs.field(repr=False)
    authorities: tuple[bytes, ...] = attrs.field(repr=False)
    psks: OfferedPsks | None = attrs.field(repr=False)
    psk_modes: bytes


# Section 9.2.
NEEDED: Final = (X.signature_algorithms, X.supported_groups, X.key_share)


def decode_asked(hello: ClientHello) -> Asked:
    """Read the extensions that a server of TLS 1.3 needs, and insist on those of section 9.2.

    A client with pre-shared keys may leave out what is for certificates (``schemes`` is then empty), and its shares.
    """
    extensions = hello.extensions or {}
    psks = extensions.get(X.pre_shared_key)
    modes = extensions.get(X.psk_key_exchange_modes)
    if psks is not None and modes is None:
        raise PeerFault(Fault.PSK_WITHOUT_MODES)
    for needed in NEEDED if psks is None else ():
        if needed not in extensions:
            raise PeerFault(Fault.MISSING_EXTENSION, f"{needed} in ClientHello")
    schemes = extensions.get(X.signature_algorithms)
    known, shared = extensions.get(X.supported_groups), extensions.get(X.key_share)
    if (known is None) is not (shared is None):
        raise PeerFault(Fault.MISSING_EXTENSION, "supported_groups or key_share in ClientHello, without the other")
    groups = ext.decode_u16s(known, X.supported_groups) if known is not None else ()
    shares = ext.decode_key_shares(shared) if shared is not None else {}
    listed = frozenset(groups)
    for group in shares:
        if group not in listed:
            raise PeerFault(Fault.KEY_SHARE_UNLISTED, str(NamedGroup(group)))
    name = extensions.get(X.server_name)
    alpn = extensions.get(X.application_layer_protocol_negotiation)
    authorities = extensions.get(X.certificate_authorities)
    return Asked(
        server_name=ext.decode_server_name(name) if name is not None else None,
        alpn=ext.decode_alpn(alpn) if alpn is not None else (),
        groups=groups,
        schemes=ext.decode_u16s(schemes, X.signature_algorithms) if schemes is not None else (),
        shares=shares,
        authorities=ext.decode_authorities(authorities) if authorities is not None else (),
        psks=ext.decode_offered_psks(psks) if psks is not None else None,
        psk_modes=ext.decode_psk_modes(modes) if modes is not None else b"",
    )
