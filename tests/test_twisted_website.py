"""``twist web --listen tlsp:...``, as anybody would start it, and clients of others: httpx, curl, OpenSSL, GnuTLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
from pages import environment
from programs import SECONDS, Program

from tlsprovider.crypto.authority import Authority, Issued

PAGE = bytes(range(256)) * 1200
REQUEST = b"GET /page HTTP/1.0\r\nHost: localhost\r\n\r\n"


@attrs.frozen
class Website:
    port: int
    ca: Path
    certificates: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/page"


def write_certificate(folder: Path, name: str, issued: Issued) -> None:
    (folder / f"{name}.pem").write_bytes(issued.key_pem + issued.chain_pem)


@pytest.fixture(scope="module")
def website(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Website]:
    """Certificates for two names in a directory; HTTP/2 is there because ``twisted[http2]`` is installed."""
    folder = tmp_path_factory.mktemp("website")
    certificates, public = folder / "certificates", folder / "public"
    certificates.mkdir()
    public.mkdir()
    (folder / "ca.pem").write_bytes(authority.certificate_pem)
    write_certificate(certificates, "default", authority.issue("localhost", "127.0.0.1"))
    write_certificate(certificates, "other.example", authority.issue("other.example"))
    (public / "page").write_bytes(PAGE)
    words = f"tlsp:0:interface=127.0.0.1:privateKey={certificates}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment().items():
            patch.setenv(name, value)
        patch.delenv("PYTHONWARNINGS")
        with Program(sys.executable, "-m", "twisted", "web", "--listen", words, "--path", str(public)) as program:
            port = int(program.wait_for(rb"Site \(TLS\) starting on (\d+)")[1])
            yield Website(port, folder / "ca.pem", certificates)
        assert b"Traceback" not in program.output and b"Unhandled" not in program.output


@pytest.mark.parametrize(("http2", "version"), [(True, "HTTP/2"), (False, "HTTP/1.1")])
def test_httpx(website: Website, http2: bool, version: str) -> None:
    context = ssl.create_default_context(cafile=str(website.ca))
    with httpx.Client(http2=http2, verify=context, trust_env=False) as client:
        for _ in range(3):
            response = client.get(website.url)
            assert (response.status_code, response.http_version) == (200, version)
            assert response.content == PAGE


def run(*command: str, typed: bytes = b"") -> bytes:
    done = subprocess.run(command, input=typed, capture_output=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed (Debian: curl)")
@pytest.mark.parametrize(("option", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_curl(website: Website, option: str, version: str) -> None:
    said = run("curl", "-sS", "--cacert", str(website.ca), option, "-w", "%{http_version}", website.url)
    assert said == PAGE + version.encode()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed (Debian: openssl)")
def test_openssl(website: Website) -> None:
    where = f"localhost:{website.port}"
    options = ("-CAfile", str(website.ca), "-verify_return_error", "-verify_hostname", "localhost", "-quiet")
    said = run("openssl", "s_client", "-connect", where, *options, typed=REQUEST)
    head, _, body = said.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK") and body == PAGE


@pytest.mark.skipif(shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed (Debian: gnutls-bin)")
def test_gnutls(website: Website) -> None:
    where = ("--x509cafile", str(website.ca), "-p", str(website.port), "localhost")
    with Program("gnutls-cli", *where) as program:
        program.wait_for(b"Handshake was completed")
        program.say(REQUEST)
        assert program.wait() == 0
    assert b"HTTP/1.0 200 OK" in program.output and PAGE in program.output


def shown(website: Website, name: str) -> dict[str, Any]:
    """The certificate that a client gets who asks for that name."""
    context = ssl.create_default_context(cafile=str(website.ca))
    with (
        socket.create_connection(("127.0.0.1", website.port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as secured,
    ):
        certificate = secured.getpeercert()
        assert certificate is not None
        return certificate


def test_a_certificate_for_each_name(website: Website) -> None:
    assert shown(website, "localhost")["subjectAltName"] == (("DNS", "localhost"), ("IP Address", "127.0.0.1"))
    assert shown(website, "other.example")["subjectAltName"] == (("DNS", "other.example"),)


def test_a_renewed_certificate_is_served_without_a_restart(website: Website, authority: Authority) -> None:
    before = shown(website, "other.example")["serialNumber"]
    write_certificate(website.certificates, "other.example", authority.issue("other.example"))
    until = time.monotonic() + SECONDS
    while shown(website, "other.example")["serialNumber"] == before:
        assert time.monotonic() < until, "the new certificate is not served"
