"""One row for every wrong that a peer can do: the fault that the engine finds, and the one alert that it sends.

Each test is a script that misbehaves once. ``provokes`` registers it, and the last test insists that no member of
:class:`~tlsprovider.errors.Fault` is without a script, so a fault can't be added, or become unreachable, unnoticed.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import cache

import attrs
import pytest
from certificate_maker import make, san, usage
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from scripted import SUITE, ScriptedClient, ScriptedServer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.crypto.groups import generate
from tlsprovider.crypto.schedule import EarlySecret
from tlsprovider.crypto.suites import SUITES
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.psk import fingerprint, of_session, with_binders
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.psk import ExternalPsk
from tlsprovider.session import Session, SessionKey
from tlsprovider.trust import TrustStore
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, u32, vector8, vector16
from tlsprovider.wire.messages import HELLO_RETRY_RANDOM, encode_message

NATIVE = get_provider("native")
# A record of early data, under keys that no server here has.
EARLY = b"\x17\x03\x03\x04\x00" + bytes(1024)
P256 = SignatureScheme.ecdsa_secp256r1_sha256


@attrs.frozen
class World:
    """What the scripts need: an authority, a server's identity, a client's, and engines to torment."""

    authority: Authority
    server: Identity
    client: Identity

    def against_client(
        self, identity: Identity | None = None, name: str = "localhost", early: bytes = b"", **options: object
    ) -> ScriptedServer:
        trust = TrustStore.from_crypto([self.authority.certificate])
        config = ClientConfig(**{"trust": trust, "groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]} | options)
        engine = NATIVE.client_engine(config, name)
        if early:
            engine.write_early(early)  # type: ignore[attr-defined]
        return ScriptedServer(engine, identity or self.server)

    def against_server(self, identity: Identity | None = None, **options: object) -> ScriptedClient:
        config = ServerConfig(**{"identities": [self.server]} | options)
        return ScriptedClient(NATIVE.server_engine(config), identity)

    def against_asking_server(self, client_auth: str = "require", **options: object) -> ScriptedClient:
        trust = TrustStore.from_crypto([self.authority.certificate])
        script = self.against_server(self.client, client_auth=client_auth, trust=trust, **options)
        script.start()
        script.read_flight(requested=True)
        return script


@cache
def world() -> World:
    authority = Authority("tlsprovider faults")

    def identity(*names: str, **options: object) -> Identity:
        issued = authority.issue(*names, **options)
        return Identity.from_crypto(issued.certificates, issued.private_key)

    return World(authority, identity("localhost"), identity("alice", client=True))


def issue(*names: str, **options: object) -> Identity:
    issued = world().authority.issue(*names, **options)
    return Identity.from_crypto(issued.certificates, issued.private_key)


Scenario = Callable[[World], ScriptedClient | ScriptedServer]
SCENARIOS: list[tuple[Fault, Scenario]] = []


def provokes(fault: Fault) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS.append((fault, scenario))
        return scenario

    return register


# -- records -----------------------------------------------------------------------------------------------------------


@provokes(Fault.NOT_TLS)
def server_answers_in_http(w: World):
    script = w.against_client()
    script.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return script


@provokes(Fault.NOT_TLS)
def client_speaks_http(w: World):
    script = w.against_server()
    script.raw(b"GET / HTTP/1.1\r\n")
    return script


@provokes(Fault.PLAINTEXT_RECORD_TYPE)
def plaintext_handshake_under_keys(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x16\x03\x03\x00\x06\x08\x00\x00\x02\x00\x00")
    return script


@provokes(Fault.PLAINTEXT_RECORD_TYPE)
def plaintext_alert_after_proof_of_keys(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.raw(b"\x15\x03\x03\x00\x02\x02\x28")
    return script


@provokes(Fault.RECORD_VERSION)
def record_of_another_major_version(w: World):
    script = w.against_server()
    script.raw(b"\x16\x02\x00\x00\x04\x01\x00\x00\x00")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def plaintext_record_too_long(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x40\x01")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def ciphertext_record_too_long(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x41\x01")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def inner_plaintext_too_long(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"\0" * (2**14 + 1) + b"\x16"))
    return script


@provokes(Fault.BAD_RECORD_MAC)
def forged_record_in_the_handshake(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    return script


@provokes(Fault.BAD_RECORD_MAC)
def forged_record_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    return script


@provokes(Fault.RECORD_TOO_SHORT)
def record_shorter_than_its_tag(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x00\x0f" + bytes(15))
    return script


@provokes(Fault.NO_INNER_TYPE)
def record_of_nothing_but_padding(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(bytes(40)))
    return script


@provokes(Fault.NO_INNER_TYPE)
def record_of_nothing_at_all(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b""))
    return script


@provokes(Fault.INNER_TYPE)
def change_cipher_spec_inside_protection(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"\x01\x14"))
    return script


@provokes(Fault.INNER_TYPE)
def unknown_type_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"heartbeat\x18"))
    return script


@provokes(Fault.EMPTY_FRAGMENT)
def empty_handshake_record(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x00")
    return script


@provokes(Fault.EMPTY_FRAGMENT)
def empty_alert_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"\x15"))
    return script


@provokes(Fault.TOO_MANY_EMPTY_RECORDS)
def flood_of_empty_records(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"".join(script.protected(b"\x17") for _ in range(17)))
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_with_content(w: World):
    script = w.against_client()
    script.raw(b"\x14\x03\x03\x00\x02\x01\x01")
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def third_change_cipher_spec(w: World):
    script = w.against_client()
    script.raw(b"\x14\x03\x03\x00\x01\x01" * 3)
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_after_finished(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_begins_before_the_key_change(w: World):
    script = w.against_client()
    script.transcript.start(SUITE.hash_name)
    script.send(script.server_hello() + b"\x08\x00", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_finished(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    script.send(script.finished(), b"\x04\x00", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_key_update(w: World):
    script = w.against_client()
    script.connect()
    script.send(b"\x18\x00\x00\x01\x00\x04", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_client_hello(w: World):
    script = w.against_server()
    script.send(script.client_hello() + b"\x0b")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_retry_request(w: World):
    script = w.against_client()
    script.send(script.retry_request() + b"\x02")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_hello_that_is_retried(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello() + b"\x01")
    return script


@provokes(Fault.INTERLEAVED)
def alert_inside_a_message(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x04\x01\x00\x00\x50" + b"\x15\x03\x01\x00\x02\x01\x5a")
    return script


@provokes(Fault.INTERLEAVED)
def change_cipher_spec_inside_a_message(w: World):
    script = w.against_client()
    script.raw(b"\x16\x03\x03\x00\x04\x02\x00\x00\x50" + b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_before_the_client_hello(w: World):
    script = w.against_server()
    script.raw(b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.INTERLEAVED)
def data_inside_a_ticket(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"\x04\x00\x00\x16") + script.protected(b"data\x17"))
    return script


@provokes(Fault.UNEXPECTED_APPLICATION_DATA)
def plaintext_application_data(w: World):
    script = w.against_server()
    script.raw(b"\x17\x03\x03\x00\x02hi")
    return script


@provokes(Fault.UNEXPECTED_APPLICATION_DATA)
def application_data_within_the_handshake(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"hi\x17"))
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_without_end(w: World):
    script = w.against_server()
    script.start(early_data=b"")
    script.read_flight()
    script.raw(EARLY * 17)
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_without_end_before_the_second_hello(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello(early_data=b""))
    script.read_retry_request()
    script.raw(EARLY * 17)
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_of_nothing_without_end(w: World):
    script = w.against_server()
    script.start(early_data=b"")
    script.read_flight()
    script.raw(b"\x17\x03\x03\x00\x00" * 257)
    return script


@provokes(Fault.HELLO_CHANGED)
def early_data_after_retry(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello(early_data=b""))
    script.read_retry_request()
    script.keys = {NamedGroup.secp256r1: generate(NamedGroup.secp256r1)}
    script.send(script.client_hello(early_data=b""))
    return script


# -- handshake messages ------------------------------------------------------------------------------------------------


@provokes(Fault.DECODE_ERROR)
def server_hello_with_a_byte_too_many(w: World):
    script = w.against_client()
    script.send(encode_message(HandshakeType.server_hello, script.server_hello()[4:] + b"!"))
    return script


@provokes(Fault.DECODE_ERROR)
def finished_of_the_wrong_length(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    script.send(encode_message(HandshakeType.finished, bytes(31)))
    return script


@provokes(Fault.DECODE_ERROR)
def server_name_answer_that_is_not_empty(w: World):
    script = w.against_client()
    script.start()
    script.parameters({X.server_name: b"\0"})
    return script


@provokes(Fault.DECODE_ERROR)
def two_alpn_answers(w: World):
    script = w.against_client(alpn=["h2", "http/1.1"])
    script.start()
    script.parameters({X.application_layer_protocol_negotiation: ext.encode_alpn(["h2", "http/1.1"])})
    return script


@provokes(Fault.MESSAGE_TOO_LARGE)
def client_hello_without_measure(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x04\x01\x01\x00\x00")
    return script


@provokes(Fault.MESSAGE_TOO_LARGE)
def certificate_without_measure(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.raw(script.protected(b"\x0b\xff\xff\xff\x16"))
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def finished_before_the_certificate(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.send(script.finished())
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def renegotiation(w: World):
    script = w.against_server()
    script.connect()
    script.send(script.client_hello())
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def ticket_from_a_client(w: World):
    script = w.against_server()
    script.connect()
    script.send(ticket(), note=False)
    return script


# -- extensions --------------------------------------------------------------------------------------------------------


@provokes(Fault.DUPLICATE_EXTENSION)
def extension_twice(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=[(X.padding, b""), (X.padding, b"")]))
    return script


@provokes(Fault.MISPLACED_EXTENSION)
def key_share_in_encrypted_extensions(w: World):
    script = w.against_client()
    script.start()
    script.parameters({X.key_share: b""})
    return script


@provokes(Fault.MISPLACED_EXTENSION)
def alpn_in_server_hello(w: World):
    script = w.against_client(alpn=["h2"])
    script.send(script.server_hello(extra=[(X.application_layer_protocol_negotiation, ext.encode_alpn(["h2"]))]))
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def alpn_that_was_not_offered(w: World):
    script = w.against_client()
    script.start()
    script.parameters({X.application_layer_protocol_negotiation: ext.encode_alpn(["h2"])})
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def unknown_extension_in_an_answer(w: World):
    script = w.against_client()
    script.start()
    script.parameters({0x6A6A: b""})
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def resumption_that_was_not_offered(w: World):
    script = w.against_client()
    script.send(script.server_hello(extra=[(X.pre_shared_key, b"\0\0")]))
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def stapled_answer_that_was_not_asked_for(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    entry = b"\0\0\x01x" + vector16(u16(X.status_request) + vector16(b"\x01\0\0\x01x"))
    script.send(encode_message(HandshakeType.certificate, b"\0" + len(entry).to_bytes(3, "big") + entry))
    return script


@provokes(Fault.PSK_NOT_LAST)
def psk_in_the_middle(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=[(X.pre_shared_key, b""), (X.padding, b"")]))
    return script


@provokes(Fault.PSK_WITHOUT_MODES)
def psk_without_modes(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=[(X.pre_shared_key, b"")]))
    return script


def offer(ticket: bytes, *binders: bytes, age: int = 0) -> tuple[tuple[int, bytes], ...]:
    """A client's offer of one pre-shared key."""
    psks = ext.OfferedPsks(((ticket, age),), binders)
    return (X.psk_key_exchange_modes, ext.encode_psk_modes([1])), (X.pre_shared_key, ext.encode_offered_psks(psks))


