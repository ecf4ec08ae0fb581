"""What other TLS libraries are handed: certificates and keys as PEM, and curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509 import Certificate

from tlsprovider.iana import NamedGroup

__all__ = ["CURVES", "key_pem", "pem"]

CURVES: Final[dict[NamedGroup, ec.EllipticCurve]] = {
    NamedGroup.secp256r1: ec.SECP256R1(),
    NamedGroup.secp384r1: ec.SECP384R1(),
    NamedGroup.secp521r1: ec.SECP521R1(),
}


def pem(certificates: Iterable[Certificate]) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in certificates)


def key_pem(key: CertificateIssuerPrivateKeyTypes, password: bytes | None) -> bytes:
    """PKCS#8; without a password for libraries that take it from memory, and only for those."""
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
