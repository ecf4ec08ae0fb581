"""What the demo's clients and servers say to each other, and what comes of it.

A visit is one connection. The client asks for so many bytes, the server tells what it has negotiated, sends the bytes,
and closes with close_notify; anything else is a failure. Both sides of a connection must have seen the same.
"""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import Protocol

import attrs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore

__all__ = [
    "ALPN",
    "TIMEOUT",
    "DemoError",
    "Facts",
    "Material",
    "Party",
    "Reply",
    "Request",
    "Visit",
    "client_config",
    "server_config",
]

ALPN = "tlsprovider-demo"
TIMEOUT = 10
"""Seconds that one connection may take."""


class DemoError(Exception):
    """A visit did not go as it should."""


@attrs.frozen
class Material:
    """The throw-away certificates of one demo: all are PEM."""

    authority: str
    chain: str
    key: str = attrs.field(repr=False)


@lru_cache(maxsize=1)
def client_config(material: Material) -> ClientConfig:
    """One configuration for all clients: certificates are parsed once, as a program should."""
    return ClientConfig(trust=TrustStore.from_pem(material.authority.encode()), alpn=[ALPN])


@lru_cache(maxsize=1)
def server_config(material: Material) -> ServerConfig:
    return ServerConfig(identities=[Identity.from_pem((material.chain + material.key).encode())], alpn=[ALPN])


class Negotiated(Protocol):
    """The part of engines and streams that the demo shows."""

    @property
    def version(self) -> str | None: ...
    @property
    def cipher(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def alpn(self) -> str | None: ...


@attrs.frozen
class Facts:
    """What one side has negotiated; ``group`` is None where a library can't tell."""

    version: str | None
    cipher: str | None
    group: str | None
    alpn: str | None

    @classmethod
    def of(cls, connection: Negotiated) -> Facts:
        return cls(connection.version, connection.cipher, connection.group, connection.alpn)

    def agreed(self, other: Facts) -> Facts:
        """The facts of both sides as one. Raises DemoError if they differ."""
        mine, theirs = attrs.asdict(self), attrs.asdict(other)
        for name, value in mine.items():
            if None not in (value, theirs[name]) and value != theirs[name]:
                raise DemoError(f"the client says {name} is {value}, the server says {theirs[name]}")
        return Facts(**{name: value or theirs[name] for name, value in mine.items()})


class Request:
    """The server's side of a visit, without I/O."""

    def __init__(self) -> None:
        self._line = bytearray()

    def receive(self, data: bytes | bytearray, facts: Facts) -> bytes | None:
        """What to answer, before closing; None while the request is not complete."""
        if not data:
            raise DemoError("the client left without a request")
        self._line += data
        if not self._line.endswith(b"\n"):
            return None
        return json.dumps(attrs.asdict(facts)).encode() + b"\n" + bytes(int(self._line))


@attrs.frozen
class Visit:
    """One connection as its client saw it. ``handshake``: seconds for TCP and TLS; ``transfer``: for the bytes."""

    facts: Facts
    size: int
    handshake: float
    transfer: float


class Reply:
    """The client's side of a visit, without I/O. Make it before connecting: it is also the watch."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._head = bytearray()
        self._received = 0
        self._head_seen = False
        self._begun = time.perf_counter()
        self._shaken = 0.0
        self._facts = Facts(None, None, None, None)

    def request(self, facts: Facts) -> bytes:
        """The handshake is complete: what to send."""
        self._facts = facts
        self._shaken = time.perf_counter()
        return b"%d\n" % self._size

    def receive(self, data: bytes | bytearray) -> None:
        if self._head_seen:
            self._received += len(data)
            return
        self._head += data
        head, newline, rest = self._head.partition(b"\n")
        if newline:
            self._head_seen, self._head, self._received = True, head, len(rest)

    def close(self) -> Visit:
        """The server has closed properly. Raises DemoError if something is missing."""
        if not self._head_seen or self._received != self._size:
            raise DemoError(f"asked for {self._size} bytes, got {self._received}")
        facts = self._facts.agreed(Facts(**json.loads(self._head)))
        return Visit(facts, self._size, self._shaken - self._begun, time.perf_counter() - self._shaken)


class Party(Protocol):
    """One way of speaking TLS. A module of this package is one."""

    def serve(self, material: Material) -> int:
        """Serve visits on a loopback port in the background, until the process ends; the port."""

    def visit(self, port: int, material: Material, size: int) -> Visit:
        """Make one visit and wait for its end. Any thread may call this, and several at once."""
