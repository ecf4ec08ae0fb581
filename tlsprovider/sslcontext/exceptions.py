"""Our errors as those of Python's :mod:`ssl`, for code that catches these.

Each has what CPython gives it: ``errno`` and ``strerror`` in its arguments, ``library``, ``reason`` (OpenSSL's word,
where OpenSSL has one for the thing; otherwise the name of our :class:`~tlsprovider.errors.Fault`), and for certificates
``verify_code`` (an X509_V_ERR number) and ``verify_message``. ``__cause__`` is the :class:`~tlsprovider.TLSError`.
"""

from __future__ import annotations

import ssl
from typing import Final, TypeVar

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
)
from tlsprovider.iana import AlertDescription as Alert

__all__ = ["ssl_error", "want_read", "want_write", "zero_return"]

E = TypeVar("E", bound=ssl.SSLError)

# OpenSSL's words for alerts of the peer: the reasons from 1000 on of ssl.h.
SSLV3: Final = range(10, 48)
TLSV13: Final = {Alert(109), Alert(116)}
WITHOUT_PREFIX: Final = range(110, 115)
SHORT: Final = {Alert(21): "DECRYPTION_FAILED", Alert(60): "EXPORT_RESTRICTION", Alert(90): "USER_CANCELLED"}
TLSV1_BELOW_48: Final = {Alert(21), Alert(22)}

# OpenSSL's words for what it finds wrong itself.
REASONS: Final = {
    Fault.NOT_TLS: "WRONG_VERSION_NUMBER",
    Fault.RECORD_VERSION: "WRONG_VERSION_NUMBER",
    Fault.BAD_RECORD_MAC: "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
    Fault.NO_COMMON_VERSION: "UNSUPPORTED_PROTOCOL",
    Fault.NO_COMMON_SUITE: "NO_SHARED_CIPHER",
    Fault.NO_COMMON_GROUP: "NO_SUITABLE_KEY_SHARE",
    Fault.NO_COMMON_SIGNATURE: "NO_SUITABLE_SIGNATURE_ALGORITHM",
    Fault.NO_COMMON_ALPN: "NO_APPLICATION_PROTOCOL",
    Fault.CERTIFICATE_REQUIRED: "PEER_DID_NOT_RETURN_A_CERTIFICATE",
    Fault.SIGNATURE_INVALID: "BAD_SIGNATURE",
    Fault.FINISHED_MISMATCH: "DIGEST_CHECK_FAILED",
}

# X509_V_ERR_...: x509_vfy.h.
VERIFY_CODES: Final = {
    Fault.CERTIFICATE_EXPIRED: 10,
    Fault.CERTIFICATE_UNKNOWN_ISSUER: 20,
    Fault.CERTIFICATE_NAME: 62,
    Fault.CERTIFICATE_PURPOSE: 26,
    Fault.CERTIFICATE_SIGNATURE: 7,
    Fault.CERTIFICATE_CHAIN_LONG: 22,
    Fault.CERTIFICATE_REFUSED: 50,
}
UNSPECIFIED: Final = 1


def want_read() -> ssl.SSLWantReadError:
    return _made(ssl.SSLWantReadError, ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)")


def want_write() -> ssl.SSLWantWriteError:
    return _made(ssl.SSLWantWriteError, ssl.SSL_ERROR_WANT_WRITE, "The operation did not complete (write)")


def zero_return() -> ssl.SSLZeroReturnError:
    return _made(ssl.SSLZeroReturnError, ssl.SSL_ERROR_ZERO_RETURN, "TLS/SSL connection has been closed (EOF)")


def ssl_error(problem: TLSError, reason: str | None = None) -> ssl.SSLError:
    """The exception of ``ssl`` that says the same, with ``problem`` as its cause. ``reason``: where OpenSSL has one."""
    if reason is None:
        error = _translated(problem)
    else:
        error = _with_reason(ssl.SSLError, ssl.SSL_ERROR_SSL, reason, str(problem))
    error.__cause__ = problem
    return error


def _translated(problem: TLSError) -> ssl.SSLError:
    if isinstance(problem, TruncatedError):
        return _with_reason(
            ssl.SSLEOFError,
            ssl.SSL_ERROR_EOF,
            "UNEXPECTED_EOF_WHILE_READING",
            "EOF occurred in violation of protocol",
        )
    if isinstance(problem, ClosedByPeer):
        return zero_return()
    if isinstance(problem, CertificateFault):
        error = _with_reason(
            ssl.SSLCertVerificationError,
            ssl.SSL_ERROR_SSL,
            "CERTIFICATE_VERIFY_FAILED",
            f"certificate verify failed: {problem.detail}",
        )
        error.verify_code = VERIFY_CODES.get(problem.fault, UNSPECIFIED)
        error.verify_message = problem.detail
        return error
    return _with_reason(ssl.SSLError, ssl.SSL_ERROR_SSL, _reason(problem), str(problem))


def _reason(problem: TLSError) -> str:
    if isinstance(problem, AlertReceived):
        assert problem.alert is not None
        return alert_reason(problem.alert)
    if isinstance(problem, PeerFault):
        return REASONS.get(problem.fault, problem.fault.name)
    if isinstance(problem, HookError):
        return "CALLBACK_FAILED"
    if isinstance(problem, MisuseError):
        return "SHOULD_NOT_HAVE_BEEN_CALLED"
    return "BAD_VALUE" if isinstance(problem, ConfigError) else "INTERNAL_ERROR"


def alert_reason(alert: Alert) -> str:
    """``TLSV1_ALERT_UNKNOWN_CA`` and the like."""
    name = SHORT.get(alert, alert.name.upper())
    if alert in SSLV3 and alert not in TLSV1_BELOW_48:
        return f"SSLV3_ALERT_{name}"
    if alert in TLSV13:
        return f"TLSV13_ALERT_{name}"
    return f"TLSV1_{name}" if alert in WITHOUT_PREFIX else f"TLSV1_ALERT_{name}"


def _with_reason(kind: type[E], number: int, reason: str, text: str) -> E:
    error = _made(kind, number, f"[SSL: {reason}] {text}")
    error.reason, error.library = reason, "SSL"
    return error


def _made(kind: type[E], number: int, text: str) -> E:
    error = kind(int(number), text)
    error.reason = error.library = None  # type: ignore[assignment]  # so does CPython
    return error
