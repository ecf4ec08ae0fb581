"""The provider ``native``: our own engine, TLS 1.3 on the primitives of ``cryptography``."""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import sni_name
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.crypto.suites import SUITES
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import ConfigError, UnsupportedByProvider
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import ProtocolVersion
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.record import RecordReader, RecordWriter

__all__ = ["NativeProvider", "provider"]

# What supports() knows beside versions, groups, suites and signature schemes: the pauses and the extras.
FEATURES: Final = frozenset(
    {
        "ClientHelloReceived",
        "ChooseIdentity",
        "SignHandshake",
        "VerifyPeer",
        "alpn",
        "client_auth",
        "exporter",
        "half_close",
        "key_update",
        "keylog",
        "on_event",
        "tls-exporter",
    }
)


@implementer(ITLSProvider)
class NativeProvider:
    """See :class:`~tlsprovider.interfaces.ITLSProvider`."""

    name = "native"
    description = "tlsprovider's own TLS 1.3 engine in Python, on the primitives of cryptography"

    def supports(self, feature: str) -> bool:
        known = [ProtocolVersion.TLSv1_3, *IMPLEMENTED_GROUPS, *SUITES, *HANDSHAKE_SCHEMES]
        return feature in FEATURES or feature.lower() in {str(one).lower() for one in known}

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        """``server_hostname``: a DNS name or an IP address; it is verified, and a name is sent as SNI."""
        if not isinstance(config, ClientConfig):
            raise ConfigError(f"config: a client needs a ClientConfig, got {type(config).__name__}")
        self._check_versions(config)
        if server_hostname is None and config.trust.needs_name and not config.insecure_skip_verify:
            raise ConfigError(
                "server_hostname: a name is needed to verify the server's certificate;"
                " give one, pin the key (TrustStore.pinned), or say insecure_skip_verify=True"
            )
        sni = sni_name(server_hostname) if server_hostname is not None else None
        reader, writer = RecordReader(), RecordWriter()
        engine: IEngine = NativeEngine(ClientHandshake(config, reader, writer, server_hostname, sni), reader, writer)
        return engine

    def server_engine(self, config: ServerConfig) -> IEngine:
        if not isinstance(config, ServerConfig):
            raise ConfigError(f"config: a server needs a ServerConfig, got {type(config).__name__}")
        self._check_versions(config)
        reader, writer = RecordReader(), RecordWriter()
        engine: IEngine = NativeEngine(ServerHandshake(config, reader, writer), reader, writer)
        return engine

    def _check_versions(self, config: ClientConfig | ServerConfig) -> None:
        for field, version in (("min_version", config.min_version), ("max_version", config.max_version)):
            if version is not ProtocolVersion.TLSv1_3:
                raise UnsupportedByProvider(f"{field}={str(version)!r}", self.name, "the provider 'openssl'")


provider = NativeProvider()
