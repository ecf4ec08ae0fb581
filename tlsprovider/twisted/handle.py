"""What there is to know about a connection, in the words of ``OpenSSL.SSL.Connection``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from OpenSSL.crypto import X509

from tlsprovider.crypto.certificates import sni_name
from tlsprovider.errors import TLSError
from tlsprovider.iana import ProtocolVersion
from tlsprovider.providers.shared import openssl_name
from tlsprovider.twisted.openssl_failures import as_openssl_error

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

    from tlsprovider.interfaces import IEngine

__all__ = ["Handle"]


class Handle:
    """The part of :class:`~tlsprovider.twisted.pyopenssl.Connection` that only tells.

    Certificates are genuine objects of pyOpenSSL, or of ``cryptography`` with ``as_cryptography=True``. What is not
    known before the handshake is complete is None until then. Public attributes of the engine that have no other
    meaning here can be read as well: ``cipher``, ``group``, ``peer_certificates`` and the others.
    """

    engine: IEngine

    if not TYPE_CHECKING:
        # For isinstance: programs ask whether they got pyOpenSSL's connection, and then ask it what Handle can tell.
        __class__ = property(lambda self: SSL.Connection)

    def __init__(self, engine: IEngine, get_context: Callable[[], SSL.Context] | None = None) -> None:
        self.engine = engine
        self._get_context = get_context

    def __repr__(self) -> str:
        return f"<{type(self).__name__} around {self.engine!r}>"

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            try:
                return getattr(self.engine, name)
            except AttributeError:
                pass
            if hasattr(SSL.Connection, name):
                raise AttributeError(
                    f"{name}: this stands for an OpenSSL.SSL.Connection, but nothing of it is to be set or had this"
                    " way: what a connection may do is in its ClientConfig or ServerConfig"
                )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_context(self) -> SSL.Context:
        """An equivalent genuine context. Raises ``ConfigError`` where there can't be one, and for a bare handle."""
        if self._get_context is None:
            raise AttributeError("get_context: this connection was made without an OpenSSL.SSL.Context")
        return self._get_context()

    # -- certificates -------------------------------------------------------------------------------------------------

    def get_peer_certificate(self, *, as_cryptography: bool = False) -> Any:
        """The peer's certificate, or None."""
        return _leaf(self.engine.peer_certificates, as_cryptography)

    def get_peer_cert_chain(self, *, as_cryptography: bool = False) -> Any:
        """The peer's chain as it sent it, leaf first, on both sides; or None."""
        return _chain(self.engine.peer_certificates, as_cryptography)

    def get_verified_chain(self, *, as_cryptography: bool = False) -> Any:
        """The chain as it was verified, leaf to root; None if nothing was verified."""
        return _chain(self.engine.verified_chain, as_cryptography)

    def get_certificate(self, *, as_cryptography: bool = False) -> Any:
        """The certificate that this side has shown, or None."""
        return _leaf(self.engine.local_certificates, as_cryptography)

    # pyOpenSSL has no such method, so Certificate.hostFromTransport of stock Twisted never finds one.
    get_host_certificate = get_certificate

    # -- what was negotiated ------------------------------------------------------------------------------------------

    def get_alpn_proto_negotiated(self) -> bytes:
        """The application protocol; ``b""`` if there is none."""
        name = self.engine.alpn
        return b"" if name is None else name.encode("latin-1")

    def get_servername(self) -> bytes | None:
        """The name in the client's hello, on both sides; None for none, as for an address."""
        name = self.engine.server_name
        name = name if name is None or self.engine.is_server else sni_name(name)
        return None if name is None else name.encode("ascii")

    def get_cipher_name(self) -> str | None:
        """The cipher suite by OpenSSL's name; that of IANA in TLS 1.3."""
        cipher = self.engine.cipher
        return None if cipher is None else openssl_name(cipher)

    def get_cipher_bits(self) -> int | None:
        cipher = self.engine.cipher
        return None if cipher is None else 128 if "_128_" in cipher else 256

    def get_cipher_version(self) -> str | None:
        return self.engine.version

    def get_protocol_version_name(self) -> str:
        return self.engine.version or "TLSv1.3"

    def get_protocol_version(self) -> int:
        return int(ProtocolVersion.parse(self.get_protocol_version_name()))

    def get_group_name(self) -> str | None:
        return self.engine.group

    def get_selected_srtp_profile(self) -> bytes:
        return b""

    def get_finished(self) -> bytes | None:
        """The content of the Finished that this side has sent; None where the engine doesn't tell."""
        return getattr(self.engine, "finished", None)

    def get_peer_finished(self) -> bytes | None:
        """The content of the peer's Finished; None where the engine doesn't tell."""
        return getattr(self.engine, "peer_finished", None)

    def export_keying_material(self, label: bytes, olen: int, context: bytes | None = None) -> bytes:
        """``olen`` bytes, the same on both sides for the same label and context (RFC 9846 section 7.5).

        Raises :exc:`~tlsprovider.twisted.pyopenssl.ConnectionFailed` before the handshake is complete.
        """
        try:
            return self.engine.export_keying_material(label.decode("utf-8"), context or b"", olen)
        except TLSError as problem:
            raise as_openssl_error(problem) from problem

    def get_session(self) -> None:
        """None: a session of ours is not one of OpenSSL's."""

    # -- how it is doing ----------------------------------------------------------------------------------------------

    def pending(self) -> int:
        """Decrypted bytes that ``recv`` would give at once."""
        return self.engine.pending

    def get_shutdown(self) -> int:
        """``SENT_SHUTDOWN``, ``RECEIVED_SHUTDOWN``, both or 0."""
        sent = SSL.SENT_SHUTDOWN if self.engine.close_sent else 0
        return sent | (SSL.RECEIVED_SHUTDOWN if self.engine.close_received else 0)

    def get_state_string(self) -> bytes:
        """The step of the handshake, as ``read server hello``."""
        return self.engine.state.replace("_", " ").encode("ascii")

    def renegotiate(self) -> bool:
        """False: there is no such thing in TLS 1.3."""
        return False

    def renegotiate_pending(self) -> bool:
        return False

    def total_renegotiations(self) -> int:
        return 0


def _leaf(chain: tuple[Any, ...], as_cryptography: bool) -> X509 | Certificate | None:
    return _certificate(chain[0], as_cryptography) if chain else None


def _chain(chain: tuple[Any, ...], as_cryptography: bool) -> list[X509 | Certificate] | None:
    return [_certificate(one, as_cryptography) for one in chain] or None


def _certificate(certificate: Certificate, as_cryptography: bool) -> X509 | Certificate:
    return certificate if as_cryptography else X509.from_cryptography(certificate)
