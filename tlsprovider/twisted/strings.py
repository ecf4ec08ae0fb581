"""Endpoint strings with the prefix ``tlsp:``: for ``serverFromString``, ``clientFromString``, ``twist web --listen``.

A server::

    tlsp:8443:privateKey=both.pem
    tlsp:8443:privateKey=key.pem:certKey=chain.pem:interface=127.0.0.1:alpn=h2,http/1.1
    tlsp:8443:privateKey=/etc/certificates
    tlsp:8443:privateKey=both.pem:clientCA=clients.pem:clientAuth=request
    tlsp:endpoint=unix\\:/run/app.sock\\:mode=600:privateKey=both.pem
    tlsp:unix:/run/app.sock:mode=600:privateKey=both.pem

A client::

    tlsp:example.com:443
    tlsp:10.0.0.7:8443:hostname=db.internal:trustRoots=internal.pem
    tlsp:endpoint=unix\\:/run/app.sock:hostname=app.internal

The words are those of Twisted's own ``ssl:`` and ``tls:``, and some more; :data:`tlsprovider.twisted.words.WORDS` and
``docs/twisted.md`` have all of them. Within ``endpoint=`` a colon is written ``\\:``
(``twisted.internet.endpoints.quoteStringArgument``). A server may have the endpoint in front instead, unmarked; then
words that are not those of TLS are the endpoint's.

What can't be used is told when the string is read, by a :exc:`~tlsprovider.errors.ConfigError` (a ValueError): a word,
a file, something that the provider does not support.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    clientFromString,
    quoteStringArgument,
    serverFromString,
)
from twisted.internet.interfaces import IStreamClientEndpoint, IStreamServerEndpoint

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import load_pem_chain
from tlsprovider.errors import ConfigError
from tlsprovider.fleet import fleet_secret
from tlsprovider.identity import Identity
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.trust import TrustStore, read_file
from tlsprovider.twisted.connection import CLOSE_TIMEOUT, HANDSHAKE_TIMEOUT
from tlsprovider.twisted.endpoints import TLSClientEndpoint, TLSServerEndpoint
from tlsprovider.twisted.fleet import RedisFleet
from tlsprovider.twisted.words import WORDS, Words, list_of, number, path_of, port_number, seconds, yes_or_no

__all__ = ["parse_client", "parse_server"]

E = TypeVar("E")
Text = str | bytes

CLIENT_AUTH: dict[str, Literal["none", "request", "require"]] = {
    "none": "none",
    "request": "request",
    "require": "require",
    # As Java and nginx's users say.
    "want": "request",
    "need": "require",
}
# What of a server's words says where to listen, and not how to speak TLS.
WHERE_TO_LISTEN = ("port", "interface", "backlog")
COLONS = "a colon within endpoint= is written \\:"


def parse_server(reactor: Any, args: Sequence[Text], kwargs: Mapping[str, Text]) -> TLSServerEndpoint:
    """The endpoint for a server's string, already cut into words by ``serverFromString``."""
    words = Words("server", *_endpoint_in_front(args, kwargs))
    trust = _trust(words, "clientCA")
    client_auth = words.get("clientAuth", _client_auth, "none" if trust is None else "require")
    if client_auth != "none" and trust is None:
        raise words.error(f"clientAuth={client_auth} needs clientCA=, the file that says whom to believe")
    identities = _server_identities(words)
    config = _config(words, ServerConfig, identities=identities, trust=trust, client_auth=client_auth)
    if "tickets" in words:
        fleet = words.read("tickets", lambda url: RedisFleet(url, secret=fleet_secret()))
        config = fleet.join(config)
    inner = _inner_server(reactor, words, marked="endpoint" in kwargs)
    endpoint = TLSServerEndpoint(inner, config, **_options(reactor, words, HANDSHAKE_TIMEOUT))
    return _tried(words, endpoint, lambda: endpoint.provider.server_engine(config))


