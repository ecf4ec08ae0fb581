"""OpenSSL's errors as ours.

OpenSSL has a number for each reason, and a fixed text for each number (``ERR_reason_error_string(3)``); Python's
``ssl`` gives the number's name (``SSLError.reason``), pyOpenSSL gives the text, and neither the number. In OpenSSL's
own tables the text is the name in lower case with spaces, so both are the same key here. What the text is *about* is
never looked at: an unknown reason is told by its alert, and in OpenSSL's words.
"""

from __future__ import annotations

from typing import Final

from tlsprovider.errors import AlertReceived, CertificateFault, Fault, MisuseError, PeerFault, TLSError
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.providers.library import LibraryError, peer_fault

__all__ = ["alert_of", "certificate_fault", "failure", "reason_of", "words_for"]

REASONS: Final = {
    "NO_SHARED_CIPHER": Fault.NO_COMMON_SUITE,
    "NO_SUITABLE_KEY_SHARE": Fault.NO_COMMON_GROUP,
    "NO_SUITABLE_GROUPS": Fault.NO_COMMON_GROUP,
    "NO_SHARED_GROUPS": Fault.NO_COMMON_GROUP,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": Fault.NO_COMMON_SIGNATURE,
    "NO_SHARED_SIGNATURE_ALGORITHMS": Fault.NO_COMMON_SIGNATURE,
    "NO_APPLICATION_PROTOCOL": Fault.NO_COMMON_ALPN,
    "UNSUPPORTED_PROTOCOL": Fault.NO_COMMON_VERSION,
    "VERSION_TOO_LOW": Fault.NO_COMMON_VERSION,
    "VERSION_TOO_HIGH": Fault.NO_COMMON_VERSION,
    "WRONG_SSL_VERSION": Fault.NO_COMMON_VERSION,
    "BAD_PROTOCOL_VERSION_NUMBER": Fault.NO_COMMON_VERSION,
    "INAPPROPRIATE_FALLBACK": Fault.DOWNGRADE,
    "WRONG_CIPHER_RETURNED": Fault.SUITE_NOT_OFFERED,
    "UNKNOWN_CIPHER_RETURNED": Fault.SUITE_NOT_OFFERED,
    "BAD_KEY_SHARE": Fault.KEY_SHARE_GROUP,
    "BAD_ECPOINT": Fault.KEY_SHARE_INVALID,
    "WRONG_CURVE": Fault.KEY_SHARE_GROUP,
    "UNSOLICITED_EXTENSION": Fault.UNSOLICITED_EXTENSION,
    "MISSING_SIGALGS_EXTENSION": Fault.MISSING_EXTENSION,
    "MISSING_SUPPORTED_GROUPS_EXTENSION": Fault.MISSING_EXTENSION,
    "MISSING_SUPPORTED_VERSIONS_EXTENSION": Fault.MISSING_EXTENSION,
    "NO_KEY_SHARE": Fault.MISSING_EXTENSION,
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Fault.CERTIFICATE_REQUIRED,
    "WRONG_SIGNATURE_TYPE": Fault.SIGNATURE_SCHEME,
    "BAD_SIGNATURE": Fault.SIGNATURE_INVALID,
    "DIGEST_CHECK_FAILED": Fault.FINISHED_MISMATCH,
    "EE_KEY_TOO_SMALL": Fault.CERTIFICATE_KEY,
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": Fault.BAD_RECORD_MAC,
    "UNEXPECTED_MESSAGE": Fault.UNEXPECTED_MESSAGE,
    "UNEXPECTED_RECORD": Fault.UNEXPECTED_MESSAGE,
    "BAD_RECORD_TYPE": Fault.PLAINTEXT_RECORD_TYPE,
    "DATA_LENGTH_TOO_LONG": Fault.RECORD_OVERFLOW,
    "PACKET_LENGTH_TOO_LONG": Fault.RECORD_OVERFLOW,
    "ENCRYPTED_LENGTH_TOO_LONG": Fault.RECORD_OVERFLOW,
    "EXCESSIVE_MESSAGE_SIZE": Fault.MESSAGE_TOO_LARGE,
    "WRONG_VERSION_NUMBER": Fault.NOT_TLS,
    "HTTP_REQUEST": Fault.NOT_TLS,
    "HTTPS_PROXY_REQUEST": Fault.NOT_TLS,
    "BAD_CHANGE_CIPHER_SPEC": Fault.CHANGE_CIPHER_SPEC,
    "NOT_ON_RECORD_BOUNDARY": Fault.KEY_CHANGE_SPLIT,
    "LENGTH_MISMATCH": Fault.DECODE_ERROR,
    "LENGTH_TOO_SHORT": Fault.DECODE_ERROR,
    "BAD_LENGTH": Fault.DECODE_ERROR,
    "BAD_EXTENSION": Fault.DECODE_ERROR,
    "BAD_PACKET": Fault.DECODE_ERROR,
}

