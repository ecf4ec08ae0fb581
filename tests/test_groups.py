"""Key exchange: every group both ways, and every kind of share that must be refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from bounded import bounded, fault_of
from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.config import DEFAULT_GROUPS
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS, generate, generate_shares, respond
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.negotiate import POST_QUANTUM
from tlsprovider.iana import NamedGroup as G

# Sizes of a client's share, a server's share and the secret, and how long the curve's part of each is. RFC 9846
# section 4.3.8.2, RFC 7748, FIPS 203 table 3, RFC 10024.
SIZES = {
    G.x25519: (32, 32, 32),
    G.x448: (56, 56, 56),
    G.secp256r1: (65, 65, 32),
    G.secp384r1: (97, 97, 48),
    G.secp521r1: (133, 133, 66),
    G.X25519MLKEM768: (1184 + 32, 1088 + 32, 32 + 32),
    G.SecP256r1MLKEM768: (65 + 1184, 65 + 1088, 32 + 32),
    G.SecP384r1MLKEM1024: (97 + 1568, 97 + 1568, 48 + 32),
}
CURVES = {G.secp256r1: ec.SECP256R1(), G.secp384r1: ec.SECP384R1(), G.secp521r1: ec.SECP521R1()}
HYBRIDS = {
    G.X25519MLKEM768: (G.x25519, mlkem.MLKEM768PrivateKey, 1184, 1088),
    G.SecP256r1MLKEM768: (G.secp256r1, mlkem.MLKEM768PrivateKey, 1184, 1088),
    G.SecP384r1MLKEM1024: (G.secp384r1, mlkem.MLKEM1024PrivateKey, 1568, 1568),
}
PUBLIC = {mlkem.MLKEM768PrivateKey: mlkem.MLKEM768PublicKey, mlkem.MLKEM1024PrivateKey: mlkem.MLKEM1024PublicKey}
groups = pytest.mark.parametrize("group", SIZES, ids=str)
hybrids = pytest.mark.parametrize("group", HYBRIDS, ids=str)
curves = pytest.mark.parametrize("group", CURVES, ids=str)


def entropy(seed: bytes) -> Callable[[int], bytes]:
    """Bytes that look random and are the same every time."""
    drawn = 0

    def draw(length: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(seed + drawn.to_bytes(4, "big")).digest(length)

    return draw


def parts(group: G, share: bytes, kem_length: int) -> tuple[bytes, bytes]:
    """``(curve part, KEM part)``: X25519MLKEM768 is KEM first, the SecP* ones curve first (RFC 10024)."""
    if group is G.X25519MLKEM768:
        return share[kem_length:], share[:kem_length]
    return share[:-kem_length], share[-kem_length:]


def joined(group: G, curve_part: bytes, kem_part: bytes) -> bytes:
    return kem_part + curve_part if group is G.X25519MLKEM768 else curve_part + kem_part


def both_refuse(group: G, client_share: bytes, server_share: bytes) -> None:
    assert fault_of(respond, group, client_share) is Fault.KEY_SHARE_INVALID
    assert fault_of(generate(group).finish, server_share) is Fault.KEY_SHARE_INVALID


def test_what_there_is() -> None:
    assert set(IMPLEMENTED_GROUPS) == set(SIZES)
    assert set(DEFAULT_GROUPS) <= set(IMPLEMENTED_GROUPS)
    assert set(HYBRIDS) == POST_QUANTUM


@groups
class TestExchange:
    def test_both_sides_agree(self, group: G) -> None:
        key = generate(group)
        share, secret = respond(group, key.share)
        assert key.finish(share) == secret
        assert (len(key.share), len(share), len(secret)) == SIZES[group]

    def test_every_key_is_new(self, group: G) -> None:
        one, two = generate(group), generate(group)
        assert one.share != two.share
        assert respond(group, one.share) != respond(group, one.share)

    def test_a_stranger_gets_another_secret(self, group: G) -> None:
        key, stranger = generate(group), generate(group)
        share, secret = respond(group, key.share)
        assert stranger.finish(share) != secret

    def test_same_entropy_same_key(self, group: G) -> None:
        one, two = generate(group, entropy(b"a")), generate(group, entropy(b"a"))
        assert one.share == two.share
        share, secret = respond(group, one.share)
        assert one.finish(share) == two.finish(share) == secret
        assert generate(group, entropy(b"b")).share != one.share

    @pytest.mark.parametrize("change", [-1, 1])
    def test_wrong_length(self, group: G, change: int) -> None:
        key = generate(group)
        share, _ = respond(group, key.share)

        def resized(data: bytes) -> bytes:
            return data[:change] if change < 0 else data + bytes(change)

        assert fault_of(respond, group, resized(key.share)) is Fault.KEY_SHARE_INVALID
        assert fault_of(key.finish, resized(share)) is Fault.KEY_SHARE_INVALID

    @pytest.mark.parametrize("share", [b"", b"\0", b"\4", b"\0" * 32], ids=len)
    def test_far_too_short(self, group: G, share: bytes) -> None:
        both_refuse(group, share, share)

    def test_all_zero(self, group: G) -> None:
        client, server, _ = SIZES[group]
        both_refuse(group, bytes(client), bytes(server))

    def test_keys_are_shown_nowhere(self, group: G) -> None:
        key = generate(group, entropy(b"a"))
        assert repr(key) == object.__repr__(key)
        assert "0x" in str(key)

    def test_refusal_names_the_group(self, group: G) -> None:
        with pytest.raises(PeerFault, match=rf"{group}: "):
            respond(group, b"short")


@groups
@bounded(15)
@given(data=st.data())
def test_hostile_shares(group: G, data: st.DataObject) -> None:
    """Any bytes of the right length: a secret of the right length, or KEY_SHARE_INVALID."""
    client_length, server_length, secret_length = SIZES[group]
    seed = data.draw(st.binary(min_size=1, max_size=8))
    for call, length in (
        (lambda share: respond(group, share)[1], client_length),
        (generate(group).finish, server_length),
    ):
        share = hashlib.shake_128(seed).digest(length)
        try:
            assert len(call(share)) == secret_length
        except PeerFault as found:
            assert found.fault is Fault.KEY_SHARE_INVALID


# RFC 7748 section 6 wants the all-zero result refused; these are the points of small order that lead to it
# (u = 0, 1, p - 1, and the two of order 8), and those that reduce to the same.
X25519_LOW_ORDER = [
    bytes(32),
    b"\1" + bytes(31),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    bytes.fromhex("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes.fromhex("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    bytes(31) + b"\x80",
]
X448_LOW_ORDER = [
    bytes(56),
    b"\1" + bytes(55),
    b"\xfe" + b"\xff" * 27 + b"\xfe" + b"\xff" * 27,  # p - 1
    b"\xff" * 28 + b"\xfe" + b"\xff" * 27,  # p
    b"\0" * 28 + b"\xff" * 28,  # p + 1
]


class TestMontgomery:
    @pytest.mark.parametrize("point", X25519_LOW_ORDER, ids=lambda point: point.hex()[:8])
    def test_x25519_low_order(self, point: bytes) -> None:
        both_refuse(G.x25519, point, point)

    @pytest.mark.parametrize("point", X448_LOW_ORDER, ids=lambda point: point.hex()[:8])
    def test_x448_low_order(self, point: bytes) -> None:
        both_refuse(G.x448, point, point)

    @pytest.mark.parametrize("point", X25519_LOW_ORDER, ids=lambda point: point.hex()[:8])
    def test_low_order_in_a_hybrid(self, point: bytes) -> None:
        """The other half is good, and doesn't excuse it."""
        key = generate(G.X25519MLKEM768)
        share, _ = respond(G.X25519MLKEM768, key.share)
        assert fault_of(respond, G.X25519MLKEM768, key.share[:1184] + point) is Fault.KEY_SHARE_INVALID
        assert fault_of(key.finish, share[:1088] + point) is Fault.KEY_SHARE_INVALID

    def test_rfc_7748(self) -> None:
        """Section 6.1: Alice and Bob."""
        alice = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        key = generate(G.x25519, lambda length: alice)
        assert key.share.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
        bob = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        assert key.finish(bob).hex() == "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"


