"""``SSLContext.wrap_socket``: CPython's own ``ssl.SSLSocket`` over our engine."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import threading
from collections.abc import Iterator

import pytest
from ssl_pair import Files, context, make_files

from tlsprovider.crypto.authority import Authority
from tlsprovider.sslcontext import SSLSocket

SECONDS = 10


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Files:
    return make_files(tmp_path_factory.mktemp("pem"), authority, "localhost")


@pytest.fixture(params=["ours-ours", "ours-ssl", "ssl-ours", "ssl-ssl"])
def contexts(request: pytest.FixtureRequest, files: Files) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client, server = request.param.split("-")
    return context(client, files), context(server, files, server=True)


def echo(sock: socket.socket, server: ssl.SSLContext) -> None:
    sock.settimeout(SECONDS)
    with server.wrap_socket(sock, server_side=True) as connection:
        while data := connection.recv(65536):
            connection.sendall(data)
        connection.unwrap()


@pytest.fixture
def client(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Iterator[ssl.SSLSocket]:
    """Connected to a thread that echoes, and unwraps when it is told to."""
    near, far = socket.socketpair()
    thread = threading.Thread(target=echo, args=(far, contexts[1]))
    thread.start()
    near.settimeout(SECONDS)
    with contexts[0].wrap_socket(near, server_hostname="localhost") as made:
        yield made
        made.settimeout(SECONDS)
        made.unwrap()
    thread.join(SECONDS)
    assert not thread.is_alive()


def test_is_an_ssl_socket(client: ssl.SSLSocket, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    assert isinstance(client, ssl.SSLSocket)
    assert client.version() == "TLSv1.3"
    assert client.context is contexts[0]
    assert ("DNS", "localhost") in client.getpeercert()["subjectAltName"]


@pytest.mark.parametrize("size", [1, 20_000])
def test_data(client: ssl.SSLSocket, size: int) -> None:
    client.sendall(bytes(size))
    received = 0
    while received < size:
        received += len(client.recv(65536))
    assert received == size


@pytest.mark.parametrize("contexts", ["ours-ours", "ours-ssl"], indirect=True)
def test_one_thread_reads_and_another_writes(client: ssl.SSLSocket) -> None:
    """It has to be two: the echo does not go on reading while nobody reads what it sends."""
    size = 1_000_000
    sending = threading.Thread(target=client.sendall, args=(bytes(size),))
    sending.start()
    received = 0
    while received < size:
        received += len(client.recv(65536))
    sending.join(SECONDS)
    assert received == size


def test_a_file_on_it(client: ssl.SSLSocket) -> None:
    with client.makefile("rwb") as file:
        file.write(b"one line\nanother\n")
        file.flush()
        assert [file.readline(), file.readline()] == [b"one line\n", b"another\n"]


def test_time_out(client: ssl.SSLSocket) -> None:
    client.settimeout(0.01)
    with pytest.raises(TimeoutError, match="read operation timed out"):
        client.recv(1)


def test_without_blocking(client: ssl.SSLSocket) -> None:
    """A write that is stuck is repeated, while reading goes on."""
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)
    sent = received = 0
    piece = bytes(300_000)
    with pytest.raises(ssl.SSLWantWriteError):
        while True:
            sent += client.send(piece)
    stuck = True
    while stuck or received < sent:
        readable, writable, _ = select.select([client], [client] if stuck else [], [], SECONDS)
        assert readable or writable
        try:
            if stuck:
                sent += client.send(piece)
                stuck = False
        except ssl.SSLWantWriteError:
            pass
        try:
            received += len(client.recv(65536))
        except ssl.SSLWantReadError:
            pass
    assert received == sent


def test_a_peer_that_goes_away(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = socket.socketpair()
    with near:
        far.close()
        near.settimeout(SECONDS)
        with pytest.raises(OSError) as caught:
            contexts[0].wrap_socket(near, server_hostname="localhost")
        assert isinstance(caught.value, ssl.SSLEOFError | ConnectionError)


def test_needs_a_name(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    near, far = socket.socketpair()
    with near, far:
        with pytest.raises(ValueError, match="check_hostname requires server_hostname"):
            contexts[0].wrap_socket(near)


def test_ours_is_a_class_of_ours(files: Files) -> None:
    assert context("ours", files).sslsocket_class is SSLSocket


def test_asyncio(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """Streams of asyncio, which only know ``wrap_bio``."""
    contexts[0].set_alpn_protocols(["echo"])
    contexts[1].set_alpn_protocols(["echo"])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def talk() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=contexts[1])
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(SECONDS):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", port, ssl=contexts[0], server_hostname="localhost"
            )
            shown = writer.get_extra_info("ssl_object")
            assert shown.selected_alpn_protocol() == "echo"
            assert writer.get_extra_info("cipher")[1] == "TLSv1.3"
            writer.write(bytes(300_000))
            await writer.drain()
            assert len(await reader.readexactly(300_000)) == 300_000
            writer.close()
            await writer.wait_closed()
        server.close()
        await server.wait_closed()

    asyncio.run(talk())
