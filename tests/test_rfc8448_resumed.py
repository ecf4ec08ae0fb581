"""Section 4 of RFC 8448, byte for byte through both sides: a session that resumes, with early data.

The session is the one that the ticket of section 3 stands for. See ``test_rfc8448`` for what a replay is.
"""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from test_rfc8448 import (
    COMPATIBILITY_MARK,
    NATIVE,
    SUITE,
    VECTORS,
    Replay,
    entropy_of,
    identity_of,
    key_log_of,
    value,
    values,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto import certificates
from tlsprovider.crypto.schedule import RESUMPTION_BINDER, EarlySecret, resumption_psk
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.engine import NativeEngine
from tlsprovider.handshake import client as client_module
from tlsprovider.handshake import server as server_module
from tlsprovider.handshake.psk import fingerprint
from tlsprovider.iana import ExtensionType as X
from tlsprovider.session import Session, SessionKey
from tlsprovider.trust import TrustStore
from tlsprovider.wire import extensions as ext
from tlsprovider.wire import messages

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="shared/vectors/rfc8448.json is not beside the checkout")

NOW = datetime.datetime(2018, 1, 1, tzinfo=datetime.UTC).timestamp()


def whole_hello() -> bytes:
    return value("4", "payload", "client", "send handshake record")


def early_record() -> tuple[bytes, bytes]:
    """What the client sent early, and its record."""
    payload = values("4", "payload", "client", "send application_data record")[0]
    return payload, values("4", "complete record", "client", "send application_data record")[0]


class TestValues:
    def test_the_key_of_the_ticket(self) -> None:
        ticket = messages.NewSessionTicket.decode(value("3", "NewSessionTicket"))
        secret = resumption_psk(SUITE, value("3", "expanded", does="res master"), ticket.nonce)
        assert secret == value("4", "IKM", does='extract secret "early"')

    def test_the_binder(self) -> None:
        early = EarlySecret.of_psk(SUITE, value("4", "IKM", does='extract secret "early"'))
        assert early.secret == value("4", "secret", does='extract secret "early"')
        truncated = value("4", "ClientHello prefix")
        digest = Transcript().digest_with("sha256", truncated)
        assert digest == value("4", "binder hash")
        binder = early.binder(RESUMPTION_BINDER, digest)
        assert binder == value("4", "finished", does="binder")
        hello = messages.ClientHello.decode(whole_hello())
        offered = ext.decode_offered_psks((hello.extensions or {})[X.pre_shared_key])
        assert offered.binders == (binder,)
        assert truncated == hello.raw[: -offered.binders_length]

    def test_the_early_traffic_secret(self) -> None:
        early = EarlySecret.of_psk(SUITE, value("4", "IKM", does='extract secret "early"'))
        digest = Transcript().digest_with("sha256", whole_hello())
        assert early.client_early_traffic(digest).secret == value("4", "expanded", does="c e traffic")


def session(config: ClientConfig | ServerConfig, **fields: Any) -> Session:
    return Session(
        secret=value("4", "IKM", does='extract secret "early"'),
        cipher_suite=SUITE.number,
        server_name="server",
        alpn=None,
        fingerprint=fingerprint(config),
        issued=NOW,
        lifetime=30,
        authenticated=NOW,
        max_early_data=1024,
        **fields,
    )


class ReplayResumed(Replay):
    """A server's early data is read where the trace has it; the rest is as ever."""

    def run(self) -> None:
        assert isinstance(self.engine, NativeEngine)
        self.early = b""
        super().run()
        assert self.engine.session_reused
        assert self.engine.early_data == "accepted"
        if self.me == "server":
            assert self.early == early_record()[0]

    def outgoing(self) -> bytes:
        """The client's mark stands between its hello and the early data."""
        return self.engine.process_outgoing().replace(COMPATIBILITY_MARK, b"", 1)

    def take(self, step: Any, record: bytes) -> None:
        super().take(step, record)
        assert isinstance(self.engine, NativeEngine)
        if self.me == "server":
            self.early += self.engine.read_early()


