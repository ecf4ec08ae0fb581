"""The smallest driver there is: an engine over a blocking socket, one call at a time."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tlsprovider.errors import WantRead
from tlsprovider.interfaces import IEngine

SECONDS = 10.0


class Blocking:
    """Drives ``engine`` over ``sock``, which is its own from now on. Every wait is bounded: TimeoutError after that."""

    def __init__(self, engine: IEngine, sock: socket.socket) -> None:
        sock.settimeout(SECONDS)
        self.engine = engine
        self.sock = sock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sock.close()

    def do_handshake(self) -> None:
        while True:
            try:
                self.engine.do_handshake()
                return
            except WantRead:
                self._flush()
                self._feed()
            finally:
                # Of a failure, the alert.
                self._flush()

    def send(self, data: bytes) -> None:
        self.engine.write(data)
        self._flush()

    def receive(self) -> bytes:
        """Some plaintext; empty at its end."""
        while True:
            try:
                return self.engine.read()
            except WantRead:
                self._feed()
            finally:
                # An answer to a KeyUpdate, or an alert.
                self._flush()

    def receive_until(self, ending: bytes) -> bytes:
        """Plaintext until it contains ``ending``, or to its end."""
        found = b""
        while ending not in found and (piece := self.receive()):
            found += piece
        return found

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Take in what arrives, plaintext is kept for later, until the condition holds."""
        while not condition():
            self._feed()
            self._flush()

    def shutdown(self) -> None:
        """Say that nothing more will be sent."""
        self.engine.shutdown()
        self._flush()

    def _feed(self) -> None:
        data = self.sock.recv(1 << 16)
        if data:
            self.engine.process_incoming(data)
        else:
            self.engine.process_eof()

    def _flush(self) -> None:
        if data := self.engine.process_outgoing():
            self.sock.sendall(data)
