"""Putting our protocol under everything in Twisted that starts TLS, and taking it away again."""

from __future__ import annotations

from typing import Any

from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory

from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.protocol import TLSProtocol

__all__ = ["install", "uninstall"]

# What was there before us. Somebody else's is put back by uninstall().
_before: Any = BufferingTLSTransport


def install(*, handshakeTimeout: float | None = HANDSHAKE_TIMEOUT, closeTimeout: float | None = CLOSE_TIMEOUT) -> None:
    """Let :class:`~tlsprovider.twisted.TLSProtocol` drive every TLS connection that Twisted makes from now on.

    That is ``listenSSL``, ``connectSSL``, ``wrapClientTLS``, the endpoint strings ``ssl:`` and ``tls:``, ``Agent``, and
    ``startTLS`` in mail, AMP and XMPP. All it does is to assign ``TLSMemoryBIOFactory.protocol``, which Twisted
    documents; nothing calls it but the application.

    What an application configured stays as it is. A connection of ``CertificateOptions`` or ``optionsForClientTLS`` is
    pyOpenSSL's, with its own verification and errors; one of a :class:`~tlsprovider.twisted.ContextFactory` is ours.

    :param handshakeTimeout: seconds for a handshake, None for no limit. Twisted itself has none.
    :param closeTimeout: seconds to wait for the peer's close_notify after ours, None for no limit.

    For a connection of a :class:`~tlsprovider.twisted.ContextFactory` its own limits are valid instead.
    """
    global _before
    if not issubclass(TLSMemoryBIOFactory.protocol, TLSProtocol):
        _before = TLSMemoryBIOFactory.protocol
    limits = {"handshakeTimeout": handshakeTimeout, "closeTimeout": closeTimeout}
    ours: Any = type("InstalledTLSProtocol", (TLSProtocol,), limits)
    TLSMemoryBIOFactory.protocol = ours


def uninstall() -> None:
    """Let the connections that Twisted makes from now on be driven as before :func:`install`."""
    if issubclass(TLSMemoryBIOFactory.protocol, TLSProtocol):
        TLSMemoryBIOFactory.protocol = _before
