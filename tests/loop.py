"""Two engines joined in memory: what arrives at one is what the other sent."""

from __future__ import annotations

from tlsprovider.errors import WantRead
from tlsprovider.interfaces import IEngine

ROUNDS = 50


def transfer(source: IEngine, target: IEngine) -> int:
    """Move all that ``source`` wants to send into ``target``; the count of bytes moved."""
    data = source.process_outgoing()
    if data:
        target.process_incoming(data)
    return len(data)


def pump(client: IEngine, server: IEngine) -> None:
    """Run both handshakes to the end, and deliver what follows them (session tickets).

    Lets every exception out, a WantAnswer as well: answer its question and pump again. When one engine failed, its
    alert is still to be moved: ``transfer(failed, other)``. AssertionError when bytes stop moving before the end.
    """
    for _ in range(ROUNDS):
        moved = 0
        for engine, other in ((client, server), (server, client)):
            if not engine.handshake_complete:
                try:
                    engine.do_handshake()
                except WantRead:
                    pass
            moved += transfer(engine, other)
        if not moved:
            break
    assert client.handshake_complete and server.handshake_complete, (
        f"the handshake stands still: client in {client.state}, server in {server.state}"
    )
