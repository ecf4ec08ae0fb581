"""External pre-shared keys: secrets that two sides were given beforehand, in place of certificates (RFC 9257).

Whoever has the key can be either side. So each pair of peers has its own, and it is as random as a session key:
a password is none, because one recorded handshake is enough to try them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Literal

import attrs

from tlsprovider.crypto.schedule import EXTERNAL_BINDER, IMPORTED_BINDER, import_psk
from tlsprovider.errors import ConfigError
from tlsprovider.iana import ProtocolVersion
from tlsprovider.wire.codec import u16, vector16

__all__ = ["ExternalPsk"]

HashName = Literal["sha256", "sha384"]

MIN_SECRET: Final = 16
MAX_IDENTITY: Final = 1024
# The numbers of key derivation functions, RFC 9258 section 9.
_KDFS: Final[dict[HashName, int]] = {"sha256": 1, "sha384": 2}
HASH_LENGTHS: Final[dict[HashName, int]] = {"sha256": 32, "sha384": 48}


def _check_identity(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bytes) or not 1 <= len(value) <= MAX_IDENTITY:
        raise ConfigError(
            f"ExternalPsk: identity has to be 1 to {MAX_IDENTITY} bytes; everybody on the way can read it"
        )


def _check_secret(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bytes) or len(value) < MIN_SECRET:
        raise ConfigError(f"ExternalPsk: secret has to be at least {MIN_SECRET} random bytes; a password is of no use")


def _check_hash(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in _KDFS:
        raise ConfigError(f"ExternalPsk: hash_name has to be one of {', '.join(_KDFS)}, not {value!r}")


@attrs.frozen(kw_only=True, eq=False)
class ExternalPsk:
    """One key. Give it to both sides: ``ClientConfig(psks=[...])`` and ``ServerConfig(psks=[...])``.

    Raises :exc:`ConfigError`. :meth:`imported` is the better way wherever the peer knows it.
    """

    identity: bytes = attrs.field(validator=_check_identity)
    """What the key is called. It goes over the wire in the clear."""
    secret: bytes = attrs.field(validator=_check_secret, repr=False)
    """At least 16 random bytes."""
    hash_name: HashName = attrs.field(default="sha256", validator=_check_hash)
    """It is used only with cipher suites of this hash (section 4.3.11)."""
    key_exchange: bool = True
    """False: without a key exchange, where the peer agrees (psk_ke). Who learns the key then reads all that was ever
    recorded under it; leave it alone unless a device can't do better."""
    label: bytes = attrs.field(default=EXTERNAL_BINDER, repr=False)
    """What :meth:`imported` sets."""

    @classmethod
    def imported(
        cls, identity: bytes, secret: bytes, *, context: bytes = b"", hash_name: HashName = "sha256"
    ) -> tuple[ExternalPsk, ...]:
        """RFC 9258: keys for each hash out of one, so that it is bound to TLS 1.3 and to a suite's hash.

        :param context: what else it is to be bound to, the same on both sides: names of both, for instance.
        :param hash_name: the hash that goes with ``secret``; SHA-256 unless something else was agreed.
        """
        # The checks of a key as it is.
        cls(identity=identity, secret=secret, hash_name=hash_name)
        found = []
        for target, number in _KDFS.items():
            name = vector16(identity) + vector16(context) + u16(ProtocolVersion.TLSv1_3) + u16(number)
            derived = import_psk(hash_name, secret, name, HASH_LENGTHS[target])
            found.append(cls(identity=name, secret=derived, hash_name=target, label=IMPORTED_BINDER))
        return tuple(found)


def psks(values: Iterable[ExternalPsk] | ExternalPsk) -> tuple[ExternalPsk, ...]:
    """The converter of configurations."""
    found = (values,) if isinstance(values, ExternalPsk) else tuple(values)
    for value in found:
        if not isinstance(value, ExternalPsk):
            raise ConfigError(f"psks: expected ExternalPsk, got {type(value).__name__}")
    if len({value.identity for value in found}) != len(found):
        raise ConfigError("psks: two keys have the same identity")
    return found
