"""A peer that follows a script: it speaks TLS 1.3 properly until a test makes it misbehave.

It uses our own wire, schedule and record layers to build what it sends, and none of our handshake. The engine under
test sits on the other side; every method moves bytes in memory, and ``settle`` lets the engine work on what arrived.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from tlsprovider.crypto.groups import KeyExchange, generate, respond
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret, TrafficSecret
from tlsprovider.crypto.suites import SUITES
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import TLSError, Want
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.record import RecordReader, RecordWriter
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, vector16
from tlsprovider.wire.messages import (
    HELLO_RETRY_RANDOM,
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    Finished,
    ServerHello,
)

SUITE = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]


class Script:
    """What both roles share: records to and from the engine, and the transcript."""

    is_server: bool
    # The pre-shared key to go on with, when the script has offered or selected it.
    psk: bytes | None = None

    def __init__(self, engine: IEngine) -> None:
        self.engine = engine
        self.reader = RecordReader()
        self.reader.allow_change_cipher_spec = True
        self.writer = RecordWriter()
        self.transcript = Transcript()
        self.alerts: list[bytes] = []
        self.data: list[bytes] = []
        self.ours: TrafficSecret
        self.theirs: TrafficSecret
        self.secret: HandshakeSecret

    def early_secret(self) -> EarlySecret:
        return EarlySecret(SUITE) if self.psk is None else EarlySecret.of_psk(SUITE, self.psk)

    # -- moving bytes

    def settle(self) -> None:
        """Let the engine go on; what it says stays in ``engine.failure``. Then take what it sends."""
        try:
            self.engine.do_handshake()
        except (Want, TLSError):
            pass
        self.collect()

    def collect(self) -> None:
        self.reader.feed(self.engine.process_outgoing())
        while (record := self.reader.read()) is not None:
            content_type, content = record
            if content_type == 22:
                self.reader.handshake.add(content)
                if self.reader.handshake and content[0] in (1, 2) and len(content) >= 4:
                    return  # a hello changes the keys: what follows is read after that
            elif content_type == 21:
                self.alerts.append(content)
            else:
                self.data.append(content)

    def raw(self, data: bytes) -> None:
        """Bytes as they are, then the engine's reaction."""
        self.engine.process_incoming(data)
        self.settle()

    def send_records(self, content_type: int, data: bytes) -> None:
        self.writer.write(content_type, data)
        self.raw(self.writer.drain())

    def send(self, *messages: bytes, note: bool = True) -> None:
        """Handshake messages, packed together, noted in the transcript."""
        if note:
            for message in messages:
                self.transcript.add(message)
        self.send_records(22, b"".join(messages))

    def expect(self, kind: HandshakeType) -> bytes:
        """The next message of the engine, which has to be this."""
        if not self.reader.handshake:
            self.collect()
        message = self.reader.handshake.next_message()
        assert message is not None, f"no {kind.name}: engine is in {self.engine.state}, {self.engine.failure}"
        assert message[0] == kind, f"{HandshakeType(message[0])} instead of {kind}"
        self.transcript.add(message)
        return message

    def protected(self, inner: bytes) -> bytes:
        """One record around ``inner``, which ends with a content type, or not."""
        writer = self.writer
        sequence, writer._sequence = writer._sequence, writer._sequence + 1
        assert writer._aead is not None
        header = b"\x17\x03\x03" + u16(len(inner) + 16)
        return header + writer._aead.encrypt((writer._iv ^ sequence).to_bytes(12, "big"), inner, header)

    # -- authentication

    def certificate_verify(self, identity: Identity, scheme: int | None = None, spoil: bool = False) -> bytes:
        own = identity.schemes[0]
        side = b"server" if self.is_server else b"client"
        content = b" " * 64 + b"TLS 1.3, " + side + b" CertificateVerify\0" + self.transcript.digest()
        signature = identity.sign(own, content + (b"!" if spoil else b""))
        assert isinstance(signature, bytes)
        return CertificateVerify(own if scheme is None else scheme, signature).encode()

    def finished(self) -> bytes:
        return Finished.encode(self.ours.finished(self.transcript.digest()))

    def change_to_handshake_keys(self) -> None:
        digest = self.transcript.digest()
        client, server = self.secret.client_handshake_traffic(digest), self.secret.server_handshake_traffic(digest)
        self.ours, self.theirs = (server, client) if self.is_server else (client, server)
        self.writer.change_keys(self.ours)
        self.reader.change_keys(self.theirs)

    def application_secrets(self) -> tuple[TrafficSecret, TrafficSecret]:
        digest, main = self.transcript.digest(), self.secret.main()
        client, server = main.client_application_traffic(digest), main.server_application_traffic(digest)
        return (server, client) if self.is_server else (client, server)