def session(under: bytes, now: float, **changes: object) -> Session:
    """One that fits a configuration with this fingerprint."""
    fields = {"secret": bytes(32), "cipher_suite": SUITE.number, "server_name": "localhost", "alpn": None}
    times = {"issued": now, "lifetime": 3600, "authenticated": now}
    return Session(**fields | times | {"fingerprint": under} | changes)  # type: ignore[arg-type]


def ticket_of(script: ScriptedClient, **changes: object) -> bytes:
    """A ticket that the server under test would take."""
    config = script.engine._config  # type: ignore[attr-defined]
    now = config.clock()
    sealed = config.tickets.seal(session(fingerprint(config), now, **changes).to_bytes(), now)
    assert isinstance(sealed, bytes)
    return sealed


@attrs.frozen
class OneSession:
    """A store for clients that always has the same."""

    certificates: tuple[x509.Certificate, ...]
    protocol: str | None = None
    suite: CipherSuite = SUITE.number

    def put(self, key: SessionKey, session: Session) -> None:
        """It has one already."""

    def take(self, key: SessionKey, now: float) -> Session:
        changes = {"cipher_suite": self.suite, "alpn": self.protocol, "max_early_data": 1000}
        return session(key.fingerprint, now, ticket=b"ticket", peer_certificates=self.certificates, **changes)


