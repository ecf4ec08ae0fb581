"""The contract of the callbacks that tell, of state, names and protocols: lines K6 to K14.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from contract_transports import (
    FORGED_RECORD,
    Link,
    MemoryLink,
    every_stepwise_transport,
    every_transport,
    fails,
    is_suspended,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import CertificateFault, Fault, MisuseError, PeerFault
from tlsprovider.events import Event
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.questions import ClientHelloReceived
from tlsprovider.ssl import SSL, ErrorCode, InfoEvent, Shutdown, VerifyResult
from tlsprovider.trust import TrustStore

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


@every_transport
def test_K6_verify_result_is_ok_without_a_certificate_too(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.client.get_verify_result() is VerifyResult.OK
        link.handshake()
        assert [ssl.get_verify_result() for ssl in ssls] == [VerifyResult.OK, VerifyResult.OK]
        assert [len(ssl.peer_certificates) for ssl in ssls] == [1, 0]


@every_transport
def test_K6_verify_result_says_what_was_wrong(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    cases = [
        (attrs.evolve(client_config, clock=lambda: 4e9), "localhost", VerifyResult.CERT_HAS_EXPIRED),
        (client_config, "other.example", VerifyResult.HOSTNAME_MISMATCH),
        (ClientConfig(trust=stranger()), "localhost", VerifyResult.UNABLE_TO_GET_ISSUER_CERT_LOCALLY),
    ]
    for config, name, expected in cases:
        client = SSL(config, server_hostname=name)
        client.set_connect_state()
        with transport(client, make_ssls(client_config, server_config)[1]) as link:
            assert isinstance(fails(link, client), CertificateFault)
            assert client.get_verify_result() is expected


def stranger() -> TrustStore:
    """A trust store that has nothing to do with the certificates of these tests."""
    return TrustStore.from_crypto([Authority("somebody else").certificate])


# -- telling -----------------------------------------------------------------------------------------------------------


@every_stepwise_transport
def test_K7_info_callback(transport: type[Link], ssls: Pair) -> None:
    told: dict[SSL, list[tuple[int, int]]] = {ssl: [] for ssl in ssls}
    for ssl in ssls:
        ssl.set_info_callback(lambda ssl, where, value: told[ssl].append((where, value)))
    with transport(*ssls) as link:
        link.handshake()
        link.inject(link.client, FORGED_RECORD)
        assert link.client.read(1) == b""
        link.deliver()
        assert link.server.read(1) == b""
    for ssl, side in zip(ssls, (InfoEvent.CONNECT, InfoEvent.ACCEPT), strict=True):
        events = told[ssl]
        assert events[0] == (InfoEvent.HANDSHAKE_START, 1)
        assert events.count((InfoEvent.HANDSHAKE_DONE, 1)) == 1
        assert (side | InfoEvent.LOOP, 1) in events
        exits = [value for where, value in events if where == side | InfoEvent.EXIT]
        assert set(exits[:-1]) == {-1} and exits[-1] == 1
    assert told[ssls[0]][-1] == (InfoEvent.WRITE_ALERT, 2 << 8 | AlertDescription.bad_record_mac)
    assert told[ssls[1]][-1] == (InfoEvent.READ_ALERT, 2 << 8 | AlertDescription.bad_record_mac)


@every_transport
def test_K8_msg_callback_sees_messages_and_never_data(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    events: list[Event] = []
    client, server = make_ssls(attrs.evolve(client_config, on_event=events.append), server_config)
    seen: list[tuple[bool, int, int, bytes]] = []
    client.set_msg_callback(lambda sent, version, kind, data, ssl: seen.append((sent, version, kind, data)))
    with transport(client, server) as link:
        link.handshake()
        client.write(b"secret application data")
        client.key_update()
        link.inject(client, FORGED_RECORD)
        assert client.read(1) == b""
    assert [(sent, kind, data[0]) for sent, _, kind, data in seen] == [
        (True, 22, 1),
        (False, 22, 2),
        (False, 22, 8),
        (False, 22, 11),
        (False, 22, 15),
        (False, 22, 20),
        (True, 22, 20),
        (True, 22, 24),
        (True, 21, 2),
    ]
    assert {version for _, version, _, _ in seen} == {0x0304}
    assert all(len(data) == 4 + int.from_bytes(data[1:4], "big") for _, _, kind, data in seen if kind == 22)
    assert not any(b"application data" in data for _, _, _, data in seen)
    assert "handshake_done" in [event.kind for event in events], "the configuration's own listener hears it as well"


@every_stepwise_transport
def test_K9_state_strings(transport: type[Link], ssls: Pair) -> None:
    with transport(*ssls) as link:
        assert link.client.state_string() == "PINIT "
        assert link.client.state_string_long() == "TLSv1.3 client before initialization"
        assert (link.client.do_handshake(), is_suspended(link.client, -1)) == (-1, True)
        assert (link.client.state_string(), link.client.state_string_long()) == (
            "TRSH  ",
            "TLSv1.3 client read server hello",
        )
        link.deliver()
        assert link.server.do_handshake() == -1
        assert link.server.state_string_long() == "TLSv1.3 server read finished"
        link.handshake()
        assert repr(link.client) == "<SSL TLSv1.3 client negotiation finished>"
        for ssl in ssls:
            assert ssl.state_string() == "SSLOK "
            assert ssl.state_string_long().endswith("negotiation finished")


def test_K9_the_string_has_six_letters_in_every_state(ssls: Pair, client_identity: Identity) -> None:
    states: set[tuple[str, str]] = set()
    for ssl in ssls:
        ssl.set_info_callback(lambda ssl, where, value: states.add((ssl.state_string(), ssl.state_string_long())))
    with MemoryLink(*ssls) as link:
        link.handshake()
        link.inject(link.client, FORGED_RECORD)
        assert link.client.read(1) == b""
        states.add((link.client.state_string(), link.client.state_string_long()))
    assert {len(short) for short, _ in states} == {6}
    shorts = {short.strip() for short, _ in states}
    assert {"TWCH", "TRSH", "TREE", "TRC", "TRCV", "TRF", "TWF", "TWSH", "SSLERR"} <= shorts
    assert len(states) > 12


@every_stepwise_transport
def test_K10_state_agrees_with_the_return_codes(transport: type[Link], ssls: Pair) -> None:
    def checked(ssl: SSL) -> Callable[[], int]:
        def call() -> int:
            ret = ssl.do_handshake()
            assert (ret == 1) is ssl.is_init_finished() is not ssl.in_init()
            assert not ssl.in_before()
            return ret

        return call

    with transport(*ssls) as link:
        assert all(ssl.in_before() and ssl.in_init() and not ssl.is_init_finished() for ssl in ssls)
        assert link.both(checked(link.client), checked(link.server)) == (1, 1)


@every_transport
@pytest.mark.parametrize(
    "given, set_to, added, matches",
    [
        ("localhost", [], [], True),
        ("localhost", ["other.example"], [], False),
        ("other.example", ["localhost"], [], True),
        ("other.example", [], ["localhost"], True),
        ("localhost", [], ["other.example"], True),
        ("localhost", ["other.example"], ["another.example"], False),
        ("localhost", ["other.example"], ["example.com"], True),
        (None, ["localhost"], [], True),
        (None, [], ["other.example", "127.0.0.1"], True),
    ],
)
def test_K11_hosts(
    transport: type[Link],
    given: str | None,
    set_to: list[str],
    added: list[str],
    matches: bool,
    client_config: ClientConfig,
    server_config: ServerConfig,
) -> None:
    client = SSL(client_config, server_hostname=given)
    assert [client.set1_host(name) for name in set_to] == [1] * len(set_to)
    assert [client.add1_host(name) for name in added] == [1] * len(added)
    client.set_connect_state()
    with transport(client, make_ssls(client_config, server_config)[1]) as link:
        if matches:
            link.handshake()
            assert len(client.verified_chain) == 2
        else:
            assert isinstance(fails(link, client), CertificateFault)
            assert client.get_verify_result() is VerifyResult.HOSTNAME_MISMATCH
        with pytest.raises(MisuseError, match="before the handshake"):
            client.set1_host("example.com")


def test_K11_names_are_a_matter_for_clients(ssls: Pair) -> None:
    for call in (ssls[1].set1_host, ssls[1].add1_host):
        with pytest.raises(MisuseError, match="only a client"):
            call("localhost")


def test_K11_no_name_at_all(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client = SSL(client_config, server_hostname="other.example")
    assert client.set1_host(None) == 1
    client.set_connect_state()
    with MemoryLink(client, make_ssls(client_config, server_config)[1]):
        assert client.do_handshake() == -1
        assert "server_hostname" in str(client.error)


def test_K11_without_any_name_nothing_is_sent(client_config: ClientConfig, server_config: ServerConfig) -> None:
    client = SSL(client_config)
    client.set_connect_state()
    with MemoryLink(client, make_ssls(client_config, server_config)[1]) as link:
        assert (client.do_handshake(), client.get_error(-1)) == (-1, ErrorCode.SSL)
        assert "server_hostname" in str(client.error)
        assert link.waiting_for(link.server) == 0
        client.set1_host("localhost")
        link.handshake()


@every_transport
def test_K13_keylog_callback(transport: type[Link], client_config: ClientConfig, server_config: ServerConfig) -> None:
    own: list[str] = []
    client, server = make_ssls(attrs.evolve(client_config, keylog=own.append), server_config)
    lines: dict[SSL, list[str]] = {client: [], server: []}
    for ssl in (client, server):
        ssl.set_keylog_callback(lambda ssl, line: lines[ssl].append(line))
    with transport(client, server) as link:
        link.handshake()
    assert sorted(lines[client]) == sorted(lines[server]) == sorted(own)
    assert [line.split()[0] for line in lines[client]] == [
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
        "EXPORTER_SECRET",
    ]
    assert all(len(line.split(" ")) == 3 and "\n" not in line for line in lines[client])


def test_K13_the_line_comes_before_the_secret_is_used(ssls: Pair) -> None:
    with MemoryLink(*ssls) as link:
        sent_at: dict[str, int] = {}

        def callback(ssl: SSL, line: str) -> None:
            sent_at[line.split()[0]] = link.outgoing(ssl).pending()

        link.server.set_keylog_callback(callback)
        link.client.do_handshake()
        link.deliver()
        link.server.do_handshake()
        assert set(sent_at.values()) == {0}
        assert link.outgoing(link.server).pending() > 0


@every_transport
@pytest.mark.parametrize(
    "offered, spoken, result", [(["h2"], ["h2", "x"], "h2"), (["h2"], [], None), ([], ["h2"], None)]
)
def test_K14_alpn(
    transport: type[Link],
    offered: list[str],
    spoken: list[str],
    result: str | None,
    client_config: ClientConfig,
    server_config: ServerConfig,
) -> None:
    """Chosen (OK), or left out on either side (NOACK)."""
    ssls = make_ssls(attrs.evolve(client_config, alpn=offered), attrs.evolve(server_config, alpn=spoken))
    with transport(*ssls) as link:
        link.handshake()
        assert [ssl.alpn for ssl in ssls] == [result, result]


@every_transport
def test_K14_fatal_outcomes(transport: type[Link], client_config: ClientConfig, server_config: ServerConfig) -> None:
    def refuse_name(question: ClientHelloReceived) -> ServerConfig:
        raise PeerFault(Fault.UNKNOWN_NAME, str(question.server_name))

    for server, alert in (
        (attrs.evolve(server_config, alpn=["other"]), "no_application_protocol"),
        (attrs.evolve(server_config, on_client_hello=refuse_name), "unrecognized_name"),
    ):
        with transport(*make_ssls(attrs.evolve(client_config, alpn=["h2"]), server)) as link:
            assert isinstance(fails(link, link.server), PeerFault)
            assert alert in str(link.client.error)
            assert link.client.get_shutdown() == Shutdown.RECEIVED


def test_callbacks_have_to_be_set_before_the_beginning(ssls: Pair) -> None:
    client = ssls[0]
    with MemoryLink(*ssls) as link:
        client.do_handshake()
        for setter in (client.set_info_callback, client.set_msg_callback, client.set_keylog_callback):
            with pytest.raises(MisuseError, match="before the handshake"):
                setter(None)
        link.handshake()
