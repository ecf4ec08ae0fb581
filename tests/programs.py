"""Other people's TLS programs as peers: start them, talk to them, and see them end."""

from __future__ import annotations

import os
import re
import selectors
import socket
import subprocess
import time
from types import TracebackType
from typing import Self

SECONDS = 10.0


class Program:
    """A running program; its standard output and error come together. At the end of ``with`` it is no more."""

    def __init__(self, *command: str) -> None:
        self.output = b""
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0
        )
        assert self._process.stdout is not None
        assert self._process.stdin is not None
        self._stdout, self._stdin = self._process.stdout, self._process.stdin

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(SECONDS)
        self._stdout.close()
        self._stdin.close()
        if error is not None:
            error.add_note(f"{' '.join(self._process.args)} said:\n{self.output.decode(errors='replace')}")  # type: ignore[arg-type]

    def say(self, text: bytes) -> None:
        """Type this into it."""
        self._stdin.write(text)

    def end_input(self) -> None:
        self._stdin.close()

    def wait_for(self, pattern: bytes) -> re.Match[bytes]:
        """Read what it says until the pattern is in it; all of it stays in ``output``."""
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.output, re.DOTALL)) is None:
            assert self._read(deadline), f"it ended without saying {pattern!r}"
        return found

    def wait(self) -> int:
        """Read to its end; the exit code."""
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return self._process.wait(SECONDS)

    def _read(self, deadline: float) -> bool:
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            assert selector.select(max(0.0, deadline - time.monotonic())), f"it says nothing for {SECONDS} seconds"
        piece = os.read(self._stdout.fileno(), 1 << 16)
        self.output += piece
        return bool(piece)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, for programs that can't choose one and say which."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
