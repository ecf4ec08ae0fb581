"""Signatures over the handshake: the right key with the right scheme, and nothing else."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from certificate_maker import make
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsprovider.crypto.authority import Authority, Issued
from tlsprovider.crypto.signatures import CERTIFICATE_SCHEMES, HANDSHAKE_SCHEMES, schemes_for, sign, verify
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import SignatureScheme as Scheme

EXPECTED = {
    "p256": [Scheme.ecdsa_secp256r1_sha256],
    "p384": [Scheme.ecdsa_secp384r1_sha384],
    "p521": [Scheme.ecdsa_secp521r1_sha512],
    "ed25519": [Scheme.ed25519],
    "ed448": [Scheme.ed448],
    "rsa2048": [Scheme.rsa_pss_rsae_sha256, Scheme.rsa_pss_rsae_sha384, Scheme.rsa_pss_rsae_sha512],
    "rsa_pss": [Scheme.rsa_pss_pss_sha256, Scheme.rsa_pss_pss_sha384, Scheme.rsa_pss_pss_sha512],
    "mldsa44": [Scheme.mldsa44],
    "mldsa65": [Scheme.mldsa65],
    "mldsa87": [Scheme.mldsa87],
}
PAIRS = [(key_type, scheme) for key_type, schemes in EXPECTED.items() for scheme in schemes]
MESSAGE = b" " * 64 + b"TLS 1.3, server CertificateVerify\x00" + bytes(32)


@pytest.fixture(scope="module")
def issued() -> dict[str, Issued]:
    authority = Authority()
    return {key_type: authority.issue("localhost", key_type=key_type) for key_type in EXPECTED}  # type: ignore[arg-type]


def refused(certificate: x509.Certificate, scheme: int, signature: bytes, message: bytes = MESSAGE) -> Fault:
    with pytest.raises(PeerFault) as caught:
        verify(certificate, scheme, signature, message)
    return caught.value.fault


@pytest.mark.parametrize("key_type", EXPECTED)
def test_schemes_for(issued: dict[str, Issued], key_type: str) -> None:
    assert list(schemes_for(issued[key_type].certificate)) == EXPECTED[key_type]


def test_every_scheme_of_the_handshake_has_a_key_type() -> None:
    assert {scheme for _, scheme in PAIRS} == set(HANDSHAKE_SCHEMES)
    assert HANDSHAKE_SCHEMES[0] is Scheme.ecdsa_secp256r1_sha256


def test_pkcs1_is_for_certificates_only(issued: dict[str, Issued]) -> None:
    extra = CERTIFICATE_SCHEMES[len(HANDSHAKE_SCHEMES) :]
    assert CERTIFICATE_SCHEMES[: len(HANDSHAKE_SCHEMES)] == HANDSHAKE_SCHEMES
    assert extra == (Scheme.rsa_pkcs1_sha256, Scheme.rsa_pkcs1_sha384, Scheme.rsa_pkcs1_sha512)
    one = issued["rsa2048"]
    assert isinstance(one.private_key, rsa.RSAPrivateKey)
    valid = one.private_key.sign(MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    assert refused(one.certificate, Scheme.rsa_pkcs1_sha256, valid) is Fault.SIGNATURE_KEY_MISMATCH
    with pytest.raises(ValueError, match="can't sign with rsa_pkcs1_sha256"):
        sign(one.private_key, Scheme.rsa_pkcs1_sha256, MESSAGE)


@pytest.mark.parametrize(("key_type", "scheme"), PAIRS)
def test_round_trip_and_forgeries(issued: dict[str, Issued], key_type: str, scheme: Scheme) -> None:
    one = issued[key_type]
    signature = sign(one.private_key, scheme, MESSAGE)
    verify(one.certificate, scheme, signature, MESSAGE)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for wrong in (b"", signature[:-1], signature + b"\0", flipped, bytes(len(signature)), b"\xff" * len(signature)):
        assert refused(one.certificate, scheme, wrong) is Fault.SIGNATURE_INVALID
    assert refused(one.certificate, scheme, signature, MESSAGE + b"\0") is Fault.SIGNATURE_INVALID


@pytest.mark.parametrize("key_type", EXPECTED)
def test_scheme_must_fit_the_key(issued: dict[str, Issued], key_type: str) -> None:
    one = issued[key_type]
    signature = sign(one.private_key, EXPECTED[key_type][0], MESSAGE)
    unfit = set(Scheme) - set(EXPECTED[key_type])
    for scheme in (*unfit, 0x0A0A, 0xFFFF):
        assert refused(one.certificate, scheme, signature) is Fault.SIGNATURE_KEY_MISMATCH


def test_mismatch_is_named(issued: dict[str, Issued]) -> None:
    with pytest.raises(PeerFault, match="ecdsa_secp384r1_sha384 with a key of type secp256r1"):
        verify(issued["p256"].certificate, Scheme.ecdsa_secp384r1_sha384, b"", b"")
    with pytest.raises(PeerFault, match="0x6a6a with a key of type RSA"):
        verify(issued["rsa2048"].certificate, 0x6A6A, b"", b"")


def test_rsae_and_pss_signatures_do_not_stand_for_each_other(issued: dict[str, Issued]) -> None:
    """The same key makes valid signatures of both kinds; only the identifier in the certificate tells them apart."""
    plain, pss = issued["rsa2048"], issued["rsa_pss"]
    assert plain.private_key is pss.private_key
    signature = sign(plain.private_key, Scheme.rsa_pss_rsae_sha256, MESSAGE)
    verify(pss.certificate, Scheme.rsa_pss_pss_sha256, signature, MESSAGE)
    assert refused(pss.certificate, Scheme.rsa_pss_rsae_sha256, signature) is Fault.SIGNATURE_KEY_MISMATCH
    assert refused(plain.certificate, Scheme.rsa_pss_pss_sha256, signature) is Fault.SIGNATURE_KEY_MISMATCH


@pytest.mark.parametrize("salt_length", [0, 20, 31, 33])
def test_salt_is_as_long_as_the_hash(issued: dict[str, Issued], salt_length: int) -> None:
    one = issued["rsa2048"]
    assert isinstance(one.private_key, rsa.RSAPrivateKey)
    how = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length)
    signature = one.private_key.sign(MESSAGE, how, hashes.SHA256())
    assert refused(one.certificate, Scheme.rsa_pss_rsae_sha256, signature) is Fault.SIGNATURE_INVALID


def test_pss_key_restricted_to_one_hash(tmp_path: Path) -> None:
    options = "rsa_keygen_bits:2048 rsa_pss_keygen_md:sha384 rsa_pss_keygen_mgf1_md:sha384 rsa_pss_keygen_saltlen:48"
    command = ["openssl", "req", "-x509", "-newkey", "rsa-pss", "-nodes", "-keyout", "key.pem", "-out", "cert.pem"]
    for option in options.split():
        command += ["-pkeyopt", option]
    subprocess.run([*command, "-subj", "/CN=x"], cwd=tmp_path, check=True, capture_output=True, timeout=30)
    certificate = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    assert schemes_for(certificate) == (Scheme.rsa_pss_pss_sha384,)
    assert refused(certificate, Scheme.rsa_pss_pss_sha256, bytes(256)) is Fault.SIGNATURE_KEY_MISMATCH


def test_small_rsa_keys_do_not_hold_large_hashes() -> None:
    """RFC 8017 section 9.1.1: twice 64 bytes and 2 do not go into 128."""
    made = make("small", key=rsa.generate_private_key(65537, 1024))
    assert schemes_for(made.certificate) == (Scheme.rsa_pss_rsae_sha256, Scheme.rsa_pss_rsae_sha384)
    with pytest.raises(ValueError, match="can't sign with rsa_pss_rsae_sha512"):
        sign(made.key, Scheme.rsa_pss_rsae_sha512, MESSAGE)


@pytest.mark.parametrize(
    ("key_type", "scheme", "options"),
    [
        ("p256", Scheme.ecdsa_secp256r1_sha256, ["-sha256"]),
        ("p521", Scheme.ecdsa_secp521r1_sha512, ["-sha512"]),
        (
            "rsa2048",
            Scheme.rsa_pss_rsae_sha384,
            ["-sha384", "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:48"],
        ),
    ],
)
def test_openssl_agrees(
    issued: dict[str, Issued], tmp_path: Path, key_type: str, scheme: Scheme, options: list[str]
) -> None:
    one = issued[key_type]
    public = one.private_key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (tmp_path / "public.pem").write_bytes(public)
    (tmp_path / "signature").write_bytes(sign(one.private_key, scheme, MESSAGE))
    command = ["openssl", "dgst", *options, "-verify", "public.pem", "-signature", "signature"]
    result = subprocess.run(command, cwd=tmp_path, input=MESSAGE, capture_output=True, timeout=10)
    assert result.stdout == b"Verified OK\n", result.stderr


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(PAIRS), st.binary(max_size=600))
def test_hostile_signatures_give_a_fault(issued: dict[str, Issued], pair: tuple[str, Scheme], signature: bytes) -> None:
    key_type, scheme = pair
    assert refused(issued[key_type].certificate, scheme, signature) is Fault.SIGNATURE_INVALID
