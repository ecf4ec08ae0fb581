"""What a connection may do: :class:`ClientConfig` and :class:`ServerConfig`.

Both are frozen, keyword-only and checked once, when they are made, so a wrong word is an error at start-up and not at
the first connection. Changing a config means making a new one (``attrs.evolve(config, alpn=["h2"])``); connections
that run keep the one they began with, which is also how certificates are replaced without a restart.

Names in lists are IANA's, in any case, or members of the enums in :mod:`tlsprovider.iana`. Time and randomness are
fields, so that a test decides both.

This list of defaults is the only one; ``docs/configuration.md`` shows it and a test compares them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import attrs

from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.crypto.suites import SUITES
from tlsprovider.crypto.tickets import TicketKeyRing
from tlsprovider.errors import ConfigError
from tlsprovider.events import Event
from tlsprovider.iana import CipherSuite, NamedGroup, ProtocolVersion, RegistryEnum, SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.psk import ExternalPsk, psks
from tlsprovider.session import MemorySessions, SessionStore
from tlsprovider.trust import TrustStore

__all__ = ["ClientConfig", "ServerConfig"]

E = TypeVar("E", bound=RegistryEnum)

DEFAULT_GROUPS = (
    NamedGroup.X25519MLKEM768,
    NamedGroup.x25519,
    NamedGroup.secp256r1,
    NamedGroup.secp384r1,
    NamedGroup.secp521r1,
)
DEFAULT_KEY_SHARES = 2
DEFAULT_CIPHER_SUITES = (
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
)
DEFAULT_SIGNATURE_SCHEMES = HANDSHAKE_SCHEMES

DEFAULT_TICKET_COUNT = 2
# Clients keep no more for a name, and some take more in a row for an attack.
MAX_TICKET_COUNT = 8
# It is kept until the application reads it, for each connection.
MAX_EARLY_DATA = 1 << 20

Hook = Callable[[Any], Any]


TICKETS = ("lifetime", "seal", "open", "first_use")


class Tickets(Protocol):
    """What makes tickets: a :class:`~tlsprovider.crypto.tickets.TicketKeyRing`, or something of one's own.

    ``state`` is a whole session. Whoever keeps it, under the ticket as its name, and answers :meth:`open` with it once,
    has sessions that can't be resumed twice. The methods must not wait: they are called in the middle of a handshake.
    """

    def lifetime(self, now: float) -> int:
        """For how many seconds a ticket of now is good; 0: none is to be made."""

    def seal(self, state: bytes, now: float) -> bytes:
        """A ticket for this state: at most 65535 bytes; better a few hundred."""

    def open(self, ticket: bytes, now: float) -> bytes | None:
        """The state of a ticket; None for one that is unknown."""

    def first_use(self, unique: bytes, sent: float, now: float) -> bool:
        """Early data: whether it was sent recently, and ``unique`` was not asked about before. Only True accepts it."""


def _members(kind: type[E], field: str, implemented: Iterable[E], values: object) -> tuple[E, ...]:
    """Read a list of names or members; refuse unknown, unimplemented and repeated ones."""
    if isinstance(values, str):
        # As OpenSSL writes lists, and as they come from a command line.
        values = [part.strip() for part in values.replace(":", ",").split(",") if part.strip()]
    if not isinstance(values, Iterable):
        raise ConfigError(f"{field}: expected a list of names, got {values!r}")
    chosen: list[E] = []
    known = tuple(implemented)
    for value in values:
        if not isinstance(value, str | int):
            raise ConfigError(f"{field}: expected names, got {value!r}")
        try:
            member = kind.parse(value)
        except ValueError as problem:
            raise ConfigError(f"{field}: {problem}") from None
        if member not in known:
            names = ", ".join(str(one) for one in known)
            raise ConfigError(f"{field}: {member} can't be used here. Choose from: {names}")
        if member in chosen:
            raise ConfigError(f"{field}: {member} is listed twice")
        chosen.append(member)
    if not chosen:
        raise ConfigError(f"{field}: the list is empty, so no handshake could succeed; leave it out for the defaults")
    return tuple(chosen)


# attrs' plugin for mypy takes the type of a constructor's argument from the converter's, so each has a name and a type.


def _groups(values: Iterable[str | NamedGroup] | str) -> tuple[NamedGroup, ...]:
    return _members(NamedGroup, "groups", IMPLEMENTED_GROUPS, values)


def _key_shares(values: Iterable[str | NamedGroup] | str | None) -> tuple[NamedGroup, ...] | None:
    return None if values is None else _members(NamedGroup, "key_shares", IMPLEMENTED_GROUPS, values)


def _cipher_suites(values: Iterable[str | CipherSuite] | str) -> tuple[CipherSuite, ...]:
    return _members(CipherSuite, "cipher_suites", SUITES, values)


def _signature_schemes(values: Iterable[str | SignatureScheme] | str) -> tuple[SignatureScheme, ...]:
    return _members(SignatureScheme, "signature_schemes", HANDSHAKE_SCHEMES, values)


def _min_version(value: str | ProtocolVersion) -> ProtocolVersion:
    return _version("min_version", value)


def _max_version(value: str | ProtocolVersion) -> ProtocolVersion:
    return _version("max_version", value)


def _version(field: str, value: object) -> ProtocolVersion:
    if not isinstance(value, str | int):
        raise ConfigError(f"{field}: expected a version as 'TLSv1.3', got {value!r}")
    try:
        return ProtocolVersion.parse(value)
    except ValueError as problem:
        raise ConfigError(f"{field}: {problem}") from None


def _alpn(values: Iterable[str | bytes]) -> tuple[str, ...]:
    """Protocol names as text, RFC 7301 section 3.1: 1 to 255 bytes each; bytes are taken as latin-1."""
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise ConfigError(f"alpn: expected a list such as ['h2', 'http/1.1'], got {values!r}")
    names: list[str] = []
    for value in values:
        name = value.decode("latin-1") if isinstance(value, bytes) else value
        if not isinstance(name, str) or not 1 <= len(name) <= 255:
            raise ConfigError(f"alpn: {value!r} is not a protocol name of 1 to 255 characters")
        try:
            name.encode("latin-1")
        except UnicodeEncodeError:
            raise ConfigError(f"alpn: {value!r} has characters outside latin-1") from None
        if name in names:
            raise ConfigError(f"alpn: {name!r} is listed twice")
        names.append(name)
    return tuple(names)


def _callable(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not callable(value):
        raise ConfigError(f"{attribute.name}: expected something to call, or None; got {value!r}")


def _boolean(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{attribute.name}: expected True or False, got {value!r}")


def _identity(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not isinstance(value, Identity):
        raise ConfigError(f"identity: expected an Identity, got {value!r}; see Identity.from_files")


def _trust(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, TrustStore) and not (value is None and attribute.default is None):
        raise ConfigError(f"trust: expected a TrustStore, got {value!r}; see TrustStore.from_file")


def _identities(values: Iterable[Identity] | Identity) -> Sequence[Identity]:
    if isinstance(values, IdentityDirectory):
        # It changes while the server runs.
        return values
    if isinstance(values, Identity):
        values = (values,)
    if not isinstance(values, Iterable):
        raise ConfigError(f"identities: expected a list of Identity, or an IdentityDirectory, got {values!r}")
    identities = tuple(values)
    for value in identities:
        if not isinstance(value, Identity):
            raise ConfigError(f"identities: expected Identity, got {value!r}; see Identity.from_files")
    return identities


def _client_auth(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value not in ("none", "request", "require"):
        raise ConfigError(f"client_auth: expected 'none', 'request' or 'require', got {value!r}")


def _seconds(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None and not (isinstance(value, int | float) and value > 0):
        raise ConfigError(f"{attribute.name}: expected a number of seconds, or None for no limit; got {value!r}")


def _own_sessions() -> MemorySessions:
    store = MemorySessions()
    store.automatic = True
    return store


def _own_tickets() -> TicketKeyRing:
    ring = TicketKeyRing()
    ring.automatic = True
    return ring


def _has(*methods: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        missing = [method for method in methods if not callable(getattr(value, method, None))]
        if value is not None and missing:
            raise ConfigError(f"{attribute.name}: expected None, or something with {missing[0]}(); got {value!r}")

    return check


def _count(most: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
            raise ConfigError(f"{attribute.name}: expected a number from 0 to {most}, got {value!r}")

    return check


def _hook() -> Any:
    return attrs.field(default=None, validator=_callable, repr=False)


@attrs.frozen(kw_only=True, eq=False)
class _Common:
    """What both sides share."""

    alpn: tuple[str, ...] = attrs.field(default=(), converter=_alpn)
    """Application protocols in order of preference."""
    groups: tuple[NamedGroup, ...] = attrs.field(default=DEFAULT_GROUPS, converter=_groups)
    """Key exchange groups in order of preference."""
    cipher_suites: tuple[CipherSuite, ...] = attrs.field(default=DEFAULT_CIPHER_SUITES, converter=_cipher_suites)
    """Cipher suites in order of preference."""
    signature_schemes: tuple[SignatureScheme, ...] = attrs.field(
        default=DEFAULT_SIGNATURE_SCHEMES, converter=_signature_schemes
    )
    """What a peer may sign the handshake with, in order of preference."""
    min_version: ProtocolVersion = attrs.field(default=ProtocolVersion.TLSv1_3, converter=_min_version)
    max_version: ProtocolVersion = attrs.field(default=ProtocolVersion.TLSv1_3, converter=_max_version)
    psks: tuple[ExternalPsk, ...] = attrs.field(default=(), converter=psks, repr=False)
    """Keys that both sides were given beforehand, in place of certificates."""
    choose_identity: Hook | None = _hook()
    """Hook for the question :class:`~tlsprovider.questions.ChooseIdentity`."""
    verify_peer: Hook | None = _hook()
    """Hook for the question :class:`~tlsprovider.questions.VerifyPeer`."""
    answer_timeout: float | None = attrs.field(default=10.0, validator=_seconds)
    """Seconds that the answer to each question may take, inside the limit of the whole handshake; None: no limit."""
    keylog: Callable[[str], object] | None = _hook()
    """Called with each line of an NSS key log (RFC 9850), without newline. Whoever reads it reads the connection."""
    on_event: Callable[[Event], object] | None = _hook()
    """Called with each :class:`~tlsprovider.events.Event`; for logs and tests."""
    clock: Callable[[], float] = attrs.field(default=time.time, validator=_callable, repr=False)
    """Seconds since the epoch."""
    entropy: Callable[[int], bytes] = attrs.field(default=os.urandom, validator=_callable, repr=False)
    """``n -> n random bytes``. Anything but the default is for tests."""

    def __attrs_post_init__(self) -> None:
        if self.min_version > self.max_version:
            raise ConfigError(
                f"min_version ({self.min_version}) is above max_version ({self.max_version}): no version is left"
            )

    @property
    def key_entropy(self) -> Callable[[int], bytes] | None:
        """The source for ephemeral keys: None means that ``cryptography`` generates them itself."""
        return None if self.entropy is os.urandom else self.entropy


@attrs.frozen(kw_only=True, eq=False)
class ClientConfig(_Common):
    """What a client allows, offers and trusts.

    Raises :exc:`~tlsprovider.errors.ConfigError` (a ValueError) with what was found and what to write.
    """

    trust: TrustStore = attrs.field(factory=TrustStore.system, validator=_trust)
    """Whose certificates are believed."""
    identity: Identity | None = attrs.field(default=None, validator=_identity)
    """What to show when the server asks for a certificate."""
    _key_shares: tuple[NamedGroup, ...] | None = attrs.field(default=None, converter=_key_shares)
    sessions: SessionStore | None = attrs.field(factory=_own_sessions, validator=_has("put", "take"), repr=False)
    """Where sessions are kept, to be resumed; None: no session is asked for, kept or resumed."""
    early_data: bool = attrs.field(default=False, validator=_boolean)
    """Send what the application gives as early data (0-RTT), if a session allows it. It can be replayed by others."""
    insecure_skip_verify: bool = attrs.field(default=False, validator=_boolean)
    """Do not verify the server's certificate. With ``verify_peer``: the hook decides alone."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        # None stays None: a config that is made from this one by attrs.evolve(config, groups=...) has its own default.
        strangers = [group for group in self.key_shares if group not in self.groups]
        if strangers:
            raise ConfigError(f"key_shares: {strangers[0]} is not in groups; add it there or take it out here")
        order = [self.groups.index(group) for group in self.key_shares]
        if order != sorted(order):
            raise ConfigError("key_shares: must be in the order of groups (RFC 9846 section 4.3.8)")

    @property
    def key_shares(self) -> tuple[NamedGroup, ...]:
        """Groups to send a key share for in the first flight; by default the first two of ``groups``."""
        return self.groups[:DEFAULT_KEY_SHARES] if self._key_shares is None else self._key_shares