# The reasons from 1000 on are alerts of the peer. Most are named by a prefix and the alert's name in capitals; these
# are not.
PREFIXES: Final = ("TLSV13_ALERT_", "TLSV1_ALERT_", "SSLV3_ALERT_", "TLSV1_")
OLD_NAMES: Final = {
    "DECRYPTION_FAILED": Alert(21),
    "EXPORT_RESTRICTION": Alert(60),
    "NO_CERTIFICATE": Alert(41),
    "NO_RENEGOTIATION": Alert(100),
    "DECOMPRESSION_FAILURE": Alert(30),
    "CERTIFICATE_UNOBTAINABLE": Alert(111),
    "BAD_CERTIFICATE_HASH_VALUE": Alert(114),
}
ALERTS: Final = {alert.name.upper(): alert for alert in Alert}

# X509_V_ERR_... of x509_vfy.h, X509_STORE_CTX_get_error(3): what stands behind ssl.SSLCertVerificationError.
VERIFY_CODES: Final = {
    2: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    7: Fault.CERTIFICATE_SIGNATURE,
    9: Fault.CERTIFICATE_EXPIRED,
    10: Fault.CERTIFICATE_EXPIRED,
    18: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    19: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    20: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    21: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    22: Fault.CERTIFICATE_CHAIN_LONG,
    26: Fault.CERTIFICATE_PURPOSE,
    27: Fault.CERTIFICATE_UNKNOWN_ISSUER,
    62: Fault.CERTIFICATE_NAME,
    64: Fault.CERTIFICATE_NAME,
    66: Fault.CERTIFICATE_KEY,
    67: Fault.CERTIFICATE_KEY,
    68: Fault.CERTIFICATE_SIGNATURE,
}


def reason_of(text: str) -> str:
    """The name of a reason out of pyOpenSSL's text for it."""
    return text.upper().replace(" ", "_")


def words_for(error: TLSError) -> str:
    """OpenSSL's text for an error of ours, as applications look for it; ours where OpenSSL has no such reason."""
    if isinstance(error, AlertReceived) and error.alert is not None:
        return f"{_alert_prefix(error.alert)} {error.alert.name.replace('_', ' ')}"
    if isinstance(error, CertificateFault):
        return "certificate verify failed"
    if isinstance(error, MisuseError):
        return "protocol is shutdown"
    if isinstance(error, PeerFault):
        names = [name for name, fault in REASONS.items() if fault is error.fault]
        return names[0].lower().replace("_", " ") if names else str(error)
    return str(error)


def _alert_prefix(alert: Alert) -> str:
    """As the number's range has it since the days of SSL 3.0: sslerr.h, SSL_R_..._ALERT_..."""
    if alert in (Alert.missing_extension, Alert.certificate_required):
        return "tlsv13 alert"
    if 110 <= alert <= 114:
        return "tlsv1"
    return "sslv3 alert" if alert in (10, 20, 30) or 40 <= alert <= 47 else "tlsv1 alert"


def alert_of(reason: str) -> Alert | None:
    """The peer's alert, if that is what the reason stands for."""
    for prefix in PREFIXES:
        if reason.startswith(prefix):
            name = reason.removeprefix(prefix)
            return OLD_NAMES.get(name) or ALERTS.get(name)
    return None


def failure(reason: str, words: str, received: Alert | None, sent: Alert | None) -> TLSError:
    """Why OpenSSL failed. ``words`` are its own; the alerts are None where nothing is known of them."""
    received = received if received is not None or sent is not None else alert_of(reason)
    if received is not None:
        return AlertReceived(received)
    fault = REASONS.get(reason)
    if fault is None and sent is None:
        return LibraryError(f"OpenSSL failed: {words}")
    return peer_fault(sent, f"OpenSSL says {words!r}", fault)


def certificate_fault(code: int, words: str) -> CertificateFault:
    """What OpenSSL has against a certificate."""
    return CertificateFault(words, VERIFY_CODES.get(code, Fault.CERTIFICATE_REFUSED))
