"""The contract of the callbacks that decide: lines K1 to K5.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import attrs
import pytest
from contract_transports import (
    Link,
    MemoryLink,
    every_stepwise_transport,
    every_transport,
    fails,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import CertificateFault, Fault, HookError, PeerFault
from tlsprovider.identity import Identity
from tlsprovider.questions import ChooseIdentity, ClientHelloReceived, VerifyPeer
from tlsprovider.ssl import SSL, ErrorCode, VerifyResult
from tlsprovider.trust import TrustStore

Pair = tuple[SSL, SSL]


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    # Nothing that another test has left is resumed: a session asks for no certificate.
    return make_ssls(attrs.evolve(client_config, sessions=None), server_config)


@every_transport
def test_K1_certificate_callback_one_goes_on(transport: type[Link], ssls: Pair, server_config: ServerConfig) -> None:
    asked: list[ChooseIdentity] = []

    def callback(ssl: SSL, question: ChooseIdentity) -> int:
        asked.append(question)
        return 1

    ssls[1].set_cert_cb(callback)
    with transport(*ssls) as link:
        link.handshake()
        assert [question.server_name for question in asked] == ["localhost"]
        assert link.client.peer_certificates == server_config.identities[0].certificates


@every_transport
def test_K1_certificate_callback_may_use_an_identity(
    transport: type[Link], ssls: Pair, server_config: ServerConfig, trust: TrustStore, client_identity: Identity
) -> None:
    server = SSL(attrs.evolve(server_config, client_auth="require", trust=trust))
    server.set_accept_state()

    def callback(ssl: SSL, question: ChooseIdentity) -> int:
        assert not question.is_server
        ssl.use_identity(client_identity)
        return 1

    ssls[0].set_cert_cb(callback)
    with transport(ssls[0], server) as link:
        link.handshake()
        assert server.peer_certificates == client_identity.certificates


@every_stepwise_transport
def test_K1_the_hook_of_the_configuration_comes_after_the_callback(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    """It may answer, or give something to wait for; the callback that has agreed isn't asked again."""
    verdicts = iter([-1, 1])
    waiting: list[ChooseIdentity] = []

    async def choose() -> Identity:
        return server_config.identities[0]

    server = attrs.evolve(server_config, choose_identity=lambda question: waiting.append(question) or choose())
    with transport(*make_ssls(client_config, server)) as link:
        link.server.set_cert_cb(lambda ssl, question: next(verdicts))
        link.client.do_handshake()
        link.deliver()
        for _ in range(3):
            assert (link.server.do_handshake(), link.server.get_error(-1)) == (-1, ErrorCode.WANT_X509_LOOKUP)
        (question,) = waiting
        assert link.server.question is question and question.pending is not None
        with pytest.raises(StopIteration) as finished:
            question.pending.send(None)  # type: ignore[attr-defined]
        question.answer(finished.value.value)
        link.handshake()


@every_transport
def test_K1_a_client_shows_the_identity_of_its_configuration(
    transport: type[Link],
    client_config: ClientConfig,
    server_config: ServerConfig,
    client_identity: Identity,
    trust: TrustStore,
) -> None:
    client, server = make_ssls(
        attrs.evolve(client_config, identity=client_identity),
        attrs.evolve(server_config, client_auth="require", trust=trust),
    )
    client.set_cert_cb(lambda ssl, question: 1)
    with transport(client, server) as link:
        link.handshake()
        assert server.peer_certificates == client_identity.certificates


@every_transport
def test_K1_certificate_callback_zero_aborts(transport: type[Link], ssls: Pair) -> None:
    ssls[1].set_cert_cb(lambda ssl, question: 0)
    with transport(*ssls) as link:
        assert isinstance(fails(link, link.server), HookError)
        assert "internal_error" in str(link.client.error)


@every_stepwise_transport
@pytest.mark.parametrize("later", [1, 0])
def test_K1_certificate_callback_negative_suspends(transport: type[Link], later: int, ssls: Pair) -> None:
    verdicts = iter([-1, -1, later])
    ssls[1].set_cert_cb(lambda ssl, question: next(verdicts))
    with transport(*ssls) as link:
        assert link.client.do_handshake() == -1
        link.deliver()
        for _ in range(2):
            assert (link.server.do_handshake(), link.server.get_error(-1)) == (-1, ErrorCode.WANT_X509_LOOKUP)
        if later:
            link.handshake()
        else:
            fails(link, link.server)
            assert "internal_error" in str(link.client.error)


@every_transport
def test_K2_client_hello_callback_one_goes_on(transport: type[Link], ssls: Pair) -> None:
    ssls[1].set_client_hello_cb(lambda ssl, question: 1)
    with transport(*ssls) as link:
        link.handshake()


