"""Pre-shared keys in a handshake, RFC 9846 section 4.3.11: what is offered, what is known, and the proof of holding it.

A key comes from a ticket of an earlier connection, and then it has a :class:`~tlsprovider.session.Session`, or from
outside. To the handshake both are a :class:`Psk`: an identity to show, a secret, and a binder, which is a Finished
message of sorts over the ClientHello up to the binders themselves.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tlsprovider.crypto.schedule import RESUMPTION_BINDER, EarlySecret
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.steps import per_config
from tlsprovider.iana import ExtensionType as X
from tlsprovider.values import value
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.extensions import OfferedPsks

if TYPE_CHECKING:
    from cryptography import x509

    from tlsprovider.config import ClientConfig, ServerConfig
    from tlsprovider.crypto.transcript import Transcript
    from tlsprovider.psk import ExternalPsk
    from tlsprovider.session import Session

__all__ = [
    "MAX_TRIED",
    "Psk",
    "check_binder",
    "externals",
    "fingerprint",
    "modes",
    "of_external",
    "of_session",
    "psk_extension",
    "with_binders",
]

# A server looks at so many of the keys that a client offers; clients have one or two.
MAX_TRIED: Final = 8


# Any suite with the right hash gives the same binders.
_SUITES: Final = {suite.hash_name: suite for suite in SUITES.values()}


@value(repr=False)
class Psk:
    """One pre-shared key. ``session`` is None for one from outside; it has no ``verified`` chain of the peer either."""

    identity: bytes
    early: EarlySecret
    """All that is ever made of the secret; for some suite with the right hash."""
    label: bytes
    key_exchange: bool = True
    session: Session | None = None
    verified: tuple[x509.Certificate, ...] = ()

    @property
    def hash_name(self) -> str:
        return self.early.suite.hash_name

    def early_secret(self, suite: Suite) -> EarlySecret:
        return EarlySecret(suite, self.early.secret)

    def with_chain(self, verified: tuple[x509.Certificate, ...]) -> Psk:
        """The same, with the chain of the peer's certificates as it was verified just now."""
        return Psk(self.identity, self.early, self.label, self.key_exchange, self.session, verified)

    def binder(self, transcript_hash: bytes) -> bytes:
        return self.early.binder(self.label, transcript_hash)

    @property
    def binder_length(self) -> int:
        return self.early.suite.hash_length


def of_session(session: Session, identity: bytes, verified: tuple[x509.Certificate, ...] = ()) -> Psk:
    early = EarlySecret.of_psk(SUITES[session.cipher_suite], session.secret)
    return Psk(identity, early, RESUMPTION_BINDER, session=session, verified=verified)


def of_external(key: ExternalPsk, identity: bytes | None = None) -> Psk:
    """``identity``: the name that the client knows it by, where that is another."""
    early = EarlySecret.of_psk(_SUITES[key.hash_name], key.secret)
    return Psk(identity or key.identity, early, key.label, key.key_exchange)


@per_config
def externals(config: ClientConfig | ServerConfig) -> dict[bytes, Psk]:
    """The keys of a configuration by their identities."""
    return {key.identity: of_external(key) for key in config.psks}


def modes(config: ClientConfig) -> list[int]:
    """What a client allows, section 4.3.9; empty: it uses no pre-shared keys."""
    found = [ext.PSK_DHE_KE] if config.sessions is not None or config.psks else []
    return found + [ext.PSK_KE] * any(not key.key_exchange for key in config.psks)


@per_config
def fingerprint(config: ClientConfig | ServerConfig) -> bytes:
    """What a session depends on that isn't checked anew when it resumes.

    A session made under a configuration resumes under an equal one: so none outlives a stricter list, a demand for
    client certificates, or the client's change of identity. Trust is not in it, because it is measured anew each time.
    """
    said: list[object] = [config.min_version, config.max_version, *config.cipher_suites, *config.signature_schemes]
    said += [*config.groups, type(config).__name__, config.verify_peer is not None]
    client_auth = getattr(config, "client_auth", None)
    if client_auth is not None:
        # Who may answer under the same names may resume: not the certificates themselves, which are renewed.
        said += [client_auth, *sorted(name for one in config.identities for name in one.names)]  # type: ignore[union-attr]
    else:
        identity = config.identity  # type: ignore[union-attr]
        said += [config.alpn, None if identity is None else hashlib.sha256(identity.chain_der[0]).hexdigest()]
    return hashlib.sha256("\n".join(map(str, said)).encode()).digest()


# -- the client --------------------------------------------------------------------------------------------------------


def psk_extension(psks: Sequence[Psk], now: float) -> tuple[int, bytes]:
    """pre_shared_key with room for the binders."""
    identities = [(one.identity, one.session.obfuscated_age(now) if one.session else 0) for one in psks]
    binders = [bytes(one.binder_length) for one in psks]
    return X.pre_shared_key, ext.encode_offered_psks(OfferedPsks(tuple(identities), tuple(binders)))


def with_binders(message: bytes, psks: Sequence[Psk], transcript: Transcript) -> bytes:
    """The ClientHello ``message`` with its binders filled in; ``transcript`` ends before it (section 4.3.11.2)."""
    truncated = message[: -OfferedPsks((), tuple(bytes(one.binder_length) for one in psks)).binders_length]
    binders = [one.binder(transcript.digest_with(one.hash_name, truncated)) for one in psks]
    return truncated + ext.encode_binders(binders)


# -- the server --------------------------------------------------------------------------------------------------------


def check_binder(message: bytes, offered: OfferedPsks, index: int, psk: Psk, transcript: Transcript) -> None:
    """Section 4.3.11.2: whether the client holds the key. ``transcript`` ends before the ClientHello ``message``."""
    truncated = message[: -offered.binders_length]
    expected = psk.binder(transcript.digest_with(psk.hash_name, truncated))
    if not hmac.compare_digest(expected, offered.binders[index]):
        raise PeerFault(Fault.PSK_BINDER)
