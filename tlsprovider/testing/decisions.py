"""Questions: answered at once, later, wrongly, and never."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    Fault,
    HookError,
    MisuseError,
    PeerFault,
    TruncatedError,
)
from tlsprovider.iana import AlertDescription
from tlsprovider.identity import Identity
from tlsprovider.questions import (
    LATER,
    ChooseIdentity,
    ClientHelloReceived,
    Question,
    SignHandshake,
    VerifyPeer,
    WantAnswer,
)
from tlsprovider.testing.bench import NAME, Bench, Pair, Side, equal, make_identity, must, raises
from tlsprovider.testing.checks import check
from tlsprovider.testing.ends import stays


def paused(pair: Pair, kind: type[Question[Any]]) -> Any:
    """Run until the provider under test asks; its question, which stays the same until it is answered."""
    want = raises(WantAnswer, f"a hook that says LATER ({kind.__name__})", pair.pump)
    question = want.question
    must(isinstance(question, kind), f"expected a {kind.__name__}, found {question!r}")
    must(pair.mine.question is question, "engine.question")
    must(raises(WantAnswer, "do_handshake() while it is open", pair.mine.do_handshake).question is question, "question")
    equal(pair.mine.handshake_complete, False, "handshake_complete while a question is open")
    raises(MisuseError, "write() while a question is open", pair.mine.write, b"x")
    raises(MisuseError, "read() while a question is open", pair.mine.read)
    return question


def _verifying(bench: Bench, side: Side, hook: Callable[[VerifyPeer], object]) -> tuple[ClientConfig, ServerConfig]:
    """The hook is the provider's under test."""
    client: dict[str, Any] = {"identity": bench.client_identity}
    server: dict[str, Any] = {"trust": bench.trust, "client_auth": "require"}
    (client if side == "client" else server)["verify_peer"] = hook
    if side == "client":
        server, client = {}, {"verify_peer": hook}
    return bench.client(**client), bench.server(**server)


@check("VerifyPeer", "client_auth")
def verify_peer(bench: Bench, side: Side) -> None:
    """The hook sees what was verified, and its word is the last."""
    asked: list[VerifyPeer] = []
    pair = bench.connected(side, *_verifying(bench, side, _noting(asked)))
    equal(len(asked), 1, "how often the hook was asked")
    question = asked[0]
    shown = bench.server_identity if side == "client" else bench.client_identity
    equal(question.peer_certificates, shown.certificates, "peer_certificates")
    equal(len(question.verified_chain), 2, "verified_chain")
    equal(question.server_name, NAME if side == "client" else None, "server_name")
    equal(pair.mine.question, None, "question afterwards")
    refusal = CertificateFault("not on the list")
    for answer in (False, refusal):
        refused = bench.pair(side, *_verifying(bench, side, _always(answer)))
        mine, _ = refused.fail()
        must(isinstance(mine, CertificateFault), f"the answer {answer}: {mine!r}")
        assert mine is not None
        equal(mine.alert, Fault.CERTIFICATE_REFUSED.alert, "the alert")
        stays(refused.mine, mine)
        must(side == "server" or not refused.other.handshake_complete, "the server's handshake is complete")


@check("VerifyPeer", "client_auth")
def time_limit(bench: Bench, side: Side) -> None:
    """A question says how long its answer may take."""
    client, server = _verifying(bench, side, lambda question: LATER)
    pair = bench.pair(side, attrs.evolve(client, answer_timeout=2.5), attrs.evolve(server, answer_timeout=2.5))
    equal(paused(pair, VerifyPeer).time_limit, 2.5, "time_limit")


@check("VerifyPeer", sides=False)
def verify_peer_alone(bench: Bench) -> None:
    """With insecure_skip_verify the hook decides alone; without, it isn't asked about what is refused anyway."""
    asked: list[VerifyPeer] = []
    strange = bench.server(identities=[make_identity(NAME, stranger=True)])
    pair = bench.connected("client", bench.client(insecure_skip_verify=True, verify_peer=_noting(asked)), strange)
    equal((len(asked), asked[0].verified_chain, pair.client.verified_chain), (1, (), ()), "what was asked")
    asked.clear()
    mine, _ = bench.pair("client", bench.client(verify_peer=_noting(asked)), strange).fail()
    must(isinstance(mine, CertificateFault) and not asked, f"a certificate that isn't believed: {mine!r}, {asked}")


def _noting(asked: list[Any]) -> Callable[[Any], bool]:
    def hook(question: Any) -> bool:
        asked.append(question)
        return True

    return hook


