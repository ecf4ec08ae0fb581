"""Target ``wire``: the decoders one by one, and the encoder that belongs to each where there is one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from tlsprovider.crypto import der
from tlsprovider.crypto.certificates import (
    certificate_names,
    describe,
    matches_name,
    may_sign,
    parse_certificate,
    parse_server_name,
)
from tlsprovider.errors import ConfigError, PeerFault
from tlsprovider.handshake.steps import decode_alert
from tlsprovider.iana import ExtensionType as X
from tlsprovider.providers.hello import Offer
from tlsprovider.session import Session
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, u24, u32, vector16, vector24
from tlsprovider.wire.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    EndOfEarlyData,
    Finished,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
)

Decode = Callable[[bytes], Any]
# From a value and the bytes that it came from to bytes; None where a value leaves open what it came from.
Encode = Callable[[Any, bytes], bytes | None]
EVERYTHING = frozenset(range(1 << 16))


def encode_client_hello(hello: ClientHello, data: bytes) -> bytes | None:
    if hello.legacy_version != 0x0303 or hello.compression_methods != b"\0" or hello.extensions is None:
        return None
    block = ext.encode_block(hello.extensions.items())
    return ClientHello.encode(hello.random, hello.session_id, hello.cipher_suites, block)


def encode_server_hello(hello: ServerHello, data: bytes) -> bytes | None:
    if hello.legacy_version != 0x0303 or hello.compression_method or not hello.extensions:
        return None
    return ServerHello.encode(hello.random, hello.session_id, hello.cipher_suite, hello.extensions.items())


def encode_certificate(message: Certificate, data: bytes) -> bytes | None:
    if any(entry.extensions for entry in message.entries):
        return None
    return Certificate.encode(message.context, [entry.data for entry in message.entries])


def encode_server_name(name: str, data: bytes) -> bytes | None:
    """Names are compared in lower case."""
    assert ext.encode_server_name(name) == data[:5] + data[5:].lower()
    return None


def given(encode: Callable[[Any], bytes]) -> Encode:
    return lambda value, data: encode(value)


def own(value: Any, data: bytes) -> bytes:
    encoded: bytes = value.encode()
    return encoded


# Bodies of handshake messages: message type, decoder of the whole message, encoder.
MESSAGES: dict[int, tuple[Decode, Encode | None]] = {
    1: (ClientHello.decode, encode_client_hello),
    2: (lambda data: ServerHello.decode(data, EVERYTHING), encode_server_hello),
    4: (NewSessionTicket.decode, own),
    5: (EndOfEarlyData.decode, lambda value, data: EndOfEarlyData.encode()),
    8: (lambda data: EncryptedExtensions.decode(data, EVERYTHING), own),
    11: (lambda data: Certificate.decode(data, EVERYTHING, 10), encode_certificate),
    13: (CertificateRequest.decode, own),
    15: (CertificateVerify.decode, own),
    20: (lambda data: Finished.decode(data, 32), given(Finished.encode)),
    24: (KeyUpdate.decode, own),
}

# Contents of extensions by the extension's number.
CONTENTS: dict[int, tuple[Decode, Encode | None]] = {
    X.server_name: (ext.decode_server_name, encode_server_name),
    X.supported_groups: (partial(ext.decode_u16s, number=X.supported_groups), given(ext.encode_u16s)),
    X.signature_algorithms: (partial(ext.decode_u16s, number=X.signature_algorithms), given(ext.encode_u16s)),
    X.application_layer_protocol_negotiation: (ext.decode_alpn, given(ext.encode_alpn)),
    X.supported_versions: (ext.decode_offered_versions, given(ext.encode_offered_versions)),
    X.key_share: (ext.decode_key_shares, lambda value, data: ext.encode_key_shares(value.items())),
    X.cookie: (ext.decode_cookie, given(ext.encode_cookie)),
    X.certificate_authorities: (ext.decode_authorities, given(ext.encode_authorities)),
    X.status_request: (ext.decode_status_request, None),
    X.pre_shared_key: (ext.decode_offered_psks, given(ext.encode_offered_psks)),
    X.psk_key_exchange_modes: (ext.decode_psk_modes, given(ext.encode_psk_modes)),
    X.early_data: (ext.decode_max_early_data, given(u32)),
    X.signed_certificate_timestamp: (ext.decode_scts, lambda value, data: vector16(b"".join(map(vector16, value)))),
    # Answers, under numbers that no extension above has.
    120: (partial(ext.decode_selected_u16, number=X.supported_versions), given(u16)),
    121: (ext.decode_key_share, lambda value, data: ext.encode_key_share(*value)),
    122: (ext.decode_ocsp_response, lambda value, data: b"\x01" + vector24(value)),
    123: (decode_alert, None),
}


def look_at_certificate(data: bytes) -> None:
    """What is done with a certificate whose parsing went well can't fail any more."""
    certificate = parse_certificate(data)
    may_sign(certificate)
    describe(certificate.subject)
    certificate_names(certificate)
    der.subject_public_key_info(certificate)
    for name in ("localhost", "127.0.0.1"):
        matches_name(certificate, parse_server_name(name))


def read_session(data: bytes) -> None:
    """What an application kept in a database, and somebody else has changed."""
    try:
        session = Session.from_bytes(data)
    except ConfigError:
        return
    assert Session.from_bytes(session.to_bytes()).to_bytes() == session.to_bytes()


def decode(kind: int, body: bytes) -> None:
    """``kind``: a handshake message by its type, or 128 and more: the content of an extension; 255: a certificate."""
    decoder: Decode
    encoder: Encode | None
    if kind == 255:
        decoder, encoder = look_at_certificate, None
    elif kind == 253:
        decoder, encoder = read_session, None
    elif kind == 254:
        decoder, encoder = Offer.read, None
        body = b"\x01" + u24(len(body)) + body
    elif kind >= 128:
        decoder, encoder = CONTENTS[kind - 128 if kind - 128 in CONTENTS else [*CONTENTS][kind % len(CONTENTS)]]
    else:
        number = [*MESSAGES][kind % len(MESSAGES)] if kind not in MESSAGES else kind
        decoder, encoder = MESSAGES[number]
        body = bytes([number]) + u24(len(body)) + body
    try:
        value = decoder(body)
    except PeerFault:
        return
    encoded = encoder(value, body) if encoder is not None else None
    assert encoded is None or encoded == body, f"{value!r} came from {body!r} and goes to {encoded!r}"
