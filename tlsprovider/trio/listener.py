"""A listener whose connections speak TLS."""

from __future__ import annotations

from typing import Generic, TypeVar, final

import trio

from tlsprovider.config import ServerConfig
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.trio.sides import engine_for
from tlsprovider.trio.stream import TLSStream

__all__ = ["TLSListener"]

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)


@final
class TLSListener(trio.abc.Listener[TLSStream[T_Stream]], Generic[T_Stream]):
    """Accepts from ``transport_listener`` and gives each connection to a :class:`~tlsprovider.trio.TLSStream`.

    No handshake is made here: one slow client must not keep the next one waiting. The first use of the stream makes
    it, or ``do_handshake()`` under ``trio.fail_after`` in the connection's own task, as
    :func:`~tlsprovider.trio.serve_tls` does.

    Raises :exc:`~tlsprovider.errors.ConfigError` (and UnsupportedByProvider) at once, not at the first connection.
    """

    def __init__(
        self,
        transport_listener: trio.abc.Listener[T_Stream],
        config: ServerConfig,
        *,
        provider: str | ITLSProvider | None = None,
        https_compatible: bool = False,
    ) -> None:
        self.transport_listener = transport_listener
        self._config = config
        self._provider = get_provider(provider)
        self._https_compatible = https_compatible
        engine_for(config, None, True, self._provider)

    async def accept(self) -> TLSStream[T_Stream]:
        """The next connection. Errors of the transport listener come through as they are."""
        transport_stream = await self.transport_listener.accept()
        try:
            return TLSStream(
                transport_stream,
                self._config,
                server_side=True,
                provider=self._provider,
                https_compatible=self._https_compatible,
            )
        except BaseException:
            await trio.aclose_forcefully(transport_stream)
            raise

    async def aclose(self) -> None:
        """Close the transport listener; connections that were accepted stay."""
        await self.transport_listener.aclose()


trio.SSLListener.register(TLSListener)  # as the stream
