"""Write ca.pem (what clients trust) and server.pem (chain and key for localhost) into a folder; by default this one.

For trying things only: whoever can read server.pem can be the server.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tlsprovider.crypto.authority import Authority


def main(folder: str = ".") -> None:
    authority = Authority("throw-away authority")
    issued = authority.issue("localhost", "127.0.0.1", "::1")
    Path(folder, "ca.pem").write_bytes(authority.certificate_pem)
    server = Path(folder, "server.pem")
    server.touch(0o600)
    server.write_bytes(issued.chain_pem + issued.key_pem)


if __name__ == "__main__":
    main(*sys.argv[1:])
