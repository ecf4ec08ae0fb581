"""Every exception of tlsprovider, and the table of wrongs.

Two families must not be confused. A *want* (:exc:`WantRead`, :exc:`~tlsprovider.questions.WantAnswer`) is the ordinary
way in which an engine says that it can't go on yet; nothing is wrong. A :exc:`TLSError` ends the connection.

What a peer can do wrong has a name in :class:`Fault`, with the alert that the standard asks for, the section that says
so, and a sentence for people. The alert and the text can't drift apart because there is only one ``raise``:
``raise PeerFault(Fault.FINISHED_MISMATCH)``.

Sections are those of RFC 9846 unless another document is named.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Self

from tlsprovider.iana import AlertDescription as Alert

__all__ = [
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
]


class Fault(Enum):
    """What a peer can do wrong: ``(alert, section of RFC 9846, sentence)``."""

    # -- records --------------------------------------------------------------------------------------------------
    NOT_TLS = (Alert.unexpected_message, "5.1", "the peer does not speak TLS")
    PLAINTEXT_RECORD_TYPE = (Alert.unexpected_message, "5", "a record has a type that is not expected here")
    RECORD_VERSION = (Alert.protocol_version, "5.1", "a record carries a version that is not TLS")
    RECORD_OVERFLOW = (Alert.record_overflow, "5.1", "a record is longer than the standard allows")
    BAD_RECORD_MAC = (Alert.bad_record_mac, "5.2", "a record could not be decrypted: it was damaged or forged")
    RECORD_TOO_SHORT = (Alert.bad_record_mac, "5.2", "a protected record is too short to hold anything")
    NO_INNER_TYPE = (Alert.unexpected_message, "5.4", "a protected record holds only padding")
    INNER_TYPE = (Alert.unexpected_message, "5.2", "a protected record holds a content type that is not allowed")
    EMPTY_FRAGMENT = (Alert.unexpected_message, "5.1", "an empty handshake or alert fragment")
    TOO_MANY_EMPTY_RECORDS = (Alert.unexpected_message, "5.4", "too many records in a row that carry nothing")
    CHANGE_CIPHER_SPEC = (Alert.unexpected_message, "5", "a change_cipher_spec record that is not the allowed one")
    KEY_CHANGE_SPLIT = (Alert.unexpected_message, "5.1", "a handshake message runs across a change of keys")
    INTERLEAVED = (Alert.unexpected_message, "5.1", "another record type in the middle of a handshake message")
    TOO_MUCH_EARLY_DATA = (Alert.unexpected_message, "4.3.10", "more early data than is accepted, or passed over")
    UNEXPECTED_APPLICATION_DATA = (
        Alert.unexpected_message,
        "5",
        "application data before the handshake allowed any",
    )
    # -- handshake messages ---------------------------------------------------------------------------------------
    DECODE_ERROR = (Alert.decode_error, "6.2", "a message could not be decoded")
    MESSAGE_TOO_LARGE = (Alert.decode_error, "4", "a handshake message is larger than this side accepts")
    UNEXPECTED_MESSAGE = (Alert.unexpected_message, "4", "a handshake message came where another was expected")
    # -- extensions -----------------------------------------------------------------------------------------------
    DUPLICATE_EXTENSION = (Alert.illegal_parameter, "4.3", "an extension appears twice in one message")
    MISPLACED_EXTENSION = (Alert.illegal_parameter, "4.3", "an extension appears in a message that may not carry it")
    UNSOLICITED_EXTENSION = (Alert.unsupported_extension, "4.3", "an answer to an extension that was not sent")
    PSK_NOT_LAST = (Alert.illegal_parameter, "4.3.11", "pre_shared_key is not the last extension")
    PSK_BINDER_COUNT = (Alert.illegal_parameter, "4.3.11", "pre_shared_key has another number of binders than of keys")
    PSK_BINDER = (
        Alert.decrypt_error,
        "4.3.11.2",
        "a binder is not valid: the client does not hold that pre-shared key",
    )
    UNKNOWN_PSK = (Alert.unknown_psk_identity, "6.2", "the client offers no pre-shared key that is known here")
    PSK_SELECTED = (Alert.illegal_parameter, "4.3.11", "the server selected a pre-shared key that does not fit")
    EARLY_DATA_MISMATCH = (
        Alert.illegal_parameter,
        "4.3.10",
        "the server accepts early data meant for something else",
    )
    PSK_WITHOUT_MODES = (Alert.missing_extension, "4.3.9", "pre_shared_key without psk_key_exchange_modes")
    MISSING_EXTENSION = (Alert.missing_extension, "9.2", "an extension that must be there is missing")
    # -- versions -------------------------------------------------------------------------------------------------
    NO_COMMON_VERSION = (Alert.protocol_version, "4.3.1", "no TLS version that both sides allow")
    LEGACY_VERSION = (Alert.protocol_version, "4.2.2", "legacy_version of a hello is not that of TLS 1.2")
    VERSION_NOT_OFFERED = (Alert.illegal_parameter, "4.3.1", "the server selected a version that was not offered")
    VERSION_CHANGED = (Alert.illegal_parameter, "4.2.4", "the version changed after HelloRetryRequest")
    DOWNGRADE = (Alert.illegal_parameter, "4.2.3", "the server's random says that TLS was downgraded by someone")
    # -- hello ----------------------------------------------------------------------------------------------------
    COMPRESSION = (Alert.illegal_parameter, "4.2.2", "a hello asks for compression")
    SESSION_ID_ECHO = (Alert.illegal_parameter, "4.2.3", "the server did not echo legacy_session_id")
    SUITE_NOT_OFFERED = (Alert.illegal_parameter, "4.2.3", "the server selected a cipher suite that was not offered")
    SUITE_CHANGED = (Alert.illegal_parameter, "4.2.4", "the cipher suite changed after HelloRetryRequest")
    NO_COMMON_SUITE = (Alert.handshake_failure, "4.2.1", "no cipher suite that both sides allow")
    NO_COMMON_GROUP = (Alert.handshake_failure, "4.2.1", "no key exchange group that both sides allow")
    NO_COMMON_SIGNATURE = (
        Alert.handshake_failure,
        "4.3.3",
        "no certificate of ours with a signature that the peer accepts",
    )
    NO_COMMON_ALPN = (Alert.no_application_protocol, "RFC 7301 3.2", "no application protocol that both sides allow")
    ALPN_NOT_OFFERED = (
        Alert.illegal_parameter,
        "RFC 7301 3.1",
        "the server selected a protocol that was not offered",
    )
    UNKNOWN_NAME = (Alert.unrecognized_name, "RFC 6066 3", "the client asked for a name that is not served here")
    HELLO_REFUSED = (Alert.handshake_failure, "6.2", "the client's hello was refused by on_client_hello")
    RETRY_WITHOUT_CHANGE = (Alert.illegal_parameter, "4.2.4", "HelloRetryRequest would change nothing")
    SECOND_RETRY = (Alert.unexpected_message, "4.2.4", "a second HelloRetryRequest")
    RETRY_GROUP = (Alert.illegal_parameter, "4.3.8", "HelloRetryRequest asks for a group that can't be given")
    RETRY_IGNORED = (Alert.illegal_parameter, "4.3.8", "the second ClientHello lacks the key share asked for")
    HELLO_CHANGED = (Alert.illegal_parameter, "4.2.2", "the second ClientHello differs where it may not")
    # -- key shares -----------------------------------------------------------------------------------------------
    KEY_SHARE_UNLISTED = (
        Alert.illegal_parameter,
        "4.3.8",
        "a key share for a group that supported_groups does not list",
    )
    KEY_SHARE_DUPLICATE = (Alert.illegal_parameter, "4.3.8", "two key shares for one group")
    KEY_SHARE_GROUP = (Alert.illegal_parameter, "4.3.8", "the server's key share is for a group that was not offered")
    KEY_SHARE_INVALID = (Alert.illegal_parameter, "4.3.8.2", "a key share is not a valid public value")
    # -- authentication -------------------------------------------------------------------------------------------
    CERTIFICATE_CONTEXT = (Alert.illegal_parameter, "4.5.1", "a certificate_request_context is not the expected one")
    EMPTY_CERTIFICATE = (Alert.decode_error, "4.5.1.3", "the server sent no certificate")
    CERTIFICATE_REQUIRED = (Alert.certificate_required, "4.5.1.3", "the client sent no certificate")
    CERTIFICATE_CHAIN_LONG = (Alert.bad_certificate, "4.5.1", "the certificate chain is longer than accepted")
    CERTIFICATE_UNPARSABLE = (Alert.bad_certificate, "4.5.1.3", "a certificate could not be parsed")
    CERTIFICATE_KEY = (Alert.unsupported_certificate, "4.5.1.2", "a certificate has a key that can't be used")
    CERTIFICATE_EXPIRED = (Alert.certificate_expired, "6.2", "the certificate is not valid at this time")
    CERTIFICATE_UNKNOWN_ISSUER = (Alert.unknown_ca, "6.2", "no trusted issuer for the certificate")
    CERTIFICATE_NAME = (Alert.bad_certificate, "RFC 9525 6", "the certificate is for another name")
    CERTIFICATE_PURPOSE = (Alert.unsupported_certificate, "4.5.1.2", "the certificate is not for this purpose")
    CERTIFICATE_SIGNATURE = (Alert.bad_certificate, "6.2", "a signature in the certificate chain is not acceptable")
    CERTIFICATE_REFUSED = (Alert.certificate_unknown, "6.2", "the certificate was refused")
    SIGNATURE_SCHEME = (Alert.illegal_parameter, "4.5.2", "a signature scheme that was not offered")
    SIGNATURE_KEY_MISMATCH = (Alert.illegal_parameter, "4.5.2", "a signature scheme that does not fit the certificate")
    SIGNATURE_INVALID = (Alert.decrypt_error, "4.5.2", "the signature over the handshake is not valid")
    FINISHED_MISMATCH = (Alert.decrypt_error, "4.5.3", "Finished does not match: the handshake was tampered with")
    # -- afterwards -----------------------------------------------------------------------------------------------
    KEY_UPDATE_REQUEST = (Alert.illegal_parameter, "4.7.3", "KeyUpdate with a value that is neither yes nor no")
    TOO_MANY_MESSAGES = (Alert.unexpected_message, "4.7", "too many messages in a row without application data")
    # -- alerts ---------------------------------------------------------------------------------------------------
    ALERT_MALFORMED = (Alert.decode_error, "6", "an alert is not two bytes long")

    def __init__(self, alert: Alert, section: str, sentence: str) -> None:
        self.alert = alert
        self.section = section
        self.sentence = sentence


class Want(Exception):
    """Not an error: the engine can't go on until something happens."""


