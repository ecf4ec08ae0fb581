"""OpenSSL as the other side, in memory: Python's ``ssl``, and pyOpenSSL with the newer OpenSSL that it brings along.

Both are wrapped into the same few methods, so that :func:`meet`, :func:`collide` and :func:`exchange` serve both.
"""

from __future__ import annotations

import base64
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import attrs
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import PublicKeyAlgorithmOID
from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from OpenSSL.crypto import X509

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import der
from tlsprovider.crypto.authority import Authority, Issued, KeyType
from tlsprovider.errors import TLSError, WantRead
from tlsprovider.events import Event
from tlsprovider.iana import ExtensionType
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.wire.messages import ClientHello

ROUNDS = 20


class Peer(Protocol):
    """The other side of an engine under test."""

    def do_handshake(self) -> bool:
        """Go on; whether it is complete. Lets errors out."""

    def feed(self, data: bytes) -> None: ...
    def drain(self) -> bytes: ...
    def write(self, data: bytes) -> None: ...

    def read(self) -> bytes:
        """All the plaintext that is there now; empty when there is none. Lets errors out."""


class StdlibPeer:
    """``ssl.SSLObject`` between two memory BIOs; :attr:`ssl` is the object itself."""

    def __init__(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_hostname, session=session
        )

    def do_handshake(self) -> bool:
        try:
            self.ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        self.incoming.write(data)

    def drain(self) -> bytes:
        return self.outgoing.read()

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.ssl.write(view) :]

    def read(self) -> bytes:
        found = bytearray()
        try:
            while piece := self.ssl.read(1 << 16):
                found += piece
        except ssl.SSLWantReadError:
            pass
        return bytes(found)


class PyOpenSSLPeer:
    """``OpenSSL.SSL.Connection`` over its own memory BIOs; :attr:`connection` is the object itself."""

    def __init__(self, context: SSL.Context, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        self.connection = SSL.Connection(context)
        if server_side:
            self.connection.set_accept_state()
        else:
            self.connection.set_connect_state()
            if server_hostname is not None:
                self.connection.set_tlsext_host_name(server_hostname.encode())

    def do_handshake(self) -> bool:
        try:
            self.connection.do_handshake()
        except SSL.WantReadError:
            return False
        return True

    def feed(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.connection.bio_write(bytes(view)) :]

    def drain(self) -> bytes:
        found = bytearray()
        try:
            while True:
                found += self.connection.bio_read(1 << 16)
        except SSL.WantReadError:
            return bytes(found)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self.connection.send(bytes(view[: 1 << 16])) :]

    def read(self) -> bytes:
        found = bytearray()
        try:
            while True:
                found += self.connection.recv(1 << 16)
        except (SSL.WantReadError, SSL.ZeroReturnError):
            return bytes(found)


# -- making them ----------------------------------------------------------------------------------------------------


def client(config: ClientConfig, name: str | None = "localhost") -> IEngine:
    return get_provider("native").client_engine(config, name)


def server(config: ServerConfig) -> IEngine:
    return get_provider("native").server_engine(config)


def stdlib_as_server(context: ssl.SSLContext) -> StdlibPeer:
    return StdlibPeer(context, server_side=True)


def stdlib_as_client(context: ssl.SSLContext) -> StdlibPeer:
    return StdlibPeer(context, server_hostname="localhost")


def pyopenssl_as_server(context: SSL.Context) -> PyOpenSSLPeer:
    return PyOpenSSLPeer(context, server_side=True)


def pyopenssl_as_client(context: SSL.Context) -> PyOpenSSLPeer:
    return PyOpenSSLPeer(context, server_hostname="localhost")


# -- running them --------------------------------------------------------------------------------------------------


def engine_handshake(engine: IEngine) -> bool:
    """Go on; whether it is complete."""
    try:
        engine.do_handshake()
    except WantRead:
        return False
    return True


def transfer(engine: IEngine, peer: Peer) -> int:
    """Move what both want to send; the count of bytes moved."""
    ours = engine.process_outgoing()
    if ours:
        peer.feed(ours)
    theirs = peer.drain()
    if theirs:
        engine.process_incoming(theirs)
    return len(ours) + len(theirs)