def parse_client(reactor: Any, args: Sequence[Text], kwargs: Mapping[str, Text]) -> TLSClientEndpoint:
    """The endpoint for a client's string, already cut into words by ``clientFromString``."""
    words = Words("client", args, kwargs)
    insecure = words.get("insecure", yes_or_no, False)
    hostname = words.get("hostname", str, None) or words.get("host", str, None)
    if hostname is None and not insecure:
        raise words.error("hostname= is missing, whom the server's certificate must name")
    config = _config(
        words,
        ClientConfig,
        trust=_trust(words, "trustRoots") or TrustStore.system(),
        identity=_identity(words, "certificate"),
        insecure_skip_verify=insecure,
    )
    timeout = words.get("timeout", seconds, HANDSHAKE_TIMEOUT)
    inner = _inner_client(reactor, words, timeout)
    endpoint = TLSClientEndpoint(inner, config, hostname, **_options(reactor, words, timeout))
    return _tried(words, endpoint, lambda: endpoint.provider.client_engine(config, hostname))


def _tried(words: Words, endpoint: E, make_engine: Callable[[], object]) -> E:
    """What the provider refuses is to be told now, and not by the first connection."""
    try:
        make_engine()
    except ConfigError as problem:
        raise words.error(problem) from None
    return endpoint


# -- the endpoint below -----------------------------------------------------------------------------------------------


def _endpoint_in_front(args: Sequence[Text], kwargs: Mapping[str, Text]) -> tuple[Sequence[Text], Mapping[str, Text]]:
    """``tlsp:unix:/run/app.sock:mode=600:cert=...`` as ``tlsp:endpoint=unix\\:/run/app.sock\\:mode=600:cert=...``."""
    if not args or args[0].isdigit() or "endpoint" in kwargs:
        return args, kwargs
    about_tls = [word for word in WORDS if "server" in word.sides and word.name not in WHERE_TO_LISTEN]
    known = {name for word in about_tls for name in (word.name, *word.also)}
    ours = {name: value for name, value in kwargs.items() if name in known}
    theirs = [_quoted(value).replace("=", "\\=") for value in args]
    theirs += [f"{name}={_quoted(value)}" for name, value in kwargs.items() if name not in known]
    return (), {**ours, "endpoint": ":".join(theirs)}


def _quoted(value: Text) -> str:
    text: str = quoteStringArgument(value.decode("utf-8") if isinstance(value, bytes) else value)
    return text


def _inner_server(reactor: Any, words: Words, marked: bool) -> IStreamServerEndpoint:
    if "endpoint" in words:
        words.refuse(
            WHERE_TO_LISTEN, "with endpoint= this belongs within it: endpoint=tcp\\:8443\\:interface=127.0.0.1"
        )
        hint = COLONS if marked else "expected a port number or an endpoint"
        inner: IStreamServerEndpoint = _nested(words, lambda description: serverFromString(reactor, description), hint)
        return inner
    interface = words.get("interface", str, "")
    kind = TCP6ServerEndpoint if ":" in interface else TCP4ServerEndpoint
    port, backlog = words.read("port", port_number), words.get("backlog", number, 50)
    endpoint: IStreamServerEndpoint = kind(reactor, port, backlog, interface)
    return endpoint


def _inner_client(reactor: Any, words: Words, timeout: float) -> IStreamClientEndpoint:
    # With endpoint= the host is only whom the certificate must name, and the port is nothing, as in Twisted's tls:.
    port = words.get("port", port_number, 0)
    if "endpoint" in words:
        words.refuse(("bindAddress",), "with endpoint= this belongs within it: endpoint=tcp\\:...\\:bindAddress=...")
        inner: IStreamClientEndpoint = _nested(
            words, lambda description: clientFromString(reactor, description), COLONS
        )
        return inner
    bind_address = words.get("bindAddress", str, None)
    endpoint: IStreamClientEndpoint = HostnameEndpoint(
        reactor, words.read("host", str), port, timeout, None if bind_address is None else (bind_address, 0)
    )
    return endpoint


