"""Reading certificates, keys and names."""

from __future__ import annotations

import datetime
import hashlib
import subprocess
from pathlib import Path

import pytest
from certificate_maker import make, san
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa, x25519
from hypothesis import given, settings
from hypothesis import strategies as st

from tlsprovider.crypto import certificates as certs
from tlsprovider.crypto import der as der_reader
from tlsprovider.crypto.authority import KEY_TYPES, Authority
from tlsprovider.errors import ConfigError, Fault, PeerFault
from tlsprovider.trust import TrustStore


@pytest.fixture(scope="module")
def der(authority: Authority) -> bytes:
    return certs.certificate_der(authority.issue("localhost", "127.0.0.1").certificate)


# -- from the peer ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_parse_certificate(authority: Authority, key_type: str) -> None:
    issued = authority.issue("localhost", key_type=key_type)  # type: ignore[arg-type]
    parsed = certs.parse_certificate(certs.certificate_der(issued.certificate))
    assert parsed == issued.certificate


def parse_fault(data: bytes) -> PeerFault:
    with pytest.raises(PeerFault) as caught:
        certs.parse_certificate(data)
    return caught.value


def test_no_certificate_at_all(der: bytes) -> None:
    for data in (b"", b"\0", b"\x30\x00", b"\x30\x80", b"\xff" * 100, der[:-1], der + b"\0", der[1:]):
        assert parse_fault(data).fault is Fault.CERTIFICATE_UNPARSABLE


def test_parts_that_are_parsed_late(authority: Authority) -> None:
    """``cryptography`` loads these, and raises when somebody looks."""
    nonsense = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x82\x05")
    broken = make("x", [(nonsense, False)]).certificate
    assert parse_fault(certs.certificate_der(broken)).fault is Fault.CERTIFICATE_UNPARSABLE


def test_the_same_extension_twice() -> None:
    """Made of two that differ in the last byte of their identifiers, because nobody issues such a thing."""
    extensions = [x509.UnrecognizedExtension(x509.ObjectIdentifier(f"1.2.3.{end}"), b"\5\0") for end in (4, 5)]
    der = certs.certificate_der(make("x", [(one, False) for one in extensions]).certificate)
    assert der.count(b"\x2a\x03\x05") == 1
    fault = parse_fault(der.replace(b"\x2a\x03\x05", b"\x2a\x03\x04"))
    assert fault.fault is Fault.CERTIFICATE_UNPARSABLE
    assert "Duplicate 1.2.3.4 extension" in str(fault)


def test_names_that_nobody_supports() -> None:
    x400_address = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
    fault = parse_fault(certs.certificate_der(make("x", [(x400_address, False)]).certificate))
    assert fault.fault is Fault.CERTIFICATE_UNPARSABLE


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (x25519.X25519PrivateKey.generate(), "X25519PublicKey can't sign"),
        (dsa.generate_private_key(1024), "DSAPublicKey can't sign"),
        (ec.generate_private_key(ec.SECP256K1()), "on secp256k1, which TLS 1.3 does not have"),
        (rsa.generate_private_key(65537, 1024), "an RSA key of 1024 bits; 2048 to 16384 are accepted"),
    ],
)
def test_keys_without_use(key: rsa.RSAPrivateKey, text: str) -> None:
    certificate = make("x", public_key=key.public_key()).certificate
    fault = parse_fault(certs.certificate_der(certificate))
    assert fault.fault is Fault.CERTIFICATE_KEY
    assert text in str(fault)


def test_unknown_kind_of_key(der: bytes) -> None:
    """The identifier of the key's algorithm is changed into one that nobody has."""
    assert der.count(bytes.fromhex("2a8648ce3d0201")) == 1
    fault = parse_fault(der.replace(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0277")))
    assert fault.fault is Fault.CERTIFICATE_KEY
    assert "can't be read" in str(fault)


def use_everything(data: bytes) -> None:
    """What the handshake does with a peer's certificate, and what an application may: nothing but faults may come."""
    certificate = certs.parse_certificate(data)
    certs.certificate_names(certificate)
    certs.describe(certificate.subject)
    certs.describe(certificate.issuer)
    certs.spki_sha256(certificate)
    with pytest.raises(PeerFault):
        TrustStore.pinned(bytes(32)).verify_server([certificate], None, 0)
    another = TrustStore.from_crypto([make("another").certificate])
    for now in (0, datetime.datetime(2026, 12, 1, tzinfo=datetime.UTC).timestamp()):
        with pytest.raises(PeerFault):
            another.verify_server([certificate, certificate], "localhost", now)
        with pytest.raises(PeerFault):
            another.verify_client([certificate, certificate], now)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4))
