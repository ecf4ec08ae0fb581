"""The key schedule of RFC 9846 section 7.1, one small type for each stage.

              0
              |
    PSK ->  HKDF-Extract = Early Secret              EarlySecret
              |
        Derive-Secret(., "derived", "")
              |
    (EC)DHE -> HKDF-Extract = Handshake Secret       HandshakeSecret
              |
        Derive-Secret(., "derived", "")
              |
    0  ->   HKDF-Extract = Main Secret               MainSecret

A key of a later stage can't be asked from an earlier one, because the method isn't there. HKDF (RFC 5869) is written
out here over the standard library's hashes: every output but a long exporter's is a single block, and a call that makes
an object, or looks something up, would cost more than the hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from tlsprovider.crypto.suites import AEAD, IV_LENGTH, Suite

__all__ = [
    "EarlySecret",
    "HandshakeSecret",
    "MainSecret",
    "TrafficSecret",
    "export",
    "hkdf_expand_label",
    "import_psk",
    "resumption_psk",
]


# The hash and the length of its block in bytes.
_HASHES: Final = {"sha256": (hashlib.sha256, 64), "sha384": (hashlib.sha384, 128)}
_INNER_PAD: Final = bytes(number ^ 0x36 for number in range(256))
_OUTER_PAD: Final = bytes(number ^ 0x5C for number in range(256))


def _hmac(hash_name: str, key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104), for a key that is no longer than a block of the hash.

    ``hmac.digest`` has OpenSSL look up the MAC and the hash by name each time, which takes longer than the hashing;
    twenty of these are computed on each side of a handshake. Where one key is used several times in a row its two
    paddings are made once, and the last line below is repeated: in :meth:`TrafficSecret.keys` and in ``_Stage``.
    """
    hash_of, block = _HASHES[hash_name]
    assert len(key) <= block, "a longer key would have to be hashed first"
    padded = key.ljust(block, b"\0")
    return hash_of(padded.translate(_OUTER_PAD) + hash_of(padded.translate(_INNER_PAD) + data).digest()).digest()


def _extract(hash_name: str, salt: bytes, key: bytes) -> bytes:
    return _hmac(hash_name, salt, key)


def _label(label: bytes, length: int, context_length: int) -> bytes:
    """The front of an HkdfLabel: everything but the context itself."""
    full = b"tls13 " + label
    return length.to_bytes(2, "big") + len(full).to_bytes(1, "big") + full + context_length.to_bytes(1, "big")


