"""An ``ssl.SSLContext`` whose connections are made by tlsprovider.

For code that hands such an object around: trio's own ``SSLStream``, anyio, asyncio, httpx, and whatever else calls
``context.wrap_bio`` or ``wrap_socket``. It is a subclass, because that code asks with ``isinstance``, and nothing of
OpenSSL is used in it but a few checks of arguments.

What is loaded or set is recorded, since neither keys nor much else can be read back out of an ``SSLContext``. A
connection gets the configuration that all this amounts to when the connection is made. What a configuration of
tlsprovider can't say is refused when it is set, with :exc:`~tlsprovider.errors.ConfigError` (a ValueError): a security
setting that is ignored in silence is worse than a program that does not start. ``docs/ssl_context.md`` has the list.

Three names that begin with an underscore are used: CPython's ``SSLContext.wrap_bio`` and ``wrap_socket`` reach the C
code through ``_wrap_bio``, ``_wrap_socket`` and ``_encode_hostname``, since Python 3.5 and up to this day.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

import attrs

from tlsprovider.config import MAX_TICKET_COUNT, ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import certificate_der, parse_server_name
from tlsprovider.crypto.peercert import as_dictionary
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import ConfigError
from tlsprovider.iana import NamedGroup
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.sslcontext.connection import Connection
from tlsprovider.sslcontext.loading import Password, PathLike, load_certificates, load_identity
from tlsprovider.sslcontext.memory import MemoryConnection
from tlsprovider.sslcontext.recorded import Given, KeyLogFile, Recorded
from tlsprovider.sslcontext.side import Side, refuse_session
from tlsprovider.sslcontext.sockets import SocketConnection
from tlsprovider.sslcontext.view import SSLObject, SSLSocket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer

__all__ = ["SSLContext", "context_for", "create_default_context"]

ServerNameCallback = Callable[[Any, str | None, ssl.SSLContext], int | None]

SIDES: Final = (ssl.PROTOCOL_TLS_CLIENT, ssl.PROTOCOL_TLS_SERVER)
# OpenSSL's short names of curves; ours are IANA's.
CURVES: Final = {"prime256v1": NamedGroup.secp256r1, "X25519": NamedGroup.x25519, "X448": NamedGroup.x448}
# Asking for revocation lists, which are not looked at; and believing what otherwise would not be believed.
REFUSED_FLAGS: Final = ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_CRL_CHECK_CHAIN | ssl.VERIFY_ALLOW_PROXY_CERTS
# Since Python 3.12; the number is OpenSSL's.
OP_ENABLE_KTLS: Final = 1 << 3


class SSLContext(ssl.SSLContext):
    """See the module. Made with ``ssl.PROTOCOL_TLS_CLIENT`` or ``ssl.PROTOCOL_TLS_SERVER``, as its base class.

    :param provider: the TLS implementation, by name or as an object; None: the default of the process.

    It differs from its base class where that is lax: ``OP_IGNORE_UNEXPECTED_EOF`` is off until it is set, and
    ``server_hostname`` is encoded with IDNA 2008.
    """

    sslobject_class = SSLObject
    sslsocket_class = SSLSocket

    provider: ITLSProvider
    _source: Given | Recorded
    _sni_callback: ServerNameCallback | None

    def __new__(cls, protocol: int, *, provider: str | ITLSProvider | None = None) -> Self:
        if protocol not in SIDES:
            raise ConfigError("protocol: say ssl.PROTOCOL_TLS_CLIENT or ssl.PROTOCOL_TLS_SERVER")
        self = super().__new__(cls, protocol)
        self.provider = get_provider(provider)
        self._source = Recorded()
        self._sni_callback = None
        # What is cut short is to be noticed. Who can tell by other means where data ends may set it again.
        _set(self, "options", self.options & ~ssl.OP_IGNORE_UNEXPECTED_EOF)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {'server' if self.is_for_servers else 'client'} {self.provider.name}>"

    # -- for connections -------------------------------------------------------------------------------------------

    @property
    def is_for_servers(self) -> bool:
        return self.protocol == ssl.PROTOCOL_TLS_SERVER

    @property
    def speaks_tls12(self) -> bool:
        return self.provider.supports("TLSv1.2")

    @property
    def config(self) -> ClientConfig | ServerConfig:
        """The configuration that a connection would get now. Raises ConfigError when it would be of no use."""
        return self._source.config(self)

    def config_for(self, side: Side) -> ClientConfig | ServerConfig:
        if side.server_side is not self.is_for_servers:
            name, kind = ("server", "CLIENT") if side.server_side else ("client", "SERVER")
            raise ssl.SSLError(0, f"Cannot create a {name} socket with a PROTOCOL_TLS_{kind} context")
        config = self.config
        if self._sni_callback is not None and isinstance(config, ServerConfig):
            # Only until the ClientHello was read: then it is the shared one again.
            config = attrs.evolve(config, on_client_hello=side.choose)
        return config

    def _wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool,
        server_hostname: str | None = None,
        *,
        owner: object = None,
        session: object = None,
    ) -> Connection:
        _check_sides(server_side, server_hostname)
        refuse_session(session)
        return MemoryConnection(self, incoming, outgoing, server_side, server_hostname, owner)

    def _wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool,
        server_hostname: str | None = None,
        *,
        owner: object = None,
        session: object = None,
    ) -> Connection:
        refuse_session(session)
        return SocketConnection(self, sock, server_side, server_hostname, owner)

    def _encode_hostname(self, hostname: str | bytes | None) -> str | None:
        """IDNA 2008: the name that is verified must be the name that was looked up."""
        name = hostname.decode("ascii") if isinstance(hostname, bytes) else hostname
        return name if name is None or name.isascii() else str(parse_server_name(name).value)

    # -- certificates and keys -------------------------------------------------------------------------------------

    def load_cert_chain(
        self, certfile: PathLike, keyfile: PathLike | None = None, password: Password | None = None
    ) -> None:
        """As documented. Several, with keys of different kinds, are chosen from by what the client can verify."""
        self._recorded("load_cert_chain").add_identity(load_identity(certfile, keyfile, password))

    def load_verify_locations(
        self,
        cafile: PathLike | None = None,
        capath: PathLike | None = None,
        cadata: str | Buffer | None = None,
    ) -> None:
        """As documented, but for certificates only: lists of revoked certificates are not looked at."""
        self._recorded("load_verify_locations").add_trusted(load_certificates(cafile, capath, cadata))

    def load_default_certs(self, purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH) -> None:
        """What the system trusts; read when the first certificate is verified."""
        if not isinstance(purpose, ssl.Purpose):
            raise TypeError(purpose)
        self.set_default_verify_paths()

    def set_default_verify_paths(self) -> None:
        self._recorded("load_default_certs").add_system_trust()

    def get_ca_certs(self, binary_form: bool = False) -> Any:
        """What is trusted, as dictionaries or DER; also what has not been needed yet."""
        show = certificate_der if binary_form else as_dictionary
        return [show(one) for one in self._source.trusted()]

    def cert_store_stats(self) -> dict[str, int]:
        count = len(self._source.trusted())
        return {"x509": count, "crl": 0, "x509_ca": count}

    # -- what is negotiated ----------------------------------------------------------------------------------------

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As documented; the same once more changes nothing, so connections go on sharing a configuration."""
        names = tuple(alpn_protocols)
        if not all(isinstance(name, str) and name.isascii() and 0 < len(name) < 256 for name in names):
            raise ssl.SSLError("ALPN protocols must be 1 to 255 in length")
        self._source.set_alpn(tuple(dict.fromkeys(names)))

    def set_npn_protocols(self, npn_protocols: Iterable[str]) -> None:
        raise self._refusal("NPN", "it was replaced by ALPN: set_alpn_protocols()")

    def set_ciphers(self, ciphers: str, /) -> None:
        """As documented it is about TLS 1.2 and older: it can't say anything about the suites of TLS 1.3."""
        super().set_ciphers(ciphers)
        if self.speaks_tls12:
            raise self._refusal("set_ciphers()", "the ciphers of TLS 1.2 are those that a ClientConfig names")

    def get_ciphers(self) -> Any:
        """The suites of the configuration, in its order."""
        return [
            {
                "id": 0x03000000 | int(number),
                "name": str(number),
                "protocol": "TLSv1.3",
                "strength_bits": SUITES[number].key_length * 8,
                "alg_bits": SUITES[number].key_length * 8,
                "aead": True,
            }
            for number in self.config.cipher_suites
        ]

    def set_ecdh_curve(self, name: str, /) -> None:
        """The one group for the key exchange, by OpenSSL's name for it or by IANA's."""
        try:
            group = CURVES.get(name) or NamedGroup.parse(name)
        except ValueError:
            raise ValueError(f"unknown elliptic curve name {name!r}") from None
        self._recorded("set_ecdh_curve").groups = (group,)

    def load_dh_params(self, path: PathLike, /) -> None:
        raise self._refusal("load_dh_params()", "TLS 1.3 names its groups")

    def set_psk_client_callback(self, callback: object) -> None:
        raise self._refusal("set_psk_client_callback()")

    def set_psk_server_callback(self, callback: object, identity_hint: str | None = None) -> None:
        raise self._refusal("set_psk_server_callback()")

    # -- hooks -----------------------------------------------------------------------------------------------------

    @property
    def sni_callback(self) -> Any:
        """``callback(ssl_object, server_name, context)``: may set ``ssl_object.context``, or return an alert."""
        return self._sni_callback

    @sni_callback.setter
    def sni_callback(self, callback: Any) -> None:
        if callback is not None and not callable(callback):
            raise TypeError("not a callable object")
        if callback is not None and not self.is_for_servers:
            raise ConfigError("sni_callback: only a server is asked for a name, and this context is for clients")
        self._sni_callback = callback

    @property
    def keylog_filename(self) -> Any:
        """The file that the lines of RFC 9850 are appended to. Whoever reads it reads the connections."""
        log = self._source.keylog
        return log.path if log is not None else None

    @keylog_filename.setter
    def keylog_filename(self, path: str | None) -> None:
        self._recorded("keylog_filename").keylog = KeyLogFile(path) if path is not None else None

    # -- settings that the base class keeps ------------------------------------------------------------------------

    @property
    def verify_mode(self) -> ssl.VerifyMode:
        return ssl.VerifyMode(_get(self, "verify_mode"))

    @verify_mode.setter
    def verify_mode(self, value: int) -> None:
        self._change("verify_mode", value)

    @property
    def check_hostname(self) -> bool:
        return bool(_get(self, "check_hostname"))

    @check_hostname.setter
    def check_hostname(self, value: bool) -> None:
        self._change("check_hostname", value)

    @property
    def minimum_version(self) -> Any:
        return ssl.TLSVersion(_get(self, "minimum_version"))

    @minimum_version.setter
    def minimum_version(self, value: int) -> None:
        self._change("minimum_version", value)

    @property
    def maximum_version(self) -> Any:
        return ssl.TLSVersion(_get(self, "maximum_version"))

    @maximum_version.setter
    def maximum_version(self, value: int) -> None:
        if value not in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED):
            if value != ssl.TLSVersion.TLSv1_2 or not self.speaks_tls12:
                raise self._refusal(f"maximum_version = {ssl.TLSVersion(value).name}", self._older_versions())
        self._change("maximum_version", value)

    @property
    def options(self) -> ssl.Options:
        return ssl.Options(_get(self, "options"))

    @options.setter
    def options(self, value: int) -> None:
        if value & ssl.OP_NO_TLSv1_3 and not self.speaks_tls12:
            raise self._refusal("OP_NO_TLSv1_3", self._older_versions())
        if value & OP_ENABLE_KTLS:
            raise self._refusal("OP_ENABLE_KTLS", "records are protected in this process")
        if (value ^ self.options) & ~ssl.OP_IGNORE_UNEXPECTED_EOF:
            self._recorded("options")
        _set(self, "options", value)

    @property
    def verify_flags(self) -> ssl.VerifyFlags:
        return ssl.VerifyFlags(_get(self, "verify_flags"))

    @verify_flags.setter
    def verify_flags(self, value: int) -> None:
        refused = ssl.VerifyFlags(value & REFUSED_FLAGS)
        if refused:
            raise self._refusal(f"verify_flags: {refused!r}")
        self._change("verify_flags", value)

    @property
    def hostname_checks_common_name(self) -> bool:
        """Never: RFC 9525 section 2."""
        return False

    @hostname_checks_common_name.setter
    def hostname_checks_common_name(self, value: bool) -> None:
        if value:
            raise self._refusal("hostname_checks_common_name", "RFC 9525 section 2: names are in subjectAltName")

    @property
    def post_handshake_auth(self) -> bool:
        return False

    @post_handshake_auth.setter
    def post_handshake_auth(self, value: bool) -> None:
        if value:
            raise self._refusal("post_handshake_auth")

    @property
    def num_tickets(self) -> int:
        """How many session tickets a server sends at first; ``OP_NO_TICKET`` is none at all."""
        return self._source.ticket_count

    @num_tickets.setter
    def num_tickets(self, value: int) -> None:
        if not self.is_for_servers:
            raise ValueError("SSLContext is not a server context.")
        if not 0 <= value <= MAX_TICKET_COUNT:
            raise ValueError(f"num_tickets: expected 0 to {MAX_TICKET_COUNT}, got {value}")
        self._recorded("num_tickets").ticket_count = value

    # -- changing it -----------------------------------------------------------------------------------------------

    def _recorded(self, what: str) -> Recorded:
        """Where to record. Raises ConfigError in a context that was made of a configuration."""
        if isinstance(self._source, Given):
            raise ConfigError(
                f"{what}: this SSLContext was made by context_for(config), and that configuration does not change;"
                " make another one"
            )
        return self._source

    def _change(self, name: str, value: Any) -> None:
        if value != getattr(self, name):
            self._recorded(name)
        _set(self, name, value)

    def _refusal(self, what: str, instead: str = "") -> ConfigError:
        text = f"{what}: an SSLContext of tlsprovider with the provider {self.provider.name!r} can't do that"
        return ConfigError(f"{text}; {instead}" if instead else text)

    def _older_versions(self) -> str:
        return "it speaks TLS 1.3 only; provider='openssl' has TLS 1.2"


