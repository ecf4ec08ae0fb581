"""Our errors as those of pyOpenSSL, for callers that catch ``OpenSSL.SSL.Error`` and look into its ``args``.

Twisted's own TLS tells an end of file from other errors by ``args``, so their shape is part of the contract: a list of
``(library, function, reason)`` in ``Error``, ``(-1, "Unexpected EOF")`` in ``SysCallError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from OpenSSL import SSL

from tlsprovider.errors import CertificateFault, TLSError, TruncatedError
from tlsprovider.providers.openssl_errors import words_for

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.iana import AlertDescription

__all__ = ["ConnectionFailed", "ConnectionTruncated", "as_openssl_error"]


class _Explained:
    """What is known about a failure beside pyOpenSSL's words.

    :ivar failure: the :exc:`~tlsprovider.errors.TLSError` behind it, which is ``__cause__`` as well.
    :ivar alert: the alert that was sent, or received; None where there was none.
    :ivar reason: what happened, in a sentence; also what ``str()`` gives.
    :ivar chain: the peer's certificates as it sent them, leaf first, as objects of ``cryptography``; empty while none
        are known.
    """

    failure: TLSError
    alert: AlertDescription | None
    reason: str
    chain: tuple[Certificate, ...]

    def __str__(self) -> str:
        return self.reason


class ConnectionFailed(_Explained, SSL.Error):
    """The connection has failed; ``args[0]`` is ``[("SSL routines", "", reason)]``, in OpenSSL's words if any."""


class ConnectionTruncated(_Explained, SSL.SysCallError):
    """The transport ended without close_notify; ``args`` is ``(-1, "Unexpected EOF")``."""


def as_openssl_error(failure: TLSError, chain: tuple[Any, ...] = ()) -> ConnectionFailed | ConnectionTruncated:
    """The exception to raise in place of ``failure``, whose traceback is dropped: its frames may hold secrets."""
    reason = str(failure)
    error: ConnectionFailed | ConnectionTruncated
    if isinstance(failure, TruncatedError):
        error = ConnectionTruncated(-1, "Unexpected EOF")
    else:
        error = ConnectionFailed([("SSL routines", "", words_for(failure))])
    error.failure = failure
    error.alert = failure.alert
    error.reason = reason
    error.chain = chain or (failure.certificates if isinstance(failure, CertificateFault) else ())
    error.__cause__ = failure.with_traceback(None)
    return error
