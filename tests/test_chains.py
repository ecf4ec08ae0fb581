"""Chains that are believed: from public and private authorities, and certificates that are trusted as they are."""

from __future__ import annotations

import datetime
import ipaddress
import time
from pathlib import Path

import pytest
import trustme
from certificate_maker import CA, CLIENT_AUTH, END, NOT_CA, NOW, SERVER_AUTH, Extension, Made, make, san, usage
from chain_checks import LEAF, ROOT, accepted, host, refusal, run
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsprovider.crypto.authority import KEY_TYPES, Authority
from tlsprovider.errors import ConfigError, Fault
from tlsprovider.trust import TrustStore

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Made:
    return make("Root", ROOT)


@pytest.fixture(scope="module")
def store(root: Made) -> TrustStore:
    return TrustStore.from_crypto([root.certificate])


# -- good chains ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", KEY_TYPES)
@pytest.mark.parametrize("intermediates", [0, 2])
def test_servers_and_clients(authority: Authority, trust: TrustStore, key_type: str, intermediates: int) -> None:
    now = time.time()
    server = authority.issue("localhost", key_type=key_type, intermediates=intermediates)  # type: ignore[arg-type]
    expected = (*server.certificates, authority.certificate)
    assert trust.verify_server(server.certificates, "localhost", now) == expected
    client = authority.issue("alice", client=True, intermediates=intermediates)
    assert trust.verify_client(client.certificates, now) == (*client.certificates, authority.certificate)


def test_order_and_extras_do_not_matter(authority: Authority, trust: TrustStore) -> None:
    leaf, *above = authority.issue("localhost", intermediates=3).certificates
    sent = [leaf, make("unrelated").certificate, *above[::-1], authority.certificate, leaf]
    assert trust.verify_server(sent, "localhost", time.time()) == (leaf, *above, authority.certificate)


@pytest.mark.parametrize(
    ("server_name", "fits"),
    [
        ("host.example", True),
        ("HOST.example.", True),
        ("a.wild.example", True),
        ("xn--bcher-kva.example", True),
        ("bücher.example", True),
        ("192.0.2.1", True),
        ("2001:db8::1", True),
        ("[2001:db8:0:0::1]", True),
        ("wild.example", False),
        ("a.b.wild.example", False),
        ("other.example", False),
        ("Common Name", False),
        ("192.0.2.2", False),
        ("198.51.100.1", False),
    ],
)
def test_names(root: Made, store: TrustStore, server_name: str, fits: bool) -> None:
    dns = ["host.example", "*.wild.example", "xn--bcher-kva.example", "198.51.100.1"]
    names = [x509.DNSName(name) for name in dns]
    addresses = [x509.IPAddress(ipaddress.ip_address(text)) for text in ("192.0.2.1", "2001:db8::1")]
    leaf = make("other.example", [(x509.SubjectAlternativeName([*names, *addresses]), False), *LEAF], issuer=root)
    if fits:
        assert accepted(store, leaf, name=server_name) == ["other.example", "Root"]
    elif " " in server_name:
        with pytest.raises(ConfigError, match="neither a domain name nor an IP address"):
            accepted(store, leaf, name=server_name)
    else:
        assert refusal(store, leaf, name=server_name)[0] is Fault.CERTIFICATE_NAME


def test_a_name_must_be_known(store: TrustStore, root: Made) -> None:
    assert store.needs_name
    with pytest.raises(ConfigError, match="the name of the server must be known"):
        store.verify_server([host(root).certificate], None, NOW)


# -- what private authorities issue -----------------------------------------------------------------------------------


@pytest.mark.parametrize("key_type", list(trustme.KeyType))
def test_trustme(key_type: trustme.KeyType) -> None:
    """Its subjectAltName is critical beside a subject, which the default profile refuses."""
    authority = trustme.CA(key_type=key_type)
    child = authority.create_child_ca(key_type=key_type)
    trust = TrustStore.from_pem(authority.cert_pem.bytes())
    for issuer, length in ((authority, 2), (child, 3)):
        issued = issuer.issue_cert("host.example", "127.0.0.1", key_type=key_type)
        blobs = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        chain = x509.load_pem_x509_certificates(blobs)
        for name in ("host.example", "127.0.0.1"):
            assert len(trust.verify_server(chain, name, time.time())) == length
        assert len(trust.verify_client(chain, time.time())) == length
        assert refusal(trust, *chain, name="other.example", now=time.time())[0] is Fault.CERTIFICATE_NAME


OPENSSL_RELAXED = """
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=CA
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout h.key -out h.csr -subj /CN=host
openssl x509 -req -in h.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out h.pem -extfile h.cnf
"""


@pytest.mark.parametrize(
    "extensions", ["", "keyUsage=digitalSignature\n", "authorityKeyIdentifier=keyid:always,issuer:always\n"]
)
def test_chain_made_with_the_openssl_command(tmp_path: Path, extensions: str) -> None:
    """As people do it: no keyUsage in the authority, no extKeyUsage and perhaps no key identifiers in the leaf."""
    (tmp_path / "h.cnf").write_text("subjectAltName=DNS:host.example,IP:127.0.0.1\n" + extensions)
    run(OPENSSL_RELAXED, tmp_path)
    trust = TrustStore.from_file(tmp_path / "ca.pem")
    leaf = x509.load_pem_x509_certificate((tmp_path / "h.pem").read_bytes())
    for name in ("host.example", "127.0.0.1"):
        assert len(trust.verify_server([leaf], name, time.time())) == 2
    assert refusal(trust, leaf, name="other.example", now=time.time())[0] is Fault.CERTIFICATE_NAME


