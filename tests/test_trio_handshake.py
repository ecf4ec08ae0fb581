"""TLSStream's handshake: who drives, who waits, what a cancellation leaves, and the questions on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import Crumbs, Gated, Through, broken_by, connected, expect_broken, shake_hands, tls_pair, trio_run

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    ClosedByPeer,
    HookError,
    PeerFault,
    TruncatedError,
)
from tlsprovider.iana import AlertDescription
from tlsprovider.questions import LATER, Question, VerifyPeer
from tlsprovider.trio import TLSStream
from tlsprovider.trust import TrustStore

Stream = TLSStream[Any]


@pytest.fixture(scope="module")
def strangers_config() -> ClientConfig:
    """A client that does not trust the server of these tests."""
    return ClientConfig(trust=TrustStore.from_crypto([Authority("somebody else").certificate]))


class TestHandshake:
    @trio_run
    async def test_again_and_again(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, far = map(Through, trio.testing.memory_stream_pair())
        client, server = await connected(client_config, server_config, (near, far))
        traffic = (len(near.sends), len(far.sends))
        await client.do_handshake()
        await server.do_handshake()
        assert (len(near.sends), len(far.sends)) == traffic == (2, 1)

    @trio_run
    async def test_what_was_negotiated(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = tls_pair(
            attrs.evolve(client_config, alpn=["h2", "http/1.1"]), attrs.evolve(server_config, alpn=["http/1.1"])
        )
        for stream in (client, server):
            assert not stream.handshake_complete
            for name in ("version", "cipher", "alpn", "server_name", "peer_certificates", "session_reused"):
                with pytest.raises(trio.NeedHandshakeError):
                    getattr(stream, name)
            with pytest.raises(trio.NeedHandshakeError):
                stream.channel_binding()
        await shake_hands(client, server)
        for stream in (client, server):
            assert stream.handshake_complete
            assert (stream.version, stream.alpn, stream.server_name) == ("TLSv1.3", "http/1.1", "localhost")
            assert (stream.cipher, stream.group) == ("TLS_AES_128_GCM_SHA256", "X25519MLKEM768")
            assert (stream.session_reused, stream.early_data) == (False, "not_sent")
        assert client.signature_scheme == "ecdsa_secp256r1_sha256" and server.signature_scheme is None
        assert client.peer_certificates == server.local_certificates != ()
        assert client.local_certificates == server.peer_certificates == server.verified_chain == ()
        assert client.verified_chain[0] == client.peer_certificates[0]
        assert client.channel_binding() == server.channel_binding()
        assert client.export_keying_material("EXPORTER-x", b"", 16) == server.export_keying_material(
            "EXPORTER-x", b"", 16
        )
        with pytest.raises(ValueError, match="tls-unique"):
            client.channel_binding("tls-unique")
        await client.aclose()
        assert client.alpn == "http/1.1"

    @trio_run
    async def test_many_callers(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = tls_pair(client_config, server_config)
        await shake_hands(client, client, server, client, server)

    @trio_run
    async def test_finished_travels_with_the_first_data(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = map(Through, trio.testing.memory_stream_pair())
        client, server = tls_pair(client_config, server_config, (near, far))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send_all, b"hello")
            assert await server.receive_some() == b"hello"
        assert (len(near.sends), len(far.sends)) == (2, 1)

    @trio_run
    async def test_who_only_receives_sends_finished_too(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, server = tls_pair(client_config, server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.send_all, b"hello")
            assert await client.receive_some() == b"hello"

    @trio_run
    async def test_an_empty_send_sends_finished_too(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, server = tls_pair(client_config, server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await client.send_all(b"")

    @trio_run
    async def test_initial_data(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        """A protocol that read too much before TLS began, or peeked to see whether it is TLS."""
        near, far = trio.testing.memory_stream_pair()
        client = TLSStream(near, client_config, "localhost")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            first = await far.receive_some(100)
            assert first[0] == 0x16
            server = TLSStream(far, server_config, server_side=True, initial_data=first)
            await server.do_handshake()
        await client.send_all(b"whole")
        assert await server.receive_some() == b"whole"

    @trio_run
    async def test_byte_by_byte(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        near, far = map(Crumbs, trio.testing.memory_stream_pair())
        client, server = await connected(client_config, server_config, (near, far))
        assert client.handshake_complete and server.handshake_complete


class TestFailure:
    @trio_run
    async def test_the_peer_is_told_why(self, strangers_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = tls_pair(strangers_config, server_config)
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, client, CertificateFault)
            nursery.start_soon(expect_broken, server, AlertReceived, found)
        assert [problem.alert for problem in found] == [AlertDescription.unknown_ca]  # type: ignore[attr-defined]
        # And so it stays.
        with broken_by(CertificateFault):
            await client.send_all(b"x")
        with broken_by(CertificateFault):
            await client.receive_some()
        with broken_by(CertificateFault):
            await client.wait_send_all_might_not_block()
        with broken_by(AlertReceived):
            await server.send_eof()
        await client.aclose()
        await server.aclose()

    @trio_run
    async def test_every_waiting_task_gets_the_transports_failure(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        client, _ = tls_pair(client_config, server_config)

        async def fail() -> None:
            raise KeyError("transport")

        client.transport_stream.receive_stream.receive_some_hook = fail

        async def first() -> None:
            with pytest.raises(KeyError):
                await client.do_handshake()

        async def second() -> None:
            with pytest.raises(trio.BrokenResourceError, match="transport"):
                await client.receive_some()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.lowlevel.checkpoint()
            nursery.start_soon(second)

    @trio_run(mock_clock=True)
    async def test_a_peer_that_does_not_read_gets_no_more_than_a_second(
        self, strangers_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        near, far = trio.testing.memory_stream_pair()
        gated = Gated(near)
        client, server = tls_pair(strangers_config, server_config, (gated, far))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            began = trio.current_time()
            async with trio.open_nursery() as shaking:
                shaking.start_soon(expect_broken, client, CertificateFault)
                while not gated.sends:
                    await trio.lowlevel.checkpoint()
                gated.shut()
            assert trio.current_time() - began == 1
            nursery.cancel_scope.cancel()

    @trio_run
    @pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
    async def test_peers_that_do_not_speak_tls_and_leave(self, server_config: ServerConfig, sent: bytes) -> None:
        near, far = trio.testing.memory_stream_pair()
        server = TLSStream(far, server_config, server_side=True)
        if sent:
            await near.send_all(sent)
        await near.send_eof()
        await expect_broken(server, PeerFault if len(sent) > 5 else TruncatedError)

    @trio_run(mock_clock=True)
    async def test_silence(self, server_config: ServerConfig) -> None:
        _, far = trio.testing.memory_stream_pair()
        server = TLSStream(far, server_config, server_side=True)
        with pytest.raises(trio.TooSlowError):
            with trio.fail_after(5):
                await server.do_handshake()
        await server.aclose()  # does not go on with it

    @trio_run
    async def test_a_peer_that_gives_up(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        client, server = tls_pair(client_config, server_config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.do_handshake)
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await client.aclose()
        await expect_broken(server, ClosedByPeer)


class TestQuestions:
    """Hooks of the configuration that take their time, or fail. VerifyPeer stands for all."""

    @staticmethod
    def pair(
        client_config: ClientConfig, server_config: ServerConfig, hook: Callable[[VerifyPeer], object]
    ) -> tuple[Stream, Stream]:
        return tls_pair(attrs.evolve(client_config, verify_peer=hook), server_config)

    @trio_run
    async def test_an_async_hook_runs_in_the_callers_task(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        tasks = []

        async def verify(question: VerifyPeer) -> bool:
            await trio.lowlevel.checkpoint()
            tasks.append(trio.lowlevel.current_task())
            return question.server_name == "localhost"

        client, server = self.pair(client_config, server_config, verify)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            await client.do_handshake()
        assert tasks == [trio.lowlevel.current_task()]

    @trio_run
    async def test_a_later_answer(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        asked: list[Question[Any]] = []

        def verify(question: VerifyPeer) -> object:
            asked.append(question)
            return LATER

        client, server = self.pair(client_config, server_config, verify)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shake_hands, client, server)
            await trio.testing.wait_all_tasks_blocked()
            assert not client.handshake_complete
            asked[0].answer(True)
        assert client.handshake_complete and len(asked) == 1

    @trio_run
    async def test_a_refusal(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async def verify(question: VerifyPeer) -> object:
            return CertificateFault("not on the list")

        client, server = self.pair(client_config, server_config, verify)
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, client, CertificateFault, found)
            nursery.start_soon(expect_broken, server, AlertReceived, found)
        assert sorted(problem.alert for problem in found) == [AlertDescription.certificate_unknown] * 2  # type: ignore

    @trio_run
    @pytest.mark.parametrize("when", ["at once", "awaited", "later"])
    async def test_a_failing_hook_reaches_the_caller(
        self, client_config: ClientConfig, server_config: ServerConfig, when: str
    ) -> None:
        async def fail() -> bool:
            raise LookupError("the list is gone")

        def verify(question: VerifyPeer) -> object:
            if when == "at once":
                raise LookupError("the list is gone")
            if when == "later":
                trio.lowlevel.current_trio_token().run_sync_soon(question.fail, LookupError("the list is gone"))
                return LATER
            return fail()

        client, server = self.pair(client_config, server_config, verify)
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, client, HookError, found)
            nursery.start_soon(expect_broken, server, AlertReceived, found)
        by_kind = {type(problem): problem for problem in found}
        assert isinstance(by_kind[HookError].__cause__, LookupError)
        assert by_kind[AlertReceived].alert is AlertDescription.internal_error  # type: ignore[attr-defined]

    @trio_run
    async def test_a_cancelled_hook_breaks_the_stream(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        async def verify(question: VerifyPeer) -> bool:
            await trio.sleep_forever()
            return True

        client, server = self.pair(client_config, server_config, verify)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, server, AlertReceived)
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(client.do_handshake)
                await trio.testing.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            with broken_by(HookError) as causes:
                await client.do_handshake()
        assert "cancelled" in str(causes[0].__cause__)

    @trio_run
    async def test_a_cancelled_wait_for_a_later_answer_is_taken_up(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        asked: list[Question[Any]] = []

        def verify(question: VerifyPeer) -> object:
            asked.append(question)
            return LATER

        client, server = self.pair(client_config, server_config, verify)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.do_handshake)
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(client.do_handshake)
                await trio.testing.wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            nursery.start_soon(client.do_handshake)
            await trio.testing.wait_all_tasks_blocked()
            asked[0].answer(True)
        assert client.handshake_complete and len(asked) == 1

    @trio_run
    @pytest.mark.parametrize("later", [True, False])
    async def test_aclose_ends_the_waiting(
        self, client_config: ClientConfig, server_config: ServerConfig, later: bool
    ) -> None:
        def verify(question: VerifyPeer) -> object:
            return LATER if later else trio.sleep_forever()

        client, server = self.pair(client_config, server_config, verify)

        async def closed() -> None:
            with pytest.raises(trio.ClosedResourceError):
                await client.do_handshake()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, server, ClosedByPeer)
            nursery.start_soon(closed)
            nursery.start_soon(closed)
            await trio.testing.wait_all_tasks_blocked()
            await client.aclose()

    @trio_run
    async def test_something_that_trio_cannot_await(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        class Strange:
            def __await__(self) -> Any:
                yield "not for trio"

        client, server = self.pair(client_config, server_config, lambda question: Strange())
        found: list[BaseException] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect_broken, client, HookError, found)
            nursery.start_soon(expect_broken, server, AlertReceived)
        assert isinstance(found[0].__cause__, TypeError)

    @trio_run
    async def test_the_server_asks_too(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async def reload(question: Any) -> ServerConfig:
            await trio.lowlevel.checkpoint()
            return attrs.evolve(server_config, alpn=["fresh"])

        client, server = await connected(
            attrs.evolve(client_config, alpn=["fresh"]), ServerConfig(on_client_hello=reload)
        )
        assert client.alpn == server.alpn == "fresh"
