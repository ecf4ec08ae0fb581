"""An engine around a connection of pyOpenSSL that somebody else has configured.

Such a connection has callbacks, SNI and verification of its own, of which nothing is known here; so nothing stands in
front of it and nothing is held back, as there is for the provider ``openssl``. What it raises is shown as it is: see
:exc:`~tlsprovider.providers.library.Relayed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from OpenSSL import SSL

from tlsprovider.config import ClientConfig
from tlsprovider.crypto.certificates import certificate_der
from tlsprovider.errors import TLSError
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.gate import Gate, Passed, next_record, parse_chain
from tlsprovider.providers.library import Library, Relayed
from tlsprovider.providers.openssl import OVERHEAD, Notes, OpenSSLConnection, provider
from tlsprovider.providers.shared import MAX_PLAINTEXT
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.iana import AlertDescription
    from tlsprovider.interfaces import IEngine

__all__ = ["engine_around"]

# Nobody listens, and no field of it is ever used: the connection has a configuration of its own.
_NO_CONFIG = ClientConfig(trust=TrustStore.pinned(bytes(32)))
_NO_NOTES = Notes(is_server=False, keylog=None)


def engine_around(connection: SSL.Connection) -> IEngine:
    """An engine that alone uses ``connection`` from now on, a client or a server before the first byte."""
    engine: IEngine = ConfiguredEngine(_OpenGate(_Configured(connection)), provider.name, provider.supports)
    return engine


class ConfiguredEngine(LibraryEngine):
    """An engine that gives its connection all that arrives at once, as nothing is kept from it anyhow.

    pyOpenSSL says that there is nothing more by an exception, which takes longer than looking at the headers here: a
    record is read by one call, and only one without plaintext can have something to be sent for an answer.
    """

    _passed: _Judged | None

    def process_incoming(self, data: bytes | bytearray | memoryview) -> None:
        """See :meth:`IEngine.process_incoming`."""
        if self._passed is None or self._failure is not None or self._closed:
            super().process_incoming(data)
            return
        self._passed.library.feed(memoryview(data))
        received = self._received
        if received:
            received += data
            data = received
        self._guard(self._open_records, data)

    def _open_records(self, source: bytes | bytearray | memoryview) -> None:
        """Read as often as there are whole records in ``source``; the rest is kept, to know where the next begins."""
        received, end, count = self._received, 0, 0
        with memoryview(source) as view:
            while following := next_record(view, end):
                end = following
                count += 1
            if source is not received:
                received += view[end:]
        if source is received:
            del received[:end]
        answers = True
        try:
            answers = self._read_each(count)
        finally:
            if answers:
                self._take_outgoing()

    def _read_each(self, count: int) -> bool:
        """Whether the connection fell silent before it gave so many pieces: nothing but such a record is answered.

        Then it has nothing left either (SSL_MODE_AUTO_RETRY). The handshake's own records were its for long.
        """
        for _ in range(count):
            before = self._pending
            if self._read_record() or self._pending == before:
                return True
        return False


class _Configured(OpenSSLConnection):
    """The connection as a library that judges its peer by itself."""

    verifies = True

    def __init__(self, connection: SSL.Connection) -> None:
        super().__init__(connection, _NO_NOTES)
        # While TLS 1.2 negotiates again OpenSSL does not write; what was to be written waits here.
        self._unsent = bytearray()
        self._close_is_due = False

    def handshake(self) -> bool:
        try:
            return super().handshake()
        except TLSError:
            raise
        except Exception as problem:
            # What a callback has raised.
            raise Relayed(problem) from None

    def _failure(self, error: SSL.Error) -> TLSError:
        return Relayed(error)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def read(self) -> bytes:
        try:
            return super().read()
        finally:
            if self._unsent:
                self._write_unsent()

    def write(self, data: memoryview) -> None:
        if self._unsent:
            self._unsent += data
            return
        if len(data) > MAX_PLAINTEXT and self._connection.get_protocol_version() == SSL.TLS1_3_VERSION:
            super().write(data)
            return
        self._expected += len(data) + (len(data) // MAX_PLAINTEXT + 1) * OVERHEAD
        sent = 0
        try:
            while sent < len(data):
                sent += self._connection.send(data[sent : sent + MAX_PLAINTEXT])
        except SSL.WantReadError:
            self._unsent += data[sent:]
        except SSL.Error as error:
            raise self._failure(error) from None

    def close(self) -> None:
        if self._unsent:
            self._close_is_due = True
        else:
            super().close()

    def _write_unsent(self) -> None:
        data, self._unsent = self._unsent, bytearray()
        self.write(memoryview(data))
        if self._close_is_due:
            self.close()

    # -- the peer --------------------------------------------------------------------------------------------------

    @property
    def server_name(self) -> bytes | None:
        return self._connection.get_servername()

    def verified_chain(self) -> Sequence[bytes]:
        if not self._connection.get_verify_mode() & SSL.VERIFY_PEER:
            return ()
        return [certificate_der(one) for one in self._connection.get_verified_chain(as_cryptography=True) or ()]


class _Judged(Passed):
    """What the connection has found by itself; hardly anybody asks for it, so it is looked up only then."""

    __slots__ = ()

    library: _Configured

    def __init__(self, library: _Configured) -> None:
        for name, value in (("library", library), ("signature_scheme", None), ("local_certificates", ())):
            object.__setattr__(self, name, value)

    @property
    def server_name(self) -> str | None:
        name = self.library.server_name
        return None if name is None else name.decode("latin-1")

    @property
    def peer_certificates(self) -> tuple[Certificate, ...]:
        return parse_chain(self.library.peer_certificates())

    @property
    def verified_chain(self) -> tuple[Certificate, ...]:
        return parse_chain(self.library.verified_chain())


class _OpenGate(Gate):
    """A gate that lets everything through at once."""

    is_server = True
    # So much of what is in ``received`` the connection has already.
    _fed = 0

    def __init__(self, library: _Configured) -> None:
        super().__init__(_NO_CONFIG, lambda *_: library, None)
        self.library = self._configured = library

    def alert(self, description: AlertDescription) -> bytes:
        """The connection has said by itself what there is to say."""
        return b""

    def advance(self, library: Library) -> bool:
        """As in :class:`Gate`, but with all that has arrived. Whole records stay only if there may be data in them."""
        received = self.received
        if len(received) > self._fed:
            library.feed(bytes(received[self._fed :]))
        try:
            complete = library.handshake()
        except TLSError:
            self._release_alert(library)
            raise
        if not complete:
            start = 0
            while end := next_record(received, start):
                start = end
            del received[:start]
        self._fed = len(received)
        return complete

    async def make(self) -> Passed:
        self.enter("handshake")
        library = self._configured
        spoken_to = bool(self.received)
        complete = self.advance(library)
        flight = library.outgoing()
        # pyOpenSSL does not tell, but a client speaks first.
        self.is_server = spoken_to or not flight  # type: ignore[misc]
        self.released.append(flight)
        while not complete:
            await self.want_read()
            complete = self.advance(library)
            self.released.append(library.outgoing())
        return _Judged(library)
