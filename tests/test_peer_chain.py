"""The chain in a Certificate message: what is remembered of it is what reading it again would give, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from certificate_maker import make, san

from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.certificates import MAX_REMEMBERED_SIZE, certificate_der
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.chain import read_chain
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType
from tlsprovider.wire.codec import vector8, vector16, vector24
from tlsprovider.wire.messages import Certificate, encode_message

NOTHING: frozenset[int] = frozenset()
STAPLED = vector16(b"\x00\x05" + vector16(b"\x01" + vector24(b"an answer")))


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    read_chain.known.cache_clear()
    yield
    read_chain.known.cache_clear()


@pytest.fixture(scope="module")
def shown(authority: Authority) -> bytes:
    return Certificate.encode(b"", [certificate_der(one) for one in authority.issue("localhost").certificates])


def one_certificate(data: bytes, extensions: bytes = vector16(b""), context: bytes = b"") -> bytes:
    return encode_message(HandshakeType.certificate, vector8(context) + vector24(vector24(data) + extensions))


def fault_of(message: bytes, requested: frozenset[int]) -> Fault:
    with pytest.raises(PeerFault) as raised:
        read_chain(message, requested)
    return raised.value.fault


def test_the_same_message_gives_the_same_chain(shown: bytes) -> None:
    first = read_chain(shown, NOTHING)
    again = read_chain(bytes(bytearray(shown)), NOTHING)
    assert again is first
    assert [certificate_der(one) for one in first.certificates] == [entry.data for entry in first.entries]
    assert first.may_sign


def test_what_was_asked_for_is_part_of_the_question(authority: Authority) -> None:
    """An answer that one side has asked for is none that another has."""
    data = certificate_der(authority.issue("localhost").certificates[0])
    message = one_certificate(data, STAPLED)
    asked = frozenset({int(X.status_request)})
    assert read_chain(message, asked).entries[0].extensions == {5: b"\x01" + vector24(b"an answer")}
    assert fault_of(message, NOTHING) is Fault.UNSOLICITED_EXTENSION
    assert read_chain(message, asked).entries[0].extensions


def test_faults_are_found_each_time(authority: Authority) -> None:
    data = certificate_der(authority.issue("localhost").certificates[0])
    for message, fault in (
        (one_certificate(data, context=b"x"), Fault.CERTIFICATE_CONTEXT),
        (one_certificate(data[:-1] + b"!!"), Fault.CERTIFICATE_UNPARSABLE),
        (one_certificate(data)[:-1], Fault.DECODE_ERROR),
    ):
        assert [fault_of(message, NOTHING) for _ in range(2)] == [fault, fault]
    assert read_chain.known.cache_info().currsize == 0


def test_only_small_messages_are_remembered() -> None:
    names = [f"host-number-{number}.example" for number in range(MAX_REMEMBERED_SIZE // 20)]
    small, large = (
        one_certificate(certificate_der(make("x", [san(*some)]).certificate)) for some in (names[:9], names)
    )
    assert len(small) <= MAX_REMEMBERED_SIZE < len(large)
    assert read_chain(small, NOTHING) is read_chain(small, NOTHING)
    assert read_chain(large, NOTHING) is not read_chain(large, NOTHING)


def test_an_empty_chain() -> None:
    """Whether it may be empty is for the handshake to say."""
    assert read_chain(Certificate.encode(b"", []), NOTHING).certificates == ()
