"""Chains that were verified a moment ago: clients meet the same servers again, and verifying is a quarter of the work.

What makes it safe to take a success that is remembered for one that was just found:

* Verifying is a pure function of the certificates as they were sent, of the name or purpose they are measured against,
  of the trusted roots, and of the time. The first two are the key: the very same objects, which never change, in the
  same order; the roots never change either, and this memory belongs to one set of them.
* Of the time only this matters: whether it lies within the validity of every certificate of the chain that was found.
  That is looked at again each time, at both ends.
* Nothing is taken from longer than five minutes ago, nor from the future of a clock that was set back.
* A failure is never remembered. So nobody gets in here who was not believed by the full check, and nobody is kept out.
* That the peer holds the key of the leaf is proven by its signature over this handshake. That check is no part of this;
  nor are the hooks of the application, which are asked every time.

That the objects are the same and not just equal is no loss, since ``parse_certificate`` and ``parse_server_name``
remember what they made of the same bytes and words, and spares reading all of a certificate to find it again.

It is bounded: 64 chains for which at most 8 KiB were sent, and only by peers that were believed. When it is full it is
emptied: what is missed then is verified again, and nothing worse.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import attrs
from cryptography.x509 import Certificate, DNSName, IPAddress

__all__ = ["RememberedChains"]

MAX_AGE: Final = 300.0
MAX_CHAINS: Final = 64
MAX_CHAIN_SIZE: Final = 8 * 1024

Subject = DNSName | IPAddress | None
"""The server's name; None for clients, of which no name but another purpose is expected."""


@attrs.frozen(eq=False)
class _Success:
    """All times in seconds since the epoch. While it is here, nothing else can have the identities of what it holds."""

    sent: tuple[Certificate, ...]
    subject: Subject
    chain: tuple[Certificate, ...]
    found_at: float

    @cached_property
    def period(self) -> tuple[float, float]:
        """When all of the chain is valid; worked out when it is first needed, which is often never."""
        return (
            max(one.not_valid_before_utc for one in self.chain).timestamp(),
            min(one.not_valid_after_utc for one in self.chain).timestamp(),
        )


class RememberedChains:
    """What one set of roots has verified lately."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], _Success] = {}

    def find(self, sent: tuple[Certificate, ...], subject: Subject, now: float) -> tuple[Certificate, ...] | None:
        """The chain that was found for ``sent`` lately, if every certificate of it is valid now."""
        known = self._known.get((id(subject), *map(id, sent)))
        if known is None or not 0 <= now - known.found_at < MAX_AGE:
            return None
        not_before, not_after = known.period
        return known.chain if not_before <= now <= not_after else None

    def keep(
        self, sent: tuple[Certificate, ...], subject: Subject, now: float, chain: tuple[Certificate, ...]
    ) -> tuple[Certificate, ...]:
        """Remember that ``sent`` has just been verified, by ``chain``, which is given back."""
        if sum(len(one.tbs_certificate_bytes) + len(one.signature) for one in sent) <= MAX_CHAIN_SIZE:
            if len(self._known) >= MAX_CHAINS:
                self._known.clear()
            self._known[id(subject), *map(id, sent)] = _Success(sent, subject, chain, now)
        return chain
