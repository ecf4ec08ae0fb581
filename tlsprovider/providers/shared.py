"""What the providers around OpenSSL, by whichever binding, have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import sni_name
from tlsprovider.errors import ConfigError
from tlsprovider.iana import CipherSuite, RegistryEnum

if TYPE_CHECKING:
    from tlsprovider.identity import Identity
    from tlsprovider.interfaces import IEngine

__all__ = ["MAX_PLAINTEXT", "PerPair", "check_name", "iana_name", "named", "openssl_name", "tell_port", "tls12_ciphers"]

MAX_PLAINTEXT: Final = 1 << 14

# TLS 1.2 is spoken with forward secrecy and authenticated encryption only, and with the ciphers that the configuration
# allows for TLS 1.3: OpenSSL's name, IANA's name.
TLS12_SUITES: Final = {
    CipherSuite.TLS_AES_128_GCM_SHA256: (
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"),
        ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
    ),
    CipherSuite.TLS_AES_256_GCM_SHA384: (
        ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"),
    ),
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: (
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
        ("ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
    ),
}
IANA_NAMES: Final = {openssl: iana for pairs in TLS12_SUITES.values() for openssl, iana in pairs}
OPENSSL_NAMES: Final = {iana: openssl for openssl, iana in IANA_NAMES.items()}

T = TypeVar("T")


def tls12_ciphers(suites: Iterable[CipherSuite]) -> str:
    """OpenSSL's list for TLS 1.2 (openssl-ciphers(1)) that goes with these suites of TLS 1.3."""
    return ":".join(openssl for suite in suites for openssl, _ in TLS12_SUITES[suite])


def iana_name(openssl: str) -> str:
    """The suites of TLS 1.3 have one name only."""
    return IANA_NAMES.get(openssl, openssl)


def openssl_name(iana: str) -> str:
    return OPENSSL_NAMES.get(iana, iana)


def named(feature: str, members: Collection[RegistryEnum]) -> bool:
    """Whether a name, in any case, is one of these."""
    return feature.lower() in {str(member).lower() for member in members}


def check_name(config: ClientConfig, server_hostname: str | None) -> str | None:
    """What to send as SNI. Raises ConfigError where a name is needed, or is none."""
    if server_hostname is None and config.trust.needs_name and not config.insecure_skip_verify:
        raise ConfigError(
            "server_hostname: a name is needed to verify the server's certificate;"
            " give one, pin the key (TrustStore.pinned), or say insecure_skip_verify=True"
        )
    return sni_name(server_hostname) if server_hostname is not None else None


def tell_port(engine: IEngine, port: int) -> None:
    """Sessions are kept apart by the server's port, by an engine that keeps them."""
    set_port = getattr(engine, "set_port", None)
    if set_port is not None:
        set_port(port)


class _Made(Generic[T]):
    __slots__ = ("alone", "by_identity")

    def __init__(self) -> None:
        self.alone: T | None = None
        self.by_identity: WeakKeyDictionary[Identity, T] = WeakKeyDictionary()


class PerPair(Generic[T]):
    """Makes something once for each configuration and identity, and forgets it with the first of them that goes."""

    def __init__(self, make: Callable[[ClientConfig | ServerConfig, Identity | None], T]) -> None:
        self._make = make
        self._made: WeakKeyDictionary[ClientConfig | ServerConfig, _Made[T]] = WeakKeyDictionary()

    def of(self, config: ClientConfig | ServerConfig, identity: Identity | None) -> T:
        made = self._made.setdefault(config, _Made())
        found = made.alone if identity is None else made.by_identity.get(identity)
        if found is None:
            found = self._make(config, identity)
            if identity is None:
                made.alone = found
            else:
                made.by_identity[identity] = found
        return found
