"""Plain sockets in the demo: the SSL object over a blocking socket, with return codes as in C."""

from __future__ import annotations

import socket

from tlsprovider.cli.demo_sockets import listen
from tlsprovider.cli.demo_visit import (
    TIMEOUT,
    DemoError,
    Facts,
    Material,
    Reply,
    Request,
    Visit,
    client_config,
    server_config,
)
from tlsprovider.ssl import SSL, ErrorCode

__all__ = ["serve", "visit"]

CHUNK = 256 * 1024


def serve(material: Material) -> int:
    config = server_config(material)

    def talk(connection: socket.socket) -> None:
        ssl = SSL(config)
        ssl.set_fd(connection)
        _check(ssl, ssl.accept())
        request = Request()
        while (reply := request.receive(ssl.read(CHUNK), Facts.of(ssl))) is None:
            pass
        _check(ssl, ssl.write(reply))
        _close(ssl)

    return listen(talk)


def visit(port: int, material: Material, size: int) -> Visit:
    ssl = SSL(client_config(material), server_hostname="localhost")
    reply = Reply(size)
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ssl.set_fd(connection)
        _check(ssl, ssl.connect())
        _check(ssl, ssl.write(reply.request(Facts.of(ssl))))
        while data := ssl.read(CHUNK):
            reply.receive(data)
        if ssl.get_error(data) is not ErrorCode.ZERO_RETURN:
            _check(ssl, ssl.last_return)
        _close(ssl)
    return reply.close()


def _check(ssl: SSL, code: int) -> None:
    """Turn a return code that is not success into an exception."""
    if code > 0:
        return
    if ssl.error is not None:
        raise ssl.error
    raise DemoError(f"the SSL object says {ssl.get_error(code).name}")


def _close(ssl: SSL) -> None:
    """Say close_notify, and wait for the peer's if it did not come yet."""
    if ssl.shutdown() == 0:
        _check(ssl, ssl.shutdown())
