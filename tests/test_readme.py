"""The README: its code runs, and its commands are those that CI runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pages import ROOT, Block, blocks, echo_server, run_block, write_certificates

from tlsprovider.config import DEFAULT_GROUPS, ClientConfig, ServerConfig

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = blocks(ROOT / "README.md")
COMMANDS = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("readme")
    write_certificates(path)
    return path


@pytest.fixture(scope="module")
def echo_port(folder: Path) -> Iterator[int]:
    yield from echo_server(folder)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_code_runs(block: Block, folder: Path, echo_port: int) -> None:
    assert block.name is not None, "mark the block as runnable: <!-- run: a name -->"
    said = run_block(block, folder, echo_port)
    assert ("hello" in said) == ("hello" in block.code)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    [_demo, tests] = COMMANDS
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert [line for line in ci if line.startswith("python3 -m venv")] == [f"{tests} || failed+=(tests)"]
    assert tests.endswith("-m pytest")


def test_demo_command_runs_the_demo() -> None:
    assert COMMANDS[0].endswith("/tlsprovider demo")


def test_commands_are_on_the_first_screens() -> None:
    lines = README.splitlines()
    assert max(lines.index(command) for command in COMMANDS) < 45


def test_configuration_table_names_fields_that_exist() -> None:
    [table] = re.findall(r"\| field \| default \|.*?\n\n", README, re.DOTALL)
    fields = {field for line in table.strip().splitlines()[2:] for field in re.findall(r"`(\w+)`", line.split("|")[1])}
    known = {field.name for config in (ClientConfig, ServerConfig) for field in config.__attrs_attrs__}
    assert fields <= known
    assert ", ".join(str(group) for group in DEFAULT_GROUPS) in table
