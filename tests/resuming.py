"""A client and a server that meet again and again, with a clock that a test sets."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable
from functools import cache
from typing import Any

import attrs
from loop import pump, transfer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.events import Event
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.session import Session
from tlsprovider.trust import TrustStore

__all__ = ["World", "a_session", "identity", "messages_of", "passing", "trust"]

NATIVE = get_provider("native")


@cache
def authority() -> Authority:
    return Authority("tlsprovider resumption")


@cache
def identity(*names: str, client: bool = False) -> Identity:
    issued = authority().issue(*names, client=client)
    return Identity.from_crypto(issued.certificates, issued.private_key)


@cache
def trust() -> TrustStore:
    return TrustStore.from_crypto([authority().certificate])


@cache
def passing(*names: str, client: bool = False) -> Identity:
    """As :func:`identity`, for one day from now on."""
    tomorrow = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)
    issued = authority().issue(*names, client=client, not_after=tomorrow)
    return Identity.from_crypto(issued.certificates, issued.private_key)


class World:
    """Both configurations; ``time`` is what both clocks say."""

    def __init__(self, client: dict[str, Any] | None = None, server: dict[str, Any] | None = None) -> None:
        self.time = time.time()
        self.events: list[Event] = []
        self.client = ClientConfig(
            **{"trust": trust(), "groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]}
            | {"clock": lambda: self.time}
            | (client or {})
        )
        self.server = ServerConfig(
            **{"identities": [identity("localhost", "example.com", "127.0.0.1")], "on_event": self.events.append}
            | {"clock": lambda: self.time}
            | (server or {})
        )

    def engines(self, name: str | None = "localhost") -> tuple[NativeEngine, NativeEngine]:
        client, server = NATIVE.client_engine(self.client, name), NATIVE.server_engine(self.server)
        assert isinstance(client, NativeEngine) and isinstance(server, NativeEngine)
        return client, server

    def connect(self, name: str | None = "localhost") -> tuple[NativeEngine, NativeEngine]:
        """A whole handshake, and a word of the server, which brings its tickets."""
        client, server = self.engines(name)
        self.join(client, server)
        return client, server

    def join(self, client: NativeEngine, server: NativeEngine) -> None:
        pump(client, server)
        assert client.session_reused is server.session_reused
        client.write(b"hello server")
        server.write(b"hello client")
        transfer(client, server)
        transfer(server, client)
        assert (client.read(), server.read()) == (b"hello client", b"hello server")

    def resumes(self, name: str | None = "localhost") -> bool:
        return self.connect(name)[0].session_reused


def messages_of(events: Iterable[Event]) -> list[str]:
    """Names of the handshake messages that a side sent."""
    return [event.name for event in events if event.kind == "message_sent"]


def a_session(**changes: Any) -> Session:
    """A client's, fresh from a handshake."""
    session = World().connect()[0].session
    assert session is not None
    return attrs.evolve(session, **changes)
