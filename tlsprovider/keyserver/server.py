"""The process that holds the keys. Who can connect to its socket can have handshakes signed, so its mode is 0600."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto import signatures
from tlsprovider.errors import ConfigError
from tlsprovider.keyserver.messages import (
    LENGTH,
    MAX_REQUEST,
    KeyServerError,
    Request,
    encode_refusal,
    encode_signature,
)
from tlsprovider.trust import read_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

__all__ = ["Keys", "listen", "serve"]

log = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 5.0
"""From the connection to the end of the response: a slow peer holds up nobody, and not for long."""
MAX_CONNECTIONS: Final = 256
"""At once; whoever comes then is turned away."""


class Keys:
    """Private keys by their public halves. Their only use is :meth:`sign`."""

    def __init__(self, keys: Iterable[CertificateIssuerPrivateKeyTypes]) -> None:
        self._keys = {certs.key_id(key): key for key in keys}
        if not self._keys:
            raise ConfigError("keys: there is none, so nothing could be signed")

    def __len__(self) -> int:
        return len(self._keys)

    @classmethod
    def from_files(cls, paths: Iterable[str | os.PathLike[str]], password: bytes | None = None) -> Keys:
        """The first private key of each PEM file. Raises ConfigError, naming the file."""
        return cls(certs.load_private_key(read_file(path), password, os.fspath(path)) for path in paths)

    def sign(self, request: Request) -> bytes:
        """Raises KeyServerError when there is no such key, or it can't do that."""
        key = self._keys.get(request.key)
        if key is None:
            raise KeyServerError(f"there is no key {request.key.hex()} here")
        try:
            return signatures.sign(key, request.scheme, request.content)
        except ValueError as problem:
            raise KeyServerError(str(problem)) from None


def listen(path: str | os.PathLike[str]) -> socket.socket:
    """A listening Unix socket that only its owner can connect to. Raises ConfigError when another server has it."""
    place = os.fspath(path)
    _remove_left_over(place)
    listener = socket.socket(socket.AF_UNIX)
    # With chmod alone there would be a moment in which anybody could connect.
    before = os.umask(0o177)
    try:
        listener.bind(place)
    except OSError as problem:
        listener.close()
        raise ConfigError(f"{place}: can't listen there: {problem.strerror or problem}") from None
    finally:
        os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def _remove_left_over(place: str) -> None:
    """A socket that nobody listens at, as a killed server leaves it."""
    try:
        if not stat.S_ISSOCK(os.lstat(place).st_mode):
            raise ConfigError(f"{place}: a file is there already, and it is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(place)
        except ConnectionRefusedError:
            os.unlink(place)
            return
        except OSError as problem:
            raise ConfigError(f"{place}: can't listen there: {problem.strerror}") from None
    raise ConfigError(f"{place}: another server listens there")


async def serve(keys: Keys, listener: socket.socket, running: Callable[[], object] = lambda: None) -> None:
    """Sign until SIGINT or SIGTERM, then remove the socket's file. ``running`` is called when signals are heeded."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    async with Connections(keys, listener):
        running()
        await over.wait()


class Connections:
    """Accepts and answers while the ``async with`` lasts."""

    def __init__(self, keys: Keys, listener: socket.socket) -> None:
        self._keys = keys
        self._listener = listener
        self._path: str = listener.getsockname()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Connections:
        self._server = await asyncio.start_unix_server(self._accept, sock=self._listener, limit=1024)
        return self

    async def __aexit__(self, *exception: object) -> None:
        assert self._server is not None
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._tasks) >= MAX_CONNECTIONS:
            log.warning("more than %d connections at once: one was turned away", MAX_CONNECTIONS)
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one response."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                writer.write(await self._respond(reader))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (asyncio.IncompleteReadError, OSError):
            # TimeoutError is one. Who leaves, or dawdles, is owed nothing.
            log.info("a peer left, or took longer than %g seconds", REQUEST_SECONDS)
        finally:
            writer.transport.abort()

    async def _respond(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        try:
            if length > MAX_REQUEST:
                raise KeyServerError(f"a request of {length} bytes is none")
            request = Request.decode(await reader.readexactly(length))
            return encode_signature(self._keys.sign(request))
        except KeyServerError as refusal:
            log.warning("refused: %s", refusal)
            return encode_refusal(str(refusal))
