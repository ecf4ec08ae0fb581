"""Target ``call_order``: two engines whose methods are called in any order, also by who has not read the manual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conversation import Side, identities, sides

from fuzz.harness import Program
from tlsprovider.engine import InternalError, NativeEngine
from tlsprovider.errors import MisuseError, TLSError, TruncatedError, Want
from tlsprovider.handshake.after import MAX_MESSAGES_WITHOUT_DATA
from tlsprovider.iana import SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.questions import LATER, Later, Question, SignHandshake

SIZES = (1, 2, 5, 6, 21, 100, 1000, 1 << 20)
LENGTHS = (0, 1, 3, 100, 16_384, 16_385, 40_000)


def ask_later(question: Question[Any]) -> object:
    return LATER


def sign_later(scheme: SignatureScheme, message: bytes) -> Later:
    return LATER


class Caller:
    """An engine, what was said into it and heard out of it, and what has to hold after every call."""

    def __init__(self, side: Side, identity: Identity) -> None:
        self.engine: NativeEngine = side.engine
        self.events = side.events
        self.identity = identity
        self.answers: dict[str, object] = {
            "ClientHelloReceived": self.engine._config,
            "ChooseIdentity": Identity.with_signer(identity.certificates, sign_later),
            "VerifyPeer": True,
        }
        self.said = bytearray()
        self.heard = bytearray()
        self.outgoing = bytearray()
        self.ended = False
        self.failure = ""
        self.flags = (False, False, False)
        self.updates = 0
        self.disturbed = False
        """Whether something was done that a peaceful connection does not survive."""

    def call(self, method: Callable[..., Any], *arguments: object) -> Any:
        """Call it; a want or a TLSError is as good as an answer, everything else is raised."""
        before = self.snapshot()
        try:
            return method(*arguments)
        except InternalError as bug:
            raise AssertionError("an internal error") from bug.__cause__
        except MisuseError:
            # "Nothing was sent or changed."
            assert self.engine.failure is not None or self.snapshot() == before
        except (Want, TruncatedError):
            pass
        except TLSError:
            assert self.engine.failure is not None, "an error that isn't kept"
        finally:
            self.check()
        return None

    def snapshot(self) -> tuple[object, ...]:
        engine = self.engine
        return (
            engine.state,
            engine.handshake_complete,
            engine.question,
            engine.pending,
            engine.close_sent,
            engine.close_received,
            engine.wants_input,
            engine._writer.pending,
            len(self.events),
        )

    def check(self) -> None:
        engine = self.engine
        flags = (engine.handshake_complete, engine.close_sent, engine.close_received)
        assert all(now or not before for now, before in zip(flags, self.flags, strict=True)), "what is done stays done"
        self.flags = flags
        if self.failure:
            assert str(engine.failure) == self.failure, "a failure is sticky"
            assert not engine.wants_input
            assert engine.state == "failed"
        elif engine.failure is not None:
            assert not isinstance(engine.failure, InternalError), engine.failure.__cause__
            self.failure = str(engine.failure)
        alerts = [event.name for event in self.events if event.kind == "alert_sent"]
        assert alerts in ([], ["close_notify"], ["user_canceled", "close_notify"]) or len(alerts) == 1, alerts

    def go_on(self) -> None:
        self.call(self._shake_hands)

    def _shake_hands(self) -> None:
        self.engine.do_handshake()
        assert self.engine.handshake_complete, "it returned, and is not complete"

    def send(self) -> None:
        data = self.call(self.engine.process_outgoing)
        if self.ended:
            assert not data, "a dead engine spoke"
        self.outgoing += data
        self.ended = self.engine.failure is not None

    def read(self, most: int | None) -> None:
        pending = self.engine.pending
        data = self.call(self.engine.read, most)
        if pending and most != 0:
            assert len(data) == (pending if most is None else min(len(data), most)) > 0
        self.heard += data or b""

    def read_into(self, length: int) -> None:
        buffer = bytearray(length)
        count = self.call(self.engine.read_into, buffer)
        self.heard += buffer[: count or 0]

    def write(self, data: bytes) -> None:
        count = self.call(self.engine.write, data)
        assert count in (None, len(data))
        if count is not None:
            self.said += data

    def update_keys(self, request_peer: bool) -> None:
        self.call(self.engine.key_update, request_peer)
        self.updates += 1
        if self.updates > MAX_MESSAGES_WITHOUT_DATA // 2:
            # The peer is right to take so many for an attack, where there is no data between them.
            self.disturbed = True

    def settle(self, answer: bool) -> None:
        """Answer the open question, or fail it."""
        question = self.engine.question
        if question is None or question.answered:
            return
        if not answer:
            self.disturbed = True
            question.fail(RuntimeError("no"))
        elif isinstance(question, SignHandshake):
            signature = self.identity.sign(question.scheme, question.message)
            assert isinstance(signature, bytes), "its key is here"
            question.answer(signature)
        else:
            question.answer(self.answers[type(question).__name__])


def make_callers(program: Program) -> tuple[Caller, Caller]:
    """In half of the configurations every question there is stays open until it is settled."""
    how = program.byte()
    of_client: dict[str, object] = {}
    of_server: dict[str, object] = {"client_auth": "require"} if how & 1 else {}
    if how & 2:
        of_client |= dict.fromkeys(("verify_peer", "choose_identity"), ask_later)
        of_server |= dict.fromkeys(("on_client_hello", "verify_peer", "choose_identity"), ask_later)
    if how & 4:
        of_client |= {"key_shares": ["x25519"]}
        of_server |= {"groups": ["secp256r1"]}
    of_both = sides((of_client, of_server))
    server_identity, client_identity, _ = identities()
    client, server = Caller(of_both[0], client_identity), Caller(of_both[1], server_identity)
    return client, server


def carry(source: Caller, target: Caller, size: int) -> None:
    source.send()
    piece = bytes(source.outgoing[:size])
    del source.outgoing[:size]
    target.call(target.engine.process_incoming, piece)


def step(program: Program, caller: Caller, other: Caller, number: int) -> None:
    """One call, or a few that belong together."""
    engine = caller.engine
    if number < 4:
        caller.go_on()
    elif number < 8:
        carry(other, caller, program.choose(SIZES))
    elif number == 8:
        caller.read(program.choose([None, 0, 1, 10, 100_000]))
    elif number == 9:
        caller.read_into(program.choose(LENGTHS))
    elif number in (10, 11):
        caller.write(bytes([len(caller.said) % 251]) * program.choose(LENGTHS))
    elif number == 12:
        caller.settle(True)
    elif number == 13:
        caller.send()
    elif number == 14:
        caller.update_keys(bool(program.byte() & 1))
    elif number == 15:
        exported = caller.call(engine.channel_binding, "tls-exporter")
        assert exported is None or len(exported) == 32
    elif number == 16:
        caller.call(engine.trailing_bytes)
    elif number == 17:
        caller.settle(program.byte() % 4 != 0)
    elif number == 18:
        caller.disturbed = True
        caller.call(engine.shutdown)
    elif number == 19:
        caller.disturbed = True
        caller.call(engine.process_eof)
    elif number == 20:
        caller.disturbed = True
        caller.call(engine.process_incoming, program.piece())
    else:
        caller.call(engine.process_incoming, b"")


def check(data: bytes) -> None:
    program = Program(data)
    callers = make_callers(program)
    for _ in range(120):
        if not program.more:
            break
        number = program.byte()
        step(program, callers[number & 1], callers[not number & 1], number // 2 % 22)
        heard_what_was_said(*callers)
    if not any(caller.disturbed for caller in callers):
        finish(*callers)


def heard_what_was_said(client: Caller, server: Caller) -> None:
    assert client.said.startswith(server.heard)
    assert server.said.startswith(client.heard)


def finish(client: Caller, server: Caller) -> None:
    """Nobody has ended anything: then the proper order of calls still leads to the end, whatever came before."""
    for _ in range(40):
        for caller, other in ((client, server), (server, client)):
            caller.settle(True)
            caller.go_on()
            carry(caller, other, 1 << 20)
    for caller in (client, server):
        assert caller.engine.handshake_complete, caller.engine.failure
        caller.read(None)
    assert client.heard == server.said
    assert server.heard == client.said
