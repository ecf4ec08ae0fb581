""":class:`~tlsprovider.twisted.TLSProtocol` in the place of both of Twisted's TLS transports."""

from __future__ import annotations

from twisted_suite.seam import replace

KNOWN: dict[str, tuple[str, ...]] = {}


def install() -> None:
    from twisted.protocols.tls import TLSMemoryBIOFactory

    from tlsprovider.twisted import TLSProtocol

    replace("twisted.protocols.tls", "TLSMemoryBIOProtocol", TLSProtocol)
    replace("twisted.protocols.tls", "BufferingTLSTransport", TLSProtocol)
    TLSMemoryBIOFactory.protocol = TLSProtocol  # type: ignore[assignment]
