"""What was decided where the man pages leave a choice: section 0 of the contract.

Each test is named after its decision; ``test_contract.py`` lists all.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from contract_transports import (
    CLOSE_NOTIFY,
    HANDSHAKE_FAILURE,
    NOT_TLS,
    BrokenBIO,
    Link,
    MemoryLink,
    every_stepwise_transport,
    every_transport,
    make_ssls,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import MisuseError
from tlsprovider.questions import Question
from tlsprovider.ssl import SSL, ErrorCode, bio_pair

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


@every_transport
def test_decision_1_controlled_is_zero_and_an_error_alert_is_minus_one(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    for arriving, expected in (
        (CLOSE_NOTIFY, (0, ErrorCode.ZERO_RETURN)),
        (HANDSHAKE_FAILURE, (-1, ErrorCode.SSL)),
        (NOT_TLS, (-1, ErrorCode.SSL)),
    ):
        with transport(*make_ssls(client_config, server_config)) as link:
            link.inject(link.client, arriving)
            ret = link.one(link.client, link.client.do_handshake)
            assert isinstance(ret, int)
            assert (ret, link.client.get_error(ret)) == expected


@every_transport
@pytest.mark.parametrize("side", [0, 1], ids=["client", "server"])
def test_decision_2_unexpected_eof_is_an_ssl_error(transport: type[Link], side: int, ssls: Pair) -> None:
    ssl = ssls[side]
    with transport(*ssls) as link:
        link.inject_eof(ssl)
        assert link.one(ssl, ssl.do_handshake) == -1
        assert ssl.get_error(-1) is ErrorCode.SSL
        assert "unexpected eof while reading" in str(ssl.error)


def test_decision_2_an_io_error_is_kept(ssls: Pair) -> None:
    for ssl in ssls:
        trouble = TimeoutError(110, "the network is gone")
        ssl.set_bio(BrokenBIO(trouble), BrokenBIO(trouble))
        for _ in range(2):
            assert ssl.do_handshake() == -1
            assert ssl.get_error(-1) is ErrorCode.SYSCALL
            assert ssl.error is trouble
        assert trouble.__traceback__ is None


@every_stepwise_transport
def test_decision_3_the_error_belongs_to_the_object(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    with (
        transport(*make_ssls(client_config, server_config)) as good,
        transport(*make_ssls(client_config, server_config)) as bad,
    ):
        good_ret = good.client.do_handshake()
        bad.inject(bad.client, NOT_TLS)
        bad_ret = bad.client.do_handshake()
        for _ in range(2):
            assert good.client.get_error(good_ret) is ErrorCode.WANT_READ
            assert good.client.error is None
            assert bad.client.get_error(bad_ret) is ErrorCode.SSL
        good.handshake()
        assert bad.client.get_error(bad_ret) is ErrorCode.SSL


@every_transport
def test_decision_4_what_goes_wrong_is_a_code_and_not_an_exception(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    calls: list[Callable[[SSL], object]] = [
        SSL.do_handshake,
        SSL.shutdown,
        SSL.key_update,
        lambda ssl: ssl.read(10),
        lambda ssl: ssl.peek(10),
        lambda ssl: ssl.write(b"data"),
        lambda ssl: ssl.read_ex(bytearray(3)),
        lambda ssl: ssl.write_ex(b"data"),
    ]
    for call in calls:
        with transport(*make_ssls(client_config, server_config)) as link:
            link.inject(link.server, NOT_TLS)
            assert call(link.server) in (-1, b"", (0, 0))
            assert link.server.get_error(-1) is ErrorCode.SSL
            assert link.server.error is not None
            assert link.server.error.__traceback__ is None


@settings(deadline=None, max_examples=50, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arriving=st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_decision_4_whatever_arrives(
    client_config: ClientConfig, server_config: ServerConfig, arriving: list[bytes]
) -> None:
    for role in (0, 1):
        with MemoryLink(*make_ssls(client_config, server_config)) as link:
            ssl = (link.client, link.server)[role]
            for piece in [b"", *arriving]:
                link.inject(ssl, piece)
                ret = ssl.do_handshake()
                assert ret in (-1, 0)
                assert ssl.get_error(ret) in (ErrorCode.WANT_READ, ErrorCode.SSL, ErrorCode.ZERO_RETURN)


def test_decision_5_want_write_only_when_bytes_are_stuck(ssls: Pair) -> None:
    client = ssls[0]
    small, _ = bio_pair(20)
    client.set_bio(small, small)
    assert client.do_handshake() == -1
    assert client.want_write()
    with MemoryLink(*ssls) as link:
        # The transport never fills: output exists after every step and nobody is told to wait for room.
        for ssl in (link.client, link.server):
            assert ssl.do_handshake() == -1
            assert ssl.want_read()


@every_stepwise_transport
def test_decision_6_reading_and_writing_are_suspended_separately(transport: type[Link], ssls: Pair) -> None:
    """Both ends write more than fits, and neither stops reading for that."""
    big = bytes(range(256)) * 8192
    got = {ssl: b"" for ssl in ssls}
    todo = set(ssls)
    with transport(*ssls) as link:
        link.handshake()
        for _ in range(5000):
            for ssl in ssls:
                if ssl in todo and ssl.write(big) == len(big):
                    todo.remove(ssl)
                while data := ssl.read(1 << 16):
                    got[ssl] += data
                assert ssl.get_error(b"") is ErrorCode.WANT_READ
                link.deliver()
            if not todo and all(len(data) == len(big) for data in got.values()):
                break
        assert [got[ssl] == big for ssl in ssls] == [True, True]


def test_decision_7_codes() -> None:
    assert [(code.name, int(code)) for code in ErrorCode] == [
        ("NONE", 0),
        ("SSL", 1),
        ("WANT_READ", 2),
        ("WANT_WRITE", 3),
        ("WANT_X509_LOOKUP", 4),
        ("SYSCALL", 5),
        ("ZERO_RETURN", 6),
        ("WANT_CONNECT", 7),
        ("WANT_ACCEPT", 8),
        ("WANT_ASYNC", 9),
        ("WANT_ASYNC_JOB", 10),
        ("WANT_CLIENT_HELLO_CB", 11),
        ("WANT_RETRY_VERIFY", 12),
        ("WANT_PRIVATE_KEY_OPERATION", 64),
        ("WANT_SESSION", 65),
        ("WANT_EARLY_DATA_DECISION", 66),
    ]
    assert {question.error_code for question in Question.__subclasses__()} <= set(ErrorCode)


@every_transport
def test_decision_8_writing_nothing_returns_zero_and_sends_nothing(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        for ssl in ssls:
            assert ssl.write(b"") == 0
            assert ssl.write_ex(b"") == (1, 0)
            assert ssl.error is None
        assert [link.waiting_for(ssl) for ssl in ssls] == [0, 0]


@every_stepwise_transport
def test_decision_9_the_role_can_not_be_set_after_the_beginning(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert (link.client.do_handshake(), link.server.do_handshake()) == (-1, -1)
        with pytest.raises(MisuseError, match="has begun"):
            link.client.set_connect_state()
        with pytest.raises(MisuseError, match="has begun"):
            link.server.set_accept_state()
        link.handshake()
