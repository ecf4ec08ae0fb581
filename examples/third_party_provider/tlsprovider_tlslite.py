"""The provider ``tlslite``: tlslite-ng behind tlsprovider's interface.

tlslite-ng expects a socket. :class:`Wire` looks like one that never blocks and has memory at both ends; tlslite's
generators then stop whenever a record is missing. That is all that
:class:`~tlsprovider.providers.library.Library` asks for; the questions, the verification of certificates and the rules
for failures are tlsprovider's.
"""

from __future__ import annotations

import errno
import secrets
from collections.abc import Generator, Iterable, Sequence
from typing import Any

from tlslite.api import HandshakeSettings, TLSConnection, X509CertChain, parsePEMKey
from tlslite.constants import GroupName
from tlslite.errors import TLSLocalAlert, TLSRemoteAlert
from zope.interface import implementer

from tlsprovider import ClientConfig, ClosedByPeer, Identity, PeerFault, ServerConfig, TLSError
from tlsprovider.crypto.handover import key_pem, pem
from tlsprovider.errors import AlertReceived
from tlsprovider.iana import AlertDescription, CipherSuite, NamedGroup, SignatureScheme
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.features import asked, asked_of_identity, check_side, insist
from tlsprovider.providers.gate import ClientGate, ServerGate
from tlsprovider.providers.library import Library, LibrarySilent, peer_fault
from tlsprovider.providers.shared import check_name

CIPHERS = {
    CipherSuite.TLS_AES_128_GCM_SHA256: "aes128gcm",
    CipherSuite.TLS_AES_256_GCM_SHA384: "aes256gcm",
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256: "chacha20-poly1305",
}
GROUPS = (NamedGroup.x25519, NamedGroup.secp256r1, NamedGroup.secp384r1, NamedGroup.secp521r1)
SCHEMES = (
    SignatureScheme.ecdsa_secp256r1_sha256,
    SignatureScheme.ecdsa_secp384r1_sha384,
    SignatureScheme.ecdsa_secp521r1_sha512,
    SignatureScheme.ed25519,
    SignatureScheme.rsa_pss_rsae_sha256,
    SignatureScheme.rsa_pss_rsae_sha384,
    SignatureScheme.rsa_pss_rsae_sha512,
)
FEATURES = {
    "TLSv1.3",
    "ClientHelloReceived",
    "ChooseIdentity",
    "VerifyPeer",
    "alpn",
    "alpn.binary",
    "clock",
    "group",
    "groups",
    "key_shares",
    "on_event",
    *map(str, (*CIPHERS, *GROUPS, *SCHEMES)),
}
RECORD = 1 << 14


class Wire:
    """A socket, as far as tlslite can tell."""

    def __init__(self) -> None:
        self.incoming = bytearray()
        self.outgoing = bytearray()

    def recv(self, size: int) -> bytes:
        if not self.incoming:
            raise OSError(errno.EWOULDBLOCK, "no more for now")
        data = bytes(self.incoming[:size])
        del self.incoming[:size]
        return data

    def send(self, data: bytes) -> int:
        self.outgoing += data
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.outgoing += data

    def close(self) -> None:
        """There is nothing to close."""


