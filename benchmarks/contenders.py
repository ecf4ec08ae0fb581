"""Who is measured: three ways to make a connection in memory, both sides in Python, on the same terms."""

from __future__ import annotations

import itertools
import ssl
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, Self

import attrs
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from OpenSSL.crypto import X509

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.crypto.certificates import parse_certificate
from tlsprovider.crypto.tickets import TicketKeyRing
from tlsprovider.errors import WantRead
from tlsprovider.handshake.chain import read_chain
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.session import MemorySessions, Session
from tlsprovider.trust import TrustStore

SUITE = "TLS_AES_128_GCM_SHA256"
NAME = "localhost"


@attrs.frozen
class Terms:
    """What all have in common: the certificates, and what is negotiated."""

    authority: Authority
    issued: Issued
    group: str | None = "x25519"
    """None: whatever each stack does by itself."""
    suite: str | None = SUITE
    mutual: bool = False
    """The client shows a certificate too, and the server verifies it."""
    resumed: bool = False
    """Each handshake resumes the same session, with a new key exchange (psk_dhe_ke), and makes no ticket."""

    @classmethod
    def make(cls, intermediates: int = 0) -> Self:
        authority = Authority("benchmarks")
        return cls(authority, authority.issue(NAME, intermediates=intermediates))

    @cached_property
    def client_issued(self) -> Issued:
        return self.authority.issue("alice@example.com", client=True)


class Connection(Protocol):
    """Both sides of a connection, after the handshake."""

    @property
    def suite(self) -> str:
        """What was negotiated."""

    @property
    def resumed(self) -> bool: ...

    def carry(self, data: bytes) -> int:
        """Seal on the client's side, move, open on the server's; the count of bytes that arrived."""


class Contender(Protocol):
    """Made once, with everything that connections share."""

    name: str

    def connect(self) -> Connection:
        """A handshake."""


def contenders(terms: Terms) -> list[Contender]:
    """All three, after making sure that they agree on the terms."""
    found: list[Contender] = [Native(terms), Stdlib(terms), PyOpenSSL(terms)]
    return agreed(found, terms)


def agreed(found: list[Contender], terms: Terms) -> list[Contender]:
    for contender in found:
        connection = contender.connect()
        if terms.suite is not None and connection.suite != terms.suite:
            raise RuntimeError(f"{contender.name} negotiated {connection.suite}: nothing could be compared")
        if connection.resumed is not terms.resumed:
            raise RuntimeError(f"{contender.name}: resumed is {connection.resumed}: nothing could be compared")
    return found


# -- native --------------------------------------------------------------------------------------------------------


def moving_clock() -> Callable[[], float]:
    """A clock on which between any two looks more time passes than a verified chain is remembered."""
    start = time.time()
    steps = itertools.cycle(range(20_000))
    return lambda: start + 601 * next(steps)


class Native:
    """``fresh``: every chain is seen for the first time, so that nothing that was remembered flatters the figures."""

    def __init__(self, terms: Terms, fresh: bool = False) -> None:
        self.name = "native, first seen" if fresh else "native"
        self._provider = get_provider("native")
        self._fresh = fresh
        clock = moving_clock() if fresh else time.time
        trust = TrustStore.from_crypto([terms.authority.certificate])
        chosen: dict[str, Any] = {}
        if terms.group is not None:
            chosen["groups"] = [terms.group]
        if terms.suite is not None:
            chosen["cipher_suites"] = [terms.suite]
        self._client = ClientConfig(
            trust=trust,
            clock=clock,
            identity=_identity(terms.client_issued) if terms.mutual else None,
            sessions=MemorySessions() if terms.resumed else None,
            **chosen,
        )
        self._server = ServerConfig(
            identities=[_identity(terms.issued)],
            trust=trust if terms.mutual else None,
            client_auth="require" if terms.mutual else "none",
            clock=clock,
            tickets=TicketKeyRing() if terms.resumed else None,
            **chosen,
        )
        self._session: Session | None = None
        if terms.resumed:
            first = self.connect()
            first.server.write(b"tickets go before data")
            first.client.process_incoming(first.server.process_outgoing())
            self._session = first.client.session

    def connect(self) -> NativeConnection:
        if self._fresh:
            parse_certificate.known.cache_clear()
            read_chain.known.cache_clear()
        client: Any = self._provider.client_engine(self._client, NAME)
        server: Any = self._provider.server_engine(self._server)
        if self._session is not None:
            client.set_session(self._session)
        _go_on(client)
        server.process_incoming(client.process_outgoing())
        _go_on(server)
        client.process_incoming(server.process_outgoing())
        client.do_handshake()
        server.process_incoming(client.process_outgoing())
        server.do_handshake()
        return NativeConnection(client, server)


def _identity(issued: Issued) -> Identity:
    return Identity.from_crypto(issued.certificates, issued.private_key)


def _go_on(engine: IEngine) -> None:
    try:
        engine.do_handshake()
    except WantRead:
        pass


