"""The BoGo shim: its flags, its verdicts against a stub runner that speaks the standard library's ssl, its reports."""

from __future__ import annotations

import io
import json
import re
import socket
import ssl
import sys
from pathlib import Path

import attrs
import pytest
from bogo import areas, flags, run, shim
from bogo.flags import Unimplemented, parse
from bogo.report import BEGIN, END, Report, renew_page
from stub_runner import Peer, StubRunner, client_context, server_context, speak

from tlsprovider import errors
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, CertificateFault, Fault, PeerFault, TLSError, TruncatedError
from tlsprovider.iana import AlertDescription

INITIAL, RESUME, RETRY = flags.CONNECTIONS
CONFIG = json.loads(run.CONFIG.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Path:
    path = tmp_path_factory.mktemp("bogo")
    server = authority.issue("localhost")
    client = authority.issue("client.example", client=True)
    (path / "ca.pem").write_bytes(authority.certificate_pem)
    (path / "server.pem").write_bytes(server.chain_pem + server.key_pem)
    (path / "client.pem").write_bytes(client.chain_pem + client.key_pem)
    return path


@attrs.frozen
class Verdict:
    code: int
    stdout: str
    stderr: str
    peer: Exception | None = None


def verdict(*arguments: str) -> Verdict:
    stdout, stderr = io.StringIO(), io.StringIO()
    code = shim.run(arguments, stdout, stderr)
    return Verdict(code, stdout.getvalue(), stderr.getvalue())


def play(peer: Peer, *arguments: str) -> Verdict:
    """One test of the shim with that peer."""
    with StubRunner(peer) as runner:
        found = verdict(*runner.flags, *arguments)
    return attrs.evolve(found, peer=runner.failure)


def identity(folder: Path, name: str = "server") -> list[str]:
    return ["-cert-file", str(folder / f"{name}.pem"), "-key-file", str(folder / f"{name}.pem")]


class TestFlags:
    def test_a_flag_is_for_every_connection(self) -> None:
        settings = parse(["-server", "-port", "4433", "-host-name", "example.com", "-export-label", "\udcff"])
        assert settings[INITIAL] == settings[RESUME] == settings[RETRY]
        initial = settings[INITIAL]
        assert (initial.server, initial.port, initial.host_name) == (True, 4433, "example.com")
        assert initial.export_label == b"\xff"

    @pytest.mark.parametrize("prefix", flags.CONNECTIONS)
    def test_a_prefix_names_one_connection(self, prefix: str) -> None:
        settings = parse(["-read-size", "7", f"{prefix}-read-size", "9"])
        assert {name: one.read_size for name, one in settings.items()} == {
            name: 9 if name == prefix else 7 for name in flags.CONNECTIONS
        }

    def test_lists_grow_by_repetition(self) -> None:
        assert parse(["-curves", "29", "-curves", "23"])[INITIAL].curves == [29, 23]

    def test_base64(self) -> None:
        assert parse(["-expect-ocsp-response", "AQID"])[INITIAL].expect_ocsp_response == b"\1\2\3"

    def test_async_has_another_name_here(self) -> None:
        assert parse(["-async"])[INITIAL].late

    def test_flags_of_a_credential_belong_to_the_last_one(self) -> None:
        arguments = ["-cert-file", "0", "-new-x509-credential", "-cert-file", "1", "-signing-prefs", "2052"]
        first, second = parse(arguments)[INITIAL].credentials
        assert (first.cert_file, first.signing_prefs) == ("0", ())
        assert (second.cert_file, second.signing_prefs) == ("1", [2052])

    def test_the_half_of_a_split_handshake(self) -> None:
        assert parse(["-on-shim-cert-file", "a"])[INITIAL].credentials[0].cert_file == "a"
        with pytest.raises(Unimplemented, match=r"the flag -on-handshaker-cert-file"):
            parse(["-on-handshaker-cert-file", "a"])

    @pytest.mark.parametrize("flag", ["-dtls", "-from-2040", "-on-resume-from-2040", "cert-file"])
    def test_an_unknown_flag(self, flag: str) -> None:
        with pytest.raises(Unimplemented, match=flag.removeprefix("-on-resume")):
            parse(["-server", flag])

    @pytest.mark.parametrize(
        "arguments", [["-port"], ["-port", "x"], ["-curves", ""], ["-expect-ocsp-response", "%"], ["-server", "-port"]]
    )
    def test_an_argument_that_makes_no_sense(self, arguments: list[str]) -> None:
        with pytest.raises(ValueError, match=arguments[-1] if arguments[-1] == "-port" else arguments[0]):
            parse(arguments)


class TestWithoutConnection:
    def test_handshakes_are_not_split(self) -> None:
        assert verdict("-is-handshaker-supported") == Verdict(0, "No\n", "")

    @pytest.mark.parametrize(
        "arguments",
        [
            ["-from-2040"],
            ["-max-version", "771"],
            ["-expect-version", "771"],
            ["-curves", "514"],
            ["-verify-prefs", "1025"],
            ["-new-x509-credential", "-cert-file", "x"],
        ],
    )
    def test_what_is_not_there_is_said(self, arguments: list[str]) -> None:
        found = verdict(*arguments)
        assert found.code == shim.UNIMPLEMENTED
        assert found.stderr.startswith("unimplemented: ")


class TestDescription:
    @pytest.mark.parametrize(
        ("failure", "name"),
        [
            (PeerFault(Fault.FINISHED_MISMATCH), ":FINISHED_MISMATCH:"),
            (CertificateFault("no"), ":CERTIFICATE_REFUSED:"),
            (AlertReceived(AlertDescription.decode_error), ":ALERT_DECODE_ERROR:"),
            (AlertReceived(AlertDescription(30)), ":ALERT_0X1E:"),
            (TruncatedError(), ":TRUNCATED_ERROR:"),
            (errors.ClosedByPeer(), ":CLOSED_BY_PEER:"),
        ],
    )
    def test_a_name_and_a_sentence(self, failure: TLSError, name: str) -> None:
        assert shim.describe(failure) == f"{name} {failure}"


class TestConnections:
    """Shim against peer: what it says, and with which exit code."""

    @pytest.mark.parametrize(
        "how", [[], ["-async"], ["-ssl-object"], ["-ssl-object", "-async"], ["-implicit-handshake"]]
    )
    def test_as_client(self, folder: Path, how: list[str]) -> None:
        wanted = ["-expect-version", "772", "-expect-curve-id", "29", "-key-shares", "29", "-expect-no-hrr"]
        wanted += ["-expect-peer-cert-file", str(folder / "server.pem")]
        wanted = [] if how == ["-implicit-handshake"] else wanted
        assert play(speak(server_context(folder)), "-host-name", "localhost", *how, *wanted) == Verdict(0, "", "")

    @pytest.mark.parametrize(
        "how", [[], ["-async"], ["-ssl-object"], ["-peek-then-read", "-ssl-object"], ["-read-size", "1"]]
    )
    def test_as_server(self, folder: Path, how: list[str]) -> None:
        more = ["-use-early-callback", "-expect-no-server-name", "-handshake-twice", "-no-op-extra-handshake"]
        more += ["-use-exporter-between-reads", "-check-close-notify"]
        peer = speak(client_context(), hear_the_end)
        assert play(peer, "-server", *identity(folder), *how, *more) == Verdict(0, "", "")

    @pytest.mark.parametrize("late", [[], ["-async"]])
    def test_client_certificate(self, folder: Path, late: list[str]) -> None:
        context = server_context(folder)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
        assert play(speak(context), *identity(folder, "client"), *late).code == 0
        without = play(speak(context), *late)
        assert (without.code, without.stderr.split()[0]) == (shim.FAILED, ":ALERT_CERTIFICATE_REQUIRED:")

    def test_client_certificate_is_asked_for(self, folder: Path) -> None:
        context = client_context()
        arguments = ["-server", *identity(folder), "-require-any-client-certificate"]
        assert play(speak(context), *arguments).stderr.startswith(":CERTIFICATE_REQUIRED: ")
        context.load_cert_chain(folder / "client.pem")
        assert play(speak(context), *arguments) == Verdict(0, "", "")

    def test_alpn(self, folder: Path) -> None:
        context = server_context(folder)
        context.set_alpn_protocols(["h2"])
        offer = ["-advertise-alpn", "\x08http/1.1\x02h2"]
        assert play(speak(context), *offer, "-expect-alpn", "h2").code == 0
        surprise = play(speak(context), *offer, "-expect-alpn", "http/1.1")
        assert surprise.code == shim.MUST_FAIL
        assert surprise.stderr == "not as expected: alpn: got b'h2', wanted b'http/1.1'\n"

    def test_names_in_the_hello(self, folder: Path) -> None:
        def named(sock: socket.socket) -> None:
            with client_context().wrap_socket(sock, server_hostname="Example.com") as tls:
                tls.close()

        arguments = ["-server", *identity(folder), "-expect-server-name"]
        assert play(named, *arguments, "example.com").code == 0
        other = play(named, *arguments, "example.org")
        # A hook that finds something else makes the handshake fail; that must not pass for the failure a test expects.
        assert (other.code, other.stderr[:16]) == (shim.MUST_FAIL, "not as expected:")

    @pytest.mark.parametrize("late", [[], ["-async"]])
    def test_a_verdict_of_the_test(self, folder: Path, late: list[str]) -> None:
        arguments = ["-verify-fail", "-use-custom-verify-callback", "-expect-verify-result", *late]
        assert play(speak(server_context(folder)), *arguments).code == 0
        refused = play(speak(server_context(folder)), "-verify-peer", *arguments)
        assert (refused.code, refused.stderr.split()[0]) == (shim.FAILED, ":CERTIFICATE_REFUSED:")
        assert isinstance(refused.peer, ssl.SSLError)

    @pytest.mark.parametrize(
        ("flag", "name"), [("-fail-early-callback", ":HELLO_REFUSED:"), ("-fail-cert-callback", ":HOOK_ERROR:")]
    )
    def test_hooks_that_refuse(self, folder: Path, flag: str, name: str) -> None:
        refused = play(speak(client_context()), "-server", *identity(folder), flag)
        assert (refused.code, refused.stderr.split()[0]) == (shim.FAILED, name)

    def test_the_shim_writes_first_and_updates_its_keys(self, folder: Path) -> None:
        def listen(tls: socket.socket) -> None:
            assert tls.recv(10) == b"hello"
            assert tls.recv(10) == b"hello"
            tls.sendall(b"\0")
            assert tls.recv(10) == b"\xff"

        arguments = ["-shim-writes-first", "-repeat-shim-initial-write", "2", "-key-update", "-key-update-before-read"]
        assert play(speak(server_context(folder), listen), *arguments) == Verdict(0, "", "")

    def test_a_write_that_has_to_wait(self, folder: Path) -> None:
        def listen(tls: socket.socket) -> None:
            tls.sendall(b"\0")
            assert tls.recv(10) == b"hello"
            assert tls.recv(10) == b"\xff"

        arguments = ["-read-with-unfinished-write", "-async"]
        assert play(speak(server_context(folder), listen), *arguments) == Verdict(0, "", "")

    def test_records_of_many_sizes(self, folder: Path) -> None:
        def listen(tls: socket.socket) -> None:
            count = 0
            try:
                while part := tls.recv(1 << 16):
                    assert set(part) == {0x42}
                    count += len(part)
            finally:
                assert count == 1 + 255 + 256 + 257 + 16383 + 16384 + 16385 + 32767 + 32768 + 32769

        arguments = ["-write-different-record-sizes", "-shim-shuts-down"]
        found = play(speak(server_context(folder), listen), *arguments)
        assert found.code == 0
        # Without -check-close-notify none is sent.
        assert isinstance(found.peer, ssl.SSLEOFError)

    def test_an_end_without_close_notify(self, folder: Path) -> None:
        def vanish(tls: socket.socket) -> None:
            tls.shutdown(socket.SHUT_RDWR)

        peer = speak(server_context(folder), vanish)
        assert play(peer).code == 0
        found = play(peer, "-check-close-notify")
        assert (found.code, found.stderr.split()[0]) == (shim.FAILED, ":TRUNCATED_ERROR:")

    def test_a_handshake_that_should_not_have_ended(self, folder: Path) -> None:
        assert play(speak(server_context(folder)), "-handshake-never-done").code == shim.MUST_FAIL

    @pytest.mark.parametrize("side", ["client", "server"])
    def test_older_versions(self, folder: Path, side: str) -> None:
        """A runner of TLS 1.2 makes a test unimplemented, unless the test says that there is no TLS 1.2 here either."""
        context = server_context(folder) if side == "client" else client_context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        arguments = [] if side == "client" else ["-server", *identity(folder)]
        assert play(speak(context), *arguments).code == shim.UNIMPLEMENTED
        assert play(speak(context), *arguments, "-min-version", "772").code == shim.FAILED

    def test_traffic_secrets(self, folder: Path) -> None:
        heard = bytearray()
        lines = folder / "keys"

        def listen(tls: socket.socket) -> None:
            while len(heard) < 2 or len(heard) < 2 + 2 * int.from_bytes(heard[:2], "little"):
                heard.extend(tls.recv(1000))

        context = server_context(folder)
        context.keylog_filename = str(lines)
        assert play(speak(context, listen), "-export-traffic-secrets").code == 0
        length = int.from_bytes(heard[:2], "little")
        found = re.findall(r"^(\w+)_TRAFFIC_SECRET_0 \w+ (\w+)$", lines.read_text(), re.MULTILINE)
        secrets = {side: bytes.fromhex(secret) for side, secret in found}
        assert (bytes(heard[2 : 2 + length]), bytes(heard[2 + length :])) == (secrets["SERVER"], secrets["CLIENT"])


def hear_the_end(tls: socket.socket) -> None:
    """Close in the proper way and insist on an answer."""
    assert isinstance(tls, ssl.SSLSocket)
    tls.sendall(b"\0\1")
    assert tls.recv(1) == b"\xff"
    assert tls.recv(1) == b"\xfe"
    tls.unwrap()


class TestConfig:
    """config.json speaks of faults and tests that exist."""

    def test_names_of_errors_are_those_of_faults(self) -> None:
        names = {f":{fault.name}:" for fault in Fault} | {f":ALERT_{alert.name.upper()}:" for alert in AlertDescription}
        names |= {shim.describe(failure).split()[0] for failure in (TruncatedError(), errors.HookError("x"))}
        unnamed = re.compile(r":ALERT_0X[0-9A-F]{2}:")
        for expected, ours in CONFIG["ErrorMap"].items():
            for name in ours:
                assert name in names or unnamed.fullmatch(name), f"{expected} is said to be {name}, which is no fault"

    def test_every_test_left_out_has_a_reason(self) -> None:
        for pattern, reason in CONFIG["DisabledTests"].items():
            assert len(reason.split()) >= 2, f"{pattern}: why?"


class TestReport:
    OUTPUT = """\
PASSED (KeyUpdate-ToClient)
FAILED (Alert)
unexpected failure
	stderr: PASSED (not a result)
UNIMPLEMENTED (Handshake-DTLS)
PASS
""".splitlines(keepends=True)

    def report(self) -> Report:
        report = Report("a runner of 1999")
        report.add_results(self.OUTPUT)
        report.add_reasons(["the flag -dtls", "the flag -resume-count", "the flag -resumption-delay"])
        report.add_disabled(["QUIC-1", "QUIC-2"], {"*QUIC*": "another protocol"})
        return report

    def test_counts(self) -> None:
        report = self.report()
        assert report.counts == {"passed": 1, "failed": 1, "unimplemented": 1, "disabled": 2}
        assert report.failures == ["Alert"]
        assert report.by_area()["QUIC"] == {"passed": 0, "failed": 0, "unimplemented": 0, "disabled": 2}
        assert report.as_json()["unimplemented_because"] == {"resumption": 2, "DTLS": 1}
        assert report.as_json()["disabled_because"] == {"another protocol": 2}

    def test_tables(self) -> None:
        text = self.report().as_markdown()
        assert text.startswith("Runner: a runner of 1999\n")
        assert "| KeyUpdate | 1 | 0 | 0 | 0 |\n" in text
        assert "| **all** | **1** | **1** | **1** | **2** |\n" in text
        assert "| resumption | 2 |\n" in text

    def test_page(self, tmp_path: Path) -> None:
        page = tmp_path / "page.md"
        page.write_text(f"# Before\n{BEGIN}\nold\n{END}\nAfter\n")
        renew_page(page, "new")
        assert page.read_text() == f"# Before\n{BEGIN}\nnew\n{END}\nAfter\n"
        page.write_text("# No marks\n")
        with pytest.raises(ValueError, match="marks"):
            renew_page(page, "new")

    def test_the_page_has_its_marks(self) -> None:
        text = run.PAGE.read_text(encoding="utf-8")
        assert text.count(BEGIN) == text.count(END) == 1

    @pytest.mark.parametrize(
        ("test", "area"),
        [
            ("CurveTest-Client-X25519-TLS13", "groups and key shares"),
            ("KeyUpdate-ToClient-DTLS", "DTLS"),
            ("Q", areas.OTHERS),
        ],
    )
    def test_areas(self, test: str, area: str) -> None:
        assert areas.area_of(test) == area

    @pytest.mark.parametrize(
        ("reason", "feature"),
        [
            ("the flag -resume-count", "resumption"),
            ("the flag -from-2040", "other flags"),
            ("-max-version TLSv1.2", "TLS 1.2"),
            ("a configuration that is refused: no", "other configurations"),
        ],
    )
    def test_features(self, reason: str, feature: str) -> None:
        assert areas.feature_of(reason) == feature


def test_run_with_a_stub_runner(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """All of it: the warm process, stubs, a runner (ours, in Python), and the report."""
    tests = Path(__file__).parent
    runner = folder / "runner"
    runner.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tests / "stub_runner.py"}" "$@"\n')
    runner.chmod(0o700)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PYTHONPATH", f"{tests.parent}:{tests}")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setattr(run, "ENOUGH", 1)
    output = folder / "report.json"
    assert run.main([str(runner), "--runner-version", "stub", "--json", str(output)]) == 1
    report = json.loads(output.read_text())
    assert (report["passed"], report["failed"], report["unimplemented"], report["disabled"]) == (1, 1, 1, 1)
    assert report["failures"] == ["Handshake-Broken"]
    assert report["unimplemented_because"] == {"other flags": 1}
    shown = capfd.readouterr().err
    assert "not as expected: HelloRetryRequest: got False, wanted True\n" in shown
    assert shown.endswith("1 passed, 1 failed\n")
