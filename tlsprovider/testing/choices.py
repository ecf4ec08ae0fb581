"""The fields of a configuration: each has an effect that the partner can see, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tlsprovider.config import DEFAULT_CIPHER_SUITES, DEFAULT_GROUPS, ClientConfig, ServerConfig
from tlsprovider.crypto.authority import KeyType
from tlsprovider.crypto.tickets import TicketKeyRing
from tlsprovider.errors import AlertReceived, Fault, HookError, PeerFault, UnsupportedByProvider, WantRead
from tlsprovider.events import Event
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.psk import ExternalPsk
from tlsprovider.questions import LATER
from tlsprovider.session import MemorySessions
from tlsprovider.testing.bench import NAME, Bench, Side, equal, make_identity, must, raises
from tlsprovider.testing.checks import check
from tlsprovider.trust import TrustStore

SUITES = tuple(map(str, DEFAULT_CIPHER_SUITES))

Asking = Callable[[Bench], ClientConfig | ServerConfig]


def _external(bench: Bench) -> Identity:
    identity = bench.server_identity
    return Identity.with_signer(identity.certificates, identity.sign)


# For each feature that a configuration can ask for, one that does. A provider without the feature has to refuse it.
ASKING: Final[dict[str, Asking]] = {
    "TLSv1.3": lambda bench: bench.client(min_version="TLSv1.3", max_version="TLSv1.3"),
    "TLSv1.2": lambda bench: bench.client(min_version="TLSv1.2", max_version="TLSv1.2"),
    "ClientHelloReceived": lambda bench: bench.server(on_client_hello=lambda question: LATER),
    "ChooseIdentity": lambda bench: bench.server(choose_identity=lambda question: LATER),
    "ChooseIdentity.client": lambda bench: bench.client(choose_identity=lambda question: LATER),
    "SignHandshake": lambda bench: bench.server(identities=[_external(bench)]),
    "VerifyPeer": lambda bench: bench.client(verify_peer=lambda question: True),
    "alpn": lambda bench: bench.server(alpn=["h2"]),
    "alpn.binary": lambda bench: bench.client(alpn=["\xfa\xfa"]),
    "groups": lambda bench: bench.client(groups=["secp384r1", "secp256r1"]),
    "key_shares": lambda bench: bench.client(key_shares=DEFAULT_GROUPS[1:2]),
    "cipher_suites": lambda bench: bench.client(cipher_suites=SUITES[:0:-1]),
    "signature_schemes": lambda bench: bench.server(signature_schemes=["ed25519", "ecdsa_secp256r1_sha256"]),
    "client_auth": lambda bench: bench.server(client_auth="request", trust=bench.trust),
    "client_auth.clock": lambda bench: bench.server(client_auth="require", trust=bench.trust, clock=lambda: 1e9),
    "client_auth.pinned": lambda bench: bench.server(client_auth="require", trust=TrustStore.pinned(bytes(32))),
    "client_auth.unverified": lambda bench: bench.server(client_auth="require", insecure_skip_verify=True),
    "identity.rsa_pss": lambda bench: bench.server(identities=[make_identity(NAME, key="rsa_pss")]),
    "identity.mldsa": lambda bench: bench.server(identities=[make_identity(NAME, key="mldsa44")]),
    "clock": lambda bench: bench.client(clock=lambda: 1e9),
    "entropy": lambda bench: bench.client(entropy=bytes),
    "keylog": lambda bench: bench.server(keylog=lambda line: None),
    "on_event": lambda bench: bench.client(on_event=lambda event: None),
    "sessions": lambda bench: bench.client(sessions=MemorySessions()),
    "FindSession": lambda bench: bench.server(find_session=lambda question: None),
    "psks": lambda bench: bench.client(psks=[ExternalPsk(identity=b"key", secret=bytes(32))]),
    "early_data": lambda bench: bench.server(max_early_data=1000),
    "tickets": lambda bench: bench.server(tickets=TicketKeyRing()),
}


@check(sides=False)
def refusals(bench: Bench) -> None:
    """What supports() denies is refused when the engine is made, and what it affirms is not."""
    bench = Bench(bench.provider)
    for feature, asking in ASKING.items():
        config = asking(bench)
        side: Side = "client" if isinstance(config, ClientConfig) else "server"
        if bench.supports(feature):
            bench.engine(side, config)
            continue
        what = f"a configuration that asks for {feature}"
        refusal = raises(UnsupportedByProvider, what, bench.engine, side, config)
        equal(refusal.provider, bench.provider.name, f"{feature}: the provider that the refusal names")
        must(refusal.feature, f"{feature}: the refusal doesn't say what is refused")


@check("alpn")
def alpn(bench: Bench, side: Side) -> None:
    """The server's order decides; a protocol that only one side speaks of is none."""
    pair = bench.connected(side, bench.client(alpn=["http/1.1", "h2", "x"]), bench.server(alpn=["h2", "http/1.1"]))
    equal((pair.mine.alpn, pair.other.alpn), ("h2", "h2"), "alpn")
    for client, server in ((["h2"], []), ([], ["h2"])):
        pair = bench.connected(side, bench.client(alpn=client), bench.server(alpn=server))
        equal((pair.mine.alpn, pair.other.alpn), (None, None), "alpn where one side has none")