@curves
class TestWeierstrass:
    def test_compressed_point(self, group: G) -> None:
        key = ec.generate_private_key(CURVES[group]).public_key()
        compressed = key.public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
        both_refuse(group, compressed, compressed)
        padded = compressed.ljust(SIZES[group][0], b"\0")
        both_refuse(group, padded, padded)

    @pytest.mark.parametrize("form", [0, 2, 3, 5, 6, 7, 0xFF])
    def test_other_forms(self, group: G, form: int) -> None:
        """6 and 7 are the hybrid form of X9.62, which some libraries take."""
        share = bytes([form]) + generate(group).share[1:]
        both_refuse(group, share, share)

    def test_point_at_infinity(self, group: G) -> None:
        both_refuse(group, b"\0", b"\0")
        share = b"\4" + bytes(SIZES[group][0] - 1)
        both_refuse(group, share, share)

    @pytest.mark.parametrize("where", [1, -1])
    def test_off_the_curve(self, group: G, where: int) -> None:
        share = bytearray(generate(group).share)
        share[where] ^= 1
        both_refuse(group, bytes(share), bytes(share))

    def test_coordinates_beyond_the_field(self, group: G) -> None:
        share = b"\4" + b"\xff" * (SIZES[group][0] - 1)
        both_refuse(group, share, share)

    def test_point_of_another_curve(self, group: G) -> None:
        for other in set(CURVES) - {group}:
            share = generate(other).share
            both_refuse(group, share, share)
            length = SIZES[group][0]
            both_refuse(group, share[:length].ljust(length, b"\0"), share[:length].ljust(length, b"\0"))

    def test_secret_is_the_x_coordinate_in_full(self, group: G) -> None:
        """Section 7.4.2: leading zeros stay. One secret in 256 begins with one, so look for it."""
        key = generate(group, entropy(b"client"))
        for number in range(4000):
            share, secret = respond(group, key.share, entropy(b"server %d" % number))
            assert len(secret) == SIZES[group][2]
            if secret[0] == 0:
                break
        assert secret[0] == 0
        assert key.finish(share) == secret


