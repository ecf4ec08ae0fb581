"""A client that believes a server's key when it first sees it, as ssh does: pinning_client.py KNOWN_KEYS.JSON PORT

No authority is asked: ``insecure_skip_verify`` leaves the built-in verification out, and ``verify_peer`` decides alone.
Without that word the hook would be asked after the verification, and could only be stricter.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import trio
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tlsprovider import CertificateFault, ClientConfig, VerifyPeer
from tlsprovider.trio import open_tls_stream


class KnownKeys:
    """A file that says which key each name has."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def verify(self, question: VerifyPeer) -> bool | CertificateFault:
        key = question.peer_certificates[0].public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        digest = hashlib.sha256(key).hexdigest()
        name = question.server_name or ""
        known = await trio.to_thread.run_sync(self._read)
        if name not in known:
            print(f"{name} is new: its key {digest[:16]}... is believed from now on")
            await trio.to_thread.run_sync(self._path.write_text, json.dumps({**known, name: digest}))
            return True
        if known[name] != digest:
            return CertificateFault(f"the key of {name} has changed: somebody may be in between")
        return True

    def _read(self) -> dict[str, str]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}


async def main(path: str, port: str) -> None:
    config = ClientConfig(insecure_skip_verify=True, verify_peer=KnownKeys(Path(path)).verify)
    async with await open_tls_stream("localhost", int(port), config) as stream:
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as problem:
            print("refused:", problem)
            return
        print("connected to", stream.server_name)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
