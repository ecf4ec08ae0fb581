"""Open enums: unknown numbers survive, and names are read as people write them."""

from __future__ import annotations

import pickle

import pytest

from tlsprovider.iana import (
    AlertDescription,
    CipherSuite,
    ContentType,
    ExtensionType,
    HandshakeType,
    NamedGroup,
    ProtocolVersion,
    RegistryEnum,
    SignatureScheme,
    is_grease,
)

WIDE = [CipherSuite, ExtensionType, NamedGroup, ProtocolVersion, SignatureScheme]
NARROW = [AlertDescription, ContentType, HandshakeType]


@pytest.mark.parametrize("kind", WIDE)
def test_unknown_16_bit_number_survives(kind: type[RegistryEnum]) -> None:
    member = kind(0x6A6A)
    assert (int(member), member.name, str(member)) == (0x6A6A, "0x6a6a", "0x6a6a")
    assert isinstance(member, kind)
    assert member == 0x6A6A
    assert hash(member) == hash(0x6A6A)


@pytest.mark.parametrize("kind", NARROW)
def test_unknown_8_bit_number_survives(kind: type[RegistryEnum]) -> None:
    assert kind(0xE9).name == "0xe9"


def test_unknown_number_is_not_remembered() -> None:
    before = len(NamedGroup)
    NamedGroup(0x6A6A)
    assert len(NamedGroup) == before
    assert 0x6A6A not in NamedGroup._value2member_map_


@pytest.mark.parametrize("number", [-1, 0x10000])
def test_numbers_that_no_field_can_hold_are_refused(number: int) -> None:
    with pytest.raises(ValueError, match=str(number)):
        NamedGroup(number)


@pytest.mark.parametrize("kind", WIDE + NARROW)
def test_every_name_reads_back(kind: type[RegistryEnum]) -> None:
    for member in kind:
        for text in (str(member), str(member).upper(), str(member).lower(), f"  {member} "):
            assert kind.parse(text) is member
        assert kind.parse(int(member)) is member
        assert kind.parse(member) is member


@pytest.mark.parametrize("text", ["TLSv1.3", "tlsv1.3", "TLSv1_3", "TLS 1.3", "tls1.3", "1.3"])
def test_spellings_of_a_version(text: str) -> None:
    assert ProtocolVersion.parse(text) is ProtocolVersion.TLSv1_3


def test_version_one_point_zero() -> None:
    assert ProtocolVersion.parse("TLSv1.0") is ProtocolVersion.TLSv1
    assert str(ProtocolVersion.TLSv1) == "TLSv1"
    assert str(ProtocolVersion.TLSv1_3) == "TLSv1.3"


def test_a_wrong_name_is_told_what_was_meant() -> None:
    with pytest.raises(ValueError, match=r"unknown group 'x2559': did you mean 'x25519'\? Known: secp256r1, .*x25519"):
        NamedGroup.parse("x2559")


def test_a_name_like_no_other_is_told_the_names() -> None:
    with pytest.raises(ValueError, match=r"unknown cipher suite 'qqq'\. Known: TLS_AES_128_GCM_SHA256, "):
        CipherSuite.parse("qqq")


@pytest.mark.parametrize(
    ("kind", "noun"),
    [(ProtocolVersion, "TLS version"), (AlertDescription, "alert"), (SignatureScheme, "signature scheme")],
)
def test_errors_name_the_kind(kind: type[RegistryEnum], noun: str) -> None:
    with pytest.raises(ValueError, match=f"unknown {noun} 'zz'"):
        kind.parse("zz")


def test_members_travel_through_pickle() -> None:
    assert pickle.loads(pickle.dumps(NamedGroup.x25519)) is NamedGroup.x25519


def test_grease_numbers() -> None:
    grease = {number for number in range(0x10000) if is_grease(number)}
    assert grease == {0x0A0A + 0x1010 * step for step in range(16)}


@pytest.mark.parametrize("kind", [CipherSuite, ExtensionType, NamedGroup, SignatureScheme])
def test_no_registered_number_is_grease(kind: type[RegistryEnum]) -> None:
    assert not [member for member in kind if is_grease(member)]