@attrs.frozen(kw_only=True, eq=False)
class ServerConfig(_Common):
    """What a server shows, allows and asks for.

    Raises :exc:`~tlsprovider.errors.ConfigError` (a ValueError) with what was found and what to write.
    """

    identities: Sequence[Identity] = attrs.field(default=(), converter=_identities)
    """Certificates to show: chosen by the name asked for and by what the client can verify; else the first."""
    client_auth: Literal["none", "request", "require"] = attrs.field(default="none", validator=_client_auth)
    """Whether clients are asked for a certificate, and whether they must have one."""
    trust: TrustStore | None = attrs.field(default=None, validator=_trust)
    """Whose client certificates are believed. Needed with ``client_auth``."""
    insecure_skip_verify: bool = attrs.field(default=False, validator=_boolean)
    """Take any client certificate. With ``verify_peer``: the hook decides alone."""
    tickets: Tickets | None = attrs.field(factory=_own_tickets, validator=_has(*TICKETS), repr=False)
    """The keys of session tickets, or whatever keeps sessions in their place; None: no tickets."""
    ticket_count: int = attrs.field(default=DEFAULT_TICKET_COUNT, validator=_count(MAX_TICKET_COUNT))
    """Tickets for a client after a full handshake; it gets them before our first application data."""
    max_early_data: int = attrs.field(default=0, validator=_count(MAX_EARLY_DATA))
    """Bytes of early data (0-RTT) that a client may send with its hello; 0: none. It can be replayed by others."""
    accept_early_data: Hook | None = _hook()
    """Hook for the question :class:`~tlsprovider.questions.AcceptEarlyData`."""
    on_client_hello: Hook | None = _hook()
    """Hook for the question :class:`~tlsprovider.questions.ClientHelloReceived`."""
    find_session: Hook | None = _hook()
    """Hook for the question :class:`~tlsprovider.questions.FindSession`."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        hooks = (self.choose_identity, self.on_client_hello, self.find_session)
        if not self.identities and not self.psks and hooks == (None, None, None):
            raise ConfigError(
                "identities: a server needs a certificate: identities=[Identity.from_files('chain.pem', 'key.pem')],"
                " or a choose_identity or on_client_hello hook, or psks"
            )
        if self.client_auth != "none" and self.trust is None and not self.insecure_skip_verify:
            raise ConfigError(
                f"trust: client_auth={self.client_auth!r} needs to know whose certificates to believe:"
                " trust=TrustStore.from_file('clients-ca.pem')"
            )
