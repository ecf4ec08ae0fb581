"""``OpenSSL.SSL.Context`` from our configurations: what every such context has, whoever it is for.

The provider ``openssl`` lets us decide about peers, so its contexts verify nothing. Callers that want a context in
place of a connection of ours get one that verifies by itself: :mod:`tlsprovider.providers.standalone`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from OpenSSL import SSL

from tlsprovider.config import DEFAULT_GROUPS, ClientConfig, ServerConfig
from tlsprovider.crypto.handover import CURVES
from tlsprovider.errors import ConfigError, Fault, PeerFault
from tlsprovider.handshake.server import MAX_AUTHORITIES_LENGTH
from tlsprovider.iana import ProtocolVersion
from tlsprovider.providers.shared import tls12_ciphers

if TYPE_CHECKING:
    from tlsprovider.identity import Identity

__all__ = ["make_context", "verify_mode"]

VERSIONS: Final = {
    ProtocolVersion.TLSv1_2: SSL.TLS1_2_VERSION,
    ProtocolVersion.TLSv1_3: SSL.TLS1_3_VERSION,
}
OPTIONS: Final = SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE


def make_context(config: ClientConfig | ServerConfig, identity: Identity | None) -> SSL.Context:
    """A context that takes any certificate.

    Nothing in it refers to the configuration, which has to be able to go first. Raises :exc:`ConfigError` for what
    OpenSSL doesn't accept.
    """
    is_server = isinstance(config, ServerConfig)
    context = SSL.Context(SSL.TLS_SERVER_METHOD if is_server else SSL.TLS_CLIENT_METHOD)
    try:
        context.set_min_proto_version(VERSIONS[config.min_version])
        context.set_max_proto_version(VERSIONS[config.max_version])
        context.set_options(OPTIONS)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        # A resumption would bring along a peer that an older configuration has believed.
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_tls13_ciphersuites(":".join(map(str, config.cipher_suites)).encode("ascii"))
        context.set_cipher_list(tls12_ciphers(config.cipher_suites).encode("ascii"))
        if config.groups != DEFAULT_GROUPS:
            context.set_tmp_ecdh(CURVES[config.groups[0]])
        if identity is not None:
            _show(context, identity)
        if isinstance(config, ServerConfig):
            _set_up_server(context, config)
        elif config.alpn:
            context.set_alpn_protos([name.encode("latin-1") for name in config.alpn])
    except (SSL.Error, ValueError, TypeError) as problem:
        raise ConfigError(f"OpenSSL does not accept this configuration: {problem}") from None
    return context


def _show(context: SSL.Context, identity: Identity) -> None:
    context.use_certificate(identity.certificates[0])
    for certificate in identity.certificates[1:]:
        context.add_extra_chain_cert(certificate)
    assert identity.private_key is not None, "an external identity was refused"
    context.use_privatekey(identity.private_key)  # type: ignore[arg-type]  # Ed448, X25519... are refused by OpenSSL


def _set_up_server(context: SSL.Context, config: ServerConfig) -> None:
    if config.client_auth != "none":
        context.set_verify(verify_mode(config), _take_any_certificate)
        subjects = config.trust.subjects if config.trust is not None else ()
        if config.trust is not None and sum(len(subject) + 2 for subject in subjects) <= MAX_AUTHORITIES_LENGTH:
            for certificate in config.trust.certificates:
                context.add_client_ca(certificate)
    if config.alpn:
        names = [name.encode("latin-1") for name in config.alpn]

        def choose(_: SSL.Connection, offered: list[bytes]) -> bytes:
            for name in names:
                if name in offered:
                    return name
            # pyOpenSSL makes an alert of it, and raises it out of do_handshake().
            raise SSL.Error([("tlsprovider", Fault.NO_COMMON_ALPN.name, str(PeerFault(Fault.NO_COMMON_ALPN)))])

        context.set_alpn_select_callback(choose)


def verify_mode(config: ServerConfig) -> int:
    required = SSL.VERIFY_FAIL_IF_NO_PEER_CERT if config.client_auth == "require" else 0
    return SSL.VERIFY_PEER | required


def _take_any_certificate(*_: object) -> bool:
    """OpenSSL asks a client for a certificate only if it may verify it. Somebody else judges instead."""
    return True
