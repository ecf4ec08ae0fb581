"""What a server's tickets are sealed with: AES-256-GCM under keys that come, and go, by the clock.

A ticket is self-contained: the server keeps nothing but the key. So the key is what an attacker wants, who could then
take the server's place in every session under it; hence it lives in memory, briefly, and is replaced before it is old.

    introduced           +encrypt_lifetime            +decrypt_lifetime
        |--- seals and opens ---|------- only opens ---------|  gone

    ticket = name of the key (16 bytes) | nonce (12) | AES-256-GCM(state), with the name as associated data
"""

from __future__ import annotations

import math
import secrets
import struct
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final, Self

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tlsprovider.errors import ConfigError

__all__ = ["WINDOW", "FirstUses", "TicketKey", "TicketKeyRing"]

NAME_LENGTH: Final = 16
KEY_LENGTH: Final = 32
NONCE_LENGTH: Final = 12
TAG_LENGTH: Final = 16
DAY: Final = 24 * 3600
# Early data, section 8.3: seconds by which the clocks, and the network's delay, may differ from what a client says.
WINDOW: Final = 10.0
# Flights of early data that are remembered in this time; with more, the next ones are not accepted.
MAX_REMEMBERED: Final = 100_000
# Nonces are random, so a key may seal 2^32 tickets (NIST SP 800-38D section 8.3); a day of 40,000 a second.
_PURPOSE: Final = b"tlsprovider session ticket 1"
_KEY_PURPOSE: Final = b"tlsprovider ticket key 1"
_TIMES: Final = ">ddd"


def _length(wanted: int) -> Callable[[object, attrs.Attribute[bytes], object], None]:
    def check(instance: object, attribute: attrs.Attribute[bytes], value: object) -> None:
        if not isinstance(value, bytes) or len(value) != wanted:
            raise ConfigError(f"TicketKey: {attribute.name} has to be {wanted} bytes")

    return check


@attrs.frozen(kw_only=True, eq=False)
class TicketKey:
    """One key. Nodes that are to resume each other's sessions have the same, with the same times."""

    name: bytes = attrs.field(validator=_length(NAME_LENGTH))
    """16 bytes; they are readable in each ticket."""
    secret: bytes = attrs.field(validator=_length(KEY_LENGTH), repr=False)
    """32 random bytes."""
    introduced: float
    """Seconds since the epoch: before, it only opens tickets, which other nodes may have sealed."""
    encrypt_lifetime: float = DAY
    """Seconds for which it seals tickets."""
    decrypt_lifetime: float = 2 * DAY
    """Seconds for which it opens them."""

    def __attrs_post_init__(self) -> None:
        if not 0 < self.encrypt_lifetime <= self.decrypt_lifetime:
            raise ConfigError("TicketKey: 0 < encrypt_lifetime <= decrypt_lifetime does not hold")

    def seals(self, now: float) -> bool:
        return self.introduced <= now < self.introduced + self.encrypt_lifetime

    def expired(self, now: float) -> bool:
        return now >= self.introduced + self.decrypt_lifetime

    @classmethod
    def new(
        cls, introduced: float, lifetimes: tuple[float, float], entropy: Callable[[int], bytes] = secrets.token_bytes
    ) -> Self:
        """A random one; ``lifetimes``: for sealing and for opening."""
        return cls(
            name=entropy(NAME_LENGTH),
            secret=entropy(KEY_LENGTH),
            introduced=introduced,
            encrypt_lifetime=lifetimes[0],
            decrypt_lifetime=lifetimes[1],
        )

    def sealed(self, wrapping_key: bytes) -> bytes:
        """Everything but the name, for a place that others can read; ``wrapping_key``: 32 bytes."""
        nonce = secrets.token_bytes(NONCE_LENGTH)
        times = struct.pack(_TIMES, self.introduced, self.encrypt_lifetime, self.decrypt_lifetime)
        return nonce + AESGCM(wrapping_key).encrypt(nonce, times + self.secret, _KEY_PURPOSE + self.name)

    @classmethod
    def unsealed(cls, name: bytes, data: bytes, wrapping_key: bytes) -> Self:
        """What :meth:`sealed` made. Raises :exc:`ConfigError` for anything else."""
        try:
            state = AESGCM(wrapping_key).decrypt(data[:NONCE_LENGTH], data[NONCE_LENGTH:], _KEY_PURPOSE + name)
        except (InvalidTag, ValueError):
            raise ConfigError("TicketKey: this was changed, or sealed with another secret") from None
        introduced, encrypt, decrypt = struct.unpack_from(_TIMES, state)
        return cls(
            name=name,
            secret=state[struct.calcsize(_TIMES) :],
            introduced=introduced,
            encrypt_lifetime=encrypt,
            decrypt_lifetime=decrypt,
        )


