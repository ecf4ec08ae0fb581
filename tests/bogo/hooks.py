"""The decisions of a configuration, taken as a test wants them, and a record of what went by.

A test with ``-async`` wants every answer late: the hook then says :data:`~tlsprovider.questions.LATER`, the engine
stops with WantAnswer, and :meth:`Hooks.answer` gives what the hook would have given at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from bogo.flags import Settings
from tlsprovider.errors import CertificateFault, Fault, PeerFault
from tlsprovider.events import Event
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER, ChooseIdentity, ClientHelloReceived, Question, SignHandshake, VerifyPeer

__all__ = ["Hooks", "Mismatch", "Seen"]

# SHA-256 of "HelloRetryRequest": the random that makes a ServerHello one (RFC 9846 section 4.2.3).
RETRY_RANDOM = bytes.fromhex("CF21AD74E59A6111BE1D8C021E65B891C2A211167ABB8C5E079E09E2C8A8339C")
RANDOM = slice(6, 38)


class Mismatch(Exception):
    """What happened is not what the test's flags expect. The test has failed, whatever else it expected."""


@attrs.define
class Seen:
    """What a connection told, of what its engine does not remember."""

    state: str = ""
    retry_requests: int = 0
    tickets: int = 0
    verifications: int = 0
    done: bool = False
    secrets: dict[str, bytes] = attrs.field(factory=dict, repr=False)

    def on_event(self, event: Event) -> None:
        if event.kind == "state":
            self.state = event.name
        elif event.kind == "handshake_done":
            self.done = True
        elif event.kind in ("message_received", "message_sent"):
            if event.name == "server_hello" and event.data[RANDOM] == RETRY_RANDOM:
                self.retry_requests += 1
            elif event.name == "new_session_ticket":
                self.tickets += 1

    def keylog(self, line: str) -> None:
        label, _, secret = line.split(" ")
        self.secrets[label] = bytes.fromhex(secret)


class Hooks:
    """Every hook that a test may need. ``identities``: what the test gave us to show."""

    def __init__(self, settings: Settings, seen: Seen, identities: list[Identity]) -> None:
        self._settings = settings
        self._seen = seen
        self._identities = identities
        self._mismatch: Mismatch | None = None
        self.go_on_with: object = None
        """Server: the configuration that ``on_client_hello`` answers."""

    def late(self, hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
        """The hook itself, or one that puts it off, as the test says."""
        return (lambda question: LATER) if self._settings.late else hook

    def late_signer(self, identity: Identity) -> Callable[[Any, bytes], Any]:
        return (lambda scheme, message: LATER) if self._settings.late else identity.sign

    def answer(self, question: Question[Any], signing_for: Identity | None) -> None:
        """Give a late answer. What the hook raises becomes the failure of the question."""
        try:
            if isinstance(question, SignHandshake):
                assert signing_for is not None
                signature = signing_for.sign(question.scheme, question.message)
                assert isinstance(signature, bytes)
                question.answer(signature)
            elif isinstance(question, ClientHelloReceived):
                question.answer(self.on_client_hello(question))
            elif isinstance(question, ChooseIdentity):
                question.answer(self.choose_identity(question))
            else:
                assert isinstance(question, VerifyPeer)
                question.answer(self.verify_peer(question))
        except Exception as failure:
            question.fail(failure)

    def raise_mismatch(self) -> None:
        """An expectation that failed inside a hook must not be taken for the failure that a test expects."""
        if self._mismatch is not None:
            raise self._mismatch

    def _expect(self, what: str, got: object, wanted: object) -> None:
        if got != wanted:
            self._mismatch = Mismatch(f"{what}: got {got!r}, wanted {wanted!r}")
            raise self._mismatch

    # -- the hooks -------------------------------------------------------------------------------------------------

    def on_client_hello(self, question: ClientHelloReceived) -> object:
        settings = self._settings
        if settings.expect_no_server_name:
            self._expect("server name in the hook", question.server_name, None)
        if settings.expect_server_name:
            self._expect("server name in the hook", question.server_name, settings.expect_server_name)
        if settings.expect_advertised_alpn:
            names = b"".join(bytes((len(name),)) + name.encode("latin-1") for name in question.alpn)
            self._expect("protocols offered", names, settings.expect_advertised_alpn)
        if settings.fail_early_callback or settings.fail_ddos_callback:
            raise PeerFault(Fault.HELLO_REFUSED, "as the test wants")
        if settings.reject_alpn and question.alpn:
            raise PeerFault(Fault.NO_COMMON_ALPN, "as the test wants")
        return self.go_on_with

    def choose_identity(self, question: ChooseIdentity) -> Identity | None:
        settings = self._settings
        if settings.expect_peer_verify_pref:
            schemes = [int(scheme) for scheme in question.signature_schemes]
            self._expect("the peer's signature algorithms", schemes, list(settings.expect_peer_verify_pref))
        if settings.expect_client_ca_list:
            names = ",".join(name.hex() for name in question.authorities)
            self._expect("certificate authorities", names, settings.expect_client_ca_list.lower())
        if settings.fail_cert_callback:
            raise RuntimeError("-fail-cert-callback")
        return self._identities[0] if self._identities else None

    def verify_peer(self, question: VerifyPeer) -> bool | CertificateFault:
        settings = self._settings
        self._seen.verifications += 1
        self._expect("calls of verify_peer", self._seen.verifications, 1)
        if settings.expect_ocsp_response:
            self._expect("OCSP response", question.ocsp_response, settings.expect_ocsp_response)
        if settings.expect_signed_cert_timestamps:
            entries = b"".join(len(one).to_bytes(2, "big") + one for one in question.scts)
            content = len(entries).to_bytes(2, "big") + entries
            self._expect("certificate timestamps", content, settings.expect_signed_cert_timestamps)
        # Without one of these two, a verdict is noted and not acted upon.
        if settings.verify_fail and (settings.verify_peer or settings.require_any_client_certificate):
            return CertificateFault("refused, as the test wants")
        return True