class TLSLite:
    """One connection: :class:`~tlsprovider.providers.library.Library`."""

    verifies = False
    session_reused = False
    version = "TLSv1.3"
    cipher = ""
    group: str | None = None
    alpn: str | None = None

    def __init__(
        self, config: ClientConfig | ServerConfig, identity: Identity | None, name: str | None, alpn: Iterable[str]
    ) -> None:
        self._wire = Wire()
        self._connection = TLSConnection(self._wire)
        self._connection.closeSocket = False
        self._is_server = isinstance(config, ServerConfig)
        protocols = [bytearray(one.encode("latin-1")) for one in alpn]
        self._steps = self._begin(config, identity, name, protocols)
        self._reading: Generator[Any, None, None] | None = None
        self._closing: Generator[Any, None, None] | None = None

    def _begin(
        self,
        config: ClientConfig | ServerConfig,
        identity: Identity | None,
        name: str | None,
        alpn: list[bytearray],
    ) -> Generator[Any, None, None]:
        settings = make_settings(config)
        if not self._is_server:
            return self._connection.handshakeClientCert(
                settings=settings, serverName=name, alpn=alpn or None, reqTack=False, async_=True
            )
        assert identity is not None and identity.private_key is not None
        chain = X509CertChain()
        chain.parsePemList(pem(identity.certificates).decode("ascii"))
        key = parsePEMKey(key_pem(identity.private_key, None).decode("ascii"), private=True)
        return self._connection.handshakeServerAsync(certChain=chain, privateKey=key, settings=settings, alpn=alpn)

    def feed(self, record: bytes | memoryview) -> None:
        self._wire.incoming += record

    def outgoing(self) -> bytes:
        data = bytes(self._wire.outgoing)
        self._wire.outgoing.clear()
        return data

    def handshake(self) -> bool:
        try:
            waiting = next(self._steps, None) is not None
        except Exception as problem:
            raise explained(problem) from None
        if waiting:
            return False
        connection = self._connection
        self.cipher = CipherSuite(connection.session.cipherSuite).name
        self.group = NamedGroup.parse(GroupName.toStr(connection.ecdhCurve)).name
        self.alpn = bytes(connection.session.appProto or b"").decode("latin-1") or None
        return True

    def read(self) -> bytes:
        generator = self._closing or self._reading or self._connection.readAsync(RECORD, 1)
        try:
            data = next(generator, b"")
        except Exception as problem:
            raise explained(problem) from None
        if isinstance(data, bytes):
            self._reading = None
            return data
        if generator is not self._closing:
            self._reading = generator
        raise LibrarySilent

    def write(self, data: memoryview) -> None:
        for _ in self._connection.writeAsync(data):
            raise AssertionError("the wire takes everything")

    def close(self) -> None:
        """tlslite then waits for the peer's close_notify, and drops data before it: it can't close one direction."""
        self._closing = self._connection.closeAsync()
        next(self._closing, None)

    def peer_certificates(self) -> Sequence[bytes]:
        session = self._connection.session
        chain = session.serverCertChain if session and not self._is_server else None
        return [bytes(certificate.writeBytes()) for certificate in chain.x509List] if chain else ()

    def verified_chain(self) -> Sequence[bytes]:
        return ()

    def stapled(self) -> tuple[bytes | None, tuple[bytes, ...]]:
        return None, ()

    def alert_secret(self) -> None:
        return None

    def release_secrets(self) -> None:
        """They are tlslite's own."""

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        raise NotImplementedError("refused before: tlslite's exporter takes no context")


def make_settings(config: ClientConfig | ServerConfig) -> HandshakeSettings:
    settings = HandshakeSettings()
    settings.minVersion = settings.maxVersion = (3, 4)
    settings.versions = [(3, 4)]
    settings.cipherNames = [CIPHERS[suite] for suite in config.cipher_suites]
    settings.eccCurves = [group.name for group in config.groups if group in GROUPS]
    settings.dhGroups = []
    wanted = config.key_shares if isinstance(config, ClientConfig) else ()
    settings.keyShares = [group.name for group in wanted if group in GROUPS]
    settings.defaultCurve = settings.eccCurves[0]
    settings.more_sig_schemes = ["Ed25519"]
    settings.minKeySize = 2048
    settings.ticket_count = 0
    settings.use_heartbeat_extension = False
    settings.certificate_compression_send = settings.certificate_compression_receive = []
    return settings


def explained(problem: Exception) -> TLSError:
    """tlslite's exceptions as tlsprovider's. It has sent its alert by now."""
    if isinstance(problem, TLSRemoteAlert):
        alert = AlertDescription(problem.description)
        return ClosedByPeer() if alert == AlertDescription.close_notify else AlertReceived(alert)
    if isinstance(problem, TLSLocalAlert):
        return peer_fault(AlertDescription(problem.description), f"tlslite says {problem.message!r}")
    # Hostile bytes make it raise all sorts of things; whatever it is, the answer is no.
    fault: PeerFault = peer_fault(None, f"tlslite raised {type(problem).__name__}")
    return fault


@implementer(ITLSProvider)
class TLSLiteProvider:
    name = "tlslite"
    description = "tlslite-ng, in pure Python: an example of a third party's provider"

    def supports(self, feature: str) -> bool:
        return feature in FEATURES

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        check_side(config, server_side=False)
        insist(self.supports, self.name, asked(config))
        sni = check_name(config, server_hostname)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            return TLSLite(config, None, sni, config.alpn)

        engine: IEngine = LibraryEngine(ClientGate(config, begin, server_hostname), self.name, self.supports)
        return engine

    def server_engine(self, config: ServerConfig) -> IEngine:
        check_side(config, server_side=True)
        insist(self.supports, self.name, asked(config))

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, alpn: str | None) -> Library:
            # tlslite would go by the client's order of protocols, so it gets the one that was chosen by ours.
            assert identity is not None
            insist(self.supports, self.name, asked(config))
            insist(self.supports, self.name, asked_of_identity(identity))
            # And one that nobody offers where there is none: tlslite 0.8.2 can't do without, if the client offers any.
            return TLSLite(config, identity, None, [secrets.token_hex(16) if alpn is None else alpn])

        engine: IEngine = LibraryEngine(ServerGate(config, begin, None), self.name, self.supports)
        return engine


provider = TLSLiteProvider()
