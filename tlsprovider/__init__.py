"""TLS for Twisted and trio, with a handshake engine of our own. See ``README.md`` and ``docs/``.

Names are imported when they are first used (PEP 562): Twisted's plugin system, and every subpackage, import this one,
and most of them need only a part of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsprovider.late import late_names

if TYPE_CHECKING:
    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.crypto.tickets import TicketKey, TicketKeyRing
    from tlsprovider.errors import (
        AlertReceived,
        CertificateFault,
        ClosedByPeer,
        ConfigError,
        Fault,
        HelloRefused,
        HookError,
        MisuseError,
        PeerFault,
        TLSError,
        TruncatedError,
        UnsupportedByProvider,
        Want,
        WantRead,
    )
    from tlsprovider.events import Event
    from tlsprovider.identity import Identity, Signer
    from tlsprovider.identity_directory import IdentityDirectory
    from tlsprovider.providers import get_provider, list_providers
    from tlsprovider.psk import ExternalPsk
    from tlsprovider.questions import (
        LATER,
        AcceptEarlyData,
        ChooseIdentity,
        ClientHelloReceived,
        FindSession,
        Question,
        SignHandshake,
        VerifyPeer,
        WantAnswer,
    )
    from tlsprovider.session import MemorySessions, Session
    from tlsprovider.trust import TrustStore

__all__ = [
    "LATER",
    "AcceptEarlyData",
    "AlertReceived",
    "CertificateFault",
    "ChooseIdentity",
    "ClientConfig",
    "ClientHelloReceived",
    "ClosedByPeer",
    "ConfigError",
    "Event",
    "ExternalPsk",
    "Fault",
    "FindSession",
    "HelloRefused",
    "HookError",
    "Identity",
    "IdentityDirectory",
    "MemorySessions",
    "MisuseError",
    "PeerFault",
    "Question",
    "ServerConfig",
    "Session",
    "SignHandshake",
    "Signer",
    "TLSError",
    "TicketKey",
    "TicketKeyRing",
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

__getattr__, __dir__ = late_names(
    globals(),
    {
        "config": ("ClientConfig", "ServerConfig"),
        "errors": (
            "AlertReceived",
            "CertificateFault",
            "ClosedByPeer",
            "ConfigError",
            "Fault",
            "HelloRefused",
            "HookError",
            "MisuseError",
            "PeerFault",
            "TLSError",
            "TruncatedError",
            "UnsupportedByProvider",
            "Want",
            "WantRead",
        ),
        "events": ("Event",),
        "identity": ("Identity", "Signer"),
        "identity_directory": ("IdentityDirectory",),
        "providers": ("get_provider", "list_providers"),
        "questions": (
            "LATER",
            "AcceptEarlyData",
            "ChooseIdentity",
            "ClientHelloReceived",
            "FindSession",
            "Question",
            "SignHandshake",
            "VerifyPeer",
            "WantAnswer",
        ),
        "crypto.tickets": ("TicketKey", "TicketKeyRing"),
        "psk": ("ExternalPsk",),
        "session": ("MemorySessions", "Session"),
        "trust": ("TrustStore",),
    },
)
