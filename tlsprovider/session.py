"""Sessions: what two sides remember of a connection, so that the next one needs no certificates (RFC 9846 section 2.2).

A server gives a client *tickets*; each stands for a secret that both have and nobody else. A :class:`Session` is such a
secret with what it belongs to. Clients keep sessions in a *store*, where each is used once: a ticket that is shown
twice lets an observer connect the two connections (appendix C.4).

Resuming never skips what the application asked for. The peer's certificates are part of the session; they are verified
again, with the trust, the name and the clock of the new connection, and ``verify_peer`` is asked again.
"""

from __future__ import annotations

import os
import struct
import tempfile
import threading
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import attrs

from tlsprovider.crypto.certificates import certificate_der, parse_certificate
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import ConfigError, PeerFault
from tlsprovider.iana import CipherSuite
from tlsprovider.wire.codec import Reader, u16, vector8, vector16, vector24

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["MAX_LIFETIME", "MemorySessions", "Session", "SessionKey", "SessionStore"]

# Section 4.7.1: whatever a ticket says.
MAX_LIFETIME: Final = 7 * 24 * 3600
"""Seconds: no session is older, whatever a ticket says (section 4.7.1), and no chain of resumptions is longer."""

_FORMAT: Final = 2
# Format, cipher suite, issued, lifetime, age_add, authenticated, max_early_data; times in milliseconds.
_NUMBERS: Final = struct.Struct(">BHQIIQI")
_FILE_MAGIC: Final = b"tlsprovider sessions 1\n"


