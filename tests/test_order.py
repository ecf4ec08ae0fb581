"""The state diagrams of RFC 9846 appendix A as a table: who may say what when, and nothing else.

For each state in which an engine reads, the table names the handshake messages that may come. Every other one, known or
not, has to end in unexpected_message; so does application data before the handshake is complete. The scripts that reach
the states are the proper handshake, stopped at that point.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from faults.extensions import early, offer, session, ticket_of
from faults.world import World, world
from scripted import SUITE, ScriptedClient, ScriptedServer

from tlsprovider.crypto.schedule import EarlySecret
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.handshake.psk import fingerprint, of_session, with_binders
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType as T
from tlsprovider.wire.messages import encode_message

Script = ScriptedClient | ScriptedServer


@attrs.frozen
class State:
    name: str
    allowed: frozenset[T]
    reach: Callable[[World], Script]


def client(steps: int, request: bool = False) -> Callable[[World], Script]:
    """A client under test, after so many messages of the server's flight."""

    def reach(w: World) -> Script:
        script = w.against_client()
        flight = [script.start, script.parameters, *([script.request] if request else [])]
        flight += [script.certificate, script.verify]
        for send in flight[:steps]:
            send()
        return script

    return reach


def client_after_retry(w: World) -> Script:
    script = w.against_client()
    script.retry()
    return script


def client_connected(w: World) -> Script:
    script = w.against_client()
    script.connect()
    return script


def server_fresh(w: World) -> Script:
    script = w.against_server()
    script.settle()
    return script


def server_after_retry(w: World) -> Script:
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    script.read_retry_request()
    return script


def server_flight_sent(w: World) -> Script:
    script = w.against_server()
    script.start()
    script.read_flight()
    return script


def server_asking(w: World) -> Script:
    return w.against_asking_server()


def server_with_certificate(w: World) -> Script:
    script = w.against_asking_server()
    script.certificate()
    return script


def server_with_empty_certificate(w: World) -> Script:
    script = w.against_asking_server("request")
    script.certificate([])
    return script


def server_with_verified_client(w: World) -> Script:
    script = w.against_asking_server()
    script.certificate()
    script.send(script.certificate_verify(w.client))
    return script


def client_resuming(w: World) -> Script:
    """The server goes on with the session: nothing stands between EncryptedExtensions and Finished."""
    script = early(w, None)
    script.parameters({X.early_data: b""})
    return script


def server_reading_early_data(w: World) -> Script:
    script = w.against_server(max_early_data=1000)
    config = script.engine._config  # type: ignore[attr-defined]
    kept = session(fingerprint(config), 0)
    ticket, resumed = ticket_of(script, max_early_data=1000), of_session(kept, b"")
    hello = script.client_hello(extra=[(X.early_data, b""), *offer(ticket, bytes(32))])
    hello = with_binders(hello, [resumed], Transcript())
    script.psk = kept.secret
    script.send(hello)
    script.read_server_hello()
    script.read_resumed_flight()
    secret = EarlySecret.of_psk(SUITE, kept.secret).client_early_traffic(Transcript().digest_with("sha256", hello))
    script.writer.change_keys(secret)
    return script


def server_resumed(w: World) -> Script:
    script = server_reading_early_data(w)
    script.send(encode_message(T.end_of_early_data, b""))
    script.writer.change_keys(script.ours)
    return script


def server_connected(w: World) -> Script:
    script = w.against_server()
    script.connect()
    return script


