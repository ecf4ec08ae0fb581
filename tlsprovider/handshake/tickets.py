"""Tickets, RFC 9846 section 4.7.1: a server makes them after the handshake, and a client keeps what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tlsprovider.crypto.schedule import resumption_psk
from tlsprovider.handshake.psk import fingerprint
from tlsprovider.iana import ExtensionType as X
from tlsprovider.session import MAX_LIFETIME, Session
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u32
from tlsprovider.wire.messages import NewSessionTicket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.handshake.results import Established

__all__ = ["make_tickets", "session_of"]

# A client shows its ticket in each hello; one with a chain of certificates in it may become too long for that.
MAX_STATE: Final = 8 * 1024


def _authenticated(established: Established, now: float) -> float:
    """When certificates were shown last: a chain of resumptions doesn't renew that."""
    return now if established.session is None else established.session.authenticated


def make_tickets(established: Established, resumption_secret: bytes, config: ServerConfig) -> Iterator[bytes]:
    """The messages to send. After a resumption one is enough: it takes the place of the one that was used."""
    tickets = config.tickets
    assert tickets is not None
    now = config.clock()
    authenticated = _authenticated(established, now)
    lifetime = min(tickets.lifetime(now), int(authenticated + MAX_LIFETIME - now))
    count = config.ticket_count if established.session is None else min(config.ticket_count, 1)
    if lifetime < 1:
        return
    # Section 4.3.10: how much early data the ticket allows.
    extensions = {int(X.early_data): u32(config.max_early_data)} if config.max_early_data else {}
    for number in range(count):
        nonce = bytes((number,))
        session = Session(
            secret=resumption_psk(established.suite, resumption_secret, nonce),
            cipher_suite=established.suite.number,
            server_name=established.server_name,
            alpn=established.alpn,
            peer_certificates=established.peer.certificates,
            fingerprint=fingerprint(config),
            issued=now,
            lifetime=lifetime,
            age_add=int.from_bytes(config.entropy(4), "big"),
            authenticated=authenticated,
            max_early_data=config.max_early_data,
        )
        state = session.to_bytes()
        if len(state) > MAX_STATE:
            return
        yield NewSessionTicket(lifetime, session.age_add, nonce, tickets.seal(state, now), extensions).encode()


def session_of(
    message: NewSessionTicket, established: Established, resumption_secret: bytes, config: ClientConfig
) -> Session | None:
    """What a ticket stands for; None for one that is of no use from the start."""
    early_data = message.extensions.get(X.early_data)
    allowed = ext.decode_max_early_data(early_data) if early_data is not None else 0
    if message.lifetime == 0:
        return None
    now = config.clock()
    server_name = established.server_name
    return Session(
        secret=resumption_psk(established.suite, resumption_secret, message.nonce),
        ticket=message.ticket,
        cipher_suite=established.suite.number,
        server_name=server_name.lower() if server_name is not None else None,
        alpn=established.alpn,
        peer_certificates=established.peer.certificates,
        stapled=established.peer.stapled,
        fingerprint=fingerprint(config),
        issued=now,
        lifetime=min(message.lifetime, MAX_LIFETIME),
        age_add=message.age_add,
        authenticated=_authenticated(established, now),
        max_early_data=allowed,
    )
