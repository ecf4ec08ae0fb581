"""The tlsprovider command: real processes against each other and against openssl and curl where those exist."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import command, environment
from programs import Program, free_port
from terminal import SECONDS, fails, run, serving, stranger, write_files

from tlsprovider.crypto.authority import Authority

FRAMEWORKS = ["trio", "twisted"]
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
HAVE_OPENSSL = ["openssl"] if shutil.which("openssl") else []
HAVE_CURL = ["curl"] if shutil.which("curl") else []
HAVE_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    path = tmp_path_factory.mktemp("cli")
    write_files(path, authority)
    return path


@pytest.fixture(autouse=True)
def surroundings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What processes inherit."""
    monkeypatch.chdir(folder)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


class TestNoConnection:
    def test_refused(self) -> None:
        port = free_port()
        said = fails(run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem"))
        assert said == f"127.0.0.1:{port}: connection refused: nothing listens there"

    def test_unknown_name(self) -> None:
        said = fails(run("connect", "no-such-name.invalid:443", "--ca", "ca.pem"))
        assert said.startswith("no-such-name.invalid:443: the name could not be looked up")

    def test_port_in_use(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"127.0.0.1:{other.getsockname()[1]}"
            said = fails(run("serve", "--cert", "server.pem", "--listen", taken))
        assert said == f"{taken}: the address is in use: another program listens there"

    def test_a_server_that_does_not_speak_tls(self) -> None:
        with stranger(lambda connection: connection.sendall(b"220 mail.example.com ESMTP\r\n")) as port:
            said = fails(run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem"))
        assert "the peer does not speak TLS" in said
        assert said.endswith("Is this the right port?")

    def test_a_server_that_hangs_up(self) -> None:
        with stranger(lambda connection: None) as port:
            said = fails(run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem"))
        assert said.endswith("the peer went away during the handshake")

    def test_a_server_that_knows_only_tls_1_2(self, folder: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(folder / "server.pem")

        def refuse(connection: socket.socket) -> None:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection.dup(), server_side=True)

        def greet(connection: socket.socket) -> None:
            tls = context.wrap_socket(connection.dup(), server_side=True)
            tls.sendall(b"hello")
            tls.unwrap().close()

        with stranger(refuse) as port:
            said = fails(run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem"))
        assert "protocol_version" in said
        assert "the provider 'openssl' speaks older versions" in said
        with stranger(greet) as port:
            older = ("--provider", "openssl", "--min-version", "TLSv1.2")
            done = run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem", *older)
        assert (done.code, done.output) == (0, b"hello"), done.errors
        assert "protocol              TLSv1.2" in done.errors


@pytest.mark.parametrize("framework", FRAMEWORKS)
class TestServe:
    def test_echo_and_connect(self, framework: str) -> None:
        with serving("--cert", "server.pem", "--framework", framework) as (_, where):
            # Larger than any buffer on the way; the end of input closes one direction, and all of it comes back.
            said = bytes(range(256)) * 4096
            done = run("connect", where, "--ca", "ca.pem", say=said)
        assert (done.code, done.output == said) == (0, True), done.errors

    def test_page(self, framework: str) -> None:
        with serving("--cert", "chain.pem", "--key", "key.pem", "--http", "--framework", framework) as (_, where):
            done = run("connect", where, "--ca", "ca.pem", "--alpn", "http/1.1", say=REQUEST)
        head, _, page = done.output.decode().partition("\r\n\r\n")
        assert done.code == 0, done.errors
        assert head.startswith("HTTP/1.1 200 OK\r\n")
        assert f"Content-Length: {len(page)}" in head
        for line in (
            "protocol              TLSv1.3",
            "key exchange          X25519MLKEM768",
            "server name           localhost",
        ):
            assert f"{line}\n" in page
        assert "application protocol  http/1.1\n" in page

    def test_client_certificate(self, framework: str) -> None:
        options = ("--cert", "server.pem", "--client-ca", "ca.pem", "--http", "--framework", framework)
        with serving(*options) as (program, where):
            known = run("connect", where, "--ca", "ca.pem", "--cert", "client.pem", say=REQUEST)
            unknown = run("connect", where, "--ca", "ca.pem", say=REQUEST)
            # The failure is told, and the server goes on.
            program.wait_for(rb"127\.0\.0\.1: .*certificate")
            again = run("connect", where, "--ca", "ca.pem", "--cert", "client.pem", say=REQUEST)
        assert (known.code, again.code) == (0, 0)
        assert b"verified              yes, up to CN=tlsprovider tests" in known.output
        assert "certificate_required" in unknown.errors.splitlines()[-1]
        assert unknown.errors.splitlines()[-1].endswith("use --cert and --key")
        assert unknown.code == 1

    def test_requested_certificate_may_be_missing(self, framework: str) -> None:
        options = (
            "--cert",
            "server.pem",
            "--client-ca",
            "ca.pem",
            "--client-auth",
            "request",
            "--framework",
            framework,
        )
        with serving(*options) as (_, where):
            assert run("connect", where, "--ca", "ca.pem", say=b"hello").output == b"hello"

    def test_a_directory_of_certificates(self, framework: str, tmp_path: Path, authority: Authority) -> None:
        for name in ("localhost", "other.test"):
            issued = authority.issue(name)
            (tmp_path / f"{name}.pem").write_bytes(issued.chain_pem + issued.key_pem)
        with serving("--cert", str(tmp_path), "--framework", framework) as (_, where):
            done = run("connect", where, "--ca", "ca.pem")
            other = run("connect", where, "--ca", "ca.pem", "--name", "other.test")
        assert (done.code, other.code) == (0, 0), done.errors + other.errors

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_signals_end_it_cleanly(self, framework: str, number: signal.Signals) -> None:
        with serving("--cert", "server.pem", "--framework", framework) as (program, _):
            os.kill(program._process.pid, number)
            assert program.wait() == 0
            assert program.output.count(b"\n") == 1

    def test_choices_are_honoured(self, framework: str) -> None:
        choices = ("--groups", "secp384r1", "--ciphers", "tls_chacha20_poly1305_sha256", "--alpn", "echo")
        with serving("--cert", "server.pem", "--framework", framework, *choices) as (_, where):
            done = run("connect", where, "--ca", "ca.pem", "--alpn", "other,echo")
            refused = run("connect", where, "--ca", "ca.pem", "--alpn", "other")
        assert done.code == 0
        rows = dict(line.split(None, 1) for line in done.errors.replace("application protocol", "alpn").splitlines())
        assert "secp384r1" in done.errors
        assert "TLS_CHACHA20_POLY1305_SHA256" in done.errors
        assert rows["alpn"].strip() == "echo"
        assert "no_application_protocol" in fails(refused)

    @pytest.mark.parametrize("openssl", HAVE_OPENSSL)
    def test_openssl_s_client(self, framework: str, openssl: str) -> None:
        with serving("--cert", "server.pem", "--http", "--framework", framework) as (_, where):
            arguments = (
                "s_client",
                "-connect",
                where,
                "-tls1_3",
                "-CAfile",
                "ca.pem",
                "-verify_return_error",
                "-quiet",
            )
            done = subprocess.run([openssl, *arguments], input=REQUEST, capture_output=True, timeout=SECONDS)
        assert done.stdout.startswith(b"HTTP/1.1 200 OK\r\n"), done.stderr
        assert b"protocol              TLSv1.3\n" in done.stdout

    @pytest.mark.parametrize("curl", HAVE_CURL)
    def test_curl(self, framework: str, curl: str) -> None:
        with serving("--cert", "server.pem", "--http", "--framework", framework) as (_, where):
            options = (curl, "--silent", "--show-error", "--max-time", str(SECONDS), "--noproxy", "*")
            done = subprocess.run(
                [*options, "--cacert", "ca.pem", f"https://{where}/"], capture_output=True, text=True, timeout=SECONDS
            )
            distrusting = subprocess.run([*options, f"https://{where}/"], capture_output=True, timeout=SECONDS)
        assert (done.returncode, done.stderr) == (0, "")
        assert "protocol              TLSv1.3\n" in done.stdout
        assert distrusting.returncode == 60  # "Peer certificate cannot be authenticated"


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    """The address of an echo server."""
    with Program(*command("serve", "--listen", "localhost:0", "--cert", str(folder / "server.pem"))) as program:
        yield program.wait_for(rb"listening on (\S+)\n")[1].decode()


class TestConnect:
    def test_shows_certificates_and_parameters(self, server: str) -> None:
        done = run("connect", server, "--ca", "ca.pem", say=b"hello")
        assert (done.code, done.output) == (0, b"hello")
        assert "certificate 0         CN=localhost" in done.errors
        assert "verified              yes, up to CN=tlsprovider tests" in done.errors
        assert "cipher suite          TLS_AES_128_GCM_SHA256" in done.errors
        assert "peer signed with      ecdsa_secp256r1_sha256" in done.errors

    def test_wrong_name(self, server: str) -> None:
        said = fails(run("connect", server, "--ca", "ca.pem", "--name", "example.org"))
        assert "the certificate is not for 'example.org'" in said

    def test_other_name(self, server: str) -> None:
        port = server.rpartition(":")[2]
        done = run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem", "--name", "localhost")
        assert (done.code, done.output) == (0, b"")
        assert "server name           localhost" in done.errors

    def test_unknown_authority(self, server: str, tmp_path: Path) -> None:
        (tmp_path / "other.pem").write_bytes(Authority("somebody else").certificate_pem)
        said = fails(run("connect", server, "--ca", str(tmp_path / "other.pem")))
        assert "unknown_ca" in said

    def test_insecure_says_so(self, server: str) -> None:
        done = run("connect", server, "--insecure", "--name", "example.org", say=b"hello")
        assert (done.code, done.output) == (0, b"hello")
        assert "verified              NO: anybody could have made this certificate" in done.errors

    def test_keylog(self, server: str, tmp_path: Path) -> None:
        log = tmp_path / "keys.log"
        assert run("connect", server, "--ca", "ca.pem", "--keylog", str(log)).code == 0
        labels = [line.split()[0] for line in log.read_text(encoding="ascii").splitlines()]
        assert {"CLIENT_TRAFFIC_SECRET_0", "SERVER_TRAFFIC_SECRET_0"} <= set(labels)
        assert log.stat().st_mode & 0o077 == 0

    def test_end_of_a_reader_of_our_output(self, server: str) -> None:
        said = b"x" * (1 << 22)
        with subprocess.Popen(
            command("connect", server, "--ca", "ca.pem"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdin and process.stdout and process.stderr
            threading.Thread(target=feed, args=(process.stdin, said), daemon=True).start()
            assert process.stdout.read(1) == b"x"
            process.stdout.close()
            assert process.wait(SECONDS) == 0
            assert b"Traceback" not in process.stderr.read()

    @pytest.mark.parametrize("openssl", HAVE_OPENSSL)
    def test_openssl_s_server(self, openssl: str) -> None:
        port = str(free_port())
        with Program(openssl, "s_server", "-accept", f"127.0.0.1:{port}", "-cert", "server.pem", "-www") as program:
            program.wait_for(b"ACCEPT")
            done = run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem", say=b"GET / HTTP/1.0\r\n\r\n")
        assert done.code == 0, done.errors
        assert done.output.startswith(b"HTTP/1.0 200 ok\r\n")
        assert b"New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256" in done.output

    def test_a_connection_that_is_cut(self, folder: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem")

        def cut(connection: socket.socket) -> None:
            tls = context.wrap_socket(connection.dup(), server_side=True)
            tls.sendall(b"half of the ans")
            tls.detach()

        with stranger(cut) as port:
            done = run("connect", f"127.0.0.1:{port}", "--ca", "ca.pem")
        assert (done.code, done.output) == (1, b"half of the ans")
        assert "without close_notify" in done.errors.splitlines()[-1]


def feed(pipe: object, data: bytes) -> None:
    try:
        pipe.write(data)  # type: ignore[attr-defined]
        pipe.close()  # type: ignore[attr-defined]
    except BrokenPipeError:
        pass


@pytest.mark.parametrize("listen", ["[::1]:0"] if HAVE_IPV6 else [])
def test_ipv6(listen: str) -> None:
    with serving("--cert", "server.pem", listen=listen) as (_, where):
        assert where.startswith("[::1]:")
        assert run("connect", where, "--ca", "ca.pem", say=b"hello").output == b"hello"


def test_demo() -> None:
    done = run("demo", "--quick", "--json")
    assert (done.code, done.errors) == (0, ""), done.output
    results = json.loads(done.output)
    parties = {"twisted", "trio", "plain", "openssl"}
    pairs = {(server, client) for server in parties for client in parties} - {("openssl", "openssl")}
    assert {(result["server"], result["client"]) for result in results} == pairs
    for result in results:
        assert result["failure"] is None
        assert result["facts"]["version"] == "TLSv1.3"
        assert result["facts"]["alpn"] == "tlsprovider-demo"
        assert result["handshake_ms"] > 0
        assert result["megabytes_per_second"] > 0
        if "openssl" not in (result["server"], result["client"]):
            assert result["facts"]["group"] == "X25519MLKEM768"


def test_demo_as_a_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("demo", "--quick")
    assert done.code == 0, done.errors
    lines = done.output.decode().splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "…" not in done.output.decode()
    assert sum("TLSv1.3" in line for line in lines) == 15
