"""The provider ``openssl``: OpenSSL as ``cryptography`` brings it along, through pyOpenSSL. TLS 1.2 and 1.3.

Only pyOpenSSL's public, documented names are used. What can't be set with them is refused: a choice among several
groups, a choice of signature schemes. How decisions and certificates are dealt with is told in
:mod:`tlsprovider.providers.gate`; OpenSSL's own verification is off.

One ``SSL.Context`` serves all connections with the same configuration and identity, and goes when one of those goes.
What belongs to one connection is in its :class:`Notes`, which callbacks find as the connection's ``app_data``; OpenSSL
can't be told of an exception in a callback, so none gets out of one: it is noted, and ends the next call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from OpenSSL import SSL
from zope.interface import implementer

from tlsprovider.config import DEFAULT_GROUPS, ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import certificate_der
from tlsprovider.crypto.handover import CURVES
from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import ClosedByPeer, TLSError
from tlsprovider.handshake.steps import call_hook, per_config
from tlsprovider.iana import AlertDescription, CipherSuite, NamedGroup
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers.contexts import make_context
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.features import asked, asked_of_identity, check_side, insist
from tlsprovider.providers.gate import ClientGate, ServerGate
from tlsprovider.providers.library import LibrarySilent
from tlsprovider.providers.openssl_errors import failure, reason_of
from tlsprovider.providers.shared import MAX_PLAINTEXT, PerPair, check_name, iana_name, named

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsprovider.identity import Identity
    from tlsprovider.providers.library import Library

__all__ = ["OpenSSLProvider", "provider"]

FEATURES: Final = frozenset(
    {
        "TLSv1.3",
        "TLSv1.2",
        "ClientHelloReceived",
        "ChooseIdentity",
        "VerifyPeer",
        "VerifyPeer.ocsp",
        "alpn",
        "alpn.binary",
        "cipher_suites",
        "client_auth",
        "client_auth.clock",
        "client_auth.pinned",
        "client_auth.unverified",
        "clock",
        "keylog",
        "on_event",
        "exporter",
        "tls-exporter",
        "half_close",
        "group",
    }
)
# What can be negotiated, though not chosen: the lists that OpenSSL has of its own.
NEGOTIABLE: Final = (*DEFAULT_GROUPS, NamedGroup.x448, *SUITES, *HANDSHAKE_SCHEMES)

# What a client sends under when its certificate is due, and a server when its flight is out: the words of RFC 9850.
OUR_SECRET: Final = {False: b"CLIENT_HANDSHAKE_TRAFFIC_SECRET", True: b"SERVER_TRAFFIC_SECRET_0"}
# A record's header, tag and type, and some to spare; the same again for what isn't data.
OVERHEAD: Final = 64
ROOM: Final = 8192


class Notes:
    """What the callbacks find out about one connection."""

    __slots__ = ("keylog", "ocsp", "problem", "received", "secret", "secret_label", "sent")

    def __init__(self, is_server: bool, keylog: Callable[[str], object] | None) -> None:
        self.keylog = keylog
        self.secret_label = OUR_SECRET[is_server]
        self.secret = b""
        self.received: AlertDescription | None = None
        self.sent: AlertDescription | None = None
        self.ocsp: bytes | None = None
        self.problem: TLSError | None = None


def _note_alert(connection: SSL.Connection, where: int, value: int) -> None:
    """The info callback, SSL_CTX_set_info_callback(3): the one place where alerts have numbers."""
    if where & SSL.SSL_CB_ALERT:
        notes: Notes = connection.get_app_data()
        alert = AlertDescription(value & 0xFF)
        if where & SSL.SSL_CB_READ:
            notes.received = alert
        else:
            notes.sent = alert


def _note_secret(connection: SSL.Connection, line: bytes) -> None:
    """The key log callback, SSL_CTX_set_keylog_callback(3)."""
    notes: Notes = connection.get_app_data()
    label, _, rest = line.partition(b" ")
    if label == notes.secret_label:
        notes.secret = bytes.fromhex(rest.rpartition(b" ")[2].decode("ascii"))
    if notes.keylog is not None and notes.problem is None:
        try:
            call_hook("keylog", notes.keylog, line.decode("ascii"))
        except TLSError as problem:
            notes.problem = problem


def _note_staple(connection: SSL.Connection, response: bytes, _: object) -> bool:
    notes: Notes = connection.get_app_data()
    notes.ocsp = response or None
    return True


class OpenSSLConnection:
    """:class:`~tlsprovider.providers.library.Library` over one ``SSL.Connection``."""

    verifies = False
    session_reused = False

    def __init__(self, connection: SSL.Connection, notes: Notes) -> None:
        self._connection = connection
        self._notes = notes
        self._expected = 0

    def set_name(self, name: str) -> None:
        self._connection.set_tlsext_host_name(name.encode("ascii"))

    def request_staple(self) -> None:
        self._connection.request_ocsp()

    # -- the handshake ---------------------------------------------------------------------------------------------

    def feed(self, record: bytes | memoryview) -> None:
        self._connection.bio_write(record)

    def handshake(self) -> bool:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._raise_problem()
            return False
        except SSL.ZeroReturnError:
            raise ClosedByPeer from None
        except SSL.Error as error:
            raise self._failure(error) from None
        self._raise_problem()
        return True

    def _raise_problem(self) -> None:
        problem, self._notes.problem = self._notes.problem, None
        if problem is not None:
            raise problem

    def _failure(self, error: SSL.Error) -> TLSError:
        notes = self._notes
        if notes.problem is not None:
            return notes.problem
        if notes.received == AlertDescription.close_notify:
            return ClosedByPeer()
        queue = error.args[0] if error.args and isinstance(error.args[0], list) else []
        words = queue[0][2] if queue else "no reason given"
        return failure(reason_of(words), words, notes.received, notes.sent)

    def peer_certificates(self) -> Sequence[bytes]:
        leaf = self._connection.get_peer_certificate(as_cryptography=True)
        if leaf is None:
            return ()
        chain = self._connection.get_peer_cert_chain(as_cryptography=True) or []
        # SSL_get_peer_cert_chain(3): on the server's side the leaf is not in it.
        return [certificate_der(one) for one in (chain if chain[:1] == [leaf] else [leaf, *chain])]

    def verified_chain(self) -> Sequence[bytes]:
        return ()

    def stapled(self) -> tuple[bytes | None, tuple[bytes, ...]]:
        return self._notes.ocsp, ()

    def alert_secret(self) -> TrafficSecret | None:
        name = self._connection.get_cipher_name()
        if not self._notes.secret or name is None:
            return None
        return TrafficSecret(SUITES[CipherSuite.parse(name)], self._notes.secret)

    def release_secrets(self) -> None:
        self._notes.secret = self._notes.secret_label = b""

    # -- bytes -----------------------------------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        size = self._expected + ROOM
        self._expected = 0
        pieces: list[bytes] = []
        while True:
            try:
                piece = self._connection.bio_read(size)
            except SSL.WantReadError:
                break
            pieces.append(piece)
            if len(piece) < size:
                break
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def read(self) -> bytes:
        try:
            return self._connection.recv(MAX_PLAINTEXT)
        except SSL.WantReadError:
            self._raise_problem()
            raise LibrarySilent from None
        except SSL.ZeroReturnError:
            return b""
        except SSL.Error as error:
            raise self._failure(error) from None

    def write(self, data: memoryview) -> None:
        self._expected += len(data) + (len(data) // MAX_PLAINTEXT + 1) * OVERHEAD
        try:
            self._connection.sendall(data)
        except SSL.Error as error:
            raise self._failure(error) from None

    def close(self) -> None:
        try:
            self._connection.shutdown()
        except SSL.Error as error:
            raise self._failure(error) from None

    # -- what was agreed -------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self._connection.get_protocol_version_name()

    @property
    def cipher(self) -> str:
        return iana_name(self._connection.get_cipher_name() or "")

    @property
    def group(self) -> str | None:
        name = self._connection.get_group_name()
        return NamedGroup.parse(name).name if name is not None else None

    @property
    def alpn(self) -> str | None:
        return self._connection.get_alpn_proto_negotiated().decode("latin-1") or None

    @property
    def finished(self) -> bytes | None:
        return self._connection.get_finished()

    @property
    def peer_finished(self) -> bytes | None:
        return self._connection.get_peer_finished()

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        return self._connection.export_keying_material(label, length, context)


def _make_context(config: ClientConfig | ServerConfig, identity: Identity | None) -> SSL.Context:
    """A context that leaves verification to us, and whose callbacks fill in the connection's :class:`Notes`."""
    context = make_context(config, identity)
    if isinstance(config, ClientConfig) and config.verify_peer is not None:
        context.set_ocsp_client_callback(_note_staple)
    context.set_info_callback(_note_alert)
    context.set_keylog_callback(_note_secret)
    return context