def test_damaged_certificates_give_a_fault(der: bytes, damage: list[tuple[int, int]]) -> None:
    data = bytearray(der)
    for place, byte in damage:
        data[place % len(data)] = byte
    try:
        use_everything(bytes(data))
    except PeerFault as fault:
        assert fault.fault in (Fault.CERTIFICATE_UNPARSABLE, Fault.CERTIFICATE_KEY)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_gives_a_fault(data: bytes) -> None:
    assert parse_fault(data).fault is Fault.CERTIFICATE_UNPARSABLE


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_spki_sha256_is_what_openssl_pins(authority: Authority, key_type: str, tmp_path: Path) -> None:
    certificate = authority.issue("localhost", key_type=key_type).certificate  # type: ignore[arg-type]
    if key_type.startswith("mldsa"):  # OpenSSL 3.0 does not know them
        spki = certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    else:
        (tmp_path / "c.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        command = "openssl x509 -in c.pem -noout -pubkey | openssl pkey -pubin -outform der"
        spki = subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True, timeout=10).stdout
    assert certs.spki_sha256(certificate) == hashlib.sha256(spki).digest()


def test_fields_of_version_1(tmp_path: Path) -> None:
    """Version 1 leaves its number out, so every field after it has moved."""
    for line in (
        "openssl req -new -newkey rsa:2048 -nodes -keyout k.pem -out r.csr -subj /CN=old",
        "openssl x509 -req -in r.csr -signkey k.pem -out old.pem",
    ):
        subprocess.run(line.split(), cwd=tmp_path, check=True, capture_output=True, timeout=30)
    old = x509.load_pem_x509_certificate((tmp_path / "old.pem").read_bytes())
    assert old.version is x509.Version.v1
    spki = old.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert certs.spki_sha256(old) == hashlib.sha256(spki).digest()
    assert (der_reader.subject(old), der_reader.issuer(old)) == (old.subject.public_bytes(), old.issuer.public_bytes())


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "localhost"),
        ("WWW.Example.COM", "www.example.com"),
        ("example.com.", "example.com"),
        (" example.com ", "example.com"),
        ("Bücher.example", "xn--bcher-kva.example"),
        ("faß.de", "xn--fa-hia.de"),  # IDNA 2003 would make fass.de of it
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("a-b.1.c", "a-b.1.c"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_parse_server_name(text: str, expected: str) -> None:
    assert str(certs.parse_server_name(text).value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "-a.b",
        "a-.b",
        "a_b.c",
        "*.example.com",
        "https://example.com",
        "example.com:443",
        "example.com/",
        "a b",
        "a" * 64 + ".com",
        ".".join(["a" * 63] * 4),
        "☃.net",
        "ü" * 80,
        "\x00",
        "localhost\x00.evil",
    ],
)
def test_parse_server_name_refuses(text: str) -> None:
    with pytest.raises(ConfigError, match=r"server name .* is n"):
        certs.parse_server_name(text)


def test_sni_name() -> None:
    assert certs.sni_name("Bücher.example.") == "xn--bcher-kva.example"
    assert certs.sni_name("192.0.2.1") is None
    assert certs.sni_name("[::1]") is None


def test_certificate_names(authority: Authority) -> None:
    leaf = authority.issue(
        "WWW.Example.com", "*.example.org", "192.0.2.1", "2001:db8::0", "bob@example.com"
    ).certificate
    assert certs.certificate_names(leaf) == ("www.example.com", "*.example.org", "192.0.2.1", "2001:db8::")
    assert certs.certificate_names(make("only.a.common.name").certificate) == ()


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        ("example.com", True),
        ("a.example.org", True),
        ("example.org", False),
        ("a.b.example.org", False),
        (".example.org", False),
        ("*.example.org", True),
        ("org", False),
        ("", False),
    ],
)
def test_fits_wildcard(name: str, fits: bool) -> None:
    assert certs.fits_wildcard(name, frozenset(["example.com", "*.example.org"])) is fits


def test_describe_is_fit_for_a_log() -> None:
    assert certs.describe(make("line\nbreak\x1b[31m").certificate.subject) == r"'line\nbreak\x1b[31m'"
    assert certs.describe(make("").certificate.subject) == "nobody"
    organisation = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Org" * 20)])
    described = certs.describe(organisation)
    assert described == repr("O=" + "Org" * 20)
    many = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Org" * 20)] * 3)
    assert len(certs.describe(many)) == 82


