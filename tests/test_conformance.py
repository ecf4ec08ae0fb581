"""Sentences with MUST of RFC 9846 about a whole engine, and promises of ours, that no other test has a place for."""

from __future__ import annotations

import os
from collections.abc import Callable

import attrs
import pytest
from loop import pump, transfer
from scripted import ScriptedClient, ScriptedServer
from sealing import COMPATIBILITY_MARK, DATA, plain

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.groups import generate
from tlsprovider.errors import CertificateFault, Fault, HookError, MisuseError, PeerFault, WantRead
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType, NamedGroup
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.questions import VerifyPeer
from tlsprovider.wire.codec import u32, vector16
from tlsprovider.wire.messages import encode_message

NATIVE = get_provider("native")


@pytest.fixture
def server_script(server_config: ServerConfig) -> ScriptedClient:
    """A scripted client, and a server under test."""
    return ScriptedClient(NATIVE.server_engine(server_config))


@pytest.fixture
def client_script(client_config: ClientConfig, server_identity: Identity) -> ScriptedServer:
    config = attrs.evolve(client_config, groups=["x25519", "secp256r1"], key_shares=["x25519"])
    return ScriptedServer(NATIVE.client_engine(config, "localhost"), server_identity)


class TestChangeCipherSpec:
    """Section 5: only after the first ClientHello and before the peer's Finished; else it is an unexpected type."""

    def test_before_the_client_hello(self, server_script: ScriptedClient) -> None:
        server_script.raw(COMPATIBILITY_MARK)
        assert isinstance(server_script.engine.failure, PeerFault)
        assert server_script.engine.failure.fault is Fault.CHANGE_CIPHER_SPEC

    def test_behind_the_client_hello(self, server_script: ScriptedClient) -> None:
        server_script.start()
        server_script.raw(COMPATIBILITY_MARK)
        server_script.read_flight()
        server_script.finish()
        assert server_script.engine.handshake_complete

    def test_after_the_finished_of_the_client(self, server_script: ScriptedClient) -> None:
        server_script.connect()
        server_script.raw(COMPATIBILITY_MARK)
        assert isinstance(server_script.engine.failure, PeerFault)

    def test_after_the_finished_of_the_server(self, client_script: ScriptedServer) -> None:
        client_script.connect()
        client_script.raw(COMPATIBILITY_MARK)
        assert isinstance(client_script.engine.failure, PeerFault)


class TestEarlyDataThatIsNotWanted:
    """Section 4.3.10: a server MUST skip it. A client may have a ticket of whoever served this name before us."""

    # One pre-shared key and its binder, well-formed; what they say is only for who issued the ticket.
    PSK = vector16(vector16(b"a ticket of somebody else") + u32(0)) + vector16(b"\x20" + bytes(32))
    OFFER = ((X.psk_key_exchange_modes, b"\x01\x01"), (X.early_data, b""), (X.pre_shared_key, PSK))

    def early_records(self) -> bytes:
        """Protected under keys that we can't have."""
        return b"".join(plain(DATA, os.urandom(length)) for length in (100, 1000, 17))

    def test_is_skipped(self, server_script: ScriptedClient) -> None:
        server_script.send(server_script.client_hello(extra=self.OFFER))
        server_script.read_server_hello()
        server_script.raw(self.early_records())
        server_script.read_flight()
        server_script.finish()
        assert server_script.engine.handshake_complete

    def test_is_skipped_when_it_comes_with_the_hello(self, server_script: ScriptedClient) -> None:
        hello = server_script.client_hello(extra=self.OFFER)
        server_script.transcript.add(hello)
        server_script.writer.write(22, hello)
        server_script.raw(server_script.writer.drain() + self.early_records())
        server_script.read_server_hello()
        server_script.read_flight()
        server_script.finish()
        assert server_script.engine.handshake_complete

    def test_is_skipped_between_the_hellos(self, server_config: ServerConfig) -> None:
        script = ScriptedClient(NATIVE.server_engine(attrs.evolve(server_config, groups=["secp256r1"])))
        script.send(script.client_hello(extra=self.OFFER))
        assert script.read_retry_request() is NamedGroup.secp256r1
        script.raw(self.early_records())
        assert script.engine.failure is None
        script.keys = {NamedGroup.secp256r1: generate(NamedGroup.secp256r1)}
        script.send(script.client_hello(extra=[one for one in self.OFFER if one[0] != X.early_data]))
        script.read_server_hello()
        script.read_flight()
        script.finish()
        assert script.engine.handshake_complete

    def test_without_the_extension_it_is_a_fault(self, server_script: ScriptedClient) -> None:
        server_script.start()
        server_script.read_flight()
        server_script.raw(self.early_records())
        assert isinstance(server_script.engine.failure, PeerFault)
        assert server_script.engine.failure.fault is Fault.BAD_RECORD_MAC

    def test_once_the_client_is_heard_nothing_is_skipped_any_more(self, server_script: ScriptedClient) -> None:
        server_script.send(server_script.client_hello(extra=self.OFFER))
        server_script.read_server_hello()
        server_script.read_flight()
        server_script.finish()
        server_script.raw(self.early_records())
        assert isinstance(server_script.engine.failure, PeerFault)
        assert server_script.engine.failure.fault is Fault.BAD_RECORD_MAC


