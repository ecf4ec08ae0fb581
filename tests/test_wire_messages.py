"""Handshake messages: there and back, strict to the byte, and nothing but a PeerFault for whatever a stranger sends."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs
import pytest
from bounded import bounded, fault_of
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType
from tlsprovider.wire import extensions as ext
from tlsprovider.wire import messages
from tlsprovider.wire.codec import u16, u32, vector8, vector16, vector24
from tlsprovider.wire.extensions import encode_block
from tlsprovider.wire.messages import (
    HELLO_RETRY_RANDOM,
    Certificate,
    CertificateEntry,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    Finished,
    KeyUpdate,
    NewSessionTicket,
    ServerHello,
    encode_message,
)

RANDOM = bytes(range(32))
SESSION = bytes(range(64, 96))
TLS13 = (X.supported_versions, u16(0x0304))
SHARE = (X.key_share, ext.encode_key_share(0x1D, b"share"))
OFFERED = frozenset(X) - {X.cookie}
UNKNOWN = 0x1234

CLIENT_EXTENSIONS = [
    (X.supported_versions, ext.encode_offered_versions([0x0304])),
    (0x2A2A, b""),
    (X.server_name, ext.encode_server_name("localhost")),
]


def ticket(
    lifetime: int = 3600,
    nonce: bytes = b"n",
    value: bytes = b"ticket",
    extensions: list[tuple[int, bytes]] | None = None,
) -> bytes:
    body = u32(lifetime) + u32(7) + vector8(nonce) + vector16(value) + encode_block(extensions or [])
    return encode_message(HandshakeType.new_session_ticket, body)


def certificate(*entries: tuple[bytes, list[tuple[int, bytes]]], context: bytes = b"") -> bytes:
    chain = b"".join([vector24(data) + encode_block(extensions) for data, extensions in entries])
    return encode_message(HandshakeType.certificate, vector8(context) + vector24(chain))


@attrs.frozen
class Sample:
    """A good message, how it is read, and what is in it. ``whole``: lengths of the body at which it could also end."""

    encoded: bytes
    decode: Callable[[bytes], object]
    value: object
    whole: tuple[int, ...] = ()


def client_hello(extensions: list[tuple[int, bytes]]) -> bytes:
    return ClientHello.encode(RANDOM, SESSION, [0x1301, 0x3A3A], encode_block(extensions))


def server_hello(*extensions: tuple[int, bytes], random: bytes = RANDOM) -> bytes:
    return ServerHello.encode(random, SESSION, 0x1301, extensions)


def decode_server_hello(data: bytes) -> ServerHello:
    return ServerHello.decode(data, OFFERED)


CLIENT_HELLO = client_hello(CLIENT_EXTENSIONS)
SERVER_HELLO = server_hello(SHARE, TLS13)
RETRY = server_hello(TLS13, (X.key_share, u16(0x17)), (X.cookie, ext.encode_cookie(b"c")), random=HELLO_RETRY_RANDOM)
CHAIN = certificate((b"leaf", [(X.status_request, b"ocsp")]), (b"issuer", []))

# Behind the compression methods a hello of an older version may end.
SAMPLES = {
    "client_hello": Sample(
        CLIENT_HELLO,
        ClientHello.decode,
        ClientHello(0x0303, RANDOM, SESSION, (0x1301, 0x3A3A), b"\0", dict(CLIENT_EXTENSIONS), CLIENT_HELLO),
        whole=(2 + 32 + 33 + 6 + 2,),
    ),
    "server_hello": Sample(
        SERVER_HELLO,
        decode_server_hello,
        ServerHello(0x0303, RANDOM, SESSION, 0x1301, 0, dict([SHARE, TLS13]), SERVER_HELLO),
        whole=(2 + 32 + 33 + 3,),
    ),
    "hello_retry_request": Sample(
        RETRY,
        decode_server_hello,
        ServerHello(
            0x0303,
            HELLO_RETRY_RANDOM,
            SESSION,
            0x1301,
            0,
            dict([TLS13, (X.key_share, u16(0x17)), (X.cookie, b"\0\1c")]),
            RETRY,
        ),
        whole=(2 + 32 + 33 + 3,),
    ),
    "encrypted_extensions": Sample(
        EncryptedExtensions({X.server_name: b"", X.early_data: b""}).encode(),
        lambda data: EncryptedExtensions.decode(data, OFFERED),
        EncryptedExtensions({X.server_name: b"", X.early_data: b""}),
    ),
    "certificate_request": Sample(
        CertificateRequest(b"ctx", {X.signature_algorithms: b"\0\2\4\3", UNKNOWN: b"?"}).encode(),
        CertificateRequest.decode,
        CertificateRequest(b"ctx", {X.signature_algorithms: b"\0\2\4\3", UNKNOWN: b"?"}),
    ),
    "certificate": Sample(
        CHAIN,
        lambda data: Certificate.decode(data, OFFERED, 10),
        Certificate(b"", (CertificateEntry(b"leaf", {X.status_request: b"ocsp"}), CertificateEntry(b"issuer", {}))),
    ),
    "certificate_verify": Sample(
        CertificateVerify(0x0403, b"signature").encode(),
        CertificateVerify.decode,
        CertificateVerify(0x0403, b"signature"),
    ),
    "finished": Sample(Finished.encode(bytes(48)), lambda data: Finished.decode(data, 48), bytes(48)),
    "key_update": Sample(KeyUpdate(True).encode(), KeyUpdate.decode, KeyUpdate(True)),
    "new_session_ticket": Sample(
        ticket(extensions=[(X.early_data, u32(1000)), (0x4A4A, b"")]),
        NewSessionTicket.decode,
        NewSessionTicket(3600, 7, b"n", b"ticket", {X.early_data: u32(1000), 0x4A4A: b""}),
    ),
}
samples = pytest.mark.parametrize("sample", SAMPLES.values(), ids=list(SAMPLES))


def with_body(message: bytes, body: bytes) -> bytes:
    return encode_message(HandshakeType(message[0]), body)


@samples
class TestEveryMessage:
    def test_is_read_as_it_was_written(self, sample: Sample) -> None:
        assert sample.decode(sample.encoded) == sample.value

    def test_header_says_how_long_it_is(self, sample: Sample) -> None:
        assert int.from_bytes(sample.encoded[1:4], "big") == len(sample.encoded) - 4

    def test_cut_short_at_every_byte(self, sample: Sample) -> None:
        body = sample.encoded[4:]
        for length in range(len(body)):
            expected = None if length in sample.whole else Fault.DECODE_ERROR
            assert fault_of(sample.decode, with_body(sample.encoded, body[:length])) is expected, length

    @pytest.mark.parametrize("trailing", [b"\0", b"\xff", bytes(4)])
    def test_trailing_bytes(self, sample: Sample, trailing: bytes) -> None:
        assert fault_of(sample.decode, with_body(sample.encoded, sample.encoded[4:] + trailing)) is Fault.DECODE_ERROR

    def test_values_do_not_show_what_is_long_or_private(self, sample: Sample) -> None:
        assert "signature'" not in repr(sample.value)
        assert "b'ticket'" not in repr(sample.value)
        assert "b'leaf'" not in repr(sample.value)


@samples
@bounded(150)
@given(data=st.data())
def test_hostile_changes(sample: Sample, data: st.DataObject) -> None:
    """Bytes of a good message are changed, cut out, or put in: a value or a PeerFault, never anything else."""
    body = bytearray(sample.encoded[4:])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        end = data.draw(st.integers(at, min(len(body), at + 4)))
        body[at:end] = data.draw(st.binary(max_size=4))
    fault_of(sample.decode, with_body(sample.encoded, bytes(body)))


@samples
@bounded(60)
@given(body=st.binary(max_size=120))
def test_hostile_bytes(sample: Sample, body: bytes) -> None:
    fault_of(sample.decode, with_body(sample.encoded, body))


class TestClientHello:
    def test_keeps_its_bytes(self) -> None:
        assert ClientHello.decode(CLIENT_HELLO).raw is CLIENT_HELLO

    def test_without_extensions(self) -> None:
        body = u16(0x0303) + RANDOM + b"\0" + vector16(u16(0xC02F)) + b"\x01\x00"
        assert ClientHello.decode(encode_message(HandshakeType.client_hello, body)).extensions is None

    @pytest.mark.parametrize(
        ("session_id", "suites", "compression"),
        [
            (bytes(33), u16(0x1301), b"\0"),
            (b"", b"", b"\0"),
            (b"", b"\x13", b"\0"),
            (b"", b"\x13\x01\x13", b"\0"),
            (b"", u16(0x1301), b""),
        ],
        ids=["long session id", "no suites", "half a suite", "a suite and a half", "no compression method"],
    )
    def test_vectors_out_of_bounds(self, session_id: bytes, suites: bytes, compression: bytes) -> None:
        body = u16(0x0303) + RANDOM + vector8(session_id) + vector16(suites) + vector8(compression)
        assert fault_of(ClientHello.decode, encode_message(HandshakeType.client_hello, body)) is Fault.DECODE_ERROR

    def test_longest_lists(self) -> None:
        body = u16(0x0303) + RANDOM + vector8(bytes(32)) + vector16(bytes(0xFFFE)) + vector8(bytes(255))
        hello = ClientHello.decode(encode_message(HandshakeType.client_hello, body))
        assert (len(hello.cipher_suites), len(hello.compression_methods)) == (0x7FFF, 255)

    @pytest.mark.parametrize("behind", [X.cookie, X.padding, UNKNOWN, 0x5A5A])
    def test_pre_shared_key_has_to_be_last(self, behind: int) -> None:
        last = [*CLIENT_EXTENSIONS, (behind, b""), (X.pre_shared_key, b"")]
        assert fault_of(ClientHello.decode, client_hello(last)) is None
        not_last = [*CLIENT_EXTENSIONS, (X.pre_shared_key, b""), (behind, b"")]
        assert fault_of(ClientHello.decode, client_hello(not_last)) is Fault.PSK_NOT_LAST

    def test_duplicate(self) -> None:
        assert fault_of(ClientHello.decode, client_hello(CLIENT_EXTENSIONS * 2)) is Fault.DUPLICATE_EXTENSION

    def test_misplaced(self) -> None:
        assert fault_of(ClientHello.decode, client_hello([(X.oid_filters, b"")])) is Fault.MISPLACED_EXTENSION

    def test_old_extensions_are_ignored(self) -> None:
        old = [X.ec_point_formats, X.extended_master_secret, X.session_ticket, X.renegotiation_info]
        assert fault_of(ClientHello.decode, client_hello([(number, b"\1\0") for number in old])) is None


class TestServerHello:
    def test_keeps_its_bytes(self) -> None:
        assert decode_server_hello(SERVER_HELLO).raw is SERVER_HELLO

    def test_retry_random_is_what_the_standard_says(self) -> None:
        assert hashlib.sha256(b"HelloRetryRequest").digest() == HELLO_RETRY_RANDOM

    def test_retry_is_told_by_the_random_alone(self) -> None:
        assert decode_server_hello(RETRY).is_retry_request
        assert not decode_server_hello(SERVER_HELLO).is_retry_request

    def test_downgrade_marks(self) -> None:
        """Section 4.2.3."""
        assert bytes.fromhex("444F574E47524401") == messages.DOWNGRADE_TLS12
        assert bytes.fromhex("444F574E47524400") == messages.DOWNGRADE_TLS11

    def test_extensions_of_an_older_version_are_not_judged(self) -> None:
        """Without supported_versions it isn't TLS 1.3, so these are no faults of TLS 1.3."""
        old = server_hello((X.renegotiation_info, b"\0"), (X.server_name, b""), (X.session_ticket, b""))
        assert decode_server_hello(old).extensions == {}

    @pytest.mark.parametrize("block", [b"\0", b"\0\1\0", b"\0\0\0", b"\0\4\0\5\0\1", b"\0\5\0\5\0\0\0"])
    def test_extensions_of_an_older_version_are_whole(self, block: bytes) -> None:
        message = with_body(SERVER_HELLO, server_hello()[4:-2] + block)
        assert fault_of(decode_server_hello, message) is Fault.DECODE_ERROR

    def test_session_id_too_long(self) -> None:
        message = ServerHello.encode(RANDOM, bytes(33), 0x1301, [TLS13, SHARE])
        assert fault_of(decode_server_hello, message) is Fault.DECODE_ERROR

    @pytest.mark.parametrize(
        ("extra", "fault"),
        [
            ((X.key_share, b""), Fault.DUPLICATE_EXTENSION),
            ((X.application_layer_protocol_negotiation, b""), Fault.MISPLACED_EXTENSION),
            ((X.cookie, b""), Fault.MISPLACED_EXTENSION),
            ((UNKNOWN, b""), Fault.UNSOLICITED_EXTENSION),
            ((0x6A6A, b""), Fault.UNSOLICITED_EXTENSION),
        ],
    )
    def test_extensions_are_held_against_the_table(self, extra: tuple[int, bytes], fault: Fault) -> None:
        assert fault_of(decode_server_hello, server_hello(TLS13, SHARE, extra)) is fault

    def test_pre_shared_key_that_was_not_offered(self) -> None:
        message = server_hello(TLS13, SHARE, (X.pre_shared_key, u16(0)))
        assert fault_of(ServerHello.decode, message, {X.supported_versions, X.key_share}) is Fault.UNSOLICITED_EXTENSION

    def test_retry_has_a_table_of_its_own(self) -> None:
        message = server_hello(TLS13, (X.pre_shared_key, u16(0)), random=HELLO_RETRY_RANDOM)
        assert fault_of(decode_server_hello, message) is Fault.MISPLACED_EXTENSION


