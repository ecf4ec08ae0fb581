"""One key ring, and one memory of early data, for all servers of a fleet: through Redis.

Without this every process seals its tickets under keys of its own, so a session resumes only where it was made. A
:class:`RedisFleet` keeps the keys in Redis, and every node follows them:

* **Who makes keys.** Any node. A key is offered together with the name of the newest one that the node has seen, and a
  script puts it in only while that is still the newest. So of all nodes that notice in the same moment that a key is
  needed, one makes it, and the others take that.
* **When it is used.** The first at once; every other one when its predecessor ends, and it is there well before: nodes
  look every ``refresh`` seconds, and a key that they don't use yet opens already. All therefore seal under the same.
* **What Redis sees.** Keys are sealed under ``secret``, which the nodes have and Redis has not. What can't be unsealed
  is passed over, with a line in the log.
* **Early data** is accepted once in the fleet: each flight is claimed with ``SET NX PX``, and whoever claims second
  gets no for an answer. A Redis that was restarted empty has forgotten what was claimed, so flights that may be older
  than its memory are refused; sessions whose key is younger have none that are.
* **Without Redis** a node goes on with the keys that it has, refuses early data, and says so in the log, once.

A thread follows the keys, so no event loop ever waits for Redis. Claims wait in the way of the framework: see
``tlsprovider.trio.RedisFleet`` and ``tlsprovider.twisted.RedisFleet``. The clocks of all nodes have to agree within a
few seconds.
"""

from __future__ import annotations

import hashlib
import hmac
import inspect
import logging
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, Final

import attrs

from tlsprovider.crypto.tickets import WINDOW, FirstUses, TicketKey, TicketKeyRing
from tlsprovider.errors import ConfigError

if TYPE_CHECKING:
    from tlsprovider.config import ServerConfig
    from tlsprovider.questions import AcceptEarlyData

__all__ = ["RedisFleet", "WaitingFleet", "fleet_secret"]

log = logging.getLogger(__name__)

DAY: Final = 24 * 3600.0
# A claim is kept for so long that no replay of it can be recent, whatever a few seconds between clocks make of that.
CLAIM_MILLISECONDS: Final = int(6 * WINDOW * 1000)
# More than this is no key ring; whoever filled it is not to fill our memory as well.
MAX_KEYS: Final = 64
# Without Redis it is looked for so often.
RETRY_SECONDS: Final = 1.0
# Flights that may wait for their claim; who gives up while waiting leaves one behind.
MAX_JUDGED: Final = 4096

Hook = Callable[[Any], Any]