class ScriptedServer(Script):
    """A server for a client under test."""

    is_server = True

    def __init__(self, engine: IEngine, identity: Identity) -> None:
        super().__init__(engine)
        self.identity = identity
        self.settle()
        self.hello = ClientHello.decode(self.expect(HandshakeType.client_hello))
        assert self.hello.extensions is not None
        self.shares = ext.decode_key_shares(self.hello.extensions[X.key_share])

    def server_hello(
        self,
        *,
        random: bytes | None = None,
        session_id: bytes | None = None,
        suite: int = SUITE.number,
        extensions: Iterable[tuple[int, bytes]] | None = None,
        without: Iterable[int] = (),
        extra: Iterable[tuple[int, bytes]] = (),
        group: NamedGroup = NamedGroup.x25519,
    ) -> bytes:
        share, shared_secret = respond(group, self.shares[group])
        self.secret = self.early_secret().handshake(shared_secret)
        if extensions is None:
            own = [(X.supported_versions, u16(0x0304)), (X.key_share, ext.encode_key_share(group, share))]
            extensions = [one for one in own if one[0] not in without]
        return ServerHello.encode(
            os.urandom(32) if random is None else random,
            self.hello.session_id if session_id is None else session_id,
            suite,
            [*extensions, *extra],
        )

    def retry_request(self, group: int | None = NamedGroup.secp256r1, cookie: bytes | None = None) -> bytes:
        extensions: list[tuple[int, bytes]] = [(X.supported_versions, u16(0x0304))]
        if group is not None:
            extensions.append((X.key_share, u16(group)))
        if cookie is not None:
            extensions.append((X.cookie, ext.encode_cookie(cookie)))
        return self.server_hello(random=HELLO_RETRY_RANDOM, extensions=extensions)

    def retry(self, group: int | None = NamedGroup.secp256r1, cookie: bytes | None = None) -> None:
        """Send a HelloRetryRequest and read the second hello."""
        self.transcript.restart(SUITE.hash_name)
        self.send(self.retry_request(group, cookie))
        self.hello = ClientHello.decode(self.expect(HandshakeType.client_hello))
        assert self.hello.extensions is not None
        self.shares = ext.decode_key_shares(self.hello.extensions[X.key_share])

    def start(self, **changes: object) -> None:
        """ServerHello, and on to the handshake keys."""
        self.transcript.start(SUITE.hash_name)
        self.send(self.server_hello(**changes))  # type: ignore[arg-type]
        self.change_to_handshake_keys()

    def parameters(self, extensions: dict[int, bytes] | None = None) -> None:
        self.send(EncryptedExtensions(extensions or {}).encode())

    def request(self, extensions: dict[int, bytes] | None = None, context: bytes = b"") -> None:
        if extensions is None:
            extensions = {X.signature_algorithms: ext.encode_u16s([SignatureScheme.ecdsa_secp256r1_sha256])}
        self.send(CertificateRequest(context, extensions).encode())

    def certificate(self, chain: Iterable[bytes] | None = None, context: bytes = b"") -> None:
        self.send(Certificate.encode(context, self.identity.chain_der if chain is None else chain))

    def verify(self, scheme: int | None = None, spoil: bool = False) -> None:
        self.send(self.certificate_verify(self.identity, scheme, spoil))

    def finish(self) -> None:
        """Finished, and on to the application keys in the direction that this side sends."""
        self.send(self.finished())
        ours, theirs = self.application_secrets()
        self.writer.change_keys(ours)
        self.later = theirs

    def connect(self) -> None:
        """A whole proper handshake."""
        self.start()
        self.parameters()
        self.certificate()
        self.verify()
        self.finish()
        assert self.engine.handshake_complete, self.engine.failure
        self.expect(HandshakeType.finished)
        self.reader.change_keys(self.later)


