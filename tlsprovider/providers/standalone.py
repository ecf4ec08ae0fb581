"""A genuine ``OpenSSL.SSL.Context`` that needs nothing of us afterwards, for callers that can do nothing with less.

It allows, shows and believes what the configuration says, and OpenSSL decides. What OpenSSL can't decide (a hook, a
pin) is refused, never left out. Two things that such a context has no place for are done in its callbacks: the name to
ask the server for, and whether the certificate is for that name.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import matches_name, parse_server_name, sni_name
from tlsprovider.errors import UnsupportedByProvider
from tlsprovider.identity_directory import IdentityDirectory
from tlsprovider.providers.contexts import make_context, verify_mode
from tlsprovider.providers.openssl import provider
from tlsprovider.providers.shared import check_name

if TYPE_CHECKING:
    from tlsprovider.identity import Identity
    from tlsprovider.trust import TrustStore

__all__ = ["make_standalone_context"]


def make_standalone_context(config: ClientConfig | ServerConfig, hostname: str | None) -> SSL.Context:
    """A context whose connections need nothing else of us. Raises :exc:`ConfigError` for what it can't do."""
    provider.insist(config)
    for wish in _not_for_contexts(config):
        raise UnsupportedByProvider(wish, "OpenSSL.SSL.Context", "the connections that a ContextFactory makes")
    if isinstance(config, ServerConfig):
        return _server_context(config)
    check_name(config, hostname)
    context = make_context(config, config.identity)
    _keep_log(context, config)
    if hostname is not None:
        context.set_info_callback(_ask_for(hostname))
    if not config.insecure_skip_verify:
        assert hostname is not None, "check_name has seen to it"
        _trust(context, config.trust)
        context.set_verify(SSL.VERIFY_PEER, _insist_on(hostname))
    return context


def _not_for_contexts(config: ClientConfig | ServerConfig) -> Iterator[str]:
    """What the provider ``openssl`` can do only because something stands around its contexts."""
    for field in ("choose_identity", "verify_peer", "on_client_hello", "on_event"):
        if getattr(config, field, None) is not None:
            yield f"the hook {field}"
    if config.clock is not time.time:
        yield "a clock of one's own"
    if isinstance(config, ServerConfig) and isinstance(config.identities, IdentityDirectory):
        yield "a directory of identities, which changes,"
    if config.trust is not None and not config.trust.needs_name:
        yield "pinned keys"


def _server_context(config: ServerConfig) -> SSL.Context:
    """One for each identity; the name that a client asks for decides between them, as far as it can."""
    contexts = []
    seen: set[str] = set()
    for identity in config.identities:
        if not seen.isdisjoint(identity.names):
            raise UnsupportedByProvider("a choice between two identities for the same name", "OpenSSL.SSL.Context")
        seen.update(identity.names)
        context = make_context(config, identity)
        _keep_log(context, config)
        if config.client_auth != "none" and not config.insecure_skip_verify:
            assert config.trust is not None, "ServerConfig refuses client_auth without trust"
            _trust(context, config.trust)
            context.set_verify(verify_mode(config), _as_openssl_says)
        contexts.append(context)
    if len(contexts) > 1:
        contexts[0].set_tlsext_servername_callback(_choose_by_name(config.identities, contexts))
    return contexts[0]


def _choose_by_name(identities: Sequence[Identity], contexts: Sequence[SSL.Context]) -> Any:
    others = list(zip(identities, contexts, strict=True))[1:]
    first = identities[0]

    def choose(connection: SSL.Connection) -> None:
        name = (connection.get_servername() or b"").decode("ascii", "replace")
        if name and not first.matches(name):
            for identity, context in others:
                if identity.matches(name):
                    connection.set_context(context)
                    return

    return choose


def _trust(context: SSL.Context, trust: TrustStore) -> None:
    store = context.get_cert_store()
    assert store is not None, "every context has one"
    # As we have it: what is in the trust store is believed as it is, also where it is no root.
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    for certificate in trust.certificates:
        store.add_cert(X509.from_cryptography(certificate))


def _as_openssl_says(connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
    return bool(ok)


def _insist_on(hostname: str) -> Any:
    """What OpenSSL says, and the name: pyOpenSSL can't tell a context whom to expect."""
    subject = parse_server_name(hostname)

    def verify(connection: SSL.Connection, certificate: X509, error: int, depth: int, ok: int) -> bool:
        return bool(ok) and (depth > 0 or matches_name(certificate.to_cryptography(), subject))

    return verify


def _ask_for(hostname: str) -> Any:
    """SNI, which is a connection's: set when its handshake begins. SSL_CTX_set_info_callback(3)."""
    name = sni_name(hostname)

    def begin(connection: SSL.Connection, where: int, _: int) -> None:
        if where & SSL.SSL_CB_HANDSHAKE_START and name is not None:
            connection.set_tlsext_host_name(name.encode("ascii"))

    return begin


def _keep_log(context: SSL.Context, config: ClientConfig | ServerConfig) -> None:
    keylog = config.keylog
    if keylog is not None:

        def keep(_: SSL.Connection, line: bytes) -> None:
            keylog(line.decode("ascii"))

        context.set_keylog_callback(keep)
