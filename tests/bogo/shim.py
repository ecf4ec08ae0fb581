"""One test: the runner's arguments in; an exit code, and a line about what went wrong, out."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Final, TextIO

from bogo.configure import Acquainted, Made, allows_older_versions, make
from bogo.expectations import check_handshake, check_sessions
from bogo.flags import Settings, Unimplemented, parse
from bogo.hooks import Mismatch
from bogo.link import Link, connect
from tlsprovider.errors import AlertReceived, ConfigError, Fault, HookError, PeerFault, TLSError
from tlsprovider.iana import AlertDescription
from tlsprovider.session import Session

__all__ = ["describe", "main", "run"]

PASSED: Final = 0
FAILED: Final = 1
UNIMPLEMENTED: Final = 89
# A failure that no expectation of the runner may excuse.
MUST_FAIL: Final = 90


def describe(failure: TLSError) -> str:
    """A failure as the runner looks for it: a name between colons, then the sentence for people.

    ``:FINISHED_MISMATCH:`` for a fault of the peer, ``:ALERT_DECODE_ERROR:`` for an alert that came, and for anything
    else the name of its class, ``:TRUNCATED_ERROR:``. ``config.json`` says what the runner calls these.
    """
    if isinstance(failure, PeerFault):
        name = failure.fault.name
    elif isinstance(failure, AlertReceived) and failure.alert is not None:
        name = f"ALERT_{failure.alert.name.upper()}"
    else:
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(failure).__name__).upper()
    return f":{name}: {failure}"


def run(arguments: Sequence[str], stdout: TextIO, stderr: TextIO) -> int:
    """Do one test and give the exit code."""
    try:
        connections = parse(arguments)
        settings = connections["-on-initial"]
        if settings.is_handshaker_supported:
            # The runner asks whether handshakes can be split between two processes.
            stdout.write("No\n")
            return PASSED
        _connections(settings, connections["-on-resume"])
    except Unimplemented as reason:
        stderr.write(f"unimplemented: {reason}\n")
        return UNIMPLEMENTED
    except ConfigError as refusal:
        stderr.write(f"unimplemented: a configuration that is refused: {refusal}\n")
        return UNIMPLEMENTED
    except Mismatch as mismatch:
        stderr.write(f"not as expected: {mismatch}\n")
        return MUST_FAIL
    except TLSError as failure:
        stderr.write(describe(failure) + "\n")
        return MUST_FAIL if _is_our_own(failure) else FAILED
    return PASSED


def _connections(first: Settings, later: Settings) -> None:
    """The first, and those that resume the one before."""
    acquainted = Acquainted()
    for number in range(first.resume_count + 1):
        settings = later if number else first
        acquainted.later += settings.resumption_delay if number else 0
        if number and not settings.server and acquainted.session is None:
            raise Mismatch("no session to offer")
        acquainted.session = _one_connection(settings, acquainted, bool(number))


def _one_connection(settings: Settings, acquainted: Acquainted, again: bool) -> Session | None:
    """Gives the session that came of it."""
    made = make(settings, acquainted)
    link = Link(connect(settings), made, settings)
    try:
        if not settings.implicit_handshake:
            link.handshake()
            check_handshake(made, settings, again)
        for once_more in (settings.handshake_twice, settings.no_op_extra_handshake):
            if once_more:
                made.engine.do_handshake()
        if settings.handshake_never_done:
            raise Mismatch("the handshake was completed")
        link.exchange()
        check_handshake(made, settings, again)
        check_sessions(made, settings)
        link.shut_down()
        return made.session
    except TLSError as failure:
        made.hooks.raise_mismatch()
        if allows_older_versions(settings) and _needs_older_version(failure, made):
            raise Unimplemented("a TLS version before 1.3, as the runner speaks in this test") from failure
        raise
    finally:
        link.close()


def _needs_older_version(failure: TLSError, made: Made) -> bool:
    """Whether the handshake failed because the runner, in this test, knows only older versions than we do."""
    if isinstance(failure, PeerFault):
        return failure.fault is Fault.NO_COMMON_VERSION
    refused = isinstance(failure, AlertReceived) and failure.alert is AlertDescription.protocol_version
    return refused and made.seen.state == "read_server_hello"


def _is_our_own(failure: TLSError) -> bool:
    """A mistake in the engine, rather than anything that a peer or a hook did."""
    return failure.alert is AlertDescription.internal_error and not isinstance(failure, AlertReceived | HookError)


def main() -> int:
    return run(sys.argv[1:], sys.stdout, sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
