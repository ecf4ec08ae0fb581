"""Where a trust store gets its certificates or keys from."""

from __future__ import annotations

import base64
import logging
import ssl
import sys
from pathlib import Path

import pytest
from certificate_maker import CA, END, NOW, START, Made, make
from chain_checks import ROOT, accepted, host, refusal
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tlsprovider import system_trust
from tlsprovider.crypto.certificates import spki_sha256
from tlsprovider.errors import ConfigError, Fault
from tlsprovider.trust import TrustStore


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


@pytest.fixture(scope="module")
def root() -> Made:
    return make("Root", ROOT)


# -- pins -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pinned_leaf() -> Made:
    return make("anything", [CA])


def spellings(pin: bytes) -> list[bytes | str]:
    text = base64.b64encode(pin).decode()
    colons = ":".join(f"{byte:02X}" for byte in pin)
    return [pin, pin.hex(), pin.hex().upper(), colons, text, f"sha256/{text}", f" sha256/{text}\n"]


@pytest.mark.parametrize("spelling", range(7))
def test_pinned(pinned_leaf: Made, spelling: int) -> None:
    pin = spellings(spki_sha256(pinned_leaf.certificate))[spelling]
    trust = TrustStore.pinned(pin)
    leaf = pinned_leaf.certificate
    assert not trust.needs_name
    assert trust.subjects == ()
    for name in (None, "whatever.example"):
        assert trust.verify_server([leaf, make("x").certificate], name, NOW) == (leaf,)
    assert trust.verify_client([leaf], NOW) == (leaf,)
    assert TrustStore.pinned([bytes(32), pin]).verify_server([leaf], None, NOW) == (leaf,)


def test_pinned_refuses(pinned_leaf: Made) -> None:
    trust = TrustStore.pinned(bytes(32))
    have = base64.b64encode(spki_sha256(pinned_leaf.certificate)).decode()
    assert refusal(trust, pinned_leaf) == (
        Fault.CERTIFICATE_UNKNOWN_ISSUER,
        f"the peer's key sha256/{have} is not pinned; expected sha256/{'A' * 43}=",
    )
    assert refusal(trust, pinned_leaf, name=None)[0] is Fault.CERTIFICATE_UNKNOWN_ISSUER


def test_pinned_key_of_an_intermediate_is_not_enough(pinned_leaf: Made) -> None:
    trust = TrustStore.pinned(spki_sha256(pinned_leaf.certificate))
    assert refusal(trust, make("x"), pinned_leaf)[0] is Fault.CERTIFICATE_UNKNOWN_ISSUER


def test_pinned_checks_dates(pinned_leaf: Made) -> None:
    trust = TrustStore.pinned(spki_sha256(pinned_leaf.certificate))
    for now in (START, END):
        assert accepted(trust, pinned_leaf, now=now.timestamp()) == ["anything"]
    assert refusal(trust, pinned_leaf, now=END.timestamp() + 1)[0] is Fault.CERTIFICATE_EXPIRED
    assert refusal(trust, pinned_leaf, now=START.timestamp() - 1)[0] is Fault.CERTIFICATE_EXPIRED


@pytest.mark.parametrize(
    "value", ["", "abc", b"short", "sha256/", "sha1/" + "A" * 27 + "=", "0" * 63, "g" * 64, None, 3]
)
def test_pinned_wants_a_digest(value: object) -> None:
    with pytest.raises(ConfigError, match="is not a SHA-256 digest of a key"):
        TrustStore.pinned([value])  # type: ignore[list-item]


def test_pinned_wants_something() -> None:
    with pytest.raises(ConfigError, match="the list of keys is empty"):
        TrustStore.pinned([])


# -- where certificates come from -------------------------------------------------------------------------------------