def resuming(w: World, early: bytes = b"", **options: object) -> ScriptedServer:
    """Against a client that offers a session, and has something to say early."""
    fields = {key: options.pop(key) for key in ("protocol", "suite") if key in options}
    store = OneSession(w.server.certificates, **fields)  # type: ignore[arg-type]
    return w.against_client(sessions=store, early=early, **options)


def early(
    w: World,
    protocol: str | None,
    *,
    suite: CipherSuite = SUITE.number,
    start: bool = True,
    **options: object,
) -> ScriptedServer:
    """A server that takes the session up, and a client that has sent early data with it."""
    script = resuming(w, b"early", protocol=protocol, suite=suite, early_data=True, **options)
    # It is passed over, or read with the next key that there is.
    script.reader.skippable = 1000
    if start:
        script.psk = bytes(32)
        script.start(extra=[(X.pre_shared_key, u16(0))])
        digest = Transcript().digest_with(SUITE.hash_name, script.hello.raw)
        script.reader.change_keys(EarlySecret.of_psk(SUITES[suite], script.psk).client_early_traffic(digest))
        # One record was passed over.
        script.reader._sequence = 1
    return script


@provokes(Fault.PSK_BINDER_COUNT)
def more_binders_than_keys(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=offer(b"ticket", bytes(32), bytes(32))))
    return script


