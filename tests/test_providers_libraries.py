"""Python's ssl and pyOpenSSL under our engine, each for itself: alerts, questions, chains, memory, hellos."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import attrs
import pytest
from loop import transfer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    Fault,
    HookError,
    PeerFault,
    TLSError,
    TruncatedError,
    UnsupportedByProvider,
    WantRead,
)
from tlsprovider.iana import AlertDescription as Alert
from tlsprovider.iana import SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.providers.hello import Offer, verifiable_before_13
from tlsprovider.questions import LATER
from tlsprovider.testing.bench import Bench, Pair, Side
from tlsprovider.trust import TrustStore

LIBRARIES = ("openssl", "stdlib")
HANDSHAKE_RECORD = b"\x16\x03\x03\x00\x05hello"
CLOSED = b"\x15\x03\x03\x00\x02\x01\x00"


def refuse(question: object) -> bool:
    return False


def pair_of(bench: Bench, side: Side, stranger: bool) -> Pair:
    """A handshake in which the provider under test refuses: an unknown issuer, or by the hook."""
    trust = bench.strangers if stranger else bench.trust
    hook: dict[str, Any] = {} if stranger else {"verify_peer": refuse}
    if side == "client":
        return bench.pair(side, bench.client(trust=trust, **hook))
    client = bench.client(identity=bench.client_identity)
    return bench.pair(side, client, bench.server(trust=trust, client_auth="require", **hook))


REFUSED = Fault.CERTIFICATE_REFUSED.alert
UNKNOWN = Alert.unknown_ca


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("stranger", [False, True])
def test_alert_that_the_peer_sees(name: str, side: Side, version: str, stranger: bool) -> None:
    """The table of tlsprovider.providers.gate, and of docs/providers.md."""
    pair = pair_of(Bench(get_provider(name), version), side, stranger)
    mine, other = pair.fail()
    assert isinstance(mine, CertificateFault)
    if (name, side, version, stranger) == ("stdlib", "server", "TLSv1.3", False):
        assert other is None
        pair.other.process_eof()
        with pytest.raises(TruncatedError):
            pair.other.read()
        return
    assert isinstance(other, AlertReceived)
    assert other.alert is (UNKNOWN if stranger else REFUSED)


MARK = b"\x14\x03\x03\x00\x01\x01"


@pytest.mark.parametrize("retried", [False, True])
def test_protection_of_a_clients_alert(retried: bool) -> None:
    """Section 6: under the keys of the moment. Appendix E.4: one mark before the second flight, whichever that is."""
    bench = Bench(get_provider("openssl"))
    server = bench.server(groups=["secp384r1"] if retried else ["x25519"])
    pair = bench.pair("client", bench.client(trust=bench.strangers), server)
    with pytest.raises(CertificateFault):
        pair.pump()
    alert = pair.mine.process_outgoing()
    assert alert.startswith(MARK) is not retried
    alert = alert.removeprefix(MARK)
    assert alert[0] == 23 and len(alert) == 5 + 2 + 1 + 16
    pair.other.process_incoming(alert)
    with pytest.raises(AlertReceived, match="unknown_ca"):
        pair.other.do_handshake()


def test_a_clients_alert_without_keys() -> None:
    pair = pair_of(Bench(get_provider("stdlib")), "client", True)
    with pytest.raises(CertificateFault):
        pair.pump()
    assert pair.mine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((UNKNOWN,))


@pytest.mark.parametrize("name", LIBRARIES)
def test_given_up_while_a_question_is_open(name: str) -> None:
    """user_canceled and close_notify in the protection of the moment."""
    bench = Bench(get_provider(name))
    pair = bench.pair("client", bench.client(verify_peer=lambda question: LATER))
    with pytest.raises(Exception, match="VerifyPeer"):
        pair.pump()
    pair.mine.shutdown()
    transfer(pair.mine, pair.other)
    with pytest.raises(TLSError, match="the peer closed the connection during the handshake"):
        pair.other.do_handshake()


@pytest.mark.parametrize("name", LIBRARIES)
class TestAnswersOfHooks:
    """A hook may answer what this provider can't do: that fails, and says why."""

    def fails(self, name: str, **fields: Any) -> tuple[HookError, TLSError | None]:
        bench = Bench(get_provider(name))
        pair = bench.pair("server", server=bench.server(**fields))
        mine, other = pair.fail()
        assert isinstance(mine, HookError)
        assert isinstance(mine.__cause__, UnsupportedByProvider)
        return mine, other

    def test_configuration(self, name: str, server_config: ServerConfig) -> None:
        answer = attrs.evolve(server_config, entropy=bytes)
        mine, other = self.fails(name, on_client_hello=lambda question: answer)
        assert "the answer of a hook is of no use to this provider" in str(mine)
        assert "entropy" in str(mine)
        assert isinstance(other, AlertReceived)
        assert other.alert is Alert.internal_error

    def test_identity(self, name: str, server_identity: Identity) -> None:
        answer = Identity.with_signer(server_identity.certificates, server_identity.sign)
        mine, _ = self.fails(name, choose_identity=lambda question: answer)
        assert "an identity whose key lives elsewhere" in str(mine)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("name", LIBRARIES)