# KEYS: the keys by name; the name of the newest. ARGV: the newest that the caller knows, the newest with the caller's,
# then names and keys.
OFFER: Final = """
if (redis.call('GET', KEYS[2]) or '') == ARGV[1] then
    for at = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
    redis.call('SET', KEYS[2], ARGV[2])
end
"""
# KEYS: since when Redis remembers; the flight. ARGV: since when the caller thinks that it does; milliseconds.
CLAIM: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
if redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[2]) then return 1 end
return 0
"""


class RedisFleet:
    """Makes a server one of a fleet::

        fleet = RedisFleet("redis://tickets.internal:6379", secret=secret)
        config = fleet.join(ServerConfig(identities=[identity]))

    :param url: of the Redis server, as the ``redis`` package reads it: ``redis://``, ``rediss://``, ``unix://``.
    :param secret: at least 16 random bytes that all nodes share; without it whoever reads Redis reads the tickets.
    :param prefix: of all names in Redis.
    :param encrypt_lifetime: seconds for which a key seals tickets.
    :param decrypt_lifetime: seconds for which it opens them.
    :param refresh: seconds between two looks at the keys.
    :param timeout: seconds after which Redis is given up, each time.
    :param clock: seconds since the epoch.

    It looks at the keys once before it returns, and a thread does from then on, until :meth:`close`. Raises
    :exc:`ConfigError` for a URL that is none, and without the ``redis`` package (``pip install tlsprovider[redis]``).
    A Redis that does not answer is no error: the log says so, and the node is alone until it does.

    This class waits for Redis in the calling thread; use that of your framework, or none if you have no event loop.
    """

    def __init__(
        self,
        url: str,
        *,
        secret: bytes | str = b"",
        prefix: str = "tlsprovider",
        encrypt_lifetime: float = DAY,
        decrypt_lifetime: float = 2 * DAY,
        refresh: float = 30.0,
        timeout: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        secret = secret.encode() if isinstance(secret, str) else secret
        if 0 < len(secret) < 16:
            raise ConfigError(f"secret: expected at least 16 random bytes, got {len(secret)}")
        if not 0 < refresh < encrypt_lifetime / 3:
            raise ConfigError(
                f"refresh: {refresh:g} seconds are no small part of encrypt_lifetime={encrypt_lifetime:g}"
            )
        self._redis, self._failures, self._where = _connect(url, timeout)
        self._wrapping_key = hmac.digest(secret, b"tlsprovider fleet", "sha256")
        # Fleets with different secrets can't read each other's keys, and don't have to. The braces keep all of it on
        # one node of a Redis cluster.
        fleet = f"{{{prefix}:{hashlib.sha256(self._wrapping_key).hexdigest()[:16]}}}"
        self._keys, self._newest, self._since, self._early = (
            f"{fleet}:{n}" for n in ("keys", "newest", "since", "early")
        )
        # Whoever rotates first is to be seen by everybody before its key is used.
        self._lead = 2 * refresh + timeout
        self._refresh_seconds = refresh
        self._lifetimes = (encrypt_lifetime, decrypt_lifetime)
        self._clock = clock
        self._tickets = FleetTickets()
        self._refused: set[bytes] = set()
        self._trouble = False
        self._closed = False
        self._wake = threading.Event()
        if not secret:
            log.warning("%s: no secret was given, so whoever reads this Redis can read all sessions", self._where)
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="tlsprovider fleet", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._where}, {'alone' if self._trouble else 'connected'}>"

    def join(self, config: ServerConfig) -> ServerConfig:
        """The same configuration, with the tickets of the fleet; early data, if allowed, is accepted once in it.

        An ``accept_early_data`` that the configuration has is asked about what the fleet has not seen before.
        """
        return attrs.evolve(config, tickets=self._tickets, accept_early_data=self._hook(config.accept_early_data))

    def close(self) -> None:
        """Follow the keys no longer. Connections go on."""
        self._closed = True
        self._wake.set()
        self._thread.join()
        self._redis.close()

    # -- early data ---------------------------------------------------------------------------------------------------

    def _hook(self, own: Hook | None) -> Hook:
        def accept_early_data(question: AcceptEarlyData) -> Any:
            return self.claim(question.unique) and (own is None or own(question))

        return accept_early_data

    def claim(self, unique: bytes) -> bool:
        """Whether nobody in the fleet has accepted this flight of early data before. Waits for Redis."""
        memory = self._tickets.judged_by(unique)
        if memory is None:
            return False
        flight = f"{self._early}:{hashlib.sha256(unique).hexdigest()}"
        try:
            outcome = self._redis.eval(CLAIM, 2, self._since, flight, memory, CLAIM_MILLISECONDS)
        except self._failures as problem:
            self._lost(problem)
            return False
        if outcome == -1:
            # It has forgotten everything since the last look.
            self._tickets.alone()
            self._wake.set()
        return bool(outcome == 1)

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        while not self._closed:
            self._wake.wait(min(self._refresh_seconds, RETRY_SECONDS) if self._trouble else self._refresh_seconds)
            if self._closed:
                return
            self._wake.clear()
            try:
                self.refresh()
            except Exception:
                # A mistake of ours must not end the following of keys.
                log.exception("%s: the keys of the fleet can't be followed", self._where)

    def refresh(self) -> None:
        """Look at the keys now, and make one if it is time. Waits for Redis; raises nothing for what it does."""
        now = self._clock()
        try:
            self._redis.set(self._since, repr(now), nx=True)
            memory: bytes = self._redis.get(self._since) or b""
            newest: bytes = self._redis.get(self._newest) or b""
            keys = self._read(now)
            if needed := self._needed(keys.values(), now):
                arguments = [part for key in needed for part in (key.name, key.sealed(self._wrapping_key))]
                self._redis.eval(OFFER, 2, self._keys, self._newest, newest, needed[-1].name, *arguments)
                keys = self._read(now)
        except self._failures as problem:
            self._lost(problem)
            return
        if keys:
            self._tickets.follow(keys.values(), _time(memory, now), memory)
        if self._trouble:
            log.info("%s: is back; this node follows the keys of the fleet again", self._where)
        self._trouble = False

    def _read(self, now: float) -> dict[bytes, TicketKey]:
        """The keys that can be unsealed, by their names. Those that are too old are removed from Redis."""
        found: dict[bytes, bytes] = self._redis.hgetall(self._keys)
        keys: dict[bytes, TicketKey] = {}
        for name, data in list(found.items())[:MAX_KEYS]:
            try:
                keys[name] = TicketKey.unsealed(name, data, self._wrapping_key)
            except ConfigError as problem:
                if data not in self._refused:
                    log.warning("%s: a key in %s is passed over: %s", self._where, self._keys, problem)
        self._refused = {data for name, data in found.items() if name not in keys}
        if expired := [name for name, key in keys.items() if key.expired(now)]:
            self._redis.hdel(self._keys, *expired)
        return {name: key for name, key in keys.items() if name not in expired}

    def _needed(self, keys: Collection[TicketKey], now: float) -> list[TicketKey]:
        """What to offer, the newest last: all that this node has, where there is nothing; and a key when it is time."""
        offered = [] if keys else self._tickets.living(now)
        last = max([*keys, *offered], key=lambda key: key.introduced, default=None)
        ends = now if last is None else last.introduced + last.encrypt_lifetime
        if ends > now + self._lead:
            return offered
        return [*offered, TicketKey.new(max(now, ends), self._lifetimes)]

    def _lost(self, problem: Exception) -> None:
        self._tickets.alone()
        if not self._trouble:
            self._trouble = True
            log.warning(
                "%s: can't be used (%s); this node goes on with the %d keys that it has, and refuses early data",
                self._where,
                problem,
                len(self._tickets),
            )


class WaitingFleet(RedisFleet, ABC):
    """For frameworks whose hooks may be awaited."""

    @abstractmethod
    def wait_for_claim(self, unique: bytes) -> Awaitable[bool]:
        """:meth:`claim`, in a thread."""

    def _hook(self, own: Hook | None) -> Hook:
        async def accept_early_data(question: AcceptEarlyData) -> Any:
            if not await self.wait_for_claim(question.unique):
                return False
            answer = own is None or own(question)
            return await answer if inspect.isawaitable(answer) else answer

        return accept_early_data


class FleetTickets:
    """What a configuration of the fleet has as ``tickets``: the keys as they were last seen. Never waits."""

    def __init__(self) -> None:
        self._keys: tuple[TicketKey, ...] = ()
        self._ring: TicketKeyRing | None = None
        self._uses = FirstUses()
        # From when on early data is accepted, and the memory of Redis that this was found with; None: nothing is.
        self._terms: tuple[float, bytes] | None = None
        self._judged: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"<FleetTickets of {len(self)} keys>"

    def follow(self, keys: Iterable[TicketKey], since: float, memory: bytes) -> None:
        """These are the keys; ``since``: when the memory of early data began, and ``memory`` as Redis has that."""
        self._keys = tuple(keys)
        self._ring = TicketKeyRing(self._keys)
        # With a key that is as young as the memory nothing can have been sent before it began.
        older = any(key.introduced < since for key in self._keys)
        self._terms = (since + WINDOW if older else 0.0, memory)

    def alone(self) -> None:
        """Nobody knows what other nodes have accepted."""
        self._terms = None

    def living(self, now: float) -> list[TicketKey]:
        return sorted((key for key in self._keys if not key.expired(now)), key=lambda key: key.introduced)

    def lifetime(self, now: float) -> int:
        """See :class:`~tlsprovider.config.Tickets`."""
        return 0 if self._ring is None else self._ring.lifetime(now)

    def seal(self, state: bytes, now: float) -> bytes:
        """See :class:`~tlsprovider.config.Tickets`."""
        assert self._ring is not None, "lifetime() was asked first"
        return self._ring.seal(state, now)

    def open(self, ticket: bytes, now: float) -> bytes | None:
        """See :class:`~tlsprovider.config.Tickets`."""
        return None if self._ring is None else self._ring.open(ticket, now)

    def first_use(self, unique: bytes, sent: float, now: float) -> bool:
        """Whether this node may ask the fleet: what is no replay as far as it can tell by itself."""
        terms = self._terms
        if terms is None or sent < terms[0] or not self._uses.is_first(unique, sent, now):
            return False
        if len(self._judged) >= MAX_JUDGED:
            # Those that are forgotten here are not accepted.
            self._judged.clear()
        self._judged[unique] = terms[1]
        return True

    def judged_by(self, unique: bytes) -> bytes | None:
        """The memory that :meth:`first_use` has judged by, once: a claim against a younger one would prove nothing."""
        return self._judged.pop(unique, None)


def _connect(url: str, timeout: float) -> tuple[Any, type[Exception], str]:
    """``(client, what it raises, the place for people: without a password)``. Connects to nothing yet."""
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigError("a fleet needs the package redis: pip install 'tlsprovider[redis]'") from None
    options: dict[str, Any] = {"socket_timeout": timeout, "socket_connect_timeout": timeout}
    try:
        # A claim that is made twice is lost, so nothing is tried again.
        client = redis.Redis.from_url(url, retry=Retry(NoBackoff(), 0), **options)
    except (ValueError, TypeError) as problem:
        raise ConfigError(f"{_without_password(url)} is no URL of a Redis server: {problem}") from None
    return client, redis.RedisError, _without_password(url)


def fleet_secret() -> str:
    """The secret of a fleet for command lines and endpoint strings, where others could read it."""
    return os.environ.get("TLSPROVIDER_FLEET_SECRET", "")


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _time(value: bytes, now: float) -> float:
    """What Redis says; where that is nothing sensible, its memory began just now."""
    try:
        return min(float(value), now)
    except ValueError:
        return now
