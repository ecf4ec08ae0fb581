"""Interoperation with the ``openssl`` command over loopback: what its Python interfaces can't be made to do."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from typing import Any

import attrs
import pytest
from blocking import SECONDS, Blocking
from openssl_peers import Heard, client, issue, key_pem, server
from programs import Program

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, Fault, PeerFault, TLSError
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not installed")


@pytest.fixture(scope="module")
def folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ca.pem``, ``server.pem`` and ``alice.pem``: the latter with their keys."""
    path = tmp_path_factory.mktemp("pem")
    (path / "ca.pem").write_bytes(authority.certificate_pem)
    for name, issued in (("server", issue(authority)), ("alice", issue(authority, client=True))):
        (path / f"{name}.pem").write_bytes(key_pem(issued) + issued.chain_pem)
    return path


def s_server(folder: Path, *options: str) -> Program:
    return Program(
        *("openssl", "s_server", "-accept", "127.0.0.1:0"),
        *("-cert", str(folder / "server.pem"), "-CAfile", str(folder / "ca.pem"), "-verify_return_error"),
        *options,
    )


def connect(program: Program, config: ClientConfig) -> Blocking:
    """A client of ours to a server that says where it listens."""
    port = int(program.wait_for(rb"ACCEPT 127\.0\.0\.1:(\d+)\s")[1])
    return Blocking(client(config), socket.create_connection(("127.0.0.1", port), SECONDS))


