"""The traces of RFC 8448, value by value, and then played through the engine from both sides, byte for byte.

The values are in ``vectors/rfc8448.json`` of the folder ``shared`` beside the checkout: each trace is a list of steps
(who does what), each step has fields (name, value). Sections 3, 5, 6 and 7 are full handshakes and are played; section
4 resumes a session, which this library does not do yet, so only its key derivations are checked.

A replay needs the hello, the parameters and the signature of the trace, because random numbers and preferences went
into them; these few encoders are patched to give the recorded bytes. Everything else is the engine's own work: key
exchange, transcript, key schedule, both Finished, record protection. A single wrong byte anywhere fails the replay.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import certificates, groups
from tlsprovider.crypto.groups import generate
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret, TrafficSecret, hkdf_expand_label
from tlsprovider.crypto.suites import SUITES
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import WantRead
from tlsprovider.handshake import client as client_module
from tlsprovider.handshake import server as server_module
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.record import HANDSHAKE, RecordReader, RecordWriter
from tlsprovider.trust import TrustStore
from tlsprovider.wire import messages
from tlsprovider.wire.extensions import encode_block

VECTORS = Path(__file__).parents[2] / "shared" / "vectors" / "rfc8448.json"

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="shared/vectors/rfc8448.json is not beside the checkout")

SUITE = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]
NATIVE = get_provider("native")
COMPATIBILITY_MARK = bytes.fromhex("140303000101")

full_handshakes = pytest.mark.parametrize("section", ["3", "5", "6", "7"])
all_traces = pytest.mark.parametrize("section", ["3", "4", "5", "6", "7"])


@attrs.frozen
class Step:
    """One paragraph of a trace: ``by`` whom, what it ``does``, and its values."""

    by: str
    does: str
    fields: dict[str, bytes]


@cache
def trace(section: str) -> tuple[Step, ...]:
    data = json.loads(VECTORS.read_text())
    (found,) = [one for one in data["traces"] if one["section"] == section]
    return tuple(
        Step(step["by"], step["does"], {field["name"]: decoded(field["value"]) for field in step["fields"]})
        for step in found["steps"]
    )


def decoded(value: str) -> bytes:
    """Hexadecimal; the two remarks that stand in place of a value mean no bytes at all."""
    return b"" if value in ("(empty)", "0 (all zero octets)") else bytes.fromhex(value)


def values(section: str, name: str, by: str | None = None, does: str = "") -> list[bytes]:
    return [
        step.fields[name]
        for step in trace(section)
        if name in step.fields and by in (None, step.by) and does in step.does
    ]


def value(section: str, name: str, by: str | None = None, does: str = "") -> bytes:
    return values(section, name, by, does)[0]


def sent(section: str) -> list[tuple[str, bytes]]:
    """All handshake messages of the main handshake in wire order: ``(by, message)``."""
    names = ("ClientHello", "ServerHello", "EncryptedExtensions", "CertificateRequest", "Certificate")
    return [
        (step.by, step.fields[name])
        for step in trace(section)
        for name in (*names, "CertificateVerify", "Finished")
        if name in step.fields
    ]


def transcript_until(section: str, by: str, kind: HandshakeType) -> bytes:
    """Transcript-Hash up to and with the last message of that kind by that side."""
    transcript = Transcript()
    everything = sent(section)
    last = max(index for index, one in enumerate(everything) if one[0] == by and one[1][0] == kind)
    for index, (_, message) in enumerate(everything[: last + 1]):
        if message[0] == HandshakeType.server_hello:
            if message[6:38] == messages.HELLO_RETRY_RANDOM:
                transcript.restart(SUITE.hash_name)
            else:
                transcript.start(SUITE.hash_name)
        transcript.add(message)
        assert index <= last
    return transcript.digest()


# -- values ------------------------------------------------------------------------------------------------------------


@all_traces
def test_every_expansion(section: str) -> None:
    checked = 0
    for step in trace(section):
        for prefix in ("", "key ", "iv "):
            info = step.fields.get(prefix + "info")
            if info is None:
                continue
            length, label_end = int.from_bytes(info[:2], "big"), 3 + info[2]
            assert info[3:9] == b"tls13 "
            context = info[label_end + 1 :]
            found = hkdf_expand_label("sha256", step.fields["PRK"], info[9:label_end], context, length)
            assert found == step.fields[prefix + "expanded"], step.does
            checked += 1
    assert checked > 15


@full_handshakes
class TestValues:
    def test_key_shares(self, section: str) -> None:
        """Private keys give the recorded public ones, and both sides the recorded shared secret."""
        secret = value(section, "IKM", does='"handshake"')
        group = NamedGroup.secp256r1 if section == "5" else NamedGroup.x25519
        client, server = (key_pair(group, values(section, "private key", by)[-1]) for by in ("client", "server"))
        client_public, server_public = (values(section, "public key", by)[-1] for by in ("client", "server"))
        assert (client.share, server.share) == (client_public, server_public)
        assert client.finish(server_public) == server.finish(client_public) == secret

    def test_stages(self, section: str) -> None:
        handshake = EarlySecret(SUITE).handshake(value(section, "IKM", does='"handshake"'))
        assert handshake.secret == value(section, "secret", does='extract secret "handshake"')
        hello = transcript_until(section, "server", HandshakeType.server_hello)
        assert hello == value(section, "hash", does="c hs traffic")
        assert handshake.client_handshake_traffic(hello).secret == value(section, "expanded", does="c hs traffic")
        assert handshake.server_handshake_traffic(hello).secret == value(section, "expanded", does="s hs traffic")

        main = handshake.main()
        assert main.secret == value(section, "secret", does='extract secret "master"')
        finished = transcript_until(section, "server", HandshakeType.finished)
        assert finished == value(section, "hash", does="c ap traffic")
        assert main.client_application_traffic(finished).secret == value(section, "expanded", does="c ap traffic")
        assert main.server_application_traffic(finished).secret == value(section, "expanded", does="s ap traffic")
        assert main.exporter(finished) == value(section, "expanded", does="exp master")
        over = transcript_until(section, "client", HandshakeType.finished)
        assert over == value(section, "hash", does="res master")
        assert main.resumption(over) == value(section, "expanded", does="res master")

    def test_finished(self, section: str) -> None:
        handshake = HandshakeSecret(SUITE, value(section, "secret", does='extract secret "handshake"'))
        hello = transcript_until(section, "server", HandshakeType.server_hello)
        server, client = handshake.server_handshake_traffic(hello), handshake.client_handshake_traffic(hello)
        before_server = transcript_until(section, "server", HandshakeType.certificate_verify)
        assert server.finished(before_server) == value(section, "finished", "server")
        kind = HandshakeType.certificate_verify if section == "6" else HandshakeType.finished
        before_client = transcript_until(section, "client" if section == "6" else "server", kind)
        assert client.finished(before_client) == value(section, "finished", "client")


def key_pair(group: NamedGroup, private: bytes) -> groups.KeyExchange:
    """The key of the trace. Entropy reaches any x25519 key; of P-256 it gives only the lower half, so make it here."""
    if group is NamedGroup.x25519:
        return generate(group, lambda length: private)
    key = ec.derive_private_key(int.from_bytes(private, "big"), ec.SECP256R1())
    return groups._Weierstrass(group, key, key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint))


# -- messages ----------------------------------------------------------------------------------------------------------


def again(message: bytes, everything: frozenset[int]) -> bytes:
    """Decode a message, and encode what came out."""
    kind = HandshakeType(message[0])
    if kind is HandshakeType.client_hello:
        hello = messages.ClientHello.decode(message)
        block = encode_block((hello.extensions or {}).items())
        return messages.ClientHello.encode(hello.random, hello.session_id, hello.cipher_suites, block)
    if kind is HandshakeType.server_hello:
        answer = messages.ServerHello.decode(message, everything)
        extensions = answer.extensions.items()
        return messages.ServerHello.encode(answer.random, answer.session_id, answer.cipher_suite, extensions)
    if kind is HandshakeType.encrypted_extensions:
        return messages.EncryptedExtensions.decode(message, everything).encode()
    if kind is HandshakeType.certificate_request:
        return messages.CertificateRequest.decode(message).encode()
    if kind is HandshakeType.certificate:
        chain = messages.Certificate.decode(message, frozenset(), 10)
        return messages.Certificate.encode(chain.context, [entry.data for entry in chain.entries])
    if kind is HandshakeType.certificate_verify:
        return messages.CertificateVerify.decode(message).encode()
    return messages.Finished.encode(messages.Finished.decode(message, SUITE.hash_length))


@full_handshakes
def test_every_message_decodes_and_encodes_again(section: str) -> None:
    for _, message in sent(section):
        assert again(message, frozenset(X)) == message


def test_hello_that_resumes() -> None:
    """Section 4: the whole hello, with its binders, is what was sent."""
    message = value("4", "payload", "client", "send handshake record")
    assert again(message, frozenset(X)) == message
    assert list(messages.ClientHello.decode(message).extensions or ())[-1] == X.pre_shared_key


def test_ticket() -> None:
    ticket = messages.NewSessionTicket.decode(value("3", "NewSessionTicket"))
    assert (ticket.lifetime, ticket.nonce, ticket.extensions) == (
        30,
        b"\0\0",
        {X.early_data: bytes.fromhex("00000400")},
    )


# -- records -----------------------------------------------------------------------------------------------------------


def records(section: str, by: str) -> Iterator[tuple[TrafficSecret | None, int, bytes, bytes]]:
    """What a side sent: ``(a new secret or None, inner type, payload, the record)``, in order."""
    letter = by[0]
    secrets = [value(section, "expanded", does=f"{letter} {stage} traffic") for stage in ("hs", "ap")]
    upcoming = iter([TrafficSecret(SUITE, secret) for secret in secrets])
    protected = 0
    for step in trace(section):
        if step.by != by or "complete record" not in step.fields or "change_cipher_spec" in step.does:
            continue
        kind = {"handshake": 22, "application_data": 23, "alert": 21}[step.does.split()[1]]
        record = step.fields["complete record"]
        # The first protected record is the flight that ends with Finished; from the second on, it's the next secret.
        protected += record[0] == 23
        yield next(upcoming) if record[0] == 23 and protected <= 2 else None, kind, step.fields["payload"], record


@full_handshakes
@pytest.mark.parametrize("by", ["client", "server"])
class TestRecords:
    def test_opened(self, section: str, by: str) -> None:
        reader = RecordReader()
        for secret, kind, payload, record in records(section, by):
            if secret is not None:
                reader.change_keys(secret)
            reader.feed(record)
            assert reader.read() == (kind, payload)
            assert not reader.buffered

    def test_sealed(self, section: str, by: str) -> None:
        writer = RecordWriter()
        for secret, kind, payload, record in records(section, by):
            if secret is not None:
                writer.change_keys(secret)
            writer.write(kind, payload, version=int.from_bytes(record[1:3], "big"))
            assert writer.drain() == record


# -- the replay --------------------------------------------------------------------------------------------------------


def entropy_of(*given: bytes) -> Callable[[int], bytes]:
    """The random values of the trace, in the order in which the engine asks for them."""
    left = iter(given)
    return lambda length: next(left)


def identity_of(section: str, by: str) -> Identity:
    """Who ``by`` is in the trace; the key is not needed, because the signature was recorded."""
    chain = messages.Certificate.decode(value(section, "Certificate", by), frozenset(), 10)
    signed = messages.CertificateVerify.decode(value(section, "CertificateVerify", by))
    parsed = [x509.load_der_x509_certificate(entry.data) for entry in chain.entries]
    return Identity.with_signer(parsed, lambda scheme, content: signed.signature, [SignatureScheme(signed.scheme)])


@pytest.fixture
def old_rsa(monkeypatch: pytest.MonkeyPatch) -> None:
    """The traces use RSA keys of 1024 bits, which the library rightly refuses."""
    monkeypatch.setattr(certificates, "MIN_RSA_BITS", 1024)


class Replay:
    """One side of a trace, played by an engine: it gets what the other side sent, and must send what its own did."""

    def __init__(self, engine: IEngine, section: str, me: str) -> None:
        self.engine = engine
        self.section = section
        self.me = me
        # Our client always has a session id and sends the mark; in the traces only section 7 does.
        self.marked = any("change_cipher_spec" in step.does for step in trace(section))

    def run(self) -> None:
        self.advance()
        ours = b""
        for step in trace(self.section):
            record = step.fields.get("complete record")
            if record is None:
                continue
            if step.by != self.me:
                assert ours == b"", "more was sent than in the trace"
                self.take(step, record)
                continue
            ours = ours or self.outgoing()
            if not ours:
                self.act(step)
                ours = self.outgoing()
            assert ours.startswith(record), step.does
            ours = ours.removeprefix(record)
        assert ours == b""
        assert self.engine.failure is None
        assert (self.engine.close_received, self.engine.close_sent) == (True, True)

    def outgoing(self) -> bytes:
        data = self.engine.process_outgoing()
        return data if self.marked else data.removeprefix(COMPATIBILITY_MARK)

    def take(self, step: Step, record: bytes) -> None:
        complete = self.engine.handshake_complete
        self.engine.process_incoming(record)
        if not complete:
            self.advance()
        elif "application_data" in step.does:
            assert self.engine.read() == step.fields["payload"]

    def advance(self) -> None:
        try:
            self.engine.do_handshake()
        except WantRead:
            pass

    def act(self, step: Step) -> None:
        """What the application did in the trace."""
        if "application_data" in step.does:
            self.engine.write(step.fields["payload"])
        elif "alert" in step.does:
            self.engine.shutdown()
        else:
            # A session ticket. Ours waits for application data, so that this one is only sealed by the engine.
            self.engine._writer.write(HANDSHAKE, step.fields["payload"])  # type: ignore[attr-defined]


def key_log_of(section: str) -> dict[str, bytes]:
    """What RFC 9850 calls the secrets of the trace."""
    return {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET": value(section, "expanded", does="c hs traffic"),
        "SERVER_HANDSHAKE_TRAFFIC_SECRET": value(section, "expanded", does="s hs traffic"),
        "CLIENT_TRAFFIC_SECRET_0": value(section, "expanded", does="c ap traffic"),
        "SERVER_TRAFFIC_SECRET_0": value(section, "expanded", does="s ap traffic"),
        "EXPORTER_SECRET": value(section, "expanded", does="exp master"),
    }


def check_outcome(engine: IEngine, section: str, key_log: list[str]) -> None:
    random = value(section, "ClientHello")[6:38].hex()
    assert key_log == [f"{label} {random} {secret.hex()}" for label, secret in key_log_of(section).items()]
    assert engine.cipher == "TLS_AES_128_GCM_SHA256"
    assert engine.group == ("secp256r1" if section == "5" else "x25519")


@full_handshakes
@pytest.mark.usefixtures("old_rsa")
class TestReplay:
    def test_client(self, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
        hellos = values(section, "ClientHello")
        first = messages.ClientHello.decode(hellos[0])
        upcoming = iter(hellos)
        monkeypatch.setattr(messages.ClientHello, "encode", staticmethod(lambda *parts: next(upcoming)))
        offered = frozenset(first.extensions or ())
        monkeypatch.setattr(client_module, "_fixed_extensions", lambda config: (offered, b""))
        if section == "5":
            private = values(section, "private key", "client")[1]
            monkeypatch.setattr(client_module, "generate", lambda group, entropy: key_pair(group, private))
        key_log: list[str] = []
        config = ClientConfig(
            # The certificates of the traces are issued by themselves, without names, and have expired since.
            trust=TrustStore.pinned(certificates.spki_sha256(identity_of(section, "server").certificates[0])),
            clock=lambda: datetime.datetime(2018, 1, 1, tzinfo=datetime.UTC).timestamp(),
            identity=identity_of(section, "client") if section == "6" else None,
            groups=["x25519", "secp256r1"],
            key_shares=["x25519"],
            entropy=entropy_of(value(section, "private key", "client"), first.random, first.session_id),
            keylog=key_log.append,
        )
        engine = NATIVE.client_engine(config, "server")
        Replay(engine, section, "client").run()
        check_outcome(engine, section, key_log)
        assert engine.signature_scheme == ("ecdsa_secp256r1_sha256" if section == "6" else "rsa_pss_rsae_sha256")

    def test_server(self, section: str, monkeypatch: pytest.MonkeyPatch) -> None:
        hellos = [messages.ServerHello.decode(one, frozenset(X)) for one in values(section, "ServerHello")]
        upcoming = iter(hellos)

        def recorded_hello(random: bytes, session_id: bytes, suite: int, extensions: Any) -> bytes:
            """Ours is the same but for the order of the extensions, and the cookie, which we don't need."""
            hello = next(upcoming)
            cookie = {X.cookie: hello.extensions[X.cookie]} if X.cookie in hello.extensions else {}
            assert (random, session_id, suite) == (hello.random, hello.session_id, hello.cipher_suite)
            assert dict(extensions) | cookie == hello.extensions
            return hello.raw

        monkeypatch.setattr(messages.ServerHello, "encode", staticmethod(recorded_hello))
        parameters = value(section, "EncryptedExtensions")
        monkeypatch.setattr(server_module, "_encrypted_extensions", lambda *choices: parameters)
        asks = section == "6"
        if asks:
            request = value(section, "CertificateRequest")
            monkeypatch.setattr(server_module, "_certificate_request", lambda config: request)
        private = values(section, "private key", "server")[-1]
        if section == "5":
            monkeypatch.setattr(groups, "generate", lambda group, entropy: key_pair(group, private))
        key_log: list[str] = []
        config = ServerConfig(
            identities=[identity_of(section, "server")],
            groups=["secp256r1" if section == "5" else "x25519"],
            client_auth="require" if asks else "none",
            insecure_skip_verify=asks,
            # The trace's ticket comes earlier than one of ours would: see Replay.act.
            tickets=None,
            entropy=entropy_of(*([] if section == "5" else [private]), hellos[-1].random),
            keylog=key_log.append,
        )
        engine = NATIVE.server_engine(config)
        Replay(engine, section, "server").run()
        check_outcome(engine, section, key_log)
        assert engine.server_name == "server"
        assert engine.signature_scheme == ("rsa_pss_rsae_sha256" if asks else None)
        assert len(engine.peer_certificates) == (1 if asks else 0)
