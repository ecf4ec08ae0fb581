"""Questions: the pauses of a handshake that are decisions, with every way to answer and not to answer."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import attrs
import pytest
from loop import pump, transfer
from question_cases import Case, every_case
from question_cases import make_cases as make_cases
from test_handshake import check_data, connect, engines

from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    Fault,
    HelloRefused,
    HookError,
    MisuseError,
    PeerFault,
    TruncatedError,
)
from tlsprovider.iana import AlertDescription, CipherSuite, NamedGroup, ProtocolVersion, SignatureScheme
from tlsprovider.interfaces import IEngine
from tlsprovider.questions import (
    LATER,
    ClientHelloReceived,
    Question,
    VerifyPeer,
    WantAnswer,
)
from tlsprovider.trust import TrustStore


def stop_at_question(client: IEngine, server: IEngine) -> Question[Any]:
    with pytest.raises(WantAnswer) as raised:
        pump(client, server)
    question = raised.value.question
    assert question in (client.question, server.question)
    return question


@every_case
def test_plain_answer_is_taken_at_once(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    check_data(*connect(*case.with_hook(case.right)))


@every_case
def test_answer_later(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    client, server = engines(*case.with_hook(lambda question: LATER))
    asked, other = (server, client) if case.asked_of_server else (client, server)
    question = stop_at_question(client, server)
    assert type(question) is case.kind
    assert asked.question is question
    assert other.question is None
    # Asking again gives the same question, and moves nothing.
    for _ in range(2):
        with pytest.raises(WantAnswer) as raised:
            asked.do_handshake()
        assert raised.value.question is question
    question.answer(case.right(question))
    pump(client, server)
    assert asked.question is None
    check_data(client, server)


@every_case
def test_failing_hook(cases: dict[str, Case], name: str) -> None:
    def fail(question: object) -> None:
        raise LookupError("the database is gone")

    case = cases[name]
    client, server = engines(*case.with_hook(fail))
    with pytest.raises(HookError, match="LookupError: the database is gone") as raised:
        pump(client, server)
    assert isinstance(raised.value.__cause__, LookupError)
    asked, other = (server, client) if case.asked_of_server else (client, server)
    assert not asked.handshake_complete
    transfer(asked, other)
    with pytest.raises(AlertReceived) as received:
        other.read() if other.handshake_complete else other.do_handshake()
    assert received.value.alert is AlertDescription.internal_error


@every_case
def test_answer_that_fails(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    client, server = engines(*case.with_hook(lambda question: LATER))
    stop_at_question(client, server).fail(KeyboardInterrupt())
    with pytest.raises(HookError) as raised:
        pump(client, server)
    assert isinstance(raised.value.__cause__, KeyboardInterrupt)


@every_case
def test_useless_answer(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    with pytest.raises(HookError, match="must"):
        connect(*case.with_hook(lambda question: 42))


@every_case
def test_answer_twice(cases: dict[str, Case], name: str) -> None:
    question = stop_at_question(*engines(*cases[name].with_hook(lambda question: LATER)))
    question.answer(cases[name].right(question))
    with pytest.raises(MisuseError, match="answered already"):
        question.answer(cases[name].right(question))
    with pytest.raises(MisuseError):
        question.fail(ValueError())


@every_case
def test_time_is_over(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    client, server = engines(*case.configs(lambda question: LATER, answer_timeout=0.5))
    question = stop_at_question(client, server)
    assert question.time_limit == 0.5
    question.run_out_of_time()
    with pytest.raises(HookError, match=r"no answer within 0.5 seconds") as raised:
        pump(client, server)
    assert isinstance(raised.value.__cause__, TimeoutError)


@every_case
def test_peer_leaves_while_it_is_open(cases: dict[str, Case], name: str) -> None:
    case = cases[name]
    client, server = engines(*case.with_hook(lambda question: LATER))
    stop_at_question(client, server)
    asked = server if case.asked_of_server else client
    asked.process_eof()
    with pytest.raises(TruncatedError, match="question was open"):
        asked.do_handshake()
    assert asked.question is None


@every_case
def test_awaitable_is_for_the_adapter(cases: dict[str, Case], name: str) -> None:
    class Soon:
        def __await__(self) -> Any:
            yield

    soon = Soon()
    assert isinstance(soon, Awaitable)
    case = cases[name]
    question = stop_at_question(*engines(*case.with_hook(lambda question: soon)))
    assert question.pending is soon
    told: list[str] = []
    question.when_answered(lambda: told.append("now"))
    assert told == []
    question.answer(case.right(question))
    assert told == ["now"]
    question.when_answered(lambda: told.append("at once"))
    assert told == ["now", "at once"]


def test_flood_while_a_question_is_open(cases: dict[str, Case]) -> None:
    client, server = engines(*cases["on_client_hello"].with_hook(lambda question: LATER))
    stop_at_question(client, server)
    assert server.wants_input
    server.process_incoming(bytes(64 * 1024))
    assert not server.wants_input


def test_reentry_is_refused(cases: dict[str, Case]) -> None:
    def again(question: object) -> bool:
        with pytest.raises(MisuseError, match="inside"):
            client.do_handshake()
        return True

    client, server = engines(*cases["verify_peer client"].with_hook(again))
    pump(client, server)


class TestWhatIsAsked:
    def ask(self, cases: dict[str, Case], name: str) -> Any:
        seen: list[Any] = []

        def hook(question: object) -> object:
            seen.append(question)
            return cases[name].right(question)

        connect(*cases[name].with_hook(hook))
        assert len(seen) == 1
        return seen[0]

    def test_client_hello(self, cases: dict[str, Case]) -> None:
        question = self.ask(cases, "on_client_hello")
        assert question.server_name == "localhost"
        assert question.versions == (ProtocolVersion.TLSv1_3,)
        assert question.groups == (NamedGroup.secp256r1,)
        assert CipherSuite.TLS_AES_128_GCM_SHA256 in question.cipher_suites
        assert SignatureScheme.mldsa65 in question.signature_schemes
        assert question.raw[0] == 1
        assert int.from_bytes(question.raw[1:4], "big") == len(question.raw) - 4

    def test_identity_on_the_server(self, cases: dict[str, Case]) -> None:
        question = self.ask(cases, "choose_identity server")
        assert (question.is_server, question.server_name) == (True, "localhost")

    def test_identity_on_the_client(self, cases: dict[str, Case], trust: TrustStore) -> None:
        question = self.ask(cases, "choose_identity client")
        assert (question.is_server, question.server_name) == (False, "localhost")
        assert question.authorities == trust.subjects
        assert SignatureScheme.ecdsa_secp256r1_sha256 in question.signature_schemes

    def test_peer_on_the_client(self, cases: dict[str, Case], authority: Authority) -> None:
        question = self.ask(cases, "verify_peer client")
        assert question.server_name == "localhost"
        assert question.verified_chain[-1] == authority.certificate
        assert (question.ocsp_response, question.scts) == (None, ())

    def test_peer_on_the_server(self, cases: dict[str, Case]) -> None:
        question = self.ask(cases, "verify_peer server")
        assert question.server_name is None
        assert question.peer_certificates == question.verified_chain[:1]


class TestDecisions:
    def test_other_config_for_other_clients(self, cases: dict[str, Case]) -> None:
        other = attrs.evolve(cases["on_client_hello"].right(None), cipher_suites=["TLS_AES_256_GCM_SHA384"])
        client, _ = connect(*cases["on_client_hello"].with_hook(lambda question: other))
        assert client.cipher == "TLS_AES_256_GCM_SHA384"

    def test_refusal_with_an_alert_of_its_own(self, cases: dict[str, Case]) -> None:
        def refuse(question: ClientHelloReceived) -> None:
            raise PeerFault(Fault.UNKNOWN_NAME, repr(question.server_name))

        client, server = engines(*cases["on_client_hello"].with_hook(refuse))
        with pytest.raises(PeerFault, match="'localhost'"):
            pump(client, server)
        transfer(server, client)
        with pytest.raises(AlertReceived) as received:
            client.do_handshake()
        assert received.value.alert is AlertDescription.unrecognized_name

    @pytest.mark.parametrize("alert", ["access_denied", AlertDescription.internal_error, "handshake_failure"])
    def test_refusal_with_any_alert(self, cases: dict[str, Case], alert: AlertDescription | str) -> None:
        def refuse(question: ClientHelloReceived) -> None:
            raise HelloRefused("not from there", alert)

        client, server = engines(*cases["on_client_hello"].with_hook(refuse))
        with pytest.raises(HelloRefused, match=r"^not from there \[\w+\]$"):
            pump(client, server)
        assert isinstance(server.failure, HelloRefused) and server.failure.fault is Fault.HELLO_REFUSED
        transfer(server, client)
        with pytest.raises(AlertReceived) as received:
            client.do_handshake()
        assert received.value.alert is (AlertDescription[alert] if isinstance(alert, str) else alert)

    @pytest.mark.parametrize("alert", ["close_notify", "user_canceled", "no such alert"])
    def test_refusal_that_is_none(self, alert: str) -> None:
        with pytest.raises(ValueError, match="alert: "):
            HelloRefused("", alert)

    def test_address_of_the_client(self, cases: dict[str, Case]) -> None:
        asked: list[ClientHelloReceived] = []
        case = cases["on_client_hello"]

        def hook(question: ClientHelloReceived) -> object:
            asked.append(question)
            return case.right(question)

        for address in (None, ("192.0.2.1", 4711)):
            client, server = engines(*case.with_hook(hook))
            server.peer_address = address
            pump(client, server)
            assert asked.pop().client_address == address
            assert server.peer_address is None, "it is not kept"

    def test_client_shows_nothing(self, cases: dict[str, Case]) -> None:
        with pytest.raises(PeerFault) as raised:
            connect(*cases["choose_identity client"].with_hook(lambda question: None))
        assert raised.value.fault is Fault.CERTIFICATE_REQUIRED

    @pytest.mark.parametrize("way", ["return", "raise"])
    def test_verdict_with_words(self, cases: dict[str, Case], way: str) -> None:
        def judge(question: VerifyPeer) -> CertificateFault:
            fault = CertificateFault("not on the list", Fault.CERTIFICATE_PURPOSE)
            if way == "raise":
                raise fault
            return fault

        client, server = engines(*cases["verify_peer client"].with_hook(judge))
        with pytest.raises(CertificateFault, match="not on the list"):
            pump(client, server)
        transfer(client, server)
        with pytest.raises(AlertReceived) as received:
            server.do_handshake()
        assert received.value.alert is AlertDescription.unsupported_certificate

    def test_hook_is_not_asked_about_a_peer_that_failed(self, cases: dict[str, Case]) -> None:
        asked: list[object] = []
        client, server = cases["verify_peer client"].with_hook(asked.append)
        stranger = TrustStore.from_crypto([Authority("somebody else").certificate])
        with pytest.raises(CertificateFault):
            connect(attrs.evolve(client, trust=stranger), server)
        assert asked == []

    def test_hook_instead_of_the_built_in_check(self, cases: dict[str, Case]) -> None:
        client, server = cases["verify_peer client"].with_hook(lambda question: question.verified_chain == ())
        stranger = TrustStore.from_crypto([Authority("somebody else").certificate])
        connect(attrs.evolve(client, trust=stranger, insecure_skip_verify=True), server)

    def test_faulty_signer_reveals_nothing(self, cases: dict[str, Case]) -> None:
        client, server = engines(*cases["signer"].with_hook(lambda question: b"not a signature"))
        with pytest.raises(HookError, match="not valid for ecdsa_secp256r1_sha256"):
            pump(client, server)
