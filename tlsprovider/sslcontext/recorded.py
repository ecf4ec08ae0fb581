"""What was said to an ``ssl.SSLContext``, and the configuration that it amounts to."""

from __future__ import annotations

import os
import ssl
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

import attrs

from tlsprovider.config import DEFAULT_GROUPS, DEFAULT_TICKET_COUNT, ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError
from tlsprovider.iana import NamedGroup, ProtocolVersion
from tlsprovider.questions import ClientHelloReceived
from tlsprovider.sslcontext.trust import LoadedTrust
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.identity import Identity
    from tlsprovider.sslcontext.context import SSLContext

__all__ = ["Given", "KeyLogFile", "Recorded"]

CLIENT_AUTH: Final = {ssl.CERT_NONE: "none", ssl.CERT_OPTIONAL: "request", ssl.CERT_REQUIRED: "require"}


class KeyLogFile:
    """Appends lines to a file, as OpenSSL does for ``keylog_filename``. A new one only its owner may read."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = Lock()
        self._append("")

    def __call__(self, line: str) -> None:
        self._append(line + "\n")

    def _append(self, text: str) -> None:
        with self._lock, open(self.path, "a", opener=_private) as file:
            file.write(text)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Given:
    """A configuration that somebody has made. Only the protocols may change: httpcore sets them for each connection."""

    def __init__(self, config: ClientConfig | ServerConfig) -> None:
        self._config = config

    def config(self, context: SSLContext) -> ClientConfig | ServerConfig:
        return self._config

    def set_alpn(self, names: tuple[str, ...]) -> None:
        if names != self._config.alpn:
            self._config = attrs.evolve(self._config, alpn=names)

    def trusted(self) -> tuple[Certificate, ...]:
        trust = self._config.trust
        return trust.certificates if trust is not None else ()

    @property
    def ticket_count(self) -> int:
        return self._config.ticket_count if isinstance(self._config, ServerConfig) else 0

    @property
    def keylog(self) -> None:
        return None


class Recorded:
    """What was loaded and set, piece by piece."""

    def __init__(self) -> None:
        self.alpn: tuple[str, ...] = ()
        self.groups: tuple[NamedGroup, ...] = DEFAULT_GROUPS
        self.keylog: KeyLogFile | None = None
        self.ticket_count = DEFAULT_TICKET_COUNT
        self._identities: dict[object, Identity] = {}
        self._certificates: list[Certificate] = []
        self._system = False
        self._made: tuple[object, ClientConfig | ServerConfig] | None = None
        self._trust: dict[object, TrustStore] = {}

    def add_identity(self, identity: Identity) -> None:
        """One for each kind of key, as OpenSSL; the latest counts, and goes first on a client."""
        self._identities = {**self._identities, identity.schemes: identity}

    def add_trusted(self, certificates: list[Certificate]) -> None:
        self._certificates = [*self._certificates, *certificates]

    def add_system_trust(self) -> None:
        self._system = True

    def set_alpn(self, names: tuple[str, ...]) -> None:
        self.alpn = names

    def trusted(self) -> tuple[Certificate, ...]:
        return self._trust_store(True).certificates

    # -- the configuration -----------------------------------------------------------------------------------------

    def config(self, context: SSLContext) -> ClientConfig | ServerConfig:
        """Made when it is needed, and again when something has changed: it is shared by connections until then."""
        fields = self._fields(context)
        key = tuple(fields.items())
        made = self._made
        if made is None or made[0] != key:
            # Two threads may both make one; either will do.
            made = key, self._server_config(fields) if context.is_for_servers else ClientConfig(**fields)
            self._made = made
        return made[1]

    def _fields(self, context: SSLContext) -> dict[str, Any]:
        oldest, newest = versions(context)
        fields: dict[str, Any] = {
            "alpn": self.alpn,
            "groups": self.groups,
            "keylog": self.keylog,
            "min_version": oldest,
            "max_version": newest,
        }
        identities = tuple(self._identities.values())
        if context.is_for_servers:
            fields["identities"] = identities
            fields["client_auth"] = CLIENT_AUTH[context.verify_mode]
            fields["ticket_count"] = self.ticket_count
            if context.options & ssl.OP_NO_TICKET:
                fields["tickets"] = None
            if context.verify_mode != ssl.CERT_NONE:
                fields["trust"] = self._trust_store(False)
            return fields
        fields["identity"] = identities[-1] if identities else None
        fields["trust"] = self._trust_store(context.check_hostname)
        fields["insecure_skip_verify"] = context.verify_mode == ssl.CERT_NONE
        return fields

    def _trust_store(self, check_name: bool) -> TrustStore:
        if self._system and not self._certificates and check_name:
            return TrustStore.system()
        key = check_name, self._system, len(self._certificates)
        if key not in self._trust:
            self._trust[key] = LoadedTrust(self._certificates, self._system, check_name)
        return self._trust[key]

    @staticmethod
    def _server_config(fields: dict[str, Any]) -> ServerConfig:
        if not fields["identities"]:
            raise ConfigError("a server needs a certificate: call load_cert_chain() on this SSLContext first")
        if not fields["alpn"]:
            return ServerConfig(**fields)
        # Documented for ssl: where no protocol is common there is none. RFC 7301 section 3.2, and a ServerConfig, end
        # such a handshake with an alert.
        without = ServerConfig(**{**fields, "alpn": ()})

        def choose(question: ClientHelloReceived) -> ServerConfig:
            return config if not set(question.alpn).isdisjoint(config.alpn) else without

        config = ServerConfig(**fields, on_client_hello=choose)
        return config


def versions(context: SSLContext) -> tuple[ProtocolVersion, ProtocolVersion]:
    """The oldest and the newest version that the context allows and the provider can have."""
    oldest, newest = ProtocolVersion.TLSv1_3, ProtocolVersion.TLSv1_3
    if context.speaks_tls12:
        if context.minimum_version < ssl.TLSVersion.TLSv1_3 and not context.options & ssl.OP_NO_TLSv1_2:
            oldest = ProtocolVersion.TLSv1_2
        newest_allowed = context.maximum_version
        if newest_allowed == ssl.TLSVersion.TLSv1_2 or context.options & ssl.OP_NO_TLSv1_3:
            newest = ProtocolVersion.TLSv1_2
    return oldest, newest
