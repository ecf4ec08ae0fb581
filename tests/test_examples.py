"""Each example runs and does what it says."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from pages import ROOT, environment, run_python, write_certificates
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


def test_twisted_web_server_and_both_clients_of_it(folder: Path) -> None:
    with start("twisted_web_server.py", "server.pem", "0") as server:
        port = port_of(server)
        said = run(folder, "twisted_client.py", "ca.pem", port)
        assert said.startswith("HTTP/1.1 200 OK\n")
        assert "hello over TLS, http/1.1\n" in said
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