class TestTickets:
    """Section 4.7.1: clients that don't support resumption MUST silently ignore NewSessionTicket."""

    @pytest.mark.parametrize("lifetime", [0, 1, 604_800, 604_801, 0xFFFF_FFFF])
    def test_any_lifetime(self, client_script: ScriptedServer, lifetime: int) -> None:
        client_script.connect()
        body = u32(lifetime) + u32(0) + b"\0" + vector16(b"ticket") + vector16(b"")
        client_script.send(encode_message(HandshakeType.new_session_ticket, body), note=False)
        assert client_script.engine.failure is None


class Unlisted(CertificateFault):
    """As an application would write it: with a constructor of its own."""

    def __init__(self, names: list[str], *, tenant: str) -> None:
        super().__init__(f"{', '.join(names)} is not on the list of {tenant}")
        self.tenant = tenant


class TestHooks:
    def refused_by(
        self, client_config: ClientConfig, server_config: ServerConfig, hook: Callable[[VerifyPeer], object]
    ) -> tuple[IEngine, IEngine]:
        client = NATIVE.client_engine(attrs.evolve(client_config, verify_peer=hook), "localhost")
        return client, NATIVE.server_engine(server_config)

    @pytest.mark.parametrize("way", ["returned", "raised"])
    def test_a_fault_of_the_applications_own_class(
        self, client_config: ClientConfig, server_config: ServerConfig, way: str
    ) -> None:
        def refuse(question: VerifyPeer) -> object:
            fault = Unlisted(["localhost"], tenant="alice")
            if way == "raised":
                raise fault
            return fault

        client, server = self.refused_by(client_config, server_config, refuse)
        with pytest.raises(Unlisted, match="localhost is not on the list of alice") as found:
            pump(client, server)
        assert found.value.tenant == "alice"
        assert isinstance(client.failure, Unlisted)
        assert transfer(client, server) > 0
        with pytest.raises(Unlisted):
            client.do_handshake()

    def test_giving_up_from_inside_a_hook(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """Re-entry is refused in words, or it works; it doesn't break the engine."""
        engines: list[IEngine] = []

        def give_up(question: VerifyPeer) -> bool:
            engines[0].shutdown()
            return True

        engines += self.refused_by(client_config, server_config, give_up)
        with pytest.raises((MisuseError, HookError)) as found:
            pump(*engines)
        causes = [found.value, found.value.__cause__]
        assert any(isinstance(cause, MisuseError) for cause in causes), causes
        assert not engines[0].handshake_complete


def test_input_may_be_a_view_of_any_shape(client_config: ClientConfig, server_config: ServerConfig) -> None:
    """As write() takes it: a memoryview is bytes, whatever its items are."""
    client, server = NATIVE.client_engine(client_config, "localhost"), NATIVE.server_engine(server_config)
    pump(client, server)
    client.write(b"x" * 3)
    data = client.process_outgoing()
    assert len(data) % 4 == 1
    server.process_incoming(memoryview(data[:1]))
    server.process_incoming(memoryview(data[1:]).cast("I"))
    assert server.read() == b"xxx"
    client.write(b"y" * 2)
    server.process_incoming(memoryview(client.process_outgoing()).cast("I"))
    assert server.read() == b"yy"
    with pytest.raises(WantRead):
        server.read()
