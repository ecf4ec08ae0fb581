"""What is decided about an SSL object before and beside its calls: role, transport, names, callbacks, modes.

:class:`Settings` is the lowest of three floors of one object. Above it, :class:`~tlsprovider.ssl.inspection.Inspection`
says how things are, and :class:`~tlsprovider.ssl.SSL` does them.
"""

from __future__ import annotations

from collections.abc import Sequence
from socket import socket
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import attrs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, MisuseError
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.ssl.bio import BIO
from tlsprovider.ssl.bio_socket import SocketBIO
from tlsprovider.ssl.callbacks import Callbacks, DecisionCallback, InfoCallback, KeylogCallback, MessageCallback
from tlsprovider.ssl.codes import ErrorCode, Mode
from tlsprovider.ssl.transport import Transport
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.identity import Identity
    from tlsprovider.ssl import SSL

__all__ = ["Settings"]


class Settings:
    """See :class:`tlsprovider.ssl.SSL`."""

    def __init__(
        self, config: ClientConfig | ServerConfig, provider: ITLSProvider, server_hostname: str | None
    ) -> None:
        self.config = config
        self.provider = provider
        self.error: BaseException | None = None
        """The exception behind the last error (ErrorCode.SSL or SYSCALL), else None."""
        self.last_return: int = 0
        """What the last operation would have returned in C; for ``read(n)`` and ``peek(n)``, which return bytes."""
        self._code = ErrorCode.NONE
        self._name = server_hostname
        self._hosts = [server_hostname] if server_hostname is not None else []
        self._callbacks = Callbacks()
        self._made: IEngine | None = None
        self._role_is_set = False
        self._begun = False
        self._mode = Mode.AUTO_RETRY | Mode.ACCEPT_MOVING_WRITE_BUFFER
        self._quiet = False
        self._transport = Transport()
        if self._hosts or self.is_server():
            # A configuration that can't be used is refused here; a client without a name may still be given one.
            self._made = self._make_engine()

    @property
    def _engine(self) -> IEngine:
        if self._made is None:
            self._made = self._make_engine()
        return self._made

    def _make_engine(self) -> IEngine:
        config = self._callbacks.woven_into(self.config, cast("SSL", self))
        if isinstance(config, ServerConfig):
            return self.provider.server_engine(config)
        name = self._name or (self._hosts[0] if self._hosts else None)
        if self._hosts not in ([], [name]):
            config = attrs.evolve(config, trust=AnyName(config.trust, self._hosts))
        return self.provider.client_engine(config, name)

    def _change(self, what: str) -> None:
        """The engine, which is made for good, has to be made anew."""
        if self._begun:
            raise MisuseError(f"{what} has to be set before the handshake begins")
        self._made = None

    def _end(self, ret: int, code: ErrorCode = ErrorCode.NONE, error: BaseException | None = None) -> int:
        self.last_return, self._code, self.error = ret, code, error
        return ret

    # -- role, SSL_set_connect_state(3) -----------------------------------------------------------------------------

    def set_connect_state(self) -> None:
        """Work as a client. Raises MisuseError when the configuration is a server's, or the handshake has begun."""
        self._set_role(is_server=False)

    def set_accept_state(self) -> None:
        """Work as a server. Raises MisuseError when the configuration is a client's, or the handshake has begun."""
        self._set_role(is_server=True)

    def is_server(self) -> bool:
        """The role; before it was set, the one that the configuration allows."""
        return isinstance(self.config, ServerConfig)

    def _set_role(self, is_server: bool) -> None:
        if is_server is not self.is_server():
            verb, needed = ("accepting", "ServerConfig") if is_server else ("connecting", "ClientConfig")
            raise MisuseError(f"{verb} needs a {needed}, and this object has a {type(self.config).__name__}")
        if self._begun:
            raise MisuseError("the handshake has begun, so the role can't be set; clear() begins a new connection")
        self._role_is_set = True

    # -- transport, SSL_set_bio(3), SSL_set_fd(3) -------------------------------------------------------------------

    def set_bio(self, rbio: BIO | None, wbio: BIO | None) -> None:
        """Read from ``rbio`` and write to ``wbio``; they may be one.

        They belong to this object now, which closes them when they are replaced and in :meth:`close`. For a BIO that
        somebody else closes too, call ``up_ref()`` first.
        """
        for bio in (rbio, wbio):
            if bio is not None and not isinstance(bio, BIO):
                raise TypeError(f"expected a BIO of tlsprovider, got {type(bio).__module__}.{type(bio).__qualname__}")
        self._transport.replace(rbio, wbio)

    def set_fd(self, fd: int | socket) -> int:
        """Read and write a connected socket. 1, or 0 if it is not open.

        The socket keeps its owner and its way of blocking. A number is a POSIX descriptor.
        """
        return self._set_fd(fd, reading=True, writing=True)

    def set_rfd(self, fd: int | socket) -> int:
        """As :meth:`set_fd`, for reading only."""
        return self._set_fd(fd, reading=True, writing=False)

    def set_wfd(self, fd: int | socket) -> int:
        """As :meth:`set_fd`, for writing only."""
        return self._set_fd(fd, reading=False, writing=True)

    def _set_fd(self, fd: int | socket, reading: bool, writing: bool) -> int:
        try:
            bio = SocketBIO(fd)
        except OSError as problem:
            return self._end(0, ErrorCode.SYSCALL, problem.with_traceback(None))
        self.set_bio(bio if reading else self.get_rbio(), bio if writing else self.get_wbio())
        return 1

    def get_fd(self) -> int:
        """The descriptor that is read, for select(2); -1 when it isn't a socket."""
        rbio = self.get_rbio()
        return rbio.get_fd() if isinstance(rbio, SocketBIO) else -1

    def get_rbio(self) -> BIO | None:
        return self._transport.rbio

    def get_wbio(self) -> BIO | None:
        return self._transport.wbio

    def close(self) -> None:
        """Let go of the BIOs, as SSL_free(3). Sends nothing: that is ``shutdown()``. May be called again."""
        self._transport.replace(None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- modes, SSL_set_mode(3), SSL_set_read_ahead(3), SSL_set_quiet_shutdown(3) -----------------------------------

    def set_mode(self, mode: int) -> Mode:
        """Add bits; the mask as it is then."""
        self._mode |= Mode(mode)
        return self._mode

    def clear_mode(self, mode: int) -> Mode:
        """Take bits away; the mask as it is then."""
        self._mode &= ~Mode(mode)
        return self._mode

    def get_mode(self) -> Mode:
        return self._mode

    def set_read_ahead(self, yes: int) -> None:
        """Read the transport in large pieces: fewer system calls, but ``select`` no longer tells of what is here."""
        self._transport.read_ahead = bool(yes)

    def get_read_ahead(self) -> bool:
        return self._transport.read_ahead

    def set_quiet_shutdown(self, mode: int) -> None:
        """With 1, ``shutdown()`` sends nothing and returns 1: for connections whose end is certain by other means."""
        self._quiet = bool(mode)

    def get_quiet_shutdown(self) -> bool:
        return self._quiet

    # -- names, SSL_set1_host(3) ------------------------------------------------------------------------------------

    def set1_host(self, name: str | None) -> int:
        """Client: verify that the certificate is for this name, in place of the names so far; None: for none. 1.

        The name that is asked for (SNI) stays the ``server_hostname``, if one was given. Raises MisuseError for a
        server, and when the handshake has begun.
        """
        self._change_names()
        self._hosts = [] if name is None else [name]
        if name is None:
            self._name = None
        return 1

    def add1_host(self, name: str) -> int:
        """Client: let the certificate be for this name as well; 1. One of the names has to match."""
        self._change_names()
        self._hosts.append(name)
        return 1

    def _change_names(self) -> None:
        if self.is_server():
            raise MisuseError("only a client verifies names; a server judges clients in a verify callback")
        self._change("a name")

    # -- callbacks --------------------------------------------------------------------------------------------------

    def set_info_callback(self, callback: InfoCallback | None) -> None:
        """``callback(ssl, where, value)`` at each state and alert, and when a handshake call returns."""
        self._change("a callback")
        self._callbacks.info = callback

    def set_msg_callback(self, callback: MessageCallback | None) -> None:
        """``callback(sent, version, content_type, data, ssl)`` for each handshake message and alert, in plaintext."""
        self._change("a callback")
        self._callbacks.message = callback

    def set_keylog_callback(self, callback: KeylogCallback | None) -> None:
        """``callback(ssl, line)`` with each line of RFC 9850. Whoever reads it reads the connection."""
        self._change("a callback")
        self._callbacks.keylog = callback

    def set_client_hello_cb(self, callback: DecisionCallback | None) -> None:
        """``callback(ssl, question)`` for a ClientHello. Positive: go on; 0: refuse; negative: suspend, ask again."""
        self._change("a callback")
        self._callbacks.client_hello = callback

    def set_cert_cb(self, callback: DecisionCallback | None) -> None:
        """``callback(ssl, question)`` when a certificate is to be shown; it may call :meth:`use_identity`.

        Positive: go on; 0: abort with internal_error; negative: suspend, ask again.
        """
        self._change("a callback")
        self._callbacks.certificate = callback

    def set_verify_callback(self, callback: DecisionCallback | None) -> None:
        """``callback(ssl, question)`` when the built-in checks have passed. Negative: suspend, ask again."""
        self._change("a callback")
        self._callbacks.verify = callback

    def use_identity(self, identity: Identity | None) -> None:
        """The certificate and key to show, before those of the configuration: SSL_use_certificate(3)."""
        if not self._callbacks.chooses:
            self._change("an identity")
        self._callbacks.identity = identity


class AnyName(TrustStore):
    """A trust store that verifies a server under any of several names."""

    def __init__(self, trust: TrustStore, names: Sequence[str]) -> None:
        # It holds no certificates itself: whatever isn't passed on to the real one can only refuse.
        super().__init__(f"{trust!r} for any of {', '.join(names)}", tuple)
        self._trust = trust
        self._names = tuple(names)

    def verify_server(self, certificates: Any, server_name: str | None, now: float) -> tuple[Certificate, ...]:
        fault: CertificateFault | None = None
        for name in self._names:
            try:
                return self._trust.verify_server(certificates, name, now)
            except CertificateFault as found:
                fault = found
        assert fault is not None
        raise fault
