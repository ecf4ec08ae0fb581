"""The demo's servers, in a process of their own: ``python -m tlsprovider.cli.demo_servers``.

Reads the certificates as one line of JSON from standard input, answers with the ports, and ends with its input. So the
servers can't outlive the demo, however that ends.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module

from tlsprovider.cli.demo_visit import Material, Party

__all__ = ["PARTIES", "party"]

PARTIES = ("twisted", "trio", "plain", "openssl")


def party(name: str) -> Party:
    module: Party = import_module(f"tlsprovider.cli.demo_{name}")
    return module


def main() -> None:
    material = Material(**json.loads(sys.stdin.readline()))
    print(json.dumps({name: party(name).serve(material) for name in PARTIES}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
