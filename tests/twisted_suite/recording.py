"""A genuine ``OpenSSL.SSL.Context`` that also remembers what it was told, and what that says in our configuration.

Twisted's tests make contexts, and connections out of contexts. To have these connections made by our engine instead,
one has to know what is in a context, and a context doesn't tell.
"""

from __future__ import annotations

import time
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL
from OpenSSL.crypto import X509

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import certificate_names
from tlsprovider.errors import CertificateFault
from tlsprovider.identity import Identity
from tlsprovider.questions import ClientHelloReceived, VerifyPeer
from tlsprovider.trust import TrustStore

__all__ = ["Record", "RecordingContext"]

GenuineContext = SSL.Context


@attrs.define
class Record:
    """What was set, on a context or afterwards on one of its connections."""

    certificates: list[x509.Certificate] = attrs.field(factory=list)
    key: Any = None
    roots: list[x509.Certificate] = attrs.field(factory=list)
    system_roots: bool = False
    verify: int = SSL.VERIFY_NONE
    judge: Any = None
    alpn: tuple[bytes, ...] = ()
    on_name: Any = None
    on_info: Any = None

    def copy(self) -> Record:
        return attrs.evolve(self, certificates=list(self.certificates), roots=list(self.roots))

    # -- as ours ------------------------------------------------------------------------------------------------------

    def client_config(self, connection: Any) -> ClientConfig:
        return ClientConfig(
            identity=self._identity(), alpn=self.alpn, **self._verification(connection, is_server=False)
        )

    def server_config(self, connection: Any) -> ServerConfig:
        identity = self._identity()
        required = self.verify & SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        asking = "none" if not self.verify else "require" if required else "request"
        hooks: dict[str, Any] = {} if self.on_name is None else {"on_client_hello": self._by_name(connection)}
        if identity is None:
            hooks["choose_identity"] = lambda question: None
        return ServerConfig(
            identities=[] if identity is None else [identity],
            client_auth=asking,  # type: ignore[arg-type]
            alpn=self.alpn,
            **self._verification(connection, is_server=True),
            **hooks,
        )

    def _identity(self) -> Identity | None:
        return Identity.from_crypto(self.certificates, self.key) if self.certificates and self.key else None

    def _trust(self) -> TrustStore:
        return TrustStore.from_crypto(self.roots) if self.roots else TrustStore.system()

    def _verification(self, connection: Any, is_server: bool) -> dict[str, Any]:
        """OpenSSL looks at the chain and then asks the callback, which looks at the name."""
        if not self.verify:
            return {"insecure_skip_verify": True}
        judge, trust = self.judge, self._trust()

        def verify(question: VerifyPeer) -> bool | CertificateFault:
            chain = question.peer_certificates
            names = certificate_names(chain[0])
            fault = CertificateFault("the callback refused the certificate")
            sound = 1
            try:
                if is_server or not names:
                    trust.verify_client(chain, time.time())
                else:
                    # A name that it has: the callback looks at that.
                    trust.verify_server(chain, names[0].replace("*", "any"), time.time())
            except CertificateFault as problem:
                fault, sound = problem, 0
            if judge is None:
                return True if sound else fault
            # SSL_CTX_set_verify(3): it hears what was found so far, and has the last word.
            return True if judge(connection, X509.from_cryptography(chain[0]), 0, 0, sound) else fault

        return {"insecure_skip_verify": True, "verify_peer": verify, "trust": trust}

    def _by_name(self, connection: Any) -> Any:
        def answer(question: ClientHelloReceived) -> ServerConfig:
            self.on_name(connection)
            record = connection.record
            return attrs.evolve(record, on_name=None).server_config(connection)

        return answer


class RecordingContext(GenuineContext):
    """See the module. Only what Twisted's tests use is remembered."""

    def __init__(self, method: int) -> None:
        super().__init__(method)
        self.record = Record()

    def use_certificate_file(self, certfile: Any, filetype: int = SSL.FILETYPE_PEM) -> None:
        super().use_certificate_file(certfile, filetype)
        self.record.certificates[:1] = _load(certfile)[:1]

    def use_certificate_chain_file(self, certfile: Any) -> None:
        super().use_certificate_chain_file(certfile)
        self.record.certificates = _load(certfile)

    def use_certificate(self, cert: Any) -> None:
        super().use_certificate(cert)
        self.record.certificates[:1] = [_plain(cert)]

    def add_extra_chain_cert(self, certobj: Any) -> None:
        super().add_extra_chain_cert(certobj)
        self.record.certificates.append(_plain(certobj))

    def use_privatekey_file(self, keyfile: Any, filetype: Any = SSL.FILETYPE_PEM) -> None:
        super().use_privatekey_file(keyfile, filetype)
        with open(keyfile, "rb") as file:
            self.record.key = load_pem_private_key(file.read(), None)

    def use_privatekey(self, pkey: Any) -> None:
        super().use_privatekey(pkey)
        self.record.key = pkey.to_cryptography_key() if hasattr(pkey, "to_cryptography_key") else pkey

    def load_verify_locations(self, cafile: Any, capath: Any = None) -> None:
        super().load_verify_locations(cafile, capath)
        self.record.roots += _load(cafile)

    def set_default_verify_paths(self) -> None:
        super().set_default_verify_paths()
        self.record.system_roots = True

    def get_cert_store(self) -> Any:
        return _Store(super().get_cert_store(), self.record)

    def set_verify(self, mode: int, callback: Any = None) -> None:
        super().set_verify(mode, callback)
        self.record.verify, self.record.judge = mode, callback

    def set_alpn_protos(self, protos: list[bytes]) -> None:
        super().set_alpn_protos(protos)
        self.record.alpn = tuple(protos)

    def set_tlsext_servername_callback(self, callback: Any) -> None:
        super().set_tlsext_servername_callback(callback)
        self.record.on_name = callback

    def set_info_callback(self, callback: Any) -> None:
        super().set_info_callback(callback)
        self.record.on_info = callback


class _Store:
    """A certificate store that remembers."""

    def __init__(self, store: Any, record: Record) -> None:
        self._store = store
        self._record = record

    def add_cert(self, cert: Any) -> None:
        self._store.add_cert(cert)
        self._record.roots.append(_plain(cert))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _plain(certificate: Any) -> x509.Certificate:
    plain: x509.Certificate = certificate.to_cryptography() if isinstance(certificate, X509) else certificate
    return plain


def _load(path: Any) -> list[x509.Certificate]:
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificates(file.read())