@check("alpn.binary")
def alpn_binary(bench: Bench, side: Side) -> None:
    """The names of protocols are bytes: RFC 7301 section 3.1. RFC 8701 has some that are no text."""
    odd = "\xfa\xfa"
    pair = bench.connected(side, bench.client(alpn=[odd]), bench.server(alpn=[odd]))
    equal((pair.mine.alpn, pair.other.alpn), (odd, odd), "alpn outside ASCII")


@check("alpn")
def no_common_alpn(bench: Bench, side: Side) -> None:
    """RFC 7301 section 3.2: no overlap is no_application_protocol."""
    mine, other = bench.pair(side, bench.client(alpn=["h2"]), bench.server(alpn=["http/1.1"])).fail()
    at_server, at_client = (mine, other) if side == "server" else (other, mine)
    must(isinstance(at_server, PeerFault) and at_server.fault is Fault.NO_COMMON_ALPN, f"at the server: {at_server!r}")
    must(
        isinstance(at_client, AlertReceived) and at_client.alert is AlertDescription.no_application_protocol,
        f"at the client: {at_client!r}",
    )


@check("cipher_suites")
def cipher_suites(bench: Bench, side: Side) -> None:
    """Each suite by itself, the server's order, and no common one."""
    if bench.version == "TLSv1.3":
        for suite in filter(bench.supports, SUITES):
            pair = bench.connected(side, *_with(bench, side, cipher_suites=[suite]))
            equal((pair.mine.cipher, pair.other.cipher), (suite, suite), "cipher")
        pair = bench.connected(side, bench.client(cipher_suites=SUITES), bench.server(cipher_suites=SUITES[::-1]))
        equal(pair.mine.cipher, SUITES[-1], "cipher by the server's order")
    pair = bench.pair(side, bench.client(cipher_suites=SUITES[:1]), bench.server(cipher_suites=SUITES[1:2]))
    mine, other = pair.fail()
    at_server, at_client = (mine, other) if side == "server" else (other, mine)
    must(isinstance(at_server, PeerFault) and at_server.fault is Fault.NO_COMMON_SUITE, f"at the server: {at_server!r}")
    must(isinstance(at_client, AlertReceived), f"at the client: {at_client!r}")


def _with(bench: Bench, side: Side, **fields: Any) -> tuple[ClientConfig, ServerConfig]:
    """The fields for one side; the other has the defaults."""
    return (
        bench.client(**(fields if side == "client" else {})),
        bench.server(**(fields if side == "server" else {})),
    )


@check("groups", "group")
def groups(bench: Bench, side: Side) -> None:
    """Each group by itself, and one that the client has sent no share for."""
    for group in filter(bench.supports, map(str, DEFAULT_GROUPS)):
        pair = bench.connected(side, *_with(bench, side, groups=[group]))
        equal((pair.mine.group, pair.other.group), (group, group), "group")
    if bench.supports("key_shares"):
        client = bench.client(groups=["x25519", "secp256r1"], key_shares=["x25519"])
        pair = bench.connected(side, client, bench.server(groups=["secp256r1"]))
        equal(pair.mine.group, "secp256r1", "group after HelloRetryRequest")


@check()
def default_groups(bench: Bench, side: Side) -> None:
    """Every group that supports() names can be negotiated, also where it takes a HelloRetryRequest."""
    if bench.version != "TLSv1.3":
        return
    for group in filter(bench.supports, map(str, DEFAULT_GROUPS)):
        client, server = bench.client(), bench.server()
        if side == "client":
            server = bench.server(groups=[group])
        else:
            client = bench.client(groups=[group])
        equal(bench.connected(side, client, server).other.group, group, "group")