def meet(engine: IEngine, peer: Peer) -> None:
    """Both handshakes to the end, and what follows them. Lets every error out."""
    for _ in range(ROUNDS):
        done = engine_handshake(engine)
        if ours := engine.process_outgoing():
            peer.feed(ours)
        peer_done = peer.do_handshake()
        theirs = peer.drain()
        if theirs:
            engine.process_incoming(theirs)
        if done and peer_done and not ours and not theirs:
            return
    raise AssertionError(f"the handshake stands still: the engine is in {engine.state}")


def meet_in_crumbs(engine: IEngine, peer: Peer, size: int = 1) -> None:
    """As :func:`meet`; every piece that arrives has ``size`` bytes at most, and both sides go on after each."""
    done = peer_done = False
    for _ in range(ROUNDS):
        done = done or engine_handshake(engine)
        ours = engine.process_outgoing()
        for start in range(0, len(ours), size):
            peer.feed(ours[start : start + size])
            peer_done = peer.do_handshake()
        peer_done = peer_done or peer.do_handshake()
        theirs = peer.drain()
        for start in range(0, len(theirs), size):
            engine.process_incoming(theirs[start : start + size])
            done = engine_handshake(engine)
        if done and peer_done and not ours and not theirs:
            return
    raise AssertionError(f"the handshake stands still: the engine is in {engine.state}")


@attrs.frozen
class Outcome:
    """How a handshake ended that should not succeed; None: that side has seen no error."""

    ours: TLSError | None
    theirs: Exception | None

    @property
    def alert_seen(self) -> str:
        """The alert that OpenSSL says it received, by its IANA name."""
        assert self.theirs is not None, "the peer has seen no error"
        return alert_name(self.theirs)


def session_of(client: PyOpenSSLPeer, server: PyOpenSSLPeer) -> SSL.Session:
    """What a client of OpenSSL keeps after it has visited this server of OpenSSL."""
    for _ in range(3):
        client.do_handshake()
        server.feed(client.drain())
        server.do_handshake()
        client.feed(server.drain())
    assert client.read() == b""
    session = client.connection.get_session()
    assert session is not None
    # OpenSSL makes a session useless when its connection disappears without a goodbye.
    client.connection.shutdown()
    return session


def collide(engine: IEngine, peer: Peer) -> Outcome:
    """Run both sides, a read included since some alerts come late, until both have failed or nothing moves any more."""
    ours: TLSError | None = None
    theirs: Exception | None = None
    for _ in range(ROUNDS):
        if ours is None:
            ours = _error_of(lambda: engine_handshake(engine) and engine.read())
        if theirs is None:
            theirs = _error_of(lambda: peer.do_handshake() and peer.read())
        if not transfer(engine, peer):
            break
    assert ours is None or isinstance(ours, TLSError)
    return Outcome(ours, theirs)


def _error_of(step: Any) -> Any:
    try:
        step()
    except WantRead:
        return None
    except (TLSError, ssl.SSLError, SSL.Error) as error:
        return error
    return None


def alert_name(error: Exception) -> str:
    """What OpenSSL calls ``tlsv1 alert unknown ca``, as IANA does: ``unknown_ca``."""
    text = str(error) if isinstance(error, ssl.SSLError) else error.args[0][-1][2]
    found = re.search(r"(?:sslv3|tlsv1|tlsv13|tls|ssl/tls) (?:alert )?([a-z ]+)(?: \(_ssl|$)", text)
    assert found is not None, f"no alert in {text!r}"
    return found[1].replace(" ", "_")


def exchange(engine: IEngine, peer: Peer, size: int = 100) -> None:
    """Application data both ways, and it has to arrive."""
    there, back = (b"there" * size)[:size], (b"back" * size)[:size]
    engine.write(there)
    peer.feed(engine.process_outgoing())
    assert peer.read() == there
    peer.write(back)
    engine.process_incoming(peer.drain())
    assert engine.read() == back