@pytest.mark.parametrize("algorithm", ["ec -pkeyopt ec_paramgen_curve:P-256", "rsa:2048", "ed25519", "ed448"])
def test_self_signed_that_is_trusted_itself(tmp_path: Path, algorithm: str) -> None:
    names = "-addext subjectAltName=DNS:host.example"
    run(f"openssl req -x509 -newkey {algorithm} -nodes -keyout k.pem -out c.pem -subj /CN=host {names}", tmp_path)
    leaf = x509.load_pem_x509_certificate((tmp_path / "c.pem").read_bytes())
    trust, now = TrustStore.from_file(tmp_path / "c.pem"), time.time()
    assert trust.verify_server([leaf], "host.example", now) == (leaf,)
    assert trust.verify_client([leaf], now) == (leaf,)
    assert refusal(trust, leaf, name="other.example", now=now)[0] is Fault.CERTIFICATE_NAME
    assert refusal(trust, leaf, now=now + 40 * 86400)[0] is Fault.CERTIFICATE_EXPIRED


def test_trusted_leaf_must_be_equal_not_alike(root: Made) -> None:
    """Same names, same key, another serial number: not the certificate that was trusted."""
    key = ec.generate_private_key(ec.SECP256R1())
    trusted, twin = (make("host", [san("host.example"), CA], key=key) for _ in range(2))
    store = TrustStore.from_crypto([trusted.certificate])
    assert accepted(store, trusted) == ["host"]
    assert store.verify_server([trusted.certificate], "host.example", NOW) == (trusted.certificate,)
    fault, text = refusal(store, twin)
    assert fault is Fault.CERTIFICATE_UNKNOWN_ISSUER
    assert "is self-signed and not in the trust store" in text


@pytest.mark.parametrize(
    ("extensions", "fault"),
    [
        ([CA, CLIENT_AUTH], Fault.CERTIFICATE_PURPOSE),
        ([CA, usage("key_cert_sign")], Fault.CERTIFICATE_PURPOSE),
        ([CA, (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)], Fault.CERTIFICATE_PURPOSE),
        ([(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\5\0"), True)], Fault.CERTIFICATE_REFUSED),
    ],
)
def test_trusted_leaf_is_not_believed_in_everything(extensions: list[Extension], fault: Fault) -> None:
    leaf = make("host", [san("host.example"), *extensions])
    assert refusal(TrustStore.from_crypto([leaf.certificate]), leaf)[0] is fault


def test_trusted_leaf_that_somebody_else_issued(root: Made) -> None:
    leaf = host(root)
    assert accepted(TrustStore.from_crypto([leaf.certificate]), leaf) == ["host"]


RELAXED: dict[str, tuple[list[Extension], list[Extension]]] = {
    "critical subjectAltName": ([*ROOT], [san("host.example", critical=True), *LEAF]),
    "no extKeyUsage": ([*ROOT], [san("host.example"), NOT_CA]),
    "critical extKeyUsage": ([*ROOT], [san("host.example"), (SERVER_AUTH[0], True)]),
    "only a name": ([*ROOT], [san("host.example")]),
    "authority without keyUsage": ([CA], [san("host.example"), *LEAF]),
    "authority for servers, critical": ([*ROOT, (SERVER_AUTH[0], True)], [san("host.example"), *LEAF]),
    "authority for any purpose": (
        [*ROOT, (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)],
        [san("host.example"), *LEAF],
    ),
    "both purposes": (
        [*ROOT],
        [
            san("host.example"),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ],
    ),
    "name constraints that permit": (
        [*ROOT, (x509.NameConstraints([x509.DNSName("example")], None), True)],
        [san("host.example"), *LEAF],
    ),
}


@pytest.mark.parametrize("case", RELAXED)
@pytest.mark.parametrize("key_ids", [True, False])
def test_relaxed(case: str, key_ids: bool) -> None:
    of_root, of_leaf = RELAXED[case]
    root = make("Root", of_root, key_ids=key_ids)
    leaf = make("host", of_leaf, issuer=root, key_ids=key_ids)
    store = TrustStore.from_crypto([root.certificate])
    assert accepted(store, leaf) == ["host", "Root"]
    assert refusal(store, leaf, name="other.example")[0] is Fault.CERTIFICATE_NAME
    assert refusal(store, leaf, now=END.timestamp() + 1)[0] is Fault.CERTIFICATE_EXPIRED


def test_empty_subject_with_critical_name(root: Made, store: TrustStore) -> None:
    assert accepted(store, make("", [san("host.example", critical=True), *LEAF], issuer=root)) == ["", "Root"]


def test_client_without_any_name(root: Made, store: TrustStore) -> None:
    assert accepted(store, make("alice", [CLIENT_AUTH], issuer=root), name=None) == ["alice", "Root"]
