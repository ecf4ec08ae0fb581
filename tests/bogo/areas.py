"""What a test is about, by its name; and what a flag that isn't implemented would need, in words."""

from __future__ import annotations

from fnmatch import fnmatchcase

__all__ = ["area_of", "feature_of"]

# The first area with a fitting pattern counts.
AREAS: dict[str, tuple[str, ...]] = {
    "DTLS": ("*DTLS*",),
    "QUIC": ("*QUIC*",),
    "TLS 1.2 and older": (
        "*-TLS1-*", "*-TLS1", "*TLS11*", "*TLS12*", "*Renego*", "*V2ClientHello*", "*FalseStart*", "CBC*",
    ),
    "Encrypted Client Hello": ("*ECH-*",),
    "passwords and external keys": ("PAKE-*", "*PSK*"),
    "trust anchor identifiers": ("*TrustAnchor*",),
    "certificate types": ("*CertificateType*",),
    "delegated credentials": ("DelegatedCredentials*",),
    "certificate compression": ("*CertCompression*",),
    "padding requests": ("ServerPadding*",),
    "other extensions of BoringSSL": ("ALPS*", "*NPN*", "*ChannelID*", "SRTP*", "*JDK11*"),
    "early data": ("*EarlyData*", "*0RTT*"),
    "resumption": ("*Resum*", "*Ticket*", "*Session*"),
    "profiles": ("Compliance*",),
    "KeyUpdate": ("*KeyUpdate*",),
    "HelloRetryRequest": ("*HelloRetryRequest*", "*HRR*", "*SecondClientHello*"),
    "groups and key shares": ("*Curve*", "*KeyShare*", "*MLKEM*", "*PQGroup*"),
    "signatures": (
        "*-Sign*", "*-Verify-*", "*-VerifyDefault*", "*InvalidSignature*", "BadECDSA*", "*Algorithm*", "*Ed25519*",
        "RejectPSS*", "VerifyPreferences*", "*SignatureType*",
    ),
    "certificates": ("Certificate*", "*Certificate*", "ClientAuth*", "ServerAuth*", "*KeyUsage*", "*OCSP*"),
    "cipher suites": ("TLS-TLS13-*", "*Cipher*"),
    "extensions": ("*Extension*", "ALPN*", "*ServerName*", "Unsolicited*", "*GREASE*"),
    "versions": ("*Version*", "Downgrade*"),
    "order of messages": (
        "WrongMessageType*", "Skip*", "Partial*", "*ChangeCipherSpec*", "*HelloRequest*", "*ExtraHandshake*",
    ),
    "lengths": ("TrailingMessageData*", "Large*", "*Trailing*"),
    "alerts and closing": ("*Alert*", "*Shutdown*"),
    "export": ("Export*", "TLSUnique*"),
}  # fmt: skip
OTHERS = "records, callbacks and the rest"

# A flag is told by its beginning; the longest fitting beginning counts.
FEATURES = {
    "-dtls": "DTLS",
    "-quic": "QUIC",
    "-resum": "resumption",
    "-expect-resumable": "resumption",
    "-expect-not-resumable": "resumption",
    "-expect-ticket": "resumption",
    "-use-ticket": "resumption",
    "-reverify-on-resume": "resumption",
    "-enable-early-data": "early data",
    "-expect-accept-early-data": "early data",
    "-expect-reject-early-data": "early data",
    "-expect-early-data": "early data",
    "-new-rpk-credential": "raw public keys",
    "-accepted-peer-cert-types": "raw public keys",
    "-available-client-cert-types": "raw public keys",
    "-new-psk-credential": "external keys of RFC 9258",
    "-new-spake2plusv1-credential": "PAKE",
    "-new-delegated-credential": "delegated credentials",
    "-psk": "TLS 1.2",
    "-cipher": "TLS 1.2",
    "-no-tls13": "TLS 1.2",
    "-max-version": "TLS 1.2",
    "-expect-version": "TLS 1.2",
    "-false-start": "TLS 1.2",
    "-tls-unique": "TLS 1.2",
    "-fallback-scsv": "TLS 1.2",
    "-jdk11-workaround": "TLS 1.2",
    "-cbc-record-splitting": "TLS 1.2",
    "-expect-total-renegotiations": "TLS 1.2",
    "-ocsp-response": "stapling as a server",
    "-use-ocsp-callback": "stapling as a server",
    "-signed-cert-timestamps": "stapling as a server",
    "-must-match-issuer": "insisting on a known issuer for one's own certificate",
    "-cnsa": "ML-KEM without a curve",
    "-ech": "Encrypted Client Hello",
    "-enable-ech": "Encrypted Client Hello",
    "-reject-unusable-ech": "Encrypted Client Hello",
    "-application-settings": "extensions of BoringSSL",
    "-enable-channel-id": "extensions of BoringSSL",
    "-expect-channel-id": "extensions of BoringSSL",
    "-send-channel-id": "extensions of BoringSSL",
    "-advertise-npn": "extensions of BoringSSL",
    "-select-next-proto": "extensions of BoringSSL",
    "-request-server-padding": "extensions of BoringSSL",
    "-server-supports-padding": "extensions of BoringSSL",
    "-requested-trust-anchors": "extensions of BoringSSL",
    "-available-trust-anchors": "extensions of BoringSSL",
    "-srtp-profiles": "extensions of BoringSSL",
    "-install-cert-compression": "certificate compression",
    "-install-one-cert-compression": "certificate compression",
    "-expect-msg-callback": "a trace of all records",
    "-allow-hint-mismatch": "handshakes split between processes",
    "-on-handshaker": "handshakes split between processes",
}


def area_of(test: str) -> str:
    for area, patterns in AREAS.items():
        if any(fnmatchcase(test, pattern) for pattern in patterns):
            return area
    return OTHERS


def feature_of(reason: str) -> str:
    """What a reason of :exc:`bogo.flags.Unimplemented` comes down to."""
    words = reason.removeprefix("the flag ").split()
    flag = words[0] if words else ""
    fitting = [beginning for beginning in FEATURES if flag.startswith(beginning)]
    if fitting:
        return FEATURES[max(fitting, key=len)]
    if flag.startswith("-"):
        return "other flags"
    return "TLS 1.2" if "TLS version" in reason or "TLS 1.3 does not have" in reason else "other configurations"
