"""The contract of SSL_shutdown(3), SSL_set_shutdown(3), SSL_set_quiet_shutdown(3) and SSL_clear(3): lines X.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import pytest
from contract_transports import (
    FORGED_RECORD,
    HANDSHAKE_FAILURE,
    NOT_TLS,
    BlockingLink,
    BrokenBIO,
    Link,
    MemoryLink,
    PairLink,
    every_stepwise_transport,
    every_transport,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, Mode, Shutdown

Pair = tuple[SSL, SSL]
BOTH = Shutdown.SENT | Shutdown.RECEIVED


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


@every_transport
def test_X1_close_notify_is_sent(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.shutdown()
        assert link.waiting_for(link.server) == 5 + 2 + 1 + 16
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(1)) == b""
        assert link.server.get_error(b"") is ErrorCode.ZERO_RETURN


def test_X2_sent_is_set_whether_sending_worked_or_not(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.client.set_bio(MemoryBIO(), BrokenBIO(BrokenPipeError(32, "gone")))
        assert link.client.shutdown() == -1
        assert link.client.get_error(-1) is ErrorCode.SYSCALL
        assert link.client.get_shutdown() == Shutdown.SENT


@every_transport
def test_X4_the_first_caller_only_sends(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        assert (link.client.get_shutdown(), link.client.error) == (Shutdown.SENT, None)


@every_transport
def test_X5_the_second_call_waits_for_the_peer(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        assert link.server.shutdown() == 0
        assert link.both(link.client.shutdown, link.server.shutdown) == (1, 1)
        assert [ssl.get_shutdown() for ssl in ssls] == [BOTH, BOTH]


@every_transport
def test_X6_one_at_once_when_the_peer_was_first(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(1)) == b""
        assert link.server.shutdown() == 1
        assert link.waiting_for(link.client) > 0
        link.deliver()
        assert link.one(link.client, link.client.shutdown) == 1


def test_X7_blocking_returns_when_the_step_is_done(ssls: Pair) -> None:
    with BlockingLink(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0

        def answer() -> int:
            assert link.server.read(1) == b""
            return link.server.shutdown()

        assert link.both(link.client.shutdown, answer) == (1, 1)


@every_stepwise_transport
def test_X8_non_blocking_is_minus_one_and_repeated(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        for _ in range(2):
            assert (link.client.shutdown(), link.client.get_error(-1)) == (-1, ErrorCode.WANT_READ)
        link.deliver()
        assert link.server.shutdown() == 0
        link.deliver()
        assert link.client.shutdown() == 1


def test_X8_into_a_full_transport(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        inner = link.client.get_wbio()
        assert inner is not None
        assert inner.write(bytes(17 * 1024)) == 17 * 1024
        for _ in range(2):
            assert (link.client.shutdown(), link.client.get_error(-1)) == (-1, ErrorCode.WANT_WRITE)
            assert link.client.get_shutdown() == Shutdown.SENT
        link.client_net.read(17 * 1024)
        assert link.client.shutdown() == 0
        link.deliver()
        assert link.server.read(1) == b""
        assert link.server.get_error(b"") is ErrorCode.ZERO_RETURN


@every_transport
def test_X9_unread_data_at_the_second_step(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.server.write(b"unread") == 6
        assert link.client.shutdown() == 0
        link.deliver()
        for _ in range(2):
            assert link.one(link.client, link.client.shutdown) == -1
            assert link.client.get_error(-1) is ErrorCode.SSL
            assert "application data after close notify" in str(link.client.error)
        assert link.client.read(10) == b"unread", "it isn't lost"
        assert link.server.shutdown() == 0
        link.deliver()
        assert link.one(link.client, link.client.shutdown) == 1


@every_transport
def test_X10_only_the_writing_direction_is_closed(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert link.client.shutdown() == 0
        link.deliver()
        assert link.one(link.server, lambda: link.server.read(1)) == b""
        assert link.server.write(b"first") == 5
        assert link.server.key_update(request_peer=True) == 1
        assert link.server.write(b"second, under new keys") == 22
        assert link.server.shutdown() == 1
        link.deliver()
        assert link.one(link.client, lambda: link.client.read(100)) == b"first"
        assert link.one(link.client, lambda: link.client.read(100)) == b"second, under new keys"
        assert link.one(link.client, lambda: link.client.read(100)) == b""
        assert link.client.get_error(b"") is ErrorCode.ZERO_RETURN
        assert link.waiting_for(link.server) == 0, "after close_notify not even a KeyUpdate is answered"
        assert link.client.shutdown() == 1


@every_transport
def test_X11_after_sending_a_write_fails(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.shutdown()
        sent = link.waiting_for(link.server)
        assert link.client.write(b"late") == -1
        assert link.client.get_error(-1) is ErrorCode.SSL
        assert "protocol is shutdown" in str(link.client.error)
        assert link.waiting_for(link.server) == sent


@every_transport
def test_X12_quiet_shutdown_sends_nothing(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert not link.client.get_quiet_shutdown()
        link.client.set_quiet_shutdown(1)
        assert link.client.get_quiet_shutdown()
        assert link.client.shutdown() == link.client.shutdown() == 1
        assert link.client.get_shutdown() == BOTH
        assert link.waiting_for(link.server) == 0
        assert link.client.read(1) == b""
        assert link.client.get_error(b"") is ErrorCode.ZERO_RETURN
        assert link.client.write(b"x") == -1


@every_transport
def test_X13_the_mask(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        masks = [link.client.get_shutdown()]
        link.client.shutdown()
        masks.append(link.client.get_shutdown())
        link.server.shutdown()
        link.deliver()
        link.one(link.client, link.client.shutdown)
        masks.append(link.client.get_shutdown())
        assert masks == [0, 1, 3]
        assert int(Shutdown.RECEIVED) == 2


@every_transport
@pytest.mark.parametrize("established", [False, True])
def test_X14_received_is_set_by_a_fatal_alert_too(transport: type[Link], established: bool, ssls: Pair) -> None:
    with transport(*ssls) as link:
        if established:
            link.handshake()
            link.inject(link.server, FORGED_RECORD)
            assert link.one(link.server, lambda: link.server.read(1)) == b""
        else:
            link.inject(link.client, HANDSHAKE_FAILURE)
        link.deliver()
        assert link.one(link.client, lambda: link.client.read(1)) == b""
        assert link.client.get_error(b"") is ErrorCode.SSL
        assert link.client.get_shutdown() == Shutdown.RECEIVED


@every_transport
def test_X15_receiving_does_not_set_sent(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.shutdown()
        link.deliver()
        link.one(link.server, lambda: link.server.read(1))
        assert link.server.get_shutdown() == Shutdown.RECEIVED


@every_transport
def test_X16_set_shutdown_marks_without_sending(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        link.client.set_shutdown(Shutdown.SENT)
        assert link.client.get_shutdown() == Shutdown.SENT
        assert link.client.write(b"x") == -1
        link.server.set_shutdown(3)
        assert link.server.get_shutdown() == BOTH
        assert link.server.shutdown() == 1
        assert [link.waiting_for(ssl) for ssl in ssls] == [0, 0]


@every_transport
def test_X18_not_after_an_error(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.inject(link.server, NOT_TLS)
        link.one(link.server, link.server.do_handshake)
        alert = link.waiting_for(link.client)
        assert link.server.shutdown() == -1
        assert link.server.get_error(-1) is ErrorCode.SSL
        assert link.server.get_shutdown() == Shutdown.NONE
        assert link.waiting_for(link.client) == alert


def test_X18_nor_before_the_beginning(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        assert link.client.shutdown() == -1
        assert "uninitialized" in str(link.client.error)
        link.handshake()


@every_transport
def test_X19_clear_keeps_the_settings_and_begins_anew(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        for _ in range(2):
            link.client.set_mode(Mode.ENABLE_PARTIAL_WRITE)
            link.client.set_read_ahead(True)
            link.handshake()
            assert link.client.write(b"data") == 4
            link.deliver()
            assert link.one(link.server, lambda: link.server.peek(9)) == b"data"
            assert (link.client.shutdown(), link.server.shutdown()) == (0, 0)
            assert link.server.read(9) == b"data"
            assert link.both(link.client.shutdown, link.server.shutdown) == (1, 1)
            for ssl in ssls:
                assert ssl.clear() == 1
                assert (ssl.get_shutdown(), ssl.pending(), ssl.in_before(), ssl.version) == (0, 0, True, None)
            assert link.client.get_mode() & Mode.ENABLE_PARTIAL_WRITE
            assert link.client.get_read_ahead()


def test_X19_clear_forgets_an_error(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        link.inject(link.server, NOT_TLS)
        assert link.server.do_handshake() == -1
        link.incoming(link.server).reset()
        link.outgoing(link.server).reset()
        assert link.server.clear() == 1
        assert link.server.error is None
        link.handshake()
