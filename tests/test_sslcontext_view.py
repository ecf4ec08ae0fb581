"""An engine shown as an ``ssl.SSLObject``, and certificates as ``getpeercert()`` has them."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from pathlib import Path
from typing import Any

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID
from loop import pump

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.peercert import as_dictionary
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.sslcontext import SSLObject, ssl_object_of

Engines = tuple[IEngine, IEngine]


def test_is_an_ssl_object(pair: Engines) -> None:
    shown = ssl_object_of(pair[0], server_hostname="localhost")
    assert isinstance(shown, ssl.SSLObject)
    assert isinstance(shown, SSLObject)
    assert shown.server_hostname == "localhost"
    assert shown.context is None
    assert shown.session is None


def test_shows_what_was_agreed(pair: Engines) -> None:
    client, server = map(ssl_object_of, pair)
    assert (client.server_side, server.server_side) == (False, True)
    assert client.version() == server.version() == "TLSv1.3"
    assert client.cipher() == server.cipher() == ("TLS_AES_128_GCM_SHA256", "TLSv1.3", 128)
    assert client.shared_ciphers() is None
    assert server.shared_ciphers() == [server.cipher()]
    assert client.compression() is None
    assert client.selected_alpn_protocol() is None
    assert client.session_reused is False
    assert client.pending() == 0


@pytest.mark.parametrize(("suite", "bits"), [("TLS_AES_256_GCM_SHA384", 256), ("TLS_CHACHA20_POLY1305_SHA256", 256)])
def test_counts_the_bits_of_a_suite(configs: tuple[ClientConfig, ServerConfig], suite: str, bits: int) -> None:
    native = get_provider("native")
    client = native.client_engine(attrs.evolve(configs[0], cipher_suites=[suite]), "localhost")
    pump(client, native.server_engine(configs[1]))
    assert ssl_object_of(client).cipher() == (suite, "TLSv1.3", bits)


def test_binds_the_channel_with_what_tls13_has(pair: Engines) -> None:
    client, server = map(ssl_object_of, pair)
    assert client.get_channel_binding() == server.get_channel_binding() == pair[0].channel_binding("tls-exporter")
    with pytest.raises(ValueError, match="tls-unique"):
        client.get_channel_binding("tls-unique")


def test_shows_the_peer(pair: Engines, server_config: ServerConfig) -> None:
    client, server = map(ssl_object_of, pair)
    leaf = server_config.identities[0].certificates[0]
    assert client.getpeercert(True) == leaf.public_bytes(serialization.Encoding.DER)
    assert ("DNS", "localhost") in client.getpeercert()["subjectAltName"]
    assert server.getpeercert() is None
    assert server.getpeercert(True) is None
    chain = client.get_verified_chain()
    assert chain[0] == client.get_unverified_chain()[0] == client.getpeercert(True)
    assert len(chain) == 2
    assert server.get_verified_chain() == server.get_unverified_chain() == []
    inner = client._sslobj.get_verified_chain()[0]
    assert ssl.PEM_cert_to_DER_cert(inner.public_bytes()) == chain[0]
    assert inner.get_info() == client.getpeercert()


def test_shows_no_names_of_a_peer_that_was_not_verified(
    configs: tuple[ClientConfig, ServerConfig],
) -> None:
    native = get_provider("native")
    client = native.client_engine(attrs.evolve(configs[0], insecure_skip_verify=True), "localhost")
    pump(client, native.server_engine(configs[1]))
    shown = ssl_object_of(client)
    assert shown.getpeercert() == {}
    assert shown.getpeercert(True)
    assert shown.get_verified_chain() == []


def test_before_the_handshake(client_config: ClientConfig) -> None:
    shown = ssl_object_of(get_provider("native").client_engine(client_config, "localhost"))
    with pytest.raises(ValueError, match="handshake not done yet"):
        shown.getpeercert()
    assert shown.version() is shown.cipher() is shown.selected_alpn_protocol() is shown.session_reused is None
    assert shown.get_channel_binding() is shown.shared_ciphers() is None


@pytest.mark.parametrize("call", ["do_handshake", "read", "unwrap"])
def test_drives_nothing(pair: Engines, call: str) -> None:
    with pytest.raises(ValueError, match="driven through the stream"):
        getattr(ssl_object_of(pair[0]), call)()
    with pytest.raises(ValueError, match="driven through the stream"):
        ssl_object_of(pair[0]).write(b"x")


def certificate(**parts: Any) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "AT"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Gärtnerei"),
            x509.NameAttribute(NameOID.COMMON_NAME, "example.com"),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, "a@example.com"),
            x509.NameAttribute(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), "own"),
        ]
    )
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(parts.get("serial", 0xABC))
        .not_valid_before(datetime.datetime(2026, 1, 2, 3, 4, 5))
        .not_valid_after(datetime.datetime(2036, 11, 12, 13, 14, 15))
    )
    for extension in parts.get("extensions", ()):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


EVERYTHING = [
    x509.SubjectAlternativeName(
        [
            x509.DNSName("*.example.com"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.RFC822Name("a@example.com"),
            x509.UniformResourceIdentifier("https://example.com/"),
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inside")])),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        ]
    ),
    x509.AuthorityInformationAccess(
        [
            x509.AccessDescription(
                AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.example/")
            ),
            x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/")
            ),
        ]
    ),
    x509.CRLDistributionPoints(
        [x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.example/")], None, None, None)]
    ),
]


@pytest.mark.parametrize("serial", [1, 0xF0, 0xABC, 2**159 - 1])
@pytest.mark.parametrize("extensions", [[], EVERYTHING], ids=["plain", "everything"])
def test_dictionary_is_that_of_ssl(tmp_path: Path, serial: int, extensions: list[Any]) -> None:
    made = certificate(serial=serial, extensions=extensions)
    path = tmp_path / "certificate.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    theirs = ssl._ssl._test_decode_cert(str(path))
    assert as_dictionary(made) == theirs
