"""``PYTHONPATH=tests python -m bogo RUNNER``: run BoringSSL's test runner over our shim, and report.

The runner is the test binary of BoringSSL's ``ssl/test/runner`` (a Go package); whoever has one gives its path. The
exit status is 0 when no enabled test failed and, in a run of everything, enough were passed: a mistake that turns
hundreds of tests into unimplemented ones would otherwise look like success.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bogo import warm
from bogo.report import Report, read_results, renew_page

__all__ = ["main"]

CONFIG: Final = Path(__file__).with_name("config.json")
PAGE: Final = Path(__file__).parents[2] / "docs" / "conformance.md"
# A run of everything has to pass at least so many; raise it when more is implemented.
ENOUGH: Final = 780
# SSL_read(3), as OpenSSL does it, answers every request for a KeyUpdate as it comes; these want one answer to several.
NOT_OVER_SSL_OBJECT: Final = "KeyUpdate-Requested;KeyUpdate-Requested-UnfinishedWrite"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    with tempfile.TemporaryDirectory(prefix="bogo-") as name:
        report = _run(options, Path(name))
    text = json.dumps(report.as_json(), indent=2)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    else:
        print(text)
    if options.write_docs:
        renew_page(PAGE, report.as_markdown())
    passed, failed = report.counts["passed"], report.counts["failed"]
    enough = passed >= ENOUGH or options.test is not None
    print(f"{passed} passed, {failed} failed" + ("" if enough else f"; at least {ENOUGH} should pass"), file=sys.stderr)
    return 0 if enough and passed and not failed else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bogo", description=__doc__)
    parser.add_argument("runner", type=Path, help="the runner: the compiled tests of BoringSSL's ssl/test/runner")
    parser.add_argument("--runner-version", default="version unknown", help="what to call it in the report")
    parser.add_argument("--test", help="only these tests: patterns with semicolons between them")
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 1) + 1, help="tests at the same time")
    parser.add_argument("--provider", default="native", help="whose TLS to test")
    parser.add_argument("--ssl-object", action="store_true", help="go through tlsprovider.ssl.SSL in all tests")
    parser.add_argument("--json", type=Path, help="where to write the counts; default: print them")
    parser.add_argument("--write-docs", action="store_true", help="put the tables into docs/conformance.md")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, folder: Path) -> Report:
    reasons = folder / "reasons"
    reasons.touch()
    report = Report(options.runner_version)
    extra = ["-provider", options.provider, *(["-ssl-object"] if options.ssl_object else [])]
    flags = [
        f"-shim-extra-flags={';'.join(extra)}",
        f"-num-workers={options.workers}",
        *([f"-test={options.test}"] if options.test else []),
        *([f"-skip={NOT_OVER_SSL_OBJECT}"] if options.ssl_object else []),
    ]
    with _warm_process(folder, reasons, options.provider) as shim:
        report.add_results(_run_tests(options.runner, shim, flags))
    report.add_reasons(reasons.read_text(encoding="utf-8").splitlines())
    disabled = json.loads(CONFIG.read_text(encoding="utf-8"))["DisabledTests"]
    if not options.test:
        report.add_disabled(_names_of(options.runner, folder, list(disabled)), disabled)
    return report


@contextmanager
def _warm_process(folder: Path, reasons: Path, provider: str) -> Iterator[Path]:
    """The process that answers stubs, while the block runs; gives the path of what the runner should start."""
    address = folder / "warm"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen(64)
        descriptor = listener.fileno()
        process = subprocess.Popen(
            [sys.executable, "-m", "bogo.warm", str(descriptor), str(reasons), provider], pass_fds=[descriptor]
        )
    try:
        yield warm.launcher(folder, address)
    finally:
        process.terminate()
        process.wait()


def _run_tests(runner: Path, shim: Path, flags: list[str]) -> Iterator[str]:
    """What the runner prints, line by line. Failures are shown as they come."""
    command = [
        str(runner.resolve()),
        "-test.timeout=0",
        f"-shim-path={shim}",
        f"-shim-config={CONFIG}",
        "-allow-unimplemented",
        "-pipe",
        *flags,
    ]
    showing = False
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            for outcome, _ in read_results([line]):
                showing = outcome == "failed"
            if showing:
                sys.stderr.write(line)
            yield line


def _names_of(runner: Path, folder: Path, patterns: list[str]) -> list[str]:
    """Which tests the patterns mean. The runner has no list; but a shim that does nothing makes it name them all."""
    if not patterns:
        return []
    idle = folder / "idle"
    idle.write_text('#!/bin/sh\ncase "$*" in *-is-handshaker-supported*) echo No; exit 0;; esac\nexit 89\n')
    idle.chmod(0o700)
    lines = _run_tests(runner, idle, ["-include-disabled", f"-test={';'.join(patterns)}"])
    return [test for _, test in read_results(lines)]
