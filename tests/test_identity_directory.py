"""A directory of certificates: which pairs are found, what is chosen, and what happens when files change."""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from cryptography.hazmat.primitives import serialization
from test_handshake import check_data, connect

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.errors import ConfigError
from tlsprovider.identity import Identity
from tlsprovider.identity_directory import IdentityDirectory, pair_up

DAY = datetime.timedelta(days=1)


class Clock:
    """Begins now, because the times of files can't be chosen; moves when told."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@attrs.define
class Folder:
    """The directory, with its clock."""

    path: Path
    authority: Authority
    clock: Clock = attrs.field(factory=Clock)

    def open(self, **options: float) -> IdentityDirectory:
        return IdentityDirectory(self.path, clock=self.clock, **options)

    def advance(self, seconds: float = 2.0) -> None:
        self.clock.now += seconds

    def issue(self, *names: str, **how: datetime.datetime) -> Issued:
        return self.authority.issue(*names, **how)

    def write(self, name: str, *content: bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(content))
        return path

    def put(self, name: str, *names: str, **how: datetime.datetime) -> Issued:
        """A PEM file with chain and key, made and moved into place."""
        issued = self.issue(*names, **how)
        made = self.write(f".{name}.new", issued.chain_pem, issued.key_pem)
        made.rename(self.path / name)
        return issued


@pytest.fixture
def folder(tmp_path: Path, authority: Authority) -> Folder:
    return Folder(tmp_path, authority)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, logger="tlsprovider.identity_directory")

    def take() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return take


def leaf(identity: Identity) -> object:
    return identity.certificates[0]


class TestPairs:
    @pytest.mark.parametrize(
        ("files", "pairs"),
        [
            (["www.example.com.pem"], {"www.example.com.pem": "www.example.com.pem"}),
            (["a.crt", "a.key"], {"a.crt": "a.key"}),
            (["a.pem", "a-key.pem"], {"a.pem": "a-key.pem"}),
            (["a.cer", "a.key.pem"], {"a.cer": "a.key.pem"}),
            (["tls.crt", "tls.key", "ca.crt"], {"tls.crt": "tls.key", "ca.crt": "ca.crt"}),
            (["README", "cert.pem", "chain.pem", "fullchain.pem", "privkey.pem"], {"fullchain.pem": "privkey.pem"}),
            (["cert.pem", "key.pem"], {"cert.pem": "key.pem"}),
            (["fullchain.pem"], {"fullchain.pem": "fullchain.pem"}),
            (["privkey.pem", "a.pem.bak", "a.pem~", "b.txt"], {}),
        ],
    )
    def test_in_one_folder(self, files: list[str], pairs: dict[str, str]) -> None:
        assert pair_up(files) == pairs

    def test_as_they_lie_about(self, folder: Folder) -> None:
        one, two, three = folder.issue("one.test"), folder.issue("two.test"), folder.issue("*.three.test")
        folder.write("one.test.pem", one.key_pem, one.chain_pem)
        folder.write("two.crt", two.chain_pem)
        folder.write("two.key", two.key_pem)
        folder.write("three.test/fullchain.pem", three.chain_pem)
        folder.write("three.test/privkey.pem", three.key_pem)
        folder.write(".hidden.pem", b"no")
        folder.write(".hidden/a.pem", b"no")
        folder.write("README", b"read me")
        directory = folder.open()
        assert [identity.names for identity in directory] == [("one.test",), ("two.test",), ("*.three.test",)]

    def test_links_as_certbot_makes_them(self, folder: Folder) -> None:
        archive, live = folder.path / "archive", folder.path / "live"
        archive.mkdir()
        (live / "a.test").mkdir(parents=True)

        def renew(number: int) -> Issued:
            issued = folder.issue("a.test")
            for kind, content in (("fullchain", issued.chain_pem), ("privkey", issued.key_pem)):
                (archive / f"{kind}{number}.pem").write_bytes(content)
                link = live / "a.test" / f"{kind}.pem"
                link.unlink(missing_ok=True)
                link.symlink_to(archive / f"{kind}{number}.pem")
            return issued

        first = renew(1)
        directory = IdentityDirectory(live, clock=folder.clock)
        assert leaf(directory[0]) == first.certificate
        second = renew(2)
        folder.advance()
        assert leaf(directory[0]) == second.certificate


class TestChoice:
    def test_by_name(self, folder: Folder) -> None:
        exact, wildcard = folder.put("1.pem", "www.a.test"), folder.put("2.pem", "*.a.test", "a.test")
        other = folder.put("b.test.pem", "unrelated.test")
        directory = folder.open()

        def chosen(name: str | None) -> object:
            return leaf(directory.for_name(name)[0])

        assert chosen("www.a.test") == chosen("WWW.A.test.") == exact.certificate
        assert chosen("mail.a.test") == chosen("a.test") == wildcard.certificate
        assert chosen("b.test") == other.certificate, "by the name of the file"
        for unknown in ("x.mail.a.test", "test", "b.test.b", "localhost", "", None):
            assert chosen(unknown) == exact.certificate, "the first"

    def test_default(self, folder: Folder) -> None:
        folder.put("a.pem", "a.test")
        default = folder.put("DEFAULT.pem", "z.test")
        directory = folder.open()
        assert leaf(directory.for_name("unknown.test")[0]) == leaf(directory[0]) == default.certificate

    def test_valid_and_longest_first(self, folder: Folder) -> None:
        now = datetime.datetime.now(datetime.UTC)
        folder.put("1.pem", "a.test", not_before=now - 9 * DAY, not_after=now - DAY)
        folder.put("2.pem", "a.test", not_before=now - DAY, not_after=now + DAY)
        longest = folder.put("3.pem", "a.test", not_before=now - DAY, not_after=now + 9 * DAY)
        later = folder.put("4.pem", "a.test", not_before=now + 5 * DAY, not_after=now + 99 * DAY)
        directory = folder.open()
        assert leaf(directory.for_name("a.test")[0]) == longest.certificate
        folder.advance(10 * 86400)
        assert leaf(directory.for_name("a.test")[0]) == later.certificate

    def test_in_a_handshake(self, folder: Folder, client_config: ClientConfig) -> None:
        folder.put("default.pem", "default.test")
        folder.put("l.pem", "localhost")
        client, server = connect(client_config, ServerConfig(identities=folder.open()))
        assert client.peer_certificates[0] == server.local_certificates[0]
        check_data(client, server)


class TestChanges:
    def test_new_changed_and_gone(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open()
        assert logged() == []
        old = directory.for_name("a.test")[0]
        renewed, added = folder.put("a.pem", "a.test"), folder.put("b.pem", "b.test")
        assert directory.for_name("a.test")[0] is old, "not before the interval is over"
        folder.advance()
        assert leaf(directory.for_name("a.test")[0]) == renewed.certificate
        assert leaf(directory.for_name("b.test")[0]) == added.certificate
        assert [line.partition(" for ")[0] for line in logged()] == [
            "a.pem: a newer certificate",
            "b.pem: a new certificate",
        ]
        (folder.path / "b.pem").unlink()
        folder.advance()
        assert len(directory) == 1
        assert logged() == ["b.pem: is gone, and not served any more"]

    def test_nothing_is_read_again_without_a_change(self, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open()
        before = directory[0]
        reads: list[Path] = []
        looks: list[object] = []
        real_open, real_scan = Path.open, os.scandir

        def counted_open(path: Path, *arguments: str) -> object:
            reads.append(path)
            return real_open(path, *arguments)

        def counted_scan(path: Path) -> object:
            looks.append(path)
            return real_scan(path)

        monkeypatch.setattr(Path, "open", counted_open)
        monkeypatch.setattr(os, "scandir", counted_scan)
        for number in range(100):
            directory.for_name(f"unknown{number}.test")
        assert looks == []
        for _ in range(3):
            folder.advance()
            directory.for_name("unknown.test")
        assert (len(looks), reads) == (3, [])
        os.utime(folder.path / "a.pem")
        folder.advance()
        assert directory[0] is before, "touched, and still the same"
        assert reads == [folder.path / "a.pem"] * 2

    def test_what_has_just_changed_is_left_to_settle(self, folder: Folder) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open(interval=0)
        old, renewed = directory[0], folder.put("a.pem", "a.test")
        folder.clock.now = (folder.path / "a.pem").stat().st_ctime + 0.5
        assert directory[0] is old
        assert leaf(directory[0]) == renewed.certificate, "the same at two looks"

    def test_half_written_pair(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        old = folder.issue("a.test")
        folder.write("a.crt", old.chain_pem)
        folder.write("a.key", old.key_pem)
        directory = folder.open()
        new = folder.authority.issue("a.test", intermediates=1)
        states = [
            ("a.crt", new.chain_pem[:100], "ends in the middle"),
            ("a.crt", new.chain_pem[:-100], "ends in the middle"),
            ("a.crt", new.chain_pem, "of different pairs"),
            ("a.key", b"", "no private key"),
            ("a.key", new.key_pem[:90], "ends in the middle"),
        ]
        for name, content, problem in states:
            folder.write(name, content)
            for _ in range(3):
                folder.advance()
                assert leaf(directory.for_name("a.test")[0]) == old.certificate
            [line] = logged()
            assert problem in line and "of before is still served" in line
        folder.write("a.key", new.key_pem)
        folder.advance()
        assert directory[0].certificates == new.certificates
        assert "newer certificate" in logged()[0]

    def test_bad_newcomer(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open()
        folder.write("b.crt", folder.issue("b.test").chain_pem)
        folder.write("c.pem", bytes(1 << 21))
        for _ in range(3):
            folder.advance()
            assert len(directory) == 1
        one, two = logged()
        assert one.startswith("b.crt: no private key") and "no b.key beside it" in one
        assert "left out" in one and "1048576" in two

    @pytest.mark.parametrize("how", ["emptied", "spoilt", "removed"])
    def test_last_good_state(self, folder: Folder, how: str, logged: Callable[[], list[str]]) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open()
        before = directory[0]
        (folder.path / "a.pem").unlink()
        if how == "spoilt":
            folder.write("b.pem", b"not a certificate")
        if how == "removed":
            folder.path.rmdir()
        for _ in range(3):
            folder.advance()
            assert list(directory) == [before]
        assert sum("the last certificates are still served" in line for line in logged()) == 1
        folder.path.mkdir(exist_ok=True)
        new = folder.put("a.pem", "a.test")
        folder.advance()
        assert leaf(directory[0]) == new.certificate

    def test_clock_that_goes_back(self, folder: Folder) -> None:
        folder.put("a.pem", "a.test")
        directory = folder.open()
        renewed = folder.put("a.pem", "a.test")
        folder.advance(-5000)
        assert len(directory) == 1
        folder.advance(1)
        assert leaf(directory[0]) == renewed.certificate

    def test_connections_stay(self, folder: Folder, client_config: ClientConfig) -> None:
        folder.put("a.pem", "localhost")
        config = ServerConfig(identities=folder.open())
        first = connect(client_config, config)
        folder.put("a.pem", "localhost")
        folder.advance()
        second = connect(client_config, config)
        assert first[0].peer_certificates != second[0].peer_certificates
        check_data(*first)


class TestExpiry:
    def test_warned_of_twice(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        folder.put("a.pem", "a.test", not_before=now - 60 * DAY, not_after=now + 20.5 * DAY)
        directory = folder.open()
        said = []
        for _ in range(22):
            folder.advance(86400)
            len(directory)
            said.append(logged())
        assert [line for [line] in filter(None, said)] == [*said[6], *said[20]]
        assert "a.pem: expires in 13.5 days, on " in said[6][0]
        assert "has expired" in said[20][0]

    def test_short_lived_ones(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        folder.put("a.pem", "a.test", not_before=now, not_after=now + 6 * DAY)
        directory = folder.open()
        assert logged() == []
        folder.advance(4.6 * 86400)
        len(directory)
        assert "expires in 1.4 days" in logged()[0]

    def test_at_the_start(self, folder: Folder, logged: Callable[[], list[str]]) -> None:
        now = datetime.datetime.now(datetime.UTC)
        folder.put("a.pem", "a.test", not_before=now - 60 * DAY, not_after=now + DAY)
        folder.open()
        assert "expires in 1.0 days" in logged()[0]


class TestStart:
    def test_nothing_there(self, folder: Folder) -> None:
        with pytest.raises(ConfigError, match=r"no certificate with its key in there: expected files such as"):
            folder.open()

    def test_no_directory(self, folder: Folder) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            IdentityDirectory(folder.path / "missing")

    def test_nothing_good(self, folder: Folder) -> None:
        folder.write("a.crt", folder.issue("a.test").chain_pem)
        with pytest.raises(ConfigError, match=r": a.crt: no private key .*no a.key beside it"):
            folder.open()

    def test_encrypted_keys(self, folder: Folder) -> None:
        issued = folder.issue("a.test")
        key = issued.private_key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        folder.write("a.pem", issued.chain_pem, key)
        with pytest.raises(ConfigError, match="encrypted"):
            folder.open()
        assert len(IdentityDirectory(folder.path, password="secret")) == 1

    def test_repr(self, folder: Folder) -> None:
        folder.put("a.pem", "a.test")
        assert repr(folder.open()).endswith("with 1 certificates>")