class WantRead(Want):
    """More bytes from the peer are needed. Send what is outgoing, feed what arrives, and call again."""


class TLSError(Exception):
    """The base of everything that ends a connection or refuses a configuration.

    :ivar alert: the alert that was sent to, or came from, the peer; None where none was involved.
    """

    alert: Alert | None = None

    def afresh(self) -> Self:
        """The same error as a new object, without the traceback whose frames may hold secrets."""
        # Not by calling the class: a subclass of the application's may have a constructor of its own.
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        other.__cause__ = self.__cause__
        return other


class PeerFault(TLSError):
    """The peer broke the protocol, or offered nothing that this side accepts.

    :ivar fault: which wrong, as a member of :class:`Fault`; ``detail``: what was found, or an empty string.
    """

    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault, detail)
        self.fault = fault
        self.detail = detail
        self.alert = fault.alert

    def __str__(self) -> str:
        text = f"{self.fault.sentence}: {self.detail}" if self.detail else self.fault.sentence
        section = self.fault.section
        source = section if section.startswith("RFC") else f"RFC 9846 {section}"
        return f"{text} [{self.fault.alert.name}, {source}]"


class CertificateFault(PeerFault):
    """The peer's certificate is not acceptable; ``str()`` says why in words that a person can act on.

    A ``verify_peer`` hook refuses a peer by returning or raising one: ``CertificateFault("not on the list")``.

    :ivar certificates: the chain as the peer sent it, leaf first, as objects of ``cryptography``.
    """

    certificates: tuple[Any, ...] = ()

    def __init__(self, detail: str, fault: Fault = Fault.CERTIFICATE_REFUSED) -> None:
        super().__init__(fault, detail)
        self.args = (detail, fault)

    def __str__(self) -> str:
        return f"{self.detail} [{self.fault.alert.name}]"


