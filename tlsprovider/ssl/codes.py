"""The numbers of SSL_get_error(3), SSL_want(3) and their neighbours, under their names."""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = ["ErrorCode", "InfoEvent", "Mode", "Shutdown", "VerifyResult", "Wanted"]


class ErrorCode(IntEnum):
    """Why a call did not succeed: SSL_get_error(3).

    0 to 12 are OpenSSL's. BoringSSL gave some numbers from 11 on to other things, so ours begin at 64.
    """

    NONE = 0
    """The call succeeded."""
    SSL = 1
    """The protocol failed, or the call was wrong: ``ssl.error`` says what. An unexpected end is this as well."""
    WANT_READ = 2
    """Nothing to read: wait until the transport has something, then make the same call."""
    WANT_WRITE = 3
    """Bytes are stuck because the transport is full: wait until it has room, then make the same call."""
    WANT_X509_LOOKUP = 4
    """A certificate is to be chosen: answer ``ssl.question``, then make the same call."""
    SYSCALL = 5
    """The transport failed: ``ssl.error`` is its OSError."""
    ZERO_RETURN = 6
    """The peer sent close_notify: there will be no more data."""
    WANT_CONNECT = 7
    WANT_ACCEPT = 8
    """As WANT_CONNECT: only a BIO that connects or accepts by itself asks for it."""
    WANT_ASYNC = 9
    """Never given: asynchronous OpenSSL engines have no counterpart here."""
    WANT_ASYNC_JOB = 10
    """Never given, as WANT_ASYNC."""
    WANT_CLIENT_HELLO_CB = 11
    """A ClientHello is to be decided about: answer ``ssl.question``, then make the same call."""
    WANT_RETRY_VERIFY = 12
    """The peer is to be judged: answer ``ssl.question``, then make the same call."""
    WANT_PRIVATE_KEY_OPERATION = 64
    """A signature by a key that lives elsewhere is awaited: answer ``ssl.question``, then make the same call."""
    WANT_SESSION = 65
    """A session is to be found: answer ``ssl.question``, then make the same call."""
    WANT_EARLY_DATA_DECISION = 66
    """Early data is to be accepted or not: answer ``ssl.question``, then make the same call."""


class Wanted(IntEnum):
    """What the object waits for: SSL_want(3). Numbers from 64 on are those of :class:`ErrorCode`."""

    NOTHING = 1
    WRITING = 2
    READING = 3
    X509_LOOKUP = 4
    ASYNC_PAUSED = 5
    ASYNC_NO_JOBS = 6
    CLIENT_HELLO_CB = 7
    RETRY_VERIFY = 8
    PRIVATE_KEY_OPERATION = 64
    SESSION = 65
    EARLY_DATA_DECISION = 66

    @classmethod
    def by(cls, code: ErrorCode) -> Wanted:
        """What SSL_want says where SSL_get_error says ``code``."""
        return WANTED.get(code, cls.NOTHING)


WANTED = {
    ErrorCode.WANT_READ: Wanted.READING,
    ErrorCode.WANT_WRITE: Wanted.WRITING,
    ErrorCode.WANT_X509_LOOKUP: Wanted.X509_LOOKUP,
    # A BIO that connects or accepts by itself does so on behalf of whoever wanted to read or write through it.
    ErrorCode.WANT_CONNECT: Wanted.WRITING,
    ErrorCode.WANT_ACCEPT: Wanted.READING,
    ErrorCode.WANT_CLIENT_HELLO_CB: Wanted.CLIENT_HELLO_CB,
    ErrorCode.WANT_RETRY_VERIFY: Wanted.RETRY_VERIFY,
    ErrorCode.WANT_PRIVATE_KEY_OPERATION: Wanted.PRIVATE_KEY_OPERATION,
    ErrorCode.WANT_SESSION: Wanted.SESSION,
    ErrorCode.WANT_EARLY_DATA_DECISION: Wanted.EARLY_DATA_DECISION,
}


class Mode(IntFlag):
    """Ways of working: SSL_set_mode(3)."""

    ENABLE_PARTIAL_WRITE = 0x01
    """``write`` returns after each record of 16 KiB that went out, with the count so far."""
    ACCEPT_MOVING_WRITE_BUFFER = 0x02
    """A repeated ``write`` may bring the same bytes in another object. On by default: Python hides addresses."""
    AUTO_RETRY = 0x04
    """``read`` goes on after a record that held no data. On by default."""
    RELEASE_BUFFERS = 0x10
    """An idle object holds no buffers. It never does here, with or without this."""


class Shutdown(IntFlag):
    """Which directions are closed: SSL_get_shutdown(3)."""

    NONE = 0
    SENT = 1
    RECEIVED = 2


class InfoEvent(IntFlag):
    """What an info callback is told: SSL_CTX_set_info_callback(3)."""

    LOOP = 0x01
    EXIT = 0x02
    READ = 0x04
    WRITE = 0x08
    HANDSHAKE_START = 0x10
    HANDSHAKE_DONE = 0x20
    CONNECT = 0x1000
    ACCEPT = 0x2000
    ALERT = 0x4000
    READ_ALERT = ALERT | READ
    WRITE_ALERT = ALERT | WRITE


class VerifyResult(IntEnum):
    """How the peer's certificate was judged: SSL_get_verify_result(3), with OpenSSL's numbers."""

    OK = 0
    """Nothing was found wrong; that is also so when the peer showed no certificate."""
    UNSPECIFIED = 1
    CERT_SIGNATURE_FAILURE = 7
    CERT_HAS_EXPIRED = 10
    """Expired, or not valid yet."""
    UNABLE_TO_GET_ISSUER_CERT_LOCALLY = 20
    CERT_CHAIN_TOO_LONG = 22
    INVALID_PURPOSE = 26
    APPLICATION_VERIFICATION = 50
    """A ``verify_peer`` hook refused it."""
    HOSTNAME_MISMATCH = 62