@implementer(ITLSProvider)
class OpenSSLProvider:
    """See :class:`~tlsprovider.interfaces.ITLSProvider`."""

    name = "openssl"
    description = "OpenSSL as bundled with cryptography, through pyOpenSSL"

    def __init__(self) -> None:
        self.contexts = PerPair(_make_context)
        self.insist = per_config(self._insist)

    def supports(self, feature: str) -> bool:
        return feature in FEATURES or named(feature, NEGOTIABLE)

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        """``server_hostname``: a DNS name or an IP address; it is verified, and a name is sent as SNI."""
        check_side(config, server_side=False)
        self.insist(config)
        sni = check_name(config, server_hostname)
        self.contexts.of(config, config.identity)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            connection = self._begin(config, identity, is_server=False)
            if sni is not None:
                connection.set_name(sni)
            if config.verify_peer is not None:
                connection.request_staple()
            return connection

        return self._engine(ClientGate(config, begin, server_hostname))

    def server_engine(self, config: ServerConfig) -> IEngine:
        check_side(config, server_side=True)
        self.insist(config)
        for identity in config.identities[:1]:
            self.contexts.of(config, identity)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            # Either may be a hook's answer.
            self.insist(config)
            assert identity is not None, "a server shows a certificate"
            insist(self.supports, self.name, asked_of_identity(identity))
            return self._begin(config, identity, is_server=True)

        return self._engine(ServerGate(config, begin, None))

    def _engine(self, gate: ClientGate | ServerGate) -> IEngine:
        engine: IEngine = LibraryEngine(gate, self.name, self.supports)
        return engine

    def _begin(
        self, config: ClientConfig | ServerConfig, identity: Identity | None, is_server: bool
    ) -> OpenSSLConnection:
        connection = SSL.Connection(self.contexts.of(config, identity), None)
        notes = Notes(is_server, config.keylog)
        connection.set_app_data(notes)
        if is_server:
            connection.set_accept_state()
        else:
            connection.set_connect_state()
        return OpenSSLConnection(connection, notes)

    def _insist(self, config: ClientConfig | ServerConfig) -> None:
        one_curve = len(config.groups) == 1 and config.groups[0] in CURVES
        insist(lambda feature: self.supports(feature) or (feature == "groups" and one_curve), self.name, asked(config))


provider = OpenSSLProvider()
