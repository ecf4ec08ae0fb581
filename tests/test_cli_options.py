"""The tlsprovider command's words: help, options, and what it says when it refuses. Nothing here touches a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pages import environment
from terminal import SECONDS, fails, invoke, write_files

from tlsprovider import __version__
from tlsprovider.cli.failures import sentence
from tlsprovider.cli.options import Address, address
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import Fault, PeerFault


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


class TestHelp:
    def test_version(self) -> None:
        assert invoke("--version").output == f"tlsprovider, version {__version__}\n"

    def test_lists_the_commands_in_order(self) -> None:
        text = invoke("--help").output
        places = [text.index(f"\n  {name} ") for name in ("connect", "demo", "keyserver", "providers", "serve")]
        assert places == sorted(places)

    @pytest.mark.parametrize("name", ["connect", "demo", "keyserver", "providers", "serve"])
    def test_every_command_has_help_without_running(self, name: str) -> None:
        result = invoke(name, "-h")
        assert result.exit_code == 0
        assert "Usage: " in result.output

    def test_unknown_command(self) -> None:
        result = invoke("sevre")
        assert result.exit_code == 2
        assert "No such command 'sevre'" in result.stderr

    def test_help_does_not_load_twisted(self) -> None:
        code = "import sys\nfrom tlsprovider.cli import main\nmain(['--help'], standalone_mode=False)\n"
        code += "assert 'tlsprovider.trio' in sys.modules\nassert 'twisted.internet' not in sys.modules\n"
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=SECONDS)


def test_providers_lists_ours() -> None:
    result = invoke("providers")
    assert result.exit_code == 0
    assert "native" in result.output


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("localhost:8443", "localhost", 8443),
            ("127.0.0.1:0", "127.0.0.1", 0),
            ("[::1]:443", "::1", 443),
            ("*:8443", None, 8443),
            (":8443", None, 8443),
            ("example.com:65535", "example.com", 65535),
        ],
    )
    def test_reads(self, text: str, host: str | None, port: int) -> None:
        assert address(text) == Address(host, port)

    @pytest.mark.parametrize("text", ["localhost:8443", "[::1]:443", "*:8443"])
    def test_shows_as_it_was_written(self, text: str) -> None:
        assert str(address(text)) == text

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("localhost", "'localhost' is not of the form HOST:PORT, as localhost:8443 or [::1]:8443"),
            ("8443", "is not of the form HOST:PORT"),
            ("localhost:", "is not of the form HOST:PORT"),
            ("localhost:https", "is not of the form HOST:PORT"),
            ("localhost:-1", "is not of the form HOST:PORT"),
            ("localhost:٤٤٣", "is not of the form HOST:PORT"),
            ("::1:443", "write an IPv6 address in brackets, as [::1]:8443"),
            ("localhost:65536", "ports go up to 65535"),
        ],
    )
    def test_refuses(self, text: str, words: str) -> None:
        assert words in fails(invoke("connect", "--", text))
        assert words in fails(invoke("serve", "--cert", "server.pem", f"--listen={text}"))


class TestRefusedBeforeAnythingHappens:
    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--groups", "x2559"], "groups: unknown group 'x2559': did you mean 'x25519'?"),
            (["--ciphers", "AES"], "cipher_suites: unknown cipher suite 'AES'"),
            (["--alpn", "h2,h2"], "alpn: 'h2' is listed twice"),
            (["--keylog", "nowhere/keys.log"], "nowhere/keys.log: No such file or directory"),
            (["--min-version", "1.4"], "min_version: unknown TLS version '1.4'"),
            (["--min-version", "TLSv1.2"], "use the provider 'openssl'"),
            (["--provider", "natvie"], "unknown provider 'natvie'; did you mean 'native'?"),
        ],
    )
    def test_by_both(self, arguments: list[str], words: str) -> None:
        assert words in fails(invoke("connect", "localhost:1", "--ca", "ca.pem", *arguments))
        assert words in fails(invoke("serve", "--cert", "server.pem", *arguments))

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--ca", "missing.pem"], "missing.pem: "),
            (["--ca", "key.pem"], "key.pem: no certificate in there"),
            (["--cert", "missing.pem"], "missing.pem: "),
            (["--cert", "chain.pem"], "chain.pem: no private key in there"),
            (["--key", "key.pem"], "--key: a key without a certificate; add --cert FILE"),
        ],
    )
    def test_files_by_connect(self, arguments: list[str], words: str) -> None:
        assert words in fails(invoke("connect", "localhost:1", *arguments))

    def test_connect_needs_a_host(self) -> None:
        assert "connect to which host?" in fails(invoke("connect", "*:443"))

    @pytest.mark.parametrize("auth", ["request", "require"])
    def test_client_auth_needs_an_authority(self, auth: str) -> None:
        said = fails(invoke("serve", "--cert", "server.pem", "--client-auth", auth))
        assert said == f"--client-auth {auth}: whose certificates are to be believed? Add --client-ca FILE"

    def test_serve_needs_a_certificate(self) -> None:
        result = invoke("serve")
        assert result.exit_code == 2
        assert "Missing option '--cert'" in result.stderr


class TestSentence:
    def test_digs_for_the_error_of_ours(self) -> None:
        fault = PeerFault(Fault.BAD_RECORD_MAC)
        try:
            raise OSError("the stream is broken") from fault
        except OSError as wrapped:
            assert sentence(wrapped) == str(fault)
            assert sentence(ExceptionGroup("several", [wrapped])) == str(fault)

    def test_of_an_error_without_words(self) -> None:
        assert sentence(KeyError()) == "KeyError"
        assert sentence(OSError("just words")) == "just words"

    def test_privileged_port(self) -> None:
        assert "ports below 1024 need privileges" in sentence(PermissionError(13, "Permission denied"))


def test_providers_with_their_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    said = invoke("providers", "--features")
    assert said.exit_code == 0
    cells = {line.split()[0]: line.split()[1:4] for line in said.output.splitlines()[1:]}
    assert cells["SignHandshake"] == ["yes", "no", "no"]
    assert cells["X25519MLKEM768"][0] == "yes"