@hybrids
class TestHybrid:
    def test_order_of_the_parts(self, group: G) -> None:
        """A client that does both halves by itself agrees with our server."""
        curve_group, kem_type, _, ciphertext_length = HYBRIDS[group]
        kem, curve = kem_type.generate(), generate(curve_group)
        offered = joined(group, curve.share, kem.public_key().public_bytes_raw())
        share, secret = respond(group, offered)
        curve_part, ciphertext = parts(group, share, ciphertext_length)
        assert secret == joined(group, curve.finish(curve_part), kem.decapsulate(ciphertext))

    def test_order_of_the_parts_for_the_client(self, group: G) -> None:
        curve_group, kem_type, public_length, _ = HYBRIDS[group]
        key = generate(group)
        curve_part, encapsulation_key = parts(group, key.share, public_length)
        kem_secret, ciphertext = PUBLIC[kem_type].from_public_bytes(encapsulation_key).encapsulate()
        curve_share, curve_secret = respond(curve_group, curve_part)
        assert key.finish(joined(group, curve_share, ciphertext)) == joined(group, curve_secret, kem_secret)

    def test_key_beyond_the_modulus(self, group: G) -> None:
        """FIPS 203 section 7.2: coefficients of an encapsulation key are below 3329."""
        _, _, public_length, _ = HYBRIDS[group]
        curve_part, kem_part = parts(group, generate(group).share, public_length)
        bad = joined(group, curve_part, b"\xff" * 3 + kem_part[3:])
        with pytest.raises(PeerFault, match="not an ML-KEM encapsulation key"):
            respond(group, bad)

    def test_bad_curve_part(self, group: G) -> None:
        _, _, public_length, ciphertext_length = HYBRIDS[group]
        key = generate(group)
        share, _ = respond(group, key.share)
        curve_part, kem_part = parts(group, key.share, public_length)
        assert fault_of(respond, group, joined(group, bytes(len(curve_part)), kem_part)) is Fault.KEY_SHARE_INVALID
        curve_part, kem_part = parts(group, share, ciphertext_length)
        assert fault_of(key.finish, joined(group, bytes(len(curve_part)), kem_part)) is Fault.KEY_SHARE_INVALID

    def test_damaged_ciphertext_gives_another_secret(self, group: G) -> None:
        """Implicit rejection (FIPS 203 section 6.3): no oracle, the handshake fails at Finished."""
        *_, ciphertext_length = HYBRIDS[group]
        key = generate(group)
        share, secret = respond(group, key.share)
        curve_part, ciphertext = parts(group, share, ciphertext_length)
        damaged = joined(group, curve_part, bytes([ciphertext[0] ^ 1]) + ciphertext[1:])
        other = key.finish(damaged)
        assert other != secret
        assert len(other) == len(secret)

    def test_parts_in_the_wrong_order(self, group: G) -> None:
        _, _, public_length, _ = HYBRIDS[group]
        curve_part, kem_part = parts(group, generate(group).share, public_length)
        swapped = curve_part + kem_part if group is G.X25519MLKEM768 else kem_part + curve_part
        assert fault_of(respond, group, swapped) is Fault.KEY_SHARE_INVALID


