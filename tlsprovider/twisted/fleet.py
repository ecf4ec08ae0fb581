"""A fleet of servers under Twisted."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tlsprovider.fleet import WaitingFleet

__all__ = ["RedisFleet"]


class RedisFleet(WaitingFleet):
    """As :class:`tlsprovider.fleet.RedisFleet`, but the reactor runs while Redis is asked, by a thread of its pool."""

    def wait_for_claim(self, unique: bytes) -> Deferred[bool]:
        claimed: Deferred[bool] = deferToThread(self.claim, unique)
        return claimed
