"""The code in the README and in docs/: found, and run as a reader would run it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import attrs
from programs import Program, free_port

from tlsprovider.crypto.authority import Authority

ROOT = Path(__file__).parent.parent
SECONDS = 50

FENCE = re.compile(
    r"(?:<!-- run: (?P<name>.+?) -->\n)?```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL
)


@attrs.frozen
class Block:
    """A block of Python, and what the page says that it prints; ``name`` is None if it isn't marked as runnable."""

    page: str
    name: str | None
    code: str
    output: str | None

    def __str__(self) -> str:
        return f"{self.page}: {self.name}"


def blocks(path: Path) -> list[Block]:
    text = path.read_text(encoding="utf-8")
    return [Block(path.name, match["name"], match["code"], match["output"]) for match in FENCE.finditer(text)]


def environment() -> dict[str, str]:
    """This checkout first, wherever the program runs."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "COLUMNS": "120"}


def run_python(*arguments: str, folder: Path) -> str:
    """Run Python on something that ends by itself; what it printed."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment(), capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


def write_certificates(folder: Path) -> None:
    """The two files that the pages speak of."""
    authority = Authority("documentation")
    issued = authority.issue("localhost", "127.0.0.1", "::1")
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    (folder / "server.pem").write_bytes(issued.chain_pem + issued.key_pem)


def command(*arguments: str) -> list[str]:
    """The tlsprovider command with these arguments, of this checkout."""
    return [sys.executable, "-m", "tlsprovider.cli", *arguments]


def echo_server(folder: Path) -> Iterator[int]:
    """A server that sends back what it gets, with the certificate of :func:`write_certificates`; its port."""
    arguments = ("serve", "--listen", "localhost:0", "--cert", str(folder / "server.pem"))
    with Program(*command(*arguments)) as program:
        yield int(program.wait_for(rb"listening on localhost:(\d+)\n")[1])


def run_block(block: Block, folder: Path, echo_port: int) -> str:
    """Run a block where the certificates are; what it printed. Its port 8443 becomes one that is right for it."""
    port = echo_port if "create_connection" in block.code else free_port()
    return run_python("-c", block.code.replace("8443", str(port)), folder=folder)
