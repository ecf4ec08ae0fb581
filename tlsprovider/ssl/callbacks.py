"""Callbacks of one SSL object, with the meanings of the man pages, made out of the hooks of its configuration.

A configuration is shared, and its hooks get one argument: the event, the line, the question. A callback belongs to one
SSL object and gets that object too. Three of them decide (about the ClientHello, the certificate to show, the peer's
certificate) and say so with a number: positive, go on; zero, abort; negative, *ask me again*, when the suspended call
gives the question's error code and its repetition calls the callback once more. A hook that returned LATER isn't asked
again: there the question waits for ``question.answer(...)``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import attrs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, Fault, MisuseError, PeerFault
from tlsprovider.events import Event
from tlsprovider.handshake.negotiate import choose_identity
from tlsprovider.iana import ContentType, ProtocolVersion
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER, ChooseIdentity, ClientHelloReceived, Question, VerifyPeer
from tlsprovider.ssl.codes import InfoEvent

if TYPE_CHECKING:
    from tlsprovider.ssl import SSL

__all__ = ["Callbacks", "DecisionCallback", "InfoCallback", "KeylogCallback", "MessageCallback"]

InfoCallback = Callable[["SSL", InfoEvent, int], object]
"""``(ssl, where, value)``: SSL_CTX_set_info_callback(3). ``value``: 1 for states, level and description for an alert
(``level << 8 | description``), the return code for EXIT."""
MessageCallback = Callable[[bool, int, int, bytes, "SSL"], object]
"""``(sent, version, content_type, data, ssl)``: SSL_CTX_set_msg_callback(3)."""
KeylogCallback = Callable[["SSL", str], object]
"""``(ssl, line)``: SSL_CTX_set_keylog_callback(3)."""
DecisionCallback = Callable[["SSL", Any], int]
"""``(ssl, question)``: positive, go on; 0, abort; negative, suspend and ask again."""

ALERTS = {"alert_received": InfoEvent.READ_ALERT, "alert_sent": InfoEvent.WRITE_ALERT}
MESSAGES = ("message_received", "message_sent", *ALERTS)


class Callbacks:
    """What one SSL object calls, and the question that is to be put again."""

    def __init__(self) -> None:
        self.info: InfoCallback | None = None
        self.message: MessageCallback | None = None
        self.keylog: KeylogCallback | None = None
        self.client_hello: DecisionCallback | None = None
        self.certificate: DecisionCallback | None = None
        self.verify: DecisionCallback | None = None
        self.identity: Identity | None = None
        self._question: Question[Any] | None = None
        self._ask: Callable[[], Any] | None = None
        self._config: ClientConfig | ServerConfig | None = None

    def woven_into(self, config: ClientConfig | ServerConfig, ssl: SSL) -> ClientConfig | ServerConfig:
        """The configuration whose hooks call these callbacks, with ``ssl``, and then its own hooks.

        Only a configuration that needs it is changed: what depends on it alone is computed once and shared. Raises
        MisuseError where ``on_client_hello`` could put another in its place, and a decision would be left out.
        """
        decides = self.certificate is not None or self.verify is not None or self.identity is not None
        if decides and isinstance(config, ServerConfig) and config.on_client_hello is not None:
            raise MisuseError(
                "on_client_hello may choose a configuration that doesn't know the callbacks and the identity of this"
                " SSL object: give that configuration the hooks verify_peer and choose_identity instead"
            )
        hooks: dict[str, Any] = {}
        if self.info is not None or self.message is not None:
            hooks["on_event"] = lambda event: self._tell(ssl, event, config.on_event)
        if self.keylog is not None:
            hooks["keylog"] = lambda line: self._log(ssl, line, config.keylog)
        if self.client_hello is not None and isinstance(config, ServerConfig):
            hooks["on_client_hello"] = lambda question: self._decide_client_hello(ssl, question, config)
        if self.certificate is not None or self.identity is not None:
            hooks["choose_identity"] = lambda question: self._decide_certificate(ssl, question, config)
        if self.verify is not None:
            hooks["verify_peer"] = lambda question: self._decide_peer(ssl, question, config)
        self._question = self._ask = None
        self._config = attrs.evolve(config, **hooks) if hooks else config
        return self._config

    # -- telling ----------------------------------------------------------------------------------------------------

    def _tell(self, ssl: SSL, event: Event, own: Callable[[Event], object] | None) -> None:
        if own is not None:
            own(event)
        if self.message is not None and event.kind in MESSAGES:
            content_type = ContentType.alert if event.kind in ALERTS else ContentType.handshake
            sent = event.kind in ("message_sent", "alert_sent")
            self.message(sent, ProtocolVersion.TLSv1_3, content_type, event.data, ssl)
        if self.info is not None:
            if event.kind == "state":
                self.info(ssl, side_of(ssl) | InfoEvent.LOOP, 1)
            elif event.kind == "handshake_start":
                self.info(ssl, InfoEvent.HANDSHAKE_START, 1)
            elif event.kind == "handshake_done":
                self.info(ssl, InfoEvent.HANDSHAKE_DONE, 1)
            elif event.kind in ALERTS:
                # Level and description in one number, as SSL_alert_type_string(3) takes it.
                self.info(ssl, ALERTS[event.kind], int.from_bytes(event.data, "big"))

    @property
    def chooses(self) -> bool:
        """Whether the identity is asked for when it is needed, so that it may be set until then."""
        return self.certificate is not None

    def tell_exit(self, ssl: SSL, code: int) -> None:
        """A handshake call is about to return ``code``."""
        if self.info is not None:
            self.info(ssl, side_of(ssl) | InfoEvent.EXIT, code)

    def _log(self, ssl: SSL, line: str, own: Callable[[str], object] | None) -> None:
        if own is not None:
            own(line)
        if self.keylog is not None:
            self.keylog(ssl, line)

    # -- deciding ---------------------------------------------------------------------------------------------------

    def ask_again(self) -> None:
        """Put the question again to the callback that was not ready for it."""
        question, ask = self._question, self._ask
        if question is None or ask is None or question.answered:
            return
        try:
            answer = ask()
        except Exception as failure:
            # It belongs to the question: the engine aborts the handshake with it, as with any hook that fails.
            question.fail(failure)
            return
        if isinstance(answer, Awaitable):
            question.pending = answer
        elif answer is not LATER:
            question.answer(answer)

    def _ready(self, verdict: int, question: Question[Any], ask: Callable[[], Any]) -> bool:
        """Whether to go on. False: ask again later. What is raised here aborts the handshake."""
        if verdict == 0:
            raise refusal(question)
        # After a positive verdict a hook of the configuration may still say LATER, and that isn't asked again.
        self._question, self._ask = (question, ask) if verdict < 0 else (None, None)
        return verdict > 0

    def _decide_client_hello(self, ssl: SSL, question: ClientHelloReceived, config: ServerConfig) -> Any:
        assert self.client_hello is not None
        verdict = self.client_hello(ssl, question)
        if not self._ready(verdict, question, lambda: self._decide_client_hello(ssl, question, config)):
            return LATER
        return config.on_client_hello(question) if config.on_client_hello is not None else self._config

    def _decide_certificate(self, ssl: SSL, question: ChooseIdentity, config: ClientConfig | ServerConfig) -> Any:
        verdict = self.certificate(ssl, question) if self.certificate is not None else 1
        if not self._ready(verdict, question, lambda: self._decide_certificate(ssl, question, config)):
            return LATER
        if self.identity is not None:
            return self.identity
        if config.choose_identity is not None:
            return config.choose_identity(question)
        if isinstance(config, ClientConfig):
            return config.identity
        return choose_identity(
            config.identities, question.server_name, question.signature_schemes, question.authorities
        )

    def _decide_peer(self, ssl: SSL, question: VerifyPeer, config: ClientConfig | ServerConfig) -> Any:
        assert self.verify is not None
        verdict = self.verify(ssl, question)
        if not self._ready(verdict, question, lambda: self._decide_peer(ssl, question, config)):
            return LATER
        return config.verify_peer(question) if config.verify_peer is not None else True


def side_of(ssl: SSL) -> InfoEvent:
    return InfoEvent.ACCEPT if ssl.is_server() else InfoEvent.CONNECT


def refusal(question: Question[Any]) -> Exception:
    """What a callback that said 0 means. To choose another alert it raises a PeerFault itself."""
    if isinstance(question, ClientHelloReceived):
        return PeerFault(Fault.HELLO_REFUSED, "the ClientHello callback returned 0")
    if isinstance(question, VerifyPeer):
        return CertificateFault("the verify callback refused the certificate")
    return ValueError("the certificate callback returned 0")
