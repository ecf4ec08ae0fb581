"""Where this operating system keeps the certificates of the authorities that it trusts.

The one module below layer 6, beside the configuration, that looks at the environment: nothing is imported for it, and
nothing but :meth:`TrustStore.system <tlsprovider.trust.TrustStore.system>` uses it.

``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` (openssl-env(7)) replace the usual places when one of them is set. Where there is
no usual place, as on Windows, the package ``certifi`` is used if it is installed.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from tlsprovider.errors import ConfigError

__all__ = ["read_system_certificates"]

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu, Alpine, Arch, Gentoo
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",  # Fedora, RHEL
    "/etc/pki/tls/certs/ca-bundle.crt",  # older Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, FreeBSD, OpenBSD, Alpine
    "/usr/local/share/certs/ca-root-nss.crt",  # FreeBSD with ca_root_nss
    "/usr/local/etc/ssl/cert.pem",  # older FreeBSD
    "/opt/homebrew/etc/ca-certificates/cert.pem",  # Homebrew
)
DIRECTORIES = ("/etc/ssl/certs", "/etc/pki/tls/certs", "/system/etc/security/cacerts")


def read_system_certificates() -> tuple[bytes, str]:
    """The PEM of all authorities, and where it was found, for errors and logs.

    Raises :exc:`ConfigError` when nothing was found, or when the environment names what can't be read.
    """
    file, directories = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file or directories:
        return _from_environment(file, directories)
    for bundle in map(Path, BUNDLES):
        if bundle.is_file():
            return bundle.read_bytes(), str(bundle)
    for directory in map(Path, DIRECTORIES):
        data = _read_directory(directory)
        if data:
            return data, str(directory)
    data, where = _from_certifi()
    if data:
        return data, where
    raise ConfigError(
        "no trusted authorities were found on this system. Install its package of CA certificates, or certifi;"
        " set SSL_CERT_FILE; or configure trust=TrustStore.from_file('ca.pem')"
    )


def _from_environment(file: str | None, directories: str | None) -> tuple[bytes, str]:
    parts, where = [], []
    if file:
        try:
            parts.append(Path(file).read_bytes())
        except OSError as problem:
            raise ConfigError(f"SSL_CERT_FILE: {file!r} can't be read: {problem.strerror}") from None
        where.append(f"SSL_CERT_FILE={file}")
    for directory in (directories or "").split(os.pathsep):
        if directory:
            parts.append(_read_directory(Path(directory)))
            where.append(f"SSL_CERT_DIR={directory}")
    return b"\n".join(parts), ", ".join(where)


def _read_directory(directory: Path) -> bytes:
    """All PEM files of a directory as ``openssl rehash`` prepares them; each is there twice, as file and as link."""
    if not directory.is_dir():
        return b""
    files = {entry.resolve() for entry in directory.iterdir()}
    contents = (file.read_bytes() for file in sorted(files) if file.is_file())
    return b"\n".join(data for data in contents if b"-----BEGIN CERTIFICATE-----" in data)


def _from_certifi() -> tuple[bytes, str]:
    found = importlib.util.find_spec("certifi")
    for place in (found and found.submodule_search_locations) or ():
        bundle = Path(place) / "cacert.pem"
        if bundle.is_file():
            return bundle.read_bytes(), str(bundle)
    return b"", ""
