"""``tlsprovider demo``: every client against every server, on this machine.

Two rounds. In the first all pairs connect at the same time, because that is what servers have to stand. In the second
each pair has the machine to itself and is timed. Servers run in one process and clients in another.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import attrs
import click
from rich.console import Console
from rich.table import Table

from tlsprovider.cli.demo_servers import PARTIES, party
from tlsprovider.cli.demo_visit import DemoError, Facts, Material, Visit
from tlsprovider.cli.failures import Failure, sentence
from tlsprovider.crypto.authority import Authority

__all__ = ["command"]

PAIRS = [(server, client) for server in PARTIES for client in PARTIES if (server, client) != ("openssl", "openssl")]
NAMES = {"twisted": "Twisted", "trio": "trio", "plain": "sockets", "openssl": "OpenSSL"}
MIB = 1024 * 1024
SECONDS = 20
"""When the demo gives up."""


@attrs.frozen
class Effort:
    """How much each pair does: handshakes to take the median of, and bytes to send."""

    handshakes: int
    size: int


NORMAL = Effort(handshakes=10, size=8 * MIB)
QUICK = Effort(handshakes=2, size=MIB)


@attrs.define
class Result:
    """What came of one pair; ``failure`` is None if all went well."""

    server: str
    client: str
    failure: str | None = None
    facts: Facts | None = None
    handshake_ms: float | None = None
    megabytes_per_second: float | None = None


@click.command("demo")
@click.option("--quick", is_flag=True, help="Fewer handshakes and fewer bytes: does it work, rather than how fast.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
def command(quick: bool, as_json: bool) -> None:
    """Run Twisted, trio, plain sockets and OpenSSL against each other on loopback, and show what they negotiate.

    Makes throw-away certificates; nothing leaves this machine. Exit code 1 if any pair failed.
    """
    begun = time.monotonic()
    material = _certificates()
    with _servers(material) as ports:
        results = _run(material, ports, QUICK if quick else NORMAL, deadline=begun + SECONDS)
    if as_json:
        click.echo(json.dumps([attrs.asdict(result) for result in results], indent=2))
    else:
        _show(results, time.monotonic() - begun)
    failed = sum(result.failure is not None for result in results)
    if failed:
        raise Failure(f"{failed} of {len(results)} pairs failed")


def _certificates() -> Material:
    authority = Authority("tlsprovider demo")
    issued = authority.issue("localhost", "127.0.0.1")
    return Material(authority.certificate_pem.decode(), issued.chain_pem.decode(), issued.key_pem.decode())


@contextmanager
def _servers(material: Material) -> Iterator[dict[str, int]]:
    """All servers in a process of their own; the port of each."""
    command_line = [sys.executable, "-m", "tlsprovider.cli.demo_servers"]
    with subprocess.Popen(  # noqa: S603 - this very Python, with fixed arguments
        command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(attrs.asdict(material)) + "\n")
            process.stdin.flush()
            ports = process.stdout.readline()
            if not ports:
                raise Failure("the servers did not start; see above")
            yield json.loads(ports)
        finally:
            # The servers are threads that nobody has to end in order.
            process.kill()


def _run(material: Material, ports: dict[str, int], effort: Effort, deadline: float) -> list[Result]:
    results = [Result(server, client) for server, client in PAIRS]
    # Not "with": leaving it would wait for a visit that hangs.
    pool = ThreadPoolExecutor(len(results), thread_name_prefix="demo")
    try:
        together = [pool.submit(_visit, result, material, ports, 1024) for result in results]
        for result, future in zip(results, together, strict=True):
            _collect(result, future, deadline)
        for result in results:
            if result.failure is None:
                _collect(result, pool.submit(_measure, result, material, ports, effort), deadline)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return results


def _collect(result: Result, future: Future[None], deadline: float) -> None:
    try:
        future.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        result.failure = f"not done after {SECONDS} seconds"
    except Exception as error:
        result.failure = sentence(error)


def _visit(result: Result, material: Material, ports: dict[str, int], size: int) -> None:
    visit = party(result.client).visit(ports[result.server], material, size)
    _expect(visit)
    result.facts = visit.facts


def _measure(result: Result, material: Material, ports: dict[str, int], effort: Effort) -> None:
    client, port = party(result.client), ports[result.server]
    shaken = [client.visit(port, material, 0).handshake for _ in range(effort.handshakes)]
    visit = client.visit(port, material, effort.size)
    _expect(visit)
    result.handshake_ms = round(statistics.median(shaken) * 1000, 2)
    result.megabytes_per_second = round(effort.size / visit.transfer / 1e6, 1)


def _expect(visit: Visit) -> None:
    if visit.facts.version != "TLSv1.3":
        raise DemoError(f"negotiated {visit.facts.version} in place of TLSv1.3")


def _show(results: list[Result], seconds: float) -> None:
    # Fits 80 columns as long as the suite is not ChaCha20.
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold underline")
    for heading in ("server", "client", "version", "cipher suite", "key exchange"):
        table.add_column(heading, no_wrap=True)
    table.add_column("handshake", justify="right", no_wrap=True)
    table.add_column("MB/s", justify="right", no_wrap=True)
    for number, result in enumerate(results):
        if number and results[number - 1].server != result.server:
            table.add_row()
        table.add_row(*_row(result), style="red" if result.failure else None)
    console = Console(highlight=False)
    console.print(table)
    console.print()
    for result in results:
        if result.failure is not None:
            line = f"{NAMES[result.client]} at {NAMES[result.server]}: {result.failure}"
            console.print(line, style="red", markup=False)
    console.print(
        f"{len(results)} pairs in {seconds:.1f} seconds: first all at once, then each alone, which gives the figures."
        " Handshake: TCP and TLS, as the client saw it (median). OpenSSL is the one in Python's ssl module; all others"
        " are tlsprovider."
    )


def _row(result: Result) -> list[str]:
    names = [NAMES[result.server], NAMES[result.client]]
    if result.failure is not None or result.facts is None:
        return [*names, "failed"]
    facts = result.facts
    suite = (facts.cipher or "?").removeprefix("TLS_")
    speed = [f"{result.handshake_ms:.1f} ms", f"{result.megabytes_per_second:.0f}"]
    return [*names, facts.version or "?", suite, facts.group or "?", *speed]
