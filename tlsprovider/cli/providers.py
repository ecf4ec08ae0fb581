"""``tlsprovider providers``: which TLS implementations are installed, and what each can do."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from tlsprovider.providers import list_providers
from tlsprovider.providers.table import rows

__all__ = ["command"]


@click.command("providers")
@click.option("--features", is_flag=True, help="Show what each of them can do, feature by feature.")
def command(features: bool) -> None:
    """List the installed TLS implementations; the names are what provider= takes."""
    providers = list_providers()
    table = Table("name", "TLS 1.3", "TLS 1.2", "description", box=None)
    for provider in providers:
        versions = ("yes" if provider.supports(version) else "no" for version in ("TLSv1.3", "TLSv1.2"))
        table.add_row(provider.name, *versions, provider.description)
    if features:
        table = Table("feature", *(provider.name for provider in providers), "meaning", box=None)
        for row in rows(providers):
            table.add_row(row.feature, *row.cells, row.meaning)
    Console().print(table)
