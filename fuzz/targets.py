"""The targets by name. Each takes bytes, and raises when what its docstring says does not hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from fuzz import calls, decoders, peers, records

__all__ = ["TARGETS"]


def wire(data: bytes) -> None:
    """A decoder gives a value or a PeerFault and raises nothing else; a value is encoded to the bytes it came from."""
    decoders.decode(data[0] if data else 0, data[1:])


def record(data: bytes) -> None:
    """What a reader finds in records, and where it stops, depends neither on their pieces nor on how it is read."""
    records.check(data)


def client(data: bytes) -> None:
    """Whatever a stranger sends, a client wants more or fails once, properly; it hears only what its server said."""
    peers.meet_stranger(data, is_server=False)


def server(data: bytes) -> None:
    """Whatever a stranger sends, a server wants more or fails once, properly; it hears only what its client said."""
    peers.meet_stranger(data, is_server=True)


def client_flight(data: bytes) -> None:
    """A server never completes a handshake in which it was lied to, and whatever a client makes up is dealt with."""
    peers.meet_liar(data, liar_is_server=False)


def server_flight(data: bytes) -> None:
    """A client never completes a handshake in which it was lied to, and whatever a server makes up is dealt with."""
    peers.meet_liar(data, liar_is_server=True)


def call_order(data: bytes) -> None:
    """In whatever order an engine's methods are called, what is done stays done, and a misuse changes nothing."""
    calls.check(data)


TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (wire, record, client, server, client_flight, server_flight, call_order)
}
