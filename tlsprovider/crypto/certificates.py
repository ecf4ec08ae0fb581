"""Reading certificates and keys: from the peer, where every byte may be hostile, and from files, where people err.

``cryptography`` parses a certificate lazily. :func:`parse_certificate` looks at every part once, so that whatever it
let through can't raise in the middle of a handshake later.
"""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
import warnings
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import cast

import idna
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, mldsa, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import Certificate, DNSName, IPAddress, SubjectAlternativeName
from cryptography.x509.oid import NameOID

from tlsprovider.crypto import der
from tlsprovider.errors import ConfigError, Fault, PeerFault
from tlsprovider.remember import remembered

__all__ = [
    "Certificate",
    "certificate_der",
    "certificate_names",
    "describe",
    "fits_wildcard",
    "key_id",
    "key_matches",
    "load_pem_bundle",
    "load_pem_chain",
    "load_private_key",
    "may_sign",
    "parse_certificate",
    "parse_server_name",
    "sni_name",
    "spki_sha256",
]

# Below, an RSA key can be broken by whoever wants it enough.
MIN_RSA_BITS = 2048
# Above, a single verification keeps a core busy for milliseconds.
MAX_RSA_BITS = 16384
# Nobody uses more than 65537; a long exponent makes each verification a hundred times as dear.
MAX_RSA_EXPONENT_BITS = 33

_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
_OTHER_KEYS = (
    ed25519.Ed25519PublicKey,
    ed448.Ed448PublicKey,
    mldsa.MLDSA44PublicKey,
    mldsa.MLDSA65PublicKey,
    mldsa.MLDSA87PublicKey,
)


# -- from the peer ----------------------------------------------------------------------------------------------------


# What is remembered of certificates is filled by strangers: 64 of 8 KiB, with all that is made of them, stay below
# 12 MB. A larger one is parsed each time.
MAX_REMEMBERED_SIZE = 8 * 1024


@remembered(MAX_REMEMBERED_SIZE)
def parse_certificate(data: bytes) -> Certificate:
    """One DER certificate from the peer. Nothing in the result can raise later.

    The last few are remembered: clients meet the same servers again, and what is in a certificate is public.

    Raises PeerFault CERTIFICATE_UNPARSABLE, or CERTIFICATE_KEY when its key is of no use in TLS 1.3.
    """
    try:
        certificate = x509.load_der_x509_certificate(data)
        _look_at_everything(certificate)
    except Exception as problem:
        # The list of what a parser raises for hostile bytes is never complete; whatever it was, the answer is no.
        raise PeerFault(Fault.CERTIFICATE_UNPARSABLE, str(problem)) from None
    unusable = key_problem(certificate)
    if unusable:
        raise PeerFault(Fault.CERTIFICATE_KEY, unusable)
    return certificate


def _look_at_everything(certificate: Certificate) -> None:
    _ = certificate.version, certificate.serial_number
    _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    _ = certificate.subject, certificate.issuer, certificate.extensions
    _ = certificate.signature_algorithm_oid, certificate.public_key_algorithm_oid


def key_problem(certificate: Certificate) -> str:
    """Why the key of a certificate can't be used in TLS 1.3; empty if it can (RFC 9846 section 4.5.1.1)."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as problem:
        return f"the key can't be read ({problem})"
    if isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            return f"an RSA key of {key.key_size} bits; {MIN_RSA_BITS} to {MAX_RSA_BITS} are accepted"
        exponent = key.public_numbers().e.bit_length()
        if exponent > MAX_RSA_EXPONENT_BITS:
            return f"an RSA key with an exponent of {exponent} bits; at most {MAX_RSA_EXPONENT_BITS} are accepted"
        return ""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return (
            "" if isinstance(key.curve, _CURVES) else f"an ECDSA key on {key.curve.name}, which TLS 1.3 does not have"
        )
    return "" if isinstance(key, _OTHER_KEYS) else f"{type(key).__name__} can't sign in TLS 1.3"


def may_sign(certificate: Certificate) -> bool:
    """Whether the keyUsage of a leaf, if there is one, allows it to sign a handshake (RFC 9846 section 4.5.1.2)."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value.digital_signature
    except x509.ExtensionNotFound:
        return True


