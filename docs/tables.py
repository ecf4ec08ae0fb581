"""The tables in these pages that repeat what the code says: ``python docs/tables.py`` writes them anew.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``. tests/test_docs.py insists that each is what this
script would write.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import attrs

from tlsprovider import config
from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.errors import Fault
from tlsprovider.ssl.codes import ErrorCode
from tlsprovider.twisted.words import WORDS

HERE = Path(__file__).parent

# Fields whose names say it all, so that the source has no words for them.
PLAIN = {"min_version": "The oldest version that is allowed.", "max_version": "The newest version that is allowed."}

# Defaults that are computed, by class and field.
COMPUTED = {
    ("ClientConfig", "trust"): "`TrustStore.system()`",
    ("ClientConfig", "key_shares"): "the first two of `groups`",
    ("ClientConfig", "sessions"): "`MemorySessions()`",
    ("ServerConfig", "tickets"): "`TicketKeyRing()`",
}


def faults() -> list[str]:
    rows = []
    for fault in Fault:
        section = fault.section if fault.section.startswith("RFC") else f"RFC 9846 {fault.section}"
        rows.append((f"`{fault.name}`", fault.sentence, f"`{fault.alert.name}`", section))
    return table(("fault", "meaning", "alert", "source"), rows)


def client_config() -> list[str]:
    return fields(config.ClientConfig, config._Common)


def server_config() -> list[str]:
    return fields(config.ServerConfig, config._Common)


def common_config() -> list[str]:
    return fields(config._Common)


def groups() -> list[str]:
    rows = []
    for group in IMPLEMENTED_GROUPS:
        default = config.DEFAULT_GROUPS.index(group) + 1 if group in config.DEFAULT_GROUPS else "-"
        rows.append((f"`{group}`", f"0x{int(group):04x}", str(default)))
    return table(("group", "number", "place among the defaults"), rows)


def error_codes() -> list[str]:
    described = descriptions(ErrorCode)
    rows = [(str(int(code)), f"`{code.name}`", described.get(code.name, "")) for code in ErrorCode]
    return table(("code", "name", "meaning"), rows)


def server_words() -> list[str]:
    return words(("server",))


def client_words() -> list[str]:
    return words(("client",))


def common_words() -> list[str]:
    return words(("server", "client"))


def words(sides: tuple[str, ...]) -> list[str]:
    rows = []
    for word in WORDS:
        if word.sides == sides:
            rows.append((f"`{word.name}=`", ", ".join(f"`{name}=`" for name in word.also), word.meaning))
    return table(("word", "also", "meaning"), rows)


TABLES: dict[str, Callable[[], list[str]]] = {
    "faults": faults,
    "common_config": common_config,
    "client_config": client_config,
    "server_config": server_config,
    "groups": groups,
    "error_codes": error_codes,
    "server_words": server_words,
    "client_words": client_words,
    "common_words": common_words,
}


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    cells = [heads, tuple("---" for _ in heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]


def fields(cls: type[attrs.AttrsInstance], without: type[attrs.AttrsInstance] | None = None) -> list[str]:
    """One row for each field of a configuration, with its default, and with what its docstring says."""
    inherited = set() if without is None else {field.name for field in attrs.fields(without)}
    described = descriptions(cls)
    rows = []
    for field in attrs.fields(cls):
        if field.name not in inherited:
            assert field.alias is not None
            default = COMPUTED.get((cls.__name__, field.alias)) or default_of(field)
            rows.append((f"`{field.alias}`", default, described.get(field.alias) or PLAIN[field.alias]))
    return table(("field", "default", "meaning"), rows)


def default_of(field: attrs.Attribute[object]) -> str:
    default = field.default
    if isinstance(default, tuple):
        return ", ".join(f"`{member}`" for member in default) or "none"
    if callable(default):
        return f"`{default.__module__}.{default.__name__}`".replace("posix.", "os.")
    if default is None:
        return "none"
    return f"`{default}`" if isinstance(default, bool) or not isinstance(default, str) else f"`{default!r}`"


def descriptions(cls: type) -> dict[str, str]:
    """What the source of a class says of its members: the string below each, or a property's docstring, as Markdown."""
    [body] = [node.body for node in ast.parse(inspect.getsource(cls)).body if isinstance(node, ast.ClassDef)]
    found = {node.name: markdown(ast.get_docstring(node) or "") for node in body if isinstance(node, ast.FunctionDef)}
    for above, below in pairwise(body):
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str):
            if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
                found[above.target.id] = markdown(below.value.value)
            elif isinstance(above, ast.Assign) and isinstance(above.targets[0], ast.Name):
                found[above.targets[0].id] = markdown(below.value.value)
    return found


def markdown(text: str) -> str:
    """From the reStructuredText of a docstring."""
    text = re.sub(r"\s+", " ", text.strip())
    text = re.sub(r":\w+:`~?[\w.]*?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def renewed(page: str) -> str:
    """The page with its tables as they should be."""

    def fill(match: re.Match[str]) -> str:
        return "\n".join([match[1], "", *TABLES[match[2]](), "", "<!-- end -->"])

    return re.sub(r"(<!-- table: (\w+) -->).*?<!-- end -->", fill, page, flags=re.DOTALL)


def main() -> None:
    for path in sorted(HERE.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        if renewed(page) != page:
            path.write_text(renewed(page), encoding="utf-8")
            print(f"{path.name}: tables renewed")


if __name__ == "__main__":
    main()
