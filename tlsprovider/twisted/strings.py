"""Endpoint strings with the prefix ``tlsp:``: for ``serverFromString``, ``clientFromString``, ``twist web --listen``.

A server::

    tlsp:8443:cert=chain.pem:key=key.pem
    tlsp:8443:cert=both.pem:interface=127.0.0.1:alpn=h2,http/1.1
    tlsp:8443:cert=chain.pem:key=key.pem:clientCA=clients.pem:clientAuth=require
    tlsp:endpoint=unix\\:/run/app.sock:cert=chain.pem:key=key.pem

===================== =================================================================================================
``cert=``             PEM file with the certificate and those that lead to its root. Needed.
``key=``              PEM file with the private key; without it the key is in ``cert=`` too.
``interface=``        the address to listen on, IPv4 or (``\\:\\:``) IPv6; all of IPv4 without it.
``backlog=``          the length of the queue of connections to be accepted; 50 without it.
``clientCA=``         PEM file with the certificates that client certificates must lead to.
``clientAuth=``       ``none``, ``request`` or ``require``; ``require`` if there is a ``clientCA=``, else ``none``.
===================== =================================================================================================

A client::

    tlsp:example.com:443
    tlsp:10.0.0.7:8443:name=db.internal:ca=internal.pem
    tlsp:endpoint=unix\\:/run/app.sock:name=app.internal

===================== =================================================================================================
``ca=``               PEM file with the certificates to trust; those of the system without it.
``name=``             whom the server's certificate must name; the host without it.
``cert=``, ``key=``   the client's own certificate and key, as for the server.
``insecure=``         ``yes``: take any certificate, which lets anybody in the middle read everything.
``timeout=``          seconds for the connection, and again for the handshake; 30 without it.
``bindAddress=``      the local address to connect from.
``host=``, ``port=``  the two words at the beginning, by name.
===================== =================================================================================================

Both::

===================== =================================================================================================
``endpoint=``         another endpoint string to put TLS on, in place of port, or host and port. As everywhere in such
                      strings, a colon within is written ``\\:`` (``twisted.internet.endpoints.quoteStringArgument``).
``alpn=``             application protocols in order of preference, with commas.
``groups=``           key exchange groups in order of preference, with commas.
``ciphers=``          cipher suites in order of preference, with commas.
``provider=``         the TLS implementation; without it that of ``TLSPROVIDER_DEFAULT``, or ``native``.
``handshakeTimeout=`` seconds for the handshake, 0 for no limit; 30 without it.
``closeTimeout=``     seconds to wait for the peer's close_notify; 10 without it.
===================== =================================================================================================

A wrong word is a ValueError that says what is wrong with it; a file that can't be used is a
:exc:`~tlsprovider.errors.ConfigError`, which is one as well.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    clientFromString,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.endpoints import TLSClientEndpoint, TLSServerEndpoint

__all__ = ["parse_client", "parse_server"]

V = TypeVar("V")
D = TypeVar("D")

BOTH = ("endpoint", "alpn", "groups", "ciphers", "provider", "handshakeTimeout", "closeTimeout")
SERVER = ("cert", "key", "interface", "backlog", "clientCA", "clientAuth", *BOTH)
CLIENT = ("ca", "name", "cert", "key", "insecure", "timeout", "bindAddress", *BOTH)
CLIENT_AUTH: tuple[Literal["none", "request", "require"], ...] = ("none", "request", "require")


def parse_server(reactor: Any, args: Sequence[str | bytes], kwargs: Mapping[str, str | bytes]) -> TLSServerEndpoint:
    """The endpoint for a server's string, already cut into words by ``serverFromString``."""
    words = _Words("server", ("port",), SERVER, args, kwargs)
    trust = words.trust("clientCA")
    client_auth = words.get("clientAuth", _client_auth, "none" if trust is None else "require")
    if client_auth != "none" and trust is None:
        raise ValueError(f"tlsp: server: clientAuth={client_auth} needs clientCA=, the file that says whom to believe")
    identity = words.identity()
    if identity is None:
        raise ValueError("tlsp: server: cert= is missing, the PEM file with the server's certificate chain")
    config = ServerConfig(identities=[identity], trust=trust, client_auth=client_auth, **words.common())
    endpoint = _inner_server(reactor, words)
    return TLSServerEndpoint(endpoint, config, **words.options(reactor, HANDSHAKE_TIMEOUT))


def _inner_server(reactor: Any, words: _Words) -> IStreamServerEndpoint:
    if "endpoint" in words:
        inner: IStreamServerEndpoint = serverFromString(reactor, words.read("endpoint", str))
        return inner
    interface = words.get("interface", str, "")
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    endpoint: IStreamServerEndpoint = kind(
        reactor, words.read("port", _port), words.get("backlog", _number, 50), interface
    )
    return endpoint