class HelloRefused(PeerFault):
    """What an ``on_client_hello`` hook raises to refuse a client: ``HelloRefused("not from there", "access_denied")``.

    :param alert: what the client is told: an alert, or its name. Raises ValueError for one that is no refusal.
    """

    def __init__(self, detail: str = "", alert: Alert | str = Alert.handshake_failure) -> None:
        super().__init__(Fault.HELLO_REFUSED, detail)
        try:
            self.alert: Alert = Alert[alert] if isinstance(alert, str) else Alert(alert)
        except KeyError:
            raise ValueError(f"alert: {alert!r} is no alert; see AlertDescription in tlsprovider.iana") from None
        if self.alert in (Alert.close_notify, Alert.user_canceled):
            raise ValueError(f"alert: {self.alert.name} says goodbye, and refuses nobody; handshake_failure does")
        self.args = (detail, self.alert)

    def __str__(self) -> str:
        return f"{self.detail or self.fault.sentence} [{self.alert.name}]"


class AlertReceived(TLSError):
    """The peer ended the connection with an error alert."""

    def __init__(self, alert: Alert, detail: str = "") -> None:
        super().__init__(alert, detail)
        self.alert = alert
        self.detail = detail

    def __str__(self) -> str:
        alert: Alert = self.args[0]
        text = f"the peer sent the alert {alert.name} ({int(alert)})"
        return f"{text}: {self.detail}" if self.detail else text