class TestGenerateShares:
    def test_order_is_that_of_the_request(self) -> None:
        wanted = (G.X25519MLKEM768, G.secp256r1, G.x25519)
        assert tuple(generate_shares(wanted)) == wanted

    def test_hybrid_and_its_curve_share_one_key(self) -> None:
        keys = generate_shares([G.X25519MLKEM768, G.x25519])
        assert keys[G.X25519MLKEM768].share[1184:] == keys[G.x25519].share
        keys = generate_shares([G.secp256r1, G.SecP256r1MLKEM768])
        assert keys[G.SecP256r1MLKEM768].share[:65] == keys[G.secp256r1].share

    def test_every_shared_key_works(self) -> None:
        for group, key in generate_shares(IMPLEMENTED_GROUPS).items():
            share, secret = respond(group, key.share)
            assert key.finish(share) == secret

    def test_different_curves_share_nothing(self) -> None:
        keys = generate_shares([G.X25519MLKEM768, G.secp256r1])
        assert keys[G.secp256r1].share not in keys[G.X25519MLKEM768].share

    def test_two_hybrids_have_kem_keys_of_their_own(self) -> None:
        keys = generate_shares([G.X25519MLKEM768, G.SecP256r1MLKEM768])
        assert keys[G.X25519MLKEM768].share[:1184] != keys[G.SecP256r1MLKEM768].share[65:]

    def test_same_entropy_same_shares(self) -> None:
        one, two = (generate_shares(IMPLEMENTED_GROUPS, entropy(b"x")) for _ in range(2))
        assert {group: key.share for group, key in one.items()} == {group: key.share for group, key in two.items()}

    def test_none(self) -> None:
        assert generate_shares([]) == {}


@curves
def test_extremes_of_entropy_make_good_keys(group: G) -> None:
    """Zeros or ones alone: still a private key between 1 and the order."""
    for byte in (b"\0", b"\xff"):
        key = generate(group, lambda length, byte=byte: byte * length)
        share, secret = respond(group, key.share)
        assert key.finish(share) == secret


def test_entropy_of_x25519_is_the_private_key() -> None:
    seed = bytes(range(32))
    assert generate(G.x25519, lambda length: seed).share == (
        x25519.X25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    )
