"""A runner for our BoGo shim that needs no Go: it listens, and speaks the standard library's ssl with whoever dials.

As a program it does what ``bogo.run`` expects of a runner: three tests over the shim of ``-shim-path``, told line by
line.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import attrs

SECONDS = 10.0
SHIM_ID = 0x0123456789ABCDEF

Peer = Callable[[socket.socket], None]


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def client_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def speak(context: ssl.SSLContext, then: Peer | None = None) -> Peer:
    """A peer that does a handshake, then has a message of 1000 bytes turned over, or does something else."""

    def peer(sock: socket.socket) -> None:
        server_side = context.protocol == ssl.PROTOCOL_TLS_SERVER
        with context.wrap_socket(sock, server_side=server_side, suppress_ragged_eofs=False) as tls:
            (then or exchange)(tls)

    return peer


def exchange(tls: socket.socket) -> None:
    message = bytes(range(250)) * 4
    tls.sendall(message)
    answer = b""
    while len(answer) < len(message):
        part = tls.recv(4096)
        assert part, "the shim closed the connection"
        answer += part
    assert answer == bytes(255 - value for value in message)


class StubRunner:
    """Listens for one shim and plays ``peer`` with it, in a thread."""

    def __init__(self, peer: Peer) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(SECONDS)
        self._peer = peer
        self._thread = threading.Thread(target=self._play)
        self.failure: Exception | None = None

    @property
    def flags(self) -> list[str]:
        return ["-port", str(self._listener.getsockname()[1]), "-shim-id", str(SHIM_ID)]

    def _play(self) -> None:
        try:
            sock, _ = self._listener.accept()
            with sock:
                sock.settimeout(SECONDS)
                identity = sock.recv(8, socket.MSG_WAITALL)
                assert identity == SHIM_ID.to_bytes(8, "little")
                self._peer(sock)
        except Exception as failure:
            self.failure = failure

    def __enter__(self) -> StubRunner:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        self._listener.close()


@attrs.frozen
class Options:
    """The runner's flags, ``-name=value`` or ``-name``."""

    given: dict[str, str]

    @classmethod
    def parse(cls, arguments: list[str]) -> Options:
        pairs = [argument.partition("=") for argument in arguments]
        return cls({name: value for name, _, value in pairs})


def main() -> None:
    options = Options.parse(sys.argv[1:]).given
    shim = options["-shim-path"]
    asked = subprocess.run([shim, "-is-handshaker-supported"], capture_output=True, timeout=SECONDS, check=True)
    assert asked.stdout == b"No\n"
    if "-include-disabled" in options:
        print("UNIMPLEMENTED (Handshake-DTLS)")
        return
    extra = options["-shim-extra-flags"].split(";")
    for name, flags in (("Handshake", []), ("Handshake-Broken", ["-expect-hrr"]), ("Future", ["-from-2040"])):
        with StubRunner(speak(client_context())) as runner:
            certificate = ["-cert-file", "server.pem", "-key-file", "server.pem"]
            command = [shim, *runner.flags, *extra, "-server", *certificate, *flags]
            done = subprocess.run(command, capture_output=True, timeout=SECONDS, check=False)
            if done.returncode == 89:
                socket.create_connection(("127.0.0.1", int(runner.flags[1]))).close()
        result = {0: "PASSED", 89: "UNIMPLEMENTED"}.get(done.returncode, "FAILED")
        print(f"{result} ({name})\n{done.stderr.decode()}")


if __name__ == "__main__":
    main()