def _get(context: SSLContext, name: str) -> Any:
    return getattr(ssl.SSLContext, name).__get__(context, type(context))


def _set(context: SSLContext, name: str, value: Any) -> None:
    getattr(ssl.SSLContext, name).__set__(context, value)


def _check_sides(server_side: bool, server_hostname: str | None) -> None:
    if server_side and server_hostname is not None:
        raise ValueError("server_hostname can only be specified in client mode")


def context_for(config: ClientConfig | ServerConfig, provider: str | ITLSProvider | None = None) -> SSLContext:
    """An ``ssl.SSLContext`` for a configuration. Only ``set_alpn_protocols()`` can change it.

    A hook of the configuration has to answer at once: code that uses an ``SSLContext`` can't wait for it. Raises
    :exc:`~tlsprovider.errors.ConfigError` when the provider can't have such connections.
    """
    is_server = isinstance(config, ServerConfig)
    context = SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT, provider=provider)
    if isinstance(config, ServerConfig):
        required = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}
        context.verify_mode = required[config.client_auth]
    else:
        context.check_hostname = config.trust.needs_name and not config.insecure_skip_verify
        if config.insecure_skip_verify:
            context.verify_mode = ssl.CERT_NONE
    context._source = Given(config)
    return context


def create_default_context(
    purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH,
    *,
    cafile: PathLike | None = None,
    capath: PathLike | None = None,
    cadata: str | Buffer | None = None,
    provider: str | ITLSProvider | None = None,
) -> SSLContext:
    """As :func:`ssl.create_default_context`: for clients that verify, or with ``Purpose.CLIENT_AUTH`` for servers.

    The environment variable ``SSLKEYLOGFILE`` is not looked at: who wants a key log sets ``keylog_filename``.
    """
    if purpose not in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
        raise ValueError(purpose)
    is_client = purpose is ssl.Purpose.SERVER_AUTH
    context = SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_client else ssl.PROTOCOL_TLS_SERVER, provider=provider)
    if cafile or capath or cadata:
        context.load_verify_locations(cafile, capath, cadata)
    elif is_client:
        context.load_default_certs(purpose)
    return context
