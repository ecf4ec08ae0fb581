"""Listening, serving and connecting: TLSListener and the helpers, over real sockets."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio_run import (
    broken_by,
    receive_all,
    shake_hands,
    trio_run,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, ConfigError, HookError, PeerFault
from tlsprovider.trio import TLSListener, TLSStream, open_tls_listeners, open_tls_stream, serve_tls

Stream = TLSStream[Any]


@asynccontextmanager
async def serving(
    handler: Callable[[Stream], Awaitable[object]], config: ServerConfig, **options: Any
) -> AsyncIterator[int]:
    """serve_tls on a free port, which is given; cancelled at the end."""
    async with trio.open_nursery() as nursery:
        [listener] = await nursery.start(partial(serve_tls, handler, 0, config, host="127.0.0.1", **options))
        yield listener.transport_listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def echo(stream: Stream) -> None:
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


async def ask(port: int, config: ClientConfig, data: bytes = b"hello") -> bytes:
    async with await open_tls_stream("127.0.0.1", port, config, server_hostname="localhost") as stream:
        await stream.send_all(data)
        await stream.send_eof()
        return await receive_all(stream)


class TestHelpers:
    @trio_run
    async def test_serve_and_connect(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async with serving(echo, server_config) as port:
            assert await ask(port, client_config) == b"hello"
            stream = await open_tls_stream("127.0.0.1", port, client_config)
            async with stream:
                await stream.do_handshake()  # the certificate is for the address as well
                assert isinstance(stream.transport_stream, trio.SocketStream)
                assert stream.server_name == "127.0.0.1"

    @trio_run
    async def test_the_handler_gets_a_finished_handshake(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        seen = []

        async def handler(stream: Stream) -> None:
            seen.append((stream.handshake_complete, stream.alpn))

        async with serving(handler, attrs.evolve(server_config, alpn=["h2"])) as port:
            async with await open_tls_stream(
                "localhost", port, attrs.evolve(client_config, alpn=["h2"]), https_compatible=True
            ) as stream:
                assert await stream.receive_some() == b""
        assert seen == [(True, "h2")]

    @trio_run
    async def test_a_failed_handshake_is_a_log_record_and_a_call(
        self,
        client_config: ClientConfig,
        server_config: ServerConfig,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        caplog.set_level(logging.INFO)
        failures: list[tuple[Stream, Exception]] = []
        told = trio.Event()

        def failed(stream: Stream, problem: Exception) -> None:
            failures.append((stream, problem))
            told.set()

        async with serving(echo, server_config, on_handshake_error=failed) as port:
            plain = await trio.open_tcp_stream("127.0.0.1", port)
            async with plain:
                await plain.send_all(b"GET / HTTP/1.1\r\n\r\n")
                alert = await plain.receive_some()
                assert alert[0] == 21
                await told.wait()
                assert await ask(port, client_config) == b"hello"
        [(stream, problem)] = failures
        assert isinstance(stream, TLSStream) and isinstance(problem.__cause__, PeerFault)
        [record] = caplog.records
        assert (record.levelno, record.exc_info, record.name) == (logging.INFO, None, "tlsprovider.trio.helpers")
        assert record.getMessage().startswith("TLS handshake with 127.0.0.1 port ")
        assert "does not speak TLS" in record.getMessage() and "\n" not in record.getMessage()
        assert capfd.readouterr() == ("", "")

    @trio_run
    async def test_the_call_may_be_async(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        problems = []

        async def failed(stream: Stream, problem: Exception) -> None:
            await trio.lowlevel.checkpoint()
            problems.append(problem.__cause__)
            raise LookupError("a mistake, which does not end the server")

        async with serving(echo, server_config, on_handshake_error=failed) as port:
            async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
                await plain.send_all(b"SSH-2.0-x\r\n")
                await receive_all(plain)
            assert await ask(port, client_config) == b"hello"
        assert [type(problem) for problem in problems] == [PeerFault]

    @trio_run
    async def test_silence_is_not_waited_for(
        self, server_config: ServerConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with serving(echo, server_config, handshake_timeout=0.01) as port:
            async with await trio.open_tcp_stream("127.0.0.1", port) as silent:
                assert await silent.receive_some() == b""
        assert "was not complete after 0.01 seconds" in caplog.text

    @trio_run
    async def test_the_default_config_trusts_no_stranger(self, server_config: ServerConfig) -> None:
        async with serving(echo, server_config) as port:
            stream = await open_tls_stream("localhost", port)
            with broken_by(CertificateFault):
                await stream.do_handshake()
            await stream.aclose()

    @trio_run
    async def test_a_nursery_of_ones_own(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async def handler(stream: Stream) -> None:
            assert trio.lowlevel.current_task().parent_nursery is nursery
            await echo(stream)

        async with trio.open_nursery() as nursery:
            async with serving(handler, server_config, handler_nursery=nursery) as port:
                assert await ask(port, client_config) == b"hello"

    @trio_run
    async def test_no_limit(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        async with serving(echo, server_config, handshake_timeout=None) as port:
            assert await ask(port, client_config) == b"hello"

    @trio_run
    async def test_a_failing_on_handshake_error_does_not_end_the_server(
        self, client_config: ClientConfig, server_config: ServerConfig, caplog: pytest.LogCaptureFixture
    ) -> None:
        def failed(stream: Stream, problem: Exception) -> None:
            raise LookupError("a mistake")

        async with serving(echo, server_config, on_handshake_error=failed) as port:
            async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
                await plain.send_all(b"SSH-2.0-x\r\n")
                await plain.receive_some()
            assert await ask(port, client_config) == b"hello"
        assert "on_handshake_error failed" in caplog.text

    @trio_run
    async def test_a_failing_hook_of_the_config_does_not_end_the_server(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        problems = []

        def first_fails(question: object) -> ServerConfig:
            if not problems:
                raise LookupError("no config today")
            return server_config

        async with serving(
            echo,
            ServerConfig(on_client_hello=first_fails),
            on_handshake_error=lambda stream, problem: problems.append(problem.__cause__),
        ) as port:
            with pytest.raises(trio.BrokenResourceError, match="internal_error"):
                await ask(port, client_config)
            assert await ask(port, client_config) == b"hello"
        assert [type(problem) for problem in problems] == [HookError]

    @trio_run
    async def test_an_exception_of_the_handler_ends_the_server(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        async def fail(stream: Stream) -> None:
            raise LookupError("the application's own")

        with pytest.RaisesGroup(LookupError, flatten_subgroups=True):
            async with serving(fail, server_config) as port:
                async with await open_tls_stream("127.0.0.1", port, client_config) as stream:
                    await stream.do_handshake()
                    await trio.sleep_forever()

    @trio_run
    async def test_configs_of_no_use_are_refused_at_once(
        self, client_config: ClientConfig, server_config: ServerConfig
    ) -> None:
        with pytest.raises(ConfigError, match="needs a ServerConfig"):
            await serve_tls(echo, 0, client_config, host="127.0.0.1")  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="unknown provider"):
            await open_tls_listeners(0, server_config, "127.0.0.1", provider="naive")
        async with serving(echo, server_config) as port:
            with pytest.raises(ConfigError, match="needs a ClientConfig"):
                await open_tls_stream("127.0.0.1", port, server_config)  # type: ignore[arg-type]

    @trio_run
    @pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
    async def test_an_address_that_refuses(self, address: str, client_config: ClientConfig) -> None:
        """There is no race to one address, and an error as after a race."""
        with trio.socket.socket(trio.socket.AF_INET if "." in address else trio.socket.AF_INET6) as nobody:
            try:
                await nobody.bind((address, 0))
            except OSError:
                pytest.skip(f"{address} is no address of this machine")
            port = nobody.getsockname()[1]
            problems = []
            for connect in (trio.open_tcp_stream, open_tls_stream):
                with pytest.raises(OSError, match="all attempts to connect to") as caught:
                    await connect(address, port)
                cause = caught.value.__cause__
                assert isinstance(cause, ExceptionGroup)
                problems.append((str(caught.value), [type(one) for one in cause.exceptions]))
        assert problems[0] == problems[1]

    @trio_run
    async def test_a_connect_that_is_cancelled_closes_its_socket(
        self, client_config: ClientConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = []
        make = trio.socket.socket
        monkeypatch.setattr("trio.socket.socket", lambda *args: made.append(make(*args)) or made[-1])
        with trio.CancelScope() as scope:
            scope.cancel()
            await open_tls_stream("127.0.0.1", 1, client_config)
        assert scope.cancelled_caught
        assert [one.fileno() for one in made] == [-1]

    @trio_run
    async def test_listeners(self, client_config: ClientConfig, server_config: ServerConfig) -> None:
        [listener] = await open_tls_listeners(0, server_config, "127.0.0.1", backlog=4, https_compatible=True)
        async with listener:
            assert isinstance(listener, TLSListener)
            near = await trio.testing.open_stream_to_socket_listener(listener.transport_listener)
            server = await listener.accept()
            assert not server.handshake_complete  # one slow client must not keep the next one waiting
            async with TLSStream(near, client_config, "localhost") as client, server:
                await shake_hands(client, server)
                await near.aclose()
                assert await server.receive_some() == b""  # https_compatible
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()

    @trio_run
    async def test_a_connection_that_can_not_be_wrapped_is_closed(
        self, server_config: ServerConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise MemoryError

        [listener] = await open_tls_listeners(0, server_config, "127.0.0.1")
        async with listener:
            monkeypatch.setattr("tlsprovider.trio.listener.TLSStream", fail)
            near = await trio.testing.open_stream_to_socket_listener(listener.transport_listener)
            async with near:
                with pytest.raises(MemoryError):
                    await listener.accept()
                assert await near.receive_some() == b""
