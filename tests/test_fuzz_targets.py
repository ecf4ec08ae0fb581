"""The fuzzing targets as tests: the seeds, the corpus, and a bounded number of examples that are always the same.

See the head of ``fuzz/__init__.py`` for the invariant, and for how to run the targets for longer.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bounded import bounded
from hypothesis import given
from hypothesis import strategies as st

from fuzz import peers
from fuzz.seeds import seeds
from fuzz.targets import TARGETS
from tlsprovider.crypto import signatures
from tlsprovider.engine import NativeEngine
from tlsprovider.handshake import steps
from tlsprovider.record import RecordReader
from tlsprovider.wire.codec import Reader

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "fuzz" / "corpus"
# Whole conversations are slower than decoders.
EXAMPLES = {"wire": 600, "record": 200, "client": 60, "server": 60}
EXAMPLES_OF_CONVERSATIONS = 120

each_target = pytest.mark.parametrize("name", TARGETS)


def corpus(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@st.composite
def changed(draw: st.DrawFn, inputs: list[bytes]) -> bytes:
    """One of the inputs, cut, overwritten here and there, and with something behind it."""
    data = bytearray(draw(st.sampled_from(inputs)))
    for at, byte in draw(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=4)):
        if data:
            data[at % len(data)] = byte
    return bytes(data[: draw(st.none() | st.integers(0, 2000))]) + draw(st.binary(max_size=20))


@each_target
class TestTargets:
    def test_seeds_and_corpus(self, name: str) -> None:
        known = corpus(name)
        assert known
        for data in [*seeds(name), *known]:
            TARGETS[name](data)

    def test_nothing(self, name: str) -> None:
        TARGETS[name](b"")

    def test_examples(self, name: str) -> None:
        @bounded(EXAMPLES.get(name, EXAMPLES_OF_CONVERSATIONS))
        @given(st.binary(max_size=80) | changed([*seeds(name), *corpus(name)]))
        def run(data: bytes) -> None:
            TARGETS[name](data)

        run()

    def test_every_corpus_file_is_small(self, name: str) -> None:
        assert [path.name for path in (CORPUS / name).iterdir() if path.stat().st_size > 4096] == []


def test_every_corpus_belongs_to_a_target() -> None:
    assert {path.name for path in CORPUS.iterdir()} == {*TARGETS}


class TestSeedsGoDeep:
    """A fuzzer that starts at real flights has the whole handshake behind it, not only the first message."""

    @pytest.mark.parametrize("name", ["client", "server"])
    def test_real_flights_are_accepted(self, name: str) -> None:
        found = [peers.meet_stranger(seed, name == "server") for seed in seeds(name)]
        assert [(side.connected, side.closed) for side in found] == [(True, True)] * len(peers.CONFIGURATIONS)

    @pytest.mark.parametrize("liar_is_server", [False, True])
    def test_a_program_that_changes_nothing(self, liar_is_server: bool) -> None:
        """Its one edit is of a message that is never sent."""
        victim, lied_to = peers.meet_liar(b"\x00\x01\x00\x07", liar_is_server)
        assert (victim.connected, victim.closed, lied_to) == (True, True, False)

    @pytest.mark.parametrize("liar_is_server", [False, True])
    def test_a_lie_that_is_believed_by_both(self, liar_is_server: bool) -> None:
        """An extension that nobody knows: in a ClientHello it changes nothing, in a ServerHello it may not be."""
        edit = bytes((4, 3, 0, 0x6A, 0x6A, 1, 0xFF))
        victim, lied_to = peers.meet_liar(b"\x00\x01\x00\x00" + edit, liar_is_server)
        assert lied_to
        assert victim.connected is not liar_is_server


def passes(self: object, *arguments: object, **named: object) -> None:
    """Checks nothing."""


def breaks(*arguments: object, **named: object) -> None:
    raise KeyError("a mistake of ours")


def says_all_is_well(*arguments: object) -> bool:
    return True


def loses_single_bytes(self: RecordReader, data: bytes) -> None:
    if len(data) != 1:
        self._buffer += data


def forgets(self: NativeEngine, error: Exception) -> None:
    self._coroutine = None


READ = NativeEngine.read


def gives_twice(self: NativeEngine, max_bytes: int | None = None) -> bytes:
    return READ(self, max_bytes) * 2


BUGS: list[tuple[str, object, str, Callable[..., object]]] = [
    ("wire", Reader, "end", passes),
    ("wire", Reader, "u16_list", breaks),
    ("record", RecordReader, "feed", loses_single_bytes),
    ("record", RecordReader, "_strip_padding", breaks),
    ("client", signatures, "verify", breaks),
    ("client", NativeEngine, "read", gives_twice),
    ("server", signatures, "verify", breaks),
    ("server", NativeEngine, "read", gives_twice),
    ("client_flight", steps.hmac, "compare_digest", says_all_is_well),
    ("server_flight", steps.hmac, "compare_digest", says_all_is_well),
    ("call_order", NativeEngine, "_fail", forgets),
    ("call_order", NativeEngine, "read", gives_twice),
]


@pytest.mark.parametrize(("name", "where", "what", "bug"), BUGS, ids=[f"{bug[0]}-{bug[2]}" for bug in BUGS])
def test_a_target_sees_a_bug(
    monkeypatch: pytest.MonkeyPatch, name: str, where: object, what: str, bug: Callable[..., object]
) -> None:
    """A check that can't fail checks nothing: with a mistake put into the engine, the known inputs are enough."""
    inputs = [*seeds(name), *corpus(name)]
    monkeypatch.setattr(where, what, bug)
    if what == "compare_digest":
        monkeypatch.setattr(signatures, "verify", passes)
    with pytest.raises((AssertionError, KeyError)):
        for data in inputs:
            TARGETS[name](data)


class TestCommand:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fuzz", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=50
        )

    def test_list(self) -> None:
        done = self.run("list")
        assert done.returncode == 0, done.stderr
        assert [line.split()[0] for line in done.stdout.splitlines()] == [*TARGETS]

    def test_replay(self, tmp_path: Path) -> None:
        path = tmp_path / "input"
        path.write_bytes(seeds("wire")[0])
        assert self.run("wire", str(path)).returncode == 0

    def test_without_atheris(self, tmp_path: Path) -> None:
        """It is no dependency of the project: whoever lacks it is told what to do."""
        (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['atheris'] = None\n")
        done = subprocess.run(
            [sys.executable, "-m", "fuzz", "wire"],
            cwd=ROOT,
            env={"PYTHONPATH": str(tmp_path), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.returncode == 1
        assert "pip install -e '.[fuzz]'" in done.stderr
        assert "Traceback" not in done.stderr
