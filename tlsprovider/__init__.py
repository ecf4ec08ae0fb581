"""TLS for Twisted and trio, with a handshake engine of our own. See ``README.md`` and ``docs/``."""

from __future__ import annotations

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    ClosedByPeer,
    ConfigError,
    Fault,
    HookError,
    MisuseError,
    PeerFault,
    TLSError,
    TruncatedError,
    UnsupportedByProvider,
    Want,
    WantRead,
)
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider, list_providers
from tlsprovider.questions import (
    LATER,
    ChooseIdentity,
    ClientHelloReceived,
    Question,
    SignHandshake,
    VerifyPeer,
    WantAnswer,
)
from tlsprovider.trust import TrustStore

__all__ = [
    "LATER",
    "AlertReceived",
    "CertificateFault",
    "ChooseIdentity",
    "ClientConfig",
    "ClientHelloReceived",
    "ClosedByPeer",
    "ConfigError",
    "Fault",
    "HookError",
    "Identity",
    "MisuseError",
    "PeerFault",
    "Question",
    "ServerConfig",
    "SignHandshake",
    "TLSError",
    "TruncatedError",
    "TrustStore",
    "UnsupportedByProvider",
    "VerifyPeer",
    "Want",
    "WantAnswer",
    "WantRead",
    "get_provider",
    "list_providers",
]

__version__ = "0.1.0"