class ScriptedClient(Script):
    """A client for a server under test."""

    is_server = False

    def __init__(self, engine: IEngine, identity: Identity | None = None) -> None:
        super().__init__(engine)
        self.identity = identity
        self.random, self.session_id = os.urandom(32), os.urandom(32)
        self.keys: dict[NamedGroup, KeyExchange] = {NamedGroup.x25519: generate(NamedGroup.x25519)}

    def extensions(self, **changes: bytes | None) -> dict[int, bytes]:
        """What a client offers, by the extensions' names; None takes one out."""
        own: dict[int, bytes] = {
            X.server_name: ext.encode_server_name("localhost"),
            X.supported_versions: ext.encode_offered_versions([0x0304]),
            X.supported_groups: ext.encode_u16s([NamedGroup.x25519, NamedGroup.secp256r1]),
            X.signature_algorithms: ext.encode_u16s([SignatureScheme.ecdsa_secp256r1_sha256]),
            X.key_share: ext.encode_key_shares([(group, key.share) for group, key in self.keys.items()]),
        }
        for name, content in changes.items():
            if content is None:
                del own[X[name]]
            else:
                own[X[name]] = content
        return own

    def client_hello(
        self,
        *,
        suites: Iterable[int] = (SUITE.number,),
        block: bytes | None = None,
        extra: Iterable[tuple[int, bytes]] = (),
        **changes: bytes | None,
    ) -> bytes:
        if block is None:
            block = ext.encode_block([*self.extensions(**changes).items(), *extra])
        return ClientHello.encode(self.random, self.session_id, suites, block)

    def old_hello(self, version: int = 0x0303, compression: bytes = b"\x01\x00", block: bytes = b"") -> bytes:
        body = u16(version) + self.random + b"\0" + vector16(u16(SUITE.number)) + compression + block
        return b"\x01" + len(body).to_bytes(3, "big") + body

    def start(self, **changes: bytes | None) -> ServerHello:
        self.send(self.client_hello(**changes))  # type: ignore[arg-type]
        return self.read_server_hello()

    def read_server_hello(self) -> ServerHello:
        hello = ServerHello.decode(self.expect(HandshakeType.server_hello), set(X))
        assert not hello.is_retry_request
        self.transcript.start(SUITE.hash_name)
        group, share = ext.decode_key_share(hello.extensions[X.key_share])
        self.secret = self.early_secret().handshake(self.keys[NamedGroup(group)].finish(share))
        self.change_to_handshake_keys()
        return hello

    def read_retry_request(self) -> NamedGroup:
        self.transcript.restart(SUITE.hash_name)
        hello = ServerHello.decode(self.expect(HandshakeType.server_hello), set(X))
        assert hello.is_retry_request
        return NamedGroup(ext.decode_selected_u16(hello.extensions[X.key_share], X.key_share))

    def read_flight(self, *, requested: bool = False) -> None:
        """EncryptedExtensions to Finished; then the application secrets are known."""
        self.collect()
        self.expect(HandshakeType.encrypted_extensions)
        if requested:
            self.expect(HandshakeType.certificate_request)
        self.expect(HandshakeType.certificate)
        self.expect(HandshakeType.certificate_verify)
        self.expect(HandshakeType.finished)
        self.later = self.application_secrets()
        self.reader.change_keys(self.later[1])

    def read_resumed_flight(self) -> None:
        """The same with a pre-shared key: no certificate."""
        self.collect()
        self.expect(HandshakeType.encrypted_extensions)
        self.expect(HandshakeType.finished)
        self.later = self.application_secrets()
        self.reader.change_keys(self.later[1])

    def certificate(self, chain: Iterable[bytes] | None = None, context: bytes = b"") -> None:
        assert self.identity is not None or chain is not None
        self.send(Certificate.encode(context, self.identity.chain_der if chain is None else chain))  # type: ignore[union-attr]

    def finish(self) -> None:
        self.send(self.finished())
        self.writer.change_keys(self.later[0])

    def connect(self) -> None:
        """A whole proper handshake."""
        self.start()
        self.read_flight()
        self.finish()
        assert self.engine.handshake_complete, self.engine.failure
