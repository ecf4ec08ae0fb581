"""The pages in docs/: their code runs and prints what they say, and their tables are what the code says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
from click.core import Group, Option
from pages import ROOT, Block, blocks, echo_server, run_block, write_certificates

from tlsprovider.cli import main

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
BLOCKS = [block for page in PAGES for block in blocks(page)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("docs")
    write_certificates(path)
    return path


@pytest.fixture(scope="module")
def echo_port(folder: Path) -> Iterator[int]:
    yield from echo_server(folder)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_code_runs_and_prints_what_the_page_says(block: Block, folder: Path, echo_port: int) -> None:
    assert block.name is not None, "mark the block as runnable: <!-- run: a name -->"
    if block.name == "certificates":
        folder = folder / "new"
        folder.mkdir()
    assert run_block(block, folder, echo_port) == (block.output or "")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_up_to_date(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(DOCS)
    tables = import_module("tables")
    text = page.read_text(encoding="utf-8")
    assert tables.renewed(text) == text, "run python docs/tables.py"


def test_every_table_is_used() -> None:
    used = re.findall(r"<!-- table: (\w+) -->", "".join(page.read_text(encoding="utf-8") for page in PAGES))
    assert sorted(used) == [
        "client_config",
        "client_words",
        "common_config",
        "common_words",
        "error_codes",
        "faults",
        "groups",
        "server_config",
        "server_words",
    ]


def test_index_lists_every_page() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    [tree] = re.findall(r"```\{toctree\}\n.*?\n\n(.*?)```", index, re.DOTALL)
    assert sorted([*tree.split(), "index"]) == sorted(page.stem for page in PAGES)


@pytest.mark.parametrize(
    "page", [*PAGES, *ROOT.glob("*.md"), ROOT / "examples" / "README.md"], ids=lambda page: page.name
)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        goal = page if not file else page.parent / file
        assert goal.is_file(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", goal.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


def test_cli_page_names_every_command_and_option() -> None:
    page = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert isinstance(main, Group)
    context = main.make_context("tlsprovider", ["providers"])
    for name in main.list_commands(context):
        assert f"## {name}\n" in page
        command = main.get_command(context, name)
        assert command is not None
        for option in command.params:
            if isinstance(option, Option):
                assert f"{option.opts[-1]}" in page, f"{name} {option.opts[-1]} is not in docs/cli.md"
