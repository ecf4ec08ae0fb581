"""What ``tlsprovider serve`` says on a connection, without I/O: so that trio and Twisted say the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tlsprovider.cli.parameters import Negotiated, certificate_rows, parameter_rows

__all__ = ["Echo", "Page", "Talk"]

REQUEST_LIMIT = 64 * 1024


class Talk(Protocol):
    """One side of a conversation: ``reply`` gives what to send, and ``over`` says whether to close afterwards."""

    over: bool

    def reply(self, data: bytes) -> bytes:
        """What to answer to these bytes; ``b""`` for the peer's end of input."""


class Echo:
    """Sends back what it gets, until the peer has no more."""

    def __init__(self, connection: Callable[[], Negotiated]) -> None:
        self.over = False

    def reply(self, data: bytes) -> bytes:
        self.over = not data
        return data


class Page:
    """Answers one HTTP/1.1 request with the parameters of the connection, and closes."""

    def __init__(self, connection: Callable[[], Negotiated]) -> None:
        self.over = False
        self._connection = connection
        self._request = bytearray()

    def reply(self, data: bytes) -> bytes:
        self._request += data
        if b"\r\n\r\n" not in self._request:
            if len(self._request) <= REQUEST_LIMIT and data:
                return b""
            self.over = True
            return _response("431 Request Header Fields Too Large", "The request is too long.\n") if data else b""
        self.over = True
        return self._answer(self._request.partition(b"\r\n")[0].decode("latin-1"))

    def _answer(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        target, _, version = rest.partition(" ")
        if not version.startswith("HTTP/1.") or not target:
            return _response("400 Bad Request", "This is not a request of HTTP/1.1.\n")
        if method not in ("GET", "HEAD"):
            return _response("405 Method Not Allowed", "Only GET and HEAD are answered here.\n", "Allow: GET, HEAD\r\n")
        rows = parameter_rows(self._connection()) + certificate_rows(self._connection())
        width = max(len(name) for name, _ in rows)
        text = "".join(f"{name:{width}}  {value}\n" for name, value in rows)
        response = _response("200 OK", "This connection, as tlsprovider sees it:\n\n" + text)
        return response.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" if method == "HEAD" else response


def _response(status: str, text: str, more: str = "") -> bytes:
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n"
        f"{more}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