def certificate_der(certificate: Certificate) -> bytes:
    """The certificate as it goes over the wire."""
    return certificate.public_bytes(serialization.Encoding.DER)


def spki_sha256(certificate: Certificate) -> bytes:
    """The SHA-256 of the SubjectPublicKeyInfo, as RFC 7469 section 2.4 pins keys: 32 bytes."""
    return hashlib.sha256(der.subject_public_key_info(certificate)).digest()


def key_id(key: Certificate | CertificateIssuerPrivateKeyTypes) -> bytes:
    """What a key pair is called by whoever holds only one half of it: SHA-256 of the public key, 32 bytes.

    Unlike :func:`spki_sha256` it doesn't depend on how a certificate has written the key's algorithm.
    """
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(public).digest()


# -- names ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def parse_server_name(server_name: str) -> DNSName | IPAddress:
    """What to look for in a server's certificate: an IP address, or a DNS name in lower-case ASCII without final dot.

    ``[::1]``, ``fe80::1%eth0`` and names with any letters (IDNA 2008) are understood.
    Raises :exc:`ConfigError` when it is neither.
    """
    text = server_name.strip()
    try:
        return IPAddress(ipaddress.ip_address(text.removeprefix("[").removesuffix("]").partition("%")[0]))
    except ValueError:
        pass
    name = text.removesuffix(".")
    try:
        name = name.lower() if name.isascii() else idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as problem:
        raise ConfigError(f"server name {server_name!r} is not a domain name: {problem}") from None
    if len(name) > 253 or not _DNS_NAME.fullmatch(name):
        raise ConfigError(
            f"server name {server_name!r} is neither a domain name nor an IP address:"
            " expected the like of 'example.com', '192.0.2.1' or '2001:db8::1', without scheme, port or path"
        )
    return DNSName(name)


_DNS_NAME = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def sni_name(server_name: str) -> str | None:
    """What to send in the server_name extension; None for an IP address, which may not be sent (RFC 6066 section 3)."""
    subject = parse_server_name(server_name)
    return subject.value if isinstance(subject, DNSName) else None


def certificate_names(certificate: Certificate) -> tuple[str, ...]:
    """DNS names in lower case and IP addresses of the subjectAltName; no other place counts (RFC 9525 section 2)."""
    names = alternative_names(certificate)
    if names is None:
        return ()
    return (
        *(name.lower().removesuffix(".") for name in names.get_values_for_type(DNSName)),
        *(str(address) for address in names.get_values_for_type(IPAddress)),
    )


def alternative_names(certificate: Certificate) -> SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def fits_wildcard(name: str, patterns: Iterable[str]) -> bool:
    """Whether a DNS name is one of ``patterns``, as it is or with ``*`` for its first label (RFC 9525 section 6.3)."""
    first, _, rest = name.partition(".")
    return name in patterns or (bool(first and rest) and f"*.{rest}" in patterns)


def matches_name(certificate: Certificate, subject: DNSName | IPAddress) -> bool:
    """Whether the certificate is for ``subject``: addresses match only addresses, names only names."""
    names = alternative_names(certificate)
    if names is None:
        return False
    if isinstance(subject, IPAddress):
        return subject.value in names.get_values_for_type(IPAddress)
    return fits_wildcard(subject.value, {name.lower() for name in names.get_values_for_type(DNSName)})


def describe(name: x509.Name) -> str:
    """A distinguished name for people: the common name where there is one. Fit for a log, however hostile its maker."""
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = str(common[0].value) if common else name.rfc4514_string()
    return repr(text if len(text) <= 80 else text[:77] + "...") if text else "nobody"


