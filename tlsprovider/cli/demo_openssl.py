"""OpenSSL as a peer in the demo, through Python's own ssl module."""

from __future__ import annotations

import socket
import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from tlsprovider.cli.demo_sockets import listen
from tlsprovider.cli.demo_visit import ALPN, TIMEOUT, Facts, Material, Reply, Request, Visit

__all__ = ["serve", "visit"]

CHUNK = 256 * 1024


def serve(material: Material) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "server.pem")
        file.touch(0o600)
        file.write_text(material.chain + material.key)
        context.load_cert_chain(file)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            request = Request()
            while (reply := request.receive(tls.recv(CHUNK), _facts(tls))) is None:
                pass
            tls.sendall(reply)
            _close(tls)

    return listen(talk)


def visit(port: int, material: Material, size: int) -> Visit:
    context = _client_context(material)
    reply = Reply(size)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # OpenSSL takes a bare end of the transport for an error unless it is told otherwise; here it is one.
        with context.wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False) as tls:
            tls.sendall(reply.request(_facts(tls)))
            while data := tls.recv(CHUNK):
                reply.receive(data)
            _close(tls)
    return reply.close()


@lru_cache(maxsize=1)
def _client_context(material: Material) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=material.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    return context


def _close(tls: ssl.SSLSocket) -> None:
    """Say close_notify, and wait for the peer's if it did not come yet."""
    tls.unwrap().close()


def _facts(tls: ssl.SSLSocket) -> Facts:
    cipher = tls.cipher()
    # Before Python 3.15 the module can't tell the group.
    return Facts(tls.version(), cipher and cipher[0], None, tls.selected_alpn_protocol())