@every_transport
def test_K2_client_hello_callback_zero_refuses_with_an_alert(
    transport: type[Link], client_config: ClientConfig, server_config: ServerConfig
) -> None:
    def another_alert(ssl: SSL, question: ClientHelloReceived) -> int:
        raise PeerFault(Fault.UNKNOWN_NAME, str(question.server_name))

    for callback, alert in ((lambda ssl, question: 0, "handshake_failure"), (another_alert, "unrecognized_name")):
        with transport(*make_ssls(client_config, server_config)) as link:
            link.server.set_client_hello_cb(callback)
            assert isinstance(fails(link, link.server), PeerFault)
            assert alert in str(link.client.error)


@every_stepwise_transport
def test_K2_client_hello_callback_negative_suspends(transport: type[Link], ssls: Pair) -> None:
    verdicts = iter([-1, -1, 1])
    ssls[1].set_client_hello_cb(lambda ssl, question: next(verdicts))
    with transport(*ssls) as link:
        assert link.client.do_handshake() == -1
        link.deliver()
        for _ in range(2):
            assert (link.server.do_handshake(), link.server.get_error(-1)) == (-1, ErrorCode.WANT_CLIENT_HELLO_CB)
        link.handshake()


def test_K2_a_callback_that_raises_when_asked_again_aborts(ssls: Pair) -> None:
    calls = []

    def callback(ssl: SSL, question: ClientHelloReceived) -> int:
        calls.append(question)
        if len(calls) == 2:
            raise ZeroDivisionError("a mistake in the callback")
        return -1

    ssls[1].set_client_hello_cb(callback)
    with MemoryLink(*ssls) as link:
        assert link.client.do_handshake() == -1
        link.deliver()
        assert link.server.do_handshake() == -1
        error = fails(link, link.server)
        assert isinstance(error, HookError) and isinstance(error.__cause__, ZeroDivisionError)
        assert "internal_error" in str(link.client.error)


def test_K2_no_decision_is_lost_with_the_configuration(
    client_config: ClientConfig, server_config: ServerConfig, server_identity: Identity
) -> None:
    """A configuration that on_client_hello chooses would not know of the callbacks of one object."""
    swapping = attrs.evolve(server_config, on_client_hello=lambda question: server_config)
    for prepare in (
        lambda ssl: ssl.set_verify_callback(lambda ssl, question: 0),
        lambda ssl: ssl.set_cert_cb(lambda ssl, question: 0),
        lambda ssl: ssl.use_identity(server_identity),
    ):
        with MemoryLink(*make_ssls(client_config, swapping)) as link:
            prepare(link.server)
            link.client.do_handshake()
            link.deliver()
            assert (link.server.do_handshake(), link.server.get_error(-1)) == (-1, ErrorCode.SSL)
            assert "verify_peer and choose_identity" in str(link.server.error)
            assert link.waiting_for(link.client) == 0


def test_K3_the_raw_client_hello_can_be_read(client_config: ClientConfig, server_config: ServerConfig) -> None:
    hellos: list[ClientHelloReceived] = []

    def callback(ssl: SSL, question: ClientHelloReceived) -> int:
        hellos.append(question)
        return 1

    with MemoryLink(*make_ssls(attrs.evolve(client_config, alpn=["h2"]), server_config)) as link:
        link.server.set_client_hello_cb(callback)
        link.handshake()
    (hello,) = hellos
    assert (hello.server_name, hello.alpn) == ("localhost", ("h2",))
    assert hello.raw[0] == 1 and int.from_bytes(hello.raw[1:4], "big") == len(hello.raw) - 4


@every_stepwise_transport
def test_K4_verify_callback_may_ask_for_a_retry(transport: type[Link], ssls: Pair) -> None:
    asked: list[VerifyPeer] = []

    def callback(ssl: SSL, question: VerifyPeer) -> int:
        asked.append(question)
        return -1 if len(asked) < 4 else 1

    ssls[0].set_verify_callback(callback)
    with transport(*ssls) as link:
        while not asked:
            assert link.client.do_handshake() == -1
            link.deliver()
            link.server.do_handshake()
            link.deliver()
        for _ in range(2):
            assert (link.client.do_handshake(), link.client.get_error(-1)) == (-1, ErrorCode.WANT_RETRY_VERIFY)
        link.handshake()
        assert len(asked) == 4
        assert asked[0] is asked[3] and len(asked[0].verified_chain) == 2


@every_transport
def test_K5_a_server_that_refuses_the_client(
    transport: type[Link],
    client_config: ClientConfig,
    server_config: ServerConfig,
    client_identity: Identity,
    trust: TrustStore,
) -> None:
    """Unlike SSL_CTX_set_cert_verify_callback(3), no client can have a verify callback whose answer is ignored."""
    client, server = make_ssls(
        attrs.evolve(client_config, identity=client_identity),
        attrs.evolve(server_config, client_auth="require", trust=trust),
    )
    server.set_verify_callback(lambda ssl, question: 0)
    with transport(client, server) as link:
        assert isinstance(fails(link, server), CertificateFault)
        assert "certificate_unknown" in str(client.error)
        assert server.get_verify_result() is VerifyResult.APPLICATION_VERIFICATION
