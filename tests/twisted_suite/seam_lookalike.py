"""Our look-alike of ``OpenSSL.SSL.Connection`` in the place of pyOpenSSL's, under Twisted's own TLS transports."""

from __future__ import annotations

import weakref
from typing import Any

from OpenSSL import SSL

from tlsprovider.providers import get_provider
from tlsprovider.twisted.pyopenssl import Connection
from twisted_suite.recording import RecordingContext

KNOWN: dict[str, tuple[str, ...]] = {
    "It insists on the class OpenSSL.SSL.Error itself; ours is a subclass, which says more.": (
        "twisted.test.test_sslverify.MultipleCertificateTrustRootTests.test_trustRootFromCertificatesUntrusted",
        "twisted.test.test_sslverify.TrustRootTests.test_trustRootPlatformRejectsUntrustedCA",
    ),
    "It wants TLS 1.2, which our engine doesn't have.": (
        "twisted.test.test_sslverify.OpenSSLOptionsECDHIntegrationTests.test_ellipticCurveDiffieHellman",
    ),
    "Its certificates are of X.509 version 1, which TLS 1.3 forbids (RFC 9846 section 4.5.1.2). OpenSSL takes them.": (
        "twisted.test.test_sslverify.OpenSSLOptionsTests.test_verification",
    ),
}

GenuineConnection = SSL.Connection


class FromContext(Connection):
    """Made from a context, as pyOpenSSL's is. Which side it is, and so its engine, is known with ``set_..._state``."""

    def __init__(self, context: Any, socket: Any = None) -> None:
        super().__init__(None)  # type: ignore[arg-type]
        self.context = context
        self.record = context.record.copy()
        self.name: bytes | None = None
        self.told = False

    def set_connect_state(self) -> None:
        name = None if self.name is None else self.name.decode("ascii")
        # Weakly: a configuration keeps its hooks, and the engine its configuration.
        config = self.record.client_config(weakref.proxy(self))
        self.engine = get_provider().client_engine(config, name)

    def set_accept_state(self) -> None:
        self.engine = get_provider().server_engine(self.record.server_config(weakref.proxy(self)))

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.record.on_info is not None and not self.told:
            self.told = True
            self.record.on_info(self, SSL.SSL_CB_HANDSHAKE_DONE, 1)

    # -- what is set on a connection rather than on its context ------------------------------------------------------

    def set_tlsext_host_name(self, name: bytes) -> None:
        self.name = name

    def set_verify(self, mode: int, callback: Any = None) -> None:
        self.record.verify, self.record.judge = mode, callback

    def set_alpn_protos(self, protos: list[bytes]) -> None:
        self.record.alpn = tuple(protos)

    def get_context(self) -> Any:
        return self.context

    def set_context(self, context: Any) -> None:
        self.context = context
        self.record = context.record.copy()


def install() -> None:
    SSL.Context = RecordingContext  # type: ignore[misc]
    import twisted.internet._sslverify
    import twisted.protocols._sni
    import twisted.protocols._tls_legacy
    import twisted.trial.util

    # What waits for something that will not come needn't do so for two minutes.
    twisted.trial.util.DEFAULT_TIMEOUT_DURATION = 15.0
    for module in (twisted.internet._sslverify, twisted.protocols._sni, twisted.protocols._tls_legacy):
        module.Connection = FromContext  # type: ignore[attr-defined]
