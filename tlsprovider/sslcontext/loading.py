"""Certificates and keys from where an ``ssl.SSLContext`` takes them, with the exceptions that it raises."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from tlsprovider.errors import ConfigError
from tlsprovider.identity import Identity
from tlsprovider.sslcontext.exceptions import ssl_error
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer
    from cryptography.x509 import Certificate

__all__ = ["Password", "PathLike", "load_certificates", "load_identity"]

PathLike = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Password = Callable[[], str | bytes | bytearray] | str | bytes | bytearray
T = TypeVar("T")

# openssl-rehash(1): the hash of a subject, and a number that tells several apart. Revocation lists have an r there.
HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")


def load_identity(certfile: PathLike, keyfile: PathLike | None, password: Password | None) -> Identity:
    """``SSLContext.load_cert_chain``: raises TypeError, OSError, SSLError."""
    chain = _path("certfile", certfile)
    key = None if keyfile is None else _path("keyfile", keyfile)
    for path in filter(None, (chain, key)):
        with path.open("rb"):
            pass
    return _in_terms_of_ssl("PEM_LIB", lambda: Identity.from_files(chain, key, _plain(password)))


def _plain(password: Password | None) -> str | bytes | None:
    found = password() if callable(password) else password
    if found is not None and not isinstance(found, str | bytes | bytearray):
        raise TypeError("password should be a string or callable")
    return bytes(found) if isinstance(found, bytearray) else found


def load_certificates(
    cafile: PathLike | None, capath: PathLike | None, cadata: str | Buffer | None
) -> list[Certificate]:
    """``SSLContext.load_verify_locations``: raises TypeError, ValueError, OSError, SSLError."""
    if cafile is None and capath is None and cadata is None:
        raise TypeError("cafile, capath and cadata cannot be all omitted")
    found: list[Certificate] = []
    if cadata is not None:
        found += _from_data(cadata)
    if cafile is not None:
        found += _from_file(_path("cafile", cafile))
    if capath is not None:
        # OpenSSL looks in there when it needs one, and a folder that is not there has none.
        folder = _path("capath", capath)
        names = sorted(os.listdir(folder)) if folder.is_dir() else []
        for name in filter(HASHED.fullmatch, names):
            found += _from_file(folder / name)
    return found


def _from_file(path: Path) -> tuple[Certificate, ...]:
    data = path.read_bytes()
    return _certificates(data, "NO_CERTIFICATE_OR_CRL_FOUND")


def _from_data(cadata: object) -> tuple[Certificate, ...]:
    if isinstance(cadata, str) and cadata.isascii():
        data = cadata.encode("ascii")
    else:
        try:
            view = memoryview(cadata)  # type: ignore[arg-type]  # found out by trying
        except TypeError:
            raise TypeError("cadata should be an ASCII string or a bytes-like object") from None
        data = _as_pem(bytes(view))
    if not data:
        raise ValueError("Empty certificate data")
    return _certificates(data, "NOT_ENOUGH_DATA")


def _as_pem(data: bytes) -> bytes:
    """Certificates in DER, one behind the other, each as PEM. Each is a sequence with a length of two bytes."""
    found = b""
    while data:
        end = 4 + int.from_bytes(data[2:4], "big")
        if data[:2] != b"\x30\x82" or end > len(data):
            raise ssl_error(
                ConfigError("cadata: not a certificate in DER, or one that is cut short"), "NOT_ENOUGH_DATA"
            )
        found += ssl.DER_cert_to_PEM_cert(data[:end]).encode("ascii")
        data = data[end:]
    return found


def _certificates(data: bytes, reason: str) -> tuple[Certificate, ...]:
    return _in_terms_of_ssl(reason, lambda: TrustStore.from_pem(data).certificates)


def _path(name: str, value: PathLike) -> Path:
    try:
        return Path(os.fsdecode(value))
    except TypeError:
        raise TypeError(f"{name} should be a valid filesystem path") from None


def _in_terms_of_ssl(reason: str, load: Callable[[], T]) -> T:
    try:
        return load()
    except ConfigError as problem:
        error: ssl.SSLError = ssl_error(problem, reason)
        raise error from problem