def describe_time(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M:%S UTC")


# -- from files -------------------------------------------------------------------------------------------------------

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_CERTIFICATE_LABELS = (b"CERTIFICATE", b"X509 CERTIFICATE")


def load_pem_chain(data: bytes, where: str) -> tuple[Certificate, ...]:
    """All certificates of a PEM file, in its order. ``where`` is named in errors, as ``chain.pem``.

    Raises :exc:`ConfigError` when there is none, or one can't be read.
    """
    chain = []
    for number, block in enumerate(_certificate_blocks(data, where), 1):
        try:
            chain.append(_load_own(block))
        except (ValueError, UnsupportedAlgorithm) as problem:
            raise ConfigError(f"{where}: certificate number {number} can't be read: {problem}") from None
    return tuple(chain)


def load_pem_bundle(data: bytes, where: str) -> tuple[tuple[Certificate, ...], tuple[str, ...]]:
    """The readable certificates of a PEM file, each once, and what was wrong with the others.

    Bundles of authorities hold some that ``cryptography`` refuses to parse; one of them doesn't spoil the rest.
    Raises :exc:`ConfigError` when none can be read.
    """
    found: dict[Certificate, None] = {}
    problems: list[str] = []
    for number, block in enumerate(_certificate_blocks(data, where), 1):
        try:
            found[_load_own(block)] = None
        except (ValueError, UnsupportedAlgorithm) as problem:
            problems.append(f"certificate number {number} can't be read: {problem}")
    if not found:
        raise ConfigError(f"{where}: {problems[0]}")
    return tuple(found), tuple(problems)


def _certificate_blocks(data: bytes, where: str) -> Iterator[bytes]:
    labels = []
    for block in _PEM.finditer(data):
        labels.append(block[1].decode("ascii"))
        if block[1] in _CERTIFICATE_LABELS:
            yield block[0]
    if not any(label.encode("ascii") in _CERTIFICATE_LABELS for label in labels):
        raise ConfigError(f"{where}: no certificate in there; {_what_is_there(data, labels)}")


def _what_is_there(data: bytes, labels: list[str]) -> str:
    if labels:
        return f"found {', '.join(dict.fromkeys(labels))}"
    if not data.strip():
        return "it is empty"
    if data[:1] == b"\x30":
        return "it looks like DER: make it PEM with 'openssl x509 -inform DER' or 'openssl pkey -inform DER'"
    return "expected PEM, which begins with -----BEGIN"


def _load_own(block: bytes) -> Certificate:
    """A certificate of our own side: its oddities are nothing that a user of this program could change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CryptographyDeprecationWarning)
        certificate = x509.load_pem_x509_certificate(block)
        try:
            _look_at_everything(certificate)
        except (x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion) as problem:
            raise ValueError(str(problem)) from None
    return certificate


def load_private_key(data: bytes, password: bytes | None, where: str) -> CertificateIssuerPrivateKeyTypes:
    """The first private key of a PEM file. Raises :exc:`ConfigError` that says what is there and what to do."""
    labels = []
    for block in _PEM.finditer(data):
        labels.append(block[1].decode("ascii"))
        if block[1] == b"OPENSSH PRIVATE KEY":
            raise ConfigError(f"{where}: an SSH key; make it PEM with 'ssh-keygen -p -m PEM -f FILE'")
        if block[1].endswith(b"PRIVATE KEY"):
            return _load_key_block(block[0], password, where)
    raise ConfigError(f"{where}: no private key in there; {_what_is_there(data, labels)}")


def _load_key_block(block: bytes, password: bytes | None, where: str) -> CertificateIssuerPrivateKeyTypes:
    encrypted = block.startswith(b"-----BEGIN ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block
    if encrypted and password is None:
        raise ConfigError(f"{where}: the private key is encrypted; give its password with password=...")
    try:
        # A password that is not needed is no mistake: it may come from a place that always has one.
        key = serialization.load_pem_private_key(block, password if encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as problem:
        if encrypted:
            raise ConfigError(
                f"{where}: the private key can't be decrypted; is the password right? ({problem})"
            ) from None
        raise ConfigError(f"{where}: the private key can't be read: {problem}") from None
    return cast(CertificateIssuerPrivateKeyTypes, key)


def key_matches(certificate: Certificate, private_key: CertificateIssuerPrivateKeyTypes) -> bool:
    """Whether the certificate is for this private key."""
    try:
        return certificate.public_key() == private_key.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return False
