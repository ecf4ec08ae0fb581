""":class:`~tlsprovider.twisted.TLSProtocol` in the place of both of Twisted's TLS transports."""

from __future__ import annotations

from twisted_suite.seam import replace

KNOWN: dict[str, tuple[str, ...]] = {
    "It replaces or calls private methods of Twisted's own protocol (_shutdownTLS, _tlsShutdownFinished), or gives it"
    " another _tlsConnection.": (
        "twisted.protocols.test.test_tls.TLSMemoryBIOTests.test_connectionLostOnlyAfterUnderlyingCloses",
        "twisted.protocols.test.test_tls.TLSMemoryBIOTests.test_errorWriting",
        "twisted.protocols.test.test_tls.TLSMemoryBIOTests.test_loseConnectionAfterConnectionLost",
        "twisted.protocols.test.test_tls.TLSMemoryBIOTests.test_loseConnectionTwice",
    ),
    "Its connection is an object that can do nothing but begin a handshake. Ours fails, and has a limit of time for the"
    " transport to close, which the test leaves on the reactor.": (
        "twisted.web.test.test_agent.AgentHTTPSTests.test_connectHTTPSCustomConnectionCreator",
    ),
}


def install() -> None:
    from twisted.protocols.tls import TLSMemoryBIOFactory

    from tlsprovider.twisted import TLSProtocol

    class Unlimited(TLSProtocol):
        """Some tests begin a handshake on the real reactor's clock and leave it there; Twisted's own has no limit."""

        handshakeTimeout = None  # noqa: N815

    replace("twisted.protocols.tls", "TLSMemoryBIOProtocol", Unlimited)
    replace("twisted.protocols.tls", "BufferingTLSTransport", Unlimited)
    TLSMemoryBIOFactory.protocol = Unlimited  # type: ignore[assignment]
