"""The key schedule: values of RFC 8448 section 3 as they stand there, and somebody else's HKDF as a second opinion."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from tlsprovider.crypto.schedule import (
    EarlySecret,
    HandshakeSecret,
    MainSecret,
    TrafficSecret,
    export,
    hkdf_expand_label,
)
from tlsprovider.crypto.suites import SUITES, Suite
from tlsprovider.iana import CipherSuite

SHA256 = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]
SHA384 = SUITES[CipherSuite.TLS_AES_256_GCM_SHA384]
ALGORITHMS: dict[str, type[hashes.HashAlgorithm]] = {"sha256": hashes.SHA256, "sha384": hashes.SHA384}

suites = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.number.name)

# RFC 8448 section 3, "Simple 1-RTT Handshake".
SHARED = bytes.fromhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d")
HELLO_HASH = bytes.fromhex("860c06edc07858ee8e78f0e7428c58edd6b43f2ca3e6e95f02ed063cf0e1cad8")
SERVER_FINISHED_HASH = bytes.fromhex("9608102a0f1ccc6db6250b7b7e417b1a000eaada3daae4777a7686c9ff83df13")
CLIENT_FINISHED_HASH = bytes.fromhex("209145a96ee8e2a122ff810047cc952684658d6049e86429426db87c54ad143d")


def expand_label(hash_name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label as section 7.1 writes it, over somebody else's HKDF."""
    info = length.to_bytes(2, "big") + bytes([6 + len(label)]) + b"tls13 " + label + bytes([len(context)]) + context
    return HKDFExpand(ALGORITHMS[hash_name](), length, info).derive(secret)


class TestRfc8448:
    def test_handshake_secret(self) -> None:
        assert EarlySecret(SHA256).handshake(SHARED).secret == bytes.fromhex(
            "1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"
        )

    def test_handshake_traffic(self) -> None:
        secret = EarlySecret(SHA256).handshake(SHARED)
        assert secret.client_handshake_traffic(HELLO_HASH).secret == bytes.fromhex(
            "b3eddb126e067f35a780b3abf45e2d8f3b1a950738f52e9600746a0e27a55a21"
        )
        assert secret.server_handshake_traffic(HELLO_HASH).secret == bytes.fromhex(
            "b67b7d690cc16c4e75e54213cb2d37b4e9c912bcded9105d42befd59d391ad38"
        )

    def test_main_secret(self) -> None:
        assert EarlySecret(SHA256).handshake(SHARED).main().secret == bytes.fromhex(
            "18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"
        )

    def test_application_traffic(self) -> None:
        main = EarlySecret(SHA256).handshake(SHARED).main()
        assert main.client_application_traffic(SERVER_FINISHED_HASH).secret == bytes.fromhex(
            "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
        )
        assert main.server_application_traffic(SERVER_FINISHED_HASH).secret == bytes.fromhex(
            "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
        )
        assert main.exporter(SERVER_FINISHED_HASH) == bytes.fromhex(
            "fe22f881176eda18eb8f44529e6792c50c9a3f89452f68d8ae311b4309d3cf50"
        )
        assert main.resumption(CLIENT_FINISHED_HASH) == bytes.fromhex(
            "7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c"
        )

    def test_finished(self) -> None:
        secret = EarlySecret(SHA256).handshake(SHARED).client_handshake_traffic(HELLO_HASH)
        assert secret.finished(SERVER_FINISHED_HASH) == bytes.fromhex(
            "a8ec436d677634ae525ac1fcebe11a039ec17694fac6e98527b642f2edd5ce61"
        )

    def test_keys(self) -> None:
        """The key can't be seen in the cipher, so the first record of the trace, the server's alert, is opened."""
        main = EarlySecret(SHA256).handshake(SHARED).main()
        aead, iv = main.client_application_traffic(SERVER_FINISHED_HASH).keys()
        assert iv == 0x5B78923DEE08579033E523D9
        # "complete record" of the client's application data: header, ciphertext.
        record = bytes.fromhex(
            "1703030043a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e1f5a62"
            "92a2977014bd1e3deae63aeebb21694915e4"
        )
        inner = aead.decrypt(iv.to_bytes(12, "big"), record[5:], record[:5])
        assert inner == bytes(range(50)) + b"\x17"

    def test_key_and_iv_labels(self) -> None:
        secret = bytes.fromhex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5")
        assert hkdf_expand_label("sha256", secret, b"key", b"", 16).hex() == "17422dda596ed5d9acd890e3c63f5051"
        assert hkdf_expand_label("sha256", secret, b"iv", b"", 12).hex() == "5b78923dee08579033e523d9"

    def test_resumption_of_a_ticket(self) -> None:
        secret = bytes.fromhex("7df235f2031d2a051287d02b0241b0bfdaf86cc856231f2d5aba46c434ec196c")
        assert hkdf_expand_label("sha256", secret, b"resumption", b"\0\0", 32) == bytes.fromhex(
            "4ecd0eb6ec3b4d87f5d6028f922ca4c5851a277fd41311c9e62d2c9492e1c4f3"
        )


