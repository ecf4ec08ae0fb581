"""What the trio tests share: running under a time limit, pairs of streams, and transports that misbehave."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import trio
import trio.testing

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import TLSError
from tlsprovider.trio import TLSStream

Test = Callable[..., Awaitable[None]]
Pair = tuple[TLSStream[Any], TLSStream[Any]]
OPENED: ContextVar[list[trio.SocketStream]] = ContextVar("OPENED")


def trio_run(test: Test | None = None, *, seconds: float = 10.0, mock_clock: bool = False) -> Any:
    """Make a test out of an async function. With ``mock_clock``, time jumps to the next deadline when all wait."""
    if test is None:
        return functools.partial(trio_run, seconds=seconds, mock_clock=mock_clock)
    assert test is not None

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def limited() -> None:
            sockets: list[trio.SocketStream] = []
            OPENED.set(sockets)
            try:
                with trio.fail_after(seconds):
                    await test(*args, **kwargs)
            finally:
                for stream in sockets:
                    stream.socket.close()

        clock = trio.testing.MockClock(autojump_threshold=0) if mock_clock else None
        trio.run(limited, clock=clock, strict_exception_groups=True)

    return run


def tls_pair(
    client_config: ClientConfig,
    server_config: ServerConfig,
    transports: tuple[trio.abc.Stream, trio.abc.Stream] | None = None,
    **options: Any,
) -> Pair:
    """A client and a server, without handshake; over memory if no transports are given."""
    near, far = trio.testing.memory_stream_pair() if transports is None else transports
    client = TLSStream(near, client_config, "localhost", **options)
    return client, TLSStream(far, server_config, server_side=True, **options)


async def shake_hands(*streams: TLSStream[Any]) -> None:
    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(stream.do_handshake)


async def connected(*args: Any, **options: Any) -> Pair:
    """As :func:`tls_pair`, after the handshake."""
    pair = tls_pair(*args, **options)
    await shake_hands(*pair)
    return pair


def socket_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Two ends of a connection in the kernel; the test closes them when it ends, as those of :func:`tcp_pair`."""
    near, far = map(trio.SocketStream, trio.socket.socketpair())
    OPENED.get().extend((near, far))
    return near, far


async def tcp_pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.testing.open_stream_to_socket_listener(listener)
        far = await listener.accept()
    OPENED.get().extend((near, far))
    return near, far


async def receive_exactly(stream: trio.abc.ReceiveStream, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = await stream.receive_some(count - len(data))
        assert piece, f"the stream ended after {len(data)} of {count} bytes"
        data += piece
    return bytes(data)


async def receive_all(stream: trio.abc.ReceiveStream) -> bytes:
    data = bytearray()
    async for piece in stream:
        data += piece
    return bytes(data)


async def send_and_end(stream: TLSStream[Any], data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


@contextmanager
def broken_by(cause: type[BaseException]) -> Iterator[list[BaseException]]:
    """Expect a BrokenResourceError; its ``__cause__`` is then in the list."""
    causes: list[BaseException] = []
    try:
        yield causes
    except trio.BrokenResourceError as problem:
        assert isinstance(problem.__cause__, cause), f"expected {cause}, the cause is {problem.__cause__!r}"
        causes.append(problem.__cause__)
    else:
        raise AssertionError("expected BrokenResourceError")


async def expect_broken(
    stream: TLSStream[Any], cause: type[TLSError], found: list[BaseException] | None = None
) -> None:
    """Expect do_handshake() to fail for that cause, which is added to ``found``."""
    with broken_by(cause) as causes:
        await stream.do_handshake()
    if found is not None:
        found += causes


async def cancelled_when_blocked(stream: TLSStream[Any], data: bytes) -> None:
    """Begin to send; when all tasks have come to a stop, cancel."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_all, data)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks, "the send went through, so nothing was cancelled"
        nursery.cancel_scope.cancel()


async def fill(stream: TLSStream[Any]) -> None:
    """Send until no more goes in."""
    await cancelled_when_blocked(stream, bytes(4 << 20))


class Through(trio.abc.HalfCloseableStream):
    """A transport that passes everything on to another, and counts; subclasses misbehave."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.sends: list[bytes] = []
        self.receives = 0
        self.closes = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self.sends.append(bytes(data))
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        self.receives += 1
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        self.closes += 1
        await self.stream.aclose()


class Crumbs(Through):
    """Gives one byte at a time."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await super().receive_some(1)


class Gated(Through):
    """Holds back what is sent until the gate is opened; a cancelled send has sent nothing."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        super().__init__(stream)
        self.gate = trio.Event()
        self.gate.set()

    def shut(self) -> None:
        self.gate = trio.Event()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.gate.wait()
        await super().send_all(data)


class Steps(trio.abc.Instrument):
    """Counts what the scheduler does."""

    def __init__(self) -> None:
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1

    async def of(self, *functions: Callable[[], Awaitable[object]]) -> int:
        """Steps that running these functions in tasks of their own takes."""
        self.steps = 0
        trio.lowlevel.add_instrument(self)
        try:
            async with trio.open_nursery() as nursery:
                for function in functions:
                    nursery.start_soon(function)
        finally:
            trio.lowlevel.remove_instrument(self)
        return self.steps