class Heard:
    """An ``on_event`` that counts messages: ``heard["message_sent", "client_hello"]``."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def __getitem__(self, wanted: tuple[str, str]) -> int:
        return sum((event.kind, event.name) == wanted for event in self.events)

    def offered(self, extension: ExtensionType) -> bool:
        """Of a server: whether the first ClientHello had this extension."""
        hello = ClientHello.decode(next(event.data for event in self.events if event.name == "client_hello"))
        return extension in (hello.extensions or {})

    def data(self, kind: str, name: str) -> bytes:
        """Of the only such event."""
        [event] = [event for event in self.events if (event.kind, event.name) == (kind, name)]
        return event.data


# -- certificates and contexts -------------------------------------------------------------------------------------


@lru_cache
def issue(authority: Authority, key_type: KeyType = "p256", client: bool = False) -> Issued:
    """For localhost, or for the client alice; one for each kind of key."""
    return authority.issue("alice@example.com" if client else "localhost", key_type=key_type, client=client)


def identity(issued: Issued) -> Identity:
    return Identity.from_crypto(issued.certificates, issued.private_key)


def stdlib_server(issued: Issued, clients: Authority | None = None) -> ssl.SSLContext:
    """A server's context; with ``clients`` it knows whose client certificates to believe (and asks for none yet)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(context, issued)
    if clients is not None:
        context.load_verify_locations(cadata=clients.certificate_pem.decode())
    return context


def stdlib_client(authority: Authority, issued: Issued | None = None) -> ssl.SSLContext:
    """A client's context that believes ``authority``; with ``issued`` it has a certificate of its own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.certificate_pem.decode())
    if issued is not None:
        _load(context, issued)
    return context


def _load(context: ssl.SSLContext, issued: Issued) -> None:
    with pem_file(issued) as path:
        context.load_cert_chain(path)


@contextmanager
def pem_file(issued: Issued) -> Iterator[str]:
    """The key and the chain as a file: not every kind of key can be given to OpenSSL in another way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "identity.pem")
        path.write_bytes(key_pem(issued) + issued.chain_pem)
        yield str(path)


_RSA_ENCRYPTION = bytes.fromhex("300d06092a864886f70d0101010500")
_RSASSA_PSS = bytes.fromhex("300b06092a864886f70d01010a")


def key_pem(issued: Issued) -> bytes:
    """PKCS#8. The key of an RSASSA-PSS certificate says so itself, else OpenSSL finds that the two don't match."""
    if issued.certificate.public_key_algorithm_oid != PublicKeyAlgorithmOID.RSASSA_PSS:
        return issued.key_pem
    body = issued.private_key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    version, algorithm, key = der.children(body)
    assert algorithm == _RSA_ENCRYPTION
    pss = base64.encodebytes(der.sequence(version, _RSASSA_PSS, key))
    return b"-----BEGIN PRIVATE KEY-----\n" + pss + b"-----END PRIVATE KEY-----\n"


def pyopenssl_context(issued: Issued | None, believed: Authority | None = None) -> SSL.Context:
    """For either side. With ``believed``, the peer's certificate is asked for and verified."""
    context = SSL.Context(SSL.TLS_METHOD)
    if issued is not None:
        with pem_file(issued) as path:
            context.use_certificate_chain_file(path)
            context.use_privatekey_file(path)
    if believed is not None:
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(X509.from_cryptography(believed.certificate))
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
    return context


def set_groups(context: SSL.Context, groups: str) -> None:
    """What ``openssl -groups`` does. pyOpenSSL itself has ``set_tmp_ecdh`` only, which knows no group that isn't a
    curve; the function for lists is there in its bindings, under its old name."""
    if lib.SSL_CTX_set1_curves_list(context._context, ffi.new("char[]", groups.encode())) != 1:
        raise ValueError(f"this OpenSSL does not know all of {groups}")


def allow_early_data(context: SSL.Context, most: int = 16_384) -> None:
    """Of a server: its tickets invite to 0-RTT. pyOpenSSL has this in its bindings only."""
    lib.SSL_CTX_set_max_early_data(context._context, most)


def write_early_data(peer: PyOpenSSLPeer, data: bytes) -> None:
    """Of a client, in place of the first ``do_handshake()``. pyOpenSSL has this in its bindings only."""
    written = ffi.new("size_t *")
    assert lib.SSL_write_early_data(peer.connection._ssl, data, len(data), written) == 1
    assert written[0] == len(data)
