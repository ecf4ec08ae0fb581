"""Who is measured: three ways to make a connection in memory, both sides in Python."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path
from typing import Protocol, Self

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from OpenSSL.crypto import X509

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.errors import WantRead
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

SUITE = "TLS_AES_128_GCM_SHA256"
NAME = "localhost"


@attrs.frozen
class Terms:
    """The certificates that all of them use."""

    authority: Authority
    issued: Issued

    @classmethod
    def make(cls) -> Self:
        authority = Authority("benchmarks")
        return cls(authority, authority.issue(NAME))


class Connection(Protocol):
    """Both sides of a connection, after the handshake."""

    @property
    def suite(self) -> str:
        """What was negotiated."""

    def carry(self, data: bytes) -> int:
        """Seal on the client's side, move, open on the server's; the count of bytes that arrived."""


class Contender(Protocol):
    """Made once, with everything that connections share."""

    name: str

    def connect(self) -> Connection:
        """A full handshake."""


def contenders(terms: Terms) -> list[Contender]:
    """All three, after making sure that they agree on the terms."""
    found: list[Contender] = [Native(terms), Stdlib(terms), PyOpenSSL(terms)]
    for contender in found:
        suite = contender.connect().suite
        if suite != SUITE:
            raise RuntimeError(f"{contender.name} negotiated {suite} and not {SUITE}: nothing could be compared")
    return found


# -- native --------------------------------------------------------------------------------------------------------


class Native:
    name = "native"

    def __init__(self, terms: Terms) -> None:
        self._provider = get_provider("native")
        identity = Identity.from_crypto(terms.issued.certificates, terms.issued.private_key)
        self._client = ClientConfig(
            trust=TrustStore.from_crypto([terms.authority.certificate]), groups=["x25519"], cipher_suites=[SUITE]
        )
        self._server = ServerConfig(identities=[identity], groups=["x25519"], cipher_suites=[SUITE])

    def connect(self) -> NativeConnection:
        client = self._provider.client_engine(self._client, NAME)
        server = self._provider.server_engine(self._server)
        _go_on(client)
        server.process_incoming(client.process_outgoing())
        _go_on(server)
        client.process_incoming(server.process_outgoing())
        client.do_handshake()
        server.process_incoming(client.process_outgoing())
        server.do_handshake()
        return NativeConnection(client, server)


def _go_on(engine: IEngine) -> None:
    try:
        engine.do_handshake()
    except WantRead:
        pass


@attrs.frozen
class NativeConnection:
    client: IEngine
    server: IEngine

    @property
    def suite(self) -> str:
        return str(self.server.cipher)

    def carry(self, data: bytes) -> int:
        self.client.write(data)
        self.server.process_incoming(self.client.process_outgoing())
        return len(self.server.read())


# -- ssl -----------------------------------------------------------------------------------------------------------


class Stdlib:
    """Its cipher suite is chosen by openssl.cnf: see ``__main__``."""

    name = "ssl"

    def __init__(self, terms: Terms) -> None:
        self._client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._client.load_verify_locations(cadata=terms.authority.certificate_pem.decode())
        self._server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._server.num_tickets = 0
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "identity.pem")
            path.write_bytes(terms.issued.key_pem + terms.issued.chain_pem)
            self._server.load_cert_chain(path)
        for context in (self._client, self._server):
            context.set_ecdh_curve("X25519")

    def connect(self) -> StdlibConnection:
        to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
        client = self._client.wrap_bio(to_client, from_client, server_hostname=NAME)
        server = self._server.wrap_bio(to_server, from_server, server_side=True)
        _shake(client)
        to_server.write(from_client.read())
        _shake(server)
        to_client.write(from_server.read())
        client.do_handshake()
        to_server.write(from_client.read())
        server.do_handshake()
        return StdlibConnection(client, server, from_client, to_server)


def _shake(side: ssl.SSLObject) -> None:
    try:
        side.do_handshake()
    except ssl.SSLWantReadError:
        pass


@attrs.frozen
class StdlibConnection:
    client: ssl.SSLObject
    server: ssl.SSLObject
    from_client: ssl.MemoryBIO
    to_server: ssl.MemoryBIO

    @property
    def suite(self) -> str:
        cipher = self.server.cipher()
        return cipher[0] if cipher is not None else "nothing"

    def carry(self, data: bytes) -> int:
        self.client.write(data)
        self.to_server.write(self.from_client.read())
        return len(self.server.read(len(data)))


# -- pyOpenSSL -----------------------------------------------------------------------------------------------------


class PyOpenSSL:
    name = "pyopenssl"

    def __init__(self, terms: Terms) -> None:
        self._client, self._server = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
        store = self._client.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(terms.authority.certificate))
        self._client.set_verify(SSL.VERIFY_PEER)
        key = terms.issued.private_key
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._server.use_privatekey(key)
        self._server.use_certificate(terms.issued.certificate)
        self._server.set_options(SSL.OP_NO_TICKET)
        self._server.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        for context in (self._client, self._server):
            context.set_tls13_ciphersuites(SUITE.encode())
            # Its set_tmp_ecdh knows no X25519.
            assert lib.SSL_CTX_set1_curves_list(context._context, ffi.new("char[]", b"X25519")) == 1

    def connect(self) -> PyOpenSSLConnection:
        client, server = SSL.Connection(self._client), SSL.Connection(self._server)
        client.set_tlsext_host_name(NAME.encode())
        client.set_connect_state()
        server.set_accept_state()
        _proceed(client)
        server.bio_write(client.bio_read(1 << 16))
        _proceed(server)
        client.bio_write(server.bio_read(1 << 16))
        client.do_handshake()
        server.bio_write(client.bio_read(1 << 16))
        server.do_handshake()
        return PyOpenSSLConnection(client, server)


def _proceed(side: SSL.Connection) -> None:
    try:
        side.do_handshake()
    except SSL.WantReadError:
        pass


@attrs.frozen
class PyOpenSSLConnection:
    client: SSL.Connection
    server: SSL.Connection

    @property
    def suite(self) -> str:
        return str(self.server.get_cipher_name())

    def carry(self, data: bytes) -> int:
        self.client.send(data)
        self.server.bio_write(self.client.bio_read(1 << 16))
        return len(self.server.recv(len(data)))
