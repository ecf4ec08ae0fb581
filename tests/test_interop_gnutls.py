"""GnuTLS as our client over loopback: another stack, with habits of its own, as sending two key shares.

Not the other way round: ``gnutls-serv`` can't be told to listen on the loopback interface alone.
"""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from blocking import SECONDS, Blocking
from openssl_peers import Heard, issue, key_pem, server
from programs import Program

from tlsprovider.config import ServerConfig
from tlsprovider.crypto.authority import Authority, KeyType
from tlsprovider.errors import AlertReceived, Fault, PeerFault
from tlsprovider.trust import TrustStore

pytestmark = pytest.mark.skipif(
    shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed (Debian: gnutls-bin)"
)

ONLY_TLS_1_3 = "NORMAL:-VERS-ALL:+VERS-TLS1.3"
SUITES = [
    ("TLS_AES_128_GCM_SHA256", "AES-128-GCM"),
    ("TLS_AES_256_GCM_SHA384", "AES-256-GCM"),
    ("TLS_CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305"),
]
GROUPS = [
    ("x25519", "GROUP-X25519"),
    ("secp256r1", "GROUP-SECP256R1"),
    ("secp384r1", "GROUP-SECP384R1"),
    ("secp521r1", "GROUP-SECP521R1"),
    ("x448", "GROUP-X448"),
]


@pytest.fixture(scope="module")
def folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, and a file with chain and key for each kind of certificate."""
    path = tmp_path_factory.mktemp("pem")
    (path / "ca.pem").write_bytes(authority.certificate_pem)
    kinds: tuple[KeyType, ...] = ("p256", "ed25519", "ed448", "rsa2048", "rsa_pss")
    for kind in kinds:
        issued = issue(authority, kind)
        (path / f"{kind}.pem").write_bytes(key_pem(issued) + issued.chain_pem)
    alice = issue(authority, client=True)
    (path / "alice.pem").write_bytes(key_pem(alice) + alice.chain_pem)
    return path


@attrs.frozen
class Connection:
    """A side of ours, and the program at the other end."""

    ours: Blocking
    program: Program
    heard: Heard

    def talk(self) -> None:
        """With ``gnutls-cli``: a line each way."""
        self.program.output = b""
        self.ours.send(b"from us\n")
        self.program.wait_for(b"from us\n")
        self.program.say(b"from them\n")
        assert self.ours.receive_until(b"\n") == b"from them\n"

    def wait_for_key_updates(self, times: int) -> None:
        self.ours.wait_until(lambda: self.heard["key_update", "read"] == times)


@contextmanager
def visited(folder: Path, config: ServerConfig, *options: str) -> Iterator[Connection]:
    """``gnutls-cli``, and a server of ours that it is connected to."""
    heard = Heard()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        with Program(
            *("gnutls-cli", "-p", str(listener.getsockname()[1]), "127.0.0.1", "--inline-commands"),
            *("--sni-hostname", "localhost", "--verify-hostname", "localhost"),
            *("--x509cafile", str(folder / "ca.pem")),
            *options,
        ) as program:
            engine = server(attrs.evolve(config, on_event=heard))
            with Blocking(engine, listener.accept()[0]) as ours:
                yield Connection(ours, program, heard)


@pytest.mark.parametrize(("suite", "theirs"), SUITES)
def test_server_suites(folder: Path, server_config: ServerConfig, suite: str, theirs: str) -> None:
    with visited(folder, server_config, "--priority", f"{ONLY_TLS_1_3}:-CIPHER-ALL:+{theirs}") as here:
        here.ours.do_handshake()
        assert (here.ours.engine.cipher, here.ours.engine.server_name) == (suite, "localhost")
        here.talk()


@pytest.mark.parametrize("options", [[], ["--single-key-share"]], ids=["two shares", "one share"])
@pytest.mark.parametrize(("group", "_"), GROUPS)
def test_server_groups(folder: Path, server_config: ServerConfig, group: str, options: list[str], _: str) -> None:
    with visited(folder, attrs.evolve(server_config, groups=[group]), *options) as here:
        here.ours.do_handshake()
        assert here.ours.engine.group == group
        here.talk()


def test_server_asks_for_a_certificate(
    folder: Path, server_config: ServerConfig, trust: TrustStore, authority: Authority
) -> None:
    config, alice = attrs.evolve(server_config, client_auth="require", trust=trust), str(folder / "alice.pem")
    with visited(folder, config, "--x509certfile", alice, "--x509keyfile", alice) as here:
        here.ours.do_handshake()
        assert here.ours.engine.verified_chain == (issue(authority, client=True).certificate, authority.certificate)
        here.talk()
    with visited(folder, config) as here:
        with pytest.raises(PeerFault) as caught:
            here.ours.do_handshake()
        assert caught.value.fault is Fault.CERTIFICATE_REQUIRED


def test_server_their_key_update_and_close(folder: Path, server_config: ServerConfig) -> None:
    with visited(folder, server_config) as here:
        here.ours.do_handshake()
        here.talk()
        for times in (1, 2):
            here.program.say(b"^rekey^\n")
            here.wait_for_key_updates(times)
            here.talk()
        here.program.end_input()
        assert here.ours.receive() == b""
        here.ours.shutdown()
        assert here.program.wait() == 0


def test_server_alpn_and_exported_keys(folder: Path, server_config: ServerConfig) -> None:
    config = attrs.evolve(server_config, alpn=["h2"])
    options = ("--alpn", "h2", "--keymatexport", "EXPERIMENTAL interop", "--keymatexportsize", "40")
    with visited(folder, config, *options) as here:
        here.ours.do_handshake()
        assert here.ours.engine.alpn == "h2"
        exported = here.ours.engine.export_keying_material("EXPERIMENTAL interop", b"", 40).hex()
        assert here.program.wait_for(rb"Key material: (\w+)\s")[1] == exported.encode()


def test_client_of_tls_1_2(folder: Path, server_config: ServerConfig) -> None:
    with visited(folder, server_config, "--priority", "NORMAL:-VERS-ALL:+VERS-TLS1.2") as here:
        with pytest.raises(PeerFault, match="'openssl'") as caught:
            here.ours.do_handshake()
        assert caught.value.fault is Fault.NO_COMMON_VERSION
        assert here.program.wait() != 0
        assert re.search(rb"(?i)fatal alert", here.program.output)


def test_they_refuse(folder: Path, server_config: ServerConfig) -> None:
    with visited(folder, server_config, "--verify-hostname", "elsewhere.test") as here:
        with pytest.raises(AlertReceived):
            here.ours.do_handshake()
        assert here.program.wait() != 0