def hkdf_expand_label(hash_name: str, secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """HKDF-Expand-Label of section 7.1; ``length`` in bytes, at most 255 times the hash's."""
    info = _label(label, length, len(context)) + context
    output = block = _hmac(hash_name, secret, info + b"\x01")
    if len(output) == length:
        return output
    counter = 2
    while len(output) < length:
        block = _hmac(hash_name, secret, block + info + counter.to_bytes(1, "big"))
        output += block
        counter += 1
    return output[:length]


@lru_cache(maxsize=8)
def empty_hash(hash_name: str) -> bytes:
    """Transcript-Hash("")."""
    return hashlib.new(hash_name).digest()


@lru_cache(maxsize=8)
def _early_without_psk(hash_name: str, length: int) -> bytes:
    """The same for every full handshake, so it is derived once: Derive-Secret(Early Secret, "derived", "")."""
    early = _extract(hash_name, bytes(length), bytes(length))
    return hkdf_expand_label(hash_name, early, b"derived", empty_hash(hash_name), length)


# What HKDF-Expand hashes for its first block, as far as it is known beforehand; by the length of what is derived.
_KEY: Final = {length: _label(b"key", length, 0) + b"\x01" for length in (16, 32)}
_IV: Final = _label(b"iv", IV_LENGTH, 0) + b"\x01"
_FINISHED: Final = {length: _label(b"finished", length, 0) + b"\x01" for length in (32, 48)}


class TrafficSecret:
    """The secret that protects one direction: keys come out of it (section 7.3), and its successor (7.2)."""

    __slots__ = ("secret", "suite")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self.secret = secret

    def keys(self) -> tuple[AEAD, int]:
        """``(cipher, initialization vector as a number)``."""
        # One block each, so HKDF-Expand-Label is a single HMAC; this runs eight times in a handshake.
        suite = self.suite
        hash_of, length = suite.hash, suite.key_length
        padded = self.secret.ljust(suite.block_length, b"\0")
        inner, outer = padded.translate(_INNER_PAD), padded.translate(_OUTER_PAD)
        key = hash_of(outer + hash_of(inner + _KEY[length]).digest()).digest()[:length]
        iv = hash_of(outer + hash_of(inner + _IV).digest()).digest()[:IV_LENGTH]
        return suite.aead(key), int.from_bytes(iv, "big")

    def successor(self) -> TrafficSecret:
        """application_traffic_secret_N+1, section 7.2."""
        suite = self.suite
        return TrafficSecret(
            suite, hkdf_expand_label(suite.hash_name, self.secret, b"traffic upd", b"", suite.hash_length)
        )

    def finished(self, transcript_hash: bytes) -> bytes:
        """verify_data of the Finished message that this secret's owner sends (section 4.5.3)."""
        suite = self.suite
        key = _hmac(suite.hash_name, self.secret, _FINISHED[suite.hash_length])
        return _hmac(suite.hash_name, key, transcript_hash)


_Labels = Mapping[int, bytes]


def _labels(label: bytes) -> _Labels:
    """The front of what Derive-Secret hashes with this label, by the length of the hash."""
    return {length: _label(label, length, length) for length in (32, 48)}


_DERIVED: Final = _labels(b"derived")
_CLIENT_EARLY: Final = _labels(b"c e traffic")
_CLIENT_HANDSHAKE: Final = _labels(b"c hs traffic")
_SERVER_HANDSHAKE: Final = _labels(b"s hs traffic")
_CLIENT_APPLICATION: Final = _labels(b"c ap traffic")
_SERVER_APPLICATION: Final = _labels(b"s ap traffic")
_EXPORTER: Final = _labels(b"exp master")
_RESUMPTION: Final = _labels(b"res master")


class _Stage:
    """What the stages share: a suite and its secret, ready to be the key of several HMACs."""

    __slots__ = ("_inner", "_outer", "secret", "suite")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        self.suite = suite
        self.secret = secret
        padded = secret.ljust(suite.block_length, b"\0")
        self._inner = padded.translate(_INNER_PAD)
        self._outer = padded.translate(_OUTER_PAD)

    def _derive(self, labels: _Labels, transcript_hash: bytes) -> bytes:
        """Derive-Secret, section 7.1, with the transcript hashed already."""
        suite = self.suite
        hash_of = suite.hash
        inner = hash_of(self._inner + labels[suite.hash_length] + transcript_hash + b"\x01").digest()
        return hash_of(self._outer + inner).digest()


class MainSecret(_Stage):
    """The last stage: application data, exporters, resumption."""

    __slots__ = ()

    def client_application_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return TrafficSecret(self.suite, self._derive(_CLIENT_APPLICATION, transcript_hash))

    def server_application_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return TrafficSecret(self.suite, self._derive(_SERVER_APPLICATION, transcript_hash))

    def exporter(self, transcript_hash: bytes) -> bytes:
        return self._derive(_EXPORTER, transcript_hash)

    def resumption(self, transcript_hash: bytes) -> bytes:
        return self._derive(_RESUMPTION, transcript_hash)


def resumption_psk(suite: Suite, resumption_secret: bytes, nonce: bytes) -> bytes:
    """The pre-shared key of a ticket with this nonce, section 4.7.1."""
    return hkdf_expand_label(suite.hash_name, resumption_secret, b"resumption", nonce, suite.hash_length)


class HandshakeSecret(_Stage):
    """The middle stage: protects the rest of the handshake."""

    __slots__ = ()

    def client_handshake_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return TrafficSecret(self.suite, self._derive(_CLIENT_HANDSHAKE, transcript_hash))

    def server_handshake_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        return TrafficSecret(self.suite, self._derive(_SERVER_HANDSHAKE, transcript_hash))

    def main(self) -> MainSecret:
        suite = self.suite
        salt = self._derive(_DERIVED, empty_hash(suite.hash_name))
        return MainSecret(suite, _extract(suite.hash_name, salt, bytes(suite.hash_length)))


class EarlySecret(_Stage):
    """The first stage. Without a pre-shared key it holds nothing secret and is the same for everybody.

    ``secret`` is then empty, and nothing but :meth:`handshake` is of use.
    """

    __slots__ = ()

    def __init__(self, suite: Suite, secret: bytes = b"") -> None:
        super().__init__(suite, secret)

    @classmethod
    def of_psk(cls, suite: Suite, psk: bytes) -> EarlySecret:
        return cls(suite, _extract(suite.hash_name, bytes(suite.hash_length), psk))

    def binder(self, label: bytes, transcript_hash: bytes) -> bytes:
        """The proof of holding the key, section 4.3.11.2. ``label``: which kind of key it is, section 7.1."""
        suite = self.suite
        key = self._derive(_BINDERS[label], empty_hash(suite.hash_name))
        return TrafficSecret(suite, key).finished(transcript_hash)

    def client_early_traffic(self, transcript_hash: bytes) -> TrafficSecret:
        """``transcript_hash``: of the ClientHello alone."""
        return TrafficSecret(self.suite, self._derive(_CLIENT_EARLY, transcript_hash))

    def handshake(self, shared_secret: bytes) -> HandshakeSecret:
        """Mix in the secret of the key exchange (section 7.4)."""
        suite = self.suite
        name = suite.hash_name
        salt = self._derive(_DERIVED, empty_hash(name)) if self.secret else _early_without_psk(name, suite.hash_length)
        return HandshakeSecret(suite, _extract(name, salt, shared_secret))


# Section 7.1: the label under which a binder is made tells tickets, external keys and imported keys (RFC 9258) apart.
RESUMPTION_BINDER: Final = b"res binder"
EXTERNAL_BINDER: Final = b"ext binder"
IMPORTED_BINDER: Final = b"imp binder"
_BINDERS: Final = {label: _labels(label) for label in (RESUMPTION_BINDER, EXTERNAL_BINDER, IMPORTED_BINDER)}


def import_psk(hash_name: str, secret: bytes, imported_identity: bytes, length: int) -> bytes:
    """RFC 9258 section 4.1: the key that stands for an external one, of ``length`` bytes."""
    extracted = _extract(hash_name, bytes(hashlib.new(hash_name).digest_size), secret)
    context = hashlib.new(hash_name, imported_identity).digest()
    return hkdf_expand_label(hash_name, extracted, b"derived psk", context, length)


EXPORTER_LABEL: Final = b"exporter"


def export(suite: Suite, exporter_secret: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """TLS-Exporter, section 7.5. An absent context is an empty one."""
    name = suite.hash_name
    secret = hkdf_expand_label(name, exporter_secret, label, empty_hash(name), suite.hash_length)
    return hkdf_expand_label(name, secret, EXPORTER_LABEL, hashlib.new(name, context).digest(), length)