class Listening:
    """A place for one ``openssl s_client`` to connect to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.sock.settimeout(SECONDS)
        self.address = f"127.0.0.1:{self.sock.getsockname()[1]}"

    def __enter__(self) -> Listening:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def s_client(self, *options: str) -> Program:
        return Program(
            *("openssl", "s_client", "-connect", self.address, "-servername", "localhost"),
            *("-verify_hostname", "localhost", "-verify_return_error", "-CAfile", str(self.folder / "ca.pem")),
            *options,
        )

    def accept(self, config: ServerConfig) -> Blocking:
        return Blocking(server(config), self.sock.accept()[0])


def talk(ours: Blocking, program: Program) -> None:
    """A line each way."""
    program.output = b""
    ours.send(b"from us\n")
    program.wait_for(b"from us\n")
    program.say(b"from them\n")
    assert ours.receive_until(b"\n") == b"from them\n"


def wait_for_key_updates(ours: Blocking, heard: Heard, times: int) -> None:
    ours.wait_until(lambda: heard["key_update", "read"] == times)


# -- our client, openssl s_server ----------------------------------------------------------------------------------

OFFERS = [
    ("TLS_AES_128_GCM_SHA256", "X25519", "x25519"),
    ("TLS_AES_256_GCM_SHA384", "P-256", "secp256r1"),
    ("TLS_CHACHA20_POLY1305_SHA256", "P-384", "secp384r1"),
    ("TLS_AES_256_GCM_SHA384", "P-521", "secp521r1"),
    ("TLS_AES_128_GCM_SHA256", "X448", "x448"),
]


@pytest.mark.parametrize(("suite", "theirs", "group"), OFFERS)
def test_client_suites_and_groups(
    folder: Path, client_config: ClientConfig, suite: str, theirs: str, group: str
) -> None:
    config = attrs.evolve(client_config, groups=["x25519", *({group} - {"x25519"})], key_shares=["x25519"])
    with (
        s_server(folder, "-tls1_3", "-ciphersuites", suite, "-groups", theirs) as program,
        connect(program, config) as ours,
    ):
        ours.do_handshake()
        assert (ours.engine.cipher, ours.engine.group) == (suite, group)
        talk(ours, program)
        ours.shutdown()
        program.wait_for(b"\nDONE\n")


def test_client_fetches_the_status_page(folder: Path, client_config: ClientConfig) -> None:
    with s_server(folder, "-www") as program, connect(program, client_config) as ours:
        ours.do_handshake()
        ours.send(b"GET / HTTP/1.0\r\n\r\n")
        page = ours.receive_until(b"</HTML>")
        assert page.startswith(b"HTTP/1.0 200 ok")
        assert b"New, TLSv1.3, Cipher is TLS_AES_128_GCM_SHA256" in page
        assert ours.receive() == b""
        assert ours.engine.close_received


@pytest.mark.parametrize(
    "options",
    [["-record_padding", "512"], ["-max_send_frag", "512"], ["-no_middlebox"], ["-early_data"], ["-num_tickets", "0"]],
    ids=" ".join,
)
def test_client_and_habits_of_servers(folder: Path, client_config: ClientConfig, options: list[str]) -> None:
    with s_server(folder, *options) as program, connect(program, client_config) as ours:
        ours.do_handshake()
        talk(ours, program)
        long = b"x" * 5000 + b"\n"
        program.say(long)
        assert ours.receive_until(b"\n") == long


def test_client_shows_its_certificate(folder: Path, client_config: ClientConfig, client_identity: Identity) -> None:
    config = attrs.evolve(client_config, identity=client_identity)
    with s_server(folder, "-Verify", "1") as program, connect(program, config) as ours:
        ours.do_handshake()
        program.wait_for(b"subject=CN ?= ?alice@example.com")
        talk(ours, program)


def test_client_has_no_certificate_to_show(folder: Path, client_config: ClientConfig) -> None:
    with s_server(folder, "-verify", "1") as program, connect(program, client_config) as ours:
        ours.do_handshake()
        talk(ours, program)
    with s_server(folder, "-Verify", "1") as program, connect(program, client_config) as ours:
        ours.do_handshake()
        with pytest.raises(AlertReceived) as caught:
            ours.receive()
        assert caught.value.alert is AlertDescription.certificate_required


def test_client_and_their_key_updates(folder: Path, client_config: ClientConfig) -> None:
    heard = Heard()
    config = attrs.evolve(client_config, on_event=heard)
    with s_server(folder) as program, connect(program, config) as ours:
        ours.do_handshake()
        # "k" changes their keys; "K" asks for a change of ours as well.
        for updates, (letter, answers) in enumerate([(b"k", 0), (b"K", 1), (b"K", 2), (b"k", 2)], 1):
            program.say(letter + b"\n")
            wait_for_key_updates(ours, heard, updates)
            # What is owed goes before our next data, which they could not read otherwise.
            talk(ours, program)
            assert heard["key_update", "write"] == answers


def test_client_alpn_and_exported_keys(folder: Path, client_config: ClientConfig) -> None:
    config = attrs.evolve(client_config, alpn=["h2", "http/1.1"])
    options = ("-alpn", "http/1.1", "-keymatexport", "EXPERIMENTAL interop", "-keymatexportlen", "40")
    with s_server(folder, *options) as program, connect(program, config) as ours:
        ours.do_handshake()
        assert ours.engine.alpn == "http/1.1"
        theirs = program.wait_for(rb"Keying material: (\w+)\s")[1]
        assert ours.engine.export_keying_material("EXPERIMENTAL interop", b"", 40) == bytes.fromhex(theirs.decode())


def test_client_and_a_server_of_tls_1_2(folder: Path, client_config: ClientConfig) -> None:
    with s_server(folder, "-tls1_2") as program, connect(program, client_config) as ours:
        with pytest.raises(AlertReceived, match="'openssl'") as caught:
            ours.do_handshake()
        assert caught.value.alert is AlertDescription.protocol_version


def test_client_refuses(folder: Path, authority: Authority) -> None:
    stranger = TrustStore.from_crypto([Authority("a stranger").certificate])
    with s_server(folder) as program, connect(program, ClientConfig(trust=stranger)) as ours:
        with pytest.raises(TLSError):
            ours.do_handshake()
        program.wait_for(b"alert unknown ca")


# -- our server, openssl s_client ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("suite", "theirs", "group"), OFFERS)
def test_server_suites_and_groups(
    folder: Path, server_config: ServerConfig, suite: str, theirs: str, group: str
) -> None:
    config = attrs.evolve(server_config, groups=[group])
    options = ("-tls1_3", "-ciphersuites", suite, "-groups", f"X25519:{theirs}" if theirs != "X25519" else theirs)
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as ours:
        ours.do_handshake()
        assert (ours.engine.cipher, ours.engine.group, ours.engine.server_name) == (suite, group, "localhost")
        program.wait_for(b"Verified peername: localhost.*New, TLSv1.3, Cipher is " + suite.encode())
        talk(ours, program)
        program.say(b"Q\n")
        assert ours.receive() == b""
        ours.shutdown()
        assert program.wait() == 0


@pytest.mark.parametrize(
    "options",
    [
        ["-no_middlebox"],
        ["-record_padding", "512"],
        ["-max_send_frag", "512"],
        ["-maxfraglen", "512"],
        ["-status"],
        ["-enable_pha"],
        ["-fallback_scsv"],
        ["-psk", "000102030405060708090a0b0c0d0e0f"],
        ["-sigalgs", "ECDSA+SHA256:RSA-PSS+SHA256"],
    ],
    ids=" ".join,
)
def test_server_and_habits_of_clients(folder: Path, server_config: ServerConfig, options: list[str]) -> None:
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(server_config) as ours:
        ours.do_handshake()
        talk(ours, program)
        long = b"x" * 5000 + b"\n"
        program.say(long)
        assert ours.receive_until(b"\n") == long


def test_server_asks_for_a_certificate(
    folder: Path, server_config: ServerConfig, trust: TrustStore, authority: Authority
) -> None:
    config = attrs.evolve(server_config, client_auth="require", trust=trust)
    options = ("-cert", str(folder / "alice.pem"))
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as ours:
        ours.do_handshake()
        assert ours.engine.verified_chain == (issue(authority, client=True).certificate, authority.certificate)
        program.wait_for(f"Acceptable client certificate CA names\nCN ?= ?{authority.name}".encode())
        talk(ours, program)
    with Listening(folder) as here, here.s_client() as program, here.accept(config) as ours:
        with pytest.raises(PeerFault) as caught:
            ours.do_handshake()
        assert caught.value.fault is Fault.CERTIFICATE_REQUIRED
        program.wait_for(b"alert certificate required")


def test_server_and_their_key_updates(folder: Path, server_config: ServerConfig) -> None:
    heard = Heard()
    config = attrs.evolve(server_config, on_event=heard)
    with Listening(folder) as here, here.s_client() as program, here.accept(config) as ours:
        ours.do_handshake()
        for updates, (letter, answers) in enumerate([(b"k", 0), (b"K", 1), (b"K", 2), (b"k", 2)], 1):
            program.say(letter + b"\n")
            wait_for_key_updates(ours, heard, updates)
            # What is owed goes before our next data, which they could not read otherwise.
            talk(ours, program)
            assert heard["key_update", "write"] == answers


def test_server_alpn_and_exported_keys(folder: Path, server_config: ServerConfig) -> None:
    config = attrs.evolve(server_config, alpn=["h2", "http/1.1"])
    options = ("-alpn", "spdy/1,http/1.1", "-keymatexport", "EXPERIMENTAL interop", "-keymatexportlen", "40")
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as ours:
        ours.do_handshake()
        assert ours.engine.alpn == "http/1.1"
        theirs = program.wait_for(rb"Keying material: (\w+)\s")[1]
        assert ours.engine.export_keying_material("EXPERIMENTAL interop", b"", 40) == bytes.fromhex(theirs.decode())


REFUSED: list[tuple[list[str], Fault, dict[str, Any]]] = [
    (["-tls1_2"], Fault.NO_COMMON_VERSION, {}),
    (["-ciphersuites", "TLS_AES_128_CCM_SHA256"], Fault.NO_COMMON_SUITE, {}),
    (["-groups", "ffdhe2048"], Fault.NO_COMMON_GROUP, {}),
    (["-sigalgs", "ECDSA+SHA384"], Fault.NO_COMMON_SIGNATURE, {}),
    (["-alpn", "spdy/1"], Fault.NO_COMMON_ALPN, {"alpn": ["h2"]}),
]


@pytest.mark.parametrize(("options", "fault", "fields"), REFUSED, ids=[fault.name for _, fault, _ in REFUSED])
def test_server_refuses(
    folder: Path, server_config: ServerConfig, options: list[str], fault: Fault, fields: dict[str, Any]
) -> None:
    config = attrs.evolve(server_config, **fields)
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as ours:
        with pytest.raises(PeerFault) as caught:
            ours.do_handshake()
        assert caught.value.fault is fault
        program.wait_for(f"alert {fault.alert.name.replace('_', ' ')}".encode())


def test_they_refuse(folder: Path, server_config: ServerConfig) -> None:
    with (
        Listening(folder) as here,
        here.s_client("-verify_hostname", "elsewhere.test") as program,
        here.accept(server_config) as ours,
    ):
        with pytest.raises(AlertReceived) as caught:
            ours.do_handshake()
        assert caught.value.alert is AlertDescription.bad_certificate
        assert program.wait() != 0


def test_early_data_is_skipped(folder: Path, server_config: ServerConfig, tmp_path: Path) -> None:
    session, data = str(tmp_path / "session.pem"), tmp_path / "early.txt"
    data.write_bytes(b"too early\n")
    with s_server(folder, "-early_data") as theirs:
        address = theirs.wait_for(rb"ACCEPT (\S+)\s")[1].decode()
        with Program("openssl", "s_client", "-connect", address, "-sess_out", session) as visitor:
            # What the server says comes behind its tickets.
            visitor.say(b"hello\n")
            theirs.wait_for(b"hello\n")
            theirs.say(b"welcome\n")
            visitor.wait_for(b"\nwelcome\n")
    options = ("-sess_in", session, "-early_data", str(data))
    with Listening(folder) as here, here.s_client(*options) as program, here.accept(server_config) as ours:
        ours.do_handshake()
        program.wait_for(b"Early data was rejected")
        talk(ours, program)
