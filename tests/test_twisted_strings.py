"""The strings that make TLS endpoints: what their words mean, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXClientEndpoint,
    UNIXServerEndpoint,
    quoteStringArgument,
)
from twisted.internet.testing import MemoryReactorClock
from twisted_pair import Files
from twisted_pair import watch_log as watch_log
from twisted_pair import write_files as write_files

from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import ConfigError
from tlsprovider.fleet import FleetTickets
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.twisted import TLSClientEndpoint, TLSServerEndpoint
from tlsprovider.twisted.strings import parse_client, parse_server

pytestmark = pytest.mark.usefixtures("logged")


def server_words(description: str) -> TLSServerEndpoint:
    """As ``serverFromString`` does once it has found the plugin."""
    from twisted.internet.endpoints import _parse

    args, kwargs = _parse(description)
    return parse_server(MemoryReactorClock(), args[1:], kwargs)


def client_words(description: str) -> TLSClientEndpoint:
    from twisted.internet.endpoints import _parse

    args, kwargs = _parse(description)
    return parse_client(MemoryReactorClock(), args[1:], kwargs)


class TestServerStrings:
    def test_short(self, files: Files) -> None:
        endpoint = server_words(f"tlsp:8443:cert={files.cert}:key={files.key}")
        inner: Any = endpoint.endpoint
        assert isinstance(inner, TCP4ServerEndpoint)
        assert (inner._port, inner._interface, inner._backlog) == (8443, "", 50)
        config = endpoint.config
        assert config.identities[0].names[0] == "localhost"
        assert config.client_auth == "none" and config.trust is None and config.alpn == ()
        assert endpoint.provider.name == "native"
        assert endpoint._limits["handshakeTimeout"] == 30 and endpoint._limits["closeTimeout"] == 10

    def test_tickets_of_a_fleet(self, files: Files) -> None:
        """Nobody listens there, which the log says; a server starts all the same."""
        endpoint = server_words(f"tlsp:0:cert={files.both}:tickets=redis\\://127.0.0.1\\:1")
        assert isinstance(endpoint.config.tickets, FleetTickets)
        assert endpoint.config.accept_early_data is not None

    def test_long(self, files: Files) -> None:
        endpoint = server_words(
            f"tlsp:0:cert={files.both}:interface=127.0.0.1:backlog=7:alpn=h2,http/1.1:clientCA={files.ca}"
            ":groups=x25519,secp256r1:ciphers=TLS_AES_256_GCM_SHA384:provider=native:handshakeTimeout=2.5:closeTimeout=0"
        )
        inner: Any = endpoint.endpoint
        assert (inner._port, inner._interface, inner._backlog) == (0, "127.0.0.1", 7)
        config = endpoint.config
        assert config.alpn == ("h2", "http/1.1")
        assert [str(group) for group in config.groups] == ["x25519", "secp256r1"]
        assert [str(suite) for suite in config.cipher_suites] == ["TLS_AES_256_GCM_SHA384"]
        assert config.client_auth == "require" and config.trust is not None
        assert endpoint._limits["handshakeTimeout"] == 2.5 and endpoint._limits["closeTimeout"] == 0

    def test_ipv6(self, files: Files) -> None:
        inner: Any = server_words(f"tlsp:8443:cert={files.both}:interface=\\:\\:1").endpoint
        assert isinstance(inner, TCP6ServerEndpoint)
        assert inner._interface == "::1"

    def test_optional_client_certificates(self, files: Files) -> None:
        endpoint = server_words(f"tlsp:1:cert={files.both}:clientCA={files.ca}:clientAuth=request")
        assert endpoint.config.client_auth == "request"

    def test_no_limit_for_the_handshake(self, files: Files) -> None:
        assert server_words(f"tlsp:1:cert={files.both}:handshakeTimeout=0")._limits["handshakeTimeout"] is None

    def test_on_another_endpoint(self, files: Files) -> None:
        inner: Any = server_words(f"tlsp:endpoint=unix\\:/run/app.sock\\:mode=600:cert={files.both}").endpoint
        assert isinstance(inner, UNIXServerEndpoint)
        assert inner._address == "/run/app.sock" and inner._mode == 0o600
        quoted = quoteStringArgument("tcp:8443:interface=127.0.0.1")
        inner = server_words(f"tlsp:endpoint={quoted}:cert={files.both}").endpoint
        assert isinstance(inner, TCP4ServerEndpoint)
        assert (inner._port, inner._interface) == (8443, "127.0.0.1")

    def test_endpoint_in_front(self, files: Files) -> None:
        """What is no word of TLS is the endpoint's."""
        endpoint = server_words(f"tlsp:unix:/run/a\\:b\\=c:mode=600:privateKey={files.both}:alpn=h2")
        inner: Any = endpoint.endpoint
        assert isinstance(inner, UNIXServerEndpoint)
        assert inner._address == "/run/a:b=c" and inner._mode == 0o600
        assert endpoint.config.alpn == ("h2",)
        with pytest.raises(ConfigError, match="unexpected keyword argument 'timeout'"):
            server_words(f"tlsp:unix:/run/app.sock:timeout=5:privateKey={files.both}")
        proxied = server_words(f"tlsp:haproxy:tcp:8443:interface=127.0.0.1:privateKey={files.both}").endpoint
        assert (proxied._wrappedEndpoint._port, proxied._wrappedEndpoint._interface) == (8443, "127.0.0.1")

    def test_twisteds_words(self, files: Files) -> None:
        """As in ``ssl:``."""
        for words in (
            f"port=8443:privateKey={files.key}:certKey={files.cert}",
            f"8443:privateKey={files.both}",
            f"8443:certKey={files.both}",
            f"8443:privateKey={files.both}:certKey={files.both}",
        ):
            endpoint = server_words(f"tlsp:{words}")
            assert isinstance(endpoint.endpoint, TCP4ServerEndpoint) and endpoint.endpoint._port == 8443
            assert endpoint.config.identities[0].names[0] == "localhost"

    def test_twisteds_default_for_the_key(self, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        Path("server.pem").write_bytes(Path(files.both).read_bytes())
        assert server_words("tlsp:8443").config.identities[0].names[0] == "localhost"

    def test_chain_in_two_files(self, authority: Authority, tmp_path: Path) -> None:
        issued, other = authority.issue("localhost"), Authority("another root")
        leaf, chain = tmp_path / "leaf.pem", tmp_path / "chain.pem"
        leaf.write_bytes(issued.chain_pem + issued.key_pem)
        chain.write_bytes(issued.chain_pem + authority.certificate_pem + other.certificate_pem)
        identity = server_words(f"tlsp:1:privateKey={leaf}:extraCertChain={chain}").config.identities[0]
        assert identity.certificates == (*issued.certificates, authority.certificate, other.certificate)

    def test_directory(self, authority: Authority, tmp_path: Path) -> None:
        for name in ("a.example", "b.example"):
            issued = authority.issue(name)
            (tmp_path / f"{name}.pem").write_bytes(issued.chain_pem + issued.key_pem)
        for words in (f"privateKey={tmp_path}", f"certKey={tmp_path}", f"privateKey={tmp_path}:certKey={tmp_path}"):
            identities = server_words(f"tlsp:1:{words}").config.identities
            assert isinstance(identities, IdentityDirectory)
            assert identities.for_name("b.example")[0].names == ("b.example",)
        for words, problem in {
            f"privateKey={tmp_path}:certKey={tmp_path}/a.example.pem": "a directory holds both; give it alone",
            f"privateKey={tmp_path}:extraCertChain=x": "extraCertChain=x: the files of a directory hold whole chains",
            f"privateKey={tmp_path.parent}/empty": "empty: no certificate with its key in there",
        }.items():
            (tmp_path.parent / "empty").mkdir(exist_ok=True)
            with pytest.raises(ConfigError, match=problem):
                server_words(f"tlsp:1:{words}")

    def test_client_certificates_in_other_words(self, files: Files) -> None:
        for word, meaning in {"want": "request", "need": "require", "none": "none"}.items():
            endpoint = server_words(f"tlsp:1:cert={files.both}:clientCA={files.ca}:clientAuth={word}")
            assert endpoint.config.client_auth == meaning

    def test_older_version(self, files: Files) -> None:
        endpoint = server_words(f"tlsp:1:cert={files.both}:minVersion=TLSv1.2:provider=openssl")
        assert str(endpoint.config.min_version) == "TLSv1.2"
        with pytest.raises(
            ValueError, match=r"'native' does not support min_version='TLSv1.2'; use the provider 'openssl'"
        ):
            server_words(f"tlsp:1:cert={files.both}:minVersion=TLSv1.2:provider=native")
        with pytest.raises(ValueError, match="unknown TLS version 'SSLv3'"):
            server_words(f"tlsp:1:cert={files.both}:minVersion=SSLv3")

    @pytest.mark.parametrize(
        ("description", "problem"),
        [
            ("tlsp:8443:cert=CERT:keys=KEY", r"unknown argument 'keys'; did you mean 'key'\? Known: port, interface, "),
            ("tlsp:8443:cert=CERT:frobnicate=1", r"unknown argument 'frobnicate'\. Known: .*, certKey, "),
            ("tlsp:8443:cert=CERT:name=x", "unknown argument 'name'"),
            (
                "tlsp:8443:extra:cert=CERT",
                r"'extra' is one word too many: expected tlsp:port or tlsp:endpoint=\.\.\. and then only name=",
            ),
            ("tlsp:cert=CERT", r"port is missing; expected tlsp:port or tlsp:endpoint=\.\.\."),
            (
                "tlsp:http:cert=CERT",
                r"endpoint=http: Unknown endpoint type: 'http' \(expected a port number or an endpoint",
            ),
            ("tlsp:port=http:cert=CERT", "port=http: expected a port number"),
            ("tlsp:70000:cert=CERT", "port=70000: expected a port number"),
            ("tlsp:port=tcp\\:8443:cert=CERT", r"port=tcp:8443: .*endpoint=tcp\\:8443"),
            ("tlsp:1:endpoint=tcp\\:1:cert=CERT", "'1' is one word too many"),
            ("tlsp:endpoint=tcp\\:1:port=1:cert=CERT", "port=1: with endpoint= this belongs within it"),
            ("tlsp:endpoint=tcp\\:1:interface=a:cert=CERT", "interface=a: with endpoint= this belongs within it"),
            (
                "tlsp:endpoint=unix:/run/app.sock:cert=CERT",
                r"'/run/app.sock' is one word too many: .*did you mean endpoint=unix\\:/run/app.sock\?",
            ),
            ("tlsp:endpoint=unix:mode=600:cert=CERT", "unknown argument 'mode'"),
            ("tlsp:endpoint=unix:cert=CERT", r"endpoint=unix: TypeError: .*\(a colon within endpoint= is written"),
            ("tlsp:endpoint=tcp\\:a:cert=CERT", "endpoint=tcp:a: invalid literal for int"),
            ("tlsp:unix:/run/app.sock:keys=KEY:cert=CERT", "endpoint=unix:/run/app.sock:keys=.*: TypeError: .*'keys'"),
            ("tlsp:8443:cert=CERT:certKey=CERT", "certKey is given twice; certKey and cert are one"),
            ("tlsp:endpoint=nonsense\\:1:cert=CERT", "Unknown endpoint type: 'nonsense'"),
            ("tlsp:8443", "privateKey= is missing, .*; server.pem: can't be read: No such file"),
            ("tlsp:8443:privateKey=", "privateKey=: expected the name of a file or directory"),
            ("tlsp:8443:cert=CERT:clientCA=", "clientCA=: expected the name of a file or directory"),
            ("tlsp:8443:extraCertChain=CERT", "extraCertChain=.*: it needs privateKey="),
            (
                "tlsp:8443:privateKey=KEY",
                "privateKey=/.*key.pem: key.pem: no certificate in there; found .*PRIVATE KEY",
            ),
            ("tlsp:8443:privateKey=CERT:certKey=KEY", "privateKey=/.*:certKey=/.*: key.pem: no certificate in there"),
            ("tlsp:8443:privateKey=/no/such/file:certKey=CERT", "/no/such/file: can't be read: No such file"),
            ("tlsp:8443:privateKey=CERT:extraCertChain=/no/such/file", "/no/such/file: can't be read: No such file"),
            ("tlsp:8443:privateKey=CERT:extraCertChain=KEY", "extraCertChain=/.*: key.pem: no certificate in there"),
            ("tlsp:8443:cert=CERT:backlog=many", "backlog=many: expected a number"),
            ("tlsp:8443:cert=CERT:clientAuth=maybe", "clientAuth=maybe: expected none, request or require"),
            ("tlsp:8443:cert=CERT:clientAuth=require", "clientAuth=require needs clientCA="),
            ("tlsp:8443:cert=CERT:handshakeTimeout=soon", "handshakeTimeout=soon: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:closeTimeout=-1", "closeTimeout=-1: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:closeTimeout=inf", "closeTimeout=inf: expected a number of seconds"),
            ("tlsp:8443:cert=CERT:groups=x25518", "unknown group 'x25518'"),
            ("tlsp:8443:cert=CERT:ciphers=RC4", "unknown cipher suite 'RC4'"),
            ("tlsp:8443:cert=CERT:provider=nativ", "unknown provider 'nativ'"),
            ("tlsp:8443:cert=/no/such/file", "/no/such/file"),
            ("tlsp:8443:cert=CERT:clientCA=/no/such/file", "/no/such/file"),
        ],
    )
    def test_wrong(self, files: Files, description: str, problem: str) -> None:
        description = description.replace("CERT", files.both).replace("KEY", files.key)
        with pytest.raises(ValueError, match=problem):
            server_words(description)


class TestClientStrings:
    def test_short(self) -> None:
        endpoint = client_words("tlsp:example.com:443")
        inner: Any = endpoint.endpoint
        assert isinstance(inner, HostnameEndpoint)
        assert (inner._hostText, inner._port, inner._timeout, inner._bindAddress) == ("example.com", 443, 30, None)
        assert endpoint.hostname == "example.com"
        assert not endpoint.config.insecure_skip_verify and endpoint.config.identity is None
        assert "system" in repr(endpoint.config.trust)

    def test_long(self, files: Files) -> None:
        endpoint = client_words(
            f"tlsp:port=8443:host=192.0.2.7:name=example.com:ca={files.ca}:cert={files.client}:alpn=h2:groups=x25519"
            ":timeout=5:bindAddress=127.0.0.2:provider=native:insecure=no:closeTimeout=1"
        )
        inner: Any = endpoint.endpoint
        assert (inner._hostText, inner._port, inner._timeout) == ("192.0.2.7", 8443, 5)
        assert inner._bindAddress == ("127.0.0.2", 0)
        assert endpoint.hostname == "example.com"
        assert files.ca in repr(endpoint.config.trust)
        assert endpoint.config.alpn == ("h2",) and endpoint.config.identity is not None
        assert endpoint._limits["handshakeTimeout"] == 5 and endpoint._limits["closeTimeout"] == 1

    def test_bytes(self) -> None:
        """Descriptions may be bytes."""
        endpoint = parse_client(MemoryReactorClock(), [b"example.com", b"443"], {"alpn": b"h2"})
        assert endpoint.hostname == "example.com" and endpoint.config.alpn == ("h2",)

    def test_insecure(self) -> None:
        assert client_words("tlsp:example.com:443:insecure=yes").config.insecure_skip_verify

    def test_on_another_endpoint(self) -> None:
        endpoint = client_words("tlsp:endpoint=unix\\:/run/app.sock:name=app.internal")
        assert isinstance(endpoint.endpoint, UNIXClientEndpoint)
        assert endpoint.hostname == "app.internal"

    def test_twisteds_words(self, files: Files) -> None:
        """As in ``ssl:`` and ``tls:``; with ``endpoint=`` the host is only whom the certificate must name."""
        endpoint = client_words(
            f"tlsp:example.com:443:endpoint=unix\\:/run/app.sock:trustRoots={files.ca}"
            f":certificate={files.client}:privateKey={files.client}"
        )
        assert isinstance(endpoint.endpoint, UNIXClientEndpoint)
        assert endpoint.hostname == "example.com"
        assert endpoint.config.identity is not None and files.ca in repr(endpoint.config.trust)
        endpoint = client_words(
            f"tlsp:10.0.0.7:port=443:hostname=db.internal:certKey={files.client}:caCertsDir={files.ca}"
        )
        assert endpoint.hostname == "db.internal" and endpoint.config.identity is not None

    def test_international_name(self) -> None:
        endpoint = client_words("tlsp:bücher.example:443")
        assert endpoint.hostname == "bücher.example"

    def test_directory_of_authorities(self, files: Files, authority: Authority, tmp_path: Path, caplog: Any) -> None:
        (tmp_path / "ours.pem").write_bytes(authority.certificate_pem)
        (tmp_path / "again.PEM").write_bytes(authority.certificate_pem)
        (tmp_path / "ignored.txt").write_bytes(Authority("not read").certificate_pem)
        (tmp_path / "broken.pem").write_text("nothing")
        endpoint = client_words(f"tlsp:example.com:443:trustRoots={tmp_path}")
        assert endpoint.config.trust.certificates == (authority.certificate,)
        assert f"{tmp_path}/broken.pem: no certificate in there" in caplog.text
        assert "ignored" not in caplog.text

    def test_directory_without_authorities(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"no certificate in its \.pem files"):
            client_words(f"tlsp:example.com:443:trustRoots={tmp_path}")

    @pytest.mark.parametrize(
        ("description", "problem"),
        [
            ("tlsp:example.com:443:caa=x", "unknown argument 'caa'; did you mean 'ca'"),
            ("tlsp:example.com", r"port is missing; expected tlsp:host:port or tlsp:endpoint=\.\.\."),
            ("tlsp:example.com:443:444", "'444' is one word too many"),
            ("tlsp:example.com:https", "port=https: expected a port number"),
            ("tlsp:a:1:endpoint=tcp\\:a\\:1:bindAddress=b", "bindAddress=b: with endpoint= this belongs within it"),
            ("tlsp:endpoint=unix:/run/app.sock", r"endpoint=unix: TypeError: .*\(a colon within endpoint= is written"),
            ("tlsp:endpoint=tcp:a:1:b", r"'b' is one word too many.* endpoint=tcp\\:a\\:1\\:b"),
            ("tlsp:endpoint=tcp\\:a\\:1", "hostname= is missing, whom the server's certificate must name"),
            ("tlsp:example.com:443:insecure=maybe", "insecure=maybe: expected yes or no"),
            ("tlsp:example.com:443:timeout=never", "timeout=never: expected a number of seconds"),
            ("tlsp:example.com:443:key=/no/such/file", "privateKey=/no/such/file: .*can't be read"),
            ("tlsp:not..a..name:443", "tlsp: client: .*'not..a..name'"),
            ("tlsp:example.com:443:ca=/no/such/file", "/no/such/file"),
        ],
    )
    def test_wrong(self, description: str, problem: str) -> None:
        with pytest.raises(ValueError, match=problem):
            client_words(description)
