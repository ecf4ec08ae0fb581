"""What both sides of a handshake share: pauses, messages in and out, questions, and proof of who the peer is.

The handshake is a coroutine, but no event loop ever sees it: ``tlsprovider.engine`` drives it with ``send(None)``. It
pauses in exactly two places, :meth:`Steps.read` (the next handshake message isn't there yet) and :meth:`Steps.ask` (a
question waits for its answer), and what it yields there is the reason. It is written with ``async def`` and not as a
generator because a forgotten ``await`` is reported, by mypy and by Python, where a forgotten ``yield from`` is silent.

A step that must not be skipped hands out a *proof value* that a later step requires. :class:`VerifiedPeer` is one:
without it nothing can be finished, and only the check itself and :meth:`VerifiedPeer.unchecked` make it.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Generator
from types import coroutine
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from weakref import ref

from tlsprovider.crypto import signatures
from tlsprovider.crypto.certificates import describe
from tlsprovider.crypto.schedule import HandshakeSecret, MainSecret, TrafficSecret
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    ClosedByPeer,
    Fault,
    HookError,
    PeerFault,
    TLSError,
    TruncatedError,
)
from tlsprovider.events import Event, EventKind
from tlsprovider.handshake.chain import read_chain
from tlsprovider.handshake.results import ApplicationSecrets, Established, PeerChain, VerifiedPeer
from tlsprovider.iana import AlertDescription, HandshakeType, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.identity import Identity
from tlsprovider.questions import Later, Question, SignHandshake, VerifyPeer
from tlsprovider.record import ALERT, HANDSHAKE, RecordReader, RecordWriter, alert_bytes
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.messages import Certificate, CertificateVerify, Finished

if TYPE_CHECKING:
    from cryptography import x509

    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.handshake.psk import Psk
    from tlsprovider.wire.extensions import Extensions

__all__ = ["WANT_READ", "Steps", "per_config"]

A = TypeVar("A")
K = TypeVar("K")
V = TypeVar("V")

# A state's name is the direction and the RFC's word, everywhere.
READ_STATES: Final = {kind: f"read_{kind.name}" for kind in HandshakeType}
SEND_STATES: Final = {kind: f"send_{kind.name}" for kind in HandshakeType}


class _WantRead:
    def __repr__(self) -> str:
        return "WANT_READ"


WANT_READ: Final = _WantRead()


@coroutine
def _pause(reason: object) -> Generator[object, None, None]:
    """Give ``reason`` to the driver; come back when it has changed."""
    yield reason


def per_config(function: Callable[[K], V]) -> Callable[[K], V]:
    """Compute once for each configuration or identity, and forget it together with that."""
    # By identity, which is what a WeakKeyDictionary comes to here, in a third of the time.
    known: dict[int, tuple[ref[K], V]] = {}

    def prepared(key: K) -> V:
        number = id(key)
        found = known.get(number)
        if found is not None and found[0]() is key:
            return found[1]
        value = function(key)
        known[number] = ref(key, lambda _: known.pop(number, None)), value
        return value

    return prepared


def call_hook(name: str, hook: Callable[[Any], Any], argument: object) -> Any:
    """Call one of the user's hooks. A PeerFault out of it is a refusal; anything else never lets a handshake go on."""
    try:
        return hook(argument)
    except PeerFault:
        raise
    except Exception as failure:
        raise HookError(f"the hook {name} failed: {type(failure).__name__}: {failure}") from failure


def tell(config: ClientConfig | ServerConfig, kind: EventKind, name: str, data: bytes = b"") -> None:
    """Tell the listener, if there is one."""
    if config.on_event is not None:
        call_hook("on_event", config.on_event, Event(kind, name, data))


def tell_alert(config: ClientConfig | ServerConfig, alert: AlertDescription) -> None:
    """An alert was sent."""
    tell(config, "alert_sent", alert.name, alert_bytes(alert))


@per_config
def certificate_message(identity: Identity) -> bytes:
    """Section 4.5.1: the same for every handshake that shows this identity."""
    return Certificate.encode(b"", identity.chain_der)


