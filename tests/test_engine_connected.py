"""The native engine once it is connected: closing, data, keys that change, exporters."""

from __future__ import annotations

import hashlib

import attrs
import pytest
from loop import transfer
from scripted import ScriptedClient
from test_handshake import connect, engines

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.suites import SUITES
from tlsprovider.errors import (
    ClosedByPeer,
    MisuseError,
    PeerFault,
    WantRead,
)
from tlsprovider.events import Event
from tlsprovider.iana import CipherSuite
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider

NATIVE = get_provider("native")

Configs = tuple[ClientConfig, ServerConfig]


class TestClosing:
    def test_one_direction_closes_alone(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.shutdown()
        assert (client.close_sent, client.close_received) == (True, False)
        transfer(client, server)
        assert (server.close_sent, server.close_received) == (False, True)
        server.write(b"still here")
        transfer(server, client)
        assert client.read() == b"still here"
        with pytest.raises(MisuseError, match="shutdown"):
            client.write(b"no")
        with pytest.raises(MisuseError):
            client.key_update()
        server.shutdown()
        transfer(server, client)
        assert client.read() == b""

    def test_close_notify_is_sent_once(self, pair: tuple[IEngine, IEngine]) -> None:
        client, _ = pair
        client.shutdown()
        assert client.process_outgoing()
        client.shutdown()
        assert client.process_outgoing() == b""

    def test_bytes_behind_close_notify_are_not_tls(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"the end")
        client.shutdown()
        server.process_incoming(client.process_outgoing() + b"QUIT\r\n")
        server.process_incoming(b"again")
        assert server.read() == b"the end"
        assert server.read() == b""
        assert not server.wants_input
        assert server.trailing_bytes() == b"QUIT\r\nagain"
        assert server.trailing_bytes() == b""

    def test_no_answer_to_a_key_update_after_close(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.shutdown()
        client.process_outgoing()
        server.key_update(request_peer=True)
        server.write(b"under new keys")
        transfer(server, client)
        assert client.read() == b"under new keys"
        assert client.process_outgoing() == b""

    def test_close_in_the_handshake_reaches_the_other_side(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        client.shutdown()
        assert client.close_sent
        transfer(client, server)
        with pytest.raises(ClosedByPeer):
            server.do_handshake()
        assert server.close_received
        with pytest.raises(MisuseError, match="given up"):
            client.do_handshake()

    def test_close_before_anything_was_said_says_nothing(self, configs: Configs) -> None:
        for engine in engines(*configs):
            engine.shutdown()
            engine.shutdown()
            assert engine.process_outgoing() == b""
            with pytest.raises(MisuseError):
                engine.do_handshake()


class TestData:
    def test_sizes(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        for size in (1, 2**14 - 1, 2**14, 2**14 + 1, 100_000):
            data = bytes([size % 251]) * size
            assert client.write(data) == size
            transfer(client, server)
            assert server.pending == size
            assert server.read() == data

    def test_empty_write_makes_no_record(self, pair: tuple[IEngine, IEngine]) -> None:
        client, _ = pair
        assert client.write(b"") == 0
        assert client.process_outgoing() == b""

    def test_in_pieces(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"hello")
        client.write(b"world")
        transfer(client, server)
        assert server.read(3) == b"hel"
        assert server.pending == 7
        buffer = bytearray(4)
        assert server.read_into(buffer) == 4
        assert buffer == b"lowo"
        assert server.read_into(memoryview(buffer)[:2]) == 2
        assert server.read() == b"d"
        with pytest.raises(WantRead):
            server.read()

    def test_any_buffer_can_be_written(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        for data in (bytearray(b"abcd"), memoryview(b"abcd"), memoryview(bytearray(b"abcd")).cast("H")):
            assert client.write(data) == 4
            transfer(client, server)
            assert server.read() == b"abcd"

    def test_input_is_not_kept(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.write(b"x" * 50_000)
        data = bytearray(client.process_outgoing())
        server.process_incoming(memoryview(data)[:20_000])
        server.process_incoming(memoryview(data)[20_000:])
        data.clear()
        assert server.read() == b"x" * 50_000

    def test_reading_pauses_the_transport_when_nobody_reads(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        assert server.wants_input
        client.write(bytes(300_000))
        transfer(client, server)
        assert not server.wants_input
        server.read()
        assert server.wants_input

    def test_data_right_behind_finished(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        transfer(client, server)
        with pytest.raises(WantRead):
            server.do_handshake()
        transfer(server, client)
        client.do_handshake()
        client.write(b"in one packet")
        transfer(client, server)
        server.do_handshake()
        assert server.read() == b"in one packet"

    def test_fault_right_behind_finished(self, configs: Configs) -> None:
        client, server = engines(*configs)
        with pytest.raises(WantRead):
            client.do_handshake()
        transfer(client, server)
        with pytest.raises(WantRead):
            server.do_handshake()
        transfer(server, client)
        client.do_handshake()
        server.process_incoming(client.process_outgoing() + b"\x17\x03\x03\x00\x20" + bytes(32))
        # As if it had come a moment later: the handshake is complete, and whoever reads is told.
        server.do_handshake()
        with pytest.raises(PeerFault):
            server.read()


class TestKeyUpdate:
    def test_both_directions_again_and_again(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        for number in range(5):
            client.key_update(request_peer=number % 2 == 0)
            client.write(b"up")
            transfer(client, server)
            assert server.read() == b"up"
            server.write(b"down")
            transfer(server, client)
            assert client.read() == b"down"

    def test_many_requests_get_one_answer(self, configs: Configs) -> None:
        """Section 4.7.3: one answer to all that came while we were silent."""
        script = ScriptedClient(NATIVE.server_engine(configs[1]))
        script.connect()
        script.writer.write(22, b"\x18\x00\x00\x01\x01")
        for _ in range(4):
            ours, _ = script.later
            successor = ours.successor()
            script.later = successor, script.later[1]
            script.writer.change_keys(successor)
            script.writer.write(22, b"\x18\x00\x00\x01\x01")
        script.raw(script.writer.drain())
        assert script.engine.failure is None
        # Silence is not broken for it: the answer goes before the next data.
        assert script.engine.process_outgoing() == b""
        script.engine.write(b"data")
        script.reader.feed(script.engine.process_outgoing())
        assert script.reader.read() == (22, b"\x18\x00\x00\x01\x00")
        script.reader.change_keys(script.later[1].successor())
        assert script.reader.read() == (23, b"data")

    def test_writing_nothing_sends_the_answer_that_is_owed(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.key_update(request_peer=True)
        transfer(client, server)
        assert server.write(b"") == 0
        assert server.process_outgoing()
        assert server.write(b"") == 0
        assert server.process_outgoing() == b""

    def test_an_update_of_our_own_is_an_answer_too(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        client.key_update(request_peer=True)
        transfer(client, server)
        server.key_update()
        assert server.process_outgoing()
        server.write(b"")
        assert server.process_outgoing() == b""

    def test_a_second_request_waits_for_the_first_answer(self, configs: Configs) -> None:
        events: list[Event] = []
        client, server = connect(attrs.evolve(configs[0], on_event=events.append), configs[1])
        events.clear()
        for _ in range(3):
            client.key_update(request_peer=True)
        sent = [event.data[-1] for event in events if event.name == "key_update" and event.kind == "message_sent"]
        assert sent == [1, 0, 0]
        transfer(client, server)
        server.write(b"")
        transfer(server, client)
        events.clear()
        client.key_update(request_peer=True)
        assert events[0].data[-1] == 1

    def test_before_the_ciphers_limit(self, configs: Configs, monkeypatch: pytest.MonkeyPatch) -> None:
        """Section 5.5: the sender changes keys by itself, wherever the limit falls within a write."""
        suite = attrs.evolve(SUITES[CipherSuite.TLS_AES_128_GCM_SHA256], record_limit=4)
        monkeypatch.setitem(SUITES, CipherSuite.TLS_AES_128_GCM_SHA256, suite)
        events: list[Event] = []
        client, server = connect(configs[0], attrs.evolve(configs[1], on_event=events.append))
        events.clear()
        data = hashlib.shake_128(b"data").digest(150_000)
        assert client.write(data) == len(data)
        transfer(client, server)
        assert server.read() == data
        assert len([event for event in events if event == Event("key_update", "read")]) == 3
        for _ in range(9):
            client.write(b"x")
        transfer(client, server)
        assert server.read() == b"x" * 9


class TestExporters:
    def test_same_on_both_sides(self, pair: tuple[IEngine, IEngine]) -> None:
        client, server = pair
        for label, context, length in (("EXPORTER-one", b"", 32), ("EXPORTER-two", b"context", 100), ("x", b"", 1)):
            exported = client.export_keying_material(label, context, length)
            assert exported == server.export_keying_material(label, context, length)
            assert len(exported) == length
        assert client.export_keying_material("EXPORTER-one", b"", 32) != client.export_keying_material(
            "EXPORTER-one", b"x", 32
        )
        assert client.channel_binding("tls-exporter") == server.channel_binding("tls-exporter")
        assert len(client.channel_binding("tls-exporter")) == 32

    def test_different_on_every_connection(self, configs: Configs) -> None:
        bindings = {connect(*configs)[0].channel_binding("tls-exporter") for _ in range(3)}
        assert len(bindings) == 3

    @pytest.mark.parametrize(("label", "length"), [("", 32), ("x" * 250, 32), ("x", 0), ("x", 255 * 32 + 1)])
    def test_limits(self, pair: tuple[IEngine, IEngine], label: str, length: int) -> None:
        with pytest.raises(ValueError, match="expected"):
            pair[0].export_keying_material(label, b"", length)

    def test_other_bindings_do_not_exist(self, pair: tuple[IEngine, IEngine]) -> None:
        with pytest.raises(ValueError, match="tls-exporter"):
            pair[0].channel_binding("tls-unique")


def test_small_reads_of_a_large_piece_copy_nothing_twice(pair: tuple[IEngine, IEngine]) -> None:
    client, server = pair
    data = hashlib.shake_128(b"piece").digest(100_000)
    client.write(data)
    transfer(client, server)
    client.write(b"next")
    transfer(client, server)
    taken = bytearray()
    while server.pending > 50_000:
        piece = server.read(7)
        assert 1 <= len(piece) <= 7
        taken += piece
    taken += server.read()
    assert taken == data + b"next"
    assert server.pending == 0
