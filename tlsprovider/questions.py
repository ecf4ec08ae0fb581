"""The pauses of a handshake that are decisions.

A handshake waits for bytes, and for answers that only the application has: which certificate, a signature by a key that
lives elsewhere, whether a peer is trusted. Each is a :class:`Question`. The engine first asks the hook in the
configuration, with the question as its only argument; the hook gives one of three things:

* the answer, and the handshake goes on at once;
* an awaitable (a coroutine, a Deferred): it becomes :attr:`Question.pending`, the engine raises :exc:`WantAnswer`, and
  the adapter that drives the engine awaits it in its own way and answers;
* :data:`LATER`: somebody will call :meth:`Question.answer` in their own time.

Each question has a limit of time, :attr:`Question.time_limit`, which is the configuration's ``answer_timeout``. Engines
have no clock that ticks: whoever waits for the answer keeps to it, as the adapters for Twisted and trio do.

An exception out of a hook, or given to :meth:`Question.fail`, aborts the handshake with internal_error and reaches the
caller as the cause of a :exc:`~tlsprovider.errors.HookError`. It never lets a handshake go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

import attrs

from tlsprovider.errors import CertificateFault, MisuseError, Want
from tlsprovider.iana import CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.identity import Identity

__all__ = [
    "LATER",
    "AcceptEarlyData",
    "ChooseIdentity",
    "ClientHelloReceived",
    "FindSession",
    "Question",
    "SignHandshake",
    "VerifyPeer",
    "WantAnswer",
]

A = TypeVar("A")


class Later:
    """The type of :data:`LATER`."""

    def __repr__(self) -> str:
        return "LATER"


LATER: Final = Later()
"""What a hook returns when the answer will come through :meth:`Question.answer`."""


class WantAnswer(Want):
    """A decision is needed. Answer :attr:`question`, then call again.

    The same question stays in ``engine.question`` until it has been answered.
    """

    def __init__(self, question: Question[Any]) -> None:
        super().__init__(question)
        self.question = question


@attrs.define(eq=False, slots=True, kw_only=True)
class Question(Generic[A]):
    """One open decision. Subclasses hold what there is to know before answering."""

    pending: Awaitable[A] | None = attrs.field(default=None, init=False, repr=False)
    """What the hook returned to be awaited, for the adapter that drives the engine."""
    time_limit: float | None = attrs.field(default=None, init=False, repr=False)
    """Seconds that the answer may take (None: no limit), for whoever waits for it: then :meth:`run_out_of_time`."""
    _value: A | None = attrs.field(default=None, init=False, repr=False)
    _failure: BaseException | None = attrs.field(default=None, init=False, repr=False)
    _answered: bool = attrs.field(default=False, init=False, repr=False)
    _waiter: Callable[[], object] | None = attrs.field(default=None, init=False, repr=False)

    error_code: ClassVar[int] = 0
    """What ``SSL_get_error`` says while this question is open."""

    @property
    def answered(self) -> bool:
        return self._answered

    def answer(self, value: A) -> None:
        """Give the answer; the next ``do_handshake()`` goes on. Raises :exc:`MisuseError` when there is one already."""
        self._settle(value, None)

    def fail(self, exception: BaseException) -> None:
        """Say that there will be no answer. The next ``do_handshake()`` aborts and raises with this cause."""
        self._settle(None, exception)

    def run_out_of_time(self) -> None:
        """There was no answer within :attr:`time_limit`: :meth:`fail` with a TimeoutError that says so."""
        self.fail(TimeoutError(f"no answer within {self.time_limit:g} seconds"))

    def _settle(self, value: A | None, failure: BaseException | None) -> None:
        if self._answered:
            raise MisuseError(f"this {type(self).__name__} question has been answered already")
        self._answered, self._value, self._failure = True, value, failure
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter()

    def when_answered(self, callback: Callable[[], object]) -> None:
        """Call back once, when the answer is there; at once if it is. One callback only: the driving adapter's."""
        if self._answered:
            callback()
        else:
            self._waiter = callback

    def outcome(self) -> A:
        """The answer, or raise what :meth:`fail` was given. For the engine."""
        if self._failure is not None:
            raise self._failure
        return self._value  # type: ignore[return-value]