def check_key_log(key_log: list[str]) -> None:
    random = whole_hello()[6:38].hex()
    secrets = {"CLIENT_EARLY_TRAFFIC_SECRET": value("4", "expanded", does="c e traffic")} | key_log_of("4")
    # Not that of early data, which nobody has asked for.
    secrets["EXPORTER_SECRET"] = value("4", "expanded", does='"tls13 exp master"')
    assert key_log == [f"{label} {random} {secret.hex()}" for label, secret in secrets.items()]


class TestReplay:
    def test_client(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(certificates, "MIN_RSA_BITS", 1024)
        first = messages.ClientHello.decode(whole_hello())
        prefix = value("4", "ClientHello prefix")
        # The binder is not recorded: it is the engine's own.
        unbound = prefix + ext.encode_binders([bytes(32)])
        monkeypatch.setattr(messages.ClientHello, "encode", staticmethod(lambda *parts: unbound))
        offered = frozenset(first.extensions or ())
        monkeypatch.setattr(client_module, "_fixed_extensions", lambda config: (offered, b""))
        key_log: list[str] = []
        server = identity_of("3", "server").certificates
        config = ClientConfig(
            trust=TrustStore.pinned(certificates.spki_sha256(server[0])),
            clock=lambda: NOW,
            groups=["x25519", "secp256r1"],
            key_shares=["x25519"],
            entropy=entropy_of(value("4", "private key", "client"), first.random, first.session_id),
            keylog=key_log.append,
            early_data=True,
        )
        ticket = messages.NewSessionTicket.decode(value("3", "NewSessionTicket")).ticket
        known = session(config, ticket=ticket, peer_certificates=server)
        assert config.sessions is not None
        config.sessions.put(SessionKey("server", None, fingerprint(config)), known)
        engine = NATIVE.client_engine(config, "server")
        assert isinstance(engine, NativeEngine)
        engine.write_early(early_record()[0])
        ReplayResumed(engine, "4", "client").run()
        check_key_log(key_log)
        assert engine.peer_certificates == server

    def test_server(self, monkeypatch: pytest.MonkeyPatch) -> None:
        hello = messages.ServerHello.decode(value("4", "ServerHello"), frozenset(X))

        def recorded_hello(random: bytes, session_id: bytes, suite: int, extensions: Any) -> bytes:
            assert (random, session_id, suite) == (hello.random, hello.session_id, hello.cipher_suite)
            assert dict(extensions) == hello.extensions
            return hello.raw

        monkeypatch.setattr(messages.ServerHello, "encode", staticmethod(recorded_hello))
        parameters = value("4", "EncryptedExtensions")
        monkeypatch.setattr(server_module, "_encrypted_extensions", lambda *choices: parameters)
        key_log: list[str] = []
        config = ServerConfig(
            groups=["x25519"],
            entropy=entropy_of(value("4", "private key", "server"), hello.random),
            clock=lambda: NOW,
            keylog=key_log.append,
            max_early_data=1024,
            find_session=lambda question: known,
            tickets=RecentTickets(),
        )
        age = ext.decode_offered_psks(
            (messages.ClientHello.decode(whole_hello()).extensions or {})[X.pre_shared_key]
        ).identities[0][1]
        known = session(config, age_add=age)
        engine = NATIVE.server_engine(config)
        ReplayResumed(engine, "4", "server").run()
        check_key_log(key_log)
        assert engine.server_name == "server"


class RecentTickets:
    """Makes none, and knows none: the session comes from find_session."""

    def lifetime(self, now: float) -> int:
        return 0

    def seal(self, state: bytes, now: float) -> bytes:
        raise AssertionError("nothing is sealed")

    def open(self, ticket: bytes, now: float) -> bytes | None:
        return None

    def first_use(self, unique: bytes, sent: float, now: float) -> bool:
        return sent == now
