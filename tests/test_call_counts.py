"""A guard against growing slow that a noisy machine can't fool: how many calls of our own functions a thing takes.

Time in Python is calls, more or less, and their count is the same on every machine. A figure below is what was counted
when it was written down; 5 % more is an error. Whoever makes something dearer on purpose, or cheaper, writes the new
figure down.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

import attrs
import pytest
from loop import pump

import tlsprovider
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.engine import NativeEngine
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.record import RecordReader, RecordWriter

PACKAGE = str(Path(tlsprovider.__file__).parent)

FULL_HANDSHAKE = 421
RESUMED_HANDSHAKE = 530
RECORD = 8
TOLERANCE = 1.05


def calls(work: Callable[[], object]) -> int:
    """How many functions of the package are called, both sides together."""
    count = 0

    def started(code: CodeType) -> None:
        nonlocal count
        count += code.co_filename.startswith(PACKAGE)

    if sys.version_info >= (3, 12):
        tool, events = sys.monitoring.PROFILER_ID, sys.monitoring.events
        sys.monitoring.use_tool_id(tool, "tests")
        sys.monitoring.register_callback(tool, events.PY_START, lambda code, offset: started(code))
        sys.monitoring.set_events(tool, events.PY_START)
        try:
            work()
        finally:
            sys.monitoring.set_events(tool, 0)
            sys.monitoring.free_tool_id(tool)
        return count

    def profile(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            started(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def engines(client: ClientConfig, server: ServerConfig) -> tuple[NativeEngine, NativeEngine]:
    """Made here, as each side's provider would, but with all that a test may do to them."""
    pairs = [(RecordReader(), RecordWriter()) for _ in range(2)]
    return (
        NativeEngine(ClientHandshake(client, *pairs[0], "localhost", "localhost"), *pairs[0]),
        NativeEngine(ServerHandshake(server, *pairs[1]), *pairs[1]),
    )


def insist(found: int, recorded: int) -> None:
    assert found <= recorded * TOLERANCE, f"{found} calls; {recorded} were recorded: see the head of this file"


@pytest.fixture
def full(configs: tuple[ClientConfig, ServerConfig]) -> tuple[ClientConfig, ServerConfig]:
    """Configurations that resume nothing, and have been used before."""
    client, server = attrs.evolve(configs[0], sessions=None), attrs.evolve(configs[1], tickets=None)
    pump(*engines(client, server))
    return client, server


def test_full_handshake(full: tuple[ClientConfig, ServerConfig]) -> None:
    pair = engines(*full)
    insist(calls(lambda: pump(*pair)), FULL_HANDSHAKE)


def test_resumed_handshake(configs: tuple[ClientConfig, ServerConfig]) -> None:
    client, server = engines(*configs)
    pump(client, server)
    server.write(b"tickets go before data")
    client.process_incoming(server.process_outgoing())
    session = client.session
    assert session is not None
    for _ in range(2):
        # The second is counted: by then, nothing is seen for the first time.
        pair = engines(*configs)
        pair[0].set_session(session)
        found = calls(lambda pair=pair: pump(*pair))  # type: ignore[misc]
        assert pair[1].session_reused
    insist(found, RESUMED_HANDSHAKE)


@pytest.mark.parametrize("size", [100, 16_384])
def test_record(full: tuple[ClientConfig, ServerConfig], size: int) -> None:
    client, server = engines(*full)
    pump(client, server)
    data = bytes(size)

    def carry() -> None:
        for _ in range(100):
            client.write(data)
            server.process_incoming(client.process_outgoing())
            assert server.read() == data

    insist(calls(carry) // 100, RECORD)


def test_many_records_cost_less_than_one_each(full: tuple[ClientConfig, ServerConfig]) -> None:
    """What a large write and a large read take grows with what they allocate, not with every record."""
    client, server = engines(*full)
    pump(client, server)

    def carry() -> None:
        client.write(bytes(1 << 20))
        server.process_incoming(client.process_outgoing())
        assert len(server.read()) == 1 << 20

    assert calls(carry) <= 40
