"""The server's side, RFC 9846 section 2 (figure 1) and appendix A.2.

    Client                                                        Server

    ClientHello                    -------->
                                   <--------           HelloRetryRequest      if a key share is missing
    ClientHello                    -------->
                                                             ServerHello
                                                   {EncryptedExtensions}
                                                    {CertificateRequest}      by configuration, unless resumed
                                                           {Certificate}      unless resumed
                                                     {CertificateVerify}      unless resumed
                                   <--------                  {Finished}
    {Certificate}                                                             if asked
    {CertificateVerify}                                                       if there was one
    {Finished}                     -------->

:meth:`ServerHandshake.run` is that figure; below it, the steps follow in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from tlsprovider.crypto.groups import respond
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret
from tlsprovider.crypto.signatures import CERTIFICATE_SCHEMES
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import CertificateFault, ConfigError, Fault, HookError, PeerFault
from tlsprovider.handshake import negotiate
from tlsprovider.handshake.psk import MAX_TRIED, Psk, check_binder, fingerprint, of_session
from tlsprovider.handshake.steps import (
    ApplicationSecrets,
    Established,
    Steps,
    VerifiedPeer,
    certificate_message,
    per_config,
)
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.questions import ChooseIdentity, ClientHelloReceived
from tlsprovider.record import RecordReader, RecordWriter
from tlsprovider.session import Session
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16
from tlsprovider.wire.extensions import OfferedPsks
from tlsprovider.wire.messages import (
    HELLO_RETRY_RANDOM,
    CertificateRequest,
    ClientHello,
    EncryptedExtensions,
    ServerHello,
)

if TYPE_CHECKING:
    from cryptography import x509

    from tlsprovider.config import ServerConfig
    from tlsprovider.identity import Identity

__all__ = ["ServerHandshake"]

# Naming the issuers helps a client with many certificates to choose; a list longer than this helps nobody.
MAX_AUTHORITIES_LENGTH: Final = 16 * 1024
# Protected bytes that a client may send before it learns that nobody listens: a request, not an upload.
MAX_SKIPPED_EARLY_DATA: Final = 16 * 1024


@attrs.frozen
class Asked:
    """What a ClientHello asks for, decoded."""

    server_name: str | None
    alpn: tuple[str, ...]
    groups: tuple[int, ...]
    schemes: tuple[int, ...]
    shares: dict[int, bytes] = attrs.field(repr=False)
    authorities: tuple[bytes, ...] = attrs.field(repr=False)
    psks: OfferedPsks | None = attrs.field(repr=False)
    psk_modes: bytes


@attrs.define(repr=False)
class Resumed:
    """The key that the handshake goes on with, and its place among those that the client offers."""

    psk: Psk
    index: int


def _decode_asked(hello: ClientHello) -> Asked:
    """Read the extensions that a server of TLS 1.3 needs, and insist on those of section 9.2."""
    extensions = hello.extensions or {}
    psks = extensions.get(X.pre_shared_key)
    modes = extensions.get(X.psk_key_exchange_modes)
    if psks is not None and modes is None:
        raise PeerFault(Fault.PSK_WITHOUT_MODES)
    for needed in (X.signature_algorithms, X.supported_groups, X.key_share):
        if needed not in extensions:
            raise PeerFault(Fault.MISSING_EXTENSION, f"{needed} in ClientHello")
    groups = ext.decode_u16s(extensions[X.supported_groups], X.supported_groups)
    shares = dict(ext.decode_key_shares(extensions[X.key_share]))
    listed = frozenset(groups)
    for group in shares:
        if group not in listed:
            raise PeerFault(Fault.KEY_SHARE_UNLISTED, str(NamedGroup(group)))
    name = extensions.get(X.server_name)
    alpn = extensions.get(X.application_layer_protocol_negotiation)
    authorities = extensions.get(X.certificate_authorities)
    return Asked(
        server_name=ext.decode_server_name(name) if name is not None else None,
        alpn=ext.decode_alpn(alpn) if alpn is not None else (),
        groups=groups,
        schemes=ext.decode_u16s(extensions[X.signature_algorithms], X.signature_algorithms),
        shares=shares,
        authorities=ext.decode_authorities(authorities) if authorities is not None else (),
        psks=ext.decode_offered_psks(psks) if psks is not None else None,
        psk_modes=ext.decode_psk_modes(modes) if modes is not None else b"",
    )


@per_config
def _certificate_request(config: ServerConfig) -> bytes:
    """Section 4.4.2; it depends on the configuration alone."""
    known_for_certificates = [scheme for scheme in CERTIFICATE_SCHEMES if scheme.name.startswith("rsa_pkcs1_")]
    extensions = {X.signature_algorithms: ext.encode_u16s((*config.signature_schemes, *known_for_certificates))}
    if config.trust is not None:
        authorities = ext.encode_authorities(config.trust.subjects)
        if 2 < len(authorities) <= MAX_AUTHORITIES_LENGTH:
            extensions[X.certificate_authorities] = authorities
    return CertificateRequest(b"", {int(number): content for number, content in extensions.items()}).encode()


class ServerHandshake(Steps):
    """One handshake as a server."""

    is_server: ClassVar[bool] = True
    config: ServerConfig

    def __init__(self, config: ServerConfig, reader: RecordReader, writer: RecordWriter) -> None:
        super().__init__(config, reader, writer)
        self._compatibility_sent = False

    async def run(self) -> tuple[Established, ApplicationSecrets]:
        hello = await self._read_client_hello()
        asked = await self._ask_about_hello(hello)
        config = self.config
        suite = SUITES[negotiate.choose_suite(hello.cipher_suites, config.cipher_suites)]
        group, share = negotiate.choose_group(asked.groups, asked.shares, config.groups)
        alpn = negotiate.choose_alpn(asked.alpn, config.alpn)
        resumed = self._choose_psk(hello, asked, suite, alpn) if asked.psks is not None else None
        if share is None:
            self._send_hello_retry_request(hello, suite, group)
            hello, share = await self._read_second_client_hello(hello, group, resumed)
        shown = await self._choose_identity(asked) if resumed is None else None

        handshake = self._send_server_hello(hello, suite, group, share, resumed)
        ours, theirs = self.change_to_handshake_keys(handshake)
        self._send_encrypted_extensions(asked, shown, alpn)
        if shown is not None:
            self._send_certificate_request()
            await self._send_certificate(*shown)
        self.send_finished(ours)

        main = handshake.main()
        secrets = self.derive_application_secrets(main)
        del handshake
        self.change_write_keys(secrets.write)

        peer = await self._authenticate_client(resumed)
        await self.read_finished(peer, theirs)
        self.reader.change_keys(secrets.read)
        if config.tickets is not None and ext.PSK_DHE_KE in asked.psk_modes:
            secrets.resumption = self.derive_resumption_secret(main)
        established = Established(
            suite=suite,
            group=group,
            alpn=alpn,
            server_name=asked.server_name,
            peer=peer,
            local_certificates=shown[0].certificates if shown is not None else (),
            session=resumed.psk.session if resumed is not None else None,
            session_key=None,
        )
        return established, secrets

    # -- ClientHello, section 4.2.2 --------------------------------------------------------------------------------

    async def _read_client_hello(self) -> ClientHello:
        data = await self.read(HandshakeType.client_hello)
        self.insist_on_boundary()
        hello = ClientHello.decode(data)
        # Section 5: from here on, and no earlier.
        self.reader.allow_change_cipher_spec = True
        negotiate.choose_version(hello)
        self.client_random = hello.random
        if hello.extensions is not None and X.early_data in hello.extensions:
            # It is not accepted, so it has to be passed over, wherever it ends (section 4.3.10).
            self.reader.skippable = MAX_SKIPPED_EARLY_DATA
        return hello

    async def _ask_about_hello(self, hello: ClientHello) -> Asked:
        """The configuration may depend on what the client asks for."""
        asked = _decode_asked(hello)
        self.server_name = asked.server_name
        hook = self.config.on_client_hello
        if hook is None:
            return asked
        extensions = hello.extensions or {}
        question = ClientHelloReceived(
            server_name=asked.server_name,
            alpn=asked.alpn,
            versions=tuple(map(ProtocolVersion, ext.decode_offered_versions(extensions[X.supported_versions]))),
            cipher_suites=tuple(map(CipherSuite, hello.cipher_suites)),
            groups=tuple(map(NamedGroup, asked.groups)),
            signature_schemes=tuple(map(SignatureScheme, asked.schemes)),
            raw=hello.raw,
            client_address=self.peer_address,
        )
        answer = await self.ask("on_client_hello", hook, question)
        if not isinstance(answer, type(self.config)):
            raise HookError(f"on_client_hello must answer the ServerConfig to go on with; it answered {answer!r}")
        if (answer.min_version, answer.max_version) != (ProtocolVersion.TLSv1_3, ProtocolVersion.TLSv1_3):
            raise HookError(f"on_client_hello answered a config for other versions than TLS 1.3; {negotiate.WAY_OUT}")
        self.config = answer
        return asked

    # -- pre-shared keys, section 4.3.11 ---------------------------------------------------------------------------

    def _choose_psk(self, hello: ClientHello, asked: Asked, suite: Suite, alpn: str | None) -> Resumed | None:
        """A session that the client offers and that fits; its binder is checked, and its certificates once more."""
        config = self.config
        assert asked.psks is not None
        now = config.clock()
        identities = [identity for identity, _ in asked.psks.identities[:MAX_TRIED]]
        candidates = [self._open_ticket(identity, now) for identity in identities]
        terms = negotiate.PskTerms(
            hash_name=suite.hash_name,
            server_name=asked.server_name,
            alpn=alpn,
            fingerprint=fingerprint(config),
            needs_certificate=config.client_auth == "require",
            now=now,
        )
        index = negotiate.choose_psk(candidates, asked.psk_modes, terms)
        psk = candidates[index] if index is not None else None
        if index is None or psk is None:
            return None
        check_binder(hello.raw, asked.psks, index, psk, self.transcript)
        certificates = psk.session.peer_certificates if psk.session is not None else ()
        try:
            verified = self.verify_chain(certificates) if certificates else ()
        except CertificateFault:
            # Expired by now, perhaps: the client may have another to show.
            return None
        return Resumed(attrs.evolve(psk, verified=verified), index)

    def _open_ticket(self, ticket: bytes, now: float) -> Psk | None:
        tickets = self.config.tickets
        state = tickets.open(ticket, now) if tickets is not None else None
        if state is None:
            return None
        try:
            return of_session(Session.from_bytes(state), ticket)
        except ConfigError:
            # Sealed by another version of this library.
            return None

    # -- HelloRetryRequest, section 4.2.4 --------------------------------------------------------------------------

    def _send_hello_retry_request(self, hello: ClientHello, suite: Suite, group: NamedGroup) -> None:
        self.transcript.add(hello.raw)
        self.transcript.restart(suite.hash_name)
        extensions = [(X.supported_versions, u16(ProtocolVersion.TLSv1_3)), (X.key_share, u16(group))]
        message = ServerHello.encode(HELLO_RETRY_RANDOM, hello.session_id, suite.number, extensions)
        self.send(HandshakeType.server_hello, message)
        self._send_compatibility_mark(hello)

    async def _read_second_client_hello(
        self, first: ClientHello, group: NamedGroup, resumed: Resumed | None
    ) -> tuple[ClientHello, bytes]:
        data = await self.read(HandshakeType.client_hello)
        self.insist_on_boundary()
        hello = ClientHello.decode(data)
        negotiate.choose_version(hello)
        negotiate.check_hello_unchanged(first, hello)
        self.reader.skippable = None
        asked = _decode_asked(hello)
        if list(asked.shares) != [group]:
            raise PeerFault(Fault.RETRY_IGNORED, f"asked for {group}")
        if resumed is not None:
            self._find_again(resumed, hello, asked.psks)
        return hello, asked.shares[group]

    def _find_again(self, resumed: Resumed, hello: ClientHello, offered: OfferedPsks | None) -> None:
        """The key chosen before is there, perhaps at another place (section 4.2.4), with a binder for this hello."""
        identities = [identity for identity, _ in offered.identities] if offered is not None else []
        if offered is None or resumed.psk.identity not in identities:
            raise PeerFault(Fault.HELLO_CHANGED, "the pre-shared key is gone")
        resumed.index = identities.index(resumed.psk.identity)
        check_binder(hello.raw, offered, resumed.index, resumed.psk, self.transcript)

    def _send_compatibility_mark(self, hello: ClientHello) -> None:
        """One change_cipher_spec behind the first message, for a client in compatibility mode (appendix E.4)."""
        if hello.session_id and not self._compatibility_sent:
            self._compatibility_sent = True
            self.flush()
            self.writer.write_change_cipher_spec()

    # -- the certificate, section 4.5.1.2 --------------------------------------------------------------------------

    async def _choose_identity(self, asked: Asked) -> tuple[Identity, SignatureScheme]:
        config = self.config
        if config.choose_identity is None:
            identity = negotiate.choose_identity(config.identities, asked.server_name, asked.schemes, asked.authorities)
        else:
            question = ChooseIdentity(
                is_server=True,
                server_name=asked.server_name,
                signature_schemes=tuple(map(SignatureScheme, asked.schemes)),
                authorities=asked.authorities,
            )
            answer = self.check_identity(await self.ask("choose_identity", config.choose_identity, question))
            if answer is None:
                raise PeerFault(Fault.UNKNOWN_NAME, repr(asked.server_name))
            identity = answer
        scheme = negotiate.choose_signature(asked.schemes, identity)
        if scheme is None:
            raise PeerFault(Fault.NO_COMMON_SIGNATURE, f"our key signs with {', '.join(map(str, identity.schemes))}")
        return identity, scheme

    # -- ServerHello, section 4.2.3, and the protected flight, sections 4.4 and 4.5 --------------------------------

    def _send_server_hello(
        self, hello: ClientHello, suite: Suite, group: NamedGroup, share: bytes, resumed: Resumed | None
    ) -> HandshakeSecret:
        our_share, shared_secret = respond(group, share, self.config.key_entropy)
        extensions = [
            (X.supported_versions, u16(ProtocolVersion.TLSv1_3)),
            (X.key_share, ext.encode_key_share(group, our_share)),
        ]
        if resumed is not None:
            extensions.append((X.pre_shared_key, u16(resumed.index)))
        message = ServerHello.encode(self.config.entropy(32), hello.session_id, suite.number, extensions)
        self.transcript.add(hello.raw)
        self.transcript.start(suite.hash_name)
        self.send(HandshakeType.server_hello, message)
        self._send_compatibility_mark(hello)
        early = EarlySecret(suite) if resumed is None else resumed.psk.early_secret(suite)
        return early.handshake(shared_secret)

    def _send_encrypted_extensions(
        self, asked: Asked, shown: tuple[Identity, SignatureScheme] | None, alpn: str | None
    ) -> None:
        extensions: dict[int, bytes] = {}
        if asked.server_name is not None and shown is not None and shown[0].matches(asked.server_name):
            # RFC 6066 section 3: an empty answer says that the name was used. Resuming uses no name.
            extensions[X.server_name] = b""
        if alpn is not None:
            extensions[X.application_layer_protocol_negotiation] = ext.encode_alpn([alpn])
        self.send(HandshakeType.encrypted_extensions, EncryptedExtensions(extensions).encode())

    def _send_certificate_request(self) -> None:
        if self.config.client_auth != "none":
            self.send(HandshakeType.certificate_request, _certificate_request(self.config))

    async def _send_certificate(self, identity: Identity, scheme: SignatureScheme) -> None:
        self.send(HandshakeType.certificate, certificate_message(identity))
        await self.send_certificate_verify(identity, scheme)

    # -- the client's protected flight -----------------------------------------------------------------------------

    async def _authenticate_client(self, resumed: Resumed | None) -> VerifiedPeer:
        """By a certificate, if one is wanted; or, with a key that both hold, as it was then (section 2.2)."""
        if resumed is not None:
            assert resumed.psk.session is not None
            return await self.verify_resumed(resumed.psk.session, resumed.psk.verified)
        return await self._read_client_certificate()

    async def _read_client_certificate(self) -> VerifiedPeer:
        if self.config.client_auth == "none":
            return VerifiedPeer.unchecked("client_auth is none: no certificate was asked for")
        data = await self.read(HandshakeType.certificate)
        chain = self.parse_certificate(data, frozenset())
        if chain.certificates:
            return await self.read_certificate_verify(chain)
        if self.config.client_auth == "require":
            raise PeerFault(Fault.CERTIFICATE_REQUIRED)
        return VerifiedPeer.unchecked("client_auth is request: the client has no certificate")

    def _verify_with(self, trust: object, certificates: tuple[x509.Certificate, ...]) -> tuple[x509.Certificate, ...]:
        assert self.config.trust is not None, "ServerConfig refuses client_auth without trust"
        return self.config.trust.verify_client(certificates, self.config.clock())
