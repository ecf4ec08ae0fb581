"""How connections end: properly, cut short, with an alert, in garbage."""

from __future__ import annotations

from tlsprovider.errors import (
    AlertReceived,
    ClosedByPeer,
    Fault,
    MisuseError,
    PeerFault,
    TLSError,
    TruncatedError,
    WantRead,
)
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.testing.bench import Bench, Side, equal, must, raises, transfer
from tlsprovider.testing.checks import check


@check()
def closing(bench: Bench, side: Side) -> None:
    """close_notify from the peer, then ours; both once."""
    pair = bench.connected(side)
    pair.other.write(b"last words")
    pair.other.shutdown()
    transfer(pair.other, pair.mine)
    equal(pair.mine.read(), b"last words", "what came before the end")
    equal((pair.mine.read(), pair.mine.read()), (b"", b""), "the end, again and again")
    must(pair.mine.close_received, "close_received")
    must(not pair.mine.close_sent, "close_sent before shutdown()")
    pair.mine.shutdown()
    must(pair.mine.close_sent, "close_sent after shutdown()")
    alert = pair.mine.process_outgoing()
    must(alert, "close_notify is to be sent")
    pair.mine.shutdown()
    equal(pair.mine.process_outgoing(), b"", "a second shutdown() sends nothing")
    pair.other.process_incoming(alert)
    equal(pair.other.read(), b"", "the partner's end")
    raises(MisuseError, "write() after shutdown()", pair.mine.write, b"x")
    equal((pair.mine.failure, pair.mine.read()), (None, b""), "failure and read() after all that")


@check("half_close")
def half_close(bench: Bench, side: Side) -> None:
    """One direction is closed, the other goes on: RFC 9846 section 6.1."""
    first = bench.connected(side)
    first.mine.shutdown()
    transfer(first.mine, first.other)
    equal(first.other.read(), b"", "the partner's end")
    first.other.write(b"answer" * 5000)
    transfer(first.other, first.mine)
    equal(first.mine.read(), b"answer" * 5000, "what came after our shutdown()")
    raises(WantRead, "read() while the peer goes on", first.mine.read)
    second = bench.connected(side)
    second.other.shutdown()
    transfer(second.other, second.mine)
    equal(second.mine.read(), b"", "the end")
    equal(second.send(second.mine, b"answer" * 5000), b"answer" * 5000, "what is written after the peer's end")


@check()
def trailing_bytes(bench: Bench, side: Side) -> None:
    """What follows close_notify is given back as it came, once."""
    pair = bench.connected(side)
    pair.other.shutdown()
    pair.mine.process_incoming(pair.other.process_outgoing() + b"\x17\x03")
    pair.mine.process_incoming(b"\x03 and more")
    equal(pair.mine.read(), b"", "the end")
    equal(pair.mine.trailing_bytes(), b"\x17\x03\x03 and more", "trailing_bytes()")
    equal(pair.mine.trailing_bytes(), b"", "trailing_bytes() a second time")
    equal(pair.mine.failure, None, "failure")


@check()
def truncation(bench: Bench, side: Side) -> None:
    """A transport that ends without close_notify is told from one that ends with it."""
    pair = bench.connected(side)
    pair.other.write(b"half of")
    transfer(pair.other, pair.mine)
    pair.mine.process_eof()
    equal(pair.mine.read(), b"half of", "what had arrived")
    for _ in range(2):
        raises(TruncatedError, "read() after a bare end", pair.mine.read)
    ended = bench.connected(side)
    ended.other.shutdown()
    transfer(ended.other, ended.mine)
    ended.mine.process_eof()
    equal(ended.mine.read(), b"", "the end after close_notify")
    inside = bench.connected(side)
    inside.other.write(b"lost")
    inside.mine.process_incoming(inside.other.process_outgoing()[:-1])
    inside.mine.process_eof()
    raises(TruncatedError, "read() after an end within a record", inside.mine.read)


@check()
def truncated_handshake(bench: Bench, side: Side) -> None:
    """The peer goes away in the middle of the handshake: an error that stays, and no alert."""
    pair = bench.pair(side)
    if side == "server":
        raises(WantRead, "the client's first step", pair.other.do_handshake)
        transfer(pair.other, pair.mine)
    raises(WantRead, "the first step", pair.mine.do_handshake)
    pair.mine.process_outgoing()
    pair.mine.process_eof()
    stays(pair.mine, raises(TruncatedError, "do_handshake() after the end", pair.mine.do_handshake))
    equal(pair.mine.process_outgoing(), b"", "nothing is sent to a peer that is gone")


def stays(engine: IEngine, error: TLSError) -> None:
    """A failure is the same for every later call, and holds on to no frames."""
    for call in (engine.do_handshake, engine.read, lambda: engine.write(b"x")):
        again = raises(type(error), "a failure stays", call)
        equal(str(again), str(error), "the words of a failure that stays")
        must(again is not error, "a failure is raised afresh")
    kept = engine.failure
    must(isinstance(kept, type(error)), "failure")
    must(kept is not None and kept.__traceback__ is None, "failure: a traceback's frames may hold secrets")
    equal(engine.state, "failed", "state")
    must(not engine.wants_input, "wants_input after a failure")
    engine.process_incoming(b"more")
    engine.process_eof()
    engine.shutdown()


