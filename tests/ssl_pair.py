"""Two ``ssl.SSLObject`` in memory, of whichever context: what the tests of ``tlsprovider.sslcontext`` share."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import pytest

from tlsprovider.crypto.authority import Authority
from tlsprovider.sslcontext import SSLContext

__all__ = ["Files", "Pair", "context", "make_files", "pair_of"]


@attrs.frozen
class Files:
    ca: Path
    chain: Path
    key: Path


def make_files(folder: Path, authority: Authority, *names: str) -> Files:
    issued = authority.issue(*names)
    found = Files(folder / "ca.pem", folder / "chain.pem", folder / "key.pem")
    found.ca.write_bytes(authority.certificate_pem)
    found.chain.write_bytes(issued.chain_pem)
    found.key.write_bytes(issued.key_pem)
    return found


@attrs.define
class Pair:
    """A client and a server whose memory is each other's."""

    client: ssl.SSLObject
    server: ssl.SSLObject
    up: ssl.MemoryBIO
    down: ssl.MemoryBIO

    def shake_hands(self) -> None:
        """Raises what the first of the two raises."""
        done: set[str] = set()
        while len(done) < 2:
            before = self.up.pending, self.down.pending, len(done)
            for name in ("client", "server"):
                try:
                    getattr(self, name).do_handshake()
                except ssl.SSLWantReadError:
                    continue
                done.add(name)
            assert before != (self.up.pending, self.down.pending, len(done)), "both wait"


def pair_of(client: ssl.SSLContext, server: ssl.SSLContext, name: str | None = "localhost") -> Pair:
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    return Pair(
        client.wrap_bio(down, up, server_hostname=name),
        server.wrap_bio(up, down, server_side=True),
        up,
        down,
    )


def context(whose: str, files: Files, server: bool = False) -> ssl.SSLContext:
    """``ours`` or ``ssl``: one that trusts, or one that shows, what is in the files."""
    side = ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT
    made = SSLContext(side) if whose == "ours" else ssl.SSLContext(side)
    made.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    if server:
        made.load_cert_chain(files.chain, files.key)
    else:
        made.load_verify_locations(files.ca)
    return made


def wants_read(call: object, *arguments: object) -> None:
    assert callable(call)
    with pytest.raises(ssl.SSLWantReadError):
        call(*arguments)
