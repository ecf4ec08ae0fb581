"""Is a chain of certificates to be believed? ``cryptography.x509.verification`` decides; this module states the terms.

Its default terms are those of public web authorities, and refuse what private authorities issue and OpenSSL takes.
They are relaxed where RFC 5280 allows it and no safety is lost:

=====================================  ===================================  ==========================================
what                                   default terms                        here
=====================================  ===================================  ==========================================
subjectAltName beside a subject        must not be critical                 either way; the name is matched all the same
subjectAltName of a client             must be there                        may be missing: no name is expected
authorityKeyIdentifier                 must be there, key identifier only   may be missing, may name issuer and serial
keyUsage of an authority               must be there                        if there: must allow signing certificates
extKeyUsage                            must not be critical                 either way; if there: must name the purpose
=====================================  ===================================  ==========================================

One is stricter: keyUsage of a leaf, if there, must allow digitalSignature (RFC 9846 section 4.5.1.2).

basicConstraints, path lengths, name constraints, dates, signatures and key sizes are checked as ``cryptography`` does
it. What it refuses and can't be relaxed: version 1 certificates, and authorities with Ed25519, Ed448 or RSASSA-PSS keys
(and, before its release 50, ML-DSA keys).

A leaf that is itself in the trust store needs no chain: see :meth:`ChainVerifier._is_trusted_leaf`.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from functools import cached_property

from cryptography import x509
from cryptography.x509 import Certificate, DNSName, IPAddress
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from tlsprovider.crypto import explain
from tlsprovider.crypto.remembered import RememberedChains

__all__ = ["ChainVerifier"]


# Validators are called by `cryptography` and refuse with any exception; the text of it is only for the last resort of
# the explanation.


def _authority_may_sign(policy: Policy, certificate: Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("keyUsage of an authority does not allow signing certificates")


def _authority_has_purpose(policy: Policy, certificate: Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
    if purposes is None or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in purposes:
        return
    if policy.extended_key_usage not in purposes:
        raise ValueError("extKeyUsage of an authority does not allow this purpose")


def _leaf_may_sign(policy: Policy, certificate: Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and (usage.key_cert_sign or not usage.digital_signature):
        raise ValueError("keyUsage does not allow TLS signatures, or also allows signing certificates")


def _leaf_has_purpose(policy: Policy, certificate: Certificate, purposes: x509.ExtendedKeyUsage | None) -> None:
    if purposes is not None and policy.extended_key_usage not in purposes:
        raise ValueError("extKeyUsage does not allow this purpose")


_AUTHORITY = (
    ExtensionPolicy.webpki_defaults_ca()
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _authority_may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _authority_has_purpose)
)
_LEAF = (
    ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _leaf_may_sign)
    .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _leaf_has_purpose)
)
# Without a validator of ours the name is still matched, by the verifier; tests/test_chains.py makes sure.
_SERVER = _LEAF.require_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
_CLIENT = _LEAF.may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)

# What may be critical in a leaf that is trusted as it is: the extensions that are looked at.
_UNDERSTOOD = (x509.SubjectAlternativeName, x509.KeyUsage, x509.ExtendedKeyUsage, x509.BasicConstraints)


class ChainVerifier:
    """Verifies chains up to ``roots``. Made once and shared: a verification changes nothing but what is remembered.

    ``roots`` must not be empty. Their dates count, their signatures don't: they are believed because they are here.
    """

    def __init__(self, roots: Sequence[Certificate]) -> None:
        self.roots = tuple(roots)
        self._trusted = frozenset(roots)
        self._remembered = RememberedChains()
        terms = PolicyBuilder().store(Store(list(roots)))
        self._server = terms.extension_policies(ca_policy=_AUTHORITY, ee_policy=_SERVER)
        self._client = terms.extension_policies(ca_policy=_AUTHORITY, ee_policy=_CLIENT)

    def verify_server(
        self, chain: Sequence[Certificate], subject: DNSName | IPAddress, now: float
    ) -> tuple[Certificate, ...]:
        """The way from the leaf to a root. ``chain``: leaf first, then whatever the server sent, in any order.

        Raises :exc:`~tlsprovider.errors.CertificateFault` with an explanation.
        """
        sent = tuple(chain)
        return self._remembered.find(sent, subject, now) or self._remembered.keep(
            sent, subject, now, self._find_server(sent, subject, now)
        )

    def verify_client(self, chain: Sequence[Certificate], now: float) -> tuple[Certificate, ...]:
        """As :meth:`verify_server`, for a client: no name is expected, and the purpose is clientAuth."""
        sent = tuple(chain)
        return self._remembered.find(sent, None, now) or self._remembered.keep(
            sent, None, now, self._find_client(sent, now)
        )

    def _find_server(
        self, chain: tuple[Certificate, ...], subject: DNSName | IPAddress, now: float
    ) -> tuple[Certificate, ...]:
        when = datetime.datetime.fromtimestamp(now, datetime.UTC)
        try:
            verifier = self._server.time(when).build_server_verifier(subject)
            return tuple(verifier.verify(chain[0], list(chain[1:])))
        except VerificationError as problem:
            return self._without_chain(explain.Refusal(chain, subject, when, str(problem)))

    def _find_client(self, chain: tuple[Certificate, ...], now: float) -> tuple[Certificate, ...]:
        when = datetime.datetime.fromtimestamp(now, datetime.UTC)
        try:
            verified = self._client.time(when).build_client_verifier().verify(chain[0], list(chain[1:]))
            return tuple(verified.chain)
        except VerificationError as problem:
            return self._without_chain(explain.Refusal(chain, None, when, str(problem)))

    def _without_chain(self, refusal: explain.Refusal) -> tuple[Certificate, ...]:
        leaf = refusal.chain[0]
        if leaf in self._trusted and self._is_trusted_leaf(leaf, refusal):
            return (leaf,)
        raise explain.explain(refusal, self._roots_by_subject) from None

    @staticmethod
    def _is_trusted_leaf(leaf: Certificate, refusal: explain.Refusal) -> bool:
        """Whether a certificate that is in the store, byte for byte, may stand for itself.

        That is what ``openssl req -x509`` makes: a leaf that signed itself and calls itself an authority. Its name,
        dates and purpose must be right, and it must not carry a critical extension that nobody looked at.
        """
        if explain.leaf_fault(leaf, refusal) is not None:
            return False
        return all(not one.critical or isinstance(one.value, _UNDERSTOOD) for one in leaf.extensions)

    @cached_property
    def _roots_by_subject(self) -> dict[x509.Name, list[Certificate]]:
        """Made when the first explanation is needed."""
        found: dict[x509.Name, list[Certificate]] = {}
        for root in self.roots:
            found.setdefault(root.subject, []).append(root)
        return found