class Steps:
    """The common part of a client's and a server's handshake. Values of one stage are locals of the coroutine."""

    is_server: ClassVar[bool]
    # What is signed begins with, by whether a server signs.
    SIGNING_CONTEXTS: ClassVar = {
        False: b" " * 64 + b"TLS 1.3, client CertificateVerify\0",
        True: b" " * 64 + b"TLS 1.3, server CertificateVerify\0",
    }

    # How each begins: what never changes in most handshakes is not set in each of them.
    state = "start"
    client_random = b""
    server_name: str | None = None
    peer_address: tuple[str, int] | None = None
    question: Question[Any] | None = None
    peer_ended = False
    peer_canceled = False
    protected = False
    finished = peer_finished = b""
    """The content of both sides' Finished, for channel bindings of the old kind."""
    early_data = "not_sent"

    def __init__(self, config: ClientConfig | ServerConfig, reader: RecordReader, writer: RecordWriter) -> None:
        self.config: Any = config
        self.reader = reader
        self.writer = writer
        self.transcript = Transcript()
        self._flight: list[bytes] = []

    async def run(self) -> tuple[Established, ApplicationSecrets]:
        """The whole handshake, one call for each message in wire order."""
        raise TypeError("a handshake is a client's or a server's")

    # -- what is told ----------------------------------------------------------------------------------------------

    def enter(self, state: str) -> None:
        self.state = state
        if self.config.on_event is not None:
            self.tell("state", state)

    def tell(self, kind: EventKind, name: str, data: bytes = b"") -> None:
        tell(self.config, kind, name, data)

    def log_key(self, label: str, secret: bytes) -> None:
        """One line of RFC 9850, before the secret is used."""
        if self.config.keylog is not None:
            call_hook("keylog", self.config.keylog, f"{label} {self.client_random.hex()} {secret.hex()}")

    # -- messages in -----------------------------------------------------------------------------------------------

    async def read(self, *expected: HandshakeType) -> bytes:
        """The next handshake message, whole; it has to be one of ``expected``.

        It is *not* added to the transcript: some messages are checked against the transcript before them.
        """
        # As enter() does it; this and send() run for every message.
        self.state = READ_STATES[expected[0]]
        if self.config.on_event is not None:
            self.tell("state", self.state)
        if self._flight:
            self.flush()
        handshake = self.reader.handshake
        while (message := handshake.next_message()) is None:
            record = self.reader.read()
            if record is None:
                await self._wait_for_bytes()
            elif record[0] == HANDSHAKE:
                handshake.add(record[1])
            elif record[0] == ALERT:
                self._read_alert(record[1])
            else:
                self.read_application_data(record[1])
        if message[0] not in expected:
            wanted = " or ".join(one.name for one in expected)
            raise PeerFault(Fault.UNEXPECTED_MESSAGE, f"{HandshakeType(message[0])} instead of {wanted}")
        if self.config.on_event is not None:
            self.tell("message_received", HandshakeType(message[0]).name, message)
        return message

    def read_application_data(self, content: bytes) -> None:
        """There is none before the handshake is complete, but early data on a server that accepts it."""
        raise PeerFault(Fault.UNEXPECTED_APPLICATION_DATA)

    def insist_on_boundary(self) -> None:
        """The message just read is the last before the keys, or the peer's turn, change (section 5.1)."""
        if self.reader.handshake.waiting:
            raise PeerFault(Fault.KEY_CHANGE_SPLIT)

    async def _wait_for_bytes(self) -> None:
        if self.peer_ended:
            raise TruncatedError("unexpected eof while reading: the peer went away during the handshake")
        await _pause(WANT_READ)

    def _read_alert(self, content: bytes) -> None:
        """Section 6: in TLS 1.3 every alert but the two closure alerts ends the connection."""
        alert = decode_alert(content)
        self.tell("alert_received", alert.name, content)
        if alert is AlertDescription.user_canceled and not self.peer_canceled:
            self.peer_canceled = True
            return
        if alert is AlertDescription.close_notify:
            raise ClosedByPeer()
        raise AlertReceived(alert, self._explain_alert(alert))

    def _explain_alert(self, alert: AlertDescription) -> str:
        return ""

    # -- messages out ----------------------------------------------------------------------------------------------

    def send(self, kind: HandshakeType, message: bytes) -> None:
        """Add a message to the transcript and to the flight."""
        self.state = SEND_STATES[kind]
        if self.config.on_event is not None:
            self.tell("state", self.state)
            self.tell("message_sent", kind.name, message)
        self.transcript.add(message)
        self._flight.append(message)

    def flush(self) -> None:
        """The flight so far becomes records under the keys of now: whole messages share a record where they fit."""
        if self._flight:
            self.writer.write(HANDSHAKE, b"".join(self._flight))
            self._flight.clear()

    def prepare_alert(self) -> None:
        """The handshake has failed, and an alert is about to leave: is there anything that has to go before it?"""

    def change_write_keys(self, secret: TrafficSecret) -> None:
        self.flush()
        self.protected = True
        self.writer.change_keys(secret)

    # -- keys, section 7 -------------------------------------------------------------------------------------------

    def change_to_handshake_keys(
        self, secret: HandshakeSecret, early: TrafficSecret | None = None
    ) -> tuple[TrafficSecret, TrafficSecret]:
        """ServerHello is in the transcript: ``(the secret this side sends under, the peer's)``.

        ``early``: the client stays under this one until EndOfEarlyData (section 4.6).
        """
        digest = self.transcript.digest()
        client, server = secret.client_handshake_traffic(digest), secret.server_handshake_traffic(digest)
        if self.config.keylog is not None:
            self.log_key("CLIENT_HANDSHAKE_TRAFFIC_SECRET", client.secret)
            self.log_key("SERVER_HANDSHAKE_TRAFFIC_SECRET", server.secret)
        ours, theirs = (server, client) if self.is_server else (client, server)
        if early is None or self.is_server:
            self.change_write_keys(ours)
        self.reader.change_keys(early if early is not None and self.is_server else theirs)
        return ours, theirs

    def derive_application_secrets(self, main: MainSecret) -> ApplicationSecrets:
        """The server's Finished is in the transcript."""
        digest = self.transcript.digest()
        client, server = main.client_application_traffic(digest), main.server_application_traffic(digest)
        exporter = main.exporter(digest)
        if self.config.keylog is not None:
            self.log_key("CLIENT_TRAFFIC_SECRET_0", client.secret)
            self.log_key("SERVER_TRAFFIC_SECRET_0", server.secret)
            self.log_key("EXPORTER_SECRET", exporter)
        ours, theirs = (server, client) if self.is_server else (client, server)
        return ApplicationSecrets(read=theirs, write=ours, exporter=exporter)

    def derive_resumption_secret(self, main: MainSecret) -> bytes:
        """The client's Finished is in the transcript."""
        return main.resumption(self.transcript.digest())

    # -- questions -------------------------------------------------------------------------------------------------

    async def ask(self, name: str, hook: Callable[[Any], Any], question: Question[A]) -> A:
        """Ask the hook; pause while the answer is being worked out (DESIGN: questions)."""
        result: A | Awaitable[A] | Later = call_hook(name, hook, question)
        if isinstance(result, Awaitable):
            question.pending = result
        elif not isinstance(result, Later):
            return result
        question.time_limit = self.config.answer_timeout
        self.flush()
        self.question = question
        while not question.answered:
            await _pause(question)
        self.question = None
        try:
            return question.outcome()
        except PeerFault:
            raise
        except BaseException as failure:
            raise HookError(f"the hook {name} failed: {type(failure).__name__}: {failure}") from failure

    def check_identity(self, answer: Identity | None) -> Identity | None:
        """What choose_identity answered has to be an Identity or None."""
        if answer is not None and not isinstance(answer, Identity):
            raise HookError(f"choose_identity must answer an Identity or None; it answered {answer!r}")
        return answer

    # -- authentication messages, section 4.5 ----------------------------------------------------------------------

    def parse_certificate(self, data: bytes, requested: frozenset[int]) -> PeerChain:
        """Section 4.5.1. The chain may be empty; whether that is allowed is the caller's knowledge."""
        chain = read_chain(data, requested)
        self.transcript.add(data)
        return chain

    async def read_certificate_verify(self, chain: PeerChain) -> VerifiedPeer:
        """Section 4.5.2: the peer holds the key; then, whether it is to be trusted."""
        data = await self.read(HandshakeType.certificate_verify)
        message = CertificateVerify.decode(data)
        if message.scheme not in self.config.signature_schemes:
            raise PeerFault(Fault.SIGNATURE_SCHEME, str(SignatureScheme(message.scheme)))
        scheme = SignatureScheme(message.scheme)
        content = self._signed_content(not self.is_server)
        signatures.verify(chain.certificates[0], scheme, message.signature, content)
        self.transcript.add(data)
        stapled = chain.entries[0].extensions
        try:
            verified = self.verify_chain(chain.certificates, chain.may_sign)
            await self._ask_about_peer(chain.certificates, verified, stapled)
        except CertificateFault as fault:
            fault.certificates = chain.certificates
            raise
        return VerifiedPeer(VerifiedPeer._KEY, chain.certificates, verified, scheme, "", stapled)

    async def verify_psk(self, psk: Psk) -> VerifiedPeer:
        """Section 2.2: the peer holds the secret of a session, so it is who it was then; or a key that it was given.

        ``psk.verified`` comes from :meth:`verify_chain`, now; the user's own check is asked again.
        """
        session = psk.session
        if session is None:
            return VerifiedPeer.unchecked("an external pre-shared key: only who was given it has it")
        certificates = session.peer_certificates
        if not certificates:
            return VerifiedPeer.unchecked("resumed: no certificate was there in the first place")
        try:
            await self._ask_about_peer(certificates, psk.verified, session.stapled)
        except CertificateFault as fault:
            fault.certificates = certificates
            raise
        return VerifiedPeer(VerifiedPeer._KEY, certificates, psk.verified, None, "resumed", session.stapled)

    def _signed_content(self, by_server: bool) -> bytes:
        return self.SIGNING_CONTEXTS[by_server] + self.transcript.digest()

    def verify_chain(self, certificates: tuple[x509.Certificate, ...], may_sign: bool) -> tuple[x509.Certificate, ...]:
        """The built-in check against the trust store. It gives the chain as verified; empty if nothing is verified."""
        if not may_sign:
            # Section 4.5.1.2. It says what the key is for, not whose it is, so nothing skips it.
            whose = describe(certificates[0].subject)
            raise CertificateFault(
                f"the certificate of {whose} is not for TLS 1.3: its keyUsage does not allow digitalSignature",
                Fault.CERTIFICATE_PURPOSE,
            )
        if self.config.insecure_skip_verify:
            return ()
        return self._verify_with(self.config.trust, certificates)

    async def _ask_about_peer(
        self,
        certificates: tuple[x509.Certificate, ...],
        verified: tuple[x509.Certificate, ...],
        stapled: Extensions,
    ) -> None:
        """The user's own check; it returns if there is no objection."""
        config = self.config
        if config.verify_peer is None:
            return
        ocsp, scts = stapled.get(X.status_request), stapled.get(X.signed_certificate_timestamp)
        answer = await self.ask(
            "verify_peer",
            config.verify_peer,
            VerifyPeer(
                peer_certificates=certificates,
                verified_chain=verified,
                server_name=None if self.is_server else self.server_name,
                ocsp_response=ext.decode_ocsp_response(ocsp) if ocsp is not None else None,
                scts=ext.decode_scts(scts) if scts is not None else (),
            ),
        )
        if isinstance(answer, CertificateFault):
            raise answer
        if answer is False:
            raise CertificateFault("verify_peer refused the certificate")
        if answer is not True:
            raise HookError(f"verify_peer must answer True, False or a CertificateFault; it answered {answer!r}")

    def _verify_with(self, trust: Any, certificates: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
        raise TypeError("a handshake is a client's or a server's")

    async def send_certificate_verify(self, identity: Identity, scheme: SignatureScheme) -> None:
        """Section 4.5.2; the key may live elsewhere, then this pauses."""
        self.enter("send_certificate_verify")
        content = self._signed_content(self.is_server)
        if identity.external:
            question = SignHandshake(identity=identity, scheme=scheme, message=content)
            signature = await self.ask("signer", lambda one: identity.sign(scheme, content), question)
            self._check_own_signature(identity, scheme, signature, content)
        else:
            signed = identity.sign(scheme, content)
            assert isinstance(signed, bytes), "a private key in this process signs at once"
            signature = signed
        self.send(HandshakeType.certificate_verify, CertificateVerify(scheme, signature).encode())

    def _check_own_signature(self, identity: Identity, scheme: SignatureScheme, signature: object, data: bytes) -> None:
        """A faulty signature of an RSA key can give the key away, and a useless one helps nobody."""
        if not isinstance(signature, bytes):
            raise HookError(f"the signer must give bytes; it gave {type(signature).__name__}")
        try:
            signatures.verify(identity.certificates[0], scheme, signature, data)
        except TLSError as failure:
            raise HookError(f"the signer gave a signature that is not valid for {scheme}") from failure

    # -- Finished, section 4.5.3 -----------------------------------------------------------------------------------

    async def read_finished(self, peer: VerifiedPeer, secret: TrafficSecret) -> None:
        """``peer`` is the proof that this is not called before the peer was verified."""
        assert isinstance(peer, VerifiedPeer)
        data = await self.read(HandshakeType.finished)
        verify_data = Finished.decode(data, secret.suite.hash_length)
        if not hmac.compare_digest(verify_data, secret.finished(self.transcript.digest())):
            raise PeerFault(Fault.FINISHED_MISMATCH)
        self.peer_finished = verify_data
        self.transcript.add(data)
        # Section 5: change_cipher_spec is tolerated until the peer's Finished.
        self.reader.allow_change_cipher_spec = False

    def send_finished(self, secret: TrafficSecret) -> None:
        self.finished = secret.finished(self.transcript.digest())
        self.send(HandshakeType.finished, Finished.encode(self.finished))


def decode_alert(content: bytes) -> AlertDescription:
    """Section 6. Alerts are not fragmented and not joined."""
    if len(content) != 2:
        raise PeerFault(Fault.ALERT_MALFORMED, f"{len(content)} bytes")
    return AlertDescription(content[1])
