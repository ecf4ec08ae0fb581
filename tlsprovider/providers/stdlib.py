"""The provider ``stdlib``: Python's own :mod:`ssl`, and so the system's OpenSSL with the system's policy.

``ssl`` lets little be chosen, and tells little. What it can't do is refused; ``docs/providers.md`` has the list. How
decisions and certificates are dealt with is told in :mod:`tlsprovider.providers.gate`. In two cases OpenSSL judges the
peer as well:

* A server that asks for certificates: ``ssl`` can't ask without verifying. What it accepts is then held against our
  trust store too, so a client has to pass both.
* A client with an ``SSLContext`` that somebody else has set up, as `truststore` does to leave the judgement to the
  operating system: ``StdlibProvider(truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT))`` is a provider that uses it as it
  is. Its settings count; a configuration that says otherwise is refused.
"""

from __future__ import annotations

import re
import secrets
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from zope.interface import implementer

from tlsprovider.config import DEFAULT_GROUPS, ClientConfig, ServerConfig
from tlsprovider.crypto.certificates import parse_server_name
from tlsprovider.crypto.handover import CURVES, key_pem, pem
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import ClosedByPeer, ConfigError, TLSError
from tlsprovider.handshake.steps import per_config
from tlsprovider.iana import NamedGroup, ProtocolVersion
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers.engine import LibraryEngine
from tlsprovider.providers.features import asked, asked_of_identity, check_side, insist
from tlsprovider.providers.gate import ClientGate, Gate, ServerGate
from tlsprovider.providers.library import LibrarySilent
from tlsprovider.providers.openssl_errors import certificate_fault, failure, reason_of
from tlsprovider.providers.shared import MAX_PLAINTEXT, PerPair, check_name, iana_name, named, tls12_ciphers
from tlsprovider.trust import TrustStore

if TYPE_CHECKING:
    from tlsprovider.crypto.schedule import TrafficSecret
    from tlsprovider.identity import Identity
    from tlsprovider.providers.library import Library

__all__ = ["StdlibProvider", "provider"]

FEATURES: Final = frozenset(
    {
        "TLSv1.3",
        "TLSv1.2",
        "ClientHelloReceived",
        "ChooseIdentity",
        "VerifyPeer",
        "alpn",
        "client_auth",
        "clock",
        "on_event",
        "half_close",
    }
)
# What is left when the context is somebody else's: the rest is that context's business.
WITH_READY_CONTEXT: Final = frozenset({"TLSv1.3", "TLSv1.2", "VerifyPeer", "on_event", "half_close"})

# What depends on the system's OpenSSL, and since which version it is there.
SINCE: Final = {
    "X25519MLKEM768": (3, 5),
    "mldsa44": (3, 5),
    "mldsa65": (3, 5),
    "mldsa87": (3, 5),
    "identity.mldsa": (3, 5),
}
NEGOTIABLE: Final = (*DEFAULT_GROUPS, NamedGroup.x448, *SUITES, *HANDSHAKE_SCHEMES)
VERSIONS: Final = {
    ProtocolVersion.TLSv1_2: ssl.TLSVersion.TLSv1_2,
    ProtocolVersion.TLSv1_3: ssl.TLSVersion.TLSv1_3,
}
OPTIONS: Final = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE

# SSLContext.set_ecdh_curve() takes OpenSSL's short names. Those of X25519 and X448 since OpenSSL 3.0.
CURVE_NAMES: Final = {
    NamedGroup.secp256r1: "prime256v1",
    NamedGroup.secp384r1: "secp384r1",
    NamedGroup.secp521r1: "secp521r1",
    NamedGroup.x25519: "X25519",
    NamedGroup.x448: "X448",
}
CLIENT_AUTH: Final = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}


