"""The gate in front of a TLS library: what is held back, what leaves, and which alert goes out when it says no."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Sequence
from typing import Any

import attrs
import pytest
from loop import transfer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.certificates import certificate_der
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
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.gate import ClientGate, ServerGate, next_record
from tlsprovider.providers.hello import Offer, verifiable_before_13
from tlsprovider.providers.library import LibraryError, LibrarySilent, peer_fault
from tlsprovider.questions import LATER
from tlsprovider.testing.bench import Bench, Pair, Side
from tlsprovider.trust import TrustStore

LIBRARIES = ("openssl", "stdlib")
HANDSHAKE_RECORD = b"\x16\x03\x03\x00\x05hello"
CLOSED = b"\x15\x03\x03\x00\x02\x01\x00"


class Script:
    """A library that does what it is told: each call of ``handshake`` takes the next step."""

    session_reused = False
    group = alpn = None

    def __init__(self, *steps: object, chain: Sequence[bytes] = (), verifies: bool = False) -> None:
        self.steps = list(steps)
        self.chain = chain
        self.verifies = verifies
        self.version, self.cipher = "TLSv1.3", "TLS_AES_128_GCM_SHA256"
        self.fed: list[bytes] = []
        self.plaintext: list[object] = []
        self.out = b""
        self.released = False

    def feed(self, record: bytes | memoryview) -> None:
        self.fed.append(bytes(record))

    def handshake(self) -> bool:
        step = self.steps.pop(0) if self.steps else False
        if isinstance(step, tuple):
            self.out, step = step
        if isinstance(step, Exception):
            raise step
        return bool(step)

    def outgoing(self) -> bytes:
        data, self.out = self.out, b""
        return data

    def read(self) -> bytes:
        found = self.plaintext.pop(0) if self.plaintext else LibrarySilent()
        if isinstance(found, Exception):
            raise found
        assert isinstance(found, bytes)
        return found

    def write(self, data: memoryview) -> None:
        self.out += bytes(data)

    def close(self) -> None:
        self.out += CLOSED

    def peer_certificates(self) -> Sequence[bytes]:
        return self.chain

    def verified_chain(self) -> Sequence[bytes]:
        return self.chain if self.verifies else ()

    def stapled(self) -> tuple[None, tuple[()]]:
        return None, ()

    def alert_secret(self) -> None:
        return None

    def release_secrets(self) -> None:
        self.released = True

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        return bytes(length)


def client_around(script: Script, config: ClientConfig) -> LibraryEngine:
    return LibraryEngine(ClientGate(config, lambda *_: script, "localhost"), "scripted", lambda feature: True)


def server_around(script: Script, config: ServerConfig) -> LibraryEngine:
    return LibraryEngine(ServerGate(config, lambda *_: script, None), "scripted", lambda feature: True)


@pytest.fixture(scope="session")
def shown(server_identity: Identity) -> list[bytes]:
    return [certificate_der(one) for one in server_identity.certificates]


class TestClientGate:
    def test_the_last_flight_waits_for_the_judgement(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script((b"hello", False), (b"finished", True))
        engine = client_around(script, attrs.evolve(client_config, verify_peer=lambda question: LATER))
        with pytest.raises(WantRead):
            engine.do_handshake()
        script.chain = shown
        assert engine.process_outgoing() == b"hello"
        with pytest.raises(Exception, match="VerifyPeer") as waiting:
            engine.do_handshake()
        assert engine.process_outgoing() == b""
        waiting.value.question.answer(True)  # type: ignore[attr-defined]
        engine.do_handshake()
        assert engine.process_outgoing() == b"finished"
        assert script.released

    @pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
    def test_a_refused_peer_gets_an_alert_in_place_of_the_flight(
        self, client_config: ClientConfig, shown: list[bytes], version: str
    ) -> None:
        """In TLS 1.2 the flight comes before the end, with the certificate known."""
        script = Script((b"hello", False), (b"finished", version == "TLSv1.3"))
        engine = client_around(script, attrs.evolve(client_config, verify_peer=lambda question: False))
        with pytest.raises(WantRead):
            engine.do_handshake()
        script.chain = shown
        engine.process_outgoing()
        with pytest.raises(CertificateFault):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Fault.CERTIFICATE_REFUSED.alert,))

    def test_a_refusal_of_the_library_drops_what_it_made(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        """As when it verifies behind its own handshake."""
        refusal = CertificateFault("not in the mood", Fault.CERTIFICATE_EXPIRED)
        engine = client_around(Script((b"finished", refusal), chain=shown, verifies=True), client_config)
        with pytest.raises(CertificateFault, match="not in the mood"):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Alert.certificate_expired,))

    def test_no_certificate_at_all(self, client_config: ClientConfig) -> None:
        """Even where none is verified: TLS knows no server without."""
        config = attrs.evolve(client_config, insecure_skip_verify=True)
        engine = client_around(Script((b"finished", True)), config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is Fault.EMPTY_CERTIFICATE
        assert engine.process_outgoing()[-1:] == bytes((Alert.decode_error,))

    def test_a_long_chain(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        engine = client_around(Script(True, chain=shown * 11), client_config)
        with pytest.raises(PeerFault, match="11 certificates, at most 10"):
            engine.do_handshake()

    def test_a_certificate_that_is_none(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(True, chain=[b"nonsense"]), client_config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is Fault.CERTIFICATE_UNPARSABLE

    @pytest.mark.parametrize(
        ("agreed", "fault"),
        [
            ({"version": "TLSv1.2"}, Fault.NO_COMMON_VERSION),
            ({"cipher": "TLS_AES_256_GCM_SHA384"}, Fault.SUITE_NOT_OFFERED),
            ({"alpn": "spdy/1"}, Fault.ALPN_NOT_OFFERED),
        ],
    )
    def test_what_the_library_agreed_to_is_checked(
        self, client_config: ClientConfig, shown: list[bytes], agreed: dict[str, str], fault: Fault
    ) -> None:
        script = Script((b"finished", True), chain=shown)
        for name, value in agreed.items():
            setattr(script, name, value)
        config = attrs.evolve(client_config, cipher_suites=["TLS_AES_128_GCM_SHA256"], alpn=["h2"])
        engine = client_around(script, config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.fault is fault
        assert b"finished" not in engine.process_outgoing()

    @pytest.mark.parametrize("asked", [False, True])
    def test_whether_our_certificate_was_shown(
        self, client_config: ClientConfig, client_identity: Identity, shown: list[bytes], asked: bool
    ) -> None:
        flight = b"".join(client_identity.chain_der) + bytes(200) if asked else bytes(150)
        config = attrs.evolve(client_config, identity=client_identity)
        engine = client_around(Script((flight, True), chain=shown), config)
        engine.do_handshake()
        assert engine.local_certificates == (client_identity.certificates if asked else ())

    def test_the_librarys_own_alert_goes_out_alone(self, client_config: ClientConfig) -> None:
        fault = peer_fault(Alert.illegal_parameter, "odd")
        engine = client_around(Script((b"its alert", fault)), client_config)
        with pytest.raises(PeerFault) as caught:
            engine.do_handshake()
        assert caught.value.alert is Alert.illegal_parameter
        assert engine.process_outgoing() == b"its alert"

    def test_a_library_that_fails_by_itself(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(LibraryError("out of luck")), client_config)
        with pytest.raises(LibraryError, match="out of luck"):
            engine.do_handshake()
        assert engine.process_outgoing() == b"\x15\x03\x03\x00\x02\x02" + bytes((Alert.internal_error,))

    def test_a_mistake_of_the_binding(self, client_config: ClientConfig) -> None:
        engine = client_around(Script(ZeroDivisionError("oops")), client_config)
        with pytest.raises(LibraryError, match="an internal error: ZeroDivisionError: oops") as caught:
            engine.do_handshake()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert engine.state == "failed"


class TestRecords:
    def test_one_at_a_time(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script(False, False, False, True, chain=shown)
        engine = client_around(script, client_config)
        engine.process_incoming(HANDSHAKE_RECORD * 4 + b"\x17\x03")
        engine.do_handshake()
        # Three for the handshake, the fourth behind it, and the beginning of a fifth is kept.
        assert script.fed == [HANDSHAKE_RECORD] * 4
        script.plaintext = [b"data"]
        engine.process_incoming(b"\x03\x00\x01x")
        assert script.fed[4:] == [b"\x17\x03\x03\x00\x01x"]
        assert engine.read() == b"data"

    @pytest.mark.parametrize(
        ("data", "end"),
        [
            (b"", 0),
            (b"\x16", 0),
            (b"\x16\x03\x03\x00", 0),
            (b"\x16\x03\x03\x00\x00", 5),
            (b"\x17\x03\x03\x00\x02a", 0),
            (b"\x17\x03\x03\x00\x02ab", 7),
            (b"\x17\x03\x03\x00\x02abc", 7),
            (b"G", 1),
            (b"GET", 3),
            (b"GET / HTTP/1.1", 5),
            (b"\x17\x02\x03\x00\x02ab", 5),
            (b"\x17\x03\x03\x48\x00", 0),
            (b"\x17\x03\x03\x48\x01", 5),
        ],
    )
    def test_where_a_record_ends(self, data: bytes, end: int) -> None:
        assert next_record(bytearray(b"before" + data), 6) == (end + 6 if end else 0)

    @pytest.mark.parametrize(
        ("header", "fault"),
        [
            (b"\x63\x03\x03\x00\x00", Fault.PLAINTEXT_RECORD_TYPE),
            (b"\x17\x02\x03\x00\x00", Fault.RECORD_VERSION),
            (b"\x17\x03\x03\xff\xff", Fault.RECORD_OVERFLOW),
        ],
    )
    @pytest.mark.parametrize("complete", [False, True])
    def test_a_library_that_lets_the_impossible_pass(
        self, client_config: ClientConfig, shown: list[bytes], header: bytes, fault: Fault, complete: bool
    ) -> None:
        engine = client_around(Script(complete, chain=shown), client_config)
        if complete:
            engine.do_handshake()
        engine.process_incoming(header)
        with pytest.raises(PeerFault) as caught:
            engine.read() if complete else engine.do_handshake()
        assert caught.value.fault is fault

    def test_what_follows_close_notify_never_enters_the_library(
        self, client_config: ClientConfig, shown: list[bytes]
    ) -> None:
        script = Script(True, chain=shown)
        engine = client_around(script, client_config)
        engine.do_handshake()
        script.plaintext = [b"data", b""]
        engine.process_incoming(HANDSHAKE_RECORD * 3)
        engine.process_incoming(b"plain")
        assert len(script.fed) == 2
        assert (engine.read(), engine.read(), engine.read()) == (b"data", b"", b"")
        assert engine.trailing_bytes() == HANDSHAKE_RECORD + b"plain"

    def test_what_came_before_a_failure_is_read_first(self, client_config: ClientConfig, shown: list[bytes]) -> None:
        script = Script(True, chain=shown)
        engine = client_around(script, client_config)
        engine.do_handshake()
        script.plaintext = [b"data", peer_fault(Alert.bad_record_mac, "forged")]
        script.out = b"its alert"
        engine.process_incoming(HANDSHAKE_RECORD * 3)
        assert engine.read() == b"data"
        with pytest.raises(PeerFault, match="forged"):
            engine.read()
        assert engine.process_outgoing() == b"its alert"
        with pytest.raises(PeerFault, match="forged"):
            engine.write(b"x")


class TestPeerFault:
    def test_by_alert(self) -> None:
        assert peer_fault(Alert.no_application_protocol, "x").fault is Fault.NO_COMMON_ALPN
        assert peer_fault(Alert.illegal_parameter, "x").fault is Fault.DECODE_ERROR
        assert peer_fault(None, "x").alert is Fault.DECODE_ERROR.alert

    def test_the_alert_is_what_was_sent(self) -> None:
        problem = peer_fault(Alert.handshake_failure, "x", Fault.CERTIFICATE_REQUIRED)
        assert (problem.fault, problem.alert) == (Fault.CERTIFICATE_REQUIRED, Alert.handshake_failure)
        assert problem.afresh().alert is Alert.handshake_failure


# -- with the libraries themselves -----------------------------------------------------------------------------------


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
