"""``python -m fuzz TARGET``: run one target under atheris. See the package's docstring."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
NO_ATHERIS = """\
atheris is missing: it follows the branches that an input takes, and has wheels for some versions of Python only.
Install it with:  pip install -e '.[fuzz]'
Without it, the same targets run under hypothesis:  pytest tests/test_fuzz_targets.py"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description="Run one target under atheris (libFuzzer).")
    parser.add_argument("target", help="one of those in fuzz/targets.py, or 'list'")
    parser.add_argument("--seconds", type=int, default=60, help="how long [60]; 0 for ever")
    parser.add_argument("--corpus", type=Path, help="a directory for what is learned [thrown away]")
    parser.add_argument(
        "--findings", type=Path, default=Path("."), help="where to put an input that breaks the invariant"
    )
    parser.add_argument("replay", type=Path, nargs="*", help="run only these inputs, without atheris")
    options = parser.parse_args()
    sys.path.insert(0, str(HERE.parent / "tests"))
    if options.target == "list":
        from fuzz.targets import TARGETS

        for name, target in TARGETS.items():
            print(f"{name:14} {target.__doc__}")
    elif options.replay:
        from fuzz.targets import TARGETS

        for path in options.replay:
            TARGETS[options.target](path.read_bytes())
    else:
        run(options)


def run(options: argparse.Namespace) -> None:
    try:
        import atheris
    except ImportError:
        sys.exit(NO_ATHERIS)
    with atheris.instrument_imports(include=["tlsprovider"]):
        from fuzz.targets import TARGETS
    from fuzz.seeds import seeds

    if options.target not in TARGETS:
        sys.exit(f"no target {options.target!r}; there are {', '.join(TARGETS)}")
    learned = options.corpus or Path(tempfile.mkdtemp(prefix="fuzz-"))
    learned.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds(options.target)):
        (learned / f"seed-{number}").write_bytes(seed)
    options.findings.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-max_total_time={options.seconds}",
        "-max_len=4096",
        "-len_control=0",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        f"-artifact_prefix={options.findings}/{options.target}-",
        str(learned),
    ]
    known = HERE / "corpus" / options.target
    if known.is_dir():
        arguments.append(str(known))
    atheris.Setup([sys.argv[0], *arguments], TARGETS[options.target])
    atheris.Fuzz()


main()