@provokes(Fault.PSK_BINDER)
def stolen_ticket(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=offer(ticket_of(script), bytes(32))))
    return script


@provokes(Fault.PSK_BINDER)
def binder_of_the_wrong_length(w: World):
    script = w.against_server()
    script.send(script.client_hello(extra=offer(ticket_of(script), bytes(48))))
    return script


@provokes(Fault.PSK_SELECTED)
def key_that_was_not_offered(w: World):
    script = resuming(w)
    script.start(extra=[(X.pre_shared_key, u16(1))])
    return script


@provokes(Fault.PSK_SELECTED)
def key_with_another_hash(w: World):
    script = resuming(w)
    script.start(suite=CipherSuite.TLS_AES_256_GCM_SHA384, extra=[(X.pre_shared_key, u16(0))])
    return script


@provokes(Fault.PSK_SELECTED)
def key_without_key_exchange(w: World):
    script = resuming(w)
    script.start(without=[X.key_share], extra=[(X.pre_shared_key, u16(0))])
    return script


@provokes(Fault.UNKNOWN_PSK)
def server_with_nothing_but_keys(w: World):
    key = ExternalPsk(identity=b"known", secret=bytes(32))
    script = ScriptedClient(NATIVE.server_engine(ServerConfig(psks=[key])))
    script.send(script.client_hello(extra=offer(b"unknown", bytes(32))))
    return script


@provokes(Fault.PSK_BINDER)
def name_of_a_key_without_the_key(w: World):
    key = ExternalPsk(identity=b"known", secret=bytes(32))
    script = ScriptedClient(NATIVE.server_engine(ServerConfig(psks=[key])))
    script.send(script.client_hello(extra=offer(b"known", bytes(32))))
    return script


@provokes(Fault.MISSING_EXTENSION)
def key_gone_after_retry(w: World):
    script = w.against_server(groups=["secp256r1"])
    config = script.engine._config  # type: ignore[attr-defined]
    ticket, psk = ticket_of(script), of_session(session(fingerprint(config), config.clock()), b"")
    hello = script.client_hello(extra=offer(ticket, bytes(32)))
    script.send(with_binders(hello, [psk], Transcript()))
    script.read_retry_request()
    script.keys = {NamedGroup.secp256r1: generate(NamedGroup.secp256r1)}
    script.send(script.client_hello(extra=[(X.psk_key_exchange_modes, ext.encode_psk_modes([1]))]))
    return script


