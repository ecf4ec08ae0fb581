"""A whole conversation of two native engines over a wire that a test can cut, damage and slow down at will.

Everything is decided: entropy is a counter, the clock stands still, the certificates are those of conversation.pem, and
their keys are ed25519, whose signatures have no randomness. So two runs, of one process or of two, differ only in what
the test does to the wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import chain, repeat
from pathlib import Path

from certificate_maker import NOW
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import load_pem_chain
from tlsprovider.crypto.tickets import TicketKeyRing
from tlsprovider.engine import InternalError, NativeEngine
from tlsprovider.errors import AlertReceived, ClosedByPeer, TLSError, TruncatedError, WantRead
from tlsprovider.events import Event
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.psk import fingerprint
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import CipherSuite
from tlsprovider.identity import Identity
from tlsprovider.record import RecordReader, RecordWriter
from tlsprovider.session import Session, SessionKey
from tlsprovider.trust import TrustStore

FROM_CLIENT = [b"GET / " * 3000, b"and more"]
FROM_SERVER = [b"200 OK", b"body " * 4000]

VARIANTS: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    "plain": ({}, {}),
    "retry": ({"key_shares": ["x25519"]}, {"groups": ["secp256r1"]}),
    "client certificate": ({}, {"client_auth": "require"}),
    # The client has a session of this server's, with the certificate of both.
    "resumed": ({}, {"client_auth": "require", "ticket_count": 1}),
    "resumed after retry": ({"key_shares": ["x25519"]}, {"client_auth": "require", "groups": ["secp256r1"]}),
}


def counting_entropy(seed: str) -> Callable[[int], bytes]:
    numbers = iter(range(1 << 20))
    return lambda length: hashlib.shake_128(f"{seed} {next(numbers)}".encode()).digest(length)


@cache
def identities() -> tuple[Identity, Identity, TrustStore]:
    """The server's, the client's, and who trusts them."""
    path = Path(__file__).with_name("conversation.pem")
    authority, *leaves = load_pem_chain(path.read_bytes(), path.name)
    server, client = (
        Identity.from_crypto([leaf], Ed25519PrivateKey.from_private_bytes(name.ljust(32, b".")))
        for leaf, name in zip(leaves, (b"localhost", b"alice"), strict=True)
    )
    return server, client, TrustStore.from_crypto([authority])


def session_of(fingerprint: bytes, ticket: bytes, peer: Identity | None = None) -> Session:
    """The same on both sides, but for what belongs to one."""
    return Session(
        secret=hashlib.sha256(b"session").digest(),
        ticket=ticket,
        cipher_suite=CipherSuite.TLS_AES_128_GCM_SHA256,
        server_name="localhost",
        alpn=None,
        peer_certificates=peer.certificates if peer is not None else (),
        fingerprint=fingerprint,
        issued=NOW,
        lifetime=3600,
        authenticated=NOW,
    )


def acquaint(client: ClientConfig, server: ServerConfig) -> None:
    """Give the client a session that the server resumes."""
    of_server, of_client, _ = identities()
    assert server.tickets is not None and client.sessions is not None
    ticket = server.tickets.seal(session_of(fingerprint(server), b"", of_client).to_bytes(), NOW)
    key = SessionKey("localhost", None, fingerprint(client))
    client.sessions.put(key, session_of(key.fingerprint, ticket, of_server))


class Side:
    """An engine with an application: it says its lines when it can, listens, and hangs up after the other has."""

    def __init__(self, engine: NativeEngine, events: list[Event], lines: list[bytes]) -> None:
        self.engine = engine
        self.events = events
        self.lines = lines
        self.received = b""
        self.connected = False
        self.failure: TLSError | None = None
        self.closed = False
        self.extra_calls = 0
        self.sent = b""

    def work(self) -> None:
        """Do everything that can be done now. Only TLSError may stop it, and whatever else is raised is a bug."""
        if self.failure is not None:
            return
        try:
            for _ in range(1 + self.extra_calls):
                self._go_on()
        except WantRead:
            for _ in range(self.extra_calls):
                self._still_wants()
        except TLSError as failure:
            self.failure = failure
            # What was heard before the failure still counts.
            while self.engine.pending:
                self.received += self.engine.read()

    def _go_on(self) -> None:
        self.engine.do_handshake()
        if not self.connected:
            self.connected = True
            for number, line in enumerate(self.lines):
                self.engine.write(line)
                self.engine.key_update(request_peer=number == 0)
            self.engine.shutdown()
        while not self.closed:
            data = self.engine.read()
            self.received += data
            self.closed = not data

    def _still_wants(self) -> None:
        """Asked again without anything new, an engine says the same and sends nothing."""
        before = len(self.events)
        try:
            self.engine.do_handshake()
        except WantRead:
            pass
        assert len(self.events) == before

    def outgoing(self) -> bytes:
        data = self.engine.process_outgoing()
        self.sent += data
        return data

    def incoming(self, data: bytes) -> None:
        self.engine.process_incoming(data)

    def alerts(self) -> list[str]:
        """Error alerts that were sent; hanging up is none."""
        return [event.name for event in self.events if event.kind == "alert_sent" and event.name != "close_notify"]

    def outcome(self) -> tuple[object, ...]:
        failure = None if self.failure is None else (type(self.failure), str(self.failure))
        return self.connected, self.received, self.closed, failure, self.alerts()

    def check(self, other: Side) -> None:
        """What holds whatever has happened to the wire."""
        # Nobody ever hears what the other did not say.
        assert b"".join(other.lines).startswith(self.received)
        if self.closed:
            assert self.received == b"".join(other.lines)
        assert not isinstance(self.failure, InternalError), self.failure.__cause__
        if self.failure is None:
            assert self.alerts() == []
        elif isinstance(self.failure, AlertReceived | ClosedByPeer | TruncatedError):
            assert self.alerts() == []
        elif self.engine.close_sent:
            # After close_notify nothing may be said, an alert neither.
            assert self.alerts() == []
        else:
            assert self.failure.alert is not None
            assert self.alerts() == [self.failure.alert.name]
        if self.failure is not None and not isinstance(self.failure, TruncatedError):
            self._check_dead()

    def _check_dead(self) -> None:
        """A failure is sticky: every call tells it again, as a new object, and not a byte is sent any more."""
        engine, told = self.engine, str(self.failure)
        engine.process_outgoing()
        for call in (
            engine.do_handshake,
            engine.read,
            lambda: engine.write(b"x"),
            engine.key_update,
            lambda: engine.read_into(bytearray(10)),
        ):
            try:
                call()
            except TLSError as again:
                assert (type(again), str(again)) == (type(self.failure), told)
                assert again is not self.failure
            else:
                raise AssertionError("a dead engine did something")
            engine.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
            engine.shutdown()
            engine.process_eof()
            assert engine.process_outgoing() == b""
        assert engine.state == "failed"


def sides(
    variant: str | tuple[dict[str, object], dict[str, object]] = "plain",
    writers: tuple[RecordWriter, RecordWriter] | None = None,
    handshakes: tuple[type[ClientHandshake], type[ServerHandshake]] = (ClientHandshake, ServerHandshake),
) -> tuple[Side, Side]:
    """A client and a server that have not spoken yet. ``variant``: its name, or fields of the two configurations."""
    server_identity, client_identity, trust = identities()
    of_client, of_server = VARIANTS[variant] if isinstance(variant, str) else variant
    events: tuple[list[Event], list[Event]] = ([], [])
    client_config = ClientConfig(
        **{"trust": trust, "identity": client_identity, "groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]}
        | {"entropy": counting_entropy("client"), "clock": lambda: NOW, "on_event": events[0].append}
        | of_client
    )
    server_config = ServerConfig(
        **{"identities": [server_identity], "groups": ["x25519"], "trust": trust}
        | {"entropy": counting_entropy("server"), "clock": lambda: NOW, "on_event": events[1].append}
        | {"tickets": TicketKeyRing(entropy=counting_entropy("tickets"))}
        | of_server
    )
    if isinstance(variant, str) and variant.startswith("resumed"):
        acquaint(client_config, server_config)
    client_writer, server_writer = writers or (RecordWriter(), RecordWriter())
    client_reader, server_reader = RecordReader(), RecordReader()
    client = handshakes[0](client_config, client_reader, client_writer, "localhost", "localhost")
    server = handshakes[1](server_config, server_reader, server_writer)
    return (
        Side(NativeEngine(client, client_reader, client_writer), events[0], FROM_CLIENT),
        Side(NativeEngine(server, server_reader, server_writer), events[1], FROM_SERVER),
    )


class Wire:
    """One direction. ``sizes``: how much arrives at a time, then all there is; ``spoil``: what happens to the bytes."""

    def __init__(self, sizes: Iterable[int] = (), spoil: Callable[[int, bytes], bytes] | None = None) -> None:
        self._sizes: Iterator[int | None] = chain(sizes, repeat(None))
        self._spoil = spoil
        self._carried = 0
        self._waiting = b""

    def move(self, source: Side, target: Side) -> bool:
        """Carry something over; whether anything was there."""
        new = source.outgoing()
        if self._spoil is not None and new:
            spoiled = self._spoil(self._carried, new)
            self._carried += len(new)
            new = spoiled
        self._waiting += new
        if not self._waiting:
            return False
        size = next(self._sizes)
        piece, self._waiting = self._waiting[:size], self._waiting[size:] if size is not None else b""
        if piece:
            target.incoming(piece)
        return True


# How bytes can go wrong on the way: at an offset of the whole direction.
DAMAGE: dict[str, Callable[[bytes, int, bytes], bytes]] = {
    "replaced": lambda data, at, garbage: data[:at] + garbage + data[at + len(garbage) :],
    "inserted": lambda data, at, garbage: data[:at] + garbage + data[at:],
    "lost": lambda data, at, garbage: data[:at] + data[at + len(garbage) :],
    "doubled": lambda data, at, garbage: data[:at] + data[max(0, at - len(garbage)) : at] + data[at:],
}


def converse(client: Side, server: Side, up: Wire, down: Wire, *, hang_up: bool = True) -> None:
    """Until nothing moves any more; then both transports end."""
    client.work()
    moved = True
    while moved:
        moved = False
        for source, wire, target in ((client, up, server), (server, down, client)):
            if wire.move(source, target):
                target.work()
                moved = True
    if hang_up:
        for side in (client, server):
            side.engine.process_eof()
            side.work()
