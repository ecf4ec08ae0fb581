"""One process against several that share a port: requests to ``examples/twisted_many_processes.py`` over loopback.

Twice. By the clock on the wall, as waiting for a core is the matter here; the clients are OpenSSL's, in threads of this
process, and take a part of the cores too, as does everything else on the machine. And by the processor time of the
busiest process: what could be served if nothing else wanted the cores.
"""

from __future__ import annotations

import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks.contenders import NAME, Terms
from benchmarks.lines import Line, Run

TITLE = "A Twisted web server in several processes, a new connection for each request"
EXAMPLE = Path(__file__).parent.parent / "examples" / "twisted_many_processes.py"
PROCESSES = (1, 2)
REQUESTS, THREADS = 200, 8
TICKS = os.sysconf("SC_CLK_TCK")


def measure(run: Run) -> list[Line]:
    rounds = min(run.rounds, 3 if run.quick else 15)
    context = ssl.create_default_context(cadata=run.terms.authority.certificate_pem.decode())
    wall: dict[int, list[float]] = {count: [] for count in PROCESSES}
    with ExitStack() as stack, ThreadPoolExecutor(THREADS) as threads:
        servers = {count: stack.enter_context(_served(run.terms, count)) for count in PROCESSES}
        before = {count: _processor_seconds(server) for count, (server, _) in servers.items()}
        for _ in range(rounds):
            for count, (_, port) in servers.items():
                begin = time.perf_counter()
                list(threads.map(_request, [context] * REQUESTS, [port] * REQUESTS))
                wall[count].append((time.perf_counter() - begin) / REQUESTS)
        busiest = {
            count: max(seconds - before[count][pid] for pid, seconds in _processor_seconds(server).items())
            / (rounds * REQUESTS)
            for count, (server, _) in servers.items()
        }
    lines = _compared("by the clock", wall)
    return lines + _compared("by the busiest process", {count: [seconds] for count, seconds in busiest.items()})


def _compared(what: str, seconds: dict[int, list[float]]) -> list[Line]:
    one, *others = PROCESSES
    rate = {count: 1 / median(found) for count, found in seconds.items()}
    return [
        Line(
            f"{count} processes, {what}",
            f"{one} process",
            "rate",
            rate[count],
            "a second",
            rate[one],
            median(alone / together for alone, together in zip(seconds[one], seconds[count], strict=True)),
        )
        for count in others
    ]


@contextmanager
def _served(terms: Terms, count: int) -> Iterator[tuple[int, int]]:
    """The example in so many processes: ``(pid, port)``."""
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder, "server.pem")
        pem.write_bytes(terms.issued.key_pem + terms.issued.chain_pem)
        command = [sys.executable, "-W", "ignore", str(EXAMPLE), str(pem), "0", str(count)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
            assert server.stdout is not None
            found = re.search(r"listening on port (\d+)", server.stdout.readline())
            try:
                assert found is not None, "the example says its port when it listens"
                yield server.pid, int(found[1])
            finally:
                server.kill()


def _processor_seconds(parent: int) -> dict[int, float]:
    """Of each child of that process (Linux)."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    # The fields behind the name, which may hold anything: utime and stime are the 14th and 15th of all.
    fields = {int(pid): Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in children}
    return {pid: (int(found[11]) + int(found[12])) / TICKS for pid, found in fields.items()}


def _request(context: ssl.SSLContext, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        # Or the request waits behind Finished for an acknowledgement that the other side puts off.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(connection, server_hostname=NAME) as stream:
            stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
            while stream.recv(4096):
                pass
