"""Two SSL objects over each of the four transports that SSL_do_handshake(3) speaks of, and what drives them.

A link joins a client and a server (or one of them and nobody) and hides what a transport needs between two calls:
nothing for a blocking socket, select() for a non-blocking one, carrying bytes for a BIO pair and for memory BIOs. The
tests of the contract say ``@every_transport`` and ``with transport(client, server) as link``.
"""

from __future__ import annotations

import select
import socket
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ClassVar, Self

import pytest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, PairBIO, bio_pair
from tlsprovider.ssl.bio import BIO

ROUNDS = 2000
PATIENCE = 10.0
SUSPENDED = (ErrorCode.WANT_READ, ErrorCode.WANT_WRITE)
CLOSE_NOTIFY = bytes.fromhex("15 03 03 00 02 01 00")
HANDSHAKE_FAILURE = bytes.fromhex("15 03 03 00 02 02 28")
FORGED_RECORD = bytes.fromhex("17 03 03 00 20") + bytes(32)
NOT_TLS = b"GET / HTTP/1.1\r\n\r\n"

Result = int | bytes
Call = Callable[[], Result]


def make_ssls(client_config: ClientConfig, server_config: ServerConfig) -> tuple[SSL, SSL]:
    """A client and a server with their roles set."""
    client = SSL(client_config, server_hostname="localhost")
    client.set_connect_state()
    server = SSL(server_config)
    server.set_accept_state()
    return client, server


def is_suspended(ssl: SSL, result: Result) -> bool:
    return ssl.get_error(result) in SUSPENDED


class Link:
    """The base: two ends, each with the calls that it has to make."""

    blocking: ClassVar[bool] = False

    def __init__(self, client: SSL, server: SSL) -> None:
        self.client = client
        self.server = server
        self._join()

    def _join(self) -> None:
        raise NotImplementedError

    def deliver(self) -> None:
        """Carry everything from one end to the other, where the transport doesn't do that by itself."""

    def wait(self) -> None:
        """Until either end can go on."""

    def waiting_for(self, ssl: SSL) -> int:
        """How many bytes this end could read from the transport now."""
        raise NotImplementedError

    def inject(self, ssl: SSL, data: bytes) -> None:
        """Make ``data`` arrive at this end, as if its peer had sent it."""
        raise NotImplementedError

    def inject_eof(self, ssl: SSL) -> None:
        """Make the transport end at this end."""
        raise NotImplementedError

    def peer(self, ssl: SSL) -> SSL:
        return self.server if ssl is self.client else self.client

    def both(self, at_client: Call, at_server: Call) -> tuple[Result, Result]:
        """Make both calls, each again and again until it is done; what they returned in the end."""
        done: dict[Call, Result] = {}
        for _ in range(ROUNDS):
            for ssl, call in ((self.client, at_client), (self.server, at_server)):
                if call not in done:
                    result = call()
                    if not is_suspended(ssl, result):
                        done[call] = result
                self.deliver()
            if len(done) == 2:
                return done[at_client], done[at_server]
            self.wait()
        raise AssertionError(f"stands still: {self.client.state_string_long()}, {self.server.state_string_long()}")

    def one(self, ssl: SSL, call: Call) -> Result:
        """Make a call that needs nothing more from the peer than what it has sent."""
        for _ in range(ROUNDS):
            result = call()
            self.deliver()
            if not is_suspended(ssl, result):
                return result
        raise AssertionError(f"stands still: {ssl.state_string_long()}")

    def handshake(self) -> Self:
        results = self.both(self.client.do_handshake, self.server.do_handshake)
        assert results == (1, 1), (self.client.error, self.server.error)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.close()
        self.server.close()