@check()
def garbage(bench: Bench, side: Side) -> None:
    """Something that is no TLS at all."""
    for words in (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", bytes(100)):
        mine = bench.pair(side).mine
        if side == "client":
            raises(WantRead, "the first step", mine.do_handshake)
            mine.process_outgoing()
        mine.process_incoming(words)
        error = raises(PeerFault, f"do_handshake() after {words[:5]!r}", mine.do_handshake)
        must(error.alert is not None, "alert")
        must(len(mine.process_outgoing()) <= 7, "one alert at most")
        stays(mine, error)


@check()
def damaged_handshake(bench: Bench, side: Side) -> None:
    """One byte of the peer's first flight is wrong, wherever: an error or a wait, never a success, nothing else."""
    fresh = bench.pair(side)
    flight = _first_flight(fresh.mine, fresh.other, side)
    for position in range(5, len(flight), max(1, len(flight) // 20)):
        pair = bench.pair(side)
        damaged = bytearray(_first_flight(pair.mine, pair.other, side))
        if position >= len(damaged):
            continue
        damaged[position] ^= 0x55
        pair.mine.process_incoming(damaged)
        try:
            pair.mine.do_handshake()
        except (WantRead, TLSError):
            pass
        if side == "client":
            must(not pair.mine.handshake_complete, f"the handshake is complete, though byte {position} was wrong")
            continue
        # A hello may be damaged where it doesn't matter to the server: the client notices then.
        transfer(pair.mine, pair.other)
        mine, other = pair.fail()
        must(mine or other, f"the handshake is complete, though byte {position} was wrong")


def _first_flight(mine: IEngine, other: IEngine, side: Side) -> bytes:
    """What the partner sends first."""
    if side == "client":
        raises(WantRead, "the client's first step", mine.do_handshake)
        transfer(mine, other)
    raises(WantRead, "the partner's first step", other.do_handshake)
    return other.process_outgoing()


@check()
def damaged_record(bench: Bench, side: Side) -> None:
    """A record that was tampered with: what came before it is read, then the error; the peer sees the alert."""
    pair = bench.connected(side)
    pair.other.write(b"good")
    good = pair.other.process_outgoing()
    pair.other.write(b"evil")
    evil = bytearray(pair.other.process_outgoing())
    evil[-1] ^= 1
    pair.mine.process_incoming(good + evil)
    equal(pair.mine.read(), b"good", "what came before")
    error = raises(PeerFault, "read() of a damaged record", pair.mine.read)
    equal((error.fault, error.alert), (Fault.BAD_RECORD_MAC, AlertDescription.bad_record_mac), "fault and alert")
    transfer(pair.mine, pair.other)
    seen = raises(AlertReceived, "the partner", pair.other.read)
    equal(seen.alert, AlertDescription.bad_record_mac, "the alert that the partner sees")
    stays(pair.mine, error)


@check()
def impossible_record(bench: Bench, side: Side) -> None:
    """A header that can't be a record's is refused at once, not when the rest has arrived."""
    for header in (b"\x17\x03\x03\xff\xff", b"\x63\x03\x03\x00\x10"):
        pair = bench.connected(side)
        pair.mine.process_incoming(header)
        raises(PeerFault, f"read() after the header {header!r}", pair.mine.read)


@check()
def alerts(bench: Bench, side: Side) -> None:
    """An alert of the peer, in the handshake and after it."""
    plain = bench.pair(side)
    if side == "client":
        raises(WantRead, "the first step", plain.mine.do_handshake)
        plain.mine.process_outgoing()
    plain.mine.process_incoming(b"\x15\x03\x03\x00\x02\x02\x50")
    error = raises(AlertReceived, "do_handshake() after an alert", plain.mine.do_handshake)
    equal(error.alert, AlertDescription.internal_error, "the alert")
    equal(plain.mine.process_outgoing(), b"", "an alert isn't answered")
    stays(plain.mine, error)
    late = bench.connected(side)
    late.mine.write(b"x")
    damaged = bytearray(late.mine.process_outgoing())
    damaged[-1] ^= 1
    late.other.process_incoming(damaged)
    raises(PeerFault, "the partner", late.other.read)
    transfer(late.other, late.mine)
    error = raises(AlertReceived, "read() after an alert", late.mine.read)
    equal(error.alert, AlertDescription.bad_record_mac, "the alert")
    equal(late.mine.process_outgoing(), b"", "an alert isn't answered")
    stays(late.mine, error)


@check()
def closed_in_handshake(bench: Bench, side: Side) -> None:
    """close_notify in the middle of the handshake."""
    pair = bench.pair(side)
    if side == "client":
        raises(WantRead, "the first step", pair.mine.do_handshake)
        pair.mine.process_outgoing()
    pair.mine.process_incoming(b"\x15\x03\x03\x00\x02\x01\x00")
    error = raises(ClosedByPeer, "do_handshake() after close_notify", pair.mine.do_handshake)
    stays(pair.mine, error)
