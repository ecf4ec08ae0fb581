"""The gate: a handshake that a TLS library makes in one go, made to pause, and to fail closed.

The library works in memory, so nothing that it says has left until we let it out. That is all that is needed:

* *Before* it. A server's library is started when the ClientHello has been read here, and the configuration and the
  identity have been chosen (:mod:`tlsprovider.providers.hello`).
* *Behind* it. What the library produces once it knows the peer's certificate is held back until the certificate was
  judged, by our own trust store and by the hook ``verify_peer``, which may take its time. If the answer is no, it is
  never sent. So a client's Finished doesn't leave before the server is believed, in TLS 1.2 and in TLS 1.3, and on
  neither side is any application data sent or delivered before.

Verification is ours and not the library's because it is the same policy, with the same words, everywhere; because
``verify_peer`` comes after it; and because it needs no promise of a library that its callbacks fail closed. The price
is that the library must be kept from doing it, and can't send the alert. Which alert the peer sees when we refuse:

====================  ==================================================================================================
client, TLS 1.3       The right one. Under the handshake's keys if the library gives its secret out (``openssl``), else
                      in plaintext, which is what OpenSSL itself does at this point.
client, TLS 1.2       The right one, in plaintext: our ChangeCipherSpec was held back with the rest.
server, TLS 1.2       The same.
server, TLS 1.3       The right one if the library gives its secret out. Otherwise none: the server's flight has gone
                      out before the client's certificate arrived, and nobody else can write under those keys. The
                      connection ends without close_notify, which a client takes for what it is.
====================  ==================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from tlsprovider.crypto.certificates import parse_certificate
from tlsprovider.crypto.signatures import schemes_for
from tlsprovider.errors import (
    CertificateFault,
    ConfigError,
    Fault,
    HookError,
    PeerFault,
    TLSError,
    TruncatedError,
)
from tlsprovider.handshake.chain import MAX_CHAIN
from tlsprovider.handshake.steps import WANT_READ, Steps, _pause
from tlsprovider.iana import AlertDescription, HandshakeType, ProtocolVersion
from tlsprovider.identity import Identity
from tlsprovider.providers.hello import Offer, choose_identity, choose_version
from tlsprovider.providers.library import Library
from tlsprovider.questions import VerifyPeer
from tlsprovider.record import RecordReader, RecordWriter

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.providers.library import Begin

__all__ = ["ClientGate", "Gate", "Passed", "ServerGate", "next_record"]

HEADER_LENGTH: Final = 5
MAX_CIPHERTEXT: Final = (1 << 14) + 2048
CONTENT_TYPES: Final = range(20, 25)


def next_record(data: bytearray | memoryview, start: int) -> int:
    """Where the record that begins at ``start`` ends; 0 when it isn't all there.

    What can't be a record ends with its header: the library is to say so, at once, and not to wait for the rest. If it
    doesn't, :func:`insist_on_record` does.
    """
    left = len(data) - start
    if left < HEADER_LENGTH:
        return len(data) if left and data[start] not in CONTENT_TYPES else 0
    end = start + HEADER_LENGTH
    if _impossible(data, start) is not None:
        return end
    end += data[start + 3] << 8 | data[start + 4]
    return end if end <= len(data) else 0


def insist_on_record(record: memoryview) -> None:
    """Raise for what can't be one: where the next begins would be anybody's guess."""
    fault = _impossible(record, 0)
    if fault is not None:
        raise PeerFault(fault, f"it begins with {bytes(record[:HEADER_LENGTH])!r}")


def _impossible(data: bytearray | memoryview, start: int) -> Fault | None:
    if data[start] not in CONTENT_TYPES:
        return Fault.PLAINTEXT_RECORD_TYPE
    if data[start + 1] != 3:
        return Fault.RECORD_VERSION
    return Fault.RECORD_OVERFLOW if (data[start + 3] << 8 | data[start + 4]) > MAX_CIPHERTEXT else None


@attrs.frozen(repr=False)
class Passed:
    """Proof that the library's handshake is complete and that the peer was judged; only :meth:`Gate.make` gives it."""

    library: Library
    server_name: str | None
    signature_scheme: str | None
    peer_certificates: tuple[Certificate, ...]
    verified_chain: tuple[Certificate, ...]
    local_certificates: tuple[Certificate, ...]