def parse_client(reactor: Any, args: Sequence[str | bytes], kwargs: Mapping[str, str | bytes]) -> TLSClientEndpoint:
    """The endpoint for a client's string, already cut into words by ``clientFromString``."""
    words = _Words("client", ("host", "port"), CLIENT, args, kwargs)
    insecure = words.get("insecure", _yes_or_no, False)
    name = words.get("name", str, None) or words.get("host", str, None)
    if name is None and not insecure:
        raise ValueError("tlsp: client: name= is missing, whom the server's certificate must name")
    config = ClientConfig(
        trust=words.trust("ca") or TrustStore.system(),
        identity=words.identity(),
        insecure_skip_verify=insecure,
        **words.common(),
    )
    timeout = words.get("timeout", _seconds, HANDSHAKE_TIMEOUT)
    endpoint = _inner_client(reactor, words, timeout)
    return TLSClientEndpoint(endpoint, config, name, **words.options(reactor, timeout))


def _inner_client(reactor: Any, words: _Words, timeout: float) -> IStreamClientEndpoint:
    if "endpoint" in words:
        inner: IStreamClientEndpoint = clientFromString(reactor, words.read("endpoint", str))
        return inner
    bind_address = words.get("bindAddress", str, None)
    endpoint: IStreamClientEndpoint = HostnameEndpoint(
        reactor,
        words.read("host", str),
        words.read("port", _port),
        timeout,
        None if bind_address is None else (bind_address, 0),
    )
    return endpoint


class _Words:
    """The words of one endpoint string by name, as text, also where the string was bytes.

    ``places`` names the words that come first and need no name.
    """

    def __init__(
        self,
        side: str,
        places: tuple[str, ...],
        known: tuple[str, ...],
        args: Sequence[str | bytes],
        kwargs: Mapping[str, str | bytes],
    ) -> None:
        self.where = f"tlsp: {side}"
        self._words = {name: _text(value) for name, value in kwargs.items()}
        for name in self._words:
            if name not in known and name not in places:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else "."
                raise ValueError(f"{self.where}: unknown argument {name!r}{hint} Known: {', '.join(known)}")
        free = [place for place in places if place not in self._words]
        if len(args) > len(free):
            raise ValueError(
                f"{self.where}: {_text(args[len(free)])!r} is one word too many: expected tlsp:{':'.join(places)}"
                " and then only name=value"
            )
        self._words.update(zip(free, map(_text, args), strict=False))
        expected = f"expected tlsp:{':'.join(places)} or tlsp:endpoint=..."
        for place in places:
            if "endpoint" not in self._words and place not in self._words:
                raise ValueError(f"{self.where}: {place} is missing; {expected}")
            if "endpoint" in self._words and place in self._words:
                raise ValueError(f"{self.where}: {place} {self._words[place]!r} and endpoint= are too much; {expected}")

    def __contains__(self, name: str) -> bool:
        return name in self._words

    def read(self, name: str, read: Callable[[str], V]) -> V:
        """The word as ``read`` understands it."""
        try:
            return read(self._words[name])
        except ValueError as problem:
            raise ValueError(f"{self.where}: {name}={self._words[name]}: {problem}") from problem

    def get(self, name: str, read: Callable[[str], V], default: D) -> V | D:
        return self.read(name, read) if name in self._words else default

    def identity(self) -> Identity | None:
        """The certificate and key, if there are any."""
        if "cert" in self:
            return Identity.from_files(self.read("cert", str), self.get("key", str, None))
        if "key" in self:
            raise ValueError(f"{self.where}: key= needs cert=, the certificate that belongs to it")
        return None

    def trust(self, name: str) -> TrustStore | None:
        return TrustStore.from_file(self.read(name, str)) if name in self else None

    def common(self) -> dict[str, Any]:
        """The fields of a configuration that both sides have."""
        fields = {"alpn": "alpn", "groups": "groups", "ciphers": "cipher_suites"}
        return {field: self.read(name, _list) for name, field in fields.items() if name in self}

    def options(self, reactor: Any, handshake_timeout: float) -> dict[str, Any]:
        """The parameters of an endpoint that both sides have."""
        return {
            "provider": self.get("provider", str, None),
            "clock": reactor,
            "handshakeTimeout": self.get("handshakeTimeout", _seconds, handshake_timeout) or None,
            "closeTimeout": self.get("closeTimeout", _seconds, CLOSE_TIMEOUT),
        }


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("expected a number")
    return int(text)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise ValueError("expected a port number (for TLS on another endpoint: endpoint=tcp\\:8443 and the like)")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError("expected a number of seconds")
    return seconds


def _yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return text == "yes"


def _client_auth(text: str) -> Literal["none", "request", "require"]:
    for choice in CLIENT_AUTH:
        if text == choice:
            return choice
    raise ValueError("expected none, request or require")
