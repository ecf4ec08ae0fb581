"""A certificate is renewed while clients come and go, and none of them notices more than a new certificate.

A trio server serves a directory. ``tlsprovider connect`` visits it in a loop. Meanwhile the certificate is replaced: in
place and half at a time, as careless scripts do, then by moving finished files, as careful ones do.
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from tlsprovider import IdentityDirectory, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.trio import TLSStream, serve_tls


async def echo(stream: TLSStream[trio.SocketStream]) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def visit_again_and_again(address: str, ca: Path, results: list[bool]) -> None:
    """Connections by the command line, one after the other; whether each was as it should be."""
    command = [sys.executable, "-m", "tlsprovider.cli", "connect", address, "--ca", str(ca)]
    while True:
        done = await trio.run_process(command, stdin=b"hello", capture_stdout=True, capture_stderr=True, check=False)
        results.append(done.returncode == 0 and done.stdout == b"hello")
        if not results[-1]:
            print("a connection failed:", done.stderr.decode())


async def more(results: list[bool], count: int) -> None:
    """Wait for some more connections."""
    before = len(results)
    while len(results) < before + count:
        await trio.sleep(0.05)


async def renew_in_place(folder: Path, issued: Issued, results: list[bool]) -> None:
    """First a file that ends in the middle, then a certificate that doesn't fit its key, while clients come and go."""
    half = len(issued.chain_pem) // 2
    (folder / "localhost.crt").write_bytes(issued.chain_pem[:half])
    await more(results, 3)
    (folder / "localhost.crt").write_bytes(issued.chain_pem)
    await more(results, 3)
    (folder / "localhost.key").write_bytes(issued.key_pem)


async def renew_by_moving(folder: Path, issued: Issued, results: list[bool]) -> None:
    for name, content in (("localhost.crt", issued.chain_pem), ("localhost.key", issued.key_pem)):
        new = folder / f".{name}.new"
        new.write_bytes(content)
        new.rename(folder / name)


async def main() -> None:
    show_log()
    authority = Authority()
    results: list[bool] = []
    with TemporaryDirectory() as place:
        folder, ca = Path(place, "certificates"), Path(place, "ca.pem")
        folder.mkdir()
        ca.write_bytes(authority.certificate_pem)
        await renew_by_moving(folder, authority.issue("localhost", "127.0.0.1"), results)
        directory = IdentityDirectory(folder, interval=0.1)
        async with trio.open_nursery() as nursery:
            serve = partial(serve_tls, echo, 0, ServerConfig(identities=directory), host="127.0.0.1")
            [listener] = await nursery.start(serve)
            port = listener.transport_listener.socket.getsockname()[1]
            nursery.start_soon(visit_again_and_again, f"127.0.0.1:{port}", ca, results)
            for renew in (renew_in_place, renew_by_moving):
                issued = authority.issue("localhost", "127.0.0.1")
                await renew(folder, issued, results)
                while directory[0].certificates[0] != issued.certificate:
                    await more(results, 1)
            await more(results, 1)
            nursery.cancel_scope.cancel()
        print(f"{len(results)} connections, 3 certificates, {results.count(False)} failures")


def show_log() -> None:
    log = logging.getLogger("tlsprovider.identity_directory")
    log.setLevel(logging.INFO)
    log.addHandler(logging.StreamHandler(sys.stdout))


if __name__ == "__main__":
    trio.run(main)
