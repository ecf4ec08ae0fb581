"""What was found, for people."""

from __future__ import annotations

import gc
import os
import platform
import ssl
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from OpenSSL import SSL
from rich.console import Console
from rich.table import Table

from benchmarks.lines import Line


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
        "twisted": version("twisted"),
        "trio": version("trio"),
        "garbage_collector": list(gc.get_threshold()) if gc.isenabled() else "off",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


# A table is not folded where the output is no terminal.
console = Console(width=max(Console().width, 120))


def show_machine(machine: dict[str, Any], rounds: int) -> None:
    console.print(
        f"{machine['processor']}, {machine['cores']} cores; {machine['system']}; {machine['python']}\n"
        f"cryptography {machine['cryptography']}; ssl with {machine['ssl']}; pyOpenSSL {machine['pyopenssl']};"
        f" Twisted {machine['twisted']}; trio {machine['trio']}\n"
        f"medians of {rounds} rounds; goals are for ours / theirs, of times, rates or memory as the unit says",
        highlight=False,
    )


def show(title: str, lines: Iterable[Line]) -> None:
    """One table for each subject."""
    table = Table(title=title, title_justify="left")
    table.add_column("", min_width=30)
    table.add_column("against")
    for name in ("ours", "theirs", "ours / theirs", "goal", "met"):
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(
            line.what,
            line.against,
            f"{_figure(line.ours)} {line.unit}",
            "" if line.theirs is None else f"{_figure(line.theirs)} {line.unit}",
            "" if line.ratio is None else f"{line.ratio:.3f}",
            "" if line.goal is None else f"{'≥' if line.measure == 'rate' else '≤'} {line.goal:g}",
            {None: "", True: "yes", False: "no"}[line.met],
        )
    console.print(table)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
