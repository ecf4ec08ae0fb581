"""An engine seen through the eyes of Python's :mod:`ssl`.

In CPython an ``SSLObject`` (and an ``SSLSocket``) is a thin class in Python around one object in C, ``_sslobj``, which
has the connection. :class:`EngineView` is in the place of that object, as far as looking goes. So the outer classes are
CPython's own, with all that they promise, and ``isinstance(..., ssl.SSLObject)`` holds.

:func:`ssl_object_of` shows a connection that somebody else drives, such as a trio ``TLSStream``.
:class:`~tlsprovider.sslcontext.connection.Connection` adds the driving.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn, cast

from tlsprovider.crypto.certificates import certificate_der
from tlsprovider.crypto.handover import pem
from tlsprovider.crypto.peercert import as_dictionary
from tlsprovider.interfaces import IEngine

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["EngineView", "SSLObject", "SSLSocket", "ssl_object_of"]

# What ssl.SSLObject asks of a certificate in C: _ssl.ENCODING_PEM and _ssl.ENCODING_DER.
ENCODING_PEM, ENCODING_DER = 1, 2


class Shown:
    """A certificate as the C object gives it: for ``SSLObject.get_verified_chain()``."""

    __slots__ = ("_certificate",)

    def __init__(self, certificate: Certificate) -> None:
        self._certificate = certificate

    def public_bytes(self, encoding: int = ENCODING_PEM) -> Any:
        """PEM as text, or DER."""
        if encoding == ENCODING_PEM:
            return pem([self._certificate]).decode("ascii")
        return certificate_der(self._certificate)

    def get_info(self) -> dict[str, Any]:
        return as_dictionary(self._certificate)


class EngineView:
    """What ``ssl`` tells of a connection, told of an engine. Before the handshake is complete most of it is None."""

    context: Any
    """The SSLContext, if there is one."""

    def __init__(self, engine: IEngine, context: ssl.SSLContext | None, server_hostname: str | None) -> None:
        self.engine = engine
        self.server_hostname = server_hostname
        self.context = context

    # -- this side -------------------------------------------------------------------------------------------------

    @property
    def server_side(self) -> bool:
        return self.engine.is_server

    @property
    def session(self) -> None:
        """``ssl.SSLSession`` is OpenSSL's own; sessions of ours belong to the configuration."""
        return None

    @property
    def session_reused(self) -> bool | None:
        return self.engine.session_reused if self.engine.handshake_complete else None

    # -- what was agreed -------------------------------------------------------------------------------------------

    def version(self) -> str | None:
        return self.engine.version

    def cipher(self) -> tuple[str, str, int] | None:
        """``("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)``."""
        name, version = self.engine.cipher, self.engine.version
        if name is None or version is None:
            return None
        return name, version, 128 if "AES_128" in name else 256

    def shared_ciphers(self) -> list[tuple[str, str, int]] | None:
        """The one that was chosen: what else a client offered isn't kept. None on a client, as in ``ssl``."""
        chosen = self.cipher()
        return [chosen] if chosen is not None and self.server_side else None

    def group(self) -> str | None:
        return self.engine.group

    def compression(self) -> None:
        """TLS 1.3 has none (RFC 9846 section 4.2.2)."""
        return None

    def selected_alpn_protocol(self) -> str | None:
        return self.engine.alpn

    def pending(self) -> int:
        return self.engine.pending

    def get_channel_binding(self, cb_type: str = "tls-exporter") -> bytes | None:
        """RFC 9266. None before the handshake is complete; raises ValueError for a kind that TLS 1.3 does not have."""
        if cb_type == "tls-exporter" and not self.engine.handshake_complete:
            return None
        return self.engine.channel_binding(cb_type)

    # -- the peer --------------------------------------------------------------------------------------------------

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | bytes | None:
        """None: it showed none. ``{}``: it was not verified. Raises ValueError before the handshake is complete."""
        if not self.engine.handshake_complete:
            raise ValueError("handshake not done yet")
        chain = cast("tuple[Certificate, ...]", self.engine.peer_certificates)
        if not chain:
            return None
        if binary_form:
            return certificate_der(chain[0])
        return as_dictionary(chain[0]) if self.engine.verified_chain else {}

    def get_verified_chain(self) -> list[Shown] | None:
        return self._chain(self.engine.verified_chain)

    def get_unverified_chain(self) -> list[Shown] | None:
        return self._chain(self.engine.peer_certificates)

    def _chain(self, certificates: tuple[object, ...]) -> list[Shown] | None:
        return [Shown(cast("Certificate", one)) for one in certificates] or None

    # -- driving it ------------------------------------------------------------------------------------------------

    def do_handshake(self) -> None:
        self._only_shows()

    def read(self, size: int, buffer: Any = None) -> Any:
        self._only_shows()

    def write(self, data: Any) -> int:
        self._only_shows()

    def shutdown(self) -> Any:
        self._only_shows()

    def verify_client_post_handshake(self) -> NoReturn:
        """A promise that a client makes with an extension which ours never sends, and none of our servers asks for."""
        raise NotImplementedError("post-handshake authentication (RFC 9846 section 4.7.2) is not supported")

    def _only_shows(self) -> NoReturn:
        raise ValueError("this SSLObject shows a connection; it is driven through the stream that it belongs to")


class Outer:
    """What our ``SSLObject`` and ``SSLSocket`` have beside CPython's own: methods of 3.13, a default for TLS 1.3."""

    _sslobj: EngineView | None

    def get_channel_binding(self, cb_type: str = "tls-exporter") -> bytes | None:
        """As the original, whose default is ``tls-unique``, which does not exist in TLS 1.3 (RFC 9266 section 3)."""
        return self._sslobj.get_channel_binding(cb_type) if self._sslobj is not None else None

    def get_verified_chain(self) -> list[bytes]:
        """DER, leaf to root."""
        return [one.public_bytes(ENCODING_DER) for one in self._chain("get_verified_chain")]

    def get_unverified_chain(self) -> list[bytes]:
        """DER, as the peer sent it."""
        return [one.public_bytes(ENCODING_DER) for one in self._chain("get_unverified_chain")]

    def _chain(self, which: str) -> Sequence[Shown]:
        return getattr(self._sslobj, which)() or () if self._sslobj is not None else ()


class SSLObject(Outer, ssl.SSLObject):
    """``ssl.SSLObject`` around an engine. Made by ``SSLContext.wrap_bio``, or by :func:`ssl_object_of` to look at."""


class SSLSocket(Outer, ssl.SSLSocket):
    """``ssl.SSLSocket`` around an engine. Made by ``SSLContext.wrap_socket``."""


def ssl_object_of(
    engine: IEngine, context: ssl.SSLContext | None = None, server_hostname: str | None = None
) -> SSLObject:
    """An ``ssl.SSLObject`` that shows what ``engine`` has negotiated, for code that looks at such an object.

    It follows the engine, and can't be used to read, write or shut down: whoever drives the engine does that.
    """
    shown = SSLObject.__new__(SSLObject)
    # typeshed does not know the attribute; CPython's class consists of it.
    shown._sslobj = EngineView(engine, context, server_hostname)
    return shown