def test_from_file(root: Made, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(pem(root.certificate, make("Second", ROOT).certificate, root.certificate))
    trust = TrustStore.from_file(str(file))
    assert repr(trust) == f"<TrustStore from {file}: 2 certificates>"
    assert accepted(trust, host(root)) == ["host", "Root"]


def test_from_pem(root: Made) -> None:
    data = pem(root.certificate)
    for given in (data, data.decode()):
        trust = TrustStore.from_pem(given)
        assert repr(trust) == "<TrustStore from PEM: 1 certificate>"
        assert accepted(trust, host(root)) == ["host", "Root"]


def test_files_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/none\.pem: can't be read: No such file or directory"):
        TrustStore.from_file(tmp_path / "none.pem")
    with pytest.raises(ConfigError, match="can't be read: Is a directory"):
        TrustStore.from_file(tmp_path)
    (tmp_path / "empty.pem").touch()
    with pytest.raises(ConfigError, match=r"/empty\.pem: no certificate in there; it is empty"):
        TrustStore.from_file(tmp_path / "empty.pem")
    with pytest.raises(ConfigError, match="the trust store's PEM: no certificate in there; expected PEM"):
        TrustStore.from_pem("garbage")
    with pytest.raises(ConfigError, match="the list of certificates is empty"):
        TrustStore.from_crypto([])


def test_broken_certificates_are_left_out_and_said(root: Made, caplog: pytest.LogCaptureFixture) -> None:
    garbage = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"
    with caplog.at_level(logging.WARNING, "tlsprovider.trust"):
        trust = TrustStore.from_pem(garbage + pem(root.certificate))
    assert accepted(trust, host(root)) == ["host", "Root"]
    assert caplog.messages[0].startswith("the trust store's PEM: certificate number 1 can't be read")


def test_subjects_are_spelt_as_in_the_certificates(root: Made) -> None:
    twin = make("Root", ROOT)
    other = make("Other", ROOT)
    trust = TrustStore.from_crypto([root.certificate, twin.certificate, other.certificate])
    assert trust.subjects == (root.certificate.subject.public_bytes(), other.certificate.subject.public_bytes())


# -- the operating system's certificates ------------------------------------------------------------------------------


@pytest.fixture
def fresh_system(monkeypatch: pytest.MonkeyPatch) -> TrustStore:
    """A system store that reads the environment anew when it is first used."""
    from tlsprovider import trust

    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    return TrustStore("of the operating system", trust._load_system)


def test_system_is_one_object_and_lazy() -> None:
    assert TrustStore.system() is TrustStore.system()
    assert repr(TrustStore.system()) == "<TrustStore of the operating system>"
    assert TrustStore.system().needs_name


def test_system_reads_ssl_cert_file(
    fresh_system: TrustStore, root: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.pem").write_bytes(pem(root.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert accepted(fresh_system, host(root)) == ["host", "Root"]
    assert len(fresh_system.subjects) == 1


def test_system_reads_ssl_cert_dir(
    fresh_system: TrustStore, root: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = make("Second", ROOT)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "root.pem").write_bytes(pem(root.certificate))
    (tmp_path / "one" / "12345678.0").symlink_to("root.pem")
    (tmp_path / "one" / "README").write_text("not a certificate")
    (tmp_path / "one" / "private").mkdir()
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "second.pem").write_bytes(pem(second.certificate))
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}/one:{tmp_path}/missing:{tmp_path}/two")
    for authority in (root, second):
        assert len(accepted(fresh_system, host(authority))) == 2
    assert len(fresh_system.subjects) == 2


def test_system_says_when_the_environment_is_wrong(
    fresh_system: TrustStore, root: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"SSL_CERT_FILE: .*none\.pem' can't be read: No such file"):
        accepted(fresh_system, host(root))
    monkeypatch.delenv("SSL_CERT_FILE")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match=r"SSL_CERT_DIR=.*: no certificate in there; it is empty"):
        accepted(fresh_system, host(root))


def test_system_looks_at_the_usual_places(
    fresh_system: TrustStore, root: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle.crt").write_bytes(pem(root.certificate))
    places = (str(tmp_path / "missing.crt"), str(tmp_path / "bundle.crt"))
    monkeypatch.setattr(system_trust, "BUNDLES", places)
    assert accepted(fresh_system, host(root)) == ["host", "Root"]
    monkeypatch.setattr(system_trust, "BUNDLES", ())
    monkeypatch.setattr(system_trust, "DIRECTORIES", (str(tmp_path / "missing"), str(tmp_path)))
    assert system_trust.read_system_certificates() == (pem(root.certificate), str(tmp_path))


def test_system_falls_back_to_certifi(
    fresh_system: TrustStore, root: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for places in ("BUNDLES", "DIRECTORIES"):
        monkeypatch.setattr(system_trust, places, ())
    (tmp_path / "certifi").mkdir()
    (tmp_path / "certifi" / "__init__.py").touch()
    (tmp_path / "certifi" / "cacert.pem").write_bytes(pem(root.certificate))
    monkeypatch.syspath_prepend(str(tmp_path))
    # Other tests use packages that import the real one.
    monkeypatch.delitem(sys.modules, "certifi", raising=False)
    assert accepted(fresh_system, host(root)) == ["host", "Root"]


def test_system_without_any_certificate(fresh_system: TrustStore, root: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    for places in ("BUNDLES", "DIRECTORIES"):
        monkeypatch.setattr(system_trust, places, ())
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="no trusted authorities were found on this system"):
        accepted(fresh_system, host(root))


def test_system_bundle_is_not_spoilt_by_one(
    fresh_system: TrustStore,
    root: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    garbage = b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n"
    (tmp_path / "ca.pem").write_bytes(garbage + pem(root.certificate))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with caplog.at_level(logging.DEBUG, "tlsprovider.trust"):
        assert accepted(fresh_system, host(root)) == ["host", "Root"]
    assert {record.levelno for record in caplog.records} == {logging.DEBUG}
    assert "certificate number 1 can't be read" in caplog.messages[0]


def test_this_machine(fresh_system: TrustStore) -> None:
    """As many names as OpenSSL finds in its own default place; where a machine has none, both find none."""
    context = ssl.create_default_context()
    context.load_default_certs()
    if context.get_ca_certs():
        assert len(fresh_system.subjects) > 10
    else:
        with pytest.raises(ConfigError):
            _ = fresh_system.subjects
