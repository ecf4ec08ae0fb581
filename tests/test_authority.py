"""The throw-away authority: what it issues is taken by the strictest of verifiers."""

from __future__ import annotations

import datetime
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, PublicKeyAlgorithmOID
from cryptography.x509.verification import PolicyBuilder, Store

from tlsprovider.crypto.authority import KEY_TYPES, Authority, KeyType

LEAVES = list(KEY_TYPES)
AUTHORITIES = ["p256", "p384", "p521", "rsa2048"]
UNKNOWN_TO_OPENSSL_3_0 = ("mldsa44", "mldsa65", "mldsa87")


def test_key_types_are_the_annotated_ones() -> None:
    assert get_args(KeyType) == KEY_TYPES


@pytest.mark.parametrize("key_type", LEAVES)
def test_leaf_passes_the_default_profile(authority: Authority, key_type: KeyType) -> None:
    issued = authority.issue("localhost", "127.0.0.1", key_type=key_type, intermediates=2)
    verifier = PolicyBuilder().store(Store([authority.certificate])).build_server_verifier(x509.DNSName("localhost"))
    chain = verifier.verify(issued.certificate, list(issued.certificates[1:]))
    assert chain == [*issued.certificates, authority.certificate]


@pytest.mark.parametrize("key_type", AUTHORITIES)
def test_authority_passes_the_default_profile(key_type: KeyType) -> None:
    authority = Authority("of another kind", key_type=key_type)
    verifier = PolicyBuilder().store(Store([authority.certificate])).build_server_verifier(x509.DNSName("localhost"))
    for leaf_type in ("p256", "rsa_pss"):
        issued = authority.issue("localhost", key_type=leaf_type)
        assert len(verifier.verify(issued.certificate, [])) == 2


@pytest.mark.parametrize("key_type", [one for one in LEAVES if one not in UNKNOWN_TO_OPENSSL_3_0])
def test_openssl_verifies_strictly(authority: Authority, key_type: KeyType, tmp_path: Path) -> None:
    issued = authority.issue("localhost", key_type=key_type, intermediates=1)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    (tmp_path / "chain.pem").write_bytes(issued.chain_pem)
    command = "openssl verify -x509_strict -purpose sslserver -verify_hostname localhost -CAfile ca.pem"
    arguments = [*command.split(), "-untrusted", "chain.pem", "chain.pem"]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, timeout=10)
    assert result.stdout == "chain.pem: OK\n", result.stderr


def test_pss_key_has_its_own_identifier(authority: Authority) -> None:
    issued = authority.issue("localhost", key_type="rsa_pss")
    assert issued.certificate.public_key_algorithm_oid == PublicKeyAlgorithmOID.RSASSA_PSS
    assert issued.certificate.public_key() == issued.private_key.public_key()
    issued.certificate.verify_directly_issued_by(authority.certificate)


@pytest.mark.parametrize("key_type", ["ed25519", "ed448", "rsa2048", "mldsa44"])
def test_any_authority_signs_a_pss_leaf(key_type: KeyType) -> None:
    authority = Authority(key_type=key_type)
    authority.issue("localhost", key_type="rsa_pss").certificate.verify_directly_issued_by(authority.certificate)


def test_names(authority: Authority) -> None:
    leaf = authority.issue("www.example.com", "192.0.2.1", "2001:db8::1", "bob@example.com").certificate
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["www.example.com"]
    assert [str(one) for one in names.get_values_for_type(x509.IPAddress)] == ["192.0.2.1", "2001:db8::1"]
    assert names.get_values_for_type(x509.RFC822Name) == ["bob@example.com"]


@pytest.mark.parametrize(
    ("client", "purpose"), [(False, ExtendedKeyUsageOID.SERVER_AUTH), (True, ExtendedKeyUsageOID.CLIENT_AUTH)]
)
def test_purpose(authority: Authority, client: bool, purpose: x509.ObjectIdentifier) -> None:
    leaf = authority.issue("localhost", client=client).certificate
    assert list(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [purpose]


def test_intermediates_are_kept_and_in_order(authority: Authority) -> None:
    long, short = authority.issue("a", intermediates=3), authority.issue("b", intermediates=1)
    assert len(long.certificates) == 4
    for child, issuer in zip(long.certificates, [*long.certificates[1:], authority.certificate], strict=True):
        child.verify_directly_issued_by(issuer)
    assert short.certificates[1] == long.certificates[3]


def test_pem_round_trip(authority: Authority) -> None:
    issued = authority.issue("localhost", intermediates=1)
    assert tuple(x509.load_pem_x509_certificates(issued.chain_pem)) == issued.certificates
    key = serialization.load_pem_private_key(issued.key_pem, None)
    assert key.public_key() == issued.certificate.public_key()
    assert x509.load_pem_x509_certificate(authority.certificate_pem) == authority.certificate


def test_dates() -> None:
    start, end = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2001, 2002))
    authority = Authority(not_before=start, not_after=end)
    later = end + datetime.timedelta(days=1)
    leaf = authority.issue("localhost", not_before=start, not_after=later).certificate
    assert (authority.certificate.not_valid_before_utc, authority.certificate.not_valid_after_utc) == (start, end)
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (start, later)
    now = datetime.datetime.now(datetime.UTC)
    usual = Authority().issue("localhost").certificate
    assert usual.not_valid_before_utc < now < usual.not_valid_after_utc


def test_misuse_is_explained(authority: Authority) -> None:
    with pytest.raises(ValueError, match="at least one name"):
        authority.issue()
    with pytest.raises(ValueError, match=r"'p224' is unknown; choose from p256, p384"):
        authority.issue("localhost", key_type="p224")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rsa_pss is for leaves"):
        Authority(key_type="rsa_pss")


def test_repr_shows_no_key(authority: Authority) -> None:
    assert "rivate" not in repr(authority.issue("localhost"))
    assert repr(authority) == "<Authority 'tlsprovider tests'>"
