"""The tlsprovider command as a terminal sees it, and the files and peers that it needs."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from click.testing import CliRunner, Result
from pages import command
from programs import Program

from tlsprovider.cli import main
from tlsprovider.crypto.authority import Authority

SECONDS = 20


def write_files(folder: Path, authority: Authority) -> None:
    """ca.pem; server.pem, client.pem (chain and key in one); chain.pem and key.pem apart."""
    server, client = authority.issue("localhost", "127.0.0.1", "::1"), authority.issue("alice@example.com", client=True)
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "server.pem").write_bytes(server.chain_pem + server.key_pem)
    (folder / "chain.pem").write_bytes(server.chain_pem)
    (folder / "key.pem").write_bytes(server.key_pem)
    (folder / "client.pem").write_bytes(client.chain_pem + client.key_pem)


def invoke(*arguments: str) -> Result:
    """The command in this process: for what needs no network."""
    return CliRunner().invoke(main, arguments)


@attrs.frozen
class Done:
    code: int
    output: bytes
    errors: str


def run(*arguments: str, say: bytes = b"") -> Done:
    """The command in a process of its own, with ``say`` as its whole standard input."""
    done = subprocess.run(command(*arguments), input=say, capture_output=True, timeout=SECONDS)
    return Done(done.returncode, done.stdout, done.stderr.decode())


@contextmanager
def serving(*arguments: str, listen: str = "localhost:0") -> Iterator[tuple[Program, str]]:
    """``tlsprovider serve`` with these options; the process and its address."""
    with Program(*command("serve", "--listen", listen, *arguments)) as program:
        yield program, program.wait_for(rb"listening on (\S+)\n")[1].decode()


def fails(result: Result | Done, code: int = 1) -> str:
    """The one sentence on standard error."""
    errors = result.stderr if isinstance(result, Result) else result.errors
    assert (result.exit_code if isinstance(result, Result) else result.code) == code, errors
    assert errors.startswith("tlsprovider: ")
    assert errors.count("\n") == 1
    assert "Traceback" not in errors
    return errors.removeprefix("tlsprovider: ").rstrip("\n")


@contextmanager
def stranger(talk: Callable[[socket.socket], object]) -> Iterator[int]:
    """A server for one connection that does whatever ``talk(connection)`` does, reads to the end, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(SECONDS)
                talk(connection)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join()
