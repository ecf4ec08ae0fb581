"""Extensions: the block, the table of who may carry which, and every content that we read."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from bounded import bounded, fault_of
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import is_grease
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import Reader, vector8, vector16, vector24
from tlsprovider.wire.extensions import ALLOWED, In, decode_block, encode_block

# RFC 9846 section 4.3, table 1, letter by letter; without those that this library doesn't know, which are below.
RFC_TABLE = """
server_name                             CH, EE, CR
status_request                          CH, CR, CT
supported_groups                        CH, EE
signature_algorithms                    CH, CR
use_srtp                                CH, EE
heartbeat                               CH, EE
application_layer_protocol_negotiation  CH, EE
client_certificate_type                 CH, EE
server_certificate_type                 CH, EE
padding                                 CH
compress_certificate                    CH, CR
record_size_limit                       CH, EE
delegated_credential                    CH, CR, CT
pre_shared_key                          CH, SH
early_data                              CH, EE, NST
supported_versions                      CH, SH, HRR
cookie                                  CH, HRR
psk_key_exchange_modes                  CH
certificate_authorities                 CH, CR
oid_filters                             CR
post_handshake_auth                     CH
signature_algorithms_cert               CH, CR
key_share                               CH, SH, HRR
transparency_info                       CH, CR, CT
quic_transport_parameters               CH, EE
ticket_request                          CH, EE
encrypted_client_hello                  CH, HRR, EE
"""
# Of RFC 6962, by the table of RFC 8446 section 4.2 (it is no longer "Recommended", so RFC 9846 leaves it out).
RFC_6962 = "signed_certificate_timestamp CH, CR, CT"

GREASE = [number for number in range(0x10000) if is_grease(number)]
UNKNOWN = 0x1234


def read_block(content: bytes, message: In, offered: frozenset[int] | None = None) -> dict[int, bytes]:
    reader = Reader(content, message.name or "")
    extensions = decode_block(reader, message, offered)
    reader.end()
    return extensions


class TestTable:
    def test_is_that_of_the_standard(self) -> None:
        expected = {}
        for line in (RFC_TABLE + RFC_6962).strip().splitlines():
            name, _, messages = line.partition(" ")
            expected[X[name]] = set(messages.replace(" ", "").split(","))
        assert {
            number: {message.name for message in In if message in allowed} for number, allowed in ALLOWED.items()
        } == {int(number): messages for number, messages in expected.items()}

    @pytest.mark.parametrize("message", In)
    @pytest.mark.parametrize("number", ALLOWED, ids=lambda number: X(number).name)
    def test_every_cell(self, number: int, message: In) -> None:
        content = encode_block([(number, b"content")])
        found = fault_of(read_block, content, message, frozenset([number]))
        assert found is (None if message in ALLOWED[number] else Fault.MISPLACED_EXTENSION)

    def test_misplaced_is_told_with_both_names(self) -> None:
        with pytest.raises(PeerFault, match=r"key_share in EE \[illegal_parameter"):
            read_block(encode_block([(X.key_share, b"")]), In.EE, frozenset([X.key_share]))


class TestBlock:
    def test_round_trip_keeps_order_and_content(self) -> None:
        extensions = [(X.key_share, b"a"), (X.cookie, b""), (UNKNOWN, bytes(300)), (X.server_name, b"z")]
        assert list(read_block(encode_block(extensions), In.CH).items()) == extensions

    def test_empty(self) -> None:
        assert encode_block([]) == b"\0\0"
        assert read_block(b"\0\0", In.EE, frozenset()) == {}

    def test_leaves_what_follows(self) -> None:
        reader = Reader(encode_block([(UNKNOWN, b"x")]) + b"rest", "x")
        decode_block(reader, In.CH)
        assert reader.rest() == b"rest"

    def test_cut_short_at_every_byte(self) -> None:
        encoded = encode_block([(X.key_share, b"abc"), (X.cookie, b"defg")])
        for length in range(len(encoded)):
            assert fault_of(read_block, encoded[:length], In.CH) is Fault.DECODE_ERROR

    def test_cut_short_inside_at_every_byte(self) -> None:
        """The length of the block is right, and what is in it is not whole."""
        inner = encode_block([(X.key_share, b"abc"), (X.cookie, b"defg")])[2:]
        boundary = 2 + 2 + 3
        for length in range(1, len(inner)):
            expected = None if length == boundary else Fault.DECODE_ERROR
            assert fault_of(read_block, vector16(inner[:length]), In.CH) is expected

    @pytest.mark.parametrize("number", [X.key_share, UNKNOWN, 0x0A0A])
    def test_duplicate(self, number: int) -> None:
        content = encode_block([(number, b"a"), (X.cookie, b""), (number, b"a")])
        assert fault_of(read_block, content, In.CH) is Fault.DUPLICATE_EXTENSION

    @pytest.mark.parametrize("number", [UNKNOWN, *GREASE])
    def test_unknown_is_ignored_in_a_request(self, number: int) -> None:
        for message in (In.CH, In.CR, In.NST):
            assert read_block(encode_block([(number, b"?")]), message) == {number: b"?"}

    @pytest.mark.parametrize("number", [UNKNOWN, *GREASE])
    def test_unknown_is_a_fault_in_an_answer(self, number: int) -> None:
        for message in (In.SH, In.HRR, In.EE, In.CT):
            content = encode_block([(number, b"?")])
            assert fault_of(read_block, content, message, frozenset([X.key_share])) is Fault.UNSOLICITED_EXTENSION

    @pytest.mark.parametrize(
        ("message", "number"), [(In.SH, X.pre_shared_key), (In.EE, X.early_data), (In.CT, X.status_request)]
    )
    def test_answer_to_nothing(self, message: In, number: X) -> None:
        content = encode_block([(number, b"")])
        assert fault_of(read_block, content, message, frozenset()) is Fault.UNSOLICITED_EXTENSION
        assert fault_of(read_block, content, message, frozenset([number])) is None

    def test_cookie_needs_no_question_in_a_retry_and_only_there(self) -> None:
        content = encode_block([(X.cookie, b"")])
        assert fault_of(read_block, content, In.HRR, frozenset()) is None
        assert fault_of(read_block, content, In.SH, frozenset()) is Fault.MISPLACED_EXTENSION

    def test_misplaced_outranks_unsolicited(self) -> None:
        content = encode_block([(X.key_share, b"")])
        assert fault_of(read_block, content, In.EE, frozenset()) is Fault.MISPLACED_EXTENSION


@attrs.frozen
class Content:
    """One content that is as it should be: how it is read, and what comes out."""

    decode: Callable[[bytes], object]
    encoded: bytes
    value: object


CONTENTS = {
    "server_name": Content(ext.decode_server_name, ext.encode_server_name("example.com"), "example.com"),
    "u16s": Content(
        lambda data: ext.decode_u16s(data, X.supported_groups),
        ext.encode_u16s([0x1D, 0x0A0A, 0xFFFF]),
        (0x1D, 0x0A0A, 0xFFFF),
    ),
    "alpn": Content(ext.decode_alpn, ext.encode_alpn(["h2", "caf\xe9"]), ("h2", "caf\xe9")),
    "offered_versions": Content(
        ext.decode_offered_versions, ext.encode_offered_versions([0x7A7A, 0x0304]), (0x7A7A, 0x0304)
    ),
    "selected_u16": Content(lambda data: ext.decode_selected_u16(data, X.key_share), b"\x00\x1d", 0x1D),
    "key_share": Content(ext.decode_key_share, ext.encode_key_share(0x1D, b"share"), (0x1D, b"share")),
    "key_shares": Content(
        ext.decode_key_shares,
        ext.encode_key_shares([(0x1A1A, b"\0"), (0x1D, b"share")]),
        {0x1A1A: b"\0", 0x1D: b"share"},
    ),
    "cookie": Content(ext.decode_cookie, ext.encode_cookie(b"crumbs"), b"crumbs"),
    "authorities": Content(ext.decode_authorities, ext.encode_authorities([b"0\x00", b"abc"]), (b"0\x00", b"abc")),
    "status_request": Content(ext.decode_status_request, ext.STATUS_REQUEST, None),
    "ocsp_response": Content(ext.decode_ocsp_response, b"\x01" + vector24(b"response"), b"response"),
    "scts": Content(ext.decode_scts, vector16(vector16(b"one") + vector16(b"two")), (b"one", b"two")),
}
contents = pytest.mark.parametrize("content", CONTENTS.values(), ids=list(CONTENTS))


@contents
class TestContents:
    def test_round_trip(self, content: Content) -> None:
        assert content.decode(content.encoded) == content.value

    def test_cut_short_at_every_byte(self, content: Content) -> None:
        for length in range(len(content.encoded)):
            assert fault_of(content.decode, content.encoded[:length]) is Fault.DECODE_ERROR

    @pytest.mark.parametrize("trailing", [b"\0", b"\1", bytes(4)])
    def test_trailing_bytes(self, content: Content, trailing: bytes) -> None:
        assert fault_of(content.decode, content.encoded + trailing) is Fault.DECODE_ERROR

    def test_every_length_one_too_small_or_too_large(self, content: Content) -> None:
        """Wherever the lengths are: no byte that counts can be one more or less without a fault or another value."""
        for index, byte in enumerate(content.encoded):
            for other in {byte - 1, byte + 1} & set(range(256)):
                changed = content.encoded[:index] + bytes([other]) + content.encoded[index + 1 :]
                try:
                    value = content.decode(changed)
                except PeerFault as found:
                    assert found.fault in (Fault.DECODE_ERROR, Fault.KEY_SHARE_DUPLICATE)
                else:
                    assert value != content.value or content.decode is ext.decode_status_request


@contents
@bounded(60)
@given(data=st.binary(max_size=40))
def test_hostile_content(content: Content, data: bytes) -> None:
    assert fault_of(content.decode, data) in (None, Fault.DECODE_ERROR, Fault.KEY_SHARE_DUPLICATE)


@bounded(200)
@given(
    data=st.binary(max_size=60), message=st.sampled_from([*In]), offered=st.none() | st.frozensets(st.sampled_from(X))
)
def test_hostile_block(data: bytes, message: In, offered: frozenset[int] | None) -> None:
    for hostile in (data, vector16(data)):
        try:
            extensions = read_block(hostile, message, offered)
        except PeerFault:
            continue
        # What was taken is all there: the dict says everything that the bytes said.
        assert encode_block(extensions.items()) == hostile


SMALL_BLOCKS = st.lists(st.tuples(st.sampled_from([*ALLOWED, UNKNOWN, 0x0A0A]), st.binary(max_size=4)), max_size=4)


@bounded(200)
@given(extensions=SMALL_BLOCKS, message=st.sampled_from([*In]), offered=st.frozensets(st.sampled_from(X)))
def test_a_block_is_taken_exactly_when_the_rules_allow_it(
    extensions: list[tuple[int, bytes]], message: In, offered: frozenset[int]
) -> None:
    numbers = [number for number, _ in extensions]
    good = len(set(numbers)) == len(numbers) and all(
        message in ALLOWED.get(number, message) and (number in offered or (number, message) == (X.cookie, In.HRR))
        for number in numbers
    )
    assert (fault_of(read_block, encode_block(extensions), message, offered) is None) is good


class TestServerName:
    def test_is_lower_case_for_the_reader(self) -> None:
        assert ext.decode_server_name(ext.encode_server_name("Example.COM")) == "example.com"

    def test_wire_form(self) -> None:
        assert ext.encode_server_name("ab") == b"\x00\x05\x00\x00\x02ab"

    @pytest.mark.parametrize(
        "names",
        [
            b"",
            b"\x00\x00\x00",  # an empty name
            b"\x01\x00\x01a",  # not a DNS name
            b"\x00\x00\x01a" * 2,  # two names of one type
            b"\x00\x00\x01a\x01\x00\x01b",
            b"\x00\x00\x02a\x00",  # zero byte
            b"\x00\x00\x02a\n",
            b"\x00\x00\x02a\x7f",
            b"\x00\x00\x02\xc3\xa9",  # UTF-8
        ],
    )
    def test_refused(self, names: bytes) -> None:
        assert fault_of(ext.decode_server_name, vector16(names)) is Fault.DECODE_ERROR

    def test_only_ascii_is_ever_sent(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            ext.encode_server_name("b\xfccher.example")


class TestAlpn:
    @pytest.mark.parametrize("block", [b"", b"\x00", b"\x02h2\x00", b"\x03h2"])
    def test_refused(self, block: bytes) -> None:
        assert fault_of(ext.decode_alpn, vector16(block)) is Fault.DECODE_ERROR

    def test_every_byte_survives(self) -> None:
        name = bytes(range(1, 255)).decode("latin-1")
        assert ext.decode_alpn(ext.encode_alpn([name])) == (name,)

    def test_longest_name(self) -> None:
        assert ext.decode_alpn(vector16(vector8(b"x" * 255))) == ("x" * 255,)


class TestLists:
    @pytest.mark.parametrize("length", [0, 1, 3])
    def test_numbers_are_whole_and_there(self, length: int) -> None:
        assert fault_of(ext.decode_u16s, vector16(bytes(length)), X.supported_groups) is Fault.DECODE_ERROR
        assert fault_of(ext.decode_offered_versions, vector8(bytes(length))) is Fault.DECODE_ERROR

    def test_most_versions(self) -> None:
        assert len(ext.decode_offered_versions(vector8(bytes(254)))) == 127
        assert fault_of(ext.decode_offered_versions, vector8(bytes(255))) is Fault.DECODE_ERROR

    def test_numbers_longest(self) -> None:
        assert len(ext.decode_u16s(vector16(bytes(0xFFFE)), X.supported_groups)) == 0x7FFF

    @pytest.mark.parametrize("length", [0, 1, 2])
    def test_authorities_too_few(self, length: int) -> None:
        assert fault_of(ext.decode_authorities, vector16(bytes(length))) is Fault.DECODE_ERROR

    def test_empty_authority(self) -> None:
        assert fault_of(ext.decode_authorities, vector16(b"\0\1a\0\0")) is Fault.DECODE_ERROR

    def test_empty_sct(self) -> None:
        assert fault_of(ext.decode_scts, vector16(b"\0\1a\0\0")) is Fault.DECODE_ERROR
        assert fault_of(ext.decode_scts, vector16(b"")) is Fault.DECODE_ERROR


class TestKeyShares:
    def test_none_at_all_asks_for_a_retry(self) -> None:
        """Section 4.3.8: a client may send an empty list."""
        assert ext.decode_key_shares(ext.encode_key_shares([])) == {}

    def test_empty_share(self) -> None:
        assert fault_of(ext.decode_key_shares, ext.encode_key_shares([(0x1D, b"")])) is Fault.DECODE_ERROR
        assert fault_of(ext.decode_key_share, ext.encode_key_share(0x1D, b"")) is Fault.DECODE_ERROR

    def test_duplicate(self) -> None:
        shares = [(0x1D, b"a"), (0x17, b"b"), (0x1D, b"c")]
        assert fault_of(ext.decode_key_shares, ext.encode_key_shares(shares)) is Fault.KEY_SHARE_DUPLICATE


class TestStatusRequest:
    def test_other_types_are_not_ours_to_judge(self) -> None:
        assert ext.decode_status_request(b"\x02anything") is None

    def test_answer_of_a_type_that_was_not_asked_for(self) -> None:
        assert fault_of(ext.decode_ocsp_response, b"\x02" + vector24(b"x")) is Fault.DECODE_ERROR

    def test_empty_answer(self) -> None:
        assert fault_of(ext.decode_ocsp_response, b"\x01" + vector24(b"")) is Fault.DECODE_ERROR


def test_empty_cookie() -> None:
    assert fault_of(ext.decode_cookie, ext.encode_cookie(b"")) is Fault.DECODE_ERROR


class TestRemembered:
    """Contents that all clients of a kind send are decoded once; see tlsprovider.remember."""

    def test_the_same_again(self) -> None:
        data = ext.encode_u16s([0x1D, 0x17])
        assert ext.decode_u16s(data, X.supported_groups) is ext.decode_u16s(bytes(bytearray(data)), X.supported_groups)

    def test_large_ones_are_not_kept(self) -> None:
        data = ext.encode_u16s(range(ext.MAX_REMEMBERED_SIZE))
        first, again = (ext.decode_u16s(data, X.supported_groups) for _ in range(2))
        assert first == again and first is not again

    def test_faults_are_found_each_time(self) -> None:
        for _ in range(2):
            assert fault_of(ext.decode_server_name, b"\0\3\1\0\0") is Fault.DECODE_ERROR

    def test_faults_name_what_was_read(self) -> None:
        """The same bytes in another extension are another matter."""
        for number in (X.supported_groups, X.signature_algorithms):
            with pytest.raises(PeerFault, match=number.name):
                ext.decode_u16s(b"\0\0", number)
