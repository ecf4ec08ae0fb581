"""Wrongs in extensions, and with pre-shared keys and early data."""

from __future__ import annotations

import attrs
from cryptography import x509
from scripted import SUITE, ScriptedClient, ScriptedServer

from faults.world import NATIVE, World, provokes
from tlsprovider.config import ServerConfig
from tlsprovider.crypto.groups import generate
from tlsprovider.crypto.schedule import EarlySecret
from tlsprovider.crypto.suites import SUITES
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import Fault
from tlsprovider.handshake.psk import fingerprint, of_session, with_binders
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup
from tlsprovider.iana import ExtensionType as X
from tlsprovider.psk import ExternalPsk
from tlsprovider.session import Session, SessionKey
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, vector16
from tlsprovider.wire.messages import encode_message


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
