"""The provider ``native``: our own engine, TLS 1.3 on the primitives of ``cryptography``."""

from __future__ import annotations

from typing import Final

from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.crypto.suites import SUITES
from tlsprovider.engine import NativeEngine
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import ProtocolVersion
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers.features import FEATURES, check_side, refusal
from tlsprovider.providers.shared import check_name, named
from tlsprovider.record import RecordReader, RecordWriter

__all__ = ["NativeProvider", "provider"]

# What supports() knows beside groups, suites and signature schemes: all there is, but for older versions.
HERE: Final = frozenset(FEATURES) - {"TLSv1.2"}


@implementer(ITLSProvider)
class NativeProvider:
    """See :class:`~tlsprovider.interfaces.ITLSProvider`."""

    name = "native"
    description = "tlsprovider's own TLS 1.3 engine in Python, on the primitives of cryptography"

    def supports(self, feature: str) -> bool:
        return feature in HERE or named(feature, (*IMPLEMENTED_GROUPS, *SUITES, *HANDSHAKE_SCHEMES))

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        """``server_hostname``: a DNS name or an IP address; it is verified, and a name is sent as SNI."""
        check_side(config, server_side=False)
        self._check_versions(config)
        sni = check_name(config, server_hostname)
        reader, writer = RecordReader(), RecordWriter()
        engine: IEngine = NativeEngine(ClientHandshake(config, reader, writer, server_hostname, sni), reader, writer)
        return engine

    def server_engine(self, config: ServerConfig) -> IEngine:
        check_side(config, server_side=True)
        self._check_versions(config)
        reader, writer = RecordReader(), RecordWriter()
        engine: IEngine = NativeEngine(ServerHandshake(config, reader, writer), reader, writer)
        return engine

    def _check_versions(self, config: ClientConfig | ServerConfig) -> None:
        if config.min_version is config.max_version is ProtocolVersion.TLSv1_3:
            return
        for field, version in (("min_version", config.min_version), ("max_version", config.max_version)):
            if version is not ProtocolVersion.TLSv1_3:
                raise refusal(str(version), self.name, f"{field}={str(version)!r}")


provider = NativeProvider()
