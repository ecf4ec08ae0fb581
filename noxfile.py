"""Every check of the project, each in an environment of its own: ``nox`` runs them all, ``nox -s types`` one.

``.ci/run`` calls these sessions, after the test command of the README.
"""

from __future__ import annotations

from pathlib import Path

import nox

nox.options.default_venv_backend = "venv"
nox.options.sessions = ["tests", "lint", "types", "docs", "wheel"]
nox.needs_version = ">=2024.3.2"

ROOT = Path(__file__).parent

# The oldest releases that setup.cfg allows.
OLDEST = ["attrs==23.2.0", "click==8.2.0", "cryptography==50.0.0", "rich==13.0.0", "trio==0.25.0", "twisted==26.4.0"]


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The test suite on each Python that is installed."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(name="tests-oldest")
def tests_oldest(session: nox.Session) -> None:
    """The test suite with the oldest dependencies that setup.cfg allows."""
    session.install("-e", ".[test]", *OLDEST)
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def coverage(session: nox.Session) -> None:
    """Which lines no test runs."""
    session.install("-e", ".[test]", "coverage")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style and likely bugs."""
    session.install("ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict, over the package and over the examples of use in tests/typing."""
    session.install("-e", ".[pkcs11,redis]", "mypy", "mypy-zope")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation as HTML; a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("sphinx-build", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def wheel(session: nox.Session) -> None:
    """Build what would be released, install that alone, and use it away from the checkout."""
    session.install("build")
    scratch = Path(session.create_tmp())
    session.run("python", "-m", "build", "--outdir", str(scratch / "dist"), str(ROOT))
    newest = max((scratch / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)
    session.install("--force-reinstall", str(newest))
    session.chdir(scratch)
    session.run("tlsprovider", "providers")
    session.run("tlsprovider", "demo", "--quick")


@nox.session
def bogo(session: nox.Session) -> None:
    """BoringSSL's test runner over our shim: ``nox -s bogo -- RUNNER``; see docs/conformance.md."""
    if not session.posargs:
        session.skip("no runner was given: nox -s bogo -- RUNNER")
    session.install("-e", ".")
    session.run("python", "-m", "bogo", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(name="twisted-suite")
def twisted_suite(session: nox.Session) -> None:
    """Twisted's own tests of TLS, as they are and with each of ours in Twisted's place; see docs/twisted_suite.md."""
    session.install("-e", ".", "twisted[http2,test,websocket]")
    for seam in session.posargs or ("stock", "protocol", "lookalike"):
        session.run("python", "-m", "twisted_suite", "--seam", seam, env={"PYTHONPATH": "tests"})


@nox.session(name="trio-suite")
def trio_suite(session: nox.Session) -> None:
    """trio's own tests of TLS, over our SSLContext and with our stream in place of its own; see docs/trio_suite.md."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "trio_suite", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def consumers(session: nox.Session) -> None:
    """Programs with ours in them, unchanged: those that use TLS on trio by themselves, and those built on Twisted."""
    session.install("-e", ".[test,consumers]", "scrapy>=2.13", "autobahn>=24", "daphne>=4.1")
    session.run("python", "-m", "pytest", "-o", "python_files=check_*.py", "tests/consumers", *session.posargs)