class ClosedByPeer(TLSError):
    """The peer closed in the proper way (close_notify), but before the handshake was complete."""

    def __init__(self) -> None:
        super().__init__("the peer closed the connection during the handshake")
        self.args = ()

    def __str__(self) -> str:
        return "the peer closed the connection during the handshake"


class TruncatedError(TLSError):
    """The transport ended without close_notify: what was received may have been cut short (section 6.1)."""

    def __init__(self, detail: str = "unexpected eof while reading") -> None:
        super().__init__(detail)


class MisuseError(TLSError):
    """The engine was called in a way that its documentation forbids. Nothing was sent or changed."""


class ConfigError(TLSError, ValueError):
    """A configuration that can't be used; says what was found, and what to write."""


class HookError(TLSError):
    """A hook of the configuration failed, was cancelled, or gave a useless answer; its exception is ``__cause__``.

    The handshake was aborted with internal_error: a decision that failed never lets a handshake go on.
    """

    alert = Alert.internal_error


class UnsupportedByProvider(ConfigError):
    """A configuration asks a provider for something that it does not have."""

    def __init__(self, feature: str, provider: str, who_can: str = "") -> None:
        super().__init__(feature, provider, who_can)
        self.feature = feature
        self.provider = provider
        self.who_can = who_can

    def __str__(self) -> str:
        text = f"the provider {self.provider!r} does not support {self.feature}"
        return f"{text}; use {self.who_can}" if self.who_can else text
