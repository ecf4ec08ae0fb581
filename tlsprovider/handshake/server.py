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

from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar, Final

from tlsprovider.crypto.groups import respond
from tlsprovider.crypto.schedule import EarlySecret, HandshakeSecret
from tlsprovider.crypto.signatures import CERTIFICATE_SCHEMES
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import Fault, HookError, PeerFault
from tlsprovider.handshake import negotiate
from tlsprovider.handshake.asked import Asked, decode_asked
from tlsprovider.handshake.results import ApplicationSecrets, Established, VerifiedPeer
from tlsprovider.handshake.server_psk import Chosen, ServerPsks, external_hashes
from tlsprovider.handshake.steps import certificate_message, per_config
from tlsprovider.iana import CipherSuite, HandshakeType, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.questions import ChooseIdentity, ClientHelloReceived
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16
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


@lru_cache(maxsize=64)
def _encrypted_extensions(named: bool, alpn: str | None, early: bool) -> bytes:
    """Section 4.4.1; there are only so many that servers of one program send."""
    extensions: dict[int, bytes] = {}
    if named:
        extensions[X.server_name] = b""
    if alpn is not None:
        extensions[X.application_layer_protocol_negotiation] = ext.encode_alpn([alpn])
    if early:
        extensions[X.early_data] = b""
    return EncryptedExtensions(extensions).encode()


