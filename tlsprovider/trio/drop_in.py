"""Our stream with the constructor and the methods of :class:`trio.SSLStream`, for code that makes one itself.

:func:`~tlsprovider.trio.install` puts it in the place of trio's. Who then calls ``trio.SSLStream`` with a context of
:mod:`tlsprovider.sslcontext`, or with a configuration, gets our stream; with any other context trio's, as before. The
same holds for ``trio.SSLListener``, and so for trio's helpers, which look both up when they are called.

The two differ from :class:`~tlsprovider.trio.TLSStream` in names only: ``version()`` and ``cipher()`` are methods here,
and the cause of a :exc:`trio.BrokenResourceError` is an :exc:`ssl.SSLError`, whose cause is the TLSError.
"""

from __future__ import annotations

import ssl
from abc import ABCMeta
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast

import trio

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import TLSError
from tlsprovider.handshake.steps import per_config
from tlsprovider.sslcontext import SSLContext, SSLObject, context_for
from tlsprovider.sslcontext.exceptions import ssl_error
from tlsprovider.sslcontext.side import Side
from tlsprovider.trio.installing import TRIOS_LISTENER, TRIOS_STREAM
from tlsprovider.trio.listener import TLSListener
from tlsprovider.trio.stream import TLSStream

__all__ = ["SSLListener", "SSLStream"]

T_Stream = TypeVar("T_Stream", bound=trio.abc.Stream)

Context = ssl.SSLContext | ClientConfig | ServerConfig


