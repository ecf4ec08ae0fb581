"""A process that has everything imported, and forks for each test.

Starting Python and importing ``cryptography`` takes longer than most tests. So the runner starts a stub instead, which
connects here over a Unix socket: the request is a length and the arguments, each ended by a zero byte; the reply is
the exit code in one byte, the length of what goes to stdout, that, and the rest for stderr.

A fork for each test keeps them apart as separate processes would: nothing that one leaves behind is there in the next.
What needs no connection (a flag that isn't implemented) is answered without one.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bogo import flags, shim
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import WantRead
from tlsprovider.identity import Identity
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import get_provider

__all__ = ["launcher", "main", "serve"]

# Longer than the runner waits for anything.
LONGEST_TEST = 60
STUB = Path(__file__).with_name("stub.py")


def launcher(folder: Path, address: Path) -> Path:
    """Write an executable that the runner can start: the stub, told where the warm process is."""
    script = folder / "shim"
    script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S -E "{STUB}" "{address}" "$@"\n')
    script.chmod(0o700)
    return script


def main() -> None:
    """``python -m bogo.warm FD REASONS PROVIDER``: serve the listening socket that was inherited as FD."""
    descriptor, reasons, provider = sys.argv[1:]
    with socket.socket(fileno=int(descriptor)) as listener:
        serve(listener, Path(reasons), provider)


def serve(listener: socket.socket, reasons: Path, provider: str) -> None:
    """Answer stubs until killed. Why tests were not implemented is appended to ``reasons``, one line for each."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _rehearse(get_provider(provider))
    gc.collect()
    gc.freeze()
    while True:
        stub, _ = listener.accept()
        with stub:
            arguments = _receive(stub)
            if arguments is None:
                continue
            try:
                flags.parse(arguments)
            except flags.Unimplemented as reason:
                _note(reasons, str(reason))
                _reply(stub, shim.UNIMPLEMENTED, "", f"unimplemented: {reason}\n")
                continue
            except ValueError as problem:
                _reply(stub, shim.MUST_FAIL, "", f"{problem}\n")
                continue
            if os.fork() == 0:
                listener.close()
                _run_test(stub, arguments, reasons)


def _rehearse(provider: ITLSProvider) -> None:
    """One connection in memory: everything that is done once, at the first, is then done for every test."""
    issued = Authority("rehearsal").issue("localhost")
    identity = Identity.from_crypto(issued.certificates, issued.private_key)
    client = provider.client_engine(ClientConfig(insecure_skip_verify=True))
    server = provider.server_engine(ServerConfig(identities=[identity]))
    while not (client.handshake_complete and server.handshake_complete):
        for one, other in ((client, server), (server, client)):
            with suppress(WantRead):
                one.do_handshake()
            other.process_incoming(one.process_outgoing())
    client.write(b"rehearsed")
    server.process_incoming(client.process_outgoing())
    server.read()


def _run_test(stub: socket.socket, arguments: Sequence[str], reasons: Path) -> None:
    """In the child: do the test and end the process."""
    signal.alarm(LONGEST_TEST)
    stdout, stderr = io.StringIO(), io.StringIO()
    code = shim.MUST_FAIL
    try:
        code = shim.run(arguments, stdout, stderr)
        if code == shim.UNIMPLEMENTED:
            _note(reasons, stderr.getvalue().strip().removeprefix("unimplemented: "))
    except BaseException:
        # A mistake of the shim's: it must neither be lost nor be taken for a failure that a test expects.
        stderr.write(traceback.format_exc())
    finally:
        _reply(stub, code, stdout.getvalue(), stderr.getvalue())
        os._exit(0)


def _receive(stub: socket.socket) -> list[str] | None:
    """The arguments of one test; None if the stub has gone."""
    data = b""
    while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
        part = stub.recv(1 << 16)
        if not part:
            return None
        data += part
    return [os.fsdecode(argument) for argument in data[4:].split(b"\0")[:-1]]


def _reply(stub: socket.socket, code: int, stdout: str, stderr: str) -> None:
    out = os.fsencode(stdout)
    try:
        stub.sendall(bytes((code,)) + len(out).to_bytes(4, "big") + out + os.fsencode(stderr))
    except BrokenPipeError:
        # The runner has given this test up and ended the stub.
        return


def _note(reasons: Path, reason: str) -> None:
    with reasons.open("a", encoding="utf-8") as file:
        file.write(reason.replace("\n", " ") + "\n")


if __name__ == "__main__":
    main()
