"""Chains that are not believed, and what is said about it."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from certificate_maker import CA, CLIENT_AUTH, END, NOT_CA, NOW, SERVER_AUTH, START, Extension, Made, make, san, usage
from chain_checks import LEAF, ROOT, accepted, host, refusal, run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from tlsprovider.crypto import explain
from tlsprovider.crypto.authority import _with_pss_key
from tlsprovider.errors import CertificateFault, Fault
from tlsprovider.trust import TrustStore

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def root() -> Made:
    return make("Root", ROOT)


@pytest.fixture(scope="module")
def store(root: Made) -> TrustStore:
    return TrustStore.from_crypto([root.certificate])


def test_expired(root: Made, store: TrustStore) -> None:
    leaf = host(root)
    assert refusal(store, leaf, now=END.timestamp() + 1) == (
        Fault.CERTIFICATE_EXPIRED,
        "the certificate of 'host' expired on 2027-01-01 00:00:00 UTC; it is now 2027-01-01 00:00:01 UTC",
    )
    assert accepted(store, leaf, now=END.timestamp()) == ["host", "Root"]


def test_not_valid_yet(root: Made, store: TrustStore) -> None:
    assert refusal(store, host(root), now=START.timestamp() - 1) == (
        Fault.CERTIFICATE_EXPIRED,
        "the certificate of 'host' is not valid before 2026-01-01 00:00:00 UTC; it is now 2025-12-31 23:59:59 UTC:"
        " is the clock right?",
    )


def test_expired_authority() -> None:
    root = make("Root", ROOT, end=START + DAY)
    fault, text = refusal(TrustStore.from_crypto([root.certificate]), host(root))
    assert fault is Fault.CERTIFICATE_EXPIRED
    assert text.startswith("the certificate of 'Root' expired on 2026-01-02 00:00:00 UTC")


def test_expired_intermediate(root: Made, store: TrustStore) -> None:
    middle = make("Middle", ROOT, issuer=root, end=START + DAY)
    fault, text = refusal(store, host(middle), middle)
    assert fault is Fault.CERTIFICATE_EXPIRED
    assert text.startswith("the certificate of 'Middle' expired on 2026-01-02 00:00:00 UTC")


@pytest.mark.parametrize(
    ("names", "expected", "text"),
    [
        (
            [san("a.example", "*.b.example")],
            "host.example",
            "the certificate is not for 'host.example': it is for 'a.example', '*.b.example'",
        ),
        (
            [san(*(f"{number}.example" for number in range(10)))],
            "host.example",
            "the certificate is not for 'host.example': it is for '0.example', '1.example', '2.example', '3.example',"
            " '4.example', '5.example', '6.example', '7.example' and 2 more",
        ),
        (
            [],
            "host.example",
            "the certificate has no subjectAltName, so it is for no name at all; expected 'host.example'"
            " (its subject 'host.example' does not count)",
        ),
        (
            [san("127.0.0.1")],
            "127.0.0.1",
            "the certificate has '127.0.0.1' as a DNS name; an address has to be there as an IP address",
        ),
        (
            [(x509.SubjectAlternativeName([x509.RFC822Name("a@host.example")]), False)],
            "host.example",
            "the subjectAltName of the certificate holds neither DNS names nor addresses; expected 'host.example'",
        ),
    ],
)
def test_wrong_name(root: Made, store: TrustStore, names: list[Extension], expected: str, text: str) -> None:
    leaf = make("host.example", [*names, *LEAF], issuer=root)
    assert refusal(store, leaf, name=expected) == (Fault.CERTIFICATE_NAME, text)


def test_no_name_and_no_subject(root: Made, store: TrustStore) -> None:
    assert refusal(store, make("", LEAF, issuer=root)) == (
        Fault.CERTIFICATE_NAME,
        "the certificate has no subjectAltName, so it is for no name at all; expected 'host.example'",
    )


@pytest.mark.parametrize(
    ("extensions", "name", "text"),
    [
        (
            [CLIENT_AUTH],
            "host.example",
            "the certificate of 'host' is not for TLS servers: its extKeyUsage is clientAuth, expected serverAuth",
        ),
        (
            [SERVER_AUTH],
            None,
            "the certificate of 'host' is not for TLS clients: its extKeyUsage is serverAuth, expected clientAuth",
        ),
        (
            [(x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4"), ExtendedKeyUsageOID.CODE_SIGNING]), True)],
            "host.example",
            "the certificate of 'host' is not for TLS servers: its extKeyUsage is 1.2.3.4, codeSigning,"
            " expected serverAuth",
        ),
        (
            [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)],
            "host.example",
            "the certificate of 'host' is not for TLS servers: its extKeyUsage is anyExtendedKeyUsage,"
            " expected serverAuth",
        ),
        (
            [usage("key_encipherment")],
            "host.example",
            "the certificate of 'host' is not for TLS 1.3: its keyUsage does not allow digitalSignature",
        ),
        (
            [CA],
            "host.example",
            "the certificate of 'host' is that of an authority (basicConstraints or keyUsage say so);"
            " TLS needs one that was issued for the host",
        ),
        (
            [usage("digital_signature", "key_cert_sign")],
            None,
            "the certificate of 'host' is that of an authority (basicConstraints or keyUsage say so);"
            " TLS needs one that was issued for the host",
        ),
    ],
)
def test_wrong_purpose(root: Made, store: TrustStore, extensions: list[Extension], name: str | None, text: str) -> None:
    assert refusal(store, host(root, extensions), name=name) == (Fault.CERTIFICATE_PURPOSE, text)


def test_authority_for_another_purpose() -> None:
    root = make("Root", [*ROOT, CLIENT_AUTH])
    fault, text = refusal(TrustStore.from_crypto([root.certificate]), host(root))
    assert fault is Fault.CERTIFICATE_REFUSED
    assert "extKeyUsage of an authority does not allow this purpose" in text


def test_self_signed(store: TrustStore) -> None:
    assert refusal(store, make("host", [san("host.example"), CA])) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        "the certificate of 'host' is self-signed and not in the trust store; if it is the right one, add it there",
    )


def test_unknown_root_that_was_sent(store: TrustStore) -> None:
    other = make("Other root", ROOT)
    assert refusal(store, host(other), other) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        "the chain ends at the self-signed 'Other root', which is not in the trust store; if it is right, add it there",
    )


def test_missing_intermediate(root: Made, store: TrustStore) -> None:
    middle = make("Middle", ROOT, issuer=root)
    assert refusal(store, host(middle)) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        "the certificate of 'host' was issued by 'Middle', which is not in the trust store;"
        " the peer sent no intermediate certificate: should it have sent one?",
    )


def test_unknown_issuer_further_up(store: TrustStore) -> None:
    other = make("Other root", ROOT)
    middle = make("Middle", ROOT, issuer=other)
    assert refusal(store, host(middle), middle) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        "the certificate of 'Middle' was issued by 'Other root', which is not in the trust store"
        " and was not sent by the peer either",
    )


def test_authority_made_anew(store: TrustStore) -> None:
    """The commonest surprise with private authorities: same name, new key."""
    namesake = make("Root", ROOT)
    assert refusal(store, host(namesake)) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        "the certificate of 'host' was issued by an authority called 'Root' that has another key than the one known"
        " here under this name: was the authority made anew?",
    )


def test_forged(root: Made, store: TrustStore) -> None:
    forged = host(root, key_ids=False, signed_by=ec.generate_private_key(ec.SECP256R1()))
    assert refusal(store, forged) == (
        Fault.CERTIFICATE_SIGNATURE,
        "the certificate of 'host' does not carry a valid signature of its issuer 'Root'",
    )


def test_damaged_signature(root: Made, store: TrustStore) -> None:
    der = bytearray(host(root).certificate.public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    assert refusal(store, x509.load_der_x509_certificate(bytes(der)))[0] is Fault.CERTIFICATE_SIGNATURE


def test_weak_hash() -> None:
    root = make("Root", ROOT, key=rsa.generate_private_key(65537, 2048))
    leaf = host(root, hash_algorithm=hashes.SHA224())
    assert refusal(TrustStore.from_crypto([root.certificate]), leaf) == (
        Fault.CERTIFICATE_SIGNATURE,
        "the certificate of 'host' is signed with SHA-224, which is not secure",
    )


def test_weak_authority_key() -> None:
    root = make("Root", ROOT, key=rsa.generate_private_key(65537, 1024))
    assert refusal(TrustStore.from_crypto([root.certificate]), host(root)) == (
        Fault.CERTIFICATE_SIGNATURE,
        "the authority 'Root' can't be used: an RSA key of 1024 bits; 2048 to 16384 are accepted",
    )


def test_unsupported_authority_keys() -> None:
    text = "authority are not supported; trust the leaf itself, or pin its key"
    edwards = make("Root", ROOT, key=ed25519.Ed25519PrivateKey.generate())
    assert refusal(TrustStore.from_crypto([edwards.certificate]), host(edwards)) == (
        Fault.CERTIFICATE_SIGNATURE,
        f"the authority 'Root' can't be used: chains with an Ed25519 or Ed448 {text}",
    )
    plain = make("Root", ROOT, key=rsa.generate_private_key(65537, 2048))
    pss = Made(_with_pss_key(plain.certificate, plain.key), plain.key)
    assert refusal(TrustStore.from_crypto([pss.certificate]), host(pss)) == (
        Fault.CERTIFICATE_SIGNATURE,
        f"the authority 'Root' can't be used: chains with an RSASSA-PSS {text}",
    )


@pytest.mark.parametrize(
    ("extensions", "problem"),
    [
        ([], "its basicConstraints do not say CA"),
        ([NOT_CA], "its basicConstraints do not say CA"),
        (
            [(x509.BasicConstraints(True, None), False)],
            "its basicConstraints are not marked critical (RFC 5280 section 4.2.1.9)",
        ),
        ([CA, usage("digital_signature")], "its keyUsage does not allow keyCertSign"),
    ],
)
def test_issuer_is_no_authority(root: Made, store: TrustStore, extensions: list[Extension], problem: str) -> None:
    """Somebody with an ordinary certificate issues others with it."""
    text = f"is not an acceptable authority: {problem}"
    middle = make("Middle", extensions, issuer=root)
    assert refusal(store, host(middle), middle) == (Fault.CERTIFICATE_UNKNOWN_ISSUER, f"the issuer 'Middle' {text}")
    root = make("Root", extensions)
    trust = TrustStore.from_crypto([root.certificate])
    assert refusal(trust, host(root)) == (Fault.CERTIFICATE_UNKNOWN_ISSUER, f"the issuer 'Root' {text}")


@pytest.mark.parametrize(
    "constraints",
    [
        x509.NameConstraints([x509.DNSName("other.example")], None),
        x509.NameConstraints(None, [x509.DNSName("host.example")]),
        x509.NameConstraints(None, [x509.DNSName("example")]),
    ],
)
def test_name_constraints_hold(constraints: x509.NameConstraints) -> None:
    root = make("Root", [*ROOT, (constraints, True)])
    fault, text = refusal(TrustStore.from_crypto([root.certificate]), host(root))
    assert fault is Fault.CERTIFICATE_REFUSED
    assert text.startswith("the certificate of 'host' was refused: ")
    assert "name constraint" in text


def test_path_length_holds(root: Made) -> None:
    top = make("Top", [(x509.BasicConstraints(True, 0), True)])
    middle = make("Middle", ROOT, issuer=top)
    trust = TrustStore.from_crypto([top.certificate])
    assert accepted(trust, host(top)) == ["host", "Top"]
    fault, text = refusal(trust, host(middle), middle)
    assert fault is Fault.CERTIFICATE_REFUSED
    assert "path length constraint violated" in text


def test_unknown_critical_extension(root: Made, store: TrustStore) -> None:
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\5\0")
    fault, text = refusal(store, host(root, [*LEAF, (unknown, True)]))
    assert fault is Fault.CERTIFICATE_REFUSED
    assert "1.2.3.4.5" in text
    assert accepted(store, host(root, [*LEAF, (unknown, False)])) == ["host", "Root"]


def test_version_1(tmp_path: Path) -> None:
    run(
        """
        openssl req -new -newkey rsa:2048 -nodes -keyout k.pem -out r.csr -subj /CN=old
        openssl x509 -req -in r.csr -signkey k.pem -out old.pem
        """,
        tmp_path,
    )
    old = x509.load_pem_x509_certificate((tmp_path / "old.pem").read_bytes())
    assert old.version is x509.Version.v1
    key = serialization.load_pem_private_key((tmp_path / "k.pem").read_bytes(), None)
    trust = TrustStore.from_crypto([old])
    text = "the certificate of 'old' is of X.509 version 1; TLS 1.3 needs version 3"
    now = old.not_valid_before_utc.timestamp()
    assert trust.verify_client([old], now) == (old,)  # byte for byte what was trusted
    leaf = make("alice", [CLIENT_AUTH], issuer=Made(old, key))
    assert refusal(trust, leaf, name=None, now=now) == (Fault.CERTIFICATE_REFUSED, text)
    assert refusal(TrustStore.from_crypto([make("Root", ROOT).certificate]), old, name=None, now=now) == (
        Fault.CERTIFICATE_REFUSED,
        text,
    )


def test_loops_end(store: TrustStore) -> None:
    """Two authorities that issued each other lead nowhere, in bounded time."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    first, second = make("A", ROOT, key=keys[0]), make("B", ROOT, key=keys[1])
    crossed = [make("A", ROOT, key=keys[0], issuer=second), make("B", ROOT, key=keys[1], issuer=first)]
    fault, _ = refusal(store, host(first), *crossed)
    assert fault is Fault.CERTIFICATE_REFUSED


