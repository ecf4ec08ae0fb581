"""A key server as a front end sees it: :class:`KeyServer`, which blocks while it waits."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Final

import attrs

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.errors import ConfigError
from tlsprovider.iana import SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.keyserver.messages import KeyServerError, Request, decode_response

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["CUT_SHORT", "TIMEOUT", "KeyServer", "unreachable"]

TIMEOUT: Final = 5.0
CUT_SHORT: Final = "the key server closed the connection in the middle of its answer"


class KeyServer:
    """The key server that listens at ``path``, a Unix socket.

    ``KeyServer("/run/keys.sock").identity(chain)`` is an Identity whose key is there. Each signature is a connection of
    its own, so a key server can be restarted at any time; while it is away, handshakes fail.

    This one blocks, which suits plain sockets and the SSL object. For Twisted and trio take theirs.

    :param timeout: seconds that one signature may take.
    """

    def __init__(self, path: str | os.PathLike[str], timeout: float = TIMEOUT) -> None:
        self.path = os.fspath(path)
        self.timeout = timeout

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.KeyServer {self.path}>"

    def identity(self, certificates: Iterable[Certificate] | bytes) -> Identity:
        """An identity with this chain (PEM or ``cryptography`` objects, leaf first), whose key the key server holds.

        Nothing is asked yet: whether it does hold it is known at the first signature. Raises ConfigError.
        """
        chain = (
            certs.load_pem_chain(certificates, "identity") if isinstance(certificates, bytes) else tuple(certificates)
        )
        if not chain:
            raise ConfigError("identity: no certificate was given")
        return Identity.with_signer(chain, RemoteKey(self, certs.key_id(chain[0])))

    def exchange(self, request: bytes) -> bytes | Awaitable[bytes]:
        """Send an encoded request; the signature. Raises KeyServerError."""
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self.timeout)
                connection.connect(self.path)
                connection.sendall(request)
                while (signature := decode_response(data)) is None:
                    connection.settimeout(max(0.001, deadline - time.monotonic()))
                    piece = connection.recv(1 << 14)
                    if not piece:
                        raise KeyServerError(CUT_SHORT)
                    data += piece
        except OSError as problem:
            raise unreachable(self, problem) from problem
        return signature


def unreachable(server: KeyServer, problem: Exception | None) -> KeyServerError:
    """``problem``: an OSError, or None when it took too long."""
    if problem is None or isinstance(problem, TimeoutError):
        return KeyServerError(f"{server.path}: the key server gave no answer within {server.timeout:g} seconds")
    reason = problem.strerror if isinstance(problem, OSError) and problem.strerror else str(problem)
    return KeyServerError(f"{server.path}: the key server can't be reached: {reason}")


@attrs.frozen
class RemoteKey:
    """One of its keys, as a :class:`~tlsprovider.identity.Signer`."""

    server: KeyServer
    key: bytes

    @property
    def schemes(self) -> tuple[SignatureScheme, ...]:
        """Of these, the certificate's key decides which."""
        return HANDSHAKE_SCHEMES

    def sign(self, scheme: SignatureScheme, message: bytes) -> bytes | Awaitable[bytes]:
        return self.server.exchange(Request.of(self.key, scheme, message).encode())
