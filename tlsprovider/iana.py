"""Registry numbers of TLS, under the names that IANA gives them.

These enums are *open*. A peer may send any number: GREASE (RFC 8701), private use, or something registered after this
was written. Such a number must survive decoding, a log line and encoding again, so looking up an unknown number makes
a nameless member (``NamedGroup(0x6a6a).name == "0x6a6a"``) where a closed enum would raise. The wire layer keeps plain
integers; these classes give them names and read the names that people write in configurations.
"""

from __future__ import annotations

import difflib
from enum import IntEnum
from typing import Self

__all__ = [
    "AlertDescription",
    "CipherSuite",
    "ContentType",
    "ExtensionType",
    "HandshakeType",
    "NamedGroup",
    "ProtocolVersion",
    "SignatureScheme",
    "is_grease",
]


class RegistryEnum(IntEnum):
    """An open enumeration of 8 or 16 bit registry numbers."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int) or not 0 <= value <= 0xFFFF:
            return None
        # Not stored anywhere: a peer can't make the process remember 65,000 members.
        unnamed = int.__new__(cls, value)
        unnamed._name_ = f"0x{value:0{cls._digits()}x}"
        unnamed._value_ = value
        return unnamed

    @classmethod
    def _digits(cls) -> int:
        return 4

    @classmethod
    def parse(cls, value: int | str) -> Self:
        """Turn a member, a number, or an IANA name in any case into a member.

        Raises :exc:`ValueError` that says which names there are and which one was probably meant.
        """
        if isinstance(value, int):
            return cls(value)
        wanted = value.strip().lower()
        spellings = cls._spellings()
        if wanted in spellings:
            return spellings[wanted]
        near = difflib.get_close_matches(wanted, spellings, n=1)
        hint = f": did you mean {str(spellings[near[0]])!r}?" if near else "."
        known = ", ".join(str(member) for member in cls)
        raise ValueError(f"unknown {cls._noun()} {value!r}{hint} Known: {known}")

    @classmethod
    def _spellings(cls) -> dict[str, Self]:
        return {member.name.lower(): member for member in cls}

    @classmethod
    def _noun(cls) -> str:
        return "number"

    def __str__(self) -> str:
        return self.name


def is_grease(number: int) -> bool:
    """Whether a 16 bit number is one of the reserved values that mean nothing (RFC 8701 section 2)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


class ProtocolVersion(RegistryEnum):
    """Versions, RFC 9846 section 4.3.1."""

    TLSv1 = 0x0301
    TLSv1_1 = 0x0302
    TLSv1_2 = 0x0303
    TLSv1_3 = 0x0304

    def __str__(self) -> str:
        return self.name.replace("_", ".")

    @classmethod
    def _noun(cls) -> str:
        return "TLS version"

    @classmethod
    def _spellings(cls) -> dict[str, Self]:
        # "TLSv1.3", "TLSv1_3", "tls1.3", "TLS 1.3", "1.3" are all what somebody would write.
        found: dict[str, Self] = {}
        for member in cls:
            number = member.name.removeprefix("TLSv").replace("_", ".")
            number = number if "." in number else number + ".0"
            for spelling in (str(member), member.name, f"tls{number}", f"tls {number}", f"tlsv{number}", number):
                found[spelling.lower()] = member
        return found


class ContentType(RegistryEnum):
    """Record types, RFC 9846 section 5.1."""

    change_cipher_spec = 20
    alert = 21
    handshake = 22
    application_data = 23

    @classmethod
    def _digits(cls) -> int:
        return 2


class HandshakeType(RegistryEnum):
    """Handshake message types, RFC 9846 section 4."""

    hello_request = 0
    client_hello = 1
    server_hello = 2
    new_session_ticket = 4
    end_of_early_data = 5
    encrypted_extensions = 8
    certificate = 11
    server_key_exchange = 12
    certificate_request = 13
    server_hello_done = 14
    certificate_verify = 15
    client_key_exchange = 16
    finished = 20
    certificate_status = 22
    key_update = 24
    compressed_certificate = 25
    message_hash = 254

    @classmethod
    def _digits(cls) -> int:
        return 2