def _nested(words: Words, parse: Callable[[str], E], hint: str) -> E:
    description = words.read("endpoint", str)
    try:
        return parse(description)
    except Exception as problem:
        # Each kind of endpoint has its own way to say that it does not understand.
        text = str(problem) if isinstance(problem, ValueError) else f"{type(problem).__name__}: {problem}"
        raise words.error(f"endpoint={description}: {text} ({hint})") from problem


# -- certificates -----------------------------------------------------------------------------------------------------


def _server_identities(words: Words) -> IdentityDirectory | list[Identity]:
    paths = {path for path in (words.path("privateKey"), words.path("certKey")) if path is not None}
    if any(path.is_dir() for path in paths):
        return _directory(words, paths)
    identity = _identity(words, "certKey")
    if identity is not None:
        return [identity]
    try:
        # Twisted's ssl: has this default.
        return [Identity.from_files("server.pem")]
    except ConfigError as problem:
        missing = "privateKey= is missing, the PEM file with the server's key and certificates, or a directory of such"
        raise words.error(f"{missing}; {problem}") from None


def _directory(words: Words, paths: set[Path]) -> IdentityDirectory:
    """All certificates of a directory, chosen by name, and read again when they change."""
    words.refuse(("extraCertChain",), "the files of a directory hold whole chains")
    if len(paths) > 1:
        raise words.error(f"{words.written('privateKey', 'certKey')}: a directory holds both; give it alone")
    try:
        return IdentityDirectory(paths.pop())
    except ConfigError as problem:
        raise words.error(f"{words.written('privateKey', 'certKey')}: {problem}") from None


def _identity(words: Words, certificate: str) -> Identity | None:
    """The certificates and the key. One file with both may be given by either word."""
    chain, key = words.path(certificate), words.path("privateKey")
    where = chain or key
    if where is None:
        words.refuse(("extraCertChain",), "it needs privateKey=, the key and certificate that it continues")
        return None
    try:
        identity = Identity.from_files(where, key)
        extra = words.path("extraCertChain")
        return identity if extra is None else _continued(identity, extra)
    except ConfigError as problem:
        raise words.error(f"{words.written('privateKey', certificate, 'extraCertChain')}: {problem}") from None


def _continued(identity: Identity, path: Path) -> Identity:
    assert identity.private_key is not None
    more = load_pem_chain(read_file(path), path.name)
    certificates = dict.fromkeys((*identity.certificates, *more))
    return Identity.from_crypto(certificates, identity.private_key)


def _trust(words: Words, name: str) -> TrustStore | None:
    return words.get(name, _trust_at, None)


def _trust_at(text: str) -> TrustStore:
    path = path_of(text)
    return TrustStore.from_directory(path) if path.is_dir() else TrustStore.from_file(path)


# -- the rest ---------------------------------------------------------------------------------------------------------


def _config(words: Words, kind: Any, **fields: Any) -> Any:
    given = words.fields(
        {
            "alpn": ("alpn", list_of),
            "groups": ("groups", list_of),
            "ciphers": ("cipher_suites", list_of),
            "minVersion": ("min_version", str),
        }
    )
    try:
        return kind(**fields, **given)
    except ConfigError as problem:
        raise words.error(problem) from None


def _options(reactor: Any, words: Words, handshake_timeout: float) -> dict[str, Any]:
    """The parameters of an endpoint that both sides have."""
    return {
        "provider": words.get("provider", str, None),
        "clock": reactor,
        "handshakeTimeout": words.get("handshakeTimeout", seconds, handshake_timeout) or None,
        "closeTimeout": words.get("closeTimeout", seconds, CLOSE_TIMEOUT),
    }


def _client_auth(text: str) -> Literal["none", "request", "require"]:
    if text not in CLIENT_AUTH:
        raise ValueError("expected none, request or require")
    return CLIENT_AUTH[text]