# -- from files -------------------------------------------------------------------------------------------------------


def test_load_pem_chain_takes_prose_between(authority: Authority) -> None:
    issued = authority.issue("localhost", intermediates=1)
    text = b"what this is\n" + issued.key_pem + issued.chain_pem.replace(b"-----BEGIN", b"subject=x\n-----BEGIN")
    assert certs.load_pem_chain(text, "file") == issued.certificates


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "chain.pem: no certificate in there; it is empty"),
        (b"hello", "chain.pem: no certificate in there; expected PEM, which begins with -----BEGIN"),
        (b"\x30\x82\x01\x00", "chain.pem: no certificate in there; it looks like DER: make it PEM with 'openssl x509"),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
            "chain.pem: certificate number 1 can't be read: ",
        ),
    ],
)
def test_load_pem_chain_explains(data: bytes, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        certs.load_pem_chain(data, "chain.pem")
    assert str(caught.value).startswith(text)
    with pytest.raises(ConfigError) as caught:
        certs.load_pem_bundle(data, "chain.pem")
    assert str(caught.value).startswith(text)


def test_load_pem_chain_says_what_else_is_there(authority: Authority) -> None:
    with pytest.raises(ConfigError, match=r"no certificate in there; found PRIVATE KEY$"):
        certs.load_pem_chain(authority.issue("localhost").key_pem, "swapped.pem")


def test_load_pem_bundle_leaves_out_what_is_broken(authority: Authority) -> None:
    good = authority.certificate_pem
    late = make("x", [(x509.UnrecognizedExtension(x509.BasicConstraints.oid, b"\x30\x03\x02"), False)]).certificate
    broken = late.public_bytes(serialization.Encoding.PEM)
    garbage = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"
    found, problems = certs.load_pem_bundle(garbage + good + broken + good, "bundle")
    assert found == (authority.certificate,)
    assert [problem.partition(" can't")[0] for problem in problems] == ["certificate number 1", "certificate number 3"]


def key_pem(kind: serialization.PrivateFormat, password: bytes | None = None) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, kind, how)


PKCS8, TRADITIONAL = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL


@pytest.mark.parametrize("kind", [PKCS8, TRADITIONAL])
def test_load_private_key(kind: serialization.PrivateFormat) -> None:
    plain, encrypted = key_pem(kind), key_pem(kind, b"secret")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    for data, password in ((plain, None), (plain, b"not needed"), (encrypted, b"secret"), (parameters + plain, None)):
        assert isinstance(certs.load_private_key(data, password, "key.pem"), ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("kind", [PKCS8, TRADITIONAL])
def test_load_private_key_wants_the_password(kind: serialization.PrivateFormat) -> None:
    encrypted = key_pem(kind, b"secret")
    with pytest.raises(ConfigError, match=r"^key.pem: the private key is encrypted; give its password"):
        certs.load_private_key(encrypted, None, "key.pem")
    with pytest.raises(ConfigError, match=r"^key.pem: the private key can't be decrypted; is the password right\?"):
        certs.load_private_key(encrypted, b"wrong", "key.pem")


def test_load_private_key_explains(authority: Authority) -> None:
    issued = authority.issue("localhost")
    ssh = issued.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    for data, text in (
        (b"", "key.pem: no private key in there; it is empty"),
        (issued.chain_pem, "key.pem: no private key in there; found CERTIFICATE"),
        (ssh, "key.pem: an SSH key; make it PEM with 'ssh-keygen -p -m PEM -f FILE'"),
        (
            b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "key.pem: the private key can't be read: ",
        ),
    ):
        with pytest.raises(ConfigError) as caught:
            certs.load_private_key(data, None, "key.pem")
        assert str(caught.value).startswith(text)


def test_key_matches(authority: Authority) -> None:
    one, other = authority.issue("a"), authority.issue("a")
    assert certs.key_matches(one.certificate, one.private_key)
    assert not certs.key_matches(one.certificate, other.private_key)
    assert not certs.key_matches(one.certificate, authority.issue("a", key_type="ed25519").private_key)


def test_alternative_names_of_another_kind() -> None:
    assert certs.certificate_names(make("x", [san("a.example", critical=True)]).certificate) == ("a.example",)