@attrs.frozen(kw_only=True, eq=False)
class Session:
    """A secret that two sides share, and the connection that it comes from. Who has it can take either side's place."""

    secret: bytes = attrs.field(repr=False)
    """The pre-shared key of section 4.3.11."""
    ticket: bytes = attrs.field(repr=False, default=b"")
    """Client: what to show the server. Empty on the server."""
    cipher_suite: CipherSuite
    server_name: str | None
    alpn: str | None
    peer_certificates: tuple[Certificate, ...] = attrs.field(repr=False, default=())
    """What the peer showed, leaf first; empty where it showed none."""
    stapled: Mapping[int, bytes] = attrs.field(repr=False, factory=dict)
    """Extensions of the peer's leaf, by number: for ``verify_peer``, which is asked again."""
    fingerprint: bytes = attrs.field(repr=False, default=b"")
    """Of the configuration: under another, stricter or not, the session does not resume."""
    issued: float
    """When the ticket was made (server) or received (client), in seconds since the epoch."""
    lifetime: int
    """Seconds from then on."""
    age_add: int = attrs.field(repr=False, default=0)
    """Hides the ticket's age from observers (section 4.3.11.1)."""
    authenticated: float
    """When the peers last proved who they are with certificates, in seconds since the epoch."""
    max_early_data: int = 0
    """Bytes of early data that the ticket allows; 0: none."""

    @property
    def expires(self) -> float:
        """Seconds since the epoch."""
        return min(self.issued + min(self.lifetime, MAX_LIFETIME), self.authenticated + MAX_LIFETIME)

    @property
    def hash_name(self) -> str:
        """A session resumes only with a suite of the same hash (section 4.7.1)."""
        return SUITES[self.cipher_suite].hash_name

    def obfuscated_age(self, now: float) -> int:
        """What a client says of the ticket's age: milliseconds, hidden (section 4.3.11.1)."""
        return (int((now - self.issued) * 1000) + self.age_add) % (1 << 32)

    def stated_age(self, obfuscated: int) -> float:
        """What a server makes of that: the client's view of the ticket's age, in seconds."""
        return ((obfuscated - self.age_add) % (1 << 32)) / 1000

    def to_bytes(self) -> bytes:
        """Everything, for a file or a database. It holds the secret: keep it as you would keep a private key."""
        return b"".join(
            (
                _NUMBERS.pack(
                    _FORMAT,
                    self.cipher_suite,
                    round(self.issued * 1000),
                    self.lifetime,
                    self.age_add,
                    round(self.authenticated * 1000),
                    self.max_early_data,
                ),
                vector8(self.secret),
                vector16(self.ticket),
                vector8(_text(self.server_name)),
                vector8(_text(self.alpn)),
                vector24(b"".join([vector24(certificate_der(one)) for one in self.peer_certificates])),
                vector24(b"".join([u16(number) + vector24(data) for number, data in self.stapled.items()])),
                vector8(self.fingerprint),
            )
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Session:
        """What :meth:`to_bytes` made. Raises :exc:`ConfigError` for anything else."""
        try:
            return cls._decode(Reader(data, "a session"))
        except PeerFault as problem:
            raise ConfigError(f"this is no session of this version of tlsprovider: {problem.detail}") from None

    @classmethod
    def _decode(cls, reader: Reader) -> Session:
        numbers = reader.unpack(_NUMBERS)
        version, suite, issued, lifetime, age_add, authenticated, max_early_data = numbers
        if version != _FORMAT or suite not in SUITES:
            raise reader.fault(f"has format {version} and cipher suite {CipherSuite(suite)}")
        session = cls(
            cipher_suite=SUITES[suite].number,
            secret=reader.vector8(),
            ticket=reader.vector16(),
            server_name=_no_text(reader.vector8()),
            alpn=_no_text(reader.vector8()),
            peer_certificates=tuple(map(parse_certificate, _pieces(reader.vector24()))),
            stapled=_stapled(reader.vector24()),
            fingerprint=reader.vector8(),
            issued=issued / 1000,
            lifetime=lifetime,
            age_add=age_add,
            authenticated=authenticated / 1000,
            max_early_data=max_early_data,
        )
        reader.end()
        return session


def _text(value: str | None) -> bytes:
    """Absent is not the same as empty, and neither a name nor a protocol is ever empty."""
    return b"" if value is None else value.encode("latin-1")


def _no_text(value: bytes) -> str | None:
    return value.decode("latin-1") if value else None


def _pieces(block: bytes) -> Iterator[bytes]:
    reader = Reader(block, "a session")
    while reader.more:
        yield reader.vector24()


def _stapled(block: bytes) -> dict[int, bytes]:
    reader = Reader(block, "a session")
    found: dict[int, bytes] = {}
    while reader.more:
        number = reader.u16()
        found[number] = reader.vector24()
    return found


class SessionKey(NamedTuple):
    """Where a session belongs. ``port`` is None where nobody knows it."""

    host: str
    port: int | None
    fingerprint: bytes


class SessionStore(Protocol):
    """Where clients keep sessions. The methods must not wait: they are called in the middle of a handshake."""

    def put(self, key: SessionKey, session: Session) -> None:
        """Keep it, if there is room."""

    def take(self, key: SessionKey, now: float) -> Session | None:
        """A session that has not expired, and which nobody is given again; None if there is none."""


class MemorySessions:
    """Sessions in memory: at most ``per_name`` for each server and ``names`` servers; the oldest go.

    Every :class:`~tlsprovider.ClientConfig` has one of its own unless it is given another. One store may serve several
    configurations, and several threads.
    """

    automatic = False
    """Whether nobody asked for this store: it is then left alone by a provider that can't use it."""

    def __init__(self, names: int = 256, per_name: int = 8) -> None:
        if names < 1 or per_name < 1:
            raise ConfigError(f"MemorySessions: expected at least one name and one session, got {names}, {per_name}")
        self._names = names
        self._per_name = per_name
        self._lock = threading.Lock()
        self._kept: OrderedDict[SessionKey, deque[Session]] = OrderedDict()

    def __repr__(self) -> str:
        return f"<MemorySessions: {len(self)}>"

    def __len__(self) -> int:
        return sum(map(len, self._kept.values()))

    def put(self, key: SessionKey, session: Session) -> None:
        """See :meth:`SessionStore.put`."""
        with self._lock:
            self._kept.setdefault(key, deque(maxlen=self._per_name)).append(session)
            self._kept.move_to_end(key)
            if len(self._kept) > self._names:
                self._kept.popitem(last=False)

    def take(self, key: SessionKey, now: float) -> Session | None:
        """See :meth:`SessionStore.take`. The newest comes first."""
        if key not in self._kept:
            return None
        with self._lock:
            waiting = self._kept.get(key, deque())
            found = None
            while waiting and found is None:
                session = waiting.pop()
                if now < session.expires:
                    found = session
            if not waiting:
                self._kept.pop(key, None)
            return found

    def clear(self) -> None:
        """Forget everything: after it each server is met with a full handshake."""
        with self._lock:
            self._kept.clear()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file that only its owner can read; it replaces the file as a whole. Raises OSError."""
        with self._lock:
            entries = [_encode_entry(key, one) for key, sessions in self._kept.items() for one in sessions]
        target = Path(path)
        # A name that nobody can have prepared, and mode 0600 from the beginning.
        descriptor, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(_FILE_MAGIC + b"".join(entries))
            os.replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise

    def load(self, path: str | os.PathLike[str]) -> None:
        """Add what :meth:`save` wrote. Raises :exc:`ConfigError`, naming the file, when it is something else."""
        try:
            data = Path(path).read_bytes()
        except OSError as problem:
            raise ConfigError(f"{path}: can't be read: {problem.strerror}") from None
        if not data.startswith(_FILE_MAGIC):
            raise ConfigError(f"{path}: is no file of sessions, as MemorySessions.save writes it")
        reader = Reader(data, str(path), len(_FILE_MAGIC))
        try:
            while reader.more:
                self.put(*_decode_entry(reader))
        except PeerFault as problem:
            raise ConfigError(f"{path}: is damaged: {problem.detail}") from None


def _encode_entry(key: SessionKey, session: Session) -> bytes:
    port = 0 if key.port is None else key.port
    return vector8(_text(key.host)) + u16(port) + vector8(key.fingerprint) + vector24(session.to_bytes())


def _decode_entry(reader: Reader) -> tuple[SessionKey, Session]:
    host, port, fingerprint = reader.vector8(1), reader.u16(), reader.vector8()
    session = Session._decode(Reader(reader.vector24(), "a session"))
    return SessionKey(host.decode("latin-1"), port or None, fingerprint), session
