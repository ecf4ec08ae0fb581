"""What goes wrong, in one sentence each: the reader of a terminal needs no traceback."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from tlsprovider.errors import AlertReceived, Fault, PeerFault, TLSError
from tlsprovider.iana import AlertDescription

__all__ = ["Failure", "sentence", "told_in_one_sentence"]


class Failure(click.ClickException):
    """Ends the command with ``tlsprovider: sentence`` on standard error and exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"tlsprovider: {self.message}", file=file, err=file is None)


@contextmanager
def told_in_one_sentence() -> Iterator[None]:
    """Turn what users and networks do wrong into a :class:`Failure`. Our own mistakes keep their traceback."""
    try:
        yield
    except (TLSError, OSError) as error:
        raise Failure(sentence(error)) from error


def sentence(error: BaseException) -> str:
    """What happened, for a person."""
    error = _root(error)
    if isinstance(error, TLSError):
        return _tls_sentence(error)
    if isinstance(error, socket.gaierror):
        return f"the name could not be looked up ({error.strerror})"
    if isinstance(error, OSError):
        return _os_sentence(error)
    return str(error) or type(error).__name__


def _root(error: BaseException) -> BaseException:
    """The error that says most: frameworks wrap ours in theirs, and group those that happened side by side."""
    seen = {id(error)}
    while not isinstance(error, TLSError):
        below = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__
        if below is None or id(below) in seen:
            break
        seen.add(id(below))
        error = below
    return error


def _tls_sentence(error: TLSError) -> str:
    text = str(error)
    if isinstance(error, PeerFault) and error.fault is Fault.NOT_TLS:
        return f"{text}. Is this the right port?"
    if isinstance(error, AlertReceived) and error.alert == AlertDescription.certificate_required:
        return f"{text}. It wants to see a certificate: use --cert and --key"
    return text


def _os_sentence(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return "the address is in use: another program listens there"
    if error.errno == errno.ECONNREFUSED:
        return "connection refused: nothing listens there"
    if error.errno == errno.EACCES and error.filename is None:
        return "permission denied: ports below 1024 need privileges"
    if error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {reason}"
    return reason