class StdlibConnection:
    """:class:`~tlsprovider.providers.library.Library` over one ``ssl.SSLObject``."""

    def __init__(
        self, context: ssl.SSLContext, is_server: bool, name: str | None, verifies: bool, group: str | None
    ) -> None:
        self.verifies = verifies
        self._group = group
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        try:
            self._object = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server, server_hostname=name)
        except (ssl.SSLError, ValueError) as problem:
            raise ConfigError(f"ssl does not accept this configuration: {problem}") from None

    # -- the handshake ---------------------------------------------------------------------------------------------

    def feed(self, record: bytes | memoryview) -> None:
        self._incoming.write(record)

    def handshake(self) -> bool:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        except ssl.SSLZeroReturnError:
            raise ClosedByPeer from None
        except ssl.SSLCertVerificationError as error:
            raise certificate_fault(error.verify_code, error.verify_message) from None
        except ssl.SSLError as error:
            raise _failure(error) from None
        return True

    def peer_certificates(self) -> Sequence[bytes]:
        return self._chain("get_unverified_chain")

    def verified_chain(self) -> Sequence[bytes]:
        return self._chain("get_verified_chain") if self.verifies else ()

    def _chain(self, method: str) -> Sequence[bytes]:
        """A method of SSLObject since Python 3.13; before, only of what is behind it."""
        public: Any = getattr(self._object, method, None)
        if public is not None:
            return public() or ()
        inner: Any = self._object
        # Where a client has no certificate it is a list of None.
        found = filter(None, getattr(inner._sslobj, method)() or ())
        return [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found]

    def stapled(self) -> tuple[bytes | None, tuple[bytes, ...]]:
        return None, ()

    def alert_secret(self) -> TrafficSecret | None:
        return None

    def release_secrets(self) -> None:
        """There are none."""

    # -- bytes -----------------------------------------------------------------------------------------------------

    def outgoing(self) -> bytes:
        return self._outgoing.read()

    def read(self) -> bytes:
        try:
            return self._object.read(MAX_PLAINTEXT)
        except ssl.SSLWantReadError:
            raise LibrarySilent from None
        except ssl.SSLZeroReturnError:
            return b""
        except ssl.SSLError as error:
            raise _failure(error) from None

    def write(self, data: memoryview) -> None:
        try:
            while data:
                data = data[self._object.write(data) :]
        except ssl.SSLError as error:
            raise _failure(error) from None

    def close(self) -> None:
        try:
            self._object.unwrap()
        except ssl.SSLWantReadError:
            # Ours is sent. unwrap() would like to see the peer's as well; that one comes through read().
            pass
        except ssl.SSLError as error:
            raise _failure(error) from None

    # -- what was agreed -------------------------------------------------------------------------------------------

    @property
    def version(self) -> str:
        return self._object.version() or ""

    @property
    def cipher(self) -> str:
        cipher = self._object.cipher()
        return iana_name(cipher[0]) if cipher is not None else ""

    @property
    def group(self) -> str | None:
        return self._group

    @property
    def alpn(self) -> str | None:
        return self._object.selected_alpn_protocol()

    @property
    def session_reused(self) -> bool:
        return bool(self._object.session_reused)

    def export(self, label: bytes, context: bytes, length: int) -> bytes:
        raise NotImplementedError("refused before: ssl has no exporters")


# "[SSL] tlsv1 alert no application protocol (_ssl.c:1006)"
_WORDS: Final = re.compile(r"\[SSL[^]]*\] (.*?) \(_ssl\.c")


def _failure(error: ssl.SSLError) -> TLSError:
    """``reason`` is None for what OpenSSL has got since Python's table was made; its text is there all the same."""
    found = _WORDS.match(str(error.strerror))
    words = found[1] if found is not None else str(error)
    return failure(error.reason or reason_of(words), words, None, None)


def _make_context(config: ClientConfig | ServerConfig, identity: Identity | None) -> ssl.SSLContext:
    is_server = isinstance(config, ServerConfig)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if is_server else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.minimum_version = VERSIONS[config.min_version]
        context.maximum_version = VERSIONS[config.max_version]
        context.options |= OPTIONS
        context.set_ciphers(tls12_ciphers(config.cipher_suites))
        if config.groups != DEFAULT_GROUPS:
            context.set_ecdh_curve(CURVE_NAMES[config.groups[0]])
        if config.alpn:
            context.set_alpn_protocols(list(config.alpn))
        if identity is not None:
            _show(context, identity)
        if isinstance(config, ServerConfig):
            context.num_tickets = 0
            _ask_for_certificates(context, config)
    except (ssl.SSLError, ValueError) as problem:
        raise ConfigError(f"ssl does not accept this configuration: {problem}") from None
    return context


def _show(context: ssl.SSLContext, identity: Identity) -> None:
    """``ssl`` reads keys from files only. The key in that file is encrypted, for the moment in which it exists."""
    assert identity.private_key is not None, "an external identity was refused"
    password = secrets.token_hex(32)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "identity.pem")
        path.write_bytes(pem(identity.certificates) + key_pem(identity.private_key, password.encode("ascii")))
        context.load_cert_chain(path, password=password)


def _ask_for_certificates(context: ssl.SSLContext, config: ServerConfig) -> None:
    if config.client_auth == "none":
        return
    assert config.trust is not None, "ServerConfig refuses client_auth without trust"
    context.load_verify_locations(cadata=pem(config.trust.certificates).decode("ascii"))
    # What is in a trust store is believed, whether it has signed itself or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = CLIENT_AUTH[config.client_auth]


