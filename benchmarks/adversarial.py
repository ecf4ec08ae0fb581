"""What a hostile peer costs: ``python -m benchmarks.adversarial``.

Each attack sends what no decent peer would, as much of it as the limits allow. Two things count. *Time per byte*: what
it costs the victim to deal with one byte of the attacker's, for an attack of some size and for one four times as large;
if the second is not about the same, something grows with the square of what a stranger sends. *Memory*: what one
connection holds while the attacker keeps it waiting, and the most that it held on the way (as ``tracemalloc`` counts:
Python's objects, without what OpenSSL holds in C).

``tests/test_limits.py`` runs the same attacks and insists on the shape of these figures, not on their values.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.table import Table

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import certificates
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import TLSError, Want
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.record import ALERT, HANDSHAKE, RecordReader, RecordWriter
from tlsprovider.trust import TrustStore
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.messages import ClientHello

NAME: Final = "localhost"
AUTHORITY: Final = Authority("adversarial")
TRUST: Final = TrustStore.from_crypto([AUTHORITY.certificate])
PLAIN_RECORD: Final = b"\x16\x03\x03"
PERIOD: Final = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
NOW: Final = datetime(2026, 7, 1, tzinfo=UTC).timestamp()


@attrs.frozen
class Attack:
    """``data`` in the pieces in which it arrives, and who has to deal with it."""

    victim: NativeEngine
    pieces: list[bytes]

    @property
    def length(self) -> int:
        return sum(map(len, self.pieces))

    def run(self) -> None:
        for piece in self.pieces:
            self.victim.process_incoming(piece)
            go_on(self.victim)


def go_on(engine: NativeEngine) -> None:
    try:
        engine.do_handshake()
    except (Want, TLSError):
        pass


# -- engines -----------------------------------------------------------------------------------------------------------


def make_identity(*names: str) -> Identity:
    issued = AUTHORITY.issue(NAME, *names)
    return Identity.from_crypto(issued.certificates, issued.private_key)


IDENTITY: Final = make_identity()


def new_server(identity: Identity = IDENTITY) -> tuple[NativeEngine, RecordWriter]:
    config = ServerConfig(identities=[identity], groups=["x25519"])
    reader, writer = RecordReader(), RecordWriter()
    return NativeEngine(ServerHandshake(config, reader, writer), reader, writer), writer


def new_client() -> tuple[NativeEngine, RecordWriter]:
    config = ClientConfig(trust=TRUST, groups=["x25519"])
    reader, writer = RecordReader(), RecordWriter()
    engine = NativeEngine(ClientHandshake(config, reader, writer, NAME, NAME), reader, writer)
    go_on(engine)
    return engine, writer


def connected() -> tuple[NativeEngine, NativeEngine, RecordWriter]:
    """``(the victim, the attacker, the attacker's records)``: the victim is a client that was lured somewhere."""
    (client, _), (server, writer) = new_client(), new_server()
    for _ in range(2):
        server.process_incoming(client.process_outgoing())
        go_on(server)
        client.process_incoming(server.process_outgoing())
        go_on(client)
    assert client.handshake_complete and server.handshake_complete
    return client, server, writer


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def in_records(message: bytes, most: int = 1 << 14) -> bytes:
    """A handshake message in plaintext records of at most ``most`` bytes."""
    pieces = [message[at : at + most] for at in range(0, len(message), most)]
    return b"".join([PLAIN_RECORD + len(piece).to_bytes(2, "big") + piece for piece in pieces])


def unfinished(kind: int, size: int) -> bytes:
    """All but the last byte of a handshake message of ``size`` bytes."""
    return bytes([kind]) + size.to_bytes(3, "big") + bytes(size - 1)


def hello(*extra: tuple[int, bytes], suites: int = 1, groups: int = 1, shares: int = 0) -> bytes:
    """A ClientHello with too much of something; the key shares are for the last of the groups."""
    numbers = range(0x1000, 0x1000 + groups)
    block = ext.encode_block(
        [
            (X.supported_versions, ext.encode_offered_versions([0x0304])),
            (X.signature_algorithms, ext.encode_u16s([0x0403])),
            (X.supported_groups, ext.encode_u16s(numbers)),
            (X.key_share, ext.encode_key_shares([(number, b"x") for number in numbers[groups - shares :]])),
            *extra,
        ]
    )
    return ClientHello.encode(bytes(32), bytes(32), range(0x1301, 0x1301 + suites), block)


# -- attacks on a handshake --------------------------------------------------------------------------------------------


def dripped_hello(size: int) -> Attack:
    """A ClientHello, one byte in each network read."""
    message = hello((0x7000, bytes(size)))
    return Attack(new_server()[0], bytewise(in_records(message)))


def message_in_tiny_records(size: int) -> Attack:
    """A handshake message in records of one byte each, all at once; the last byte never comes."""
    return Attack(new_client()[0], [in_records(unfinished(2, size), 1)])


def many_extensions(count: int) -> Attack:
    return Attack(new_server()[0], [in_records(hello(*((0x7000 + number, b"") for number in range(count))))])


def many_suites(count: int) -> Attack:
    return Attack(new_server()[0], [in_records(hello(suites=count))])


def many_key_shares(count: int) -> Attack:
    """So many groups, and a share of one byte for every second of them."""
    return Attack(new_server()[0], [in_records(hello(groups=count, shares=count // 2))])


def many_names(count: int) -> Attack:
    """A server's whole flight with a certificate for so many names; it is for this server, and it is verified."""
    (client, _), (server, _) = (
        new_client(),
        new_server(make_identity(*(f"h{number}.a" for number in range(count)))),
    )
    server.process_incoming(client.process_outgoing())
    go_on(server)
    return Attack(client, [server.process_outgoing()])


def skipped_early_data(count: int) -> Attack:
    """Records of early data that the server rejects and passes over, as small as they can be."""
    return Attack(new_server()[0], [early_hello(), *[b"\x17\x03\x03\x00\x11" + bytes(17)] * count])


def early_hello() -> bytes:
    """The record of a ClientHello that also announces early data."""
    message = new_client()[0].process_outgoing()[5:]
    at = 4 + 34 + 1 + message[38]
    at += 2 + int.from_bytes(message[at : at + 2], "big")
    at += 1 + message[at]
    block = message[at + 2 :] + X.early_data.to_bytes(2, "big") + b"\0\0"
    body = message[4:at] + len(block).to_bytes(2, "big") + block
    return in_records(message[:1] + len(body).to_bytes(3, "big") + body)


# -- attacks on a connection -------------------------------------------------------------------------------------------


def dripped_data(size: int) -> Attack:
    """Application data in full records, one byte in each network read."""
    victim, attacker, _ = connected()
    attacker.write(bytes(size))
    return Attack(victim, bytewise(attacker.process_outgoing()))


def tiny_records(count: int) -> Attack:
    """Records of two bytes of data, each in a network read of its own; nobody reads them."""
    victim, attacker, _ = connected()
    pieces = []
    for _ in range(count):
        attacker.write(b"xy")
        pieces.append(attacker.process_outgoing())
    return Attack(victim, pieces)


def data_and_alerts(count: int) -> Attack:
    """One byte of data and a user_canceled alert in turn, all in one network read."""
    victim, attacker, writer = connected()
    for _ in range(count):
        attacker.write(b"x")
        writer.write(ALERT, b"\x01\x5a")
    return Attack(victim, [attacker.process_outgoing()])


def data_and_key_updates(count: int) -> Attack:
    """One byte of data and a KeyUpdate that asks for one in turn, all in one network read."""
    victim, attacker, _ = connected()
    for _ in range(count):
        attacker.write(b"x")
        attacker.key_update(request_peer=True)
        attacker._connected._update_requested = False  # type: ignore[union-attr]
    return Attack(victim, [attacker.process_outgoing()])


def ticket_in_tiny_records(size: int) -> Attack:
    """A NewSessionTicket in records of one byte each; the last byte never comes."""
    victim, attacker, writer = connected()
    for byte in unfinished(4, size):
        writer.write(HANDSHAKE, bytes([byte]))
    return Attack(victim, [attacker.process_outgoing()])


# -- chains that keep the verifier busy --------------------------------------------------------------------------------


def issuers(count: int, constraints: int = 0) -> list[x509.Certificate]:
    """Authorities that nobody trusts, all of one name and one key, so that each has signed all the others."""
    key = ec.derive_private_key(0xE41, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "evil")])
    key_ids = (
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()),
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
    )
    found = []
    for number in range(count):
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1 + number, *PERIOD)
        builder = builder.add_extension(x509.BasicConstraints(True, None), True)
        for extension in key_ids:
            builder = builder.add_extension(extension, False)
        if constraints:
            names = [x509.DNSName(f"h{one}.example") for one in range(constraints)]
            builder = builder.add_extension(x509.NameConstraints(names, None), True)
        found.append(builder.sign(key, hashes.SHA256()))
    return found


def leaf_of(issuer: x509.Certificate, names: int) -> x509.Certificate:
    key = ec.derive_private_key(0xE41, ec.SECP256R1())
    # Each of them is the last that the constraints permit; only the name that counts is not permitted at all.
    alternatives = [*[x509.DNSName(f"h{names - 1}.example")] * (names - 1), x509.DNSName(NAME)]
    builder = x509.CertificateBuilder(issuer.subject, x509.Name([]), key.public_key(), 99, *PERIOD)
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), True).add_extension(aki, False)
    return builder.sign(key, hashes.SHA256())