@check()
def certificate_keys(bench: Bench, side: Side) -> None:
    """Every kind of key that a server may have: shown, if it is ours, or verified."""
    kinds: dict[str, KeyType] = {
        "ecdsa_secp256r1_sha256": "p256",
        "ecdsa_secp384r1_sha384": "p384",
        "ecdsa_secp521r1_sha512": "p521",
        "ed25519": "ed25519",
        "ed448": "ed448",
        "rsa_pss_rsae_sha256": "rsa2048",
        "rsa_pss_pss_sha256": "rsa_pss",
        "mldsa44": "mldsa44",
    }
    for scheme, kind in kinds.items():
        needs = {"rsa_pss": "identity.rsa_pss", "mldsa44": "identity.mldsa"}.get(kind, scheme)
        server = bench.provider if side == "server" else bench.partner
        if not bench.supports(scheme) or not server.supports(needs):
            continue
        if kind == "mldsa44" and bench.version != "TLSv1.3":
            continue
        identity = make_identity(NAME, key=kind)
        pair = bench.connected(side, server=bench.server(identities=[identity]))
        equal(pair.client.peer_certificates, identity.certificates, f"{kind}: what the client sees")


@check("signature_schemes", sides=False)
def signature_schemes(bench: Bench) -> None:
    """What a peer may sign with: a server whose key can't do it has nothing to show."""
    client = bench.client(signature_schemes=["ed25519"])
    server = bench.server(identities=[make_identity(NAME), make_identity(NAME, key="ed25519")])
    equal(bench.connected("client", client, server).client.signature_scheme, "ed25519", "signature_scheme")
    _, other = bench.pair("client", client).fail()
    must(isinstance(other, PeerFault) and other.fault is Fault.NO_COMMON_SIGNATURE, f"at the server: {other!r}")


@check(sides=False)
def identities(bench: Bench) -> None:
    """A server with several certificates shows the one that was asked for, and the first to anybody else."""
    names = ("one.example", "two.example", "*.three.example")
    known = [make_identity(name) for name in names]
    server = bench.server(identities=known)
    for name, identity in (("two.example", known[1]), ("a.three.example", known[2]), ("one.example", known[0])):
        pair = bench.connected("server", server=server, name=name)
        equal(pair.client.peer_certificates, identity.certificates, f"{name}: what the client sees")
        equal((pair.server.server_name, pair.server.local_certificates), (name, identity.certificates), name)
    client = bench.client(insecure_skip_verify=True)
    for other_name in ("four.example", None):
        pair = bench.connected("server", client, server, name=other_name)
        equal(pair.client.peer_certificates, known[0].certificates, f"{other_name}: what the client sees")


@check("keylog")
def keylog(bench: Bench, side: Side) -> None:
    """Both sides log the same secrets; a key log that fails ends the connection."""
    mine: list[str] = []
    other: list[str] = []
    logs = (mine, other) if side == "client" else (other, mine)
    bench.connected(side, bench.client(keylog=logs[0].append), bench.server(keylog=logs[1].append))
    must(mine, "the key log is empty")
    equal(sorted(mine), sorted(other), "the lines of both sides")
    for line in mine:
        label, client_random, secret = line.split(" ")
        must(label.isupper() and len(client_random) == 64 and len(secret) >= 64, "a line of the key log")

    def broken(line: str) -> None:
        raise OSError("no space left on device")

    found, _ = bench.pair(side, *_with(bench, side, keylog=broken)).fail()
    must(isinstance(found, HookError) and isinstance(found.__cause__, OSError), f"a key log that fails: {found!r}")


@check("on_event")
def events(bench: Bench, side: Side) -> None:
    """Begin, end and alerts, with the alert's two bytes; a listener that fails ends the connection."""
    seen: list[Event] = []
    pair = bench.connected(side, *_with(bench, side, on_event=seen.append))
    pair.other.shutdown()
    pair.mine.process_incoming(pair.other.process_outgoing())
    pair.mine.shutdown()
    found = [(event.kind, event.name) for event in seen]
    wanted = [
        ("handshake_start", side),
        ("handshake_done", side),
        ("alert_received", "close_notify"),
        ("alert_sent", "close_notify"),
    ]
    equal([one for one in found if one in wanted], wanted, "events")
    equal([event.data for event in seen if event.kind == "alert_received"], [b"\x01\x00"], "the alert's bytes")

    def broken(event: Event) -> None:
        if event.kind == "handshake_start":
            raise LookupError("no listener")

    error, _ = bench.pair(side, *_with(bench, side, on_event=broken)).fail()
    must(isinstance(error, HookError) and isinstance(error.__cause__, LookupError), f"a listener that fails: {error!r}")


