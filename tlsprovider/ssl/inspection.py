"""How an SSL object is doing: why a call did not succeed, which state it is in, what was negotiated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from tlsprovider.errors import CertificateFault, Fault
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import Question
from tlsprovider.ssl.codes import ErrorCode, Shutdown, VerifyResult, Wanted
from tlsprovider.ssl.settings import Settings

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Inspection"]

VERIFY_RESULTS: Final = {
    Fault.CERTIFICATE_EXPIRED: VerifyResult.CERT_HAS_EXPIRED,
    Fault.CERTIFICATE_UNKNOWN_ISSUER: VerifyResult.UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
    Fault.CERTIFICATE_NAME: VerifyResult.HOSTNAME_MISMATCH,
    Fault.CERTIFICATE_PURPOSE: VerifyResult.INVALID_PURPOSE,
    Fault.CERTIFICATE_SIGNATURE: VerifyResult.CERT_SIGNATURE_FAILURE,
    Fault.CERTIFICATE_CHAIN_LONG: VerifyResult.CERT_CHAIN_TOO_LONG,
    Fault.CERTIFICATE_REFUSED: VerifyResult.APPLICATION_VERIFICATION,
}
DIRECTIONS: Final = {"read": "R", "send": "W"}


class Inspection(Settings):
    """See :class:`tlsprovider.ssl.SSL`."""

    _finished = False
    _shutdown = Shutdown.NONE

    def __repr__(self) -> str:
        return f"<SSL {self.state_string_long()}>"

    # -- how a call ended, SSL_get_error(3), SSL_want(3) ------------------------------------------------------------

    def get_error(self, ret: int | bytes) -> ErrorCode:
        """Why the last operation returned ``ret``, which may be the bytes of a read. NONE if and only if it succeeded.

        A 0 that is no failure (the first ``shutdown()``, an empty write) has no reason; as in C, don't ask for it.
        """
        succeeded = ret > 0 if isinstance(ret, int) else bool(ret)
        if succeeded:
            return ErrorCode.NONE
        return self._code if self._code is not ErrorCode.NONE else ErrorCode.SYSCALL

    def want(self) -> Wanted:
        """What the last operation waits for."""
        return Wanted.by(self._code)

    def want_nothing(self) -> bool:
        return self.want() is Wanted.NOTHING

    def want_read(self) -> bool:
        return self.want() is Wanted.READING

    def want_write(self) -> bool:
        return self.want() is Wanted.WRITING

    def want_x509_lookup(self) -> bool:
        return self.want() is Wanted.X509_LOOKUP

    @property
    def engine(self) -> IEngine:
        """The engine underneath: to look at, not to drive. Raises ConfigError when none can be made."""
        return self._engine

    @property
    def question(self) -> Question[Any] | None:
        """The open question: answer it, then make the same call again."""
        return cast("Question[Any] | None", self._made.question) if self._made is not None else None

    # -- state, SSL_in_init(3), SSL_state_string(3) -----------------------------------------------------------------

    def is_init_finished(self) -> bool:
        """Whether ``do_handshake()`` has returned 1."""
        return self._finished

    def in_init(self) -> bool:
        return not self._finished

    def in_before(self) -> bool:
        """Whether nothing has happened yet."""
        return not self._begun

    def state_string(self) -> str:
        """The state in six letters: direction and initials of the message, as ``TRSH`` for reading a ServerHello."""
        state = self._state()
        direction, _, message = state.partition("_")
        if direction in DIRECTIONS:
            short = "T" + DIRECTIONS[direction] + "".join(word[0] for word in message.split("_")).upper()
        else:
            short = {"before": "PINIT", "connected": "SSLOK", "failed": "SSLERR"}.get(state, "UNKWN")
        return short[:6].ljust(6)

    def state_string_long(self) -> str:
        """The state in words, as ``TLSv1.3 client read server hello``."""
        state = self._state()
        side = "server" if self.is_server() else "client"
        words = {
            "before": "before initialization",
            "connected": "negotiation finished",
            "failed": "connection failed",
        }.get(state, state.replace("_", " "))
        return f"TLSv1.3 {side} {words}"

    def _state(self) -> str:
        return "before" if self._made is None or not self._begun else self._made.state

    def get_shutdown(self) -> Shutdown:
        """Which directions are closed."""
        return self._shutdown

    # -- what was negotiated ----------------------------------------------------------------------------------------

    @property
    def version(self) -> str | None:
        """``TLSv1.3``; None, as all of these, before the handshake is complete."""
        return self._made.version if self._made is not None else None

    @property
    def cipher(self) -> str | None:
        """The cipher suite by its IANA name."""
        return self._made.cipher if self._made is not None else None

    @property
    def group(self) -> str | None:
        """The key exchange group by its IANA name."""
        return self._made.group if self._made is not None else None

    @property
    def signature_scheme(self) -> str | None:
        """How the peer's certificate signed; None if it showed none."""
        return self._made.signature_scheme if self._made is not None else None

    @property
    def alpn(self) -> str | None:
        """The application protocol, if one was negotiated."""
        return self._made.alpn if self._made is not None else None

    @property
    def server_name(self) -> str | None:
        """Server: the name the client asked for. Client: the name asked for."""
        return self._made.server_name if self._made is not None else self._name

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        """The peer's chain as sent, leaf first; empty if it showed none."""
        return cast("tuple[Certificate, ...]", self._made.peer_certificates) if self._made is not None else ()

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        """The chain as verified, leaf to root; empty when not verified."""
        return cast("tuple[Certificate, ...]", self._made.verified_chain) if self._made is not None else ()

    @property
    def session_reused(self) -> bool:
        return self._made.session_reused if self._made is not None else False

    def get_verify_result(self) -> VerifyResult:
        """How the peer's certificate was judged. OK also when there was none: look at :attr:`peer_certificates`."""
        failure = self._made.failure if self._made is not None else None
        if not isinstance(failure, CertificateFault):
            return VerifyResult.OK
        return VERIFY_RESULTS.get(failure.fault, VerifyResult.UNSPECIFIED)

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        """RFC 9846 section 7.5. Raises MisuseError before the handshake is complete."""
        return self._engine.export_keying_material(label, context, length)

    def channel_binding(self, kind: str = "tls-exporter") -> bytes:
        """RFC 9266. Raises MisuseError before the handshake is complete, ValueError for a kind of older versions."""
        return self._engine.channel_binding(kind)
