"""A fleet of servers under trio."""

from __future__ import annotations

from collections.abc import Awaitable

import trio

from tlsprovider.fleet import WaitingFleet

__all__ = ["RedisFleet"]


class RedisFleet(WaitingFleet):
    """As :class:`tlsprovider.fleet.RedisFleet`, but other tasks run while Redis is asked."""

    def wait_for_claim(self, unique: bytes) -> Awaitable[bool]:
        return trio.to_thread.run_sync(self.claim, unique)