def test_chains_with_intermediates(name: str, version: str, authority: Authority, trust: TrustStore) -> None:
    """Both libraries tell the whole chain, leaf first, on both sides."""
    issued = authority.issue("localhost", intermediates=2)
    person = authority.issue("alice", client=True, intermediates=1)
    server = Identity.from_crypto(issued.certificates, issued.private_key)
    client = Identity.from_crypto(person.certificates, person.private_key)
    bench = Bench(get_provider(name), version)
    for side in ("client", "server"):
        pair = bench.connected(
            side,  # type: ignore[arg-type]
            bench.client(trust=trust, identity=client),
            bench.server(identities=[server], trust=trust, client_auth="require"),
        )
        # stdlib's OpenSSL completes its own chain with the root that it knows.
        assert pair.client.peer_certificates[:3] == server.certificates
        assert pair.server.peer_certificates[:2] == client.certificates
        assert len(pair.client.verified_chain) == 4
        assert len(pair.server.verified_chain) == 3


@pytest.mark.parametrize("name", LIBRARIES)
class TestMemory:
    def test_one_context_for_all_connections(self, name: str, client_config: ClientConfig) -> None:
        provider: Any = get_provider(name)
        config = attrs.evolve(client_config)
        provider.client_engine(config, "localhost")
        context = provider.contexts.of(config, None)
        provider.client_engine(config, "example.com")
        assert provider.contexts.of(config, None) is context
        assert provider.contexts.of(attrs.evolve(client_config), None) is not context

    def test_one_context_for_each_identity(
        self, name: str, server_config: ServerConfig, client_identity: Identity
    ) -> None:
        provider: Any = get_provider(name)
        [identity] = server_config.identities
        context = provider.contexts.of(server_config, identity)
        assert provider.contexts.of(server_config, identity) is context
        assert provider.contexts.of(server_config, client_identity) is not context

    def test_contexts_go_with_the_configuration(self, name: str, server_config: ServerConfig) -> None:
        provider: Any = get_provider(name)
        config = attrs.evolve(server_config, alpn=["h2"], keylog=print if name == "openssl" else None)
        provider.server_engine(config)
        gc.collect()  # what earlier tests left behind is not to be counted
        kept = len(provider.contexts._made)
        gone = weakref.ref(config)
        del config
        gc.collect()
        assert gone() is None
        assert len(provider.contexts._made) == kept - 1

    def test_contexts_go_with_the_identity(self, name: str, authority: Authority, server_config: ServerConfig) -> None:
        """Certificates that a hook makes for each connection don't pile up."""
        provider: Any = get_provider(name)
        issued = authority.issue("localhost")
        identity = Identity.from_crypto(issued.certificates, issued.private_key)
        provider.contexts.of(server_config, identity)
        gone = weakref.ref(identity)
        del identity
        assert gone() is None

    @pytest.mark.parametrize("fails", [False, True])
    def test_nothing_refers_to_a_connection_that_is_over(self, name: str, fails: bool) -> None:
        """Without the garbage collector: no cycle holds on to keys and buffers."""
        bench = Bench(get_provider(name))
        client = bench.client(trust=bench.strangers) if fails else None
        gc.disable()
        try:
            for side in ("client", "server"):
                pair = bench.pair(side, client)  # type: ignore[arg-type]
                pair.fail() if fails else pair.pump()
                gone = weakref.ref(pair.mine)
                del pair
                assert gone() is None
        finally:
            gc.enable()

    def test_secrets_are_forgotten(self, name: str) -> None:
        bench = Bench(get_provider(name))
        for side in ("client", "server"):
            pair = bench.connected(side)  # type: ignore[arg-type]
            library: Any = pair.mine._passed.library  # type: ignore[attr-defined]
            assert library.alert_secret() is None


