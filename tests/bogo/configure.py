"""Settings to a configuration of ours, with BoringSSL's defaults: the runner's tests are written against those."""

from __future__ import annotations

import time
from typing import Any

import attrs

from bogo.flags import Credential, Settings, Unimplemented
from bogo.hooks import Hooks, Seen
from bogo.ssl_object import OverSSL
from tlsprovider import iana
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.tickets import TicketKeyRing
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.session import Session
from tlsprovider.ssl import SSL

__all__ = ["Made", "allows_older_versions", "make"]

TLS13 = int(iana.ProtocolVersion.TLSv1_3)

# What BoringSSL offers when it isn't told, and which of those it sends a share for: the first, and the first of the
# other kind (post-quantum or not).
DEFAULT_GROUPS = ("X25519MLKEM768", "x25519", "secp256r1", "secp384r1")
# What BoringSSL lets a peer sign with; of the schemes that may sign a handshake.
DEFAULT_VERIFY_PREFS = (
    "ecdsa_secp256r1_sha256",
    "rsa_pss_rsae_sha256",
    "ecdsa_secp384r1_sha384",
    "rsa_pss_rsae_sha384",
    "rsa_pss_rsae_sha512",
)
CERTIFICATES_ONLY = ("rsa_pkcs1_", "ecdsa_sha1")

# Profiles that BoringSSL has by name, in our words: what NIST SP 800-52r2 (sections 3.1 and 3.3.1) and WPA3 (section
# 3.5, 192 bit) leave of TLS 1.3.
FIPS_202205 = {
    "groups": ["secp256r1", "secp384r1"],
    "cipher_suites": ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384"],
    "signature_schemes": [
        "ecdsa_secp256r1_sha256",
        "ecdsa_secp384r1_sha384",
        "rsa_pss_rsae_sha256",
        "rsa_pss_rsae_sha384",
        "rsa_pss_rsae_sha512",
    ],
}
WPA_202304 = {
    "groups": ["secp384r1"],
    "cipher_suites": ["TLS_AES_256_GCM_SHA384"],
    "signature_schemes": ["ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha384", "rsa_pss_rsae_sha512"],
}


@attrs.define
class Acquainted:
    """What lasts from one connection of a test to the next."""

    tickets: TicketKeyRing = attrs.field(factory=TicketKeyRing)
    """Server: the keys of its tickets."""
    session: Session | None = None
    """Client: what the connection before has left."""
    later: int = 0
    """Seconds by which our clock is ahead."""

    started: float = attrs.field(factory=time.time)

    def clock(self) -> float:
        """It stands still: tests look at ages to the millisecond."""
        return self.started + self.later


@attrs.frozen
class Made:
    """An engine for one connection, and what belongs to it. Identities are in the order of preference."""

    engine: IEngine | OverSSL
    negotiated: IEngine | SSL
    """What says how the handshake went."""
    hooks: Hooks
    seen: Seen
    identities: list[Identity]
    signing_for: Identity | None
    """Who signs late, when there is one to sign and the test is ``-async``."""

    @property
    def session(self) -> Session | None:
        negotiated = self.negotiated
        return negotiated.get1_session() if isinstance(negotiated, SSL) else getattr(negotiated, "session", None)


def allows_older_versions(settings: Settings) -> bool:
    """Whether the test lets the shim speak something older than TLS 1.3, which this engine can't."""
    switched_off = ((0x0303, settings.no_tls12), (0x0302, settings.no_tls11), (0x0301, settings.no_tls1))
    return any(not off and version >= settings.min_version for version, off in switched_off)


def make(settings: Settings, acquainted: Acquainted) -> Made:
    """Raises :exc:`Unimplemented` for what the provider can't do."""
    for name, version in (("-max-version", settings.max_version), ("-expect-version", settings.expect_version)):
        if version and version < TLS13:
            raise Unimplemented(f"{name} {iana.ProtocolVersion(version)}")
    seen = Seen()
    default, *others = settings.credentials
    # BoringSSL tries the credential that was given the old way last.
    plain = [_identity(one, _profile(settings)) for one in (*others, default) if one.cert_file or one.key_file]
    hooks = Hooks(settings, seen, plain)
    signing_for = plain[0] if settings.late and len(plain) == 1 else None
    if signing_for is not None:
        plain[0] = Identity.with_signer(
            signing_for.certificates, hooks.late_signer(signing_for), schemes=signing_for.schemes
        )
    common = _common(settings, hooks, seen)
    if settings.resume_count:
        common["clock"] = acquainted.clock
    if settings.server:
        common["tickets"] = None if settings.no_ticket else acquainted.tickets
    config = (_server if settings.server else _client)(settings, hooks, plain, common)
    engine = _engine(settings, config)
    if not settings.server and acquainted.session is not None:
        engine.set_session(acquainted.session)  # type: ignore[union-attr]
    return Made(engine, engine.ssl if isinstance(engine, OverSSL) else engine, hooks, seen, plain, signing_for)


