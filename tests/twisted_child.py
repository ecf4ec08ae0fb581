"""Runs a scenario on a real reactor, in a process of its own, so that no test shares a reactor with another.

A scenario is a coroutine function at the top of a test module: ``async def scenario(reactor, *arguments) -> result``,
with arguments and result that JSON can carry. ``in_child(scenario, *arguments)`` runs it and gives its result. It fails
if the scenario fails, leaves anything behind in the reactor or a socket open, logs an error, or takes too long.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
SECONDS = 10
RESULT = "the result is: "
REACTORS = ("select", "poll", "epoll", "asyncio")


def in_child(scenario: Callable[..., Awaitable[Any]], *arguments: Any, reactor: str = "select") -> Any:
    """The result of ``scenario``, run with ``reactor``, one of :data:`REACTORS`."""
    command = [
        sys.executable,
        str(Path(__file__)),
        reactor,
        scenario.__module__,
        scenario.__name__,
        json.dumps(arguments),
    ]
    folders = dict.fromkeys(map(str, (TESTS.parent, TESTS, Path(inspect.getfile(scenario)).parent)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    finished = subprocess.run(
        command, env=environment, cwd=TESTS.parent, capture_output=True, text=True, timeout=SECONDS + 20, check=False
    )
    lines = [line for line in finished.stdout.splitlines() if line.startswith(RESULT)]
    assert finished.returncode == 0 and lines, f"{scenario.__name__} failed:\n{finished.stdout}\n{finished.stderr}"
    return json.loads(lines[-1].removeprefix(RESULT))


async def _watched(reactor: Any, module: str, name: str, arguments: list[Any]) -> None:
    from twisted.internet.defer import Deferred
    from twisted.internet.task import deferLater
    from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

    errors: list[str] = []

    def observe(event: LogEvent) -> None:
        if event["log_level"] >= LogLevel.error:
            errors.append(formatEvent(event))

    globalLogPublisher.addObserver(observe)
    before = _sockets()
    scenario = getattr(importlib.import_module(module), name)
    result = await Deferred.fromCoroutine(scenario(reactor, *arguments)).addTimeout(SECONDS, reactor)
    # Sockets that were closed a moment ago are gone after a turn or two.
    for _ in range(3):
        await deferLater(reactor, 0)
    left = [*reactor.getDelayedCalls(), *(_sockets() - before), *reactor.removeAll()]
    if left or errors:
        raise AssertionError(f"left behind: {left}; logged: {errors}")
    print(RESULT + json.dumps(result))


def _sockets() -> set[str]:
    """The open sockets of this process, where the system has a folder that tells."""
    links = [path for path in Path("/proc/self/fd").glob("*") if path.is_symlink()]
    return {target for target in map(os.readlink, links) if target.startswith("socket:")}


def main(kind: str, module: str, name: str, arguments: str) -> None:
    importlib.import_module(f"twisted.internet.{kind}reactor").install()
    from twisted.internet import task

    task.react(_watched, (module, name, json.loads(arguments)))


if __name__ == "__main__":
    main(*sys.argv[1:])