class TestClientHello:
    """What is read in front of the library."""

    def offer(self, version: str = "TLSv1.3", **fields: Any) -> Offer:
        bench = Bench(get_provider("openssl"), version)
        engine = bench.engine("client", bench.client(**fields))
        with pytest.raises(WantRead):
            engine.do_handshake()
        return Offer.read(engine.process_outgoing()[5:])

    def test_tls_13(self) -> None:
        offer = self.offer(alpn=["h2"])
        assert [str(version) for version in offer.versions] == ["TLSv1.3"]
        assert (offer.server_name, offer.alpn) == ("localhost", ("h2",))
        assert len(offer.random) == 32 and offer.random in offer.raw

    def test_tls_12_has_no_list_of_versions(self) -> None:
        offer = self.offer("TLSv1.2")
        assert [str(version) for version in offer.versions] == ["TLSv1.2"]
        assert offer.question(None).versions == offer.versions

    def test_both(self) -> None:
        offer = self.offer(min_version="TLSv1.2", max_version="TLSv1.3")
        assert [str(version) for version in offer.versions] == ["TLSv1.3", "TLSv1.2"]

    @pytest.mark.parametrize("name", LIBRARIES)
    @pytest.mark.parametrize(("client", "server"), [("TLSv1.2", "TLSv1.3"), ("TLSv1.3", "TLSv1.2")])
    def test_no_common_version(self, name: str, client: str, server: str) -> None:
        bench = Bench(get_provider(name), client)
        allowed = bench.server(min_version=server, max_version=server)
        mine, other = bench.pair("server", server=allowed).fail()
        assert isinstance(mine, PeerFault)
        assert mine.fault is Fault.NO_COMMON_VERSION
        assert f"the client offers {client}; allowed: {server} to {server}" in str(mine)
        assert isinstance(other, AlertReceived)
        assert other.alert is Alert.protocol_version

    @pytest.mark.parametrize(
        ("offered", "able"),
        [
            ((), {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "rsa_pss_rsae_sha256"}),
            ((SignatureScheme.rsa_pkcs1_sha256,), {"rsa_pss_rsae_sha256"}),
            ((SignatureScheme.ecdsa_secp256r1_sha256,), {"ecdsa_secp521r1_sha512"}),
            ((SignatureScheme.rsa_pss_rsae_sha256,), set()),
            ((SignatureScheme.ecdsa_sha1, SignatureScheme.rsa_pkcs1_sha1), set()),
        ],
    )
    def test_schemes_of_tls_12(self, offered: tuple[int, ...], able: set[str]) -> None:
        found = verifiable_before_13(offered)
        added = {scheme.name for scheme in map(SignatureScheme, found[len(offered) :])}
        assert able <= added if able else not added
        assert found[: len(offered)] == offered
