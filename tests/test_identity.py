"""Who one is: chains, keys, signers, and what is said when they are of no use."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from certificate_maker import make, san
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tlsprovider.crypto.authority import KEY_TYPES, Authority, Issued
from tlsprovider.crypto.signatures import schemes_for, verify
from tlsprovider.errors import ConfigError
from tlsprovider.iana import SignatureScheme as Scheme
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER


@pytest.fixture(scope="module")
def issued(authority: Authority) -> Issued:
    return authority.issue("www.Example.com", "*.example.org", "192.0.2.1", "2001:db8::1", intermediates=1)


@pytest.fixture(scope="module")
def identity(issued: Issued) -> Identity:
    return Identity.from_crypto(issued.certificates, issued.private_key)


def encrypted(issued: Issued, password: bytes) -> bytes:
    return issued.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    )


def the_same(one: Identity, other: Identity) -> bool:
    return (one.chain_der, one.schemes, one.names) == (other.chain_der, other.schemes, other.names)


def test_what_it_knows(identity: Identity, issued: Issued, authority: Authority) -> None:
    leaf, middle = issued.certificates
    assert identity.certificates == (leaf, middle)
    assert identity.chain_der == tuple(one.public_bytes(serialization.Encoding.DER) for one in (leaf, middle))
    assert identity.names == ("www.example.com", "*.example.org", "192.0.2.1", "2001:db8::1")
    assert identity.schemes == (Scheme.ecdsa_secp256r1_sha256,)
    assert identity.issuers == (middle.subject.public_bytes(), authority.certificate.subject.public_bytes())
    assert not identity.external


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_it_signs_with_all_its_schemes(authority: Authority, key_type: str) -> None:
    issued = authority.issue("localhost", key_type=key_type)  # type: ignore[arg-type]
    identity = Identity.from_crypto(issued.certificates, issued.private_key)
    assert identity.schemes == schemes_for(issued.certificate) != ()
    for scheme in identity.schemes:
        signature = identity.sign(scheme, b"message")
        assert isinstance(signature, bytes)
        verify(issued.certificate, scheme, signature, b"message")


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("www.example.com", True),
        ("WWW.example.COM.", True),
        ("a.example.org", True),
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("example.com", False),
        ("example.org", False),
        ("a.b.example.org", False),
        (".example.org", False),
        ("", False),
    ],
)
def test_matches(identity: Identity, name: str, fits: bool) -> None:
    assert identity.matches(name) is fits


def test_repr_and_equality_hide_the_key(identity: Identity, issued: Issued) -> None:
    twin = Identity.from_crypto(issued.certificates, issued.private_key)
    assert identity != twin
    assert repr(identity) == (
        "Identity(names=('www.example.com', '*.example.org', '192.0.2.1', '2001:db8::1'),"
        " schemes=(<SignatureScheme.ecdsa_secp256r1_sha256: 1027>,), external=False)"
    )


def test_it_does_not_change(identity: Identity) -> None:
    with pytest.raises(AttributeError):
        identity.schemes = ()  # type: ignore[misc]


def test_expired_is_for_the_peer_to_say(authority: Authority) -> None:
    long_ago = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC)
    issued = authority.issue("localhost", not_before=long_ago, not_after=long_ago + datetime.timedelta(days=1))
    assert Identity.from_crypto(issued.certificates, issued.private_key).names == ("localhost",)


# -- from files -------------------------------------------------------------------------------------------------------


def test_from_files(identity: Identity, issued: Issued, tmp_path: Path) -> None:
    chain, key, locked, both = (tmp_path / name for name in ("chain.pem", "key.pem", "locked.pem", "both.pem"))
    chain.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    locked.write_bytes(encrypted(issued, b"secret"))
    both.write_bytes(issued.key_pem + issued.chain_pem)
    for found in (
        Identity.from_files(chain, key),
        Identity.from_files(str(chain), str(locked), "secret"),
        Identity.from_files(chain, locked, password=b"secret"),
        Identity.from_files(both),
    ):
        assert the_same(found, identity)
        assert not found.external


def test_from_pem(identity: Identity, issued: Issued) -> None:
    for data in (issued.chain_pem + issued.key_pem, (issued.key_pem + issued.chain_pem).decode()):
        assert the_same(Identity.from_pem(data), identity)
    assert the_same(Identity.from_pem(encrypted(issued, b"secret") + issued.chain_pem, "secret"), identity)


def test_files_that_are_not_there(issued: Issued, tmp_path: Path) -> None:
    chain = tmp_path / "chain.pem"
    with pytest.raises(ConfigError, match=r"/chain\.pem: can't be read: No such file or directory"):
        Identity.from_files(chain, tmp_path / "key.pem")
    chain.write_bytes(issued.chain_pem)
    with pytest.raises(ConfigError, match=r"/key\.pem: can't be read: No such file or directory"):
        Identity.from_files(chain, tmp_path / "key.pem")


def test_swapped_files(issued: Issued, tmp_path: Path) -> None:
    (tmp_path / "a.pem").write_bytes(issued.key_pem)
    (tmp_path / "b.pem").write_bytes(issued.chain_pem)
    with pytest.raises(ConfigError, match=r"^a\.pem: no certificate in there; found PRIVATE KEY$"):
        Identity.from_files(tmp_path / "a.pem", tmp_path / "b.pem")
    with pytest.raises(ConfigError, match=r"^b\.pem: no private key in there; found CERTIFICATE$"):
        Identity.from_files(tmp_path / "b.pem")


def test_passwords(issued: Issued) -> None:
    data = issued.chain_pem + encrypted(issued, b"secret")
    with pytest.raises(ConfigError, match=r"the private key is encrypted; give its password with password=\.\.\."):
        Identity.from_pem(data)
    with pytest.raises(ConfigError, match=r"is the password right\?") as caught:
        Identity.from_pem(data, "hunter2")
    assert "hunter2" not in str(caught.value)


# -- chains and keys that do not go together --------------------------------------------------------------------------


def test_wrong_key(issued: Issued, authority: Authority) -> None:
    for stranger in (authority.issue("x").private_key, authority.issue("x", key_type="ed25519").private_key):
        with pytest.raises(ConfigError, match=r"does not belong to the certificate of 'www\.Example\.com'"):
            Identity.from_crypto(issued.certificates, stranger)


def test_wrong_order(issued: Issued) -> None:
    with pytest.raises(ConfigError) as caught:
        Identity.from_crypto(issued.certificates[::-1], issued.private_key)
    assert str(caught.value) == (
        "identity: the private key belongs to certificate number 2 ('www.Example.com');"
        " that one must come first, then each certificate's issuer"
    )


def test_nothing_at_all(issued: Issued) -> None:
    with pytest.raises(ConfigError, match="identity: no certificate was given; the leaf comes first"):
        Identity.from_crypto([], issued.private_key)


def test_keys_of_no_use() -> None:
    koblitz = make("x", [san("x")], key=ec.generate_private_key(ec.SECP256K1()))
    with pytest.raises(ConfigError, match="can't be used: an ECDSA key on secp256k1, which TLS"):
        Identity.from_crypto([koblitz.certificate], koblitz.key)
    small = make("x", [san("x")], key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(ConfigError, match="can't be used: an RSA key of 1024 bits; 2048 to 16384 are accepted"):
        Identity.from_crypto([small.certificate], small.key)


# -- keys that live elsewhere -----------------------------------------------------------------------------------------


def test_signer_gives_whatever_it_likes(issued: Issued) -> None:
    asked = []

    def signer(scheme: Scheme, message: bytes) -> object:
        asked.append((scheme, message))
        return LATER

    identity = Identity.with_signer(issued.certificates, signer)  # type: ignore[arg-type]
    assert identity.external
    assert identity.schemes == (Scheme.ecdsa_secp256r1_sha256,)
    assert identity.sign(Scheme.ecdsa_secp256r1_sha256, b"message") is LATER
    assert asked == [(Scheme.ecdsa_secp256r1_sha256, b"message")]
    assert the_same(Identity.with_signer(issued.chain_pem, lambda scheme, message: b""), identity)


def test_signer_that_can_do_less(authority: Authority) -> None:
    issued = authority.issue("localhost", key_type="rsa2048")

    def schemes(wanted: object) -> tuple[Scheme, ...]:
        return Identity.with_signer(issued.certificates, lambda s, m: b"", wanted).schemes  # type: ignore[arg-type]

    assert schemes(["rsa_pss_rsae_sha512", Scheme.rsa_pss_rsae_sha256]) == (
        Scheme.rsa_pss_rsae_sha512,
        Scheme.rsa_pss_rsae_sha256,
    )
    assert schemes("RSA_PSS_RSAE_SHA384") == (Scheme.rsa_pss_rsae_sha384,)
    with pytest.raises(ConfigError, match="the certificate's key can't do ed25519; it can do: rsa_pss_rsae_sha256, "):
        schemes(["ed25519"])
    with pytest.raises(ConfigError, match=r"schemes: unknown signature scheme 'rsa_pss': did you mean '"):
        schemes(["rsa_pss"])
    with pytest.raises(ConfigError, match="schemes: the list is empty"):
        schemes([])


def test_signer_as_an_object(authority: Authority, issued: Issued) -> None:
    class Token:
        schemes = ("ed25519", "ecdsa_secp256r1_sha256")

        def sign(self, scheme: Scheme, message: bytes) -> bytes:
            return b"by the token"

    identity = Identity.with_signer(issued.certificates, Token())
    assert identity.schemes == (Scheme.ecdsa_secp256r1_sha256,)
    assert identity.sign(identity.schemes[0], b"message") == b"by the token"
    other = authority.issue("other.test", key_type="rsa2048")
    with pytest.raises(ConfigError, match=r"it signs with ed25519, .*: is it the key of this certificate"):
        Identity.with_signer(other.certificates, Token())


def test_signer_must_be_callable(issued: Issued) -> None:
    with pytest.raises(ConfigError, match=r"signer: expected a Signer or something to call .*, got 'hsm'"):
        Identity.with_signer(issued.certificates, "hsm")  # type: ignore[arg-type]


def test_chain_for_a_signer(issued: Issued) -> None:
    with pytest.raises(ConfigError, match="identity: no certificate was given"):
        Identity.with_signer([], lambda scheme, message: b"")
    root: x509.Certificate = make("x", key=ec.generate_private_key(ec.SECP256K1())).certificate
    with pytest.raises(ConfigError, match="on secp256k1, which TLS"):
        Identity.with_signer([root], lambda scheme, message: b"")
