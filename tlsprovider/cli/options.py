"""What the subcommands' options have in common."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click

from tlsprovider.cli.failures import Failure
from tlsprovider.errors import ConfigError
from tlsprovider.identity import Identity
from tlsprovider.providers import default_provider

__all__ = ["Address", "address", "common", "common_fields", "identity_from", "log_lines"]

F = TypeVar("F", bound=Callable[..., Any])


@attrs.frozen
class Address:
    """``host`` is None for every address of this machine."""

    host: str | None
    port: int

    def __str__(self) -> str:
        host = "*" if self.host is None else f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address(text: str) -> Address:
    """Read ``host:port`` or ``[::1]:port``; where one listens, also ``*:port`` or ``:port``."""
    host, colon, digits = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Failure(f"{text!r}: write an IPv6 address in brackets, as [::1]:8443")
    if not colon or not digits.isascii() or not digits.isdigit():
        raise Failure(f"{text!r} is not of the form HOST:PORT, as localhost:8443 or [::1]:8443")
    if int(digits) > 65535:
        raise Failure(f"{text!r}: ports go up to 65535")
    return Address(None if host in ("", "*") else host, int(digits))


def common(command: F) -> F:
    """The options that clients and servers share. All but ``provider`` are for :func:`common_fields`."""
    for option in (
        click.option(
            "--provider",
            metavar="NAME",
            default=default_provider,
            show_default="native, or what TLSPROVIDER_DEFAULT says",
            help="The TLS implementation.",
        ),
        click.option("--min-version", metavar="VERSION", help="The oldest version to allow, as TLSv1.2."),
        click.option("--keylog", metavar="FILE", help="Append the connection's secrets, as Wireshark reads them."),
        click.option("--ciphers", metavar="LIST", help="Cipher suites in order of preference, with commas between."),
        click.option(
            "--groups", metavar="LIST", help="Key exchange groups in order of preference, with commas between."
        ),
        click.option("--alpn", metavar="LIST", help="Application protocols in order of preference, as h2,http/1.1."),
    ):
        command = option(command)
    return command


def common_fields(
    alpn: str | None, groups: str | None, ciphers: str | None, keylog: str | None, min_version: str | None
) -> dict[str, Any]:
    """The fields of a configuration that were given."""
    given = {
        "alpn": None if alpn is None else [name.strip() for name in alpn.split(",") if name.strip()],
        "groups": groups,
        "cipher_suites": ciphers,
        "keylog": None if keylog is None else _key_log(keylog),
        "min_version": min_version,
    }
    return {field: value for field, value in given.items() if value is not None}


def identity_from(cert: str | None, key: str | None) -> Identity | None:
    """The certificate and key in these files. A file that holds both may be given as ``--cert`` alone."""
    if cert is None:
        if key is not None:
            raise ConfigError("--key: a key without a certificate; add --cert FILE")
        return None
    return Identity.from_files(cert, key)


class _Lines(logging.Handler):
    """Each record is a line on standard error, as all that a command says."""

    def emit(self, record: logging.LogRecord) -> None:
        click.echo(record.getMessage(), err=True)


def log_lines(name: str, level: int) -> None:
    """Show what this part of the library logs."""
    log = logging.getLogger(name)
    log.setLevel(level)
    log.addHandler(_Lines())


def _key_log(path: str) -> Callable[[str], object]:
    """Appends lines to a file that only its owner can read: RFC 9850 section 4 tells why."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    file = os.fdopen(descriptor, "a", encoding="ascii", buffering=1)

    def append(line: str) -> None:
        file.write(line + "\n")

    return append
