"""Whom the provider believes, and what it does when it doesn't: it fails closed, and says so."""

from __future__ import annotations

import time
from typing import Any

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import spki_sha256
from tlsprovider.errors import AlertReceived, CertificateFault, Fault, PeerFault, TLSError
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.identity import Identity
from tlsprovider.testing.bench import NAME, Bench, Pair, Side, equal, make_identity, must, raises
from tlsprovider.testing.checks import check
from tlsprovider.testing.ends import stays
from tlsprovider.trust import TrustStore

YEARS = 40 * 365 * 86400.0
CERTIFICATE_ALERTS = frozenset(
    {
        Alert.bad_certificate,
        Alert.unsupported_certificate,
        Alert.certificate_expired,
        Alert.certificate_unknown,
        Alert.unknown_ca,
    }
)


def refused(pair: Pair, fault: Fault, what: str) -> None:
    """The provider under test refuses the peer's certificate for this reason, and nothing goes on."""
    mine, other = pair.fail()
    must(isinstance(mine, CertificateFault), f"{what}: expected a CertificateFault, got {mine!r}")
    assert isinstance(mine, CertificateFault)
    equal(mine.fault, fault, what)
    must(mine.detail, f"{what}: the error says nothing")
    must(not pair.mine.handshake_complete, f"{what}: the handshake is complete")
    raises(TLSError, f"{what}: write()", pair.mine.write, b"secret")
    stays(pair.mine, mine)
    if pair.side == "client":
        must(not pair.other.handshake_complete, f"{what}: the server has completed the handshake")
    if isinstance(other, AlertReceived):
        must(other.alert in CERTIFICATE_ALERTS, f"{what}: the peer sees the alert {other.alert}")
    elif pair.side == "client":
        must(False, f"{what}: the server sees no alert but {other!r}")


@check(sides=False)
def wrong_name(bench: Bench) -> None:
    """A certificate for somebody else."""
    refused(bench.pair("client", name="example.com"), Fault.CERTIFICATE_NAME, "another name")
    refused(bench.pair("client", name="127.0.0.2"), Fault.CERTIFICATE_NAME, "another address")


@check(sides=False)
def unknown_issuer(bench: Bench) -> None:
    """A certificate of an authority that isn't trusted."""
    server = bench.server(identities=[make_identity(NAME, stranger=True)])
    refused(bench.pair("client", server=server), Fault.CERTIFICATE_UNKNOWN_ISSUER, "unknown issuer")


@check(sides=False)
def wrong_purpose(bench: Bench) -> None:
    """A certificate for clients, shown by a server."""
    server = bench.server(identities=[make_identity(NAME, client=True)])
    refused(bench.pair("client", server=server), Fault.CERTIFICATE_PURPOSE, "another purpose")


@check("clock", sides=False)
def expired(bench: Bench) -> None:
    """By the configuration's clock, in the past and in the future."""
    for clock in (_in_far_future, _in_far_past):
        client = bench.client(clock=clock)
        refused(bench.pair("client", client), Fault.CERTIFICATE_EXPIRED, "not valid at this time")


def _in_far_future() -> float:
    return time.time() + YEARS


def _in_far_past() -> float:
    return time.time() - YEARS


@check(sides=False)
def pinned_server(bench: Bench) -> None:
    """A pinned key needs no name and no authority; another key is refused."""
    pin = spki_sha256(bench.server_identity.certificates[0])
    pair = bench.connected("client", bench.client(trust=TrustStore.pinned(pin)), name=None)
    equal(len(pair.client.verified_chain), 1, "verified_chain of a pinned key")
    other = bench.client(trust=TrustStore.pinned(bytes(32)))
    refused(bench.pair("client", other, name=None), Fault.CERTIFICATE_UNKNOWN_ISSUER, "another key")


@check(sides=False)
def unverified_server(bench: Bench) -> None:
    """insecure_skip_verify takes anything, and verified_chain says that nothing was verified."""
    server = bench.server(identities=[make_identity("elsewhere.example", stranger=True)])
    pair = bench.connected("client", bench.client(insecure_skip_verify=True), server, name=None)
    equal(len(pair.client.peer_certificates), 1, "peer_certificates")
    equal(pair.client.verified_chain, (), "verified_chain")


# -- clients -------------------------------------------------------------------------------------------------------


