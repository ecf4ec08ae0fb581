"""``tlsprovider serve`` on trio."""

from __future__ import annotations

import signal
from functools import partial

import trio

from tlsprovider.cli.serve import Service
from tlsprovider.trio import TLSListener, TLSStream

__all__ = ["run"]

IDLE_SECONDS = 60


def run(service: Service) -> None:
    """Serve until SIGINT or SIGTERM."""
    trio.run(_serve, service)


async def _serve(service: Service) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        listeners = [
            TLSListener(
                trio.SocketListener(trio.socket.from_stdlib_socket(socket)), service.config, provider=service.provider
            )
            for socket in service.sockets
        ]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, partial(_talk, service), listeners)
            service.running()
            await anext(signals)
            nursery.cancel_scope.cancel()


async def _talk(service: Service, stream: TLSStream[trio.SocketStream]) -> None:
    talk = service.talk(lambda: stream)
    try:
        peer = stream.transport_stream.socket.getpeername()[0]
        with trio.CancelScope() as scope:
            while not talk.over:
                scope.deadline = trio.current_time() + IDLE_SECONDS
                if reply := talk.reply(await stream.receive_some()):
                    await stream.send_all(reply)
        await stream.aclose()
    except (OSError, trio.BrokenResourceError) as error:
        service.failed(peer, error)