@provokes(Fault.EARLY_DATA_MISMATCH)
def early_data_of_another_protocol(w: World):
    """The client offered h2 alone when it sent it; the server says that it goes on without any."""
    script = early(w, "h2", alpn=["h2"])
    script.parameters({X.early_data: b""})
    return script


@provokes(Fault.EARLY_DATA_MISMATCH)
def early_data_under_another_suite(w: World):
    """The session's suite has the same hash, so it could be resumed all the same."""
    script = early(w, None, suite=CipherSuite.TLS_CHACHA20_POLY1305_SHA256)
    script.parameters({X.early_data: b""})
    return script


@provokes(Fault.EARLY_DATA_MISMATCH)
def early_data_without_the_session(w: World):
    script = early(w, None, start=False)
    script.start()
    script.parameters({X.early_data: b""})
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def early_data_that_was_not_sent(w: World):
    script = w.against_client()
    script.start()
    script.parameters({X.early_data: b""})
    return script


@provokes(Fault.DECODE_ERROR)
def early_data_accepted_with_content(w: World):
    script = early(w, None)
    script.parameters({X.early_data: b"yes"})
    return script


@provokes(Fault.UNSOLICITED_EXTENSION)
def key_where_none_was_offered(w: World):
    script = w.against_client()
    script.start(extra=[(X.pre_shared_key, u16(0))])
    return script


@provokes(Fault.MISSING_EXTENSION)
def hello_without_signature_algorithms(w: World):
    script = w.against_server()
    script.send(script.client_hello(signature_algorithms=None))
    return script


@provokes(Fault.MISSING_EXTENSION)
def hello_without_groups(w: World):
    script = w.against_server()
    script.send(script.client_hello(supported_groups=None))
    return script


@provokes(Fault.MISSING_EXTENSION)
def hello_without_key_share(w: World):
    script = w.against_server()
    script.send(script.client_hello(key_share=None))
    return script


@provokes(Fault.MISSING_EXTENSION)
def server_hello_without_key_share(w: World):
    script = w.against_client()
    script.send(script.server_hello(without=[X.key_share]))
    return script


@provokes(Fault.MISSING_EXTENSION)
def request_without_signature_algorithms(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.request({})
    return script


# -- versions ----------------------------------------------------------------------------------------------------------


@provokes(Fault.NO_COMMON_VERSION)
def client_of_tls12(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(block=ext.encode_block([(X.server_name, b"")]))))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def client_from_before_extensions(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(0x0301)))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def client_that_offers_only_the_past(w: World):
    script = w.against_server()
    script.send(script.client_hello(supported_versions=ext.encode_offered_versions([0x0303, 0x6A6A])))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def server_of_tls12(w: World):
    script = w.against_client()
    script.send(script.server_hello(extensions=[], suite=0xC02F))
    return script


@provokes(Fault.LEGACY_VERSION)
def client_hello_with_another_legacy_version(w: World):
    script = w.against_server()
    block = ext.encode_block(script.extensions().items())
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(0x0304, block=block)))
    return script


@provokes(Fault.LEGACY_VERSION)
def server_hello_with_another_legacy_version(w: World):
    script = w.against_client()
    hello = bytearray(script.server_hello())
    hello[5] = 2
    script.send(bytes(hello))
    return script


@provokes(Fault.VERSION_NOT_OFFERED)
def server_selects_tls12_in_the_new_way(w: World):
    script = w.against_client()
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0303))]))
    return script


@provokes(Fault.VERSION_CHANGED)
def version_changes_after_retry(w: World):
    script = w.against_client()
    script.retry()
    script.send(script.server_hello(extensions=[], group=NamedGroup.secp256r1))
    return script


@provokes(Fault.DOWNGRADE)
def server_says_it_was_downgraded(w: World):
    script = w.against_client()
    script.send(script.server_hello(random=bytes(24) + b"DOWNGRD\x01", extensions=[], suite=0xC02F))
    return script


@provokes(Fault.DOWNGRADE)
def server_says_it_was_downgraded_further(w: World):
    script = w.against_client()
    script.send(script.server_hello(random=bytes(24) + b"DOWNGRD\x00", extensions=[], suite=0xC02F))
    return script


# -- hello -------------------------------------------------------------------------------------------------------------


