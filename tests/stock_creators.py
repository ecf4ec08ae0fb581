"""Twisted's own connection creators, with certificates of ours."""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509, PKey
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, CertificateOptions, optionsForClientTLS
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

from tlsprovider.crypto.authority import Authority
from tlsprovider.twisted import TLSProtocol

# Twisted itself uses pyOpenSSL in ways that pyOpenSSL advises against.
TOLERATED = "ignore:Passing pyOpenSSL (X509|PKey) objects is deprecated:DeprecationWarning"


def certificate_options(authority: Authority, *names: str, **options: Any) -> CertificateOptions:
    """A server's; ``options`` are those of ``CertificateOptions``."""
    issued = authority.issue(*(names or ("localhost",)))
    key = PKey.from_cryptography_key(issued.private_key)  # type: ignore[arg-type]
    return CertificateOptions(privateKey=key, certificate=X509.from_cryptography(issued.certificate), **options)


def client_options(authority: Authority, name: str = "localhost", **options: Any) -> Any:
    """A client's that believes in ``authority``; ``options`` are those of ``optionsForClientTLS``."""
    root = Certificate(X509.from_cryptography(authority.certificate))
    return optionsForClientTLS(name, trustRoot=root, **options)


def only_tls12(context: SSL.Context) -> None:
    context.set_max_proto_version(SSL.TLS1_2_VERSION)


def over_stock_factory(creator: Any, wrapped: Any, clock: Clock, *, is_client: bool, ours: bool = True) -> Any:
    """What Twisted's own factory makes around ``wrapped``: our protocol, or Twisted's own."""
    factory: Any = TLSMemoryBIOFactory(creator, is_client, Factory.forProtocol(lambda: wrapped), clock)
    if ours:
        factory.protocol = TLSProtocol
    return factory.buildProtocol(None)
