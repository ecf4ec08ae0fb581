"""The words of an endpoint string that begins with ``tlsp:``: which there are, and reading them.

:data:`WORDS` is the only list; error messages and the tables in ``docs/twisted.md`` are made from it. Where Twisted's
own strings (``ssl:``, ``tls:``) have a word for something, it is the name here too and means the same.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import attrs
from twisted.internet.endpoints import quoteStringArgument

from tlsprovider.errors import ConfigError

__all__ = ["PLACES", "WORDS", "Word", "Words", "list_of", "number", "path_of", "port_number", "seconds", "yes_or_no"]

V = TypeVar("V")
D = TypeVar("D")
Side = Literal["server", "client"]


@attrs.frozen
class Word:
    """``also``: other names for it, which mean the same."""

    name: str
    meaning: str
    sides: tuple[Side, ...] = ("server", "client")
    also: tuple[str, ...] = ()


_SERVER: Final = ("server",)
_CLIENT: Final = ("client",)

WORDS: Final = (
    Word("port", "the port to listen on; also the first word, without a name", _SERVER),
    Word("interface", "the address to listen on, IPv4 or (`\\:\\:`) IPv6; without it all of IPv4", _SERVER),
    Word("backlog", "the length of the queue of connections to be accepted; 50", _SERVER),
    Word(
        "privateKey",
        "PEM file with the private key, and, where `certKey` is not given, the certificates; `server.pem` if neither is"
        " given. Or a directory of certificates with their keys: each client gets that for the name it asks for, and"
        " files that change are read again",
        _SERVER,
        ("key",),
    ),
    Word(
        "certKey",
        "PEM file with the certificate and those that lead to its root, and, where `privateKey` is not given, the"
        " private key; or a directory",
        _SERVER,
        ("cert",),
    ),
    Word("extraCertChain", "PEM file with more certificates that lead to the root", _SERVER),
    Word(
        "clientAuth",
        "whether clients are asked for a certificate, and must have one: `none`, `request` (or `want`), `require` (or"
        " `need`); `require` if there is a `clientCA`, else `none`",
        _SERVER,
    ),
    Word("clientCA", "whom client certificates must lead to: PEM file, or directory of `.pem` files", _SERVER),
    Word(
        "tickets",
        "the Redis through which servers share session tickets: `redis\\://HOST\\:PORT`, with their common secret in"
        " the environment variable `TLSPROVIDER_FLEET_SECRET`",
        _SERVER,
    ),
    Word("host", "the name or address to connect to; also the first word, without a name", _CLIENT),
    Word("port", "the port to connect to; also the second word, without a name", _CLIENT),
    Word("timeout", "seconds for each attempt to connect, and again for the handshake; 30", _CLIENT),
    Word("bindAddress", "the local address to connect from", _CLIENT),
    Word(
        "trustRoots",
        "whom to trust: PEM file, or directory of `.pem` files; without it whom the system trusts",
        _CLIENT,
        ("ca", "caCertsDir"),
    ),
    Word(
        "certificate",
        "PEM file with the client's own certificate, and, where `privateKey` is not given, its private key",
        _CLIENT,
        ("certKey", "cert"),
    ),
    Word("privateKey", "PEM file with the private key for `certificate`", _CLIENT, ("key",)),
    Word("hostname", "whom the server's certificate must name; without it the host", _CLIENT, ("name",)),
    Word("insecure", "`yes`: take any certificate, which lets anybody in the middle read everything", _CLIENT),
    Word("endpoint", "another endpoint string, to put TLS on that"),
    Word("alpn", "application protocols in order of preference, with commas; without it what the factory asks for"),
    Word("groups", "key exchange groups in order of preference, with commas"),
    Word("ciphers", "cipher suites in order of preference, with commas"),
    Word("minVersion", "the oldest version to speak: `TLSv1.3`, or `TLSv1.2` with `provider=openssl`"),
    Word("provider", "the TLS implementation; without it that of `TLSPROVIDER_DEFAULT`, or `native`"),
    Word("handshakeTimeout", "seconds for the handshake, 0 for no limit; 30"),
    Word("closeTimeout", "seconds to wait for the peer's close_notify after ours; 10"),
)

PLACES: Final[Mapping[Side, tuple[str, ...]]] = {"server": ("port",), "client": ("host", "port")}
"""The words that come first and need no name."""


class Words:
    """The words of one endpoint string by name, as text, also where the string was bytes.

    Everything that is wrong with them is a :exc:`~tlsprovider.errors.ConfigError`, which is a ValueError.
    """

    def __init__(self, side: Side, args: Sequence[str | bytes], kwargs: Mapping[str, str | bytes]) -> None:
        self.where = f"tlsp: {side}"
        self.known = tuple(word for word in WORDS if side in word.sides)
        self._side: Side = side
        self._words: dict[str, str] = {}
        for given, value in kwargs.items():
            self._take(given, _text(value))
        self._take_places([_text(value) for value in args])

    def _take(self, given: str, value: str) -> None:
        for word in self.known:
            if given == word.name or given in word.also:
                if word.name in self._words:
                    raise self.error(f"{word.name} is given twice; {' and '.join((word.name, *word.also))} are one")
                self._words[word.name] = value
                return
        names = [word.name for word in self.known]
        near = difflib.get_close_matches(given, [*names, *(name for word in self.known for name in word.also)], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise self.error(f"unknown argument {given!r}{hint} Known: {', '.join(names)}")

    def _take_places(self, values: list[str]) -> None:
        places = PLACES[self._side]
        free = [place for place in places if place not in self._words]
        expected = f"expected tlsp:{':'.join(places)} or tlsp:endpoint=... and then only name=value"
        if len(values) > len(free) or (values and "endpoint" in self._words and self._side == "server"):
            stray = values[-1]
            raise self.error(f"{stray!r} is one word too many: {expected}{self._colon_hint(values)}")
        self._words.update(zip(free, values, strict=False))
        if "endpoint" not in self._words:
            for place in places:
                if place not in self._words:
                    raise self.error(f"{place} is missing; {expected}")

    def _colon_hint(self, values: list[str]) -> str:
        """An endpoint within this one is one word, so its colons have to be marked: mostly they were not."""
        if "endpoint" not in self._words:
            return ""
        whole = quoteStringArgument(":".join((self._words["endpoint"], *values)))
        return f". A colon within endpoint= is written \\: (did you mean endpoint={whole}?)"

    def __contains__(self, name: str) -> bool:
        return name in self._words

    def error(self, problem: object) -> ConfigError:
        return ConfigError(f"{self.where}: {problem}")

    def read(self, name: str, read: Callable[[str], V]) -> V:
        """The word as ``read`` understands it."""
        try:
            return read(self._words[name])
        except ValueError as problem:
            raise self.error(f"{name}={self._words[name]}: {problem}") from None

    def get(self, name: str, read: Callable[[str], V], default: D) -> V | D:
        return self.read(name, read) if name in self._words else default

    def path(self, name: str) -> Path | None:
        return self.get(name, path_of, None)

    def refuse(self, names: Sequence[str], why: str) -> None:
        """None of these words makes sense here."""
        for name in names:
            if name in self._words:
                raise self.error(f"{name}={self._words[name]}: {why}")

    def written(self, *names: str) -> str:
        """Those of the words that were given, for errors that concern them together."""
        return ":".join(f"{name}={self._words[name]}" for name in names if name in self._words)

    def fields(self, names: Mapping[str, tuple[str, Callable[[str], Any]]]) -> dict[str, Any]:
        """Parameters for somebody else, of those words that were given: ``{word: (parameter, read)}``."""
        return {field: self.read(name, read) for name, (field, read) in names.items() if name in self}


def _text(value: str | bytes) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


def list_of(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError("expected a number")
    return int(text)


def path_of(text: str) -> Path:
    if not text:
        # It would be the current directory.
        raise ValueError("expected the name of a file or directory")
    return Path(text)


def port_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) < 65536):
        raise ValueError("expected a port number (for TLS on another endpoint: endpoint=tcp\\:8443 and the like)")
    return int(text)


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError("expected a number of seconds")
    return value


def yes_or_no(text: str) -> bool:
    if text not in ("yes", "no"):
        raise ValueError("expected yes or no")
    return text == "yes"