@provokes(Fault.COMPRESSION)
def client_offers_compression(w: World):
    script = w.against_server()
    block = ext.encode_block(script.extensions().items())
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(compression=b"\x02\x01\x00", block=block)))
    return script


@provokes(Fault.COMPRESSION)
def server_selects_compression(w: World):
    script = w.against_client()
    hello = script.server_hello()
    position = 4 + 2 + 32 + 33 + 2
    script.send(hello[:position] + b"\x01" + hello[position + 1 :])
    return script


@provokes(Fault.SESSION_ID_ECHO)
def session_id_not_echoed(w: World):
    script = w.against_client()
    script.send(script.server_hello(session_id=b""))
    return script


@provokes(Fault.SUITE_NOT_OFFERED)
def suite_that_was_not_offered(w: World):
    script = w.against_client(cipher_suites=["TLS_AES_256_GCM_SHA384"])
    script.send(script.server_hello())
    return script


@provokes(Fault.SUITE_NOT_OFFERED)
def suite_that_nobody_knows(w: World):
    script = w.against_client()
    script.send(script.server_hello(suite=0x1337))
    return script


@provokes(Fault.SUITE_CHANGED)
def suite_changes_after_retry(w: World):
    script = w.against_client()
    script.retry()
    script.send(script.server_hello(suite=CipherSuite.TLS_CHACHA20_POLY1305_SHA256, group=NamedGroup.secp256r1))
    return script


@provokes(Fault.NO_COMMON_SUITE)
def no_common_suite(w: World):
    script = w.against_server()
    script.send(script.client_hello(suites=[0x1304, 0xC02F, 0x0A0A]))
    return script


@provokes(Fault.NO_COMMON_GROUP)
def no_common_group(w: World):
    script = w.against_server(groups=["x448"])
    script.send(script.client_hello())
    return script


@provokes(Fault.NO_COMMON_SIGNATURE)
def no_common_signature(w: World):
    script = w.against_server()
    script.send(script.client_hello(signature_algorithms=ext.encode_u16s([SignatureScheme.ed25519])))
    return script


@provokes(Fault.NO_COMMON_SIGNATURE)
def chosen_identity_cannot_sign_for_this_client(w: World):
    script = w.against_server(choose_identity=lambda question: w.server)
    script.send(script.client_hello(signature_algorithms=ext.encode_u16s([SignatureScheme.ed25519])))
    return script


@provokes(Fault.NO_COMMON_ALPN)
def no_common_protocol(w: World):
    script = w.against_server(alpn=["h2"])
    script.send(script.client_hello(application_layer_protocol_negotiation=ext.encode_alpn(["smtp"])))
    return script


@provokes(Fault.ALPN_NOT_OFFERED)
def protocol_that_was_not_offered(w: World):
    script = w.against_client(alpn=["h2"])
    script.start()
    script.parameters({X.application_layer_protocol_negotiation: ext.encode_alpn(["smtp"])})
    return script


@provokes(Fault.UNKNOWN_NAME)
def name_that_is_not_served(w: World):
    script = w.against_server(choose_identity=lambda question: None)
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_REFUSED)
def hello_refused_by_the_application(w: World):
    def refuse(question: object) -> None:
        raise PeerFault(Fault.HELLO_REFUSED)

    script = w.against_server(on_client_hello=refuse)
    script.send(script.client_hello())
    return script


@provokes(Fault.RETRY_WITHOUT_CHANGE)
def retry_that_asks_for_nothing(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=None))
    return script


@provokes(Fault.SECOND_RETRY)
def second_retry(w: World):
    script = w.against_client()
    script.retry(cookie=b"again")
    script.send(script.server_hello(random=HELLO_RETRY_RANDOM, group=NamedGroup.secp256r1, without=[X.key_share]))
    return script


@provokes(Fault.RETRY_GROUP)
def retry_for_a_group_that_was_not_offered(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=NamedGroup.x448))
    return script


@provokes(Fault.RETRY_GROUP)
def retry_for_a_share_that_was_there(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=NamedGroup.x25519))
    return script


