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
from tlsprovider.providers.gate import Gate, Passed, parse_chain
from tlsprovider.providers.library import Relayed
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
    engine: IEngine = LibraryEngine(_OpenGate(_Configured(connection)), provider.name, provider.supports)
    return engine


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

    def __init__(self, library: _Configured) -> None:
        super().__init__(_NO_CONFIG, lambda *_: library, None)
        self.library = self._configured = library

    def alert(self, description: AlertDescription) -> bytes:
        """The connection has said by itself what there is to say."""
        return b""

    async def make(self) -> Passed:
        self.enter("handshake")
        library = self._configured
        # pyOpenSSL does not tell, but a client speaks first.
        self.is_server = bool(self.received)  # type: ignore[misc]
        while not self.advance(library):
            self.released += library.outgoing()
            await self.want_read()
        self.released += library.outgoing()
        return _Judged(library)