class TestExpandLabel:
    @pytest.mark.parametrize("hash_name", ALGORITHMS)
    @pytest.mark.parametrize("length", [1, 12, 31, 32, 33, 47, 48, 49, 63, 64, 65, 96, 97, 255 * 32])
    def test_any_number_of_blocks(self, hash_name: str, length: int) -> None:
        secret = bytes(range(32))
        found = hkdf_expand_label(hash_name, secret, b"label", b"context", length)
        assert found == expand_label(hash_name, secret, b"label", b"context", length)
        assert len(found) == length

    def test_longest(self) -> None:
        assert hkdf_expand_label("sha384", b"s", b"x", b"", 255 * 48) == expand_label(
            "sha384", b"s", b"x", b"", 255 * 48
        )

    @pytest.mark.parametrize(("label", "context"), [(b"", b""), (b"x" * 249, b""), (b"", bytes(255)), (b"a", b"b")])
    def test_any_label_and_context(self, label: bytes, context: bytes) -> None:
        assert hkdf_expand_label("sha256", b"s", label, context, 32) == expand_label("sha256", b"s", label, context, 32)

    def test_length_is_part_of_what_is_hashed(self) -> None:
        """A shorter output is not the front of a longer one, however often either was asked for."""
        for _ in range(2):
            long, short = (hkdf_expand_label("sha256", b"s", b"label", b"", length) for length in (32, 16))
            assert not long.startswith(short)

    @pytest.mark.parametrize(("label", "context"), [(b"x" * 250, b""), (b"", bytes(256))])
    def test_too_long_is_our_own_mistake(self, label: bytes, context: bytes) -> None:
        with pytest.raises(OverflowError):
            hkdf_expand_label("sha256", b"s", label, context, 32)


