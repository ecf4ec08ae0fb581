"""Targets ``client``, ``server`` (against a stranger), ``client_flight``, ``server_flight`` (against a liar)."""

from __future__ import annotations

from conversation import VARIANTS, Side, Wire, converse, sides

from fuzz.harness import Fields, Lies, Program, lying_sides, read_edits
from tlsprovider.record import ALERT, CHANGE_CIPHER_SPEC, HANDSHAKE

FROM_CLIENT = [b"GET / ", b"and more"]
FROM_SERVER = [b"200 OK", b"body " * 40]
# The last one has what is negotiated besides keys, and a client without a certificate that is asked for one.
CONFIGURATIONS: list[Fields] = [
    *VARIANTS,
    (
        {"alpn": ["h2", "http/1.1"], "verify_peer": lambda question: True, "identity": None},
        {"alpn": ["http/1.1"], "client_auth": "request"},
    ),
]
STRAY_KINDS = (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, HANDSHAKE, 24)
SIZES = (0, 1, 2, 5, 6, 64, 1000)


def meet_stranger(data: bytes, is_server: bool) -> Side:
    """First byte: which configuration; second: how much arrives at a time, 0 for all at once; the rest are bytes."""
    program = Program(data)
    pair = sides(program.choose(CONFIGURATIONS))
    pair[0].lines, pair[1].lines = FROM_CLIENT, FROM_SERVER
    side, other = pair[is_server], pair[not is_server]
    side.work()
    side.outgoing()
    size, stream = program.choose(SIZES), program.rest()
    step = size or max(1, len(stream))
    for start in range(0, len(stream), step):
        side.incoming(stream[start : start + step])
        side.work()
    side.check(other)
    side.engine.process_eof()
    side.work()
    side.check(other)
    assert side.closed or side.failure is not None
    return side


def meet_liar(data: bytes, liar_is_server: bool) -> tuple[Side, bool]:
    """A whole conversation in which one side's handshake messages are changed before they are protected.

    The side that was lied to, and whether it was.
    """
    program = Program(data)
    fields = program.choose(CONFIGURATIONS)
    how = program.byte()
    believed, stray = bool(how & 1), bool(how & 2)
    lies = Lies(read_edits(program))
    strays = [(program.choose(STRAY_KINDS), program.piece()) for _ in range(program.byte() % 4)] if stray else []
    lies.strays = [one for one in strays if not is_close_notify(*one)]
    client, server = lying_sides(fields, lies, liar_is_server, believed)
    client.lines, server.lines = FROM_CLIENT, FROM_SERVER
    sizes = [program.choose(SIZES[1:]) for _ in range(program.byte() % 8)]
    converse(client, server, Wire(sizes), Wire(sizes))
    client.check(server)
    server.check(client)
    victim = client if liar_is_server else server
    if lies.any and not believed:
        assert not victim.connected
        assert not victim.received
    return victim, lies.any


def is_close_notify(kind: int, content: bytes) -> bool:
    """The one stray record that would be taken for the proper end."""
    return kind == ALERT and content[1:2] == b"\0"