class TestEncryptedExtensions:
    @pytest.mark.parametrize(
        ("extensions", "fault"),
        [
            ({X.key_share: b""}, Fault.MISPLACED_EXTENSION),
            ({X.supported_versions: b""}, Fault.MISPLACED_EXTENSION),
            ({X.signature_algorithms: b""}, Fault.MISPLACED_EXTENSION),
            ({1: b""}, Fault.UNSOLICITED_EXTENSION),
            ({0x0A0A: b""}, Fault.UNSOLICITED_EXTENSION),
        ],
    )
    def test_forbidden(self, extensions: dict[int, bytes], fault: Fault) -> None:
        assert fault_of(EncryptedExtensions.decode, EncryptedExtensions(extensions).encode(), OFFERED) is fault

    def test_empty(self) -> None:
        assert EncryptedExtensions.decode(b"\x08\0\0\2\0\0", frozenset()).extensions == {}


class TestCertificate:
    def test_empty_chain(self) -> None:
        message = Certificate.encode(b"", ())
        assert message == b"\x0b\0\0\4\0\0\0\0"
        assert Certificate.decode(message, frozenset(), 10).entries == ()

    def test_encode_makes_what_decode_reads(self) -> None:
        chain = Certificate.decode(Certificate.encode(b"ctx", [b"leaf", b"root"]), frozenset(), 10)
        assert (chain.context, [entry.data for entry in chain.entries]) == (b"ctx", [b"leaf", b"root"])

    def test_empty_certificate(self) -> None:
        assert fault_of(Certificate.decode, certificate((b"", [])), frozenset(), 10) is Fault.DECODE_ERROR

    def test_too_many(self) -> None:
        chain = [(b"x", [])] * 3
        assert fault_of(Certificate.decode, certificate(*chain), frozenset(), 3) is None
        assert fault_of(Certificate.decode, certificate(*chain), frozenset(), 2) is Fault.CERTIFICATE_CHAIN_LONG

    @pytest.mark.parametrize("entry", [0, 1])
    @pytest.mark.parametrize(
        ("extensions", "fault"),
        [
            ([(X.status_request, b""), (X.status_request, b"")], Fault.DUPLICATE_EXTENSION),
            ([(X.server_name, b"")], Fault.MISPLACED_EXTENSION),
            ([(X.delegated_credential, b"")], Fault.UNSOLICITED_EXTENSION),
            ([(UNKNOWN, b"")], Fault.UNSOLICITED_EXTENSION),
        ],
    )
    def test_extensions_of_every_entry(self, entry: int, extensions: list[tuple[int, bytes]], fault: Fault) -> None:
        entries: list[tuple[bytes, list[tuple[int, bytes]]]] = [(b"leaf", []), (b"issuer", [])]
        entries[entry] = (b"bad", extensions)
        asked = frozenset([X.status_request, X.signed_certificate_timestamp])
        assert fault_of(Certificate.decode, certificate(*entries), asked, 10) is fault

    def test_length_inside_the_chain_is_exact(self) -> None:
        body = vector8(b"") + vector24(vector24(b"leaf") + b"\0\0" + b"\0")
        assert (
            fault_of(Certificate.decode, encode_message(HandshakeType.certificate, body), frozenset(), 10)
            is Fault.DECODE_ERROR
        )


