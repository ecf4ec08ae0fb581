"""``python -m tlsprovider.cli``: the command, where nothing was installed."""

from tlsprovider.cli import main

main(prog_name="tlsprovider")
