"""What providers can differ in: a name for each thing, and which of them a configuration asks for.

``ITLSProvider.supports(name)`` answers for the names in :data:`FEATURES`, and for those of versions, groups, cipher
suites and signature schemes. What a provider doesn't support it refuses when the engine is made: :func:`insist` goes
through what the configuration asks for (:func:`asked`) and raises for the first thing that isn't there.

A list at its default asks for nothing: every library has such a list of its own, and that one is used. A list that
somebody wrote asks for exactly itself.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from tlsprovider.config import (
    DEFAULT_CIPHER_SUITES,
    DEFAULT_GROUPS,
    DEFAULT_KEY_SHARES,
    DEFAULT_SIGNATURE_SCHEMES,
    DEFAULT_TICKET_COUNT,
    ClientConfig,
    ServerConfig,
)
from tlsprovider.errors import ConfigError, UnsupportedByProvider
from tlsprovider.iana import ProtocolVersion

if TYPE_CHECKING:
    from tlsprovider.identity import Identity

__all__ = ["FEATURES", "asked", "check_side", "insist", "refusal"]

FEATURES: Final = {
    "TLSv1.3": "TLS 1.3",
    "TLSv1.2": "TLS 1.2, with forward secrecy and authenticated encryption only",
    "ClientHelloReceived": "the hook `on_client_hello`, which may pause",
    "ChooseIdentity": "the hook `choose_identity` of a server, which may pause",
    "ChooseIdentity.client": "the hook `choose_identity` of a client, which may pause",
    "SignHandshake": "an identity whose key lives elsewhere, which may pause",
    "VerifyPeer": "the hook `verify_peer`, which may pause",
    "VerifyPeer.ocsp": "`verify_peer` sees a stapled OCSP response",
    "VerifyPeer.scts": "`verify_peer` sees signed certificate timestamps",
    "alpn": "application protocols",
    "alpn.binary": "application protocols with bytes outside ASCII in their names",
    "groups": "a choice and order of key exchange groups",
    "key_shares": "a choice of groups for the first flight",
    "cipher_suites": "a choice and order of cipher suites",
    "signature_schemes": "a choice and order of signature schemes",
    "client_auth": "certificates of clients, asked for or required",
    "client_auth.clock": "certificates of clients, with a clock other than the system's",
    "client_auth.pinned": "keys of clients, pinned",
    "client_auth.unverified": "any certificate of a client: `insecure_skip_verify` of a server",
    "identity.rsa_pss": "an identity whose certificate is for RSASSA-PSS only",
    "identity.mldsa": "an identity with an ML-DSA key",
    "clock": "another clock for the dates of certificates",
    "entropy": "another source of randomness, for tests",
    "keylog": "the key log of RFC 9850",
    "on_event": "events: begin, end and alerts",
    "on_event.messages": "events: each step and each handshake message",
    "exporter": "exported keying material",
    "tls-exporter": "the channel binding of RFC 9266",
    "sessions": "a client's store of sessions, which are resumed",
    "tickets": "session tickets of a server, by keys of the application's or in another number",
    "FindSession": "the hook `find_session`, which may pause",
    "psks": "external pre-shared keys",
    "early_data": "early data (0-RTT), sent or accepted",
    "key_update": "a change of keys when the application asks for it",
    "half_close": "reading goes on after `shutdown()`",
    "group": "the engine tells which group was negotiated",
}

BOTH: Final = (
    ("groups", DEFAULT_GROUPS),
    ("cipher_suites", DEFAULT_CIPHER_SUITES),
    ("signature_schemes", DEFAULT_SIGNATURE_SCHEMES),
    ("clock", time.time),
    ("entropy", os.urandom),
)
SERVER_HOOKS: Final = (
    ("choose_identity", "ChooseIdentity"),
    ("on_client_hello", "ClientHelloReceived"),
    ("find_session", "FindSession"),
    ("accept_early_data", "early_data"),
)


def asked(config: ClientConfig | ServerConfig) -> Iterator[tuple[str, str]]:
    """What a configuration asks for beyond the defaults, as ``(feature, how it says so)``."""
    for version in ProtocolVersion:
        if config.min_version <= version <= config.max_version:
            field = "min_version" if version < config.max_version else "max_version"
            yield str(version), f"{field}={str(version)!r}"
    for field, default in BOTH:
        value = getattr(config, field)
        if value != default:
            yield field, f"{field}={_written(value)}"
            for member in value if isinstance(value, tuple) else ():
                yield str(member), f"{member} ({field})"
    if config.alpn:
        yield "alpn", f"alpn={_written(config.alpn)}"
        if not all(name.isascii() for name in config.alpn):
            yield "alpn.binary", f"alpn={_written(config.alpn)}"
    for field, feature in (("verify_peer", "VerifyPeer"), ("keylog", "keylog"), ("on_event", "on_event")):
        if getattr(config, field) is not None:
            yield feature, f"the hook {field}"
    if config.psks:
        yield "psks", "psks=..."
    yield from _asked_of_client(config) if isinstance(config, ClientConfig) else _asked_of_server(config)


def _asked_of_client(config: ClientConfig) -> Iterator[tuple[str, str]]:
    if config.key_shares != config.groups[:DEFAULT_KEY_SHARES]:
        yield "key_shares", f"key_shares={_written(config.key_shares)}"
    if config.choose_identity is not None:
        yield "ChooseIdentity.client", "the hook choose_identity of a client"
    if config.identity is not None:
        yield from asked_of_identity(config.identity)
    if config.sessions is not None and not getattr(config.sessions, "automatic", False):
        yield "sessions", "sessions=..."
    if config.early_data:
        yield "early_data", "early_data=True"


def _asked_of_server(config: ServerConfig) -> Iterator[tuple[str, str]]:
    for field, feature in SERVER_HOOKS:
        if getattr(config, field) is not None:
            yield feature, f"the hook {field}"
    if config.max_early_data:
        yield "early_data", f"max_early_data={config.max_early_data}"
    if config.client_auth != "none":
        yield "client_auth", f"client_auth={config.client_auth!r}"
        if config.insecure_skip_verify:
            yield "client_auth.unverified", "insecure_skip_verify of a server"
        elif config.trust is not None and not config.trust.needs_name:
            yield "client_auth.pinned", "trust=TrustStore.pinned(...) of a server"
        if config.clock is not time.time:
            yield "client_auth.clock", "client_auth with a clock of its own"
    if config.tickets is not None and not getattr(config.tickets, "automatic", False):
        yield "tickets", "tickets=..."
    if config.ticket_count != DEFAULT_TICKET_COUNT:
        yield "tickets", f"ticket_count={config.ticket_count}"
    for identity in config.identities:
        yield from asked_of_identity(identity)


def asked_of_identity(identity: Identity) -> Iterator[tuple[str, str]]:
    """What an identity asks of whoever is to show it."""
    if identity.external:
        yield "SignHandshake", "an identity whose key lives elsewhere"
    if identity.schemes[0].name.startswith("rsa_pss_pss"):
        yield "identity.rsa_pss", "an identity whose certificate is for RSASSA-PSS only"
    if identity.schemes[0].name.startswith("mldsa"):
        yield "identity.mldsa", "an identity with an ML-DSA key"


def _written(value: object) -> str:
    """As somebody would write it: names for lists, nothing that a callable might hold."""
    return repr([str(member) for member in value]) if isinstance(value, tuple) else "..."


def insist(supports: Callable[[str], bool], name: str, asked_for: Iterator[tuple[str, str]]) -> None:
    """Raise :exc:`UnsupportedByProvider` for the first thing that ``supports`` denies."""
    for feature, text in asked_for:
        if not supports(feature):
            raise refusal(feature, name, text)


def refusal(feature: str, name: str, text: str = "") -> UnsupportedByProvider:
    """The exception that says that the provider ``name`` can't, and who can."""
    from tlsprovider.providers import list_providers

    able = [repr(one.name) for one in list_providers() if one.name not in (name, "auto") and one.supports(feature)]
    who_can = f"the provider {' or '.join(able)}" if able else ""
    return UnsupportedByProvider(text or FEATURES.get(feature, feature), name, who_can)


def check_side(config: object, server_side: bool) -> None:
    """The configuration has to be of that side."""
    wanted = ServerConfig if server_side else ClientConfig
    if not isinstance(config, wanted):
        side = "server" if server_side else "client"
        raise ConfigError(f"config: a {side} needs a {wanted.__name__}, got {type(config).__name__}")
