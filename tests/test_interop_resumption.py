"""Resumption, early data and external keys with other people's TLS: OpenSSL three ways, and GnuTLS.

In memory with Python's ``ssl`` and with pyOpenSSL, which brings a newer OpenSSL; over loopback with the commands.
"""

from __future__ import annotations

import shutil
import socket
import ssl
from pathlib import Path

import attrs
import pytest
from blocking import SECONDS, Blocking
from OpenSSL._util import lib
from openssl_peers import (
    PyOpenSSLPeer,
    StdlibPeer,
    client,
    exchange,
    issue,
    key_pem,
    meet,
    pyopenssl_as_client,
    pyopenssl_as_server,
    pyopenssl_context,
    server,
    stdlib_as_client,
    stdlib_as_server,
    stdlib_client,
    stdlib_server,
)
from programs import Program
from test_interop_command import Listening, connect, s_server, talk

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.engine import NativeEngine
from tlsprovider.errors import PeerFault
from tlsprovider.psk import ExternalPsk
from tlsprovider.session import MemorySessions

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the command openssl is not installed")
needs_gnutls = pytest.mark.skipif(shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed")

SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]


@pytest.fixture
def ours(client_config: ClientConfig) -> ClientConfig:
    """With no sessions yet."""
    return attrs.evolve(client_config, groups=["x25519", "secp256r1"], key_shares=["x25519"], sessions=MemorySessions())


