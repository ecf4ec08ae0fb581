"""Each example runs and does what it says."""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import pytest
from pages import ROOT, command, environment, run_python, write_certificates
from programs import Program

from tlsprovider.config import ClientConfig
from tlsprovider.errors import WantRead
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("examples")
    write_certificates(path)
    return path


@pytest.fixture(autouse=True)
def surroundings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What :class:`Program` inherits."""
    monkeypatch.chdir(folder)
    for name, value in environment().items():
        monkeypatch.setenv(name, value)


def start(name: str, *arguments: str) -> Program:
    return Program(sys.executable, str(EXAMPLES / name), *arguments)


def port_of(server: Program) -> str:
    return server.wait_for(rb"listening on port (\d+)")[1].decode()


def run(folder: Path, name: str, *arguments: str) -> str:
    return run_python(str(EXAMPLES / name), *arguments, folder=folder)


def test_trio_echo(folder: Path) -> None:
    with start("trio_echo_server.py", "server.pem", "0") as server:
        assert run(folder, "trio_echo_client.py", "ca.pem", port_of(server)) == "hello over TLS\n"
        server.wait_for(rb"a client with TLS_AES_128_GCM_SHA256 and X25519MLKEM768")


def test_httpx(folder: Path) -> None:
    with start("twisted_web_server.py", "server.pem", "0") as server:
        said = run(folder, "trio_httpx.py", "ca.pem", f"https://localhost:{port_of(server)}/").splitlines()
        assert said == [
            "HTTP/1.1 over TLSv1.3, TLS_AES_128_GCM_SHA256: hello over TLS, http/1.1",
            "HTTP/2 over TLSv1.3, TLS_AES_128_GCM_SHA256: hello over TLS, h2",
        ]


def test_twisted_web_server_and_both_clients_of_it(folder: Path) -> None:
    with start("twisted_web_server.py", "server.pem", "0") as server:
        port = port_of(server)
        said = run(folder, "twisted_client.py", "ca.pem", port)
        assert said.startswith("HTTP/1.1 200 OK\n")
        assert "hello over TLS, http/1.1\n" in said
        url = f"https://localhost:{port}/"
        assert run(folder, "twisted_treq.py", "ca.pem", url, url) == f"{url} 200 b'hello over TLS, http/1.1\\n'\n" * 2
        said = run(folder, "socket_client.py", "ca.pem", port)
        assert said.startswith("TLSv1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768\n")
        assert "hello over TLS, no ALPN\n" in said


def test_many_processes(folder: Path) -> None:
    """The kernel deals out: of enough connections each process gets some."""
    with start("twisted_many_processes.py", "server.pem", "0", "2") as server:
        port = port_of(server)
        provider, config = get_provider("native"), ClientConfig(trust=TrustStore.from_file(folder / "ca.pem"))
        answers = {ask(provider.client_engine(config, "localhost"), int(port)) for _ in range(40)}
        assert len(answers) == 2
        assert all(answer.startswith(b"hello from process ") for answer in answers)


def ask(engine: IEngine, port: int) -> bytes:
    """The body of a page, over a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        written = False
        while True:
            try:
                if not written:
                    engine.do_handshake()
                    engine.write(b"GET / HTTP/1.0\r\n\r\n")
                    written = True
                answer = engine.read()
                if b"hello" in answer:
                    return answer.partition(b"\r\n\r\n")[2]
            except WantRead:
                pass
            connection.sendall(engine.process_outgoing())
            engine.process_incoming(connection.recv(1 << 16))


def test_late_decision(folder: Path) -> None:
    certificates = folder / "served"
    certificates.mkdir()
    (certificates / "localhost.pem").write_bytes((folder / "server.pem").read_bytes())
    with start("trio_late_decision.py", "served", "0") as server:
        said = run(folder, "trio_echo_client.py", "ca.pem", port_of(server))
        assert said == "this is localhost\n\n"


@pytest.mark.parametrize(
    ("example", "greeting"), [("trio_database.py", "this is localhost"), ("twisted_database.py", "this is Twisted")]
)
def test_certificates_from_a_database(folder: Path, example: str, greeting: str) -> None:
    database = f"{example}.db"
    assert run(folder, "database_add.py", database, "server.pem").splitlines()[0] == "added localhost"
    with start(example, database, "0") as server:
        port = port_of(server)
        assert run(folder, "trio_echo_client.py", "ca.pem", port).startswith(greeting)
        other = Program(*command("connect", f"localhost:{port}", "--ca", "ca.pem", "--name", "unknown.test"))
        with other:
            other.wait_for(rb"unrecognized_name")


def test_key_server(folder: Path) -> None:
    chain, _, _ = (folder / "server.pem").read_text().partition("-----BEGIN PRIVATE KEY")
    (folder / "chain.pem").write_text(chain)
    with Program(*command("keyserver", "--listen", "keys.sock", "--key", "server.pem")) as keys:
        keys.wait_for(b"signing with 1 key")
        with start("key_server.py", "chain.pem", "keys.sock", "0") as server:
            assert run(folder, "trio_echo_client.py", "ca.pem", port_of(server)).startswith("signed elsewhere\n")


def test_pinning(folder: Path) -> None:
    with start("trio_echo_server.py", "server.pem", "0") as server:
        port = port_of(server)
        assert "localhost is new: its key " in run(folder, "pinning_client.py", "known.json", port)
        assert run(folder, "pinning_client.py", "known.json", port) == "connected to localhost\n"
    run(folder, "certificates.py", ".")
    with start("trio_echo_server.py", "server.pem", "0") as server:
        said = run(folder, "pinning_client.py", "known.json", port_of(server))
    assert said == "refused: the key of localhost has changed: somebody may be in between [certificate_unknown]\n"


def test_renewed_certificate(folder: Path) -> None:
    said = run(folder, "renewed_certificate.py").splitlines()
    assert re.fullmatch(r"\d+ connections, 3 certificates, 0 failures", said[-1])
    words = ["PEM block", "different pairs", "newer certificate", "newer certificate"]
    assert len(said) == len(words) + 1, "once for each change"
    assert all(word in line for word, line in zip(words, said, strict=False))


def test_engine_by_hand(folder: Path) -> None:
    said = run(folder, "engine_by_hand.py").splitlines()
    assert said[0] == ("handshake complete after 2 rounds: TLSv1.3, TLS_AES_128_GCM_SHA256, X25519MLKEM768, greeting")
    assert said[1:] == ["the server reads b'hello'", "and then the end: b''"]


def test_certificates(folder: Path) -> None:
    made = folder / "made"
    made.mkdir()
    assert run(folder, "certificates.py", "made") == ""
    assert sorted(path.name for path in made.iterdir()) == ["ca.pem", "server.pem"]
    assert (made / "server.pem").stat().st_mode & 0o077 == 0


def test_every_example_is_run_and_listed() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    tests, readme = Path(__file__).read_text(encoding="utf-8"), (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert {name for name in names if f'"{name}"' in tests} == names
    assert {name for name in names if f"`{name}`" in readme} == names
