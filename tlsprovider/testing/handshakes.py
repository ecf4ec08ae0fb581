"""Handshakes that work, however the bytes are cut, and what they agree on."""

from __future__ import annotations

from tlsprovider.errors import ClosedByPeer, ConfigError, MisuseError, WantRead
from tlsprovider.interfaces import IEngine
from tlsprovider.testing.bench import NAME, Bench, Pair, Side, equal, must, raises, transfer
from tlsprovider.testing.checks import check

BIG = bytes(range(256)) * 400


@check()
def handshake(bench: Bench, side: Side) -> None:
    """The default configuration, and everything that an engine tells of it."""
    pair = bench.pair(side)
    mine = pair.mine
    equal(mine.is_server, side == "server", "is_server")
    equal(mine.handshake_complete, False, "handshake_complete before the handshake")
    for name in ("version", "cipher", "group", "alpn", "signature_scheme", "failure", "question"):
        equal(getattr(mine, name), None, f"{name} before the handshake")
    for name in ("peer_certificates", "verified_chain", "local_certificates"):
        equal(getattr(mine, name), (), f"{name} before the handshake")
    pair.pump()
    _check_agreed(bench, pair)
    mine.do_handshake()
    equal(mine.state, "connected", "state")
    equal(pair.send(pair.client, b"ping"), b"ping", "from client to server")
    equal(pair.send(pair.server, b"pong"), b"pong", "from server to client")


def _check_agreed(bench: Bench, pair: Pair) -> None:
    mine, other = pair.mine, pair.other
    must(mine.handshake_complete, "handshake_complete after the handshake")
    equal(mine.version, bench.version, "version")
    equal((mine.version, mine.cipher), (other.version, other.cipher), "what both say was negotiated")
    if bench.supports("group"):
        must(mine.group is not None, "group: the provider says that it tells")
        equal(mine.group, other.group if other.group is not None else mine.group, "group")
    must(mine.signature_scheme in (None, other.signature_scheme, "ecdsa_secp256r1_sha256"), "signature_scheme")
    equal(mine.server_name, NAME, "server_name")
    equal((mine.failure, mine.question, mine.pending), (None, None, 0), "failure, question, pending")
    equal((mine.close_sent, mine.close_received), (False, False), "close_sent, close_received")
    equal((mine.session_reused, mine.early_data), (False, "not_sent"), "session_reused, early_data")
    shown = bench.server_identity.certificates
    if mine.is_server:
        equal((mine.local_certificates, mine.peer_certificates), (shown, ()), "certificates")
    else:
        equal((mine.peer_certificates, mine.local_certificates), (shown, ()), "certificates")
        equal(mine.verified_chain[:1], shown[:1], "verified_chain begins with the leaf")
        equal(len(mine.verified_chain), 2, "verified_chain goes to the root")


@check(sides=False)
def with_itself(bench: Bench) -> None:
    """Both sides of the provider under test, several times with the same configurations.

    The second connection resumes the first where sessions are kept, and nowhere else.
    """
    client, server = bench.client(), bench.server()
    resumes = bench.supports("sessions") and bench.supports("tickets")
    for number in range(3):
        pair = Pair(bench.engine("client", client), bench.engine("server", server), "client")
        pair.pump()
        equal(pair.send(pair.client, b"ping"), b"ping", "from client to server")
        equal(pair.send(pair.server, b"pong"), b"pong", "from server to client")
        equal(pair.client.session_reused, resumes and number > 0, "session_reused")


@check("TLSv1.2", "TLSv1.3")
def older_version(bench: Bench, side: Side) -> None:
    """TLS 1.2 with somebody who has no more; TLS 1.3 where both versions are allowed."""
    either = {"min_version": "TLSv1.2", "max_version": "TLSv1.3"}
    only = {"min_version": "TLSv1.2", "max_version": "TLSv1.2"}
    old = Bench(bench.provider, "TLSv1.2")
    if side == "client":
        pair = old.connected(side, bench.client(**either), bench.server(**only))
    else:
        pair = old.connected(side, bench.client(**only), bench.server(**either))
    equal(pair.mine.version, "TLSv1.2", "version")
    equal(pair.mine.cipher, pair.other.cipher, "cipher")
    must((pair.mine.cipher or "").startswith("TLS_ECDHE_"), f"{pair.mine.cipher}: expected forward secrecy")
    equal(pair.send(pair.client, b"ping" * 10000), b"ping" * 10000, "from client to server")
    equal(pair.send(pair.server, b"pong" * 10000), b"pong" * 10000, "from server to client")
    both = old.connected(side, bench.client(**either), bench.server(**either))
    equal(both.mine.version, "TLSv1.3", "version where both are allowed")


