"""The order of the house, and that nothing breaks it.

``LAYERS`` is the documentation of the order: a module may import modules of its own layer and of lower ones. The
longest matching prefix counts. Imports for annotations only (``if TYPE_CHECKING:``) are exempt: they do not run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "tlsprovider"

LAYERS = {
    # Numbers and words that everybody uses.
    "tlsprovider.iana": 0,
    "tlsprovider.errors": 0,
    "tlsprovider.events": 0,
    "tlsprovider.values": 0,
    "tlsprovider.remember": 0,
    # Names that are loaded when they are needed.
    "tlsprovider.late": 0,
    # Bytes <-> values, and keys: two rooms without a door between them.
    "tlsprovider.wire": 1,
    "tlsprovider.crypto": 2,
    # Framing and protection.
    "tlsprovider.record": 3,
    "tlsprovider.reassembly": 3,
    # What the application says.
    "tlsprovider.questions": 4,
    "tlsprovider.identity": 4,
    "tlsprovider.identity_directory": 4,
    "tlsprovider.system_trust": 4,
    "tlsprovider.trust": 4,
    "tlsprovider.session": 4,
    "tlsprovider.psk": 4,
    "tlsprovider.config": 4,
    # Who says what when.
    "tlsprovider.handshake": 5,
    # One TLS connection without I/O, and whoever provides it.
    "tlsprovider.interfaces": 6,
    "tlsprovider.driver": 6,
    "tlsprovider.engine": 6,
    "tlsprovider.providers": 6,
    # A word to TCP that adapters share.
    "tlsprovider.quick_ack": 6,
    # The public face of all that is below it.
    "tlsprovider": 6,
    # Transports.
    "tlsprovider.ssl": 7,
    "tlsprovider.sslcontext": 7,
    "tlsprovider.twisted": 7,
    "tlsprovider.trio": 7,
    # Private keys elsewhere: in a process of their own, in hardware.
    "tlsprovider.keyserver": 7,
    "tlsprovider.pkcs11": 7,
    # Keys of tickets that several servers share.
    "tlsprovider.fleet": 7,
    # What a provider has to stand, for those who write one.
    "tlsprovider.testing": 7,
    # The command.
    "tlsprovider.cli": 8,
}

# Rooms of the same or neighbouring layers that must not know each other.
STRANGERS = {
    "tlsprovider.wire": ("tlsprovider.crypto",),
    "tlsprovider.crypto": ("tlsprovider.wire",),
    "tlsprovider.twisted": ("tlsprovider.trio",),
    "tlsprovider.trio": ("tlsprovider.twisted",),
}

# Third parties, and the only places where they may be imported when the program runs.
DOMAINS = {
    "twisted": ("tlsprovider.twisted", "tlsprovider.cli"),
    "trio": ("tlsprovider.trio", "tlsprovider.cli"),
    "cryptography": ("tlsprovider.crypto", "tlsprovider.twisted", "tlsprovider.cli"),
    "OpenSSL": ("tlsprovider.twisted", "tlsprovider.providers"),
    "pkcs11": ("tlsprovider.pkcs11",),
    "redis": ("tlsprovider.fleet",),
    "click": ("tlsprovider.cli",),
    "rich": ("tlsprovider.cli",),
}

# The outside world, and who below layer 6 may look at it and why.
WORLD = {"asyncio", "os", "random", "select", "selectors", "socket", "ssl", "subprocess", "threading", "time"}
WORLD_EXCEPTIONS = {
    "tlsprovider.config": {"os", "time"},  # default clock and entropy
    "tlsprovider.identity_directory": {"os", "time"},  # notices when files change; default clock
    "tlsprovider.session": {"os", "threading"},  # a file that only its owner reads; a store that threads share
    "tlsprovider.system_trust": {"os", "ssl"},  # finds the certificates of the operating system
}


def modules() -> dict[str, Path]:
    """Every module of the package: dotted name -> file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that can run: those under ``if TYPE_CHECKING:`` are left out."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and is_type_checking(child.test):
            for other in child.orelse:
                yield other
                yield from running_nodes(other)
        else:
            yield child
            yield from running_nodes(child)


