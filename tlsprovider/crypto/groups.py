"""Key exchange: ephemeral keys, and the secret that two of them make (RFC 9846 section 7.4, RFC 10024 for hybrids).

The client offers (:func:`generate`), the server answers an offer (:func:`respond`), the client finishes. That shape
fits Diffie-Hellman and key encapsulation alike, and a hybrid is both, one behind the other.

Whatever a stranger's share contains, the only exception is ``PeerFault(Fault.KEY_SHARE_INVALID)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec, mlkem, x448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import NamedGroup
from tlsprovider.values import value

__all__ = ["IMPLEMENTED_GROUPS", "KeyExchange", "generate", "generate_shares", "respond"]

Entropy = Callable[[int], bytes] | None
"""None: ``cryptography`` generates keys itself. A callable is for tests that need the same keys again."""


class KeyExchange(Protocol):
    """An ephemeral private key: ``share`` goes to the peer, ``finish`` takes what comes back."""

    @property
    def share(self) -> bytes: ...
    def finish(self, peer_share: bytes) -> bytes: ...


def _invalid(group: NamedGroup, problem: str) -> PeerFault:
    return PeerFault(Fault.KEY_SHARE_INVALID, f"{group}: {problem}")


_PrivateMontgomery = type[x25519.X25519PrivateKey] | type[x448.X448PrivateKey]
_PublicMontgomery = type[x25519.X25519PublicKey] | type[x448.X448PublicKey]
_MONTGOMERY: Final[dict[NamedGroup, tuple[_PrivateMontgomery, _PublicMontgomery, int]]] = {
    NamedGroup.x25519: (x25519.X25519PrivateKey, x25519.X25519PublicKey, 32),
    NamedGroup.x448: (x448.X448PrivateKey, x448.X448PublicKey, 56),
}


@value(repr=False)
class _Montgomery:
    """x25519 and x448, RFC 7748."""

    group: NamedGroup
    key: x25519.X25519PrivateKey | x448.X448PrivateKey
    share: bytes

    @classmethod
    def generate(cls, group: NamedGroup, entropy: Entropy) -> _Montgomery:
        private, _, length = _MONTGOMERY[group]
        key = private.generate() if entropy is None else private.from_private_bytes(entropy(length))
        return cls(group, key, key.public_key().public_bytes_raw())

    def finish(self, peer_share: bytes) -> bytes:
        _, public, _ = _MONTGOMERY[self.group]
        try:
            # An all-zero result, which section 7.4.2 demands to refuse, raises ValueError as well.
            return self.key.exchange(public.from_public_bytes(peer_share))  # type: ignore[arg-type]
        except ValueError:
            raise _invalid(self.group, "not a point that can be used") from None


_CURVES: Final[dict[NamedGroup, tuple[ec.EllipticCurve, int]]] = {
    NamedGroup.secp256r1: (ec.SECP256R1(), 65),
    NamedGroup.secp384r1: (ec.SECP384R1(), 97),
    NamedGroup.secp521r1: (ec.SECP521R1(), 133),
}
_ECDH: Final = ec.ECDH()


@value(repr=False)
class _Weierstrass:
    """The NIST curves; shares are uncompressed points (section 4.3.8.2)."""

    group: NamedGroup
    key: ec.EllipticCurvePrivateKey
    share: bytes

    @classmethod
    def generate(cls, group: NamedGroup, entropy: Entropy) -> _Weierstrass:
        curve, length = _CURVES[group]
        if entropy is None:
            key = ec.generate_private_key(curve)
        else:
            # For tests only: 8 spare bytes make the bias of the remainder irrelevant, and 0 can't come out.
            width = (length - 1) // 2
            key = ec.derive_private_key(
                int.from_bytes(entropy(width + 8), "big") % (1 << (curve.key_size - 1)) + 1, curve
            )
        share = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return cls(group, key, share)

    def finish(self, peer_share: bytes) -> bytes:
        curve, length = _CURVES[self.group]
        if len(peer_share) != length or peer_share[0] != 4:
            raise _invalid(self.group, f"not an uncompressed point of {length} bytes")
        try:
            return self.key.exchange(_ECDH, ec.EllipticCurvePublicKey.from_encoded_point(curve, peer_share))
        except ValueError:
            raise _invalid(self.group, "not a point on the curve") from None


@value
class _Kem:
    """Sizes and classes of one ML-KEM parameter set (FIPS 203)."""

    private: type[mlkem.MLKEM768PrivateKey] | type[mlkem.MLKEM1024PrivateKey]
    public: type[mlkem.MLKEM768PublicKey] | type[mlkem.MLKEM1024PublicKey]
    public_length: int
    ciphertext_length: int


_MLKEM768: Final = _Kem(mlkem.MLKEM768PrivateKey, mlkem.MLKEM768PublicKey, 1184, 1088)
_MLKEM1024: Final = _Kem(mlkem.MLKEM1024PrivateKey, mlkem.MLKEM1024PublicKey, 1568, 1568)


@value
class _HybridForm:
    """Which curve, which KEM, and which of the two comes first on the wire and in the secret (RFC 10024)."""

    curve: NamedGroup
    curve_length: int
    kem: _Kem
    kem_first: bool


_HYBRIDS: Final[dict[NamedGroup, _HybridForm]] = {
    NamedGroup.X25519MLKEM768: _HybridForm(NamedGroup.x25519, 32, _MLKEM768, kem_first=True),
    NamedGroup.SecP256r1MLKEM768: _HybridForm(NamedGroup.secp256r1, 65, _MLKEM768, kem_first=False),
    NamedGroup.SecP384r1MLKEM1024: _HybridForm(NamedGroup.secp384r1, 97, _MLKEM1024, kem_first=False),
}


def _split(group: NamedGroup, form: _HybridForm, share: bytes, kem_length: int) -> tuple[bytes, bytes]:
    """``(curve part, KEM part)`` of a share."""
    if len(share) != kem_length + form.curve_length:
        raise _invalid(group, f"{len(share)} bytes instead of {kem_length + form.curve_length}")
    if form.kem_first:
        return share[kem_length:], share[:kem_length]
    return share[: form.curve_length], share[form.curve_length :]


def _join(form: _HybridForm, curve_part: bytes, kem_part: bytes) -> bytes:
    return kem_part + curve_part if form.kem_first else curve_part + kem_part


@value(repr=False)
class _Hybrid:
    """A curve and ML-KEM together: as strong as the stronger of the two."""

    group: NamedGroup
    form: _HybridForm
    curve: KeyExchange
    kem: mlkem.MLKEM768PrivateKey | mlkem.MLKEM1024PrivateKey
    share: bytes

    @classmethod
    def generate(cls, group: NamedGroup, entropy: Entropy, curve: KeyExchange | None = None) -> _Hybrid:
        form = _HYBRIDS[group]
        curve = curve or generate(form.curve, entropy)
        kem = form.kem.private.generate() if entropy is None else form.kem.private.from_seed_bytes(entropy(64))
        return cls(group, form, curve, kem, _join(form, curve.share, kem.public_key().public_bytes_raw()))

    def finish(self, peer_share: bytes) -> bytes:
        curve_part, kem_part = _split(self.group, self.form, peer_share, self.form.kem.ciphertext_length)
        curve_secret = self.curve.finish(curve_part)
        try:
            kem_secret = self.kem.decapsulate(kem_part)
        except ValueError:
            raise _invalid(self.group, "not an ML-KEM ciphertext") from None
        return _join(self.form, curve_secret, kem_secret)


IMPLEMENTED_GROUPS: Final = (
    NamedGroup.X25519MLKEM768,
    NamedGroup.x25519,
    NamedGroup.secp256r1,
    NamedGroup.secp384r1,
    NamedGroup.secp521r1,
    NamedGroup.x448,
    NamedGroup.SecP256r1MLKEM768,
    NamedGroup.SecP384r1MLKEM1024,
)


def generate(group: NamedGroup, entropy: Entropy = None) -> KeyExchange:
    """A fresh ephemeral key for a group of :data:`IMPLEMENTED_GROUPS`."""
    if group in _HYBRIDS:
        return _Hybrid.generate(group, entropy)
    if group in _CURVES:
        return _Weierstrass.generate(group, entropy)
    return _Montgomery.generate(group, entropy)


def generate_shares(groups: Iterable[NamedGroup], entropy: Entropy = None) -> dict[NamedGroup, KeyExchange]:
    """Keys for a ClientHello that offers several groups.

    A hybrid and its curve offered side by side share one curve key: only one of the offers will be used, and a key
    generation is saved (RFC 10024 allows it).
    """
    groups = tuple(groups)
    if len(groups) == 1:
        return {groups[0]: generate(groups[0], entropy)}
    keys: dict[NamedGroup, KeyExchange] = {}
    for group in sorted(groups, key=lambda one: one in _HYBRIDS):
        form = _HYBRIDS.get(group)
        if form is not None:
            keys[group] = _Hybrid.generate(group, entropy, keys.get(form.curve))
        else:
            keys[group] = generate(group, entropy)
    return {group: keys[group] for group in groups}


def respond(group: NamedGroup, peer_share: bytes, entropy: Entropy = None) -> tuple[bytes, bytes]:
    """A server's answer to a client's share: ``(our share, shared secret)``."""
    form = _HYBRIDS.get(group)
    if form is None:
        key = generate(group, entropy)
        return key.share, key.finish(peer_share)
    curve_part, kem_part = _split(group, form, peer_share, form.kem.public_length)
    curve = generate(form.curve, entropy)
    curve_secret = curve.finish(curve_part)
    try:
        # Checks the modulus of the encapsulation key too (FIPS 203 section 7.2).
        kem_secret, ciphertext = form.kem.public.from_public_bytes(kem_part).encapsulate()
    except ValueError:
        raise _invalid(group, "not an ML-KEM encapsulation key") from None
    return _join(form, curve.share, ciphertext), _join(form, curve_secret, kem_secret)