@check(sides=False)
def addresses(bench: Bench) -> None:
    """A server known by its IP address, and names as people write them."""
    for name in ("127.0.0.1", "::1", "LOCALHOST.", "localhost"):
        pair = bench.connected("client", name=name)
        must(pair.client.verified_chain, f"{name}: verified")


@check()
def wants(bench: Bench, side: Side) -> None:
    """WantRead while bytes are missing, again and again; nothing is sent twice."""
    pair = bench.pair(side)
    mine = pair.mine
    raises(WantRead, "do_handshake() without bytes", mine.do_handshake)
    hello = mine.process_outgoing()
    equal(bool(hello), side == "client", "whether something is to be sent")
    must(mine.wants_input, "wants_input while bytes are missing")
    raises(WantRead, "do_handshake() again", mine.do_handshake)
    equal(mine.process_outgoing(), b"", "nothing new is to be sent")
    if hello:
        pair.other.process_incoming(hello)
    pair.pump()
    raises(WantRead, "read() without data", mine.read)
    equal(mine.process_outgoing(), b"", "nothing is to be sent for a read")


@check()
def misuse(bench: Bench, side: Side) -> None:
    """Calls out of order are told, and change nothing."""
    pair = bench.pair(side)
    mine = pair.mine
    raises(MisuseError, "read() before the handshake", mine.read)
    raises(MisuseError, "write() before the handshake", mine.write, b"x")
    raises(MisuseError, "exporter before the handshake", mine.export_keying_material, "EXPERIMENTAL", b"", 32)
    equal(mine.trailing_bytes(), b"", "trailing bytes before the handshake")
    pair.pump()
    equal(pair.send(pair.client, b"ping"), b"ping", "the connection after that")


@check(sides=False)
def wrong_side(bench: Bench) -> None:
    """A configuration of the other side is refused, and a server's name that is none or missing."""
    raises(ConfigError, "client_engine(ServerConfig)", bench.provider.client_engine, bench.server(), NAME)
    raises(ConfigError, "server_engine(ClientConfig)", bench.provider.server_engine, bench.client())
    raises(ConfigError, "a client without a name", bench.provider.client_engine, bench.client(), None)
    raises(ConfigError, "a name that is none", bench.provider.client_engine, bench.client(), "not a name")


@check()
def byte_by_byte(bench: Bench, side: Side) -> None:
    """Every byte of the handshake and of the data arrives alone."""
    pair = bench.pair(side)
    for _ in range(20):
        for engine, peer in ((pair.client, pair.server), (pair.server, pair.client)):
            _go_on(engine)
            data = engine.process_outgoing()
            if peer is pair.mine:
                for position in range(len(data)):
                    peer.process_incoming(data[position : position + 1])
                    _go_on(peer)
            elif data:
                peer.process_incoming(data)
    must(pair.mine.handshake_complete and pair.other.handshake_complete, "the handshake is complete")
    pair.other.write(b"ping" * 500)
    received = b""
    for byte in pair.other.process_outgoing():
        pair.mine.process_incoming(bytes((byte,)))
        if pair.mine.pending:
            received += pair.mine.read()
    equal(received, b"ping" * 500, "what was read")


def _go_on(engine: IEngine) -> None:
    if not engine.handshake_complete:
        try:
            engine.do_handshake()
        except WantRead:
            pass


