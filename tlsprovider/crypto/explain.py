"""Why a chain of certificates was refused, in one sentence that a person can act on.

This runs only after a verification failed, so it costs the good path nothing, and it accepts nothing: when no reason is
found here, the refusal stands with the words of whoever refused.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ed448, ed25519
from cryptography.x509 import Certificate, DNSName, IPAddress, Name
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID, SignatureAlgorithmOID

from tlsprovider.crypto.certificates import (
    alternative_names,
    certificate_names,
    describe,
    describe_time,
    key_problem,
    matches_name,
)
from tlsprovider.errors import CertificateFault, Fault

__all__ = ["Refusal", "dates_fault", "explain", "leaf_fault"]

E = TypeVar("E", bound=x509.ExtensionType)

# A peer must not make us check more signatures to explain a refusal than to refuse.
MAX_STEPS = 10
MAX_CANDIDATES = 8
MAX_NAMES = 8

_WEAK_SIGNATURES = {
    SignatureAlgorithmOID.RSA_WITH_MD5: "MD5",
    SignatureAlgorithmOID.RSA_WITH_SHA1: "SHA-1",
    SignatureAlgorithmOID.DSA_WITH_SHA1: "SHA-1",
    SignatureAlgorithmOID.ECDSA_WITH_SHA1: "SHA-1",
    SignatureAlgorithmOID.RSA_WITH_SHA224: "SHA-224",
    SignatureAlgorithmOID.ECDSA_WITH_SHA224: "SHA-224",
}
_PURPOSES = {
    ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth",
    ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth",
    ExtendedKeyUsageOID.CODE_SIGNING: "codeSigning",
    ExtendedKeyUsageOID.EMAIL_PROTECTION: "emailProtection",
    ExtendedKeyUsageOID.TIME_STAMPING: "timeStamping",
    ExtendedKeyUsageOID.OCSP_SIGNING: "OCSPSigning",
    ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}


@attrs.frozen(eq=False)
class Refusal:
    """A verification that failed. ``subject``: the name expected of a server; None when the peer is a client."""

    chain: Sequence[Certificate]
    subject: DNSName | IPAddress | None
    when: datetime.datetime
    words: str


def explain(refusal: Refusal, roots: Mapping[Name, Sequence[Certificate]]) -> CertificateFault:
    """The reason, as an exception to raise. ``roots``: the trusted certificates by subject."""
    leaf = refusal.chain[0]
    words = refusal.words.removeprefix("validation failed: ")
    return (
        leaf_fault(leaf, refusal)
        or _version_fault(leaf)
        or _path_fault(refusal, roots)
        or _authority_as_leaf_fault(leaf)
        or CertificateFault(f"the certificate of {describe(leaf.subject)} was refused: {words}")
    )


def leaf_fault(leaf: Certificate, refusal: Refusal) -> CertificateFault | None:
    """What is wrong with the leaf itself, whoever issued it: dates, name, purpose. None when these are right."""
    return (
        dates_fault(leaf, refusal.when)
        or _name_fault(leaf, refusal.subject)
        or _purpose_fault(leaf, is_server=refusal.subject is not None)
    )


def dates_fault(certificate: Certificate, when: datetime.datetime) -> CertificateFault | None:
    """Expired, or not valid yet. ``when`` is aware."""
    who = f"the certificate of {describe(certificate.subject)}"
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if when > end:
        text = f"{who} expired on {describe_time(end)}; it is now {describe_time(when)}"
    elif when < start:
        text = f"{who} is not valid before {describe_time(start)}; it is now {describe_time(when)}: is the clock right?"
    else:
        return None
    return CertificateFault(text, Fault.CERTIFICATE_EXPIRED)


def _name_fault(leaf: Certificate, subject: DNSName | IPAddress | None) -> CertificateFault | None:
    if subject is None or matches_name(leaf, subject):
        return None
    expected = repr(str(subject.value))
    names = certificate_names(leaf)
    if alternative_names(leaf) is None:
        text = f"the certificate has no subjectAltName, so it is for no name at all; expected {expected}"
        if leaf.subject.rfc4514_string():
            text += f" (its subject {describe(leaf.subject)} does not count)"
    elif not names:
        text = f"the subjectAltName of the certificate holds neither DNS names nor addresses; expected {expected}"
    elif str(subject.value) in names:
        text = f"the certificate has {expected} as a DNS name; an address has to be there as an IP address"
    else:
        listed = ", ".join(repr(name[:80]) for name in names[:MAX_NAMES])
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        text = f"the certificate is not for {expected}: it is for {listed}{more}"
    return CertificateFault(text, Fault.CERTIFICATE_NAME)


def _purpose_fault(leaf: Certificate, is_server: bool) -> CertificateFault | None:
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if is_server else ExtendedKeyUsageOID.CLIENT_AUTH
    who = f"the certificate of {describe(leaf.subject)}"
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if purposes is not None and wanted not in purposes:
        listed = ", ".join(_PURPOSES.get(one, one.dotted_string) for one in list(purposes)[:MAX_NAMES])
        role = "servers" if is_server else "clients"
        text = f"{who} is not for TLS {role}: its extKeyUsage is {listed}, expected {_PURPOSES[wanted]}"
        return CertificateFault(text, Fault.CERTIFICATE_PURPOSE)
    usage = _extension(leaf, x509.KeyUsage)
    if usage is not None and not usage.digital_signature:
        text = f"{who} is not for TLS 1.3: its keyUsage does not allow digitalSignature"
        return CertificateFault(text, Fault.CERTIFICATE_PURPOSE)
    return None


def _version_fault(certificate: Certificate) -> CertificateFault | None:
    if certificate.version is x509.Version.v3:
        return None
    text = f"the certificate of {describe(certificate.subject)} is of X.509 version 1; TLS 1.3 needs version 3"
    return CertificateFault(text, Fault.CERTIFICATE_REFUSED)


def _authority_as_leaf_fault(leaf: Certificate) -> CertificateFault | None:
    constraints, usage = _extension(leaf, x509.BasicConstraints), _extension(leaf, x509.KeyUsage)
    if not (constraints and constraints.ca) and not (usage and usage.key_cert_sign):
        return None
    text = (
        f"the certificate of {describe(leaf.subject)} is that of an authority (basicConstraints or keyUsage say so);"
        " TLS needs one that was issued for the host"
    )
    return CertificateFault(text, Fault.CERTIFICATE_PURPOSE)


# -- from the leaf upwards --------------------------------------------------------------------------------------------


def _path_fault(refusal: Refusal, roots: Mapping[Name, Sequence[Certificate]]) -> CertificateFault | None:
    """Go from issuer to issuer and tell what is wrong with the first step that is."""
    current = refusal.chain[0]
    for _ in range(MAX_STEPS):
        if current in roots.get(current.subject, ()):
            return None
        if current.issuer == current.subject and _is_signed_by(current, current):
            return _self_signed_fault(current, is_leaf=current is refusal.chain[0])
        sent = [one for one in refusal.chain[1:] if one.subject == current.issuer]
        candidates = [*roots.get(current.issuer, ()), *sent][:MAX_CANDIDATES]
        if not candidates:
            return _unknown_issuer_fault(current, refusal)
        issuer = next((one for one in candidates if _is_signed_by(current, one)), None)
        if issuer is None or current.signature_algorithm_oid in _WEAK_SIGNATURES:
            return _signature_fault(current, candidates)
        fault = _issuer_fault(issuer, refusal.when)
        if fault:
            return fault
        current = issuer
    return None


def _self_signed_fault(certificate: Certificate, is_leaf: bool) -> CertificateFault:
    who = describe(certificate.subject)
    if is_leaf:
        text = (
            f"the certificate of {who} is self-signed and not in the trust store; if it is the right one, add it there"
        )
    else:
        text = f"the chain ends at the self-signed {who}, which is not in the trust store; if it is right, add it there"
    return CertificateFault(text, Fault.CERTIFICATE_UNKNOWN_ISSUER)


def _unknown_issuer_fault(current: Certificate, refusal: Refusal) -> CertificateFault:
    text = (
        f"the certificate of {describe(current.subject)} was issued by {describe(current.issuer)},"
        " which is not in the trust store"
    )
    if len(refusal.chain) == 1:
        text += "; the peer sent no intermediate certificate: should it have sent one?"
    elif current is not refusal.chain[0]:
        text += " and was not sent by the peer either"
    return CertificateFault(text, Fault.CERTIFICATE_UNKNOWN_ISSUER)


def _signature_fault(current: Certificate, candidates: Sequence[Certificate]) -> CertificateFault:
    who = f"the certificate of {describe(current.subject)}"
    weak = _WEAK_SIGNATURES.get(current.signature_algorithm_oid)
    if weak:
        return CertificateFault(f"{who} is signed with {weak}, which is not secure", Fault.CERTIFICATE_SIGNATURE)
    identifier = _extension(current, x509.AuthorityKeyIdentifier)
    wanted = identifier.key_identifier if identifier else None
    known = [_extension(one, x509.SubjectKeyIdentifier) for one in candidates]
    if wanted and all(one is not None and one.digest != wanted for one in known):
        text = (
            f"{who} was issued by an authority called {describe(current.issuer)} that has another key than the one"
            " known here under this name: was the authority made anew?"
        )
        return CertificateFault(text, Fault.CERTIFICATE_UNKNOWN_ISSUER)
    text = f"{who} does not carry a valid signature of its issuer {describe(current.issuer)}"
    return CertificateFault(text, Fault.CERTIFICATE_SIGNATURE)


def _issuer_fault(issuer: Certificate, when: datetime.datetime) -> CertificateFault | None:
    fault = dates_fault(issuer, when) or _version_fault(issuer)
    if fault:
        return fault
    who = describe(issuer.subject)
    key = key_problem(issuer) or _unsupported_authority_key(issuer)
    if key:
        return CertificateFault(f"the authority {who} can't be used: {key}", Fault.CERTIFICATE_SIGNATURE)
    constraints, usage = _extension(issuer, x509.BasicConstraints), _extension(issuer, x509.KeyUsage)
    if constraints is None or not constraints.ca:
        problem = "its basicConstraints do not say CA"
    elif not issuer.extensions.get_extension_for_class(x509.BasicConstraints).critical:
        problem = "its basicConstraints are not marked critical (RFC 5280 section 4.2.1.9)"
    elif usage is not None and not usage.key_cert_sign:
        problem = "its keyUsage does not allow keyCertSign"
    else:
        return None
    text = f"the issuer {who} is not an acceptable authority: {problem}"
    return CertificateFault(text, Fault.CERTIFICATE_UNKNOWN_ISSUER)


def _unsupported_authority_key(issuer: Certificate) -> str:
    if isinstance(issuer.public_key(), ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return "chains with an Ed25519 or Ed448 authority are not supported; trust the leaf itself, or pin its key"
    if issuer.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS:
        return "chains with an RSASSA-PSS authority are not supported; trust the leaf itself, or pin its key"
    return ""


def _is_signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return True


def _extension(certificate: Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
