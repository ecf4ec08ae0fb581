"""What was found, for people."""

from __future__ import annotations

import gc
import os
import platform
import ssl
from importlib.metadata import version
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from rich.console import Console
from rich.table import Table

from benchmarks.handshake import NEEDED

NAMES = {
    "native": "tlsprovider, native",
    "ssl": "Python's ssl",
    "pyopenssl": "pyOpenSSL",
    "primitives": "the primitives alone",
    "aead": "the cipher alone",
}


def describe_machine() -> dict[str, Any]:
    """Machine, versions and settings that the figures depend on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "ssl": ssl.OPENSSL_VERSION,
        "pyopenssl": f"{version('pyOpenSSL')} with {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode()}",
        "cryptography": version("cryptography"),
        "garbage_collector": list(gc.get_threshold()) if gc.isenabled() else "off",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def show(results: dict[str, Any]) -> None:
    console = Console()
    machine = results["machine"]
    console.print(
        f"{machine['processor']}, {machine['cores']} cores; {machine['system']}; {machine['python']}\n"
        f"cryptography {machine['cryptography']}; ssl with {machine['ssl']}; pyOpenSSL {machine['pyopenssl']}\n"
        f"medians of {results['rounds']} rounds; ratios compare times: below 1, native is the faster",
        highlight=False,
    )
    console.print(_handshakes(results["handshake"]))
    for found in results["records"]:
        console.print(_records(found))
    console.print(_twisted(results["twisted"]))


def _handshakes(found: dict[str, Any]) -> Table:
    table = Table(title="Full handshake, client and server: X25519, P-256, AES-128-GCM", title_justify="left")
    _columns(table, "", "µs", "per second", "native / this")
    times = found["microseconds"]
    for name in ("native", "ssl", "pyopenssl", "primitives"):
        ratio = found["ratios"].get(f"native/{name}")
        table.add_row(NAMES[name], f"{times[name]:.0f}", f"{1e6 / times[name]:.0f}", f"{ratio:.2f}" if ratio else "")
    table.add_section()
    for name, count in NEEDED.items():
        table.add_row(f"{count} x {name}", f"{times[name]:.0f}", "", "")
    return table


def _records(found: dict[str, Any]) -> Table:
    table = Table(title=f"Records of {found['size']} bytes, sealed and opened", title_justify="left")
    _columns(table, "", "µs", "MB/s", "native / this")
    for name in ("native", "ssl", "pyopenssl", "aead"):
        ratio = found["ratios"].get(f"native/{name}")
        table.add_row(
            NAMES[name],
            f"{found['microseconds'][name]:.1f}",
            f"{found['megabytes_per_second'][name]:.0f}",
            f"{ratio:.2f}" if ratio else "",
        )
    return table


def _twisted(measures: dict[str, Any]) -> Table:
    table = Table(title="Twisted over loopback, both ends, X25519, P-256, AES-128-GCM", title_justify="left")
    _columns(table, "", "Twisted's own", "install() / this", "native / this")
    for name, found in measures.items():
        unit, amounts = ("KiB", found["kibibytes"]) if "kibibytes" in found else ("µs", found["microseconds"])
        ratios = found["ratios"]
        table.add_row(
            name,
            f"{amounts['stock']:.0f} {unit}",
            f"{ratios['installed/stock']:.2f}",
            f"{ratios['native/stock']:.2f}",
        )
    return table


def _columns(table: Table, first: str, *others: str) -> None:
    table.add_column(first, min_width=22)
    for name in others:
        table.add_column(name, justify="right", min_width=10)