@check("on_event")
def alert_events(bench: Bench, side: Side) -> None:
    """Alerts in both directions when something goes wrong."""
    seen: list[Event] = []
    pair = bench.connected(side, *_with(bench, side, on_event=seen.append))
    pair.mine.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
    equal(_alerts(seen, "alert_sent"), ["bad_record_mac"], "alert_sent")
    seen.clear()
    pair = bench.connected(side, *_with(bench, side, on_event=seen.append))
    pair.other.process_incoming(b"\x17\x03\x03\x00\x20" + bytes(32))
    pair.mine.process_incoming(pair.other.process_outgoing())
    equal(_alerts(seen, "alert_received"), ["bad_record_mac"], "alert_received")


def _alerts(seen: list[Event], kind: str) -> list[str]:
    return [event.name for event in seen if event.kind == kind]


@check("on_event.messages")
def message_events(bench: Bench, side: Side) -> None:
    """Each handshake message in both directions."""
    seen: list[Event] = []
    bench.connected(side, *_with(bench, side, on_event=seen.append))
    sent = {event.name for event in seen if event.kind == "message_sent"}
    received = {event.name for event in seen if event.kind == "message_received"}
    ours, theirs = (sent, received) if side == "client" else (received, sent)
    must({"client_hello", "finished"} <= ours, f"the client's messages: {sorted(ours)}")
    must({"server_hello", "certificate", "finished"} <= theirs, f"the server's messages: {sorted(theirs)}")


@check("entropy", sides=False)
def entropy(bench: Bench) -> None:
    """The same randomness makes the same ClientHello."""
    client = bench.client(entropy=lambda count: bytes(range(1, count + 1)), groups=["x25519"])
    hellos = []
    for _ in range(2):
        engine = bench.engine("client", client)
        raises(WantRead, "the first step", engine.do_handshake)
        hellos.append(engine.process_outgoing())
    equal(hellos[0], hellos[1], "the two ClientHellos")


@check("exporter")
def exporter(bench: Bench, side: Side) -> None:
    """Both sides export the same, and something else for another label, context or connection."""
    if bench.version != "TLSv1.3":
        return
    pair = bench.connected(side)
    wanted = pair.other.export_keying_material("EXPERIMENTAL test", b"context", 64)
    equal(pair.mine.export_keying_material("EXPERIMENTAL test", b"context", 64), wanted, "what both sides export")
    others = {
        pair.mine.export_keying_material("EXPERIMENTAL other", b"context", 64),
        pair.mine.export_keying_material("EXPERIMENTAL test", b"", 64),
        bench.connected(side).mine.export_keying_material("EXPERIMENTAL test", b"context", 64),
        wanted,
    }
    equal(len(others), 4, "different exports")
    for label, length in (("", 32), ("x" * 300, 32), ("x", 0), ("x", 1 << 20)):
        raises(
            ValueError, f"{len(label)} characters, {length} bytes", pair.mine.export_keying_material, label, b"", length
        )


@check("tls-exporter")
def channel_binding(bench: Bench, side: Side) -> None:
    """RFC 9266."""
    if bench.version != "TLSv1.3":
        return
    pair = bench.connected(side)
    binding = pair.mine.channel_binding("tls-exporter")
    equal((len(binding), binding), (32, pair.other.channel_binding("tls-exporter")), "tls-exporter")
    raises(ValueError, "tls-unique", pair.mine.channel_binding, "tls-unique")


@check()
def key_update(bench: Bench, side: Side) -> None:
    """Keys change when either side wants it; where the application can't ask for it, it is told so."""
    seen: list[Event] = []
    other: Side = "server" if side == "client" else "client"
    pair = bench.connected(side, *_with(bench, other, on_event=seen.append))
    if bench.version == "TLSv1.3":
        for request in (False, True):
            pair.other.key_update(request)
            equal(pair.send(pair.other, b"new keys"), b"new keys", "after the peer's key update")
            equal(pair.send(pair.mine, b"answer"), b"answer", "the answer")
    if bench.supports("key_update"):
        for request in (False, True):
            seen.clear()
            pair.mine.key_update(request)
            equal(pair.send(pair.mine, b"new keys"), b"new keys", "after our key update")
            must(("key_update", "read") in [(event.kind, event.name) for event in seen], "the peer sees no key update")
            equal(pair.send(pair.other, b"answer"), b"answer", "the answer")
    else:
        raises(UnsupportedByProvider, "key_update()", pair.mine.key_update)
        equal(pair.send(pair.mine, b"the same"), b"the same", "after a key update that was refused")
    if not bench.supports("exporter"):
        raises(UnsupportedByProvider, "exporter", pair.mine.export_keying_material, "EXPERIMENTAL", b"", 32)
    if not bench.supports("tls-exporter"):
        raises(UnsupportedByProvider, "tls-exporter", pair.mine.channel_binding, "tls-exporter")
