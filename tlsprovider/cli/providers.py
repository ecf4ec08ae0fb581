"""``tlsprovider providers``: which TLS implementations are installed."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tlsprovider.providers import list_providers

__all__ = ["command"]


@click.command("providers")
def command() -> None:
    """List the installed TLS implementations; the names are what provider= takes."""
    table = Table("name", "TLS 1.3", "TLS 1.2", "description", box=None)
    for provider in list_providers():
        versions = ("yes" if provider.supports(version) else "no" for version in ("TLSv1.3", "TLSv1.2"))
        table.add_row(provider.name, *versions, provider.description)
    Console().print(table)