class SocketLink(Link):
    """A socket pair. What is injected goes into the other end's socket, past its SSL object."""

    def _join(self) -> None:
        self.sockets = socket.socketpair()
        for ssl, sock in zip((self.client, self.server), self.sockets, strict=True):
            sock.setblocking(self.blocking)
            assert ssl.set_fd(sock) == 1

    def socket_of(self, ssl: SSL) -> socket.socket:
        return self.sockets[ssl is self.server]

    def waiting_for(self, ssl: SSL) -> int:
        try:
            return len(self.socket_of(ssl).recv(1 << 20, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return 0

    def inject(self, ssl: SSL, data: bytes) -> None:
        self.socket_of(self.peer(ssl)).sendall(data)

    def inject_eof(self, ssl: SSL) -> None:
        self.socket_of(self.peer(ssl)).shutdown(socket.SHUT_WR)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        for sock in self.sockets:
            sock.close()


class BlockingLink(SocketLink):
    """Blocking sockets: every call is made once, the server's in a thread."""

    blocking = True

    def both(self, at_client: Call, at_server: Call) -> tuple[Result, Result]:
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(at_client), threads.submit(at_server)]
            try:
                at_client_result, at_server_result = [call.result(PATIENCE) for call in calls]
            except TimeoutError:
                # Else the threads, and with them this test, would wait for ever.
                for sock in self.sockets:
                    sock.shutdown(socket.SHUT_RDWR)
                raise
        return at_client_result, at_server_result

    def one(self, ssl: SSL, call: Call) -> Result:
        return call()


class NonBlockingLink(SocketLink):
    """Non-blocking sockets: select() for what get_error asks for."""

    def wait(self) -> None:
        ends = (self.client, self.server)
        readers = [self.socket_of(ssl) for ssl in ends if ssl.want_read()]
        writers = [self.socket_of(ssl) for ssl in ends if ssl.want_write()]
        ready = select.select(readers, writers, [], PATIENCE)
        assert any(ready), f"nothing happens: {self.client.want()!r}, {self.server.want()!r}"


class PairLink(Link):
    """A BIO pair for each end; the program carries bytes between the outer halves."""

    def _join(self, size: int = 0) -> None:
        inner, self.client_net = bio_pair(size, size)
        self.client.set_bio(inner, inner)
        inner, self.server_net = bio_pair(size, size)
        self.server.set_bio(inner, inner)

    def net(self, ssl: SSL) -> PairBIO:
        return self.client_net if ssl is self.client else self.server_net

    def deliver(self) -> None:
        for source, target in ((self.client_net, self.server_net), (self.server_net, self.client_net)):
            while (count := min(source.pending(), target.get_write_guarantee())) > 0:
                assert target.write(source.read(count)) == count

    def waiting_for(self, ssl: SSL) -> int:
        return self.net(ssl).wpending() + self.net(self.peer(ssl)).pending()

    def inject(self, ssl: SSL, data: bytes) -> None:
        assert self.net(ssl).write(data) == len(data)

    def inject_eof(self, ssl: SSL) -> None:
        self.net(ssl).shutdown_wr()


class MemoryLink(Link):
    """Two memory BIOs for each end; the program carries bytes from one's to the other's."""

    def _join(self) -> None:
        for ssl in (self.client, self.server):
            ssl.set_bio(MemoryBIO(), MemoryBIO())

    @staticmethod
    def incoming(ssl: SSL) -> MemoryBIO:
        bio = ssl.get_rbio()
        assert isinstance(bio, MemoryBIO)
        return bio

    @staticmethod
    def outgoing(ssl: SSL) -> MemoryBIO:
        bio = ssl.get_wbio()
        assert isinstance(bio, MemoryBIO)
        return bio

    def deliver(self) -> None:
        for source, target in ((self.client, self.server), (self.server, self.client)):
            if count := self.outgoing(source).pending():
                self.incoming(target).write(self.outgoing(source).read(count))

    def waiting_for(self, ssl: SSL) -> int:
        return self.incoming(ssl).pending() + self.outgoing(self.peer(ssl)).pending()

    def inject(self, ssl: SSL, data: bytes) -> None:
        self.incoming(ssl).write(data)

    def inject_eof(self, ssl: SSL) -> None:
        self.incoming(ssl).write_eof()


STEPWISE: list[type[Link]] = [NonBlockingLink, PairLink, MemoryLink]
TRANSPORTS: list[type[Link]] = [BlockingLink, *STEPWISE]


def _name(transport: type[Link]) -> str:
    return transport.__name__.removesuffix("Link").lower()


every_transport = pytest.mark.parametrize("transport", TRANSPORTS, ids=_name)
"""All four."""
every_stepwise_transport = pytest.mark.parametrize("transport", STEPWISE, ids=_name)
"""The three that never block, so that a test can look between two steps."""


def fails(link: Link, ssl: SSL) -> BaseException:
    """Run the handshake, which has to fail at ``ssl`` and then at its peer; why it did at ``ssl``."""

    def until_the_end(one: SSL) -> Callable[[], int]:
        def call() -> int:
            ret = one.do_handshake()
            # A client may be done before it hears that it was refused.
            return ret if ret != 1 or one is ssl else one.read_into(bytearray(1))

        return call

    results = link.both(until_the_end(link.client), until_the_end(link.server))
    assert results == (-1, -1)
    assert ssl.get_error(-1) is link.peer(ssl).get_error(-1) is ErrorCode.SSL
    assert ssl.error is not None
    return ssl.error


# -- BIOs that do one thing ------------------------------------------------------------------------------------------


class BrokenBIO(BIO):
    """Every read and write fails with the given error."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def _take(self, limit: int) -> bytes:
        raise self._error

    def _put(self, data: memoryview) -> int:
        raise self._error


class CountingBIO(MemoryBIO):
    """Memory that notes how much each read asked for and each write brought."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []
        self.brought: list[int] = []

    def _take(self, limit: int) -> bytes:
        self.asked.append(limit)
        return super()._take(limit)

    def _put(self, data: memoryview) -> int:
        self.brought.append(len(data))
        return super()._put(data)


class TricklingBIO(MemoryBIO):
    """Memory that gives one byte at a time, and asks for a retry between any two."""

    def __init__(self) -> None:
        super().__init__()
        self._pause = True

    def _take(self, limit: int) -> bytes:
        self._pause = not self._pause
        if self._pause:
            self.set_retry_read()
            return b""
        return super()._take(1)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two sockets joined over the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname(), PATIENCE)
        other, _ = listener.accept()
    one.settimeout(None)
    return one, other


def reset(sock: socket.socket) -> None:
    """Close in a way that makes TCP send RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def records(data: bytes) -> Iterator[bytes]:
    """The records in ``data``, RFC 9846 section 5.1."""
    while data:
        end = 5 + int.from_bytes(data[3:5], "big")
        assert len(data) >= end
        yield data[:end]
        data = data[end:]
