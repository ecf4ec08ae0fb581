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
from tlsprovider.crypto.authority import Authority
from tlsprovider.trio import TLSStream, serve_tls

CERTIFICATES = 3


async def echo(stream: TLSStream[trio.SocketStream]) -> None:
    async with stream:
        async for data in stream:
            await stream.send_all(data)


async def visit(address: str, ca: Path) -> bool:
    """One connection by the command line; whether it was as it should be."""
    command = [sys.executable, "-m", "tlsprovider.cli", "connect", address, "--ca", str(ca)]
    done = await trio.run_process(command, stdin=b"hello", capture_stdout=True, capture_stderr=True, check=False)
    good = done.returncode == 0 and done.stdout == b"hello"
    if not good:
        print("a connection failed:", done.stderr.decode())
    return good


async def renew_in_place(folder: Path, authority: Authority) -> None:
    """With a certificate that doesn't fit its key for a while, and a file that ends in the middle."""
    issued = authority.issue("localhost", "127.0.0.1")
    half = len(issued.chain_pem) // 2
    (folder / "localhost.crt").write_bytes(issued.chain_pem[:half])
    await trio.sleep(0.7)
    (folder / "localhost.crt").write_bytes(issued.chain_pem)
    await trio.sleep(0.7)
    (folder / "localhost.key").write_bytes(issued.key_pem)


async def renew_by_moving(folder: Path, authority: Authority) -> None:
    issued = authority.issue("localhost", "127.0.0.1")
    for name, content in (("localhost.crt", issued.chain_pem), ("localhost.key", issued.key_pem)):
        new = folder / f".{name}.new"
        new.write_bytes(content)
        new.rename(folder / name)


async def renew(folder: Path, authority: Authority) -> None:
    await trio.sleep(0.5)
    await renew_in_place(folder, authority)
    await trio.sleep(1)
    await renew_by_moving(folder, authority)


async def main() -> None:
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="log: %(message)s")
    authority = Authority()
    with TemporaryDirectory() as place:
        folder, ca = Path(place, "certificates"), Path(place, "ca.pem")
        folder.mkdir()
        ca.write_bytes(authority.certificate_pem)
        await renew_by_moving(folder, authority)
        directory = IdentityDirectory(folder, interval=0.2)
        async with trio.open_nursery() as nursery:
            config = ServerConfig(identities=directory)
            serve = partial(serve_tls, echo, 0, config, host="127.0.0.1")
            [listener] = await nursery.start(serve)
            nursery.start_soon(renew, folder, authority)
            port = listener.transport_listener.socket.getsockname()[1]
            served, results = set(), []
            while len(served) < CERTIFICATES:
                results.append(await visit(f"127.0.0.1:{port}", ca))
                served.add(directory[0].certificates[0].serial_number)
            results.append(await visit(f"127.0.0.1:{port}", ca))
            nursery.cancel_scope.cancel()
        print(f"{len(results)} connections, {len(served)} certificates, {results.count(False)} failures")


if __name__ == "__main__":
    trio.run(main)