@provokes(Fault.RETRY_IGNORED)
def retry_is_ignored(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    assert script.read_retry_request() is NamedGroup.secp256r1
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_CHANGED)
def second_hello_changes_its_random(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    script.read_retry_request()
    script.random = bytes(32)
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_CHANGED)
def second_hello_changes_an_extension(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    script.read_retry_request()
    script.send(script.client_hello(server_name=ext.encode_server_name("example.com")))
    return script


# -- key shares --------------------------------------------------------------------------------------------------------


@provokes(Fault.KEY_SHARE_UNLISTED)
def share_for_a_group_that_is_not_listed(w: World):
    script = w.against_server()
    script.send(script.client_hello(supported_groups=ext.encode_u16s([NamedGroup.secp256r1])))
    return script


@provokes(Fault.KEY_SHARE_DUPLICATE)
def two_shares_for_one_group(w: World):
    script = w.against_server()
    script.send(
        script.client_hello(key_share=ext.encode_key_shares([(NamedGroup.x25519, b"a"), (NamedGroup.x25519, b"b")]))
    )
    return script


@provokes(Fault.KEY_SHARE_GROUP)
def server_share_for_another_group(w: World):
    script = w.against_client()
    share = ext.encode_key_share(NamedGroup.secp256r1, b"\x04" + bytes(64))
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0304)), (X.key_share, share)]))
    return script


@provokes(Fault.KEY_SHARE_INVALID)
def client_share_that_is_no_point(w: World):
    script = w.against_server()
    script.send(script.client_hello(key_share=ext.encode_key_shares([(NamedGroup.x25519, bytes(32))])))
    return script


@provokes(Fault.KEY_SHARE_INVALID)
def server_share_of_the_wrong_length(w: World):
    script = w.against_client()
    share = ext.encode_key_share(NamedGroup.x25519, bytes(31))
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0304)), (X.key_share, share)]))
    return script


# -- authentication ----------------------------------------------------------------------------------------------------