def _always(answer: object) -> Callable[[Any], object]:
    return lambda question: answer


@check("VerifyPeer", "client_auth")
def verify_peer_later(bench: Bench, side: Side) -> None:
    """The question waits; nothing goes on before the answer, and everything after it."""
    pair = bench.pair(side, *_verifying(bench, side, lambda question: LATER))
    question = paused(pair, VerifyPeer)
    must(side == "server" or not pair.other.handshake_complete, "the server's handshake is complete before the answer")
    question.answer(True)
    pair.pump()
    equal(pair.send(pair.client, b"ping"), b"ping", "from client to server")
    equal(pair.send(pair.server, b"pong"), b"pong", "from server to client")


@check("VerifyPeer", "client_auth")
def verify_peer_later_no(bench: Bench, side: Side) -> None:
    """A late no; a late failure; an answer of no use; a peer that doesn't wait."""
    for answer, kind in ((False, CertificateFault), ("yes", HookError), (None, HookError)):
        pair = bench.pair(side, *_verifying(bench, side, lambda question: LATER))
        paused(pair, VerifyPeer).answer(answer)
        stays(pair.mine, raises(kind, f"the answer {answer!r}", pair.mine.do_handshake))
    pair = bench.pair(side, *_verifying(bench, side, lambda question: LATER))
    paused(pair, VerifyPeer).fail(LookupError("the directory is down"))
    error = raises(HookError, "a question that failed", pair.mine.do_handshake)
    must(isinstance(error.__cause__, LookupError), "the cause")
    stays(pair.mine, error)
    pair = bench.pair(side, *_verifying(bench, side, lambda question: LATER))
    paused(pair, VerifyPeer)
    pair.mine.process_eof()
    stays(pair.mine, raises(TruncatedError, "the peer went away", pair.mine.do_handshake))


@check("VerifyPeer", "client_auth")
def verify_peer_fails(bench: Bench, side: Side) -> None:
    """A hook that raises ends the handshake, whatever it raises."""

    def hook(question: VerifyPeer) -> bool:
        raise ZeroDivisionError("a mistake")

    pair = bench.pair(side, *_verifying(bench, side, hook))
    mine, _ = pair.fail()
    must(isinstance(mine, HookError) and isinstance(mine.__cause__, ZeroDivisionError), f"a hook that raises: {mine!r}")
    must(side == "server" or not pair.other.handshake_complete, "the server's handshake is complete")


@check("ClientHelloReceived", sides=False)
def client_hello(bench: Bench) -> None:
    """The hook sees the hello, and answers with the configuration to go on with."""
    asked: list[ClientHelloReceived] = []
    other = make_identity(NAME, key="ed25519")
    answer = bench.server(identities=[other], alpn=["x"] if bench.supports("alpn") else [])

    def hook(question: ClientHelloReceived) -> ServerConfig:
        asked.append(question)
        return answer

    client = bench.client(alpn=["h2", "x"])
    pair = bench.connected("server", client, bench.server(on_client_hello=hook))
    equal(len(asked), 1, "how often the hook was asked")
    question = asked[0]
    equal(question.server_name, NAME, "server_name")
    equal(question.alpn, ("h2", "x"), "alpn")
    must(bench.version in map(str, question.versions), f"versions: {question.versions}")
    must(question.groups and question.signature_schemes and question.cipher_suites, "lists")
    equal((question.raw[0], int.from_bytes(question.raw[1:4], "big")), (1, len(question.raw) - 4), "raw")
    equal(pair.client.peer_certificates, other.certificates, "what the client sees")
    equal(pair.client.alpn, "x" if bench.supports("alpn") else None, "alpn")


@check("ClientHelloReceived", sides=False)
def client_hello_later(bench: Bench) -> None:
    """The question waits, with the transport paused when too much arrives; then it is answered, or refused."""
    other = make_identity(NAME, key="ed25519")
    pair = bench.pair("server", server=bench.server(on_client_hello=lambda question: LATER))
    question = paused(pair, ClientHelloReceived)
    must(pair.mine.wants_input, "wants_input while little waits")
    equal(pair.mine.process_outgoing(), b"", "nothing is said before the answer")
    question.answer(bench.server(identities=[other]))
    pair.pump()
    equal(pair.client.peer_certificates, other.certificates, "what the client sees")

    flooded = bench.pair("server", server=bench.server(on_client_hello=lambda question: LATER))
    paused(flooded, ClientHelloReceived)
    flooded.mine.process_incoming(bytes(1 << 20))
    must(not flooded.mine.wants_input, "wants_input while a mebibyte waits")

    no = bench.pair("server", server=bench.server(on_client_hello=lambda question: LATER))
    paused(no, ClientHelloReceived).fail(PeerFault(Fault.HELLO_REFUSED))
    mine, seen = no.fail()
    must(isinstance(mine, PeerFault) and mine.fault is Fault.HELLO_REFUSED, f"a hello that was refused: {mine!r}")
    must(isinstance(seen, AlertReceived) and seen.alert is Fault.HELLO_REFUSED.alert, f"at the client: {seen!r}")


