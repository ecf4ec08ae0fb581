"""Scrapy, autobahn and daphne, which are too heavy for the suite: ``nox -s consumers`` installs them, and runs this.

The names of files here don't begin with ``test_``, so the suite doesn't find them: they are run there or not at all,
and never skipped.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pages import ROOT, environment, write_certificates
from programs import Program, free_port
from twisted_child import in_child

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


async def echo_by_websocket(reactor: Any, kind: str, pem: str, ca: str, messages: list[str]) -> list[Any]:
    """Autobahn on both sides; ``kind`` says whether the server is a factory of its own or within a website."""
    from autobahn.twisted.resource import WebSocketResource
    from autobahn.twisted.websocket import (
        WebSocketClientFactory,
        WebSocketClientProtocol,
        WebSocketServerFactory,
        WebSocketServerProtocol,
    )
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import clientFromString, serverFromString
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Server(WebSocketServerProtocol):  # type: ignore[misc]
        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            self.sendMessage(payload, isBinary)

    class Client(WebSocketClientProtocol):  # type: ignore[misc]
        def onOpen(self) -> None:
            for message in messages:
                self.sendMessage(message.encode())

        def onMessage(self, payload: bytes, isBinary: bool) -> None:
            received.append(payload.decode())
            if len(received) == len(messages):
                self.sendClose()

        def onClose(self, wasClean: bool, code: int, reason: str) -> None:
            ended.callback(wasClean)

    received: list[str] = []
    ended: Deferred[bool] = Deferred()
    listening = WebSocketServerFactory()
    listening.protocol = Server
    if kind == "website":
        root = Resource()
        root.putChild(b"echo", WebSocketResource(listening))
        listening = Site(root)
    port = await serverFromString(reactor, f"tlsp:0:interface=127.0.0.1:privateKey={pem}").listen(listening)
    number = port.getHost().port
    asking = WebSocketClientFactory(f"wss://localhost:{number}/echo")
    asking.protocol = Client
    await clientFromString(reactor, f"tlsp:127.0.0.1:{number}:hostname=localhost:trustRoots={ca}").connect(asking)
    told = [await ended, received]
    await port.stopListening()
    return told


@pytest.mark.parametrize("kind", ["factory", "website"])
def test_autobahn(folder: Path, kind: str) -> None:
    messages = ["hello", "x" * 100_000]
    told = in_child(echo_by_websocket, kind, str(folder / "server.pem"), str(folder / "ca.pem"), messages)
    assert told == [True, messages]


APPLICATION = """
async def application(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": (scope["scheme"] + " " + scope["http_version"]).encode()})
"""


def test_daphne(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's server: HTTP/1.1 and HTTP/2 for an ASGI application."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{folder}")
    (folder / "greeting.py").write_text(APPLICATION)
    port = free_port()
    words = f"tlsp:{port}:interface=127.0.0.1:privateKey={folder / 'server.pem'}"
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    with Program(sys.executable, "-m", "daphne", "-e", words, "greeting:application") as program:
        program.wait_for(b"Listening on TCP address")
        for http2, version in ((False, "1.1"), (True, "2")):
            with httpx.Client(http2=http2, verify=context, trust_env=False) as client:
                assert client.get(f"https://localhost:{port}/").text == f"https {version}"