class FirstUses:
    """Flights of early data that were seen while a replay of them would be recent (RFC 9846 section 8.2)."""

    def __init__(self) -> None:
        self._used: dict[bytes, tuple[float]] = {}

    def is_first(self, unique: bytes, sent: float, now: float) -> bool:
        """Whether it was sent within the last ten seconds and not seen before."""
        if abs(now - sent) > WINDOW:
            return False
        # Two of the oldest go for each that comes, so that no call has to look through all of them.
        for old in list(islice(self._used, 2)):
            if self._used.get(old, (now,))[0] < now:
                self._used.pop(old, None)
        if len(self._used) >= MAX_REMEMBERED:
            return False
        mine = (sent + WINDOW,)
        # One step, so that of two threads with the same flight one gets True.
        return self._used.setdefault(unique, mine) is mine


class TicketKeyRing:
    """The keys of a server's tickets, rotated by the clock of the configuration that uses them.

    ``TicketKeyRing()`` makes its own keys, when it needs them, and no other process can read its tickets: that is the
    default of every :class:`~tlsprovider.ServerConfig`. With ``keys`` it uses exactly those, and :meth:`replace` puts
    others in their place; when none of them may seal any more, no tickets are given out.
    """

    automatic = False
    """Whether nobody asked for this ring: it is then left alone by a provider that can't use it."""

    def __init__(
        self,
        keys: Iterable[TicketKey] | None = None,
        *,
        encrypt_lifetime: float = DAY,
        decrypt_lifetime: float = 2 * DAY,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._makes_keys = keys is None
        self._lifetimes = (encrypt_lifetime, decrypt_lifetime)
        self._entropy = entropy
        self._ring: dict[bytes, tuple[TicketKey, AESGCM]] = {}
        self._uses = FirstUses()
        self._began: float | None = None
        if not 0 < encrypt_lifetime <= decrypt_lifetime:
            raise ConfigError("TicketKeyRing: 0 < encrypt_lifetime <= decrypt_lifetime does not hold")
        if keys is not None:
            self.replace(keys)

    def __repr__(self) -> str:
        return f"<TicketKeyRing of {len(self._ring)} keys>"

    def replace(self, keys: Iterable[TicketKey]) -> None:
        """Put these in place of all keys there are. Raises :exc:`ConfigError` when there is none, or one twice."""
        found = tuple(keys)
        ring = {key.name: (key, AESGCM(key.secret)) for key in found}
        if not found or len(ring) != len(found):
            raise ConfigError("TicketKeyRing: expected one key or several, each with a name of its own")
        self._ring = ring

    def _current(self, now: float) -> tuple[TicketKey, AESGCM] | None:
        """The newest key that may seal."""
        able = [entry for entry in self._ring.values() if entry[0].seals(now)]
        if able:
            return max(able, key=lambda entry: entry[0].introduced)
        return self._make(now) if self._makes_keys else None

    def _make(self, now: float) -> tuple[TicketKey, AESGCM]:
        key = TicketKey.new(now, self._lifetimes, self._entropy)
        living = {name: entry for name, entry in self._ring.items() if not entry[0].expired(now)}
        entry = key, AESGCM(key.secret)
        self._ring = living | {key.name: entry}
        return entry

    def lifetime(self, now: float) -> int:
        """For how many seconds a ticket that is sealed now can be opened; 0: none can be sealed."""
        current = self._current(now)
        if current is None:
            return 0
        return math.floor(current[0].introduced + current[0].decrypt_lifetime - now)

    def seal(self, state: bytes, now: float) -> bytes:
        """A ticket that holds ``state``. Only when :meth:`lifetime` isn't 0."""
        current = self._current(now)
        assert current is not None, "lifetime() was asked first"
        key, aead = current
        nonce = self._entropy(NONCE_LENGTH)
        return key.name + nonce + aead.encrypt(nonce, state, _PURPOSE + key.name)

    def open(self, ticket: bytes, now: float) -> bytes | None:
        """What was sealed; None for what isn't a ticket of this ring, was changed, or is too old."""
        entry = self._ring.get(ticket[:NAME_LENGTH])
        body = NAME_LENGTH + NONCE_LENGTH
        if entry is None or len(ticket) < body + TAG_LENGTH or entry[0].expired(now):
            return None
        key, aead = entry
        try:
            return aead.decrypt(ticket[NAME_LENGTH:body], ticket[body:], _PURPOSE + key.name)
        except InvalidTag:
            return None

    def first_use(self, unique: bytes, sent: float, now: float) -> bool:
        """Early data: whether it was sent within the last ten seconds, and this ring has not seen it before.

        It remembers what it saw for as long as a replay would be recent (RFC 9846 section 8.2). With ``keys`` from
        elsewhere another process may have seen it just before this one began, so the first ten seconds accept nothing.
        """
        if self._began is None:
            self._began = now
        if not (self._makes_keys or sent - WINDOW >= self._began):
            return False
        return self._uses.is_first(unique, sent, now)