@suites
class TestStages:
    """Every suite, against the formulas of section 7.1 written out once more."""

    def test_all_of_the_schedule(self, suite: Suite) -> None:
        name, zero = suite.hash_name, bytes(suite.hash_length)
        empty = hashlib.new(name).digest()

        def derive(secret: bytes, label: bytes, transcript_hash: bytes) -> bytes:
            return expand_label(name, secret, label, transcript_hash, suite.hash_length)

        early = hmac.digest(zero, zero, name)
        handshake = hmac.digest(derive(early, b"derived", empty), b"shared", name)
        main = hmac.digest(derive(handshake, b"derived", empty), zero, name)
        digest = hashlib.new(name, b"transcript").digest()

        stage = EarlySecret(suite).handshake(b"shared")
        assert stage.secret == handshake
        assert stage.client_handshake_traffic(digest).secret == derive(handshake, b"c hs traffic", digest)
        assert stage.server_handshake_traffic(digest).secret == derive(handshake, b"s hs traffic", digest)
        last = stage.main()
        assert last.secret == main
        assert last.client_application_traffic(digest).secret == derive(main, b"c ap traffic", digest)
        assert last.server_application_traffic(digest).secret == derive(main, b"s ap traffic", digest)
        assert last.exporter(digest) == derive(main, b"exp master", digest)
        assert last.resumption(digest) == derive(main, b"res master", digest)

    def test_update(self, suite: Suite) -> None:
        """Section 7.2, twice: each generation comes from the one before."""
        secret = TrafficSecret(suite, b"\x01" * suite.hash_length)
        for _ in range(2):
            expected = expand_label(suite.hash_name, secret.secret, b"traffic upd", b"", suite.hash_length)
            secret = secret.successor()
            assert (secret.suite, secret.secret) == (suite, expected)

    def test_finished(self, suite: Suite) -> None:
        secret = TrafficSecret(suite, b"\x02" * suite.hash_length)
        key = expand_label(suite.hash_name, secret.secret, b"finished", b"", suite.hash_length)
        verify_data = secret.finished(b"digest")
        assert verify_data == hmac.digest(key, b"digest", suite.hash_name)
        assert len(verify_data) == suite.hash_length

    def test_keys(self, suite: Suite) -> None:
        secret = TrafficSecret(suite, b"\x03" * suite.hash_length)
        key = expand_label(suite.hash_name, secret.secret, b"key", b"", suite.key_length)
        iv = expand_label(suite.hash_name, secret.secret, b"iv", b"", 12)
        aead, number = secret.keys()
        assert number.to_bytes(12, "big") == iv
        assert suite.aead(key).decrypt(iv, aead.encrypt(iv, b"data", b"header"), b"header") == b"data"

    def test_secrets_are_shown_nowhere(self, suite: Suite) -> None:
        handshake = EarlySecret(suite).handshake(b"shared")
        for secret in (handshake, handshake.main(), handshake.client_handshake_traffic(b"")):
            for text in (repr(secret), str(secret), f"{secret}"):
                assert repr(secret.secret)[2:-1] not in text
                assert secret.secret.hex() not in text
                assert "secret=" not in text


def test_a_later_key_cannot_be_asked_from_an_earlier_stage() -> None:
    public = {
        stage: {name for name in dir(stage) if not name.startswith("_")} - {"suite", "secret"}
        for stage in (EarlySecret, HandshakeSecret, MainSecret, TrafficSecret)
    }
    assert public == {
        EarlySecret: {"of_psk", "binder", "client_early_traffic", "handshake"},
        HandshakeSecret: {"client_handshake_traffic", "server_handshake_traffic", "main"},
        MainSecret: {"client_application_traffic", "server_application_traffic", "exporter", "resumption"},
        TrafficSecret: {"keys", "successor", "finished"},
    }


class TestExport:
    @suites
    @pytest.mark.parametrize("length", [1, 32, 100, 255 * 32])
    def test_formula(self, suite: Suite, length: int) -> None:
        """Section 7.5."""
        name = suite.hash_name
        secret = bytes(suite.hash_length)
        derived = expand_label(name, secret, b"EXPERIMENTAL x", hashlib.new(name).digest(), suite.hash_length)
        expected = expand_label(name, derived, b"exporter", hashlib.new(name, b"context").digest(), length)
        assert export(suite, secret, b"EXPERIMENTAL x", b"context", length) == expected

    def test_everything_counts(self) -> None:
        secret = bytes(48)
        outputs = {
            export(SHA384, secret, b"a", b"", 32),
            export(SHA384, secret, b"b", b"", 32),
            export(SHA384, secret, b"a", b"context", 32),
            export(SHA384, b"\x01" + secret[1:], b"a", b"", 32),
            export(SHA384, secret, b"a", b"", 33)[:32],
        }
        assert len(outputs) == 5

    def test_context_of_any_length(self) -> None:
        """It is hashed first, so it may be longer than what HKDF takes."""
        assert len(export(SHA256, bytes(32), b"a", bytes(100_000), 32)) == 32