def maze(count: int) -> list[x509.Certificate]:
    """So many issuers that have all signed each other: there are count * (count - 1) * (count - 2) ... ways."""
    found = issuers(count)
    return [leaf_of(found[0], 1), *found]


def constrained_names(count: int) -> list[x509.Certificate]:
    """So many names, each of which is to be compared with as many constraints of an issuer."""
    found = issuers(1, constraints=count)
    return [leaf_of(found[0], count), *found]


# What grows faster than the chain is cut short by budgets of ``cryptography``: 128 signatures, 2**20 comparisons.
CHAINS: Final[dict[Callable[[int], list[x509.Certificate]], tuple[int, int]]] = {
    maze: (3, 9),
    constrained_names: (1_000, 2_000),
}


def verification_cost(chain: list[x509.Certificate], rounds: int = 3) -> tuple[int, float]:
    """``(bytes, milliseconds of processor time until it is refused)``, the best of some rounds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        try:
            TRUST.verify_server(chain, NAME, NOW)
        except TLSError:
            best = min(best, time.process_time() - start)
    return sum(len(certificates.certificate_der(one)) for one in chain), best * 1e3


# Attack -> the smaller of two sizes; the other is four times as large, which is the most that the limits let through.
ATTACKS: Final[dict[Callable[[int], Attack], int]] = {
    dripped_hello: 4_000,
    message_in_tiny_records: 16_000,
    many_extensions: 1_000,
    many_suites: 2_500,
    many_key_shares: 1_250,
    many_names: 2_500,
    skipped_early_data: 60,
    dripped_data: 16_000,
    tiny_records: 4_000,
    data_and_alerts: 1_000,
    data_and_key_updates: 500,
    ticket_in_tiny_records: 16_000,
}


# -- states in which an attacker can leave a connection ----------------------------------------------------------------


def half_open() -> NativeEngine:
    """A server that has sent its flight and waits for Finished."""
    attack = Attack(new_server()[0], [new_client()[0].process_outgoing()])
    attack.run()
    attack.victim.process_outgoing()
    return attack.victim


def waiting_for_hello() -> NativeEngine:
    """A server that has all of the largest ClientHello but its last byte."""
    attack = Attack(new_server()[0], [in_records(unfinished(1, 24 * 1024))])
    attack.run()
    return attack.victim


def waiting_for_message() -> NativeEngine:
    """A client that has all of the largest message but its last byte, and a record that is not complete either."""
    attack = Attack(new_client()[0], [in_records(unfinished(2, 64 * 1024)), PLAIN_RECORD + b"\x40\x00" + bytes(16_000)])
    attack.run()
    return attack.victim


def idle() -> NativeEngine:
    return connected()[0]


def unread_data() -> NativeEngine:
    """As much unread data as it wants, in records of 16 bytes that came one by one."""
    victim, attacker, _ = connected()
    while victim.wants_input:
        attacker.write(bytes(16))
        victim.process_incoming(attacker.process_outgoing())
    return victim


def failed() -> NativeEngine:
    """An engine that has failed, and has 64 KiB of the attacker's in the same network read."""
    victim = idle()
    victim.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(64 * 1024))
    return victim