def _engine(settings: Settings, config: ClientConfig | ServerConfig) -> IEngine | OverSSL:
    name = settings.host_name or None
    if settings.ssl_object and settings.expect_selected_credential is not None:
        raise Unimplemented("the SSL object does not say which certificate it has shown")
    if settings.ssl_object or settings.implicit_handshake or settings.peek_then_read:
        return OverSSL(config, settings.provider, name, peek=settings.peek_then_read)
    provider = get_provider(settings.provider)
    if isinstance(config, ServerConfig):
        return provider.server_engine(config)
    return provider.client_engine(config, name)


def _profile(settings: Settings) -> dict[str, list[str]]:
    if settings.fips_202205:
        return FIPS_202205
    return WPA_202304 if settings.wpa_202304 else {}


def _identity(credential: Credential, profile: dict[str, list[str]]) -> Identity:
    if not credential.cert_file or not credential.key_file:
        raise Unimplemented("a credential of half a pair")
    identity = Identity.from_files(credential.cert_file, credential.key_file)
    if not credential.signing_prefs and not profile:
        return identity
    schemes = [iana.SignatureScheme(one) for one in credential.signing_prefs]
    schemes = schemes or [iana.SignatureScheme.parse(name) for name in profile["signature_schemes"]]
    able = [scheme for scheme in schemes if scheme in identity.schemes]
    if not able:
        raise Unimplemented("signing preferences that no key of ours can follow")
    return attrs.evolve(identity, schemes=tuple(able))


def _common(settings: Settings, hooks: Hooks, seen: Seen) -> dict[str, Any]:
    """The arguments that both kinds of configuration take."""
    groups = [iana.NamedGroup(number) for number in settings.curves]
    chosen: dict[str, Any] = {
        "groups": groups or list(DEFAULT_GROUPS),
        "signature_schemes": _verify_prefs(settings),
        "insecure_skip_verify": True,
        "on_event": seen.on_event,
        **_profile(settings),
    }
    if settings.export_traffic_secrets:
        chosen["keylog"] = seen.keylog
    # Hooks only where a test looks at them, so that all others run without.
    if _wants_verify_hook(settings):
        chosen["verify_peer"] = hooks.late(hooks.verify_peer)
    if _wants_identity_hook(settings):
        chosen["choose_identity"] = hooks.late(hooks.choose_identity)
    return chosen


def _verify_prefs(settings: Settings) -> list[str]:
    if not settings.verify_prefs:
        return list(DEFAULT_VERIFY_PREFS)
    names = [str(iana.SignatureScheme(number)) for number in settings.verify_prefs]
    able = [name for name in names if not name.startswith(CERTIFICATES_ONLY)]
    if not able:
        raise Unimplemented("signature algorithms that TLS 1.3 does not have")
    return able


def _wants_verify_hook(settings: Settings) -> bool:
    return bool(
        settings.verify_fail
        or settings.use_custom_verify_callback
        or settings.expect_verify_result
        or settings.enable_ocsp_stapling
        or settings.enable_signed_cert_timestamps
    )


def _wants_identity_hook(settings: Settings) -> bool:
    if len(settings.credentials) > 1:
        # The engine chooses by itself; a hook would take that away.
        return False
    return bool(
        settings.late
        or settings.fail_cert_callback
        or settings.expect_peer_verify_pref
        or settings.expect_client_ca_list
        or settings.use_old_client_cert_callback
    )


def _client(settings: Settings, hooks: Hooks, identities: list[Identity], common: dict[str, Any]) -> ClientConfig:
    if len(identities) > 1:
        raise Unimplemented("a client with several certificates")
    groups = [str(group) for group in common["groups"]]
    shares = [str(iana.NamedGroup(number)) for number in settings.key_shares] or _default_shares(groups)
    return ClientConfig(
        **common,
        key_shares=shares,
        identity=identities[0] if identities else None,
        alpn=_split_alpn(settings.advertise_alpn),
    )


def _default_shares(groups: list[str]) -> list[str]:
    first = groups[0]
    other = [group for group in groups if ("MLKEM" in group) != ("MLKEM" in first)]
    return [first, *other[:1]]


def _server(settings: Settings, hooks: Hooks, identities: list[Identity], common: dict[str, Any]) -> ServerConfig:
    if settings.require_any_client_certificate:
        common["client_auth"] = "require"
    elif settings.verify_peer:
        common["client_auth"] = "request"
    if settings.use_client_ca_list not in ("", "<NULL>", "<EMPTY>"):
        raise Unimplemented("names of authorities without their certificates")
    if settings.select_alpn and not settings.decline_alpn:
        common["alpn"] = [settings.select_alpn]
    if _wants_hello_hook(settings):
        common["on_client_hello"] = hooks.late(hooks.on_client_hello)
    config = ServerConfig(**common, identities=identities)
    hooks.go_on_with = config
    return config


def _wants_hello_hook(settings: Settings) -> bool:
    return bool(
        settings.use_early_callback
        or settings.fail_early_callback
        or settings.install_ddos_callback
        or settings.expect_server_name
        or settings.expect_no_server_name
        or settings.expect_advertised_alpn
        or settings.reject_alpn
        or settings.late
    )


def _split_alpn(encoded: bytes) -> list[bytes]:
    """Protocol names as they are on the wire, each with its length before it."""
    names = []
    while encoded:
        length = encoded[0]
        names.append(encoded[1 : 1 + length])
        encoded = encoded[1 + length :]
    return names