def imports(source: str, module: str, known: frozenset[str]) -> set[str]:
    """Dotted names of what ``source`` imports when it runs, at the top or in a function."""
    found = set()
    for node in running_nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} line {node.lineno}: write the whole name, not a relative import"
            assert node.module is not None
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in known else node.module)
    return found


def imports_of(module: str) -> set[str]:
    return imports(MODULES[module].read_text(encoding="utf-8"), module, frozenset(MODULES))


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith(room + ".")


def layer(module: str) -> int:
    rooms = [room for room in LAYERS if inside(module, room)]
    room = max(rooms, key=len)
    assert room != "tlsprovider" or module == "tlsprovider", f"{module} has no place: add it to LAYERS in this file"
    return LAYERS[room]


@pytest.mark.parametrize("module", MODULES)
def test_imports_nothing_from_a_higher_layer(module: str) -> None:
    own = layer(module)
    higher = {name for name in imports_of(module) if inside(name, "tlsprovider") and layer(name) > own}
    assert not higher, f"{module} is in layer {own} and imports {', '.join(sorted(higher))} from above it"


@pytest.mark.parametrize("module", MODULES)
def test_strangers_stay_strangers(module: str) -> None:
    for room, forbidden in STRANGERS.items():
        if inside(module, room):
            met = {name for name in imports_of(module) for other in forbidden if inside(name, other)}
            assert not met, f"{module} imports {', '.join(sorted(met))}"


@pytest.mark.parametrize("module", MODULES)
def test_third_parties_stay_in_their_rooms(module: str) -> None:
    for name in imports_of(module):
        rooms = DOMAINS.get(name.partition(".")[0])
        if rooms is not None:
            assert any(inside(module, room) for room in rooms), f"{module} imports {name}; only {rooms} may"


@pytest.mark.parametrize("module", MODULES)
def test_low_layers_do_not_look_at_the_world(module: str) -> None:
    if layer(module) >= 6:
        return
    allowed = WORLD_EXCEPTIONS.get(module, set())
    looked = {name.partition(".")[0] for name in imports_of(module)} & WORLD - allowed
    assert not looked, f"{module} imports {', '.join(sorted(looked))}; only layers from 6 on may"


def test_every_room_in_the_table_exists() -> None:
    missing = {room for room in LAYERS if room not in MODULES}
    assert not missing, f"LAYERS names {', '.join(sorted(missing))}, which are not there"


def test_plugin_file_imports_only_twisted() -> None:
    """Twisted loads it in every process that looks for plugins, so it must stay light."""
    plugin = ROOT / "twisted" / "plugins" / "tlsprovider_plugins.py"
    names = imports(plugin.read_text(encoding="utf-8"), "tlsprovider_plugins", frozenset(MODULES))
    heavy = {name for name in names if name.startswith(("twisted.internet.reactor", "cryptography", "OpenSSL", "trio"))}
    assert not heavy
    assert not (ROOT / "twisted" / "__init__.py").exists()
    assert not (ROOT / "twisted" / "plugins" / "__init__.py").exists()


class TestTheTestItself:
    """The parser that the tests above rely on sees what runs, and only that."""

    def test_sees_imports_in_functions(self) -> None:
        source = "def f():\n    import socket\n    from tlsprovider import engine\n"
        assert imports(source, "m", frozenset({"tlsprovider.engine"})) == {"socket", "tlsprovider.engine"}

    def test_does_not_see_imports_for_annotations(self) -> None:
        source = (
            "if TYPE_CHECKING:\n    import socket\nelse:\n    import select\nif typing.TYPE_CHECKING:\n    import os\n"
        )
        assert imports(source, "m", frozenset()) == {"select"}

    def test_sees_imports_in_try(self) -> None:
        assert imports("try:\n    import ssl\nexcept ImportError:\n    pass\n", "m", frozenset()) == {"ssl"}

    def test_refuses_relative_imports(self) -> None:
        with pytest.raises(AssertionError, match="relative"):
            imports("from . import engine", "m", frozenset())

    def test_a_new_module_needs_a_place(self) -> None:
        with pytest.raises(AssertionError, match="has no place"):
            layer("tlsprovider.helpers")
