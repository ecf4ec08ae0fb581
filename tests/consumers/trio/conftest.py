"""What every test here needs: certificates in files, contexts loaded from them, and the two ways in.

Each test runs with a client and a server of ours, and with each of them against Python's own ``ssl``. ``seam`` is
either ``context``, where the consumer's own use of trio's ``SSLStream`` or of ``wrap_bio`` gets our
:class:`~tlsprovider.sslcontext.SSLContext`, or ``stream``, where ``tlsprovider.trio.install()`` was called before.
"""

from __future__ import annotations

import functools
import inspect
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from counting import counted
from ssl_pair import Files, make_files

from tlsprovider.crypto.authority import Authority
from tlsprovider.sslcontext import SSLContext, create_default_context
from tlsprovider.sslcontext.connection import Connection
from tlsprovider.trio import drop_in, install, uninstall

SECONDS = 10


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return make_files(tmp_path_factory.mktemp("certificates"), Authority("consumers"), "localhost", "127.0.0.1")


@pytest.fixture(params=["context", "stream"])
def seam(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """The way in; what was made of our classes meanwhile is counted, and none would fail the test."""
    made: Counter[str] = Counter()
    for cls in (Connection, drop_in.SSLStream):
        monkeypatch.setattr(cls, "__init__", counted(cls, made))
    if request.param == "stream":
        install()
    try:
        yield made
    finally:
        uninstall()
    wanted = "SSLStream" if request.param == "stream" else "Connection"
    assert made[wanted], f"our TLS was not used: {made}"
    assert len(made) == 1, f"two ways in at once: {made}"


@pytest.fixture(params=["ours-ours", "ours-ssl", "ssl-ours"])
def contexts(request: pytest.FixtureRequest, files: Files) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A client's and a server's, each ours or of Python's ``ssl``."""
    client, server = (
        create_default_context if side == "ours" else ssl.create_default_context for side in request.param.split("-")
    )
    made = client(), server(ssl.Purpose.CLIENT_AUTH)
    made[0].load_verify_locations(files.ca)
    made[1].load_cert_chain(files.chain, files.key)
    return made


@pytest.fixture
def client_context(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    return contexts[0]


@pytest.fixture
def server_context(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> ssl.SSLContext:
    return contexts[1]


@pytest.fixture
def default_context(server_context: ssl.SSLContext) -> Callable[..., ssl.SSLContext]:
    """``create_default_context`` of whoever the server's TLS is, for consumers that make a context themselves."""
    return create_default_context if isinstance(server_context, SSLContext) else ssl.create_default_context


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Async tests run in trio, under a time limit."""
    test: Callable[..., Awaitable[None]] = pyfuncitem.obj
    if not pyfuncitem.name.startswith("test_") or not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}

    async def limited() -> None:
        with trio.fail_after(SECONDS):
            await functools.partial(test, **arguments)()

    trio.run(limited)
    return True