class ServerHandshake(ServerPsks):
    """One handshake as a server."""

    is_server: ClassVar[bool] = True
    config: ServerConfig
    _compatibility_sent = False

    async def run(self) -> tuple[Established, ApplicationSecrets]:
        hello = await self._read_client_hello()
        asked = await self._ask_about_hello(hello)
        config = self.config
        keys = await self.find_psks(asked) if asked.psks is not None else []
        suite = SUITES[negotiate.choose_suite(hello.cipher_suites, config.cipher_suites, external_hashes(keys))]
        alpn = negotiate.choose_alpn(asked.alpn, config.alpn)
        psk = self.choose_psk(keys, hello, asked, suite, alpn) if keys else None
        group, share = self._choose_group(asked, psk)
        if group is not None and share is None:
            self._send_hello_retry_request(hello, suite, group)
            hello, share = await self._read_second_client_hello(hello, group, psk)
        peer = await self.verify_psk(psk.psk) if psk is not None else None
        early = await self.accept_early_data(hello, asked, psk, suite) if psk is not None else None
        shown = await self._choose_identity(asked) if psk is None else None

        handshake = self._send_server_hello(hello, suite, group, share, psk)
        ours, theirs = self.change_to_handshake_keys(handshake, early)
        self._send_encrypted_extensions(asked, shown, alpn)
        if shown is not None:
            self._send_certificate_request()
            await self._send_certificate(*shown)
        self.send_finished(ours)

        main = handshake.main()
        secrets = self.derive_application_secrets(main)
        del handshake
        self.change_write_keys(secrets.write)

        if early is not None:
            await self.read_end_of_early_data()
            self.reader.change_keys(theirs)
        if peer is None:
            peer = await self._read_client_certificate()
        await self.read_finished(peer, theirs)
        self.reader.change_keys(secrets.read)
        if self._gives_tickets(asked, psk):
            secrets.resumption = self.derive_resumption_secret(main)
        established = Established(
            suite=suite,
            group=group,
            alpn=alpn,
            server_name=asked.server_name,
            peer=peer,
            local_certificates=shown[0].certificates if shown is not None else (),
            session=psk.psk.session if psk is not None else None,
            session_key=None,
            early_data=self.early_data,
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
            ext.decode_empty(hello.extensions[X.early_data], X.early_data)
            self.expect_early_data()
        return hello

    async def _ask_about_hello(self, hello: ClientHello) -> Asked:
        """The configuration may depend on what the client asks for."""
        asked = decode_asked(hello)
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

    def _choose_group(self, asked: Asked, psk: Chosen | None) -> tuple[NamedGroup | None, bytes | None]:
        """The group, if there is to be a key exchange, and the client's share, if it sent one."""
        if psk is not None and psk.alone:
            return None, None
        return negotiate.choose_group(asked.groups, asked.shares, self.config.groups)

    def _gives_tickets(self, asked: Asked, psk: Chosen | None) -> bool:
        """Section 4.7.1. A session stands for certificates that were shown, so a key from outside begets none."""
        outside = psk is not None and psk.psk.session is None
        return self.config.tickets is not None and ext.PSK_DHE_KE in asked.psk_modes and not outside

    # -- HelloRetryRequest, section 4.2.4 --------------------------------------------------------------------------

    def _send_hello_retry_request(self, hello: ClientHello, suite: Suite, group: NamedGroup) -> None:
        self.transcript.add(hello.raw)
        self.transcript.restart(suite.hash_name)
        extensions = [(X.supported_versions, u16(ProtocolVersion.TLSv1_3)), (X.key_share, u16(group))]
        message = ServerHello.encode(HELLO_RETRY_RANDOM, hello.session_id, suite.number, extensions)
        self.send(HandshakeType.server_hello, message)
        self._send_compatibility_mark(hello)

    async def _read_second_client_hello(
        self, first: ClientHello, group: NamedGroup, psk: Chosen | None
    ) -> tuple[ClientHello, bytes]:
        data = await self.read(HandshakeType.client_hello)
        self.insist_on_boundary()
        hello = ClientHello.decode(data)
        negotiate.choose_version(hello)
        negotiate.check_hello_unchanged(first, hello)
        self.reader.skippable = None
        asked = decode_asked(hello)
        if list(asked.shares) != [group]:
            raise PeerFault(Fault.RETRY_IGNORED, f"asked for {group}")
        if psk is not None:
            self.find_again(psk, hello, asked.psks)
        return hello, asked.shares[group]

    def _send_compatibility_mark(self, hello: ClientHello) -> None:
        """One change_cipher_spec behind the first message, for a client in compatibility mode (appendix E.4)."""
        if hello.session_id and not self._compatibility_sent:
            self._compatibility_sent = True
            self.flush()
            self.writer.write_change_cipher_spec()

    # -- the certificate, section 4.5.1.2 --------------------------------------------------------------------------

    async def _choose_identity(self, asked: Asked) -> tuple[Identity, SignatureScheme]:
        config = self.config
        if not asked.schemes:
            # Section 9.2: only a pre-shared key would have done without.
            raise PeerFault(Fault.MISSING_EXTENSION, f"{X.signature_algorithms} in ClientHello")
        if config.choose_identity is None and not config.identities:
            raise PeerFault(Fault.UNKNOWN_PSK)
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
        self, hello: ClientHello, suite: Suite, group: NamedGroup | None, share: bytes | None, psk: Chosen | None
    ) -> HandshakeSecret:
        extensions: list[tuple[int, bytes]] = [(X.supported_versions, u16(ProtocolVersion.TLSv1_3))]
        # Section 7.1: where a secret is missing, zeros take its place.
        shared_secret = bytes(suite.hash_length)
        if group is not None and share is not None:
            our_share, shared_secret = respond(group, share, self.config.key_entropy)
            extensions.append((X.key_share, ext.encode_key_share(group, our_share)))
        if psk is not None:
            extensions.append((X.pre_shared_key, u16(psk.index)))
        message = ServerHello.encode(self.config.entropy(32), hello.session_id, suite.number, extensions)
        self.transcript.add(hello.raw)
        self.transcript.start(suite.hash_name)
        self.send(HandshakeType.server_hello, message)
        self._send_compatibility_mark(hello)
        early = EarlySecret(suite) if psk is None else psk.psk.early_secret(suite)
        return early.handshake(shared_secret)

    def _send_encrypted_extensions(
        self, asked: Asked, shown: tuple[Identity, SignatureScheme] | None, alpn: str | None
    ) -> None:
        # RFC 6066 section 3: an empty answer says that the name was used. Resuming uses no name.
        named = asked.server_name is not None and shown is not None and shown[0].matches(asked.server_name)
        message = _encrypted_extensions(named, alpn, self.early_data == "accepted")
        self.send(HandshakeType.encrypted_extensions, message)

    def _send_certificate_request(self) -> None:
        if self.config.client_auth != "none":
            self.send(HandshakeType.certificate_request, _certificate_request(self.config))

    async def _send_certificate(self, identity: Identity, scheme: SignatureScheme) -> None:
        self.send(HandshakeType.certificate, certificate_message(identity))
        await self.send_certificate_verify(identity, scheme)

    # -- the client's protected flight -----------------------------------------------------------------------------

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
