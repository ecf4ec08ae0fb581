"""Programs as users write them. Checked by mypy, never run: the public names have the types that these need."""

from __future__ import annotations

import ssl as stdlib_ssl
from typing import assert_type

import attrs
import trio
from cryptography.x509 import Certificate
from OpenSSL.SSL import Context
from twisted.internet import reactor
from twisted.internet.endpoints import SSL4ServerEndpoint

from tlsprovider import (
    CertificateFault,
    ChooseIdentity,
    ClientConfig,
    Fault,
    Identity,
    PeerFault,
    ServerConfig,
    SignHandshake,
    TrustStore,
    VerifyPeer,
    WantAnswer,
    get_provider,
    list_providers,
)
from tlsprovider.iana import AlertDescription, NamedGroup, SignatureScheme
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.ssl import SSL, ErrorCode
from tlsprovider.sslcontext import SSLContext, context_for, create_default_context
from tlsprovider.trio import TLSStream, open_tls_stream, serve_tls
from tlsprovider.twisted import ContextFactory
from tlsprovider.twisted.pyopenssl import ConnectionFailed


def configurations() -> tuple[ClientConfig, ServerConfig]:
    identity = Identity.from_files("chain.pem", "key.pem", password="secret")
    client = ClientConfig(trust=TrustStore.from_file("ca.pem"), identity=identity, alpn=["h2", "http/1.1"])
    server = ServerConfig(identities=[identity], client_auth="require", trust=TrustStore.system())
    assert_type(client.groups, tuple[NamedGroup, ...])
    assert_type(server.alpn, tuple[str, ...])
    return attrs.evolve(client, alpn=["h2"]), server


async def choose(question: ChooseIdentity) -> Identity | None:
    if question.server_name is None:
        raise PeerFault(Fault.UNKNOWN_NAME)
    question.answer(None)
    return Identity.from_pem(b"")


def verify(question: VerifyPeer) -> bool | CertificateFault:
    assert_type(question.peer_certificates, tuple[Certificate, ...])
    return CertificateFault("no") if question.scts else True


async def sign(scheme: SignatureScheme, message: bytes) -> bytes:
    return message


def hooks(certificates: list[Certificate]) -> ServerConfig:
    return ServerConfig(
        identities=[Identity.with_signer(certificates, sign)],
        choose_identity=choose,
        verify_peer=verify,
        keylog=print,
        on_event=lambda event: print(event.kind, event.name),
    )


def engines() -> IEngine:
    client, server = configurations()
    provider: ITLSProvider = get_provider()
    assert_type(list_providers(), list[ITLSProvider])
    provider.server_engine(server)
    engine = provider.client_engine(client, "example.com")
    try:
        engine.do_handshake()
    except WantAnswer as want:
        if isinstance(want.question, SignHandshake):
            want.question.answer(b"signature")
    assert_type(engine.process_outgoing(), bytes)
    assert_type(engine.cipher, str | None)
    return engine


async def streams() -> None:
    client, server = configurations()

    async def serve(stream: TLSStream[trio.SocketStream]) -> None:
        assert_type(stream.version, str)
        async for data in stream:
            await stream.send_all(data)

    async with await open_tls_stream("example.com", 443, client) as stream:
        assert_type(stream, TLSStream[trio.SocketStream])
        assert_type(stream.alpn, str | None)
        assert_type(await stream.receive_some(), bytes)
        assert_type(stream.receive_nowait(100), bytes)
        assert_type(await stream.unwrap(), tuple[trio.SocketStream, bytes])
    await serve_tls(serve, 443, server, host="localhost")


def objects() -> None:
    ssl = SSL(configurations()[0], server_hostname="example.com")
    assert_type(ssl.get_error(ssl.connect()), ErrorCode)
    assert_type(ssl.read(100), bytes)
    assert_type(ssl.write(b"hello"), int)


def stock_twisted() -> ContextFactory:
    client, server = configurations()
    creator = ContextFactory(client, "example.com", "native", handshakeTimeout=10, closeTimeout=None)
    assert_type(creator.config, ClientConfig | ServerConfig)
    assert_type(creator.getContext(), Context)
    connection = creator.clientConnectionForTLS(None)
    assert_type(connection.engine, IEngine)
    assert_type(connection.get_cipher_name(), str | None)
    assert_type(connection.recv(100), bytes)
    try:
        connection.do_handshake()
    except ConnectionFailed as problem:
        assert_type(problem.alert, AlertDescription | None)
        assert_type(problem.chain, tuple[Certificate, ...])
    SSL4ServerEndpoint(reactor, 443, ContextFactory(server))
    return ContextFactory(server).options()


def contexts() -> None:
    config, server_config = configurations()
    client, server = context_for(config), context_for(server_config)
    assert_type(client, SSLContext)
    assert_type(create_default_context(cafile="ca.pem"), SSLContext)
    shown = server.wrap_bio(stdlib_ssl.MemoryBIO(), stdlib_ssl.MemoryBIO(), server_side=True)
    assert_type(shown, stdlib_ssl.SSLObject)
    takes_a_context(client)


def takes_a_context(context: stdlib_ssl.SSLContext) -> None:
    """As so much code does."""
