"""Certificates as Python's :mod:`ssl` shows them: the dictionary of ``SSLSocket.getpeercert()``."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Callable
from typing import Any, Final

from cryptography import x509
from cryptography.x509 import Certificate
from cryptography.x509.oid import AuthorityInformationAccessOID

__all__ = ["as_dictionary"]

# strftime() knows months in the language of the process; OpenSSL in English.
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Pair = tuple[str, Any]
RelativeName = tuple[tuple[str, str], ...]


def as_dictionary(certificate: Certificate) -> dict[str, Any]:
    """What the documentation of ``SSLSocket.getpeercert`` describes: subject, issuer, names, dates, where to ask.

    ``certificate`` comes from :func:`~tlsprovider.crypto.certificates.parse_certificate`, so nothing in it raises.
    """
    shown: dict[str, Any] = {
        "subject": _name(certificate.subject),
        "issuer": _name(certificate.issuer),
        "version": certificate.version.value + 1,
        "serialNumber": _serial(certificate.serial_number),
        "notBefore": _time(certificate.not_valid_before_utc),
        "notAfter": _time(certificate.not_valid_after_utc),
    }
    for extension in certificate.extensions:
        value = extension.value
        if isinstance(value, x509.SubjectAlternativeName):
            shown["subjectAltName"] = tuple(map(_general_name, value))
        elif isinstance(value, x509.AuthorityInformationAccess):
            for key, method in (
                ("OCSP", AuthorityInformationAccessOID.OCSP),
                ("caIssuers", AuthorityInformationAccessOID.CA_ISSUERS),
            ):
                places = [one.access_location for one in value if one.access_method == method]
                if uris := _uris(places):
                    shown[key] = uris
        elif isinstance(value, x509.CRLDistributionPoints):
            places = [place for point in value for place in point.full_name or ()]
            if uris := _uris(places):
                shown["crlDistributionPoints"] = uris
    return shown


def _name(name: x509.Name) -> tuple[RelativeName, ...]:
    return tuple(tuple((_kind(one.oid), _text(one.value)) for one in rdn) for rdn in name.rdns)


def _kind(oid: x509.ObjectIdentifier) -> str:
    """OpenSSL's long name, which is that of the standards; else the numbers."""
    known = oid._name
    return oid.dotted_string if known == "Unknown OID" else known


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.hex().upper()


def _serial(number: int) -> str:
    digits = f"{abs(number):X}"
    return ("-" if number < 0 else "") + "0" * (len(digits) % 2) + digits


def _time(when: datetime.datetime) -> str:
    """``Jun  1 09:41:46 2027 GMT``; ``ssl.cert_time_to_seconds`` reads it."""
    return f"{MONTHS[when.month - 1]} {when.day:2} {when:%H:%M:%S} {when.year} GMT"


def _address(value: Any) -> str:
    if isinstance(value, ipaddress.IPv6Address):
        return ":".join(f"{value.packed[at] << 8 | value.packed[at + 1]:X}" for at in range(0, 16, 2))
    return str(value)


SHOWN_AS: Final[dict[type[x509.GeneralName], tuple[str, Callable[[Any], Any]]]] = {
    x509.DNSName: ("DNS", str),
    x509.IPAddress: ("IP Address", _address),
    x509.RFC822Name: ("email", str),
    x509.UniformResourceIdentifier: ("URI", str),
    x509.DirectoryName: ("DirName", _name),
    x509.RegisteredID: ("Registered ID", lambda oid: oid.dotted_string),
}


def _general_name(name: x509.GeneralName) -> Pair:
    kind, show = SHOWN_AS.get(type(name), ("othername", lambda _: "<unsupported>"))
    return kind, show(name.value)


def _uris(places: list[x509.GeneralName]) -> tuple[str, ...]:
    return tuple(place.value for place in places if isinstance(place, x509.UniformResourceIdentifier))