@attrs.define(eq=False, slots=True, kw_only=True)
class ClientHelloReceived(Question[Any]):
    """Server: a ClientHello is here. The answer is the :class:`~tlsprovider.config.ServerConfig` to go on with.

    ``raw`` is the ClientHello message with its four byte header, as received. Numbers that have no name appear as
    nameless members (``0x6a6a``). ``client_address`` is ``(host, port)`` where the adapter knows it, else None.
    Refuse by raising :exc:`~tlsprovider.errors.HelloRefused`, which takes any alert, or a ``PeerFault``.
    """

    server_name: str | None
    alpn: tuple[str, ...]
    versions: tuple[ProtocolVersion, ...]
    cipher_suites: tuple[CipherSuite, ...]
    groups: tuple[NamedGroup, ...]
    signature_schemes: tuple[SignatureScheme, ...]
    raw: bytes = attrs.field(repr=False)
    client_address: tuple[str, int] | None = None

    error_code: ClassVar[int] = 11


@attrs.define(eq=False, slots=True, kw_only=True)
class FindSession(Question[Any]):
    """Server: a client offers a pre-shared key that is neither a ticket of ours nor in ``psks``. Who knows it?

    The answer is a :class:`~tlsprovider.session.Session`, an :class:`~tlsprovider.psk.ExternalPsk`, or None. Whether it
    fits the connection, and whether the client holds it, is checked afterwards.
    ``identity``: the ticket, or the name of the key, as the client sent it.
    """

    identity: bytes
    server_name: str | None

    error_code: ClassVar[int] = 65


@attrs.define(eq=False, slots=True, kw_only=True)
class AcceptEarlyData(Question[bool]):
    """Server: early data is coming that was sent just now, and that this process has not seen before. Take it?

    Somebody may have recorded it and sent it to other servers as well (RFC 9846 section 8). ``unique`` is different for
    each such flight and the same in each replay: whoever shares it with those servers finds the replays.
    ``peer_certificates``: what the client showed when the session began.
    """

    server_name: str | None
    alpn: str | None
    peer_certificates: tuple[Certificate, ...]
    unique: bytes = attrs.field(repr=False)

    error_code: ClassVar[int] = 66


@attrs.define(eq=False, slots=True, kw_only=True)
class ChooseIdentity(Question["Identity | None"]):
    """Which certificate to show. Server: by name and by what the client can verify. Client: the server asked for one.

    The answer is an :class:`~tlsprovider.identity.Identity`; a client may also answer None and show no certificate.
    ``authorities``: DER encoded distinguished names that the peer said it trusts; empty if it did not say.
    """

    is_server: bool
    server_name: str | None
    signature_schemes: tuple[SignatureScheme, ...]
    authorities: tuple[bytes, ...] = attrs.field(repr=False)

    error_code: ClassVar[int] = 4


@attrs.define(eq=False, slots=True, kw_only=True)
class SignHandshake(Question[bytes]):
    """Sign ``message`` (the whole content, not a digest) with the identity's key under ``scheme``. Answer: bytes."""

    identity: Identity
    scheme: SignatureScheme
    message: bytes = attrs.field(repr=False)

    error_code: ClassVar[int] = 64


@attrs.define(eq=False, slots=True, kw_only=True)
class VerifyPeer(Question[bool | CertificateFault]):
    """Is this peer to be trusted? Answer True, or a :class:`~tlsprovider.errors.CertificateFault` (or False).

    Asked after the built-in checks have passed (``verified_chain`` is then the chain from leaf to root), or in place of
    them when the configuration says ``insecure_skip_verify`` (``verified_chain`` is then empty).
    ``server_name`` is None on the server. ``ocsp_response`` and ``scts`` are what the peer stapled, not yet checked.
    """

    peer_certificates: tuple[Certificate, ...]
    verified_chain: tuple[Certificate, ...]
    server_name: str | None
    ocsp_response: bytes | None = attrs.field(repr=False)
    scts: tuple[bytes, ...] = attrs.field(repr=False)

    error_code: ClassVar[int] = 12