class AlertDescription(RegistryEnum):
    """Alerts, RFC 9846 section 6."""

    close_notify = 0
    unexpected_message = 10
    bad_record_mac = 20
    record_overflow = 22
    handshake_failure = 40
    bad_certificate = 42
    unsupported_certificate = 43
    certificate_revoked = 44
    certificate_expired = 45
    certificate_unknown = 46
    illegal_parameter = 47
    unknown_ca = 48
    access_denied = 49
    decode_error = 50
    decrypt_error = 51
    protocol_version = 70
    insufficient_security = 71
    internal_error = 80
    inappropriate_fallback = 86
    user_canceled = 90
    missing_extension = 109
    unsupported_extension = 110
    unrecognized_name = 112
    bad_certificate_status_response = 113
    unknown_psk_identity = 115
    certificate_required = 116
    general_error = 117
    no_application_protocol = 120
    ech_required = 121

    @classmethod
    def _digits(cls) -> int:
        return 2

    @classmethod
    def _noun(cls) -> str:
        return "alert"


class ExtensionType(RegistryEnum):
    """Extensions, RFC 9846 section 4.3."""

    server_name = 0
    status_request = 5
    supported_groups = 10
    ec_point_formats = 11
    signature_algorithms = 13
    use_srtp = 14
    heartbeat = 15
    application_layer_protocol_negotiation = 16
    signed_certificate_timestamp = 18
    client_certificate_type = 19
    server_certificate_type = 20
    padding = 21
    extended_master_secret = 23
    compress_certificate = 27
    record_size_limit = 28
    delegated_credential = 34
    session_ticket = 35
    pre_shared_key = 41
    early_data = 42
    supported_versions = 43
    cookie = 44
    psk_key_exchange_modes = 45
    certificate_authorities = 47
    oid_filters = 48
    post_handshake_auth = 49
    signature_algorithms_cert = 50
    key_share = 51
    transparency_info = 52
    quic_transport_parameters = 57
    ticket_request = 58
    encrypted_client_hello = 0xFE0D
    renegotiation_info = 0xFF01


class CipherSuite(RegistryEnum):
    """Cipher suites of TLS 1.3, RFC 9846 appendix B.4."""

    TLS_AES_128_GCM_SHA256 = 0x1301
    TLS_AES_256_GCM_SHA384 = 0x1302
    TLS_CHACHA20_POLY1305_SHA256 = 0x1303
    TLS_AES_128_CCM_SHA256 = 0x1304
    TLS_AES_128_CCM_8_SHA256 = 0x1305

    @classmethod
    def _noun(cls) -> str:
        return "cipher suite"


class NamedGroup(RegistryEnum):
    """Key exchange groups, RFC 9846 section 4.3.7 and RFC 10024."""

    secp256r1 = 0x0017
    secp384r1 = 0x0018
    secp521r1 = 0x0019
    x25519 = 0x001D
    x448 = 0x001E
    ffdhe2048 = 0x0100
    ffdhe3072 = 0x0101
    ffdhe4096 = 0x0102
    ffdhe6144 = 0x0103
    ffdhe8192 = 0x0104
    MLKEM512 = 0x0200
    MLKEM768 = 0x0201
    MLKEM1024 = 0x0202
    SecP256r1MLKEM768 = 0x11EB
    X25519MLKEM768 = 0x11EC
    SecP384r1MLKEM1024 = 0x11ED

    @classmethod
    def _noun(cls) -> str:
        return "group"


class SignatureScheme(RegistryEnum):
    """Signature schemes, RFC 9846 section 4.3.3, and ML-DSA in TLS 1.3."""

    rsa_pkcs1_sha1 = 0x0201
    ecdsa_sha1 = 0x0203
    rsa_pkcs1_sha256 = 0x0401
    ecdsa_secp256r1_sha256 = 0x0403
    rsa_pkcs1_sha384 = 0x0501
    ecdsa_secp384r1_sha384 = 0x0503
    rsa_pkcs1_sha512 = 0x0601
    ecdsa_secp521r1_sha512 = 0x0603
    rsa_pss_rsae_sha256 = 0x0804
    rsa_pss_rsae_sha384 = 0x0805
    rsa_pss_rsae_sha512 = 0x0806
    ed25519 = 0x0807
    ed448 = 0x0808
    rsa_pss_pss_sha256 = 0x0809
    rsa_pss_pss_sha384 = 0x080A
    rsa_pss_pss_sha512 = 0x080B
    mldsa44 = 0x0904
    mldsa65 = 0x0905
    mldsa87 = 0x0906

    @classmethod
    def _noun(cls) -> str:
        return "signature scheme"
