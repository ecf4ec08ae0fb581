"""Each kind of question with a hook that asks it and its right answer: what the tests of every adapter go through."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.iana import SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.psk import ExternalPsk
from tlsprovider.questions import ChooseIdentity, ClientHelloReceived, FindSession, Question, SignHandshake, VerifyPeer
from tlsprovider.trust import TrustStore

Hook = Callable[[Any], Any]
Configs = tuple[ClientConfig, ServerConfig]

# With the feature that each asks of a provider; the adapters are tested with others than the native one as well.
NAMES = {
    "on_client_hello": "ClientHelloReceived",
    "choose_identity server": "ChooseIdentity",
    "choose_identity client": "ChooseIdentity.client",
    "signer": "SignHandshake",
    "verify_peer client": "VerifyPeer",
    "verify_peer server": "VerifyPeer",
    "find_session": "FindSession",
}
every_case = pytest.mark.parametrize(
    "name", [name for name, feature in NAMES.items() if get_provider().supports(feature)]
)


@attrs.frozen
class Case:
    """One kind of question. ``right(question)`` is its right answer."""

    kind: type[Question[Any]]
    with_hook: Callable[[Hook], Configs]
    right: Callable[[Any], Any]
    asked_of_server: bool
    told: bool = True
    """Whether the peer gets an alert when it fails."""

    def configs(self, hook: Hook, **fields: Any) -> Configs:
        """The hook, and changes to the configuration that has it."""
        client, server = self.with_hook(hook)
        if self.asked_of_server:
            return client, attrs.evolve(server, **fields)
        return attrs.evolve(client, **fields), server

    def sides(self, client: Any, server: Any) -> tuple[Any, Any]:
        """``(the side that is asked, the other)``."""
        return (server, client) if self.asked_of_server else (client, server)


@pytest.fixture(name="cases")
def make_cases(authority: Authority, trust: TrustStore) -> dict[str, Case]:
    issued = authority.issue("localhost")
    identity = Identity.from_crypto(issued.certificates, issued.private_key)
    alice = authority.issue("alice", client=True)
    alice_identity = Identity.from_crypto(alice.certificates, alice.private_key)
    client = ClientConfig(trust=trust, groups=["secp256r1"])
    server = ServerConfig(identities=[identity])
    key = ExternalPsk(identity=b"a device", secret=bytes(range(32)))
    asking = attrs.evolve(server, client_auth="require", trust=trust)

    def signed(hook: Hook) -> Configs:
        def signer(scheme: SignatureScheme, message: bytes) -> bytes | Awaitable[bytes]:
            answer: bytes | Awaitable[bytes] = hook(SignHandshake(identity=identity, scheme=scheme, message=message))
            return answer

        return client, attrs.evolve(server, identities=[Identity.with_signer(issued.certificates, signer)])

    def always(answer: object) -> Callable[[Any], object]:
        return lambda question: answer

    cases = [
        Case(
            ClientHelloReceived,
            lambda hook: (client, attrs.evolve(server, on_client_hello=hook)),
            always(server),
            True,
        ),
        Case(
            ChooseIdentity,
            lambda hook: (client, attrs.evolve(server, choose_identity=hook)),
            always(identity),
            True,
        ),
        Case(
            ChooseIdentity,
            lambda hook: (attrs.evolve(client, choose_identity=hook), asking),
            always(alice_identity),
            False,
        ),
        Case(SignHandshake, signed, lambda question: identity.sign(question.scheme, question.message), True),
        Case(VerifyPeer, lambda hook: (attrs.evolve(client, verify_peer=hook), server), always(True), False),
        Case(
            VerifyPeer,
            lambda hook: (attrs.evolve(client, identity=alice_identity), attrs.evolve(asking, verify_peer=hook)),
            always(True),
            True,
            # Behind a handshake of TLS 1.3, ssl gives nobody the keys for one.
            get_provider().name != "stdlib",
        ),
        Case(
            FindSession,
            lambda hook: (attrs.evolve(client, psks=[key], sessions=None), attrs.evolve(server, find_session=hook)),
            always(key),
            True,
        ),
    ]
    return dict(zip(NAMES, cases, strict=True))