class Gate(Steps):
    """One handshake around a library. ``received`` holds what the library has not been given yet."""

    def __init__(self, config: ClientConfig | ServerConfig, begin: Begin, server_name: str | None) -> None:
        super().__init__(config, RecordReader(), RecordWriter())
        self.server_name = server_name
        self.library: Library | None = None
        self.received = bytearray()
        # Outgoing bytes, in pieces.
        self.released: list[bytes] = []
        # Records that have to go before the library's next ones, and not sooner.
        self.owed = b""
        # Whether an alert has gone out already, the library's own or ours.
        self.alerted = False
        self._sealing = False
        # How many a client has sent.
        self._flights = 0
        self._begin = begin

    async def make(self) -> Passed:
        """The whole handshake: what is in front of the library, the library's part, the judgement."""
        raise TypeError("a gate is a client's or a server's")

    def take(self, data: bytes | bytearray | memoryview) -> None:
        self.received += data

    def alert(self, description: AlertDescription) -> bytes:
        """An alert of ours in whatever protection this side's records have now; empty where that can't be had."""
        secret = self.library.alert_secret() if self.library is not None and not self._sealing else None
        if secret is not None:
            if self._flights == 1:
                # A client's second flight begins with one, whatever it is (RFC 9846 appendix E.4).
                self.writer.write_change_cipher_spec()
            self.writer.change_keys(secret)
            self._sealing = True
        elif not self._sealing and not self._speaks_plainly():
            return b""
        self.writer.write_alert(description)
        return self.writer.drain()

    def _speaks_plainly(self) -> bool:
        """Whether what was released so far is in plaintext, so that a plaintext alert may follow."""
        raise TypeError("a gate is a client's or a server's")

    # -- the library's part ----------------------------------------------------------------------------------------

    def start(self, identity: Identity | None, alpn: str | None = None) -> Library:
        """Start the library. What it can't do with an identity that a hook chose is a failure of the hook."""
        try:
            library = self._begin(self.config, identity, alpn)
        except ConfigError as problem:
            raise HookError(f"the answer of a hook is of no use to this provider: {problem}") from problem
        self.library = library
        return library

    def advance(self, library: Library) -> bool:
        """Give the library records until it is content; whether its handshake is complete."""
        received = self.received
        start = 0
        try:
            if library.handshake():
                return True
            while end := next_record(received, start):
                with memoryview(received) as view, view[start:end] as record:
                    library.feed(record)
                    start = end
                    if library.handshake():
                        return True
                    insist_on_record(record)
        except CertificateFault:
            self.on_library_refusal(library)
            raise
        except HookError:
            self.on_hook_failure(library)
            raise
        except TLSError:
            self._release_alert(library)
            raise
        finally:
            del received[:start]
        return False

    def _release_alert(self, library: Library) -> None:
        last_words = library.outgoing()
        self.released.append(last_words)
        self.alerted = bool(last_words)

    def on_library_refusal(self, library: Library) -> None:
        """The library has judged by itself, and refused."""
        self._release_alert(library)

    def on_hook_failure(self, library: Library) -> None:
        """A hook that the library called has failed: nothing more leaves."""
        library.outgoing()

    async def want_read(self) -> None:
        if self.peer_ended:
            raise TruncatedError("unexpected eof while reading: the peer went away during the handshake")
        await _pause(WANT_READ)

    # -- the judgement ---------------------------------------------------------------------------------------------

    async def judge(self, library: Library) -> tuple[tuple[Certificate, ...], tuple[Certificate, ...]]:
        """``(the peer's chain, the verified chain)``. Raises CertificateFault and the like; then nothing leaves."""
        self.enter("verify_peer")
        chain = parse_chain(library.peer_certificates())
        if not chain:
            self.insist_on_certificate()
            return (), ()
        try:
            return chain, await self._verify(library, chain)
        except CertificateFault as fault:
            fault.certificates = chain
            raise

    async def _verify(self, library: Library, chain: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        if library.verifies:
            verified = parse_chain(library.verified_chain())
        elif self.config.insecure_skip_verify:
            verified = ()
        else:
            verified = self._verify_with(self.config.trust, chain)
        if self.config.verify_peer is not None:
            ocsp, scts = library.stapled()
            question = VerifyPeer(
                peer_certificates=chain,
                verified_chain=verified,
                server_name=None if self.is_server else self.server_name,
                ocsp_response=ocsp,
                scts=scts,
            )
            answer = await self.ask("verify_peer", self.config.verify_peer, question)
            if isinstance(answer, CertificateFault):
                raise answer
            if answer is False:
                raise CertificateFault("verify_peer refused the certificate")
            if answer is not True:
                raise HookError(f"verify_peer must answer True, False or a CertificateFault; it answered {answer!r}")
        return verified

    def insist_on_certificate(self) -> None:
        """The peer has shown none."""
        raise PeerFault(Fault.EMPTY_CERTIFICATE)

    def check_agreed(self, library: Library) -> None:
        """What the library agreed to has to be what the configuration allows; belt and braces."""
        version = ProtocolVersion.parse(library.version)
        if not self.config.min_version <= version <= self.config.max_version:
            raise PeerFault(Fault.NO_COMMON_VERSION, f"{version} was negotiated")
        if version == ProtocolVersion.TLSv1_3 and library.cipher not in map(str, self.config.cipher_suites):
            raise PeerFault(Fault.SUITE_NOT_OFFERED, library.cipher)
        alpn = library.alpn
        if self.config.alpn and alpn is not None and alpn not in self.config.alpn:
            raise PeerFault(Fault.ALPN_NOT_OFFERED, repr(alpn))


class ClientGate(Gate):
    """A client around a library."""

    is_server: ClassVar[bool] = False
    config: ClientConfig
    _answered = False

    async def make(self) -> Passed:
        self.enter("handshake")
        library = self.start(self.config.identity)
        peer: tuple[tuple[Certificate, ...], tuple[Certificate, ...]] | None = None
        answer = 0
        while True:
            complete = self.advance(library)
            flight = library.outgoing()
            if peer is None and (complete or (flight and library.peer_certificates())):
                if complete:
                    self.check_agreed(library)
                peer = await self.judge(library)
                answer = len(flight)
                self._answered = True
            self.released.append(flight)
            self._flights += bool(flight)
            if complete:
                break
            await self.want_read()
        self.check_agreed(library)
        assert peer is not None, "a complete handshake was judged"
        return Passed(
            library,
            self.server_name,
            scheme_of(peer[0], library.version),
            *peer,
            local_certificates=self._shown(answer),
        )

    def on_library_refusal(self, library: Library) -> None:
        """Perhaps only when its handshake was complete: then its Finished is there, and no alert."""
        library.outgoing()

    def _shown(self, answer: int) -> tuple[Certificate, ...]:
        """Libraries don't tell whether the server asked for our certificate; but where it was shown, it is in there."""
        identity = self.config.identity
        if identity is None or answer <= sum(map(len, identity.chain_der)):
            return ()
        return identity.certificates

    def _speaks_plainly(self) -> bool:
        return not self._answered

    def _verify_with(self, trust: object, certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        return self.config.trust.verify_server(certificates, self.server_name, self.config.clock())


class ServerGate(Gate):
    """A server around a library."""

    is_server: ClassVar[bool] = True
    config: ServerConfig
    _version: ProtocolVersion | None = None
    _complete = False

    def take(self, data: bytes | bytearray | memoryview) -> None:
        super().take(data)
        if self.library is None:
            self.reader.feed(data)

    async def make(self) -> Passed:
        identity, alpn = await self._read_client_hello()
        self.enter("handshake")
        library = self.start(identity, alpn)
        # From here on the library reads; what the reader has behind the hello, the library gets as well.
        self.reader.take_rest()
        while not self.advance(library):
            self.released.append(library.outgoing())
            await self.want_read()
        flight = library.outgoing()
        self.check_agreed(library)
        chain, verified = await self.judge(library)
        if self._version == ProtocolVersion.TLSv1_3:
            # A server has nothing more to say but session tickets, and OpenSSL does, whether it would take them back
            # or not. They can wait: who is told that the handshake is complete doesn't expect to have to send.
            self.owed = flight
        else:
            self.released.append(flight)
        self._complete = True
        return Passed(
            library, self.server_name, scheme_of(chain, library.version), chain, verified, identity.certificates
        )

    async def _read_client_hello(self) -> tuple[Identity, str | None]:
        offer = Offer.read(await self.read(HandshakeType.client_hello))
        self.client_random, self.server_name = offer.random, offer.server_name
        if self.config.on_client_hello is not None:
            answer = await self.ask("on_client_hello", self.config.on_client_hello, offer.question(self.peer_address))
            if not isinstance(answer, type(self.config)):
                raise HookError(f"on_client_hello must answer the ServerConfig to go on with; it answered {answer!r}")
            self.config = answer
        self._version, alpn = choose_version(offer, self.config)
        if self.config.choose_identity is None:
            return choose_identity(offer, self.config, self._version), alpn
        chosen = self.check_identity(
            await self.ask("choose_identity", self.config.choose_identity, offer.identity_question())
        )
        if chosen is None:
            raise PeerFault(Fault.UNKNOWN_NAME, repr(offer.server_name))
        return chosen, alpn

    def on_hook_failure(self, library: Library) -> None:
        """A flight that has not left yet goes, so that the alert that follows it can be read."""
        if not any(self.released):
            self.released.append(library.outgoing())
        else:
            library.outgoing()

    def insist_on_certificate(self) -> None:
        if self.config.client_auth == "require":
            raise PeerFault(Fault.CERTIFICATE_REQUIRED)

    def _speaks_plainly(self) -> bool:
        if self.library is None:
            return True
        return self._version == ProtocolVersion.TLSv1_2 and not self._complete

    def _verify_with(self, trust: object, certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
        assert self.config.trust is not None, "ServerConfig refuses client_auth without trust"
        return self.config.trust.verify_client(certificates, self.config.clock())


def parse_chain(encoded: Sequence[bytes]) -> tuple[Certificate, ...]:
    if len(encoded) > MAX_CHAIN:
        raise PeerFault(Fault.CERTIFICATE_CHAIN_LONG, f"{len(encoded)} certificates, at most {MAX_CHAIN}")
    return tuple([parse_certificate(data) for data in encoded])


def scheme_of(chain: tuple[Certificate, ...], version: str) -> str | None:
    """How the peer signed, where its key leaves no choice: libraries don't tell. RSA, and TLS 1.2, do leave one."""
    schemes = schemes_for(chain[0]) if chain and version == "TLSv1.3" else ()
    return schemes[0].name if len(schemes) == 1 else None