def _configs(bench: Bench, identity: Identity | None, **fields: Any) -> tuple[ClientConfig, ServerConfig]:
    return bench.client(identity=identity), bench.server(**{"trust": bench.trust, **fields})


@check("client_auth")
def client_certificate(bench: Bench, side: Side) -> None:
    """A client with a certificate, where one is asked for, and where none is."""
    shown = bench.client_identity.certificates
    for client_auth in ("request", "require"):
        pair = bench.connected(side, *_configs(bench, bench.client_identity, client_auth=client_auth))
        equal(pair.server.peer_certificates, shown, f"{client_auth}: what the server sees")
        must(pair.server.verified_chain, f"{client_auth}: verified_chain")
        equal(pair.client.local_certificates, shown, f"{client_auth}: what the client has shown")
        equal(pair.send(pair.client, b"ping"), b"ping", f"{client_auth}: data")
    pair = bench.connected(side, *_configs(bench, bench.client_identity, client_auth="none"))
    equal(pair.server.peer_certificates, (), "none: what the server sees")
    equal(pair.client.local_certificates, (), "none: what the client has shown")


@check("client_auth")
def no_client_certificate(bench: Bench, side: Side) -> None:
    """A client without a certificate, where one is asked for."""
    pair = bench.connected(side, *_configs(bench, None, client_auth="request"))
    equal((pair.server.peer_certificates, pair.client.local_certificates), ((), ()), "request: certificates")
    pair = bench.pair(side, *_configs(bench, None, client_auth="require"))
    mine, other = pair.fail()
    at_server, at_client = (mine, other) if side == "server" else (other, mine)
    must(
        isinstance(at_server, PeerFault) and at_server.fault is Fault.CERTIFICATE_REQUIRED,
        f"require: the server says {at_server!r}",
    )
    must(isinstance(at_client, AlertReceived), f"require: the client sees {at_client!r}")
    must(not pair.server.handshake_complete, "require: the server's handshake is complete")


@check("client_auth", sides=False)
def refused_client(bench: Bench) -> None:
    """A client whose certificate isn't believed."""
    for identity, fault, what in (
        (make_identity("mallory", client=True, stranger=True), Fault.CERTIFICATE_UNKNOWN_ISSUER, "unknown issuer"),
        (make_identity("server.example"), Fault.CERTIFICATE_PURPOSE, "another purpose"),
    ):
        for client_auth in ("request", "require"):
            pair = bench.pair("server", *_configs(bench, identity, client_auth=client_auth))
            refused(pair, fault, f"{client_auth}: {what}")


@check("client_auth.clock", sides=False)
def expired_client(bench: Bench) -> None:
    """A client's certificate, by the configuration's clock."""
    configs = _configs(bench, bench.client_identity, client_auth="require", clock=_in_far_future)
    refused(bench.pair("server", *configs), Fault.CERTIFICATE_EXPIRED, "not valid at this time")


@check("client_auth.unverified", sides=False)
def unverified_client(bench: Bench) -> None:
    """insecure_skip_verify of a server takes any client's certificate, and still insists on one if that is required."""
    identity = make_identity("mallory", client=True, stranger=True)
    fields = {"client_auth": "require", "insecure_skip_verify": True}
    pair = bench.connected("server", *_configs(bench, identity, **fields))
    equal((len(pair.server.peer_certificates), pair.server.verified_chain), (1, ()), "certificates")
    mine, _ = bench.pair("server", *_configs(bench, None, **fields)).fail()
    must(isinstance(mine, PeerFault) and mine.fault is Fault.CERTIFICATE_REQUIRED, f"no certificate: {mine!r}")


@check("client_auth.pinned", sides=False)
def pinned_client(bench: Bench) -> None:
    """Keys of clients that are pinned."""
    pin = spki_sha256(bench.client_identity.certificates[0])
    fields = {"client_auth": "require", "trust": TrustStore.pinned(pin)}
    pair = bench.connected("server", *_configs(bench, bench.client_identity, **fields))
    equal(len(pair.server.verified_chain), 1, "verified_chain of a pinned key")
    fields["trust"] = TrustStore.pinned(bytes(32))
    pair = bench.pair("server", *_configs(bench, bench.client_identity, **fields))
    refused(pair, Fault.CERTIFICATE_UNKNOWN_ISSUER, "another key")