@implementer(ITLSProvider)
class StdlibProvider:
    """See :class:`~tlsprovider.interfaces.ITLSProvider`.

    :param client_context: an ``SSLContext`` for clients that is used as it is, also for verification; see the module.
    """

    name = "stdlib"
    description = "the system's OpenSSL, through Python's ssl"
    conditions: ClassVar = {feature: f"OpenSSL {major}.{minor}" for feature, (major, minor) in SINCE.items()}

    def __init__(self, client_context: ssl.SSLContext | None = None) -> None:
        if client_context is not None and client_context.protocol is not ssl.PROTOCOL_TLS_CLIENT:
            raise ConfigError("client_context: expected one made with ssl.PROTOCOL_TLS_CLIENT")
        self.contexts = PerPair(_make_context)
        self._ready = client_context
        self._check = per_config(self._insist)

    def __repr__(self) -> str:
        return f"<StdlibProvider {self._ready or ''}>".replace(" >", ">")

    def supports(self, feature: str) -> bool:
        if self._ready is not None:
            return feature in WITH_READY_CONTEXT
        if feature in SINCE and ssl.OPENSSL_VERSION_INFO < SINCE[feature]:
            return False
        return feature in FEATURES or feature in SINCE or named(feature, NEGOTIABLE)

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        """``server_hostname``: a DNS name or an IP address; it is verified, and a name is sent as SNI."""
        check_side(config, server_side=False)
        sni = check_name(config, server_hostname)
        if self._ready is not None:
            return self._engine(self._gate_to_ready_context(self._ready, config, server_hostname))
        self._check(config)
        self.contexts.of(config, config.identity)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            return self._begin(config, identity, sni)

        return self._engine(ClientGate(config, begin, server_hostname))

    def server_engine(self, config: ServerConfig) -> IEngine:
        check_side(config, server_side=True)
        if self._ready is not None:
            raise ConfigError("this provider was made around an SSLContext for clients; use 'stdlib' for servers")
        self._check(config)
        for identity in config.identities[:1]:
            self.contexts.of(config, identity)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            # Either may be a hook's answer.
            self._check(config)
            assert identity is not None, "a server shows a certificate"
            insist(self.supports, self.name, asked_of_identity(identity))
            return self._begin(config, identity, None)

        return self._engine(ServerGate(config, begin, None))

    def _engine(self, gate: Gate) -> IEngine:
        engine: IEngine = LibraryEngine(gate, self.name, self.supports)
        return engine

    def _begin(
        self, config: ClientConfig | ServerConfig, identity: Identity | None, name: str | None
    ) -> StdlibConnection:
        context = self.contexts.of(config, identity)
        group = str(config.groups[0]) if len(config.groups) == 1 else None
        return StdlibConnection(context, isinstance(config, ServerConfig), name, verifies=False, group=group)

    def _insist(self, config: ClientConfig | ServerConfig) -> None:
        exceptions = set()
        if len(config.groups) == 1 and (config.groups[0] in CURVES or config.groups[0] in CURVE_NAMES):
            exceptions.add("groups")
        if config.max_version < ProtocolVersion.TLSv1_3:
            # ssl can choose the suites of TLS 1.2, not those of TLS 1.3.
            exceptions.add("cipher_suites")
        insist(lambda feature: feature in exceptions or self.supports(feature), self.name, asked(config))

    def _gate_to_ready_context(
        self, context: ssl.SSLContext, config: ClientConfig, server_hostname: str | None
    ) -> ClientGate:
        insist(self.supports, self.name, _contradictions(context, config))
        name = None
        if server_hostname is not None:
            name = str(parse_server_name(server_hostname).value)

        def begin(config: ClientConfig | ServerConfig, identity: Identity | None, _: str | None) -> Library:
            return StdlibConnection(context, False, name, verifies=not config.insecure_skip_verify, group=None)

        return ClientGate(config, begin, server_hostname)


def _contradictions(context: ssl.SSLContext, config: ClientConfig) -> Iterator[tuple[str, str]]:
    """What the configuration asks for that only the context could give. Raises ConfigError where the two disagree."""
    oldest = context.minimum_version
    if oldest < VERSIONS.get(config.min_version, ssl.TLSVersion.TLSv1_3):
        raise ConfigError(
            f"min_version: the SSLContext allows {oldest.name}, the configuration {config.min_version} at least;"
            f" set the context's minimum_version, or say min_version='TLSv1.2'"
        )
    verifies = context.verify_mode is ssl.CERT_REQUIRED
    if verifies is config.insecure_skip_verify:
        does = "verifies" if verifies else "does not verify"
        raise ConfigError(
            f"insecure_skip_verify={config.insecure_skip_verify}: the SSLContext {does} certificates;"
            " the two have to say the same"
        )
    if verifies and not context.check_hostname:
        raise ConfigError("check_hostname is off in the SSLContext, so it would believe any server; switch it on")
    yield from asked(config)
    if config.trust is not TrustStore.system():
        yield "trust", "trust= beside a ready SSLContext, which has its own"
    if config.identity is not None:
        yield "identity", "identity= beside a ready SSLContext, which has its own"


provider = StdlibProvider()
