"""The contract of SSL_accept(3), SSL_connect(3) and SSL_set_connect_state(3): lines A, C and R.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import pytest
from contract_transports import (
    CLOSE_NOTIFY,
    NOT_TLS,
    BlockingLink,
    Link,
    MemoryLink,
    every_stepwise_transport,
    every_transport,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import MisuseError
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, bio_pair

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


@pytest.fixture
def roleless(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return SSL(client_config, server_hostname="localhost"), SSL(server_config)


# -- A and C: SSL_accept(3), SSL_connect(3) ----------------------------------------------------------------------------


def test_A1_accept_needs_a_transport(server_config: ServerConfig) -> None:
    ssl = SSL(server_config)
    assert ssl.accept() == -1
    assert ssl.get_error(-1) is ErrorCode.SSL
    assert "no BIO" in str(ssl.error)
    ssl.set_bio(MemoryBIO(), MemoryBIO())
    assert ssl.accept() == -1
    assert ssl.get_error(-1) is ErrorCode.WANT_READ, "a wrong call must not spoil the object"


def test_C1_connect_needs_a_transport(client_config: ClientConfig) -> None:
    ssl = SSL(client_config, server_hostname="localhost")
    assert ssl.connect() == -1
    assert ssl.get_error(-1) is ErrorCode.SSL
    assert "no BIO" in str(ssl.error)
    ssl.set_bio(MemoryBIO(), MemoryBIO())
    assert ssl.connect() == -1
    assert ssl.get_error(-1) is ErrorCode.WANT_READ


@every_stepwise_transport
def test_A2_accept_sets_the_role(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        assert link.server.accept() == -1
        assert link.server.is_server()
        assert link.server.do_handshake() == -1
        assert link.server.get_error(-1) is ErrorCode.WANT_READ


@every_stepwise_transport
def test_C2_connect_sets_the_role(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        assert link.client.connect() == -1
        assert not link.client.is_server()
        assert link.client.do_handshake() == -1
        assert link.client.get_error(-1) is ErrorCode.WANT_READ


def test_A2_C2_the_configuration_decides_which_role_is_possible(roleless: Pair) -> None:
    with MemoryLink(*roleless) as link:
        assert link.client.accept() == -1
        assert link.client.get_error(-1) is ErrorCode.SSL
        assert "accepting needs a ServerConfig" in str(link.client.error)
        assert link.server.connect() == -1
        assert "connecting needs a ClientConfig" in str(link.server.error)
        assert link.both(link.client.connect, link.server.accept) == (1, 1)


def test_A3_C3_blocking_returns_only_when_finished_or_failed(roleless: Pair) -> None:
    with BlockingLink(*roleless) as link:
        assert link.both(link.client.connect, link.server.accept) == (1, 1)


def test_A3_blocking_returns_an_error(roleless: Pair) -> None:
    with BlockingLink(*roleless) as link:
        link.inject(link.server, NOT_TLS)
        assert link.server.accept() == -1
        assert link.server.get_error(-1) is ErrorCode.SSL


def test_C3_blocking_returns_an_error(roleless: Pair) -> None:
    with BlockingLink(*roleless) as link:
        link.inject(link.client, NOT_TLS)
        assert link.client.connect() == -1
        assert link.client.get_error(-1) is ErrorCode.SSL


@every_stepwise_transport
def test_A4_accept_that_would_block_is_minus_one(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        ret = link.server.accept()
        assert (ret, link.server.get_error(ret)) == (-1, ErrorCode.WANT_READ)


@every_stepwise_transport
def test_C4_connect_that_would_block_is_minus_one(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        ret = link.client.connect()
        assert (ret, link.client.get_error(ret)) == (-1, ErrorCode.WANT_READ)


def test_C4_connect_into_a_full_pair_is_minus_one(roleless: Pair) -> None:
    client = roleless[0]
    inner, _ = bio_pair(10)
    client.set_bio(inner, inner)
    ret = client.connect()
    assert (ret, client.get_error(ret)) == (-1, ErrorCode.WANT_WRITE)


@every_stepwise_transport
def test_A5_C5_the_same_call_is_repeated_after_the_action(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        assert link.both(link.client.connect, link.server.accept) == (1, 1)


@every_transport
def test_A6_accept_returns_zero_one_or_less(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    outcomes = {}
    for arriving, expected in ((CLOSE_NOTIFY, 0), (NOT_TLS, -1)):
        with transport(*make_ssls(client_config, server_config)) as link:
            link.inject(link.server, arriving)
            outcomes[expected] = link.one(link.server, link.server.accept)
    with transport(*make_ssls(client_config, server_config)) as link:
        outcomes[1] = link.both(link.client.connect, link.server.accept)[1]
    assert outcomes == {0: 0, 1: 1, -1: -1}


@every_transport
def test_C6_connect_returns_zero_one_or_less(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    outcomes = {}
    for arriving, expected in ((CLOSE_NOTIFY, 0), (NOT_TLS, -1)):
        with transport(*make_ssls(client_config, server_config)) as link:
            link.inject(link.client, arriving)
            outcomes[expected] = link.one(link.client, link.client.connect)
    with transport(*make_ssls(client_config, server_config)) as link:
        outcomes[1] = link.both(link.client.connect, link.server.accept)[0]
    assert outcomes == {0: 0, 1: 1, -1: -1}


@every_stepwise_transport
def test_A7_accept_waits_for_the_client(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        for _ in range(3):
            assert link.server.accept() == -1
            assert link.server.want_read()
        assert link.waiting_for(link.client) == 0


@every_stepwise_transport
def test_C7_connect_begins_by_itself(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        assert link.client.connect() == -1
        assert link.waiting_for(link.server) > 0


@every_stepwise_transport
def test_A8_C8_do_handshake_goes_on_with_the_same_handshake(transport: type[Link], roleless: Pair) -> None:
    messages = []
    roleless[0].set_msg_callback(lambda sent, version, content_type, data, ssl: messages.append((sent, data[0])))
    with transport(*roleless) as link:
        assert (link.client.connect(), link.server.accept()) == (-1, -1)
        link.handshake()
        assert (link.client.connect(), link.server.accept()) == (1, 1)
    assert messages.count((True, 1)) == 1, "one ClientHello"


# -- R: SSL_set_connect_state(3) ---------------------------------------------------------------------------------------


def test_R1_R3_set_connect_state_sets_client_mode(roleless: Pair) -> None:
    client = roleless[0]
    assert client.set_connect_state() is None  # type: ignore[func-returns-value]
    assert not client.is_server()
    client.set_bio(MemoryBIO(), MemoryBIO())
    assert client.do_handshake() == -1
    assert client.get_error(-1) is ErrorCode.WANT_READ


def test_R2_R3_set_accept_state_sets_server_mode(roleless: Pair) -> None:
    server = roleless[1]
    assert server.set_accept_state() is None  # type: ignore[func-returns-value]
    assert server.is_server()
    server.set_bio(MemoryBIO(), MemoryBIO())
    assert server.do_handshake() == -1
    assert server.get_error(-1) is ErrorCode.WANT_READ


def test_R1_R2_a_role_that_the_configuration_does_not_have_is_refused(roleless: Pair) -> None:
    with pytest.raises(MisuseError, match="needs a ServerConfig"):
        roleless[0].set_accept_state()
    with pytest.raises(MisuseError, match="needs a ClientConfig"):
        roleless[1].set_connect_state()


@every_transport
def test_R4_the_role_must_be_explicit(transport: type[Link], roleless: Pair) -> None:
    """Although a ClientConfig can only be a client's."""
    with transport(*roleless) as link:
        for ssl in roleless:
            for call in (ssl.do_handshake, lambda ssl=ssl: ssl.read(1), lambda ssl=ssl: ssl.write(b"x")):
                assert call() in (-1, b"")
                assert ssl.last_return == -1
                assert ssl.get_error(-1) is ErrorCode.SSL
                assert "connection type not set" in str(ssl.error)
        for ssl in roleless:
            ssl.set_accept_state() if ssl.is_server() else ssl.set_connect_state()
        link.handshake()


@every_transport
def test_R5_connect_and_accept_set_the_role(transport: type[Link], roleless: Pair) -> None:
    with transport(*roleless) as link:
        assert link.both(link.client.connect, link.server.accept) == (1, 1)
        assert [ssl.do_handshake() for ssl in roleless] == [1, 1]


@every_transport
def test_R6_is_server(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        assert (link.client.is_server(), link.server.is_server()) == (0, 1)


def test_R7_is_server_before_a_role_was_set(roleless: Pair) -> None:
    assert (roleless[0].is_server(), roleless[1].is_server()) == (0, 1)


def test_R8_the_role_may_be_set_again_until_the_handshake_begins(ssls: Pair) -> None:
    ssls[0].set_connect_state()
    ssls[1].set_accept_state()
    with MemoryLink(*ssls) as link:
        link.handshake()
