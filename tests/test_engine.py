"""The native engine: pauses, failures that stick, closing, keys that change, exporters, what it tells."""

from __future__ import annotations

import gc
import traceback
import weakref

import attrs
import pytest
from loop import pump, transfer
from scripted import ScriptedClient, ScriptedServer
from test_handshake import connect, engines

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.groups import generate
from tlsprovider.errors import (
    AlertReceived,
    ConfigError,
    Fault,
    HookError,
    MisuseError,
    PeerFault,
    TruncatedError,
    UnsupportedByProvider,
    WantRead,
)
from tlsprovider.events import Event
from tlsprovider.iana import AlertDescription, NamedGroup
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

NATIVE = get_provider("native")

Configs = tuple[ClientConfig, ServerConfig]


class TestWaiting:
    def test_client_begins_by_itself(self, configs: Configs) -> None:
        client, _ = engines(*configs)
        assert client.process_outgoing() == b""
        with pytest.raises(WantRead):
            client.do_handshake()
        assert client.process_outgoing()[:3] == b"\x16\x03\x01"

    def test_server_waits_and_says_nothing(self, configs: Configs) -> None:
        _, server = engines(*configs)
        with pytest.raises(WantRead):
            server.do_handshake()
        assert server.process_outgoing() == b""
        assert server.state == "read_client_hello"

    def test_calling_again_changes_nothing(self, configs: Configs) -> None:
        client, _ = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        client.process_outgoing()
        for _ in range(3):
            with pytest.raises(WantRead):
                client.do_handshake()
            assert client.process_outgoing() == b""

    def test_done_is_done(self, pair: tuple[IEngine, IEngine]) -> None:
        for engine in pair:
            engine.do_handshake()
            engine.do_handshake()
            assert engine.process_outgoing() == b""
            assert engine.state == "connected"

    def test_nothing_is_known_before(self, configs: Configs) -> None:
        for engine in engines(*configs):
            assert (engine.version, engine.cipher, engine.group, engine.alpn) == (None,) * 4
            assert engine.peer_certificates == engine.verified_chain == engine.local_certificates == ()
            assert not engine.handshake_complete
            for use in (lambda one=engine: one.read(), lambda one=engine: one.write(b"x"), engine.key_update):
                with pytest.raises(MisuseError, match="do_handshake"):
                    use()
            with pytest.raises(MisuseError):
                engine.export_keying_material("EXPORTER-x", b"", 32)

    def test_one_flight_is_one_write(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        transfer(client, server)
        with pytest.raises(WantRead):
            server.do_handshake()
        flight = server.process_outgoing()
        assert server.process_outgoing() == b""
        # ServerHello, change_cipher_spec, and one protected record for the rest.
        types = []
        while flight:
            types.append(flight[0])
            flight = flight[5 + int.from_bytes(flight[3:5], "big") :]
        assert types == [22, 20, 23]


class TestFailure:
    def test_it_sticks_and_is_fresh_each_time(self, configs: Configs) -> None:
        _, server = engines(*configs)
        server.process_incoming(b"GET / HTTP/1.1\r\n\r\n")
        seen = []
        for _ in range(3):
            with pytest.raises(PeerFault, match="plain HTTP") as raised:
                server.do_handshake()
            seen.append(raised.value)
        assert len({id(one) for one in seen}) == 3
        assert server.process_outgoing() == b"\x15\x03\x03\x00\x02\x02\x0a"
        assert server.process_outgoing() == b""
        assert server.state == "failed"
        assert not server.wants_input
        server.process_incoming(b"more")
        for use in (lambda: server.read(), lambda: server.write(b"x"), server.key_update):
            with pytest.raises(PeerFault):
                use()
        server.shutdown()
        assert server.process_outgoing() == b""

    def test_nothing_secret_stays_in_its_frames(self, configs: Configs) -> None:
        script = ScriptedServer(NATIVE.client_engine(configs[0], "localhost"), configs[1].identities[0])
        script.start()
        script.parameters()
        script.certificate()
        script.verify(spoil=True)
        with pytest.raises(PeerFault) as raised:
            script.engine.do_handshake()
        frames = [frame for frame, _ in traceback.walk_tb(raised.value.__traceback__)]
        assert not [frame for frame in frames if "handshake" in frame.f_code.co_filename.rsplit("/", 1)[0][-9:]]
        assert raised.value.__cause__ is None and raised.value.__context__ is None

    def test_the_secrets_of_a_handshake_go_with_it(self, configs: Configs) -> None:
        engine = NATIVE.client_engine(configs[0], "localhost")
        script = ScriptedServer(engine, configs[1].identities[0])
        script.start()
        coroutine = weakref.ref(engine._handshake)
        gc.disable()
        try:
            script.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
            assert isinstance(engine.failure, PeerFault)
            assert coroutine() is None
        finally:
            gc.enable()

    def test_a_connection_is_freed_when_it_is_let_go(self, configs: Configs) -> None:
        """No cycle keeps its secrets until the garbage collector comes."""
        gc.disable()
        try:
            client, server = connect(*configs)
            watched = [weakref.ref(one) for one in (client, client._connected, server, server._connected)]
            del client, server
            assert [one() for one in watched] == [None] * 4
        finally:
            gc.enable()

    def test_data_before_a_forged_record_is_still_read(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"good")
        server.process_incoming(client.process_outgoing() + b"\x17\x03\x03\x00\x20" + bytes(32))
        assert server.read() == b"good"
        with pytest.raises(PeerFault) as raised:
            server.read()
        assert raised.value.fault is Fault.BAD_RECORD_MAC
        transfer(server, client)
        with pytest.raises(AlertReceived) as received:
            client.read()
        assert received.value.alert is AlertDescription.bad_record_mac
        assert client.process_outgoing() == b""

    def test_alert_received_is_not_answered(self, configs: Configs) -> None:
        client, _ = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        client.process_outgoing()
        client.process_incoming(b"\x15\x03\x03\x00\x02\x02\x28")
        with pytest.raises(AlertReceived, match="'openssl'") as raised:
            client.do_handshake()
        assert raised.value.alert is AlertDescription.handshake_failure
        assert client.process_outgoing() == b""

    def test_server_of_the_past_is_named_with_the_way_out(self, configs: Configs) -> None:
        script = ScriptedServer(NATIVE.client_engine(configs[0], "localhost"), configs[1].identities[0])
        script.send(script.server_hello(extensions=[], suite=0xC02F))
        assert "TLSv1.2" in str(script.engine.failure)
        assert "'openssl'" in str(script.engine.failure)
        assert script.alerts == [bytes((2, AlertDescription.protocol_version))]

    @pytest.mark.parametrize("alert", [70, 80, 99, 117, 255])
    def test_every_alert_ends_the_connection(self, pair: tuple[IEngine, IEngine], alert: int) -> None:
        """Whatever level it claims, and whether or not it has a name (section 6)."""
        client, server = pair
        client._writer.write(21, bytes((1, alert)))
        transfer(client, server)
        with pytest.raises(AlertReceived) as raised:
            server.read()
        assert raised.value.alert == alert

    def test_own_mistake_is_an_internal_error(self, configs: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr("tlsprovider.handshake.server.negotiate.choose_suite", broken)
        client, server = engines(*configs)
        with pytest.raises(Exception, match="ZeroDivisionError: a bug") as raised:
            pump(client, server)
        assert isinstance(raised.value.__cause__, ZeroDivisionError)
        transfer(server, client)
        with pytest.raises(AlertReceived) as received:
            client.do_handshake()
        assert received.value.alert is AlertDescription.internal_error


class TestEarlyDataThatIsNotWanted:
    """Section 4.3.10: a server that rejects early data passes it over, and the handshake goes on."""

    EARLY = b"\x17\x03\x03\x04\x00" + bytes(1024)

    @pytest.mark.parametrize("early", [EARLY, EARLY * 16, b"\x17\x03\x03\x00\x05short", b""])
    def test_before_finished(self, configs: Configs, early: bytes) -> None:
        script = ScriptedClient(NATIVE.server_engine(configs[1]))
        script.start(early_data=b"")
        script.read_flight()
        script.raw(early)
        script.finish()
        assert script.engine.handshake_complete, script.engine.failure
        script.send_records(23, b"data")
        assert script.engine.read() == b"data"

    def test_only_before_the_first_record_that_can_be_read(self, configs: Configs) -> None:
        script = ScriptedClient(NATIVE.server_engine(configs[1]))
        script.start(early_data=b"")
        script.read_flight()
        script.finish()
        script.raw(self.EARLY)
        assert isinstance(script.engine.failure, PeerFault)
        assert script.engine.failure.fault is Fault.BAD_RECORD_MAC

    def test_before_the_second_hello(self, configs: Configs) -> None:
        script = ScriptedClient(NATIVE.server_engine(attrs.evolve(configs[1], groups=["secp256r1"])))
        script.send(script.client_hello(early_data=b""))
        assert script.read_retry_request() is NamedGroup.secp256r1
        script.raw(self.EARLY * 3)
        script.keys = {NamedGroup.secp256r1: generate(NamedGroup.secp256r1)}
        script.start()
        script.read_flight()
        script.finish()
        assert script.engine.handshake_complete, script.engine.failure


def test_client_marks_its_second_flight_also_when_it_is_an_alert(configs: Configs) -> None:
    """Appendix E.4: no middlebox sees a protected record of a client before a change_cipher_spec."""
    script = ScriptedServer(NATIVE.client_engine(configs[0], "localhost"), configs[1].identities[0])
    script.start()
    script.engine.process_incoming(script.protected(b"\x08\x00\x00\x01?\x16"))
    with pytest.raises(PeerFault):
        script.engine.do_handshake()
    sent = script.engine.process_outgoing()
    assert sent.startswith(b"\x14\x03\x03\x00\x01\x01\x17\x03\x03")


class TestTheEndOfTheTransport:
    def test_before_anything(self, configs: Configs) -> None:
        for engine in engines(*configs):
            engine.process_eof()
            with pytest.raises(TruncatedError, match="during the handshake"):
                engine.do_handshake()

    def test_in_the_middle(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        server.process_incoming(client.process_outgoing()[:100])
        server.process_eof()
        with pytest.raises(TruncatedError):
            server.do_handshake()
        assert server.process_outgoing() == b""

    def test_what_came_before_it_still_counts(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        transfer(client, server)
        with pytest.raises(WantRead):
            server.do_handshake()
        transfer(server, client)
        client.process_eof()
        client.do_handshake()
        with pytest.raises(TruncatedError, match="close_notify"):
            client.read()

    def test_without_close_notify_is_truncation(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"all of it?")
        transfer(client, server)
        server.process_eof()
        assert server.read() == b"all of it?"
        for _ in range(2):
            with pytest.raises(TruncatedError, match="without close_notify"):
                server.read()

    def test_with_close_notify_is_the_end(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"all of it")
        client.shutdown()
        transfer(client, server)
        server.process_eof()
        assert server.read() == b"all of it"
        assert [server.read(), server.read(), server.read_into(bytearray(5))] == [b"", b"", 0]


class TestWhatIsTold:
    def test_key_log(self, configs: Configs) -> None:
        ours: list[str] = []
        theirs: list[str] = []
        connect(attrs.evolve(configs[0], keylog=ours.append), attrs.evolve(configs[1], keylog=theirs.append))
        assert sorted(ours) == sorted(theirs)
        labels = [line.split(" ")[0] for line in ours]
        assert labels == [
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
            "SERVER_HANDSHAKE_TRAFFIC_SECRET",
            "CLIENT_TRAFFIC_SECRET_0",
            "SERVER_TRAFFIC_SECRET_0",
            "EXPORTER_SECRET",
        ]
        assert len({line.split(" ")[1] for line in ours}) == 1
        assert {len(line.split(" ")[2]) for line in ours} == {64}

    def test_events(self, configs: Configs) -> None:
        events: list[Event] = []
        connect(configs[0], attrs.evolve(configs[1], on_event=events.append))
        told = [(event.kind, event.name) for event in events]
        assert told[0] == ("handshake_start", "server")
        assert told[-1] == ("handshake_done", "server")
        assert [name for kind, name in told if kind == "message_sent"] == [
            "server_hello",
            "encrypted_extensions",
            "certificate",
            "certificate_verify",
            "finished",
        ]
        assert [name for kind, name in told if kind == "message_received"] == ["client_hello", "finished"]
        states = [name for kind, name in told if kind == "state"]
        assert states[0] == "read_client_hello"
        assert states[-1] == "read_finished"

    def test_alerts(self, configs: Configs) -> None:
        events: list[Event] = []
        _, server = engines(configs[0], attrs.evolve(configs[1], on_event=events.append))
        server.process_incoming(b"garbage")
        with pytest.raises(PeerFault):
            server.do_handshake()
        assert events[-1] == Event("alert_sent", "unexpected_message", b"\x02\x0a")

    def test_closing_alerts(self, configs: Configs) -> None:
        events: list[Event] = []
        client, server = connect(attrs.evolve(configs[0], on_event=events.append), configs[1])
        client.shutdown()
        assert events[-1] == Event("alert_sent", "close_notify", b"\x01\x00")
        server.shutdown()
        transfer(server, client)
        assert events[-1] == Event("alert_received", "close_notify", b"\x01\x00")
        client = NATIVE.client_engine(attrs.evolve(configs[0], on_event=events.append), "localhost")
        with pytest.raises(WantRead):
            client.do_handshake()
        client.shutdown()
        assert [event.name for event in events[-2:]] == ["user_canceled", "close_notify"]

    @pytest.mark.parametrize("hook", ["on_event", "keylog"])
    def test_a_listener_that_fails_stops_the_handshake(self, configs: Configs, hook: str) -> None:
        def fail(_: object) -> None:
            raise RuntimeError("the disk is full")

        client, server = engines(configs[0], attrs.evolve(configs[1], **{hook: fail}))
        with pytest.raises(HookError, match=f"{hook} failed: RuntimeError: the disk is full") as raised:
            pump(client, server)
        assert isinstance(raised.value.__cause__, RuntimeError)


class TestMaking:
    def test_configs_must_fit_the_side(self, configs: Configs) -> None:
        with pytest.raises(ConfigError, match="needs a ClientConfig, got ServerConfig"):
            NATIVE.client_engine(configs[1], "localhost")
        with pytest.raises(ConfigError, match="needs a ServerConfig, got ClientConfig"):
            NATIVE.server_engine(configs[0])

    def test_older_versions_are_refused_with_the_way_out(self, configs: Configs) -> None:
        with pytest.raises(UnsupportedByProvider, match=r"min_version='TLSv1\.2'; use the provider") as raised:
            NATIVE.client_engine(attrs.evolve(configs[0], min_version="TLSv1.2"), "localhost")
        assert raised.value.provider == "native"
        with pytest.raises(UnsupportedByProvider):
            NATIVE.server_engine(attrs.evolve(configs[1], min_version="1.2", max_version="1.2"))

    def test_a_name_is_needed_to_verify(self, configs: Configs, server_identity: Identity) -> None:
        with pytest.raises(ConfigError, match="server_hostname"):
            NATIVE.client_engine(configs[0])
        NATIVE.client_engine(attrs.evolve(configs[0], insecure_skip_verify=True))
        NATIVE.client_engine(ClientConfig(trust=TrustStore.pinned(bytes(32))))

    def test_a_name_must_be_one(self, configs: Configs) -> None:
        with pytest.raises(ConfigError, match=r"https://example\.com"):
            NATIVE.client_engine(configs[0], "https://example.com")

    @pytest.mark.parametrize("feature", ["TLSv1.3", "x25519", "X25519MLKEM768", "mldsa65", "VerifyPeer", "exporter"])
    def test_supports(self, feature: str) -> None:
        assert NATIVE.supports(feature)
        assert not NATIVE.supports("TLSv1.2")
        assert not NATIVE.supports("ffdhe2048")
