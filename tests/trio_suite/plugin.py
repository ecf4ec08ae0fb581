"""A pytest plugin that puts our TLS into trio's tests: ``--tls-seam=context`` or ``--tls-seam=stream``.

It has to be loaded before the tests are imported, since they take the classes out of ``trio._ssl`` by name and make
their contexts right then.
"""

from __future__ import annotations

import socket
import ssl
from collections import Counter
from typing import Any

import pytest
import trio
import trio._ssl
from counting import counted

from tlsprovider.providers import default_provider
from tlsprovider.sslcontext import SSLContext
from tlsprovider.sslcontext.connection import Connection
from tlsprovider.trio import drop_in, install
from trio_suite.expectations import reason_for, unused_patterns

USED: Counter[str] = Counter()
OUTCOMES: dict[str, str] = {}


class Twin(SSLContext):
    """Ours for trio, and Python's own, loaded with the same, for the blocking sockets of the tests."""

    blocking: ssl.SSLContext

    def load_cert_chain(self, *args: Any, **kwargs: Any) -> None:
        super().load_cert_chain(*args, **kwargs)
        self.blocking.load_cert_chain(*args, **kwargs)

    def load_verify_locations(self, *args: Any, **kwargs: Any) -> None:
        super().load_verify_locations(*args, **kwargs)
        self.blocking.load_verify_locations(*args, **kwargs)

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return self.blocking.wrap_socket(sock, *args, **kwargs)


def twin_context(purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> Twin:
    """In the place of ``ssl.create_default_context``."""
    is_client = purpose is ssl.Purpose.SERVER_AUTH
    context = Twin(ssl.PROTOCOL_TLS_CLIENT if is_client else ssl.PROTOCOL_TLS_SERVER)
    context.blocking = ssl.SSLContext(context.protocol)
    context.blocking.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    if is_client:
        context.load_default_certs()
    return context


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--tls-seam", choices=("context", "stream"), default="context")


def pytest_configure(config: pytest.Config) -> None:
    ssl.create_default_context = twin_context  # type: ignore[assignment]
    Connection.__init__ = counted(Connection, USED)  # type: ignore[method-assign]
    if config.getoption("--tls-seam") == "stream":
        install()
        trio._ssl.SSLStream = drop_in.SSLStream  # type: ignore[misc, assignment]
        trio._ssl.SSLListener = drop_in.SSLListener  # type: ignore[misc, assignment]
        drop_in.SSLStream.__init__ = counted(drop_in.SSLStream, USED)  # type: ignore[method-assign]
        drop_in.SSLListener.__init__ = counted(drop_in.SSLListener, USED)  # type: ignore[method-assign]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = reason_for(item.name, default_provider())
        if reason is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
    left = list(unused_patterns([item.name for item in items], default_provider()))
    if left:
        raise pytest.UsageError(f"expectations that match no test: {', '.join(left)}")


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """The outcome of each test, as a whole: expected failures may happen in a fixture."""
    name = report.nodeid.partition("::")[2]
    if report.when == "call" or report.outcome != "passed":
        expected = hasattr(report, "wasxfail")
        OUTCOMES[name] = ("expected failure" if report.skipped else "unexpected pass") if expected else report.outcome