STATES: Final[list[Callable[[], NativeEngine]]] = [
    waiting_for_hello,
    half_open,
    waiting_for_message,
    idle,
    unread_data,
    failed,
]


# -- measuring ---------------------------------------------------------------------------------------------------------


def cost_per_byte(attack: Callable[[int], Attack], size: int, rounds: int = 5) -> tuple[int, float]:
    """``(bytes, microseconds of processor time for each)``, the best of some rounds."""
    best, length = float("inf"), 0
    for _ in range(rounds):
        one = attack(size)
        length = one.length
        start = time.process_time()
        one.run()
        best = min(best, time.process_time() - start)
    return length, best / length * 1e6


def memory_of(state: Callable[[], NativeEngine]) -> tuple[int, int]:
    """``(bytes held, the most on the way)``."""
    # What all connections share is made with the first.
    for first in (idle, half_open):
        first()
    gc.collect()
    tracemalloc.start()
    try:
        engine = state()
        _, peak = tracemalloc.get_traced_memory()
        gc.collect()
        held, _ = tracemalloc.get_traced_memory()
        del engine
    finally:
        tracemalloc.stop()
    return held, peak


def show_costs(console: Console) -> None:
    table = Table(title="What an attacker's byte costs its victim", title_justify="left")
    table.add_column("attack")
    for heading in ("bytes", "µs/byte", "bytes", "µs/byte", "ratio", "ms in all"):
        table.add_column(heading, justify="right")
    for attack, size in ATTACKS.items():
        (small, first), (large, second) = (cost_per_byte(attack, each) for each in (size, 4 * size))
        costs = (f"{small}", f"{first:.2f}", f"{large}", f"{second:.2f}", f"{second / first:.2f}")
        table.add_row(words(attack), *costs, f"{large * second / 1000:.1f}")
    console.print(table)


def show_chains(console: Console) -> None:
    table = Table(title="What a chain costs that nobody trusts", title_justify="left")
    table.add_column("chain")
    for heading in ("size", "bytes", "ms", "size", "bytes", "ms"):
        table.add_column(heading, justify="right")
    for chain, sizes in CHAINS.items():
        columns: list[str] = []
        for size in sizes:
            length, cost = verification_cost(chain(size))
            columns += [f"{size}", f"{length}", f"{cost:.1f}"]
        table.add_row(words(chain), *columns)
    console.print(table)


def show_memory(console: Console) -> None:
    table = Table(title="What one connection holds", title_justify="left")
    table.add_column("state")
    for heading in ("held KiB", "at most KiB"):
        table.add_column(heading, justify="right")
    for state in STATES:
        held, peak = memory_of(state)
        table.add_row(words(state), f"{held / 1024:.1f}", f"{peak / 1024:.1f}")
    console.print(table)


def words(function: Callable[..., object]) -> str:
    return function.__name__.replace("_", " ")


def main() -> None:
    console = Console()
    show_costs(console)
    show_chains(console)
    show_memory(console)


if __name__ == "__main__":
    main()
