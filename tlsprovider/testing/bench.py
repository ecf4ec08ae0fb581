"""What the checks work with: certificates, configurations, and two engines joined in memory.

The provider under test sits on one side, a *partner* on the other: the native provider, or, for a provider that has no
TLS 1.3, ``openssl``. Nothing here sleeps, opens a socket or reads the clock's time of day.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeVar

import attrs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, KeyType
from tlsprovider.errors import TLSError, WantRead
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.questions import WantAnswer
from tlsprovider.trust import TrustStore

__all__ = ["SIDES", "Bench", "Pair", "Side", "equal", "must", "raises", "transfer"]

Side = Literal["client", "server"]
SIDES: tuple[Side, ...] = ("client", "server")
E = TypeVar("E", bound=BaseException)

ROUNDS = 60
NAME = "localhost"


def must(condition: object, what: str) -> None:
    """An assertion that ``python -O`` does not remove."""
    if not condition:
        raise AssertionError(what)


def equal(found: object, wanted: object, what: str) -> None:
    must(found == wanted, f"{what}: expected {wanted!r}, found {found!r}")


def raises(kind: type[E], what: str, function: Callable[..., object], *arguments: object) -> E:
    """The exception that the call has to raise."""
    try:
        result = function(*arguments)
    except kind as error:
        return error
    except Exception as error:
        raise AssertionError(f"{what}: expected {kind.__name__}, got {type(error).__name__}: {error}") from error
    raise AssertionError(f"{what}: expected {kind.__name__}, got the result {result!r}")


def transfer(source: IEngine, target: IEngine) -> int:
    """Move all that ``source`` wants to send into ``target``; the count of bytes."""
    data = source.process_outgoing()
    if data:
        target.process_incoming(data)
    return len(data)


@lru_cache(maxsize=1)
def _authority() -> Authority:
    return Authority("tlsprovider.testing")


@lru_cache(maxsize=1)
def _stranger() -> Authority:
    return Authority("somebody else")


@lru_cache(maxsize=32)
def make_identity(*names: str, key: KeyType = "p256", client: bool = False, stranger: bool = False) -> Identity:
    """An identity out of the authority that the bench trusts, or out of one that it doesn't."""
    issued = (_stranger() if stranger else _authority()).issue(*names, key_type=key, client=client)
    return Identity.from_crypto(issued.certificates, issued.private_key)


@attrs.frozen
class Pair:
    """``mine`` is of the provider under test, ``other`` its partner's."""

    mine: IEngine
    other: IEngine
    side: Side

    @property
    def client(self) -> IEngine:
        return self.mine if self.side == "client" else self.other

    @property
    def server(self) -> IEngine:
        return self.mine if self.side == "server" else self.other

    def pump(self) -> None:
        """Run both handshakes to the end. Lets every exception out, a WantAnswer as well."""
        for _ in range(ROUNDS):
            moved = 0
            for engine, peer in ((self.client, self.server), (self.server, self.client)):
                if not engine.handshake_complete:
                    try:
                        engine.do_handshake()
                    except WantRead:
                        pass
                moved += transfer(engine, peer)
            if not moved:
                break
        states = f"client in {self.client.state}, server in {self.server.state}"
        must(self.client.handshake_complete and self.server.handshake_complete, f"the handshake stands still: {states}")

    def fail(self) -> tuple[TLSError | None, TLSError | None]:
        """Run both until nothing moves any more; what each has failed with, ``(mine, other)``.

        A side that has completed its handshake tries to read, so that it learns of the other's end.
        """
        found: dict[int, TLSError] = {}
        for _ in range(ROUNDS):
            moved = 0
            for engine, peer in ((self.client, self.server), (self.server, self.client)):
                if id(engine) not in found:
                    try:
                        engine.do_handshake() if not engine.handshake_complete else engine.read()
                    except (WantRead, WantAnswer):
                        pass
                    except TLSError as problem:
                        # Its frames would keep both engines alive.
                        found[id(engine)] = problem.with_traceback(None)
                moved += transfer(engine, peer)
            if not moved:
                break
        return found.get(id(self.mine)), found.get(id(self.other))

    def send(self, source: IEngine, data: bytes) -> bytes:
        """Through to the other engine; what that reads."""
        target = self.server if source is self.client else self.client
        source.write(data)
        transfer(source, target)
        return target.read()


class Bench:
    """One provider under test, with everything that it takes to test it, in one version of TLS."""

    def __init__(self, provider: ITLSProvider, version: str | None = None) -> None:
        self.provider = provider
        self.version = version or ("TLSv1.3" if provider.supports("TLSv1.3") else "TLSv1.2")
        self.partner = get_provider("native" if self.version == "TLSv1.3" else "openssl")

    def supports(self, feature: str) -> bool:
        return self.provider.supports(feature)

    @cached_property
    def trust(self) -> TrustStore:
        return TrustStore.from_crypto([_authority().certificate])

    @cached_property
    def strangers(self) -> TrustStore:
        return TrustStore.from_crypto([_stranger().certificate])

    @property
    def server_identity(self) -> Identity:
        return make_identity(NAME, "127.0.0.1", "::1")

    @property
    def client_identity(self) -> Identity:
        return make_identity("alice@example.com", client=True)

    def client(self, **fields: Any) -> ClientConfig:
        """A client's configuration that works, with these fields."""
        return ClientConfig(**{"trust": self.trust, **self._versions(), **fields})

    def server(self, **fields: Any) -> ServerConfig:
        return ServerConfig(**{"identities": [self.server_identity], **self._versions(), **fields})

    def _versions(self) -> dict[str, str]:
        return {"min_version": self.version, "max_version": self.version}

    def engine(
        self, side: Side, config: ClientConfig | ServerConfig, name: str | None = NAME, *, partner: bool = False
    ) -> IEngine:
        """One engine, of the provider under test or of its partner."""
        provider = self.partner if partner else self.provider
        if side == "client":
            assert isinstance(config, ClientConfig)
            return provider.client_engine(config, name)
        assert isinstance(config, ServerConfig)
        return provider.server_engine(config)

    def pair(
        self,
        side: Side,
        client: ClientConfig | None = None,
        server: ServerConfig | None = None,
        name: str | None = NAME,
    ) -> Pair:
        """The provider under test on ``side``, its partner on the other; no handshake yet."""
        configs: dict[Side, ClientConfig | ServerConfig] = {
            "client": client or self.client(),
            "server": server or self.server(),
        }
        other: Side = "server" if side == "client" else "client"
        return Pair(
            self.engine(side, configs[side], name), self.engine(other, configs[other], name, partner=True), side
        )

    def connected(
        self,
        side: Side,
        client: ClientConfig | None = None,
        server: ServerConfig | None = None,
        name: str | None = NAME,
    ) -> Pair:
        """As :meth:`pair`, with the handshake made."""
        pair = self.pair(side, client, server, name)
        pair.pump()
        return pair