@pytest.fixture(scope="module")
def folder(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pem")
    (path / "ca.pem").write_bytes(authority.certificate_pem)
    issued = issue(authority)
    (path / "server.pem").write_bytes(key_pem(issued) + issued.chain_pem)
    return path


class TestStdlib:
    @pytest.mark.parametrize("suite", SUITES)
    def test_our_client(self, ours: ClientConfig, authority: Authority, suite: str) -> None:
        context, config = stdlib_server(issue(authority)), attrs.evolve(ours, cipher_suites=[suite])
        for number in range(3):
            engine, peer = client(config), stdlib_as_server(context)
            meet(engine, peer)
            exchange(engine, peer, 20_000)
            assert engine.session_reused is peer.ssl.session_reused is (number > 0)
            assert engine.cipher == suite

    def test_our_client_through_a_retry(self, ours: ClientConfig, authority: Authority) -> None:
        context = stdlib_server(issue(authority))
        context.set_ecdh_curve("prime256v1")
        for number in range(3):
            engine, peer = client(ours), stdlib_as_server(context)
            meet(engine, peer)
            exchange(engine, peer)
            assert engine.group == "secp256r1"
            assert engine.session_reused is peer.ssl.session_reused is (number > 0)

    @pytest.mark.parametrize("group", ["x25519", "secp521r1"], ids=["at once", "through a retry"])
    @pytest.mark.parametrize("suite", SUITES)
    def test_our_server(self, server_config: ServerConfig, authority: Authority, suite: str, group: str) -> None:
        context = stdlib_client(authority)
        config = attrs.evolve(server_config, cipher_suites=[suite], groups=[group])
        session: ssl.SSLSession | None = None
        for number in range(3):
            engine = server(config)
            peer = StdlibPeer(context, server_hostname="localhost", session=session)
            meet(engine, peer)
            exchange(engine, peer, 20_000)
            session = peer.ssl.session
            assert engine.session_reused is peer.ssl.session_reused is (number > 0)

    def test_our_server_declines(self, server_config: ServerConfig, authority: Authority) -> None:
        context = stdlib_client(authority)
        engine, peer = server(server_config), stdlib_as_client(context)
        meet(engine, peer)
        exchange(engine, peer)
        for other in (ServerConfig(identities=server_config.identities), attrs.evolve(server_config, tickets=None)):
            engine = server(other)
            again = StdlibPeer(context, server_hostname="localhost", session=peer.ssl.session)
            meet(engine, again)
            exchange(engine, again)
            assert engine.session_reused is again.ssl.session_reused is False


class TestPyOpenSSL:
    def test_our_client(self, ours: ClientConfig, authority: Authority) -> None:
        context = pyopenssl_context(issue(authority))
        for number in range(3):
            engine, peer = client(ours), pyopenssl_as_server(context)
            meet(engine, peer)
            exchange(engine, peer, 20_000)
            assert engine.session_reused is reused(peer) is (number > 0)

    def test_our_server(self, server_config: ServerConfig, authority: Authority) -> None:
        context = pyopenssl_context(None, authority)
        session = None
        for number in range(3):
            engine, peer = server(server_config), pyopenssl_as_client(context)
            if session is not None:
                peer.connection.set_session(session)
            meet(engine, peer)
            exchange(engine, peer, 20_000)
            session = peer.connection.get_session()
            # OpenSSL makes a session useless when its connection disappears without a goodbye.
            peer.connection.shutdown()
            assert engine.session_reused is reused(peer) is (number > 0)


def reused(peer: PyOpenSSLPeer) -> bool:
    return bool(lib.SSL_session_reused(peer.connection._ssl))


@needs_openssl
class TestCommand:
    def test_s_client(self, folder: Path, server_config: ServerConfig, tmp_path: Path) -> None:
        kept = str(tmp_path / "session.pem")
        for number, option in enumerate(["-sess_out", "-sess_in"]):
            with (
                Listening(folder) as here,
                here.s_client("-tls1_3", option, kept) as program,
                here.accept(server_config) as us,
            ):
                us.do_handshake()
                talk(us, program)
                assert us.engine.session_reused is (number == 1)
                program.say(b"Q\n")
                assert us.receive() == b""
                us.shutdown()
                assert program.wait() == 0
                assert (b"Reused, TLSv1.3" in program.output) is (number == 1)

    def test_s_client_with_early_data(self, folder: Path, server_config: ServerConfig, tmp_path: Path) -> None:
        config = attrs.evolve(server_config, max_early_data=16384)
        kept, request = str(tmp_path / "session.pem"), tmp_path / "request"
        request.write_bytes(b"GET / HTTP/1.0\r\n\r\n")
        early = ["-early_data", str(request)]
        # The second time it is accepted; the third time OpenSSL shows the same ticket, with another hello.
        for options, said in (
            (["-sess_out", kept], b""),
            (["-sess_in", kept, *early], b"Early data was accepted"),
            (["-sess_in", kept, *early], b"Early data was accepted"),
        ):
            with Listening(folder) as here, here.s_client("-tls1_3", *options) as program, here.accept(config) as us:
                us.do_handshake()
                if said:
                    assert isinstance(us.engine, NativeEngine)
                    assert (us.engine.early_data, us.engine.session_reused) == ("accepted", True)
                    assert us.engine.read() == request.read_bytes()
                talk(us, program)
                program.say(b"Q\n")
                assert us.receive() == b""
                us.shutdown()
                assert program.wait() == 0
                assert said in program.output

    def test_s_client_whose_early_data_is_rejected(
        self, folder: Path, server_config: ServerConfig, tmp_path: Path
    ) -> None:
        kept, request = str(tmp_path / "session.pem"), tmp_path / "request"
        request.write_bytes(b"GET / HTTP/1.0\r\n\r\n")
        generous = attrs.evolve(server_config, max_early_data=16384)
        for config, options in (
            (generous, ["-sess_out", kept]),
            (attrs.evolve(generous, max_early_data=0), ["-sess_in", kept, "-early_data", str(request)]),
            (attrs.evolve(generous, groups=["secp256r1"]), ["-sess_in", kept, "-early_data", str(request)]),
        ):
            with Listening(folder) as here, here.s_client("-tls1_3", *options) as program, here.accept(config) as us:
                us.do_handshake()
                talk(us, program)
                program.say(b"Q\n")
                assert us.receive() == b""
                us.shutdown()
                assert program.wait() == 0
                if "-early_data" in options:
                    assert b"Early data was rejected" in program.output

    def test_s_server(self, folder: Path, ours: ClientConfig) -> None:
        with s_server(folder, "-tls1_3", "-naccept", "3") as program:
            address = program.wait_for(rb"ACCEPT 127\.0\.0\.1:\d+\s")[0]
            for number in range(3):
                program.output = address
                with connect(program, ours) as us:
                    us.do_handshake()
                    talk(us, program)
                    assert us.engine.session_reused is (number > 0)
                    us.shutdown()

    def test_s_server_with_early_data(self, folder: Path, ours: ClientConfig) -> None:
        config = attrs.evolve(ours, early_data=True)
        with s_server(folder, "-tls1_3", "-early_data", "-naccept", "2") as program:
            address = program.wait_for(rb"ACCEPT 127\.0\.0\.1:\d+\s")[0]
            with connect(program, config) as us:
                us.do_handshake()
                talk(us, program)
                us.shutdown()
            program.output = address
            with connect(program, config) as us:
                assert isinstance(us.engine, NativeEngine)
                us.engine.write_early(b"this came early\n")
                us.do_handshake()
                program.wait_for(b"this came early\n")
                assert (us.engine.session_reused, us.engine.early_data) == (True, "accepted")
                talk(us, program)

    def test_s_server_rejects_early_data(self, folder: Path, ours: ClientConfig) -> None:
        config = attrs.evolve(ours, early_data=True)
        with s_server(folder, "-tls1_3", "-early_data", "-no_anti_replay", "-naccept", "2") as program:
            address = program.wait_for(rb"ACCEPT 127\.0\.0\.1:\d+\s")[0]
            with connect(program, config) as us:
                us.do_handshake()
                talk(us, program)
                assert isinstance(us.engine, NativeEngine)
                session = us.engine.session
                us.shutdown()
            program.output = address
            assert session is not None
            with connect(program, config) as us:
                assert isinstance(us.engine, NativeEngine)
                us.engine.set_session(attrs.evolve(session, issued=session.issued - 300))
                us.engine.write_early(b"this came early\n")
                us.do_handshake()
                assert (us.engine.session_reused, us.engine.early_data) == (True, "rejected")
                talk(us, program)

    def test_external_keys(self, folder: Path, ours: ClientConfig, server_config: ServerConfig) -> None:
        secret = bytes(range(16))
        key = ExternalPsk(identity=b"device 7", secret=secret)
        options = ("-tls1_3", "-psk", secret.hex(), "-psk_identity", "device 7")
        with s_server(folder, *options, "-nocert") as program, connect(program, attrs.evolve(ours, psks=[key])) as us:
            us.do_handshake()
            assert us.engine.peer_certificates == ()
            talk(us, program)
        config = ServerConfig(psks=[key])
        with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as us:
            us.do_handshake()
            talk(us, program)

    def test_external_keys_that_differ(self, folder: Path, server_config: ServerConfig) -> None:
        config = ServerConfig(psks=[ExternalPsk(identity=b"device 7", secret=bytes(32))])
        options = ("-tls1_3", "-psk", bytes(range(16)).hex(), "-psk_identity", "device 7")
        with Listening(folder) as here, here.s_client(*options) as program, here.accept(config) as us:
            with pytest.raises(PeerFault, match="binder"):
                us.do_handshake()
            program.wait_for(b"alert decrypt error")


@needs_gnutls
class TestGnuTLS:
    def test_resume(self, folder: Path, server_config: ServerConfig) -> None:
        """It connects, disconnects, and connects once more."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(SECONDS)
            with Program(
                *("gnutls-cli", "-p", str(listener.getsockname()[1]), "127.0.0.1", "--resume", "--waitresumption"),
                *("--sni-hostname", "localhost", "--verify-hostname", "localhost"),
                *("--x509cafile", str(folder / "ca.pem")),
            ) as program:
                with Blocking(server(server_config), listener.accept()[0]) as us:
                    us.do_handshake()
                    us.send(b"a word that brings tickets\n")
                    while us.receive():
                        pass
                with Blocking(server(server_config), listener.accept()[0]) as us:
                    us.do_handshake()
                    assert us.engine.session_reused
                    program.wait_for(b"This is a resumed session")
                    talk(us, program)
