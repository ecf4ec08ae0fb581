"""Records made by hand, as the standard writes them, without ``RecordWriter``; also those that nobody should send."""

from __future__ import annotations

from tlsprovider.crypto.schedule import TrafficSecret
from tlsprovider.crypto.suites import SUITES
from tlsprovider.iana import CipherSuite

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23
COMPATIBILITY_MARK = bytes.fromhex("140303000101")
CLOSE_NOTIFY = b"\x01\x00"

SUITE = SUITES[CipherSuite.TLS_AES_128_GCM_SHA256]
SECRET = TrafficSecret(SUITE, b"\x5e" * SUITE.hash_length)
OTHER_SECRET = TrafficSecret(SUITE, b"\x6f" * SUITE.hash_length)


def plain(kind: int, content: bytes, version: int = 0x0303) -> bytes:
    """TLSPlaintext, RFC 9846 section 5.1."""
    return bytes([kind]) + version.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


class Sealer:
    """Protects records under ``secret``, sections 5.2 and 5.3; every record uses up a sequence number."""

    def __init__(self, secret: TrafficSecret = SECRET) -> None:
        self.sequence = 0
        self._aead, iv = secret.keys()
        self._iv = iv.to_bytes(12, "big")

    def inner(self, inner: bytes, version: int = 0x0303, outer: int = DATA) -> bytes:
        """A record around a whole TLSInnerPlaintext, whatever it says."""
        header = bytes([outer]) + version.to_bytes(2, "big") + (len(inner) + 16).to_bytes(2, "big")
        sequence = self.sequence.to_bytes(12, "big")
        self.sequence += 1
        nonce = bytes(a ^ b for a, b in zip(self._iv, sequence, strict=True))
        return header + self._aead.encrypt(nonce, inner, header)

    def record(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        return self.inner(content + bytes([kind]) + bytes(padding))