@check("ClientHelloReceived", sides=False)
def client_hello_fails(bench: Bench) -> None:
    """A hook that raises, and answers of no use."""

    def broken(question: ClientHelloReceived) -> object:
        raise ZeroDivisionError("a mistake")

    for hook in (broken, lambda question: None, lambda question: bench.client()):
        pair = bench.pair("server", server=bench.server(on_client_hello=hook))
        mine, seen = pair.fail()
        must(isinstance(mine, HookError), f"a hook of no use: {mine!r}")
        must(
            isinstance(seen, AlertReceived) and seen.alert is AlertDescription.internal_error,
            f"at the client: {seen!r}",
        )
        assert mine is not None
        stays(pair.mine, mine)


@check("ChooseIdentity", sides=False)
def choose_identity(bench: Bench) -> None:
    """A server's certificate, chosen by a hook: at once, later, none, and nonsense."""
    chosen = make_identity("chosen.example", key="ed25519")
    asked: list[ChooseIdentity] = []

    def hook(question: ChooseIdentity) -> Identity:
        asked.append(question)
        return chosen

    client = bench.client(insecure_skip_verify=True)
    pair = bench.connected("server", client, bench.server(choose_identity=hook), name="asked.example")
    equal(pair.client.peer_certificates, chosen.certificates, "what the client sees")
    equal(len(asked), 1, "how often the hook was asked")
    question = asked[0]
    equal((question.is_server, question.server_name), (True, "asked.example"), "the question")
    must("ed25519" in map(str, question.signature_schemes), f"signature_schemes: {question.signature_schemes}")

    late = bench.pair("server", client, bench.server(choose_identity=lambda question: LATER))
    paused(late, ChooseIdentity).answer(chosen)
    late.pump()
    equal(late.client.peer_certificates, chosen.certificates, "what the client sees after a late answer")

    mine, seen = bench.pair("server", client, bench.server(choose_identity=lambda question: None)).fail()
    must(isinstance(mine, PeerFault) and mine.fault is Fault.UNKNOWN_NAME, f"no identity: {mine!r}")
    must(isinstance(seen, AlertReceived) and seen.alert is Fault.UNKNOWN_NAME.alert, f"the client: {seen!r}")
    mine, _ = bench.pair("server", client, bench.server(choose_identity=lambda question: "me")).fail()
    must(isinstance(mine, HookError), f"an answer of no use: {mine!r}")


@check("ChooseIdentity.client", "client_auth", sides=False)
def choose_client_identity(bench: Bench) -> None:
    """A client's certificate, chosen by a hook when the server asks."""
    server = bench.server(client_auth="request", trust=bench.trust)
    pair = bench.pair("client", bench.client(choose_identity=lambda question: LATER), server)
    paused(pair, ChooseIdentity).answer(bench.client_identity)
    pair.pump()
    equal(pair.server.peer_certificates, bench.client_identity.certificates, "what the server sees")
    pair = bench.connected("client", bench.client(choose_identity=lambda question: None), server)
    equal(pair.server.peer_certificates, (), "what the server sees of nobody")


@check("SignHandshake", sides=False)
def sign_handshake(bench: Bench) -> None:
    """A key that lives elsewhere: at once, later, wrongly."""
    known = bench.server_identity

    def late(scheme: object, message: bytes) -> object:
        return LATER

    def wrong(scheme: object, message: bytes) -> bytes:
        return bytes(64)

    at_once = Identity.with_signer(known.certificates, known.sign)
    bench.connected("server", server=bench.server(identities=[at_once]))
    later = Identity.with_signer(known.certificates, late)  # type: ignore[arg-type]
    pair = bench.pair("server", server=bench.server(identities=[later]))
    question = paused(pair, SignHandshake)
    question.answer(known.sign(question.scheme, question.message))
    pair.pump()
    broken = Identity.with_signer(known.certificates, wrong)
    mine, _ = bench.pair("server", server=bench.server(identities=[broken])).fail()
    must(isinstance(mine, HookError), f"a signature that is none: {mine!r}")
