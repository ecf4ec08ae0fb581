"""What a server does with pre-shared keys and early data, RFC 9846 sections 4.3.10, 4.3.11 and 4.6."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar, Final

import attrs

from tlsprovider.crypto.certificates import may_sign
from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import Suite
from tlsprovider.errors import CertificateFault, ConfigError, Fault, HookError, PeerFault
from tlsprovider.handshake import negotiate
from tlsprovider.handshake.psk import MAX_TRIED, Psk, check_binder, externals, fingerprint, of_external, of_session
from tlsprovider.handshake.steps import Steps, call_hook
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType
from tlsprovider.psk import ExternalPsk
from tlsprovider.questions import AcceptEarlyData, FindSession
from tlsprovider.record import RecordReader, RecordWriter
from tlsprovider.session import Session
from tlsprovider.wire.messages import ClientHello, EndOfEarlyData

if TYPE_CHECKING:
    from tlsprovider.config import ServerConfig
    from tlsprovider.handshake.asked import Asked
    from tlsprovider.wire.extensions import OfferedPsks

__all__ = ["Chosen", "ServerPsks", "external_hashes"]

# Protected bytes that a client may send before it learns that nobody listens: a request, not an upload.
MAX_SKIPPED_EARLY_DATA: Final = 16 * 1024


@attrs.define(repr=False)
class Chosen:
    """The key that the handshake goes on with, and its place among those that the client offers."""

    psk: Psk
    index: int
    alone: bool
    """Without a key exchange."""


def external_hashes(candidates: Iterable[Psk | None]) -> frozenset[str]:
    """Section 4.3.11: keys from outside have a say in the choice of the suite."""
    return frozenset(psk.hash_name for psk in candidates if psk is not None and psk.session is None)


class ServerPsks(Steps):
    """The part of a server's handshake that is about keys that both sides have already."""

    is_server: ClassVar[bool] = True
    config: ServerConfig
    _early_left = 0
    """How much more early data may come."""

    def __init__(self, config: ServerConfig, reader: RecordReader, writer: RecordWriter) -> None:
        super().__init__(config, reader, writer)
        # What came early and was not read yet.
        self.early = bytearray()

    # -- which key, section 4.3.11 ---------------------------------------------------------------------------------

    async def find_psks(self, asked: Asked) -> list[Psk | None]:
        """What is known of each key that the client offers."""
        assert asked.psks is not None
        known = externals(self.config) if self.config.psks else {}
        found: list[Psk | None] = []
        for identity, _ in asked.psks.identities[:MAX_TRIED]:
            psk = known.get(identity) or self._open_ticket(identity)
            if psk is None and self.config.find_session is not None:
                psk = await self._find_session(identity, asked.server_name)
            found.append(psk)
        return found

    def _open_ticket(self, ticket: bytes) -> Psk | None:
        if self.config.tickets is None:
            return None
        now = self.config.clock()
        state = call_hook("tickets", lambda tickets: tickets.open(ticket, now), self.config.tickets)
        if state is None:
            return None
        try:
            return of_session(Session.from_bytes(state), ticket)
        except ConfigError:
            # Sealed by another version of this library.
            return None

    async def _find_session(self, identity: bytes, server_name: str | None) -> Psk | None:
        assert self.config.find_session is not None
        question = FindSession(identity=identity, server_name=server_name)
        answer = await self.ask("find_session", self.config.find_session, question)
        if isinstance(answer, ExternalPsk):
            return of_external(answer, identity)
        if answer is not None and not isinstance(answer, Session):
            raise HookError(f"find_session must answer a Session, an ExternalPsk or None; it answered {answer!r}")
        return of_session(answer, identity) if answer is not None else None

    def choose_psk(
        self, candidates: Sequence[Psk | None], hello: ClientHello, asked: Asked, suite: Suite, alpn: str | None
    ) -> Chosen | None:
        """One that fits; its binder is checked, and the client's certificates once more."""
        assert asked.psks is not None
        config = self.config
        terms = negotiate.PskTerms(
            hash_name=suite.hash_name,
            server_name=asked.server_name,
            alpn=alpn,
            fingerprint=fingerprint(config),
            needs_certificate=config.client_auth == "require",
            now=config.clock(),
        )
        index = negotiate.choose_psk(candidates, asked.psk_modes, terms)
        psk = candidates[index] if index is not None else None
        if index is None or psk is None:
            return None
        check_binder(hello.raw, asked.psks, index, psk, self.transcript)
        certificates = psk.session.peer_certificates if psk.session is not None else ()
        try:
            verified = self.verify_chain(certificates, may_sign(certificates[0])) if certificates else ()
        except CertificateFault:
            # Expired by now, perhaps: the client may have another to show.
            return None
        alone = negotiate.without_key_exchange(psk, asked.psk_modes)
        return Chosen(psk.with_chain(verified) if verified else psk, index, alone)

    def find_again(self, chosen: Chosen, hello: ClientHello, offered: OfferedPsks | None) -> None:
        """The key chosen before is there, perhaps at another place (section 4.2.4), with a binder for this hello."""
        identities = [identity for identity, _ in offered.identities] if offered is not None else []
        if offered is None or chosen.psk.identity not in identities:
            raise PeerFault(Fault.MISSING_EXTENSION, "pre_shared_key of the first ClientHello in the second")
        chosen.index = identities.index(chosen.psk.identity)
        check_binder(hello.raw, offered, chosen.index, chosen.psk, self.transcript)

    # -- early data, section 4.3.10 --------------------------------------------------------------------------------

    def expect_early_data(self) -> None:
        """The client announces it. Until it is accepted it has to be passed over, wherever it ends."""
        self.early_data = "rejected"
        self.reader.skippable = MAX_SKIPPED_EARLY_DATA + 2 * self.config.max_early_data

    async def accept_early_data(
        self, hello: ClientHello, asked: Asked, chosen: Chosen, suite: Suite
    ) -> TrafficSecret | None:
        """The secret that it is read under, or None. ``hello`` is the last one: a retry ends early data."""
        assert asked.psks is not None
        if X.early_data not in (hello.extensions or {}):
            return None
        session = chosen.psk.session
        # The name and the protocol are those of the session, or it would not have been chosen.
        if session is None or chosen.index or chosen.alone or session.cipher_suite != suite.number:
            return None
        if not self.config.max_early_data or not session.max_early_data:
            return None
        if not await self._is_new(asked.psks, session, asked):
            return None
        self.early_data = "accepted"
        self.reader.skippable = None
        self._early_left = session.max_early_data
        digest = self.transcript.digest_with(suite.hash_name, hello.raw)
        secret = chosen.psk.early_secret(suite).client_early_traffic(digest)
        self.log_key("CLIENT_EARLY_TRAFFIC_SECRET", secret.secret)
        return secret

    async def _is_new(self, offered: OfferedPsks, session: Session, asked: Asked) -> bool:
        """Section 8: sent just now by the client's clock, and never seen before; then the application is asked."""
        config = self.config
        (_, obfuscated_age), binder = offered.identities[0], offered.binders[0]
        sent, now = session.issued + session.stated_age(obfuscated_age), config.clock()
        if config.tickets is None:
            return False
        if not call_hook("tickets", lambda tickets: tickets.first_use(binder, sent, now), config.tickets):
            return False
        if config.accept_early_data is None:
            return True
        question = AcceptEarlyData(
            server_name=asked.server_name,
            alpn=session.alpn,
            peer_certificates=session.peer_certificates,
            unique=binder,
        )
        answer = await self.ask("accept_early_data", config.accept_early_data, question)
        if not isinstance(answer, bool):
            raise HookError(f"accept_early_data must answer True or False; it answered {answer!r}")
        return answer

    async def read_end_of_early_data(self) -> None:
        """Section 4.6: everything before it is early data."""
        data = await self.read(HandshakeType.end_of_early_data)
        self.insist_on_boundary()
        EndOfEarlyData.decode(data)
        self.transcript.add(data)

    def read_application_data(self, content: bytes) -> None:
        if self.state != "read_end_of_early_data":
            super().read_application_data(content)
        if len(content) > self._early_left:
            raise PeerFault(Fault.TOO_MUCH_EARLY_DATA)
        self._early_left -= len(content)
        self.early += content

    def take_early(self, most: int | None) -> bytes:
        """What came early, at most ``most`` bytes; empty when there is nothing now."""
        data = bytes(self.early[:most])
        del self.early[: len(data)]
        return data