class _InTermsOfSSL:
    """Gives a BrokenResourceError the cause that users of ``ssl`` look for."""

    def __enter__(self) -> None:
        """Nothing to do yet."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, trio.BrokenResourceError) and isinstance(error.__cause__, TLSError):
            error.__cause__ = ssl_error(error.__cause__)


IN_TERMS_OF_SSL: Final = _InTermsOfSSL()


OURS: Final = SSLContext | ClientConfig | ServerConfig

_context_once = per_config(context_for)


def _context_of(given: Context) -> SSLContext:
    return given if isinstance(given, SSLContext) else _context_once(cast("ClientConfig | ServerConfig", given))


class _InPlaceOf(ABCMeta):
    """What ``isinstance(..., trio.SSLStream)`` was true of stays so when that name means a class of ours.

    Not by registering: what is registered with a class belongs to its bases as well, and trio's can't send_eof().
    """

    stands_for: tuple[type, ...]

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.stands_for) or super().__instancecheck__(instance)


class SSLStream(TLSStream[T_Stream], Generic[T_Stream], metaclass=_InPlaceOf):  # type: ignore[misc]  # final for everybody else
    """:class:`~tlsprovider.trio.TLSStream` with the names of :class:`trio.SSLStream`, whose documentation it keeps.

    With a context of another kind than ours, the constructor makes a stream of trio's.
    """

    stands_for = (TLSStream, TRIOS_STREAM)

    def __new__(cls, transport_stream: Any, ssl_context: Context, **options: Any) -> Any:
        if not isinstance(ssl_context, OURS):
            return TRIOS_STREAM(transport_stream, cast(Any, ssl_context), **options)
        return super().__new__(cls)

    def __init__(
        self,
        transport_stream: T_Stream,
        ssl_context: Context,
        *,
        server_hostname: str | bytes | None = None,
        server_side: bool = False,
        https_compatible: bool = False,
    ) -> None:
        context = _context_of(ssl_context)
        name = context._encode_hostname(server_hostname)
        shown = SSLObject.__new__(SSLObject)
        side = shown._sslobj = Side(context, server_side, name, shown)
        super().__init__(
            transport_stream,
            context.config_for(side),
            name,
            server_side,
            provider=context.provider,
            https_compatible=https_compatible,
        )
        side.engine = self._engine
        self._side = side
        self._shown = shown

    # -- the stream ------------------------------------------------------------------------------------------------

    async def do_handshake(self) -> None:
        with IN_TERMS_OF_SSL:
            await super().do_handshake()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with IN_TERMS_OF_SSL:
            await super().send_all(data)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        with IN_TERMS_OF_SSL:
            return await super().receive_some(max_bytes)

    async def wait_send_all_might_not_block(self) -> None:
        with IN_TERMS_OF_SSL:
            await super().wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        with IN_TERMS_OF_SSL:
            await super().send_eof()

    async def unwrap(self) -> tuple[T_Stream, bytes]:
        with IN_TERMS_OF_SSL:
            return await super().unwrap()

    async def aclose(self) -> None:
        with IN_TERMS_OF_SSL:
            await super().aclose()

    # -- what SSLStream forwards to its SSLObject ------------------------------------------------------------------

    @property
    def _ssl_object(self) -> SSLObject:
        """Private in trio, and yet what httpcore asks for the negotiated protocol."""
        return self._shown

    @property
    def context(self) -> SSLContext:
        return self._side.context

    @context.setter
    def context(self, context: SSLContext) -> None:
        self._side.context = context
        self._engine = self._side.engine

    @property
    def server_side(self) -> bool:
        return self._server_side

    @server_side.setter
    def server_side(self, value: bool) -> None:
        if "_server_side" in self.__dict__:
            raise AttributeError("server_side can't be set")
        self._server_side = value

    @property
    def server_hostname(self) -> str | None:
        return self._side.server_hostname

    @property
    def session(self) -> None:
        return None

    @session.setter
    def session(self, session: object) -> None:
        self._side.session = session

    def pending(self) -> int:
        return self._side.pending()

    def version(self) -> str | None:  # type: ignore[override]  # of TLSStream a property
        return self._asked().version()

    def cipher(self) -> tuple[str, str, int] | None:  # type: ignore[override]  # of TLSStream a property
        return self._asked().cipher()

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        return self._asked().getpeercert(binary_form)

    def selected_alpn_protocol(self) -> str | None:
        return self._asked().selected_alpn_protocol()

    def selected_npn_protocol(self) -> None:
        self._asked()

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        return self._asked().shared_ciphers()

    def compression(self) -> None:
        return self._asked().compression()

    def get_channel_binding(self, cb_type: str = "tls-exporter") -> bytes | None:
        return self._asked().get_channel_binding(cb_type)

    def get_verified_chain(self) -> list[bytes]:
        self._asked()
        return self._shown.get_verified_chain()

    def get_unverified_chain(self) -> list[bytes]:
        self._asked()
        return self._shown.get_unverified_chain()

    def _asked(self) -> Side:
        self._negotiated()
        return self._side


class SSLListener(trio.abc.Listener[SSLStream[T_Stream]], Generic[T_Stream], metaclass=_InPlaceOf):
    """As :class:`trio.SSLListener`, which the constructor makes when the context is not ours."""

    stands_for = (TLSListener, TRIOS_LISTENER)

    def __new__(cls, transport_listener: Any, ssl_context: Context, **options: Any) -> Any:
        if not isinstance(ssl_context, OURS):
            return TRIOS_LISTENER(transport_listener, cast(Any, ssl_context), **options)
        return super().__new__(cls)

    def __init__(
        self,
        transport_listener: trio.abc.Listener[T_Stream],
        ssl_context: Context,
        *,
        https_compatible: bool = False,
    ) -> None:
        context = _context_of(ssl_context)
        self.transport_listener = transport_listener
        self._ssl_context = context
        self._https_compatible = https_compatible

    async def accept(self) -> SSLStream[T_Stream]:
        """The next connection, without handshake. Errors of the transport listener come through as they are."""
        transport_stream = await self.transport_listener.accept()
        try:
            stream: SSLStream[T_Stream] = SSLStream(
                transport_stream, self._ssl_context, server_side=True, https_compatible=self._https_compatible
            )
        except BaseException:
            await trio.aclose_forcefully(transport_stream)
            raise
        return stream

    async def aclose(self) -> None:
        """Close the transport listener; connections that were accepted stay."""
        await self.transport_listener.aclose()
