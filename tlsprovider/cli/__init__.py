"""The ``tlsprovider`` command. One file per subcommand; each is imported when it is asked for.

Whatever goes wrong is told in one sentence on standard error, with exit code 1 (2 for wrong usage); see
:mod:`tlsprovider.cli.failures`.
"""

from __future__ import annotations

from importlib import import_module

import click

from tlsprovider import __version__
from tlsprovider.cli.failures import told_in_one_sentence

__all__ = ["main"]

COMMANDS = ("connect", "demo", "keyserver", "providers", "serve")


class _Commands(click.Group):
    """Loads a subcommand's module on demand: one does not wait for Twisted to see ``--help`` of another."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"tlsprovider.cli.{cmd_name}").command
        return command

    def invoke(self, ctx: click.Context) -> object:
        with told_in_one_sentence():
            return super().invoke(ctx)


@click.group("tlsprovider", cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """TLS 1.3 for Twisted, trio and plain sockets: try it, serve with it, connect with it."""
