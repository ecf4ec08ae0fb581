"""Cipher suites: the table, and that each cipher is the one that its name says."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from tlsprovider.config import DEFAULT_CIPHER_SUITES
from tlsprovider.crypto.suites import IV_LENGTH, SUITES, TAG_LENGTH, Suite
from tlsprovider.iana import CipherSuite

suites = pytest.mark.parametrize("suite", SUITES.values(), ids=lambda suite: suite.number.name)


def test_table_of_the_standard() -> None:
    """RFC 9846 appendix B.4; the CCM suites are not implemented."""
    assert {number: (suite.hash_name, suite.key_length, suite.aead) for number, suite in SUITES.items()} == {
        0x1301: ("sha256", 16, AESGCM),
        0x1302: ("sha384", 32, AESGCM),
        0x1303: ("sha256", 32, ChaCha20Poly1305),
    }


def test_every_default_is_implemented() -> None:
    assert set(DEFAULT_CIPHER_SUITES) <= set(SUITES)


@suites
class TestSuite:
    def test_knows_itself(self, suite: Suite) -> None:
        assert SUITES[suite.number] is suite
        assert isinstance(suite.number, CipherSuite)

    def test_hash_length(self, suite: Suite) -> None:
        assert hashlib.new(suite.hash_name).digest_size == suite.hash_length
        assert suite.hash_name.upper() in suite.number.name

    def test_cipher_takes_the_key_and_adds_the_tag(self, suite: Suite) -> None:
        aead = suite.aead(bytes(suite.key_length))
        sealed = aead.encrypt(bytes(IV_LENGTH), b"plaintext", b"header")
        assert len(sealed) == len(b"plaintext") + TAG_LENGTH
        assert aead.decrypt(bytes(IV_LENGTH), sealed, b"header") == b"plaintext"

    def test_both_ways_to_decrypt_agree(self, suite: Suite) -> None:
        aead = suite.aead(bytes(suite.key_length))
        sealed = aead.encrypt(bytes(IV_LENGTH), b"plaintext", b"header")
        target = bytearray(9)
        assert aead.decrypt_into(bytes(IV_LENGTH), memoryview(sealed), memoryview(b"header"), memoryview(target)) == 9
        assert target == b"plaintext"

    @pytest.mark.parametrize("spoil", ["nonce", "data", "tag", "header"])
    def test_everything_is_authenticated(self, suite: Suite, spoil: str) -> None:
        aead = suite.aead(bytes(suite.key_length))
        sealed = bytearray(aead.encrypt(bytes(IV_LENGTH), b"plaintext", b"header"))
        if spoil in ("data", "tag"):
            sealed[0 if spoil == "data" else -1] ^= 1
        nonce = bytes(IV_LENGTH - 1) + (b"\1" if spoil == "nonce" else b"\0")
        header = b"Header" if spoil == "header" else b"header"
        with pytest.raises(InvalidTag):
            aead.decrypt(nonce, bytes(sealed), header)
        with pytest.raises(InvalidTag):
            aead.decrypt_into(nonce, bytes(sealed), header, bytearray(9))

    def test_limit_of_a_key(self, suite: Suite) -> None:
        """Section 5.5: 2^24.5 full records with AES-GCM, the sequence numbers with ChaCha20; 2^48 epochs, 4.7.3."""
        if suite.aead is AESGCM:
            assert 1 << 20 <= suite.record_limit <= 2**24.5
        else:
            assert 1 << 20 <= suite.record_limit < 1 << 64

    def test_is_a_value(self, suite: Suite) -> None:
        with pytest.raises(AttributeError):
            suite.record_limit = 1  # type: ignore[misc]
