"""One side of a connection as an ``SSLContext`` makes it, whoever drives it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from tlsprovider.config import ServerConfig
from tlsprovider.errors import Fault, MisuseError, PeerFault
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import ClientHelloReceived
from tlsprovider.sslcontext.exceptions import ssl_error
from tlsprovider.sslcontext.view import EngineView

if TYPE_CHECKING:
    from tlsprovider.sslcontext.context import SSLContext

__all__ = ["Side"]


class Side(EngineView):
    """An engine made for a context, which may be exchanged before the handshake, and by ``sni_callback``.

    :param owner: the object that a callback is shown; held weakly.
    """

    def __init__(self, context: SSLContext, server_side: bool, server_hostname: str | None, owner: object) -> None:
        self._server_side = server_side
        self._context = self._first_context = context
        self._owner = weakref.ref(owner)
        self._choosing = False
        self.server_hostname = server_hostname

    def make_engine(self) -> IEngine:
        """An engine, which is shown from now on. Raises ConfigError, SSLError (a context for the other side)."""
        config = self.context.config_for(self)
        provider = self.context.provider
        if isinstance(config, ServerConfig):
            self.engine = provider.server_engine(config)
        else:
            self.engine = provider.client_engine(config, self.server_hostname)
        return self.engine

    def has_begun(self) -> bool:
        """Whether the handshake has: then only a callback may exchange the context."""
        return self.engine.state != "start"

    @property
    def server_side(self) -> bool:
        return self._server_side

    @property
    def owner(self) -> Any:
        return self._owner()

    @owner.setter
    def owner(self, owner: object) -> None:
        self._owner = weakref.ref(owner)

    @property
    def context(self) -> SSLContext:
        return self._context

    @context.setter
    def context(self, context: Any) -> None:
        """Before the handshake and in ``sni_callback``, as ``ssl`` has it. Raises TypeError, SSLError."""
        if not hasattr(context, "config_for"):
            raise TypeError(
                "The value must be a SSLContext of tlsprovider: nothing can be read out of another, least of all keys"
            )
        if self._choosing:
            self._context = context
        elif self.has_begun():
            raise ssl_error(MisuseError("the context can't be changed: the handshake has begun"))
        else:
            self._context = context
            self.make_engine()

    @property
    def session(self) -> None:
        return None

    @session.setter
    def session(self, session: object) -> None:
        refuse_session(session)

    def choose(self, question: ClientHelloReceived) -> Any:
        """Ask ``sni_callback``; it may set another context, and the handshake goes on with that one's configuration."""
        self._choosing = True
        try:
            refusal = self._first_context.sni_callback(self.owner, question.server_name, self._first_context)
        finally:
            self._choosing = False
        if refusal is not None:
            fault = PeerFault(Fault.HELLO_REFUSED, "sni_callback refused it")
            fault.alert = AlertDescription(refusal)
            raise fault
        config = self.context.config
        hook = config.on_client_hello if isinstance(config, ServerConfig) else None
        return config if hook is None else hook(question)


def refuse_session(session: object) -> None:
    if session is not None:
        raise ValueError("session: an ssl.SSLSession is OpenSSL's own; to resume is up to the configuration here")
