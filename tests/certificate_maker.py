"""Certificates that no decent authority would issue: every field can be wrong."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import attrs
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
END = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
NOW = datetime.datetime(2026, 7, 1, tzinfo=datetime.UTC).timestamp()

Extension = tuple[x509.ExtensionType, bool]

SERVER_AUTH: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
CLIENT_AUTH: Extension = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
CA: Extension = (x509.BasicConstraints(True, None), True)
NOT_CA: Extension = (x509.BasicConstraints(False, None), True)


@attrs.frozen(eq=False)
class Made:
    certificate: x509.Certificate
    key: Any


def san(*names: str, critical: bool = False) -> Extension:
    return x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical


def usage(*allowed: str) -> Extension:
    every = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: name in allowed for name in every.split()}), True


def make(
    subject: str,
    extensions: Sequence[Extension] = (),
    *,
    issuer: Made | None = None,
    key: Any = None,
    public_key: Any = None,
    start: datetime.datetime = START,
    end: datetime.datetime = END,
    hash_algorithm: Any = None,
    key_ids: bool = True,
    signed_by: Any = None,
) -> Made:
    """One certificate with these extensions. ``issuer`` None: it signs itself; ``signed_by``: another key than its."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    public_key = public_key or key.public_key()
    issuer_key = signed_by or (issuer.key if issuer else key)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else [])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if key_ids:
        aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(aki, False)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    own_hash = isinstance(issuer_key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return Made(builder.sign(issuer_key, None if own_hash else hash_algorithm or hashes.SHA256()), key)
