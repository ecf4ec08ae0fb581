"""Scrapy, which is too heavy for the test suite: ``nox -s consumers`` installs it, and runs this.

The names of files here don't begin with ``test_``, so the suite doesn't find them: they are run there or not at all,
and never skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pages import ROOT, environment, write_certificates
from programs import Program

SPIDER = ROOT / "examples" / "scrapy" / "pages.py"
HTTP2 = {"https": "scrapy.core.downloader.handlers.http2.H2DownloadHandler"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("consumers")
    write_certificates(path)
    (path / "public").mkdir()
    (path / "public" / "index.html").write_text('<html><a href="other.html">another</a></html>')
    (path / "public" / "other.html").write_text("<html>nothing here</html>")
    return path


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    words = f"tlsp:0:interface=127.0.0.1:privateKey={folder / 'server.pem'}"
    command = (sys.executable, "-m", "twisted", "web", "--listen", words, "--path", str(folder / "public"))
    with Program(*command) as program:
        yield f"https://localhost:{int(program.wait_for(rb'starting on ([0-9]+)')[1])}/"


def crawl(folder: Path, url: str, *options: str) -> tuple[list[dict[str, Any]], str]:
    """What the example finds, and what Scrapy says of it."""
    command = (
        sys.executable,
        "-m",
        "scrapy",
        "runspider",
        str(SPIDER),
        "-a",
        f"url={url}",
        "-O",
        "pages.json",
        *options,
    )
    surroundings = environment()
    # Scrapy has some of its own to give.
    del surroundings["PYTHONWARNINGS"]
    done = subprocess.run(command, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=30, check=True)
    return json.loads((folder / "pages.json").read_text()), done.stderr


@pytest.mark.parametrize(
    ("options", "protocol"), [((), "HTTP/1.1"), ((f"DOWNLOAD_HANDLERS={json.dumps(HTTP2)}",), "h2")]
)
def test_scrapy(folder: Path, url: str, options: tuple[str, ...], protocol: str) -> None:
    settings = [word for option in ("TRUST_ROOTS=ca.pem", *options) for word in ("-s", option)]
    found, said = crawl(folder, url, *settings)
    assert [page["url"] for page in found] == [url, f"{url}other.html"], said
    assert {page["protocol"] for page in found} == {protocol}


def test_scrapy_says_what_is_wrong(folder: Path, url: str) -> None:
    found, said = crawl(folder, url, "-s", "RETRY_ENABLED=0")
    assert found == []
    assert "the certificate of 'localhost' was issued by 'documentation', which is not in the trust store" in said