class TestFinished:
    @pytest.mark.parametrize("length", [0, 31, 33, 47, 49, 64])
    def test_of_another_length(self, length: int) -> None:
        hash_length = 32 if length < 40 else 48
        assert fault_of(Finished.decode, Finished.encode(bytes(length)), hash_length) is Fault.DECODE_ERROR


class TestKeyUpdate:
    def test_both_values(self) -> None:
        for requested in (False, True):
            assert KeyUpdate.decode(KeyUpdate(requested).encode()).update_requested is requested

    @pytest.mark.parametrize("value", [2, 3, 0x80, 0xFF])
    def test_every_other_value(self, value: int) -> None:
        assert fault_of(KeyUpdate.decode, b"\x18\0\0\1" + bytes([value])) is Fault.KEY_UPDATE_REQUEST


class TestNewSessionTicket:
    def test_bounds(self) -> None:
        assert NewSessionTicket.decode(ticket(nonce=b"", value=b"x")).nonce == b""
        assert NewSessionTicket.decode(ticket(nonce=bytes(255), value=bytes(0xFFFF))).nonce == bytes(255)
        assert fault_of(NewSessionTicket.decode, ticket(value=b"")) is Fault.DECODE_ERROR

    def test_longest_lifetime(self) -> None:
        assert NewSessionTicket.decode(ticket(lifetime=604800)).lifetime == 604800

    @pytest.mark.parametrize(
        ("extensions", "fault"),
        [
            ([(X.early_data, u32(0)), (X.early_data, u32(0))], Fault.DUPLICATE_EXTENSION),
            ([(X.key_share, b"")], Fault.MISPLACED_EXTENSION),
            ([(UNKNOWN, b""), (0x7A7A, b"")], None),
        ],
    )
    def test_extensions(self, extensions: list[tuple[int, bytes]], fault: Fault | None) -> None:
        assert fault_of(NewSessionTicket.decode, ticket(extensions=extensions)) is fault


def test_faults_of_a_message_name_it() -> None:
    with pytest.raises(PeerFault, match="CertificateVerify has 1 bytes too many"):
        CertificateVerify.decode(with_body(b"\x0f", u16(0x0403) + vector16(b"") + b"\0"))
