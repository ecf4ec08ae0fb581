"""What fuzzing starts from: real flights, and programs that do what peaceful peers do."""

from __future__ import annotations

from conversation import Side, Wire, converse, session_of, sides

from fuzz import peers
from fuzz.decoders import MESSAGES
from fuzz.harness import Fields, split_extensions
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, u32, vector16, vector24

__all__ = ["seeds"]

# What no conversation here has in it: a ticket, a cookie, authorities, a stapled answer, time stamps, a single share.
RARE = (
    bytes((HandshakeType.new_session_ticket,)) + bytes(8) + b"\x01n" + b"\x00\x06ticket" + b"\x00\x00",
    bytes((128 + X.pre_shared_key,)) + ext.encode_offered_psks(ext.OfferedPsks(((b"ticket", 1),), (bytes(32),))),
    bytes((128 + X.psk_key_exchange_modes,)) + ext.encode_psk_modes([1, 0]),
    bytes((128 + X.early_data,)) + u32(1000),
    bytes((HandshakeType.end_of_early_data,)),
    bytes((253,)) + session_of(b"", b"ticket").to_bytes(),
    bytes((128 + X.cookie,)) + ext.encode_cookie(b"cookie"),
    bytes((128 + X.certificate_authorities,)) + ext.encode_authorities([b"one", b"two"]),
    bytes((128 + X.signed_certificate_timestamp,)) + vector16(vector16(b"one") + vector16(b"two")),
    bytes((128 + 120,)) + u16(0x0304),
    bytes((128 + 121,)) + ext.encode_key_share(29, bytes(32)),
    bytes((128 + 122, 1)) + vector24(b"response"),
    bytes((128 + 123, 2, 40)),
)


def seeds(target: str) -> list[bytes]:
    """For a target by its name: inputs that go deep. None of them is a finding."""
    if target == "wire":
        whole = messages()
        return [*whole, *(one + b"\0" for one in whole)]
    if target in ("client", "server"):
        talks = [talk(fields) for fields in peers.CONFIGURATIONS]
        return [bytes((number, 0)) + pair[target == "client"].sent for number, pair in enumerate(talks)]
    if target.endswith("_flight"):
        return flights()
    return records() if target == "record" else calls()


def talk(fields: Fields) -> tuple[Side, Side]:
    client, server = sides(fields)
    client.lines, server.lines = peers.FROM_CLIENT, peers.FROM_SERVER
    converse(client, server, Wire(), Wire())
    return client, server


def messages() -> list[bytes]:
    """Every handshake message of every conversation, its extensions and certificates, as the wire target takes them."""
    found = [*RARE]
    for fields in peers.CONFIGURATIONS:
        for side in talk(fields):
            for event in side.events:
                if event.kind != "message_sent" or event.data[0] not in MESSAGES:
                    continue
                found.append(event.data[:1] + event.data[4:])
                if event.name == "certificate":
                    # One byte of context, three of the list's length, three of the first one's.
                    found.append(b"\xff" + event.data[11:-2])
                _, block = split_extensions(event.data) or (b"", [])
                if event.data[0] == HandshakeType.client_hello:
                    found += [bytes([128 + number]) + content for number, content in block]
    return [*dict.fromkeys(found)]


def records() -> list[bytes]:
    """A handshake message, then the keys, data with padding, an alert; all at once, and in single bytes."""
    steps = b"\x02\x16\x04\x08\0\0\0" + b"\0" + b"\x03\x03\x05hello\x02" * 3 + b"\x06\x14\x07\x04\x0e\0\0\0"
    return [b"\0\0" + steps, b"\0\x0f" + bytes(15) + steps, b"\x02\0" + steps]


def flights() -> list[bytes]:
    """Each way to change each message, believed or not; the last one changes a byte in the middle."""
    edits = [*(bytes([kind]) for kind in range(8)), bytes((0, 0, 0, 20, 1, 0xAA))]
    return [
        bytes((variant, how, 0, message)) + edit
        for variant in range(len(peers.CONFIGURATIONS))
        for how in (0, 1)
        for message in range(5)
        for edit in edits
    ]


def calls() -> list[bytes]:
    """The proper order, then some data and a change of keys; in the last one a stranger speaks first."""
    both = bytes((0, 24, 1, 25, 8, 7, 9, 7))
    data = bytes((20, 3, 9, 7, 17, 0, 28, 1, 9, 7, 1, 36, 9, 7, 17, 0))
    return [
        *(bytes([how]) + both * 12 + data for how in range(8)),
        bytes((0, 0, 40, 3)) + b"GET" + bytes((0, 0, 26, 0)),
    ]
