"""TLS with the semantics of SSL_do_handshake(3): return codes, BIOs, and the reasons for waiting.

:class:`SSL` is in :mod:`tlsprovider.ssl.connection`, whose introduction tells how it works.
"""

from __future__ import annotations

from tlsprovider.ssl.bio import BIO, MemoryBIO, PairBIO, Retry, RetryReason, bio_pair
from tlsprovider.ssl.bio_socket import BufferBIO, SocketBIO
from tlsprovider.ssl.codes import ErrorCode, InfoEvent, Mode, Shutdown, VerifyResult, Wanted
from tlsprovider.ssl.connection import SSL
from tlsprovider.ssl.sessions import EarlyDataStatus

__all__ = [
    "BIO",
    "SSL",
    "BufferBIO",
    "EarlyDataStatus",
    "ErrorCode",
    "InfoEvent",
    "MemoryBIO",
    "Mode",
    "PairBIO",
    "Retry",
    "RetryReason",
    "Shutdown",
    "SocketBIO",
    "VerifyResult",
    "Wanted",
    "bio_pair",
]