@check()
def all_at_once(bench: Bench, side: Side) -> None:
    """The peer's last flight, its data and its close_notify arrive in one piece."""
    pair = bench.pair(side)
    for _ in range(4):
        _go_on(pair.mine)
        transfer(pair.mine, pair.other)
        _go_on(pair.other)
        if pair.other.handshake_complete:
            break
        transfer(pair.other, pair.mine)
    must(pair.other.handshake_complete, "the partner's handshake is complete")
    pair.other.write(b"ping")
    pair.other.shutdown()
    pair.mine.process_incoming(pair.other.process_outgoing() + b"not TLS")
    _go_on(pair.mine)
    equal(pair.mine.read(), b"ping", "data behind the handshake")
    equal(pair.mine.read(), b"", "close_notify behind the data")
    equal(pair.mine.trailing_bytes(), b"not TLS", "what followed close_notify")


@check()
def big_data(bench: Bench, side: Side) -> None:
    """A hundred kilobytes each way, in odd pieces, out of every kind of buffer."""
    pair = bench.connected(side)
    for source, target in ((pair.mine, pair.other), (pair.other, pair.mine)):
        equal(source.write(memoryview(BIG)), len(BIG), "write() takes all")
        sealed = bytearray(source.process_outgoing())
        must(len(sealed) > len(BIG), "what is sent is longer than what was written")
        received = b""
        step = 9973
        while sealed:
            piece = bytearray(sealed[:step])
            del sealed[:step]
            target.process_incoming(memoryview(piece) if step % 2 else piece)
            # The engine may not keep what it was given.
            piece[:] = bytes(len(piece))
            step = step * 7 % 30011 + 1
            if target.pending:
                received += target.read()
        must(received == BIG, "what was read is what was written")


@check()
def reading(bench: Bench, side: Side) -> None:
    """read() up to a limit, read_into(), pending, and an empty write."""
    pair = bench.connected(side)
    equal(pair.mine.write(b""), 0, "write() of nothing")
    equal(pair.mine.process_outgoing(), b"", "write() of nothing sends nothing")
    pair.other.write(b"0123456789")
    pair.other.write(b"abcdef")
    transfer(pair.other, pair.mine)
    equal(pair.mine.pending, 16, "pending")
    equal(pair.mine.read(4), b"0123", "read(4)")
    equal(pair.mine.pending, 12, "pending after read(4)")
    buffer = bytearray(5)
    count = pair.mine.read_into(buffer)
    must(1 <= count <= 5, f"read_into() took {count} bytes")
    rest = bytes(buffer[:count])
    while pair.mine.pending:
        rest += pair.mine.read(7)
    equal(rest, b"456789abcdef", "the rest")
    raises(WantRead, "read() when all was read", pair.mine.read, 1)
    raises(WantRead, "read_into() when all was read", pair.mine.read_into, buffer)


@check()
def back_pressure(bench: Bench, side: Side) -> None:
    """Plaintext that nobody reads makes the engine ask for a pause; reading it ends the pause."""
    pair = bench.connected(side)
    block = bytes(64 * 1024)
    sent = 0
    while pair.mine.wants_input and sent < 64:
        pair.other.write(block)
        transfer(pair.other, pair.mine)
        sent += 1
    must(sent < 64, "wants_input: four mebibytes that nobody reads, and the engine still wants more")
    must(pair.mine.pending == sent * len(block), "pending: everything that arrived")
    pair.mine.read()
    must(pair.mine.wants_input, "wants_input after reading")


@check()
def given_up(bench: Bench, side: Side) -> None:
    """shutdown() in the middle of a handshake gives it up."""
    pair = bench.pair(side)
    if side == "server":
        raises(WantRead, "the client's first step", pair.other.do_handshake)
        transfer(pair.other, pair.mine)
    raises(WantRead, "the first step", pair.mine.do_handshake)
    transfer(pair.mine, pair.other)
    pair.mine.shutdown()
    raises(MisuseError, "do_handshake() after shutdown()", pair.mine.do_handshake)
    transfer(pair.mine, pair.other)
    pair.other.process_eof()
    if side == "client":
        raises(ClosedByPeer, "the server", pair.other.do_handshake)
    else:
        _, seen = pair.fail()
        must(seen is not None or pair.other.close_received, "the client sees no end")
