"""The client's side, RFC 9846 section 2 (figure 1) and appendix A.1.

    Client                                                        Server

    ClientHello                    -------->
                                   <--------           HelloRetryRequest      sometimes
    ClientHello                    -------->
                                                             ServerHello
                                                   {EncryptedExtensions}
                                                    {CertificateRequest}      sometimes
                                                           {Certificate}      unless resumed
                                                     {CertificateVerify}      unless resumed
                                   <--------                  {Finished}
    {Certificate}                                                             if asked
    {CertificateVerify}                                                       if there was one
    {Finished}                     -------->

:meth:`ClientHandshake.run` is that figure; below it, the steps follow in the same order.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from tlsprovider.crypto.certificates import may_sign
from tlsprovider.crypto.groups import KeyExchange, generate, generate_shares
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret, TrafficSecret
from tlsprovider.crypto.signatures import CERTIFICATE_SCHEMES
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import CertificateFault, Fault, PeerFault
from tlsprovider.handshake import negotiate
from tlsprovider.handshake.psk import Psk, externals, fingerprint, modes, of_session, psk_extension, with_binders
from tlsprovider.handshake.results import ApplicationSecrets, Established, PeerChain, VerifiedPeer
from tlsprovider.handshake.steps import Steps, call_hook, certificate_message, per_config
from tlsprovider.iana import AlertDescription, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.questions import ChooseIdentity
from tlsprovider.record import APPLICATION_DATA, HANDSHAKE, RecordReader, RecordWriter
from tlsprovider.session import SessionKey
from tlsprovider.values import value
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import vector16
from tlsprovider.wire.messages import (
    Certificate,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    EndOfEarlyData,
    ServerHello,
)

if TYPE_CHECKING:
    from cryptography import x509

    from tlsprovider.config import ClientConfig
    from tlsprovider.identity import Identity
    from tlsprovider.session import Session

__all__ = ["ClientHandshake"]


@value(repr=False)
class Offer:
    """A ClientHello that was sent, and the keys behind it."""

    session_id: bytes
    keys: dict[NamedGroup, KeyExchange]
    psks: tuple[Psk, ...]
    early: bool
    extensions: frozenset[int]


@per_config
def _fixed_extensions(config: ClientConfig) -> tuple[frozenset[int], bytes]:
    """Everything in a ClientHello that depends on the configuration alone: ``(numbers, encoded)``."""
    certificates_only = [scheme for scheme in CERTIFICATE_SCHEMES if scheme not in config.signature_schemes]
    known_for_certificates = [scheme for scheme in certificates_only if scheme.name.startswith("rsa_pkcs1_")]
    extensions: list[tuple[int, bytes]] = [
        (X.supported_versions, ext.encode_offered_versions([ProtocolVersion.TLSv1_3])),
        (X.supported_groups, ext.encode_u16s(config.groups)),
        # PKCS#1 v1.5 is for signatures in certificates (section 4.3.3). Peers look for it here rather than in
        # signature_algorithms_cert; in CertificateVerify it is refused.
        (X.signature_algorithms, ext.encode_u16s((*config.signature_schemes, *known_for_certificates))),
    ]
    if config.alpn:
        extensions.append((X.application_layer_protocol_negotiation, ext.encode_alpn(config.alpn)))
    if psk_modes := modes(config):
        extensions.append((X.psk_key_exchange_modes, ext.encode_psk_modes(psk_modes)))
    if config.verify_peer is not None:
        # Stapled answers are asked for when there is somebody to look at them.
        extensions.append((X.status_request, ext.STATUS_REQUEST))
        extensions.append((X.signed_certificate_timestamp, b""))
    return frozenset(int(number) for number, _ in extensions), ext.encode_entries(extensions)


@lru_cache(maxsize=64)
def _offered(fixed: frozenset[int], own: tuple[int, ...]) -> frozenset[int]:
    """All extensions of a hello; one object for all hellos that are alike, so that it is hashed once."""
    return fixed.union(own)


class ClientHandshake(Steps):
    """One handshake as a client. ``server_name``: what to verify; it is sent as SNI when ``send_name``."""

    is_server: ClassVar[bool] = False
    config: ClientConfig
    _compatibility_sent = False
    port: int | None = None
    """Sessions are kept by it; it is for whoever knows it to say."""
    session: Session | None = None
    early = b""

    def __init__(
        self,
        config: ClientConfig,
        reader: RecordReader,
        writer: RecordWriter,
        server_name: str | None,
        sni: str | None,
    ) -> None:
        super().__init__(config, reader, writer)
        self.server_name = server_name
        self._sni = sni

    async def run(self) -> tuple[Established, ApplicationSecrets]:
        psks = self._choose_psks()
        peer = await self._verify_early(psks) if self.early and psks else None
        offer = self._send_client_hello(psks, early=peer is not None)
        early = self._send_early_data(offer) if offer.early else None
        hello, suite = await self._read_server_hello(offer, None)
        if hello.is_retry_request:
            offer, retry = self._retry(offer, hello, suite), hello
            hello, suite = await self._read_server_hello(offer, retry)
        psk = negotiate.check_psk(hello, suite, offer.psks)
        group, handshake = self._derive_handshake_secret(offer, hello, suite, psk)
        ours, theirs = self.change_to_handshake_keys(handshake, early if offer.early and psk is not None else None)
        alpn = await self._read_encrypted_extensions(offer, psk, suite, ours)
        request, peer = await self._authenticate_server(offer, psk, peer)
        await self.read_finished(peer, theirs)

        main = handshake.main()
        secrets = self.derive_application_secrets(main)
        del handshake
        self.reader.change_keys(secrets.read)

        self._send_compatibility_mark()
        self._send_end_of_early_data(ours)
        identity = await self._send_certificate(request)
        self.send_finished(ours)
        self.change_write_keys(secrets.write)
        if self._begets_sessions(request, psk):
            secrets.resumption = self.derive_resumption_secret(main)
        established = Established(
            suite=suite,
            group=group,
            alpn=alpn,
            server_name=self.server_name,
            peer=peer,
            local_certificates=identity.certificates if identity is not None else (),
            session=psk.session if psk is not None else None,
            session_key=self._session_key() if secrets.resumption else None,
            early_data=self.early_data,
        )
        return established, secrets

    # -- sessions, section 2.2 -------------------------------------------------------------------------------------

    def _choose_psks(self) -> tuple[Psk, ...]:
        """What to offer: a session if there is one, and the keys that were given beforehand."""
        config = self.config
        given = tuple(externals(config).values()) if config.psks else ()
        return given if config.sessions is None else self._choose_session() + given

    def _session_key(self) -> SessionKey | None:
        """Where sessions of this connection are kept. Without a name nobody knows whose they are."""
        if self.server_name is None:
            return None
        return SessionKey(self.server_name.lower(), self.port, fingerprint(self.config))

    def _begets_sessions(self, request: CertificateRequest | None, psk: Psk | None) -> bool:
        """Whether a ticket will be of use.

        A session stands for certificates, so a key from outside begets none; and a hook that chose ours is to be asked
        again.
        """
        chosen = request is not None and self.config.choose_identity is not None
        outside = psk is not None and psk.session is None
        return self.config.sessions is not None and not chosen and not outside

    def _choose_session(self) -> tuple[Psk, ...]:
        """A session to resume, whose server would be believed now as well; none, or one."""
        now, key, session = self.config.clock(), self._session_key(), self.session
        if session is None and key is not None:
            session = call_hook("sessions", lambda store: store.take(key, now), self.config.sessions)
        if session is None or not self._may_resume(session, now):
            return ()
        try:
            verified = self.verify_chain(session.peer_certificates, may_sign(session.peer_certificates[0]))
        except CertificateFault:
            # Expired by now, perhaps. The full handshake is to say what is wrong with the certificates of today.
            return ()
        return (of_session(session, session.ticket, verified),)

    def _may_resume(self, session: Session, now: float) -> bool:
        suites = [suite for suite in self.config.cipher_suites if SUITES[suite].hash_name == session.hash_name]
        return (
            bool(suites and session.peer_certificates)
            and session.server_name == (self.server_name and self.server_name.lower())
            and session.fingerprint == fingerprint(self.config)
            and now < session.expires
        )

    # -- early data, section 4.3.10 --------------------------------------------------------------------------------

    async def _verify_early(self, psks: tuple[Psk, ...]) -> VerifiedPeer | None:
        """Proof of who gets early data, if there is some and the first key allows so much; the hook is asked before."""
        session = psks[0].session if self.config.early_data else None
        if session is None or len(self.early) > session.max_early_data:
            return None
        if session.cipher_suite not in self.config.cipher_suites:
            return None
        if session.alpn is not None and session.alpn not in self.config.alpn:
            return None
        try:
            return await self.verify_psk(psks[0])
        except CertificateFault:
            # No early data, then; and when the server has shown its certificates the hook may refuse them again.
            return None

    def _send_early_data(self, offer: Offer) -> TrafficSecret:
        """Behind the hello, under a key that the server has if it can open the ticket (section 2.3)."""
        psk = offer.psks[0]
        assert psk.session is not None
        suite = SUITES[psk.session.cipher_suite]
        secret = psk.early_secret(suite).client_early_traffic(self.transcript.digest_with(suite.hash_name, b""))
        self.log_key("CLIENT_EARLY_TRAFFIC_SECRET", secret.secret)
        self._send_compatibility_mark()
        self.change_write_keys(secret)
        self.writer.write(APPLICATION_DATA, self.early)
        # Until the server says otherwise.
        self.early_data = "rejected"
        return secret

    def _read_early_data(self, offer: Offer, psk: Psk | None, suite: Suite, alpn: str | None) -> None:
        """The server has read it. It must have been sure of what that was for (section 4.3.10)."""
        session = psk.session if psk is not None else None
        if session is None or psk is not offer.psks[0] or session.cipher_suite != suite.number or session.alpn != alpn:
            raise PeerFault(Fault.EARLY_DATA_MISMATCH)
        self.early_data = "accepted"

    def _send_end_of_early_data(self, ours: TrafficSecret) -> None:
        """Section 4.6."""
        if self.early_data == "accepted":
            self.send(HandshakeType.end_of_early_data, EndOfEarlyData.encode())
            self.change_write_keys(ours)

    # -- ClientHello, section 4.2.2 --------------------------------------------------------------------------------

    def _send_client_hello(self, psks: tuple[Psk, ...], early: bool) -> Offer:
        config = self.config
        keys = generate_shares(config.key_shares, config.key_entropy)
        # A session id makes middleboxes believe in a resumption of TLS 1.2 (appendix E.4).
        self.client_random = config.entropy(32)
        return self._send_hello(config.entropy(32), keys, psks, early=early)

    def _send_hello(
        self,
        session_id: bytes,
        keys: dict[NamedGroup, KeyExchange],
        psks: tuple[Psk, ...],
        *,
        early: bool = False,
        retry: bool = False,
        cookie: bytes | None = None,
    ) -> Offer:
        numbers, fixed = _fixed_extensions(self.config)
        own: list[tuple[int, bytes]] = []
        if self._sni is not None:
            own.append((X.server_name, ext.encode_server_name(self._sni)))
        own.append((X.key_share, ext.encode_key_shares([(group, key.share) for group, key in keys.items()])))
        if cookie is not None:
            own.append((X.cookie, ext.encode_cookie(cookie)))
        if early:
            own.append((X.early_data, b""))
        if psks:
            # Section 4.3.11: it has to be the last.
            own.append(psk_extension(psks, self.config.clock()))
        block = vector16(fixed + ext.encode_entries(own))
        message = ClientHello.encode(self.client_random, session_id, self.config.cipher_suites, block)
        if psks:
            message = with_binders(message, psks, self.transcript)
        self.enter("send_client_hello")
        self.transcript.add(message)
        # The first record of a connection says TLS 1.0 for the sake of old servers (section 5.1).
        self.writer.write(HANDSHAKE, message, version=0x0303 if retry else 0x0301)
        if self.config.on_event is not None:
            self.tell("message_sent", "client_hello", message)
        self.reader.allow_change_cipher_spec = True
        return Offer(session_id, keys, psks, early, _offered(numbers, tuple([number for number, _ in own])))

    # -- ServerHello and HelloRetryRequest, sections 4.2.3 and 4.2.4 -----------------------------------------------

    async def _read_server_hello(self, offer: Offer, retry: ServerHello | None) -> tuple[ServerHello, Suite]:
        data = await self.read(HandshakeType.server_hello)
        self.insist_on_boundary()
        hello = ServerHello.decode(data, offer.extensions)
        if hello.is_retry_request and retry is not None:
            raise PeerFault(Fault.SECOND_RETRY)
        number = negotiate.check_server_hello(hello, offer.session_id, self.config.cipher_suites, retry)
        suite = SUITES[number]
        if hello.is_retry_request:
            self.transcript.restart(suite.hash_name)
        else:
            self.transcript.start(suite.hash_name)
        self.transcript.add(data)
        return hello, suite

    def _retry(self, offer: Offer, retry: ServerHello, suite: Suite) -> Offer:
        """Answer a HelloRetryRequest: the same hello, with what it asked for."""
        keys = offer.keys
        selected = retry.extensions.get(X.key_share)
        cookie = retry.extensions.get(X.cookie)
        if selected is None and cookie is None:
            raise PeerFault(Fault.RETRY_WITHOUT_CHANGE)
        if selected is not None:
            group = NamedGroup(ext.decode_selected_u16(selected, X.key_share))
            if group not in self.config.groups:
                raise PeerFault(Fault.RETRY_GROUP, f"{group} was not offered")
            if group in keys:
                raise PeerFault(Fault.RETRY_GROUP, f"a key share for {group} was there already")
            keys = {group: generate(group, self.config.key_entropy)}
        self._send_compatibility_mark()
        # Early data is lost with a retry, and what follows is in the clear again.
        self.writer.unprotect()
        self.protected = False
        echoed = ext.decode_cookie(cookie) if cookie is not None else None
        # Section 4.2.4: a key whose hash is not that of the suite is of no use any more.
        psks = tuple(psk for psk in offer.psks if psk.hash_name == suite.hash_name)
        return self._send_hello(offer.session_id, keys, psks, retry=True, cookie=echoed)

    def _explain_alert(self, alert: AlertDescription) -> str:
        """A server that only knows TLS 1.2 finds nothing that it knows in our hello, and says so in one of two ways."""
        if self.state == "read_server_hello" and alert is AlertDescription.protocol_version:
            return f"the server does not speak TLS 1.3; {negotiate.WAY_OUT}"
        if self.state == "read_server_hello" and alert is AlertDescription.handshake_failure:
            return (
                "the server accepts none of the cipher suites, groups or signatures that were offered,"
                f" or does not speak TLS 1.3 ({negotiate.WAY_OUT})"
            )
        return ""

    # -- keys, section 7 -------------------------------------------------------------------------------------------

    def _derive_handshake_secret(
        self, offer: Offer, hello: ServerHello, suite: Suite, psk: Psk | None
    ) -> tuple[NamedGroup | None, HandshakeSecret]:
        early = EarlySecret(suite) if psk is None else psk.early_secret(suite)
        content = hello.extensions.get(X.key_share)
        if content is None and psk is not None:
            # Section 7.1: where a secret is missing, zeros take its place.
            return None, early.handshake(bytes(suite.hash_length))
        if content is None:
            raise PeerFault(Fault.MISSING_EXTENSION, "key_share in ServerHello")
        number, share = ext.decode_key_share(content)
        group = NamedGroup(number)
        key = offer.keys.get(group)
        if key is None:
            raise PeerFault(Fault.KEY_SHARE_GROUP, str(group))
        return group, early.handshake(key.finish(share))

    # -- the server's protected flight, sections 4.4 and 4.5 -------------------------------------------------------

    async def _read_encrypted_extensions(
        self, offer: Offer, psk: Psk | None, suite: Suite, ours: TrafficSecret
    ) -> str | None:
        data = await self.read(HandshakeType.encrypted_extensions)
        extensions = EncryptedExtensions.decode(data, offer.extensions).extensions
        self.transcript.add(data)
        if extensions.get(X.server_name):
            raise PeerFault(Fault.DECODE_ERROR, "server_name in EncryptedExtensions is not empty")
        groups = extensions.get(X.supported_groups)
        if groups is not None:
            # Advice for the next connection (section 4.3.7); it has to be well-formed all the same.
            ext.decode_u16s(groups, X.supported_groups)
        alpn = negotiate.check_alpn(extensions.get(X.application_layer_protocol_negotiation), self.config.alpn)
        if X.early_data in extensions:
            ext.decode_empty(extensions[X.early_data], X.early_data)
            self._read_early_data(offer, psk, suite, alpn)
        elif offer.early and psk is not None:
            self.change_write_keys(ours)
        return alpn

    async def _authenticate_server(
        self, offer: Offer, psk: Psk | None, verified: VerifiedPeer | None
    ) -> tuple[CertificateRequest | None, VerifiedPeer]:
        """By its certificate; or, with a key that both hold, by its next message, Finished (section 2.2).

        ``verified``: what was found before early data was sent.
        """
        if psk is not None:
            return None, verified if verified is not None and psk.session is not None else await self.verify_psk(psk)
        request, chain = await self._read_certificate_or_request(offer)
        return request, await self.read_certificate_verify(chain)

    async def _read_certificate_or_request(self, offer: Offer) -> tuple[CertificateRequest | None, PeerChain]:
        """Section 4.4.2: a request may stand before the server's own certificate."""
        request = None
        data = await self.read(HandshakeType.certificate, HandshakeType.certificate_request)
        if data[0] == HandshakeType.certificate_request:
            request = CertificateRequest.decode(data)
            if request.context:
                raise PeerFault(Fault.CERTIFICATE_CONTEXT, "CertificateRequest")
            if X.signature_algorithms not in request.extensions:
                raise PeerFault(Fault.MISSING_EXTENSION, "signature_algorithms in CertificateRequest")
            if X.certificate_authorities in request.extensions:
                ext.decode_authorities(request.extensions[X.certificate_authorities])
            self.transcript.add(data)
            data = await self.read(HandshakeType.certificate)
        chain = self.parse_certificate(data, offer.extensions)
        if not chain.certificates:
            raise PeerFault(Fault.EMPTY_CERTIFICATE)
        return request, chain

    # -- the client's protected flight -----------------------------------------------------------------------------

    def _send_compatibility_mark(self) -> None:
        """One change_cipher_spec before the second flight, whichever that is (appendix E.4)."""
        if not self._compatibility_sent:
            self._compatibility_sent = True
            self.writer.write_change_cipher_spec()

    def prepare_alert(self) -> None:
        if self.protected:
            self._send_compatibility_mark()

    async def _send_certificate(self, request: CertificateRequest | None) -> Identity | None:
        if request is None:
            return None
        schemes = ext.decode_u16s(request.extensions[X.signature_algorithms], X.signature_algorithms)
        identity = await self._choose_identity(request, schemes)
        scheme = negotiate.choose_signature(schemes, identity) if identity is not None else None
        if identity is None or scheme is None:
            # No certificate that would do: an empty list says so (section 4.5.1.2).
            self.send(HandshakeType.certificate, Certificate.encode(b"", ()))
            return None
        self.send(HandshakeType.certificate, certificate_message(identity))
        await self.send_certificate_verify(identity, scheme)
        return identity

    async def _choose_identity(self, request: CertificateRequest, schemes: tuple[int, ...]) -> Identity | None:
        config = self.config
        if config.choose_identity is None:
            return config.identity
        authorities = request.extensions.get(X.certificate_authorities)
        question = ChooseIdentity(
            is_server=False,
            server_name=self.server_name,
            signature_schemes=tuple([SignatureScheme(scheme) for scheme in schemes]),
            authorities=ext.decode_authorities(authorities) if authorities is not None else (),
        )
        return self.check_identity(await self.ask("choose_identity", config.choose_identity, question))

    def _verify_with(self, trust: object, certificates: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
        return self.config.trust.verify_server(certificates, self.server_name, self.config.clock())