@attrs.frozen
class NativeConnection:
    client: Any
    server: Any

    @property
    def suite(self) -> str:
        return str(self.server.cipher)

    @property
    def resumed(self) -> bool:
        return bool(self.client.session_reused)

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
        self._server.num_tickets = 1 if terms.resumed else 0
        _load_identity(self._server, terms.issued)
        if terms.mutual:
            _load_identity(self._client, terms.client_issued)
            self._server.verify_mode = ssl.CERT_REQUIRED
            self._server.load_verify_locations(cadata=terms.authority.certificate_pem.decode())
        if terms.group is not None:
            for context in (self._client, self._server):
                context.set_ecdh_curve(terms.group.upper())
        self._session: ssl.SSLSession | None = None
        if terms.resumed:
            first = self.connect()
            first.server.write(b"x")
            first.to_client.write(first.from_server.read())
            first.client.read(1)
            self._session = first.client.session
            self._server.num_tickets = 0

    def connect(self) -> StdlibConnection:
        to_client, from_client, to_server, from_server = (ssl.MemoryBIO() for _ in range(4))
        client = self._client.wrap_bio(to_client, from_client, server_hostname=NAME, session=self._session)
        server = self._server.wrap_bio(to_server, from_server, server_side=True)
        _shake(client)
        to_server.write(from_client.read())
        _shake(server)
        to_client.write(from_server.read())
        client.do_handshake()
        to_server.write(from_client.read())
        server.do_handshake()
        return StdlibConnection(client, server, from_client, to_server, from_server, to_client)


def _load_identity(context: ssl.SSLContext, issued: Issued) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "identity.pem")
        path.write_bytes(issued.key_pem + issued.chain_pem)
        context.load_cert_chain(path)


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
    from_server: ssl.MemoryBIO
    to_client: ssl.MemoryBIO

    @property
    def suite(self) -> str:
        cipher = self.server.cipher()
        return cipher[0] if cipher is not None else "nothing"

    @property
    def resumed(self) -> bool:
        return bool(self.client.session_reused)

    def carry(self, data: bytes) -> int:
        self.client.write(data)
        self.to_server.write(self.from_client.read())
        return len(self.server.read(len(data)))


# -- pyOpenSSL -----------------------------------------------------------------------------------------------------


class PyOpenSSL:
    """Data goes out with ``sendall`` and comes in with ``recv_into``, the quickest that it has."""

    name = "pyopenssl"

    def __init__(self, terms: Terms) -> None:
        self._client, self._server = SSL.Context(SSL.TLS_METHOD), SSL.Context(SSL.TLS_METHOD)
        _trust(self._client, terms.authority)
        self._client.set_verify(SSL.VERIFY_PEER)
        _show(self._server, terms.issued)
        if terms.mutual:
            _show(self._client, terms.client_issued)
            _trust(self._server, terms.authority)
            self._server.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        if not terms.resumed:
            self._server.set_options(SSL.OP_NO_TICKET)
            self._server.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        for context in (self._client, self._server):
            if terms.suite is not None:
                context.set_tls13_ciphersuites(terms.suite.encode())
            if terms.group is not None:
                # Its set_tmp_ecdh knows no X25519.
                group = ffi.new("char[]", terms.group.encode())
                assert lib.SSL_CTX_set1_curves_list(context._context, group) == 1
        self._session: SSL.Session | None = None
        if terms.resumed:
            first = self.connect()
            first.server.send(b"x")
            first.client.bio_write(first.server.bio_read(1 << 16))
            first.client.recv(1)
            self._session = first.client.get_session()
            # The session of a connection that goes away without this is not resumed.
            first.client.shutdown()

    def connect(self) -> PyOpenSSLConnection:
        client, server = SSL.Connection(self._client), SSL.Connection(self._server)
        if self._session is not None:
            client.set_session(self._session)
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


def _trust(context: SSL.Context, authority: Authority) -> None:
    store = context.get_cert_store()
    assert store is not None
    store.add_cert(X509.from_cryptography(authority.certificate))


def _show(context: SSL.Context, issued: Issued) -> None:
    key = issued.private_key
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    context.use_privatekey(key)
    context.use_certificate(issued.certificate)
    for intermediate in issued.certificates[1:]:
        context.add_extra_chain_cert(X509.from_cryptography(intermediate))


def _proceed(side: SSL.Connection) -> None:
    try:
        side.do_handshake()
    except SSL.WantReadError:
        pass


@attrs.define
class PyOpenSSLConnection:
    client: SSL.Connection
    server: SSL.Connection
    _buffer: bytearray = attrs.field(factory=lambda: bytearray(1 << 16))

    @property
    def suite(self) -> str:
        return str(self.server.get_cipher_name())

    @property
    def resumed(self) -> bool:
        return bool(lib.SSL_session_reused(self.client._ssl))

    def carry(self, data: bytes) -> int:
        self.client.sendall(data)
        self.server.bio_write(self.client.bio_read(1 << 16))
        return self.server.recv_into(self._buffer)