@provokes(Fault.CERTIFICATE_CONTEXT)
def server_certificate_with_a_context(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate(context=b"x")
    return script


@provokes(Fault.CERTIFICATE_CONTEXT)
def request_with_a_context(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.request(context=b"x")
    return script


@provokes(Fault.CERTIFICATE_CONTEXT)
def client_certificate_with_a_context(w: World):
    script = w.against_asking_server()
    script.certificate(context=b"x")
    return script


@provokes(Fault.EMPTY_CERTIFICATE)
def server_without_certificate(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([])
    return script


@provokes(Fault.CERTIFICATE_REQUIRED)
def client_without_certificate(w: World):
    script = w.against_asking_server()
    script.certificate([])
    return script


@provokes(Fault.CERTIFICATE_CHAIN_LONG)
def chain_without_end(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate(w.server.chain_der * 11)
    return script


@provokes(Fault.CERTIFICATE_UNPARSABLE)
def certificate_of_garbage(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([b"garbage"])
    return script


@provokes(Fault.CERTIFICATE_KEY)
def certificate_with_a_key_too_small(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([small_rsa_certificate()])
    return script


def authenticated(script: ScriptedServer) -> ScriptedServer:
    """A server's flight as far as CertificateVerify."""
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    return script


@provokes(Fault.CERTIFICATE_EXPIRED)
def expired_certificate(w: World):
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    old = issue("localhost", not_before=then, not_after=then + datetime.timedelta(days=30))
    return authenticated(w.against_client(old))


@provokes(Fault.CERTIFICATE_UNKNOWN_ISSUER)
def certificate_of_a_stranger(w: World):
    stranger = Authority("a stranger").issue("localhost")
    return authenticated(w.against_client(Identity.from_crypto(stranger.certificates, stranger.private_key)))


@provokes(Fault.CERTIFICATE_NAME)
def certificate_for_another_name(w: World):
    return authenticated(w.against_client(name="example.org"))


@provokes(Fault.CERTIFICATE_PURPOSE)
def certificate_for_clients_on_a_server(w: World):
    return authenticated(w.against_client(issue("localhost", client=True)))


@provokes(Fault.CERTIFICATE_SIGNATURE)
def certificate_with_a_broken_signature(w: World):
    leaf = bytearray(w.server.chain_der[0])
    leaf[-1] ^= 1
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([bytes(leaf)])
    script.verify()
    return script


@provokes(Fault.CERTIFICATE_REFUSED)
def certificate_refused_by_the_application(w: World):
    return authenticated(w.against_client(verify_peer=lambda question: False))


@provokes(Fault.CERTIFICATE_REFUSED)
def client_certificate_refused_by_the_application(w: World):
    script = w.against_asking_server(verify_peer=lambda question: False)
    script.certificate()
    script.send(script.certificate_verify(w.client))
    return script


@provokes(Fault.SIGNATURE_SCHEME)
def signature_scheme_that_was_not_offered(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(scheme=SignatureScheme.rsa_pkcs1_sha256)
    return script


@provokes(Fault.SIGNATURE_KEY_MISMATCH)
def signature_scheme_of_another_key(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(scheme=SignatureScheme.ed25519)
    return script


@provokes(Fault.SIGNATURE_INVALID)
def signature_over_something_else(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(spoil=True)
    return script


@provokes(Fault.SIGNATURE_INVALID)
def client_signature_over_something_else(w: World):
    script = w.against_asking_server()
    script.certificate()
    script.send(script.certificate_verify(w.client, spoil=True))
    return script


@provokes(Fault.FINISHED_MISMATCH)
def server_finished_mismatch(w: World):
    script = authenticated(w.against_client())
    script.send(encode_message(HandshakeType.finished, bytes(32)))
    return script


@provokes(Fault.FINISHED_MISMATCH)
def client_finished_mismatch(w: World):
    script = w.against_server()
    script.start()
    script.read_flight()
    script.send(encode_message(HandshakeType.finished, bytes(32)))
    return script


# -- afterwards --------------------------------------------------------------------------------------------------------


@provokes(Fault.KEY_UPDATE_REQUEST)
def key_update_with_another_value(w: World):
    script = w.against_client()
    script.connect()
    script.send(encode_message(HandshakeType.key_update, b"\x02"), note=False)
    return script


@provokes(Fault.TOO_MANY_MESSAGES)
def flood_of_tickets(w: World):
    script = w.against_client()
    script.connect()
    script.send(*[ticket()] * 33, note=False)
    return script


@provokes(Fault.TOO_MANY_MESSAGES)
def flood_of_user_canceled(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"".join(script.protected(b"\x01\x5a\x15") for _ in range(33)))
    return script


@provokes(Fault.ALERT_MALFORMED)
def alert_of_three_bytes(w: World):
    script = w.against_server()
    script.raw(b"\x15\x03\x01\x00\x03\x02\x28\x00")
    return script


@provokes(Fault.CERTIFICATE_PURPOSE)
def key_that_is_not_for_signing(w: World):
    """Nothing skips this: not even insecure_skip_verify."""
    made = make("localhost", [san("localhost"), usage("key_encipherment")])
    identity = Identity.from_crypto([made.certificate], made.key)
    return authenticated(w.against_client(identity, insecure_skip_verify=True))


# -- the table ---------------------------------------------------------------------------------------------------------


def ticket(lifetime: int = 7200) -> bytes:
    body = u32(lifetime) + u32(0) + vector8(b"n") + vector16(b"ticket") + vector16(b"")
    return encode_message(HandshakeType.new_session_ticket, body)


@cache
def small_rsa_certificate() -> bytes:
    made = make("localhost", [san("localhost")], key=rsa.generate_private_key(65537, 1024))
    return made.certificate.public_bytes(serialization.Encoding.DER)


def test_every_fault_is_provoked() -> None:
    missing = [fault.name for fault in Fault if fault not in {one for one, _ in SCENARIOS}]
    assert not missing


@pytest.mark.parametrize(("fault", "scenario"), SCENARIOS, ids=[f"{f.name}-{s.__name__}" for f, s in SCENARIOS])
def test_fault(fault: Fault, scenario: Scenario) -> None:
    script = scenario(world())
    failure = script.engine.failure
    assert isinstance(failure, PeerFault), f"{failure!r} in {script.engine.state}"
    assert failure.fault is fault, failure
    assert failure.__traceback__ is None
    # The peer learns about it by exactly one alert, readable under the keys that it has.
    script.collect()
    assert script.alerts == [bytes((2, fault.alert))]
    # And nothing more: not on further calls, not on further bytes.
    script.raw(b"\x16\x03\x03\x00\x01\x00")
    assert script.alerts == [bytes((2, fault.alert))]
    with pytest.raises(PeerFault) as raised:
        script.engine.do_handshake()
    assert raised.value.fault is fault