STATES = [
    # Appendix A.1, the client.
    State("read_server_hello", frozenset({T.server_hello}), client(0)),
    State("read_server_hello", frozenset({T.server_hello}), client_after_retry),
    State("read_encrypted_extensions", frozenset({T.encrypted_extensions}), client(1)),
    State("read_certificate", frozenset({T.certificate, T.certificate_request}), client(2)),
    State("read_certificate", frozenset({T.certificate}), client(3, request=True)),
    State("read_certificate_verify", frozenset({T.certificate_verify}), client(3)),
    State("read_certificate_verify", frozenset({T.certificate_verify}), client(4, request=True)),
    State("read_finished", frozenset({T.finished}), client(4)),
    State("read_finished", frozenset({T.finished}), client(5, request=True)),
    State("connected", frozenset({T.new_session_ticket, T.key_update}), client_connected),
    # Appendix A.2, the server.
    State("read_client_hello", frozenset({T.client_hello}), server_fresh),
    State("read_client_hello", frozenset({T.client_hello}), server_after_retry),
    State("read_finished", frozenset({T.finished}), server_flight_sent),
    State("read_certificate", frozenset({T.certificate}), server_asking),
    State("read_certificate_verify", frozenset({T.certificate_verify}), server_with_certificate),
    State("read_finished", frozenset({T.finished}), server_with_empty_certificate),
    State("read_finished", frozenset({T.finished}), server_with_verified_client),
    State("connected", frozenset({T.key_update}), server_connected),
    # The same with a session, and early data behind the ClientHello.
    State("read_finished", frozenset({T.finished}), client_resuming),
    State("read_end_of_early_data", frozenset({T.end_of_early_data}), server_reading_early_data),
    State("read_finished", frozenset({T.finished}), server_resumed),
]

EVERY_TYPE = [*T, T(3), T(67), T(253)]

IDS = [f"{'client' if index < 10 else 'server'}-{index}-{state.name}" for index, state in enumerate(STATES)]


@pytest.mark.parametrize("state", STATES, ids=IDS)
def test_the_script_reaches_the_state(state: State) -> None:
    script = state.reach(world())
    assert script.engine.failure is None
    assert script.engine.state == state.name


@pytest.mark.parametrize("kind", EVERY_TYPE, ids=str)
@pytest.mark.parametrize("state", STATES, ids=IDS)
def test_message(state: State, kind: T) -> None:
    script = state.reach(world())
    # Its content doesn't matter: the type is judged first. (One byte of it would be wrong in every message.)
    script.send(encode_message(kind, b"?"), note=False)
    failure = script.engine.failure
    assert isinstance(failure, PeerFault)
    if kind in state.allowed:
        assert failure.fault is not Fault.UNEXPECTED_MESSAGE, failure
    else:
        assert failure.fault is Fault.UNEXPECTED_MESSAGE, failure


@pytest.mark.parametrize("state", STATES, ids=IDS)
def test_application_data(state: State) -> None:
    script = state.reach(world())
    script.send_records(23, b"early")
    if state.name == "connected":
        assert script.engine.failure is None
        assert script.engine.read() == b"early"
    elif state.name == "read_end_of_early_data":
        assert script.engine.failure is None
        assert script.engine.read_early() == b"early"  # type: ignore[attr-defined]
    else:
        assert isinstance(script.engine.failure, PeerFault)
        assert script.engine.failure.fault is Fault.UNEXPECTED_APPLICATION_DATA


@pytest.mark.parametrize("state", [state for state in STATES if state.name != "read_client_hello"])
def test_data_under_the_keys_of_before(state: State) -> None:
    """No state takes a record of an earlier epoch: neither plaintext under keys nor one protected by the old keys."""
    script = state.reach(world())
    if state.name == "read_server_hello":
        script.raw(b"\x17\x03\x03\x00\x05early")
        expected = {Fault.UNEXPECTED_APPLICATION_DATA}
    elif state.name == "connected":
        script.writer.change_keys(script.ours)
        script.send_records(23, b"late")
        expected = {Fault.BAD_RECORD_MAC}
    else:
        script.raw(b"\x16\x03\x03\x00\x05\x14\x00\x00\x01?")
        expected = {Fault.PLAINTEXT_RECORD_TYPE}
    assert isinstance(script.engine.failure, PeerFault)
    assert script.engine.failure.fault in expected
