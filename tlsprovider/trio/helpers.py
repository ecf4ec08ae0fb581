"""TLS over TCP in one call: connect, listen, serve."""

from __future__ import annotations

import inspect
import logging
import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from typing import TypeAlias

import trio

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers.shared import tell_port
from tlsprovider.trio.answers import address_of
from tlsprovider.trio.listener import TLSListener
from tlsprovider.trio.stream import TLSStream

__all__ = ["open_tls_listeners", "open_tls_stream", "serve_tls"]

HAPPY_EYEBALLS_DELAY = 0.250
"""Seconds until the next address is tried, RFC 8305 section 8; trio's default as well."""
HANDSHAKE_TIMEOUT = 30.0

TCPTLSStream: TypeAlias = TLSStream[trio.SocketStream]
HandshakeFailed: TypeAlias = Callable[[TCPTLSStream, Exception], object]

log = logging.getLogger(__name__)


async def open_tls_stream(
    host: str | bytes,
    port: int,
    config: ClientConfig | None = None,
    *,
    https_compatible: bool = False,
    happy_eyeballs_delay: float | None = HAPPY_EYEBALLS_DELAY,
    server_hostname: str | bytes | None = None,
    provider: str | ITLSProvider | None = None,
) -> TCPTLSStream:
    """Connect to ``host`` over TCP and make a TLS stream of it; the handshake is made on first use.

    :param config: None means one ``ClientConfig()`` for all such calls, which trusts what the system trusts.
    :param server_hostname: the name that the certificate must be for, if it is not ``host``.

    Raises OSError when no connection can be made, :exc:`~tlsprovider.errors.ConfigError` for a config of no use.
    See :class:`~tlsprovider.trio.TLSStream` and :func:`trio.open_tcp_stream` for the rest.
    """
    config = _default_config() if config is None else config
    family = _family_of(host)
    if family is None or not isinstance(port, int):
        transport_stream = await trio.open_tcp_stream(host, port, happy_eyeballs_delay=happy_eyeballs_delay)
    else:
        transport_stream = await _connect(family, str(host), port)
    try:
        stream = TLSStream(
            transport_stream,
            config,
            host if server_hostname is None else server_hostname,
            provider=provider,
            https_compatible=https_compatible,
        )
    except BaseException:
        await trio.aclose_forcefully(transport_stream)
        raise
    tell_port(stream.engine, port)
    return stream


def _family_of(host: str | bytes) -> int | None:
    """That of an IP address; None for whatever else ``host`` may be."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, TypeError, ValueError):
            socket.inet_pton(family, host)  # type: ignore[arg-type]
            return family
    return None


async def _connect(family: int, address: str, port: int) -> trio.SocketStream:
    """As trio.open_tcp_stream, in half the time: there need not be a race where only one can take part."""
    transport_socket = trio.socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        await transport_socket.connect((address, port))
    except OSError as error:
        transport_socket.close()
        where = f"[{address}]:{port}" if family == socket.AF_INET6 else f"{address}:{port}"
        failed = f"all attempts to connect to {where} failed"
        raise OSError(failed) from ExceptionGroup(failed, [error])
    except BaseException:
        transport_socket.close()
        raise
    return trio.SocketStream(transport_socket)


@lru_cache(maxsize=1)
def _default_config() -> ClientConfig:
    """One for all who give none, so that their sessions resume."""
    return ClientConfig()


async def open_tls_listeners(
    port: int,
    config: ServerConfig,
    host: str | bytes | None = None,
    *,
    backlog: int | None = None,
    https_compatible: bool = False,
    provider: str | ITLSProvider | None = None,
) -> list[TLSListener[trio.SocketStream]]:
    """Listen on a TCP port (0: any free one); one listener for each kind of address, as trio.open_tcp_listeners."""
    transport_listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    try:
        return [
            TLSListener(transport_listener, config, provider=provider, https_compatible=https_compatible)
            for transport_listener in transport_listeners
        ]
    except BaseException:
        for transport_listener in transport_listeners:
            await trio.aclose_forcefully(transport_listener)
        raise


async def serve_tls(
    handler: Callable[[TCPTLSStream], Awaitable[object]],
    port: int,
    config: ServerConfig,
    *,
    host: str | bytes | None = None,
    backlog: int | None = None,
    https_compatible: bool = False,
    handshake_timeout: float | None = HANDSHAKE_TIMEOUT,
    on_handshake_error: HandshakeFailed | None = None,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[list[TLSListener[trio.SocketStream]]] = trio.TASK_STATUS_IGNORED,
    provider: str | ITLSProvider | None = None,
) -> None:
    """Listen on a TCP port and run ``handler(stream)`` in a task of its own for each connection; until cancelled.

    ``handler`` gets a stream whose handshake is complete. A peer that fails in it, or does not finish it in
    ``handshake_timeout`` seconds (None: no limit), is one log record at level INFO and a call of
    ``on_handshake_error(stream, exception)``, which may be ``async def``, and nothing else. The exception is a
    :exc:`trio.BrokenResourceError` whose ``__cause__`` is the :exc:`~tlsprovider.TLSError`, or a
    :exc:`trio.TooSlowError`. An exception out of
    ``handler`` is the application's own and, as with :func:`trio.serve_tcp`, ends the server.

    ``nursery.start(serve_tls, ...)`` gives the listeners once they listen; :func:`trio.serve_listeners` has the rest.
    """

    async def serve(stream: TCPTLSStream) -> None:
        if await _shake_hands(stream, handshake_timeout, on_handshake_error):
            await handler(stream)

    listeners = await open_tls_listeners(
        port, config, host, backlog=backlog, https_compatible=https_compatible, provider=provider
    )
    await trio.serve_listeners(serve, listeners, handler_nursery=handler_nursery, task_status=task_status)


async def _shake_hands(stream: TCPTLSStream, timeout: float | None, failed: HandshakeFailed | None) -> bool:
    """Whether the handshake succeeded; if not, that was told to those who want to know."""
    peer = _peer_of(stream)
    try:
        with trio.fail_after(math.inf if timeout is None else timeout):
            await stream.do_handshake()
    except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
        problem: Exception = error
        log.info("TLS handshake with %s failed: %s", peer, error)
    except trio.TooSlowError as error:
        problem = error
        log.info("TLS handshake with %s was not complete after %g seconds", peer, timeout)
    else:
        return True
    if failed is not None:
        try:
            outcome = failed(stream, problem)
            if inspect.isawaitable(outcome):
                await outcome
        except Exception:
            # The hook is the application's, but the occasion is any stranger's: it must not end the server.
            log.exception("on_handshake_error failed")
    return False


def _peer_of(stream: TCPTLSStream) -> str:
    address = address_of(stream)
    return "a peer that has left" if address is None else f"{address[0]} port {address[1]}"