def test_many_namesakes_cost_little(store: TrustStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred issuers of the right name and wrong key: few signatures are checked to explain the refusal."""
    namesakes = [make("Root", ROOT, key_ids=False) for _ in range(100)]
    forged = host(namesakes[0], key_ids=False, signed_by=ec.generate_private_key(ec.SECP256R1()))
    checked = []

    def count(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        checked.append(issuer)
        return False

    monkeypatch.setattr(explain, "_is_signed_by", count)
    assert refusal(store, forged, *namesakes)[0] is Fault.CERTIFICATE_SIGNATURE
    assert len(checked) == explain.MAX_CANDIDATES < 100


def test_clients(root: Made, store: TrustStore) -> None:
    assert refusal(store, make("alice", [CLIENT_AUTH]), name=None)[0] is Fault.CERTIFICATE_UNKNOWN_ISSUER
    late = END.timestamp() + 1
    assert (
        refusal(store, make("alice", [CLIENT_AUTH], issuer=root), name=None, now=late)[0] is Fault.CERTIFICATE_EXPIRED
    )


def test_faults_have_no_context(root: Made, store: TrustStore) -> None:
    """What reaches the user is one sentence, not the story of how it was found."""
    with pytest.raises(CertificateFault) as caught:
        store.verify_server([host(root).certificate], "other.example", NOW)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
