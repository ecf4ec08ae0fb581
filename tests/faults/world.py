"""What the scripts have in common, and the list of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import attrs
from scripted import ScriptedClient, ScriptedServer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import Fault
from tlsprovider.iana import SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore

NATIVE = get_provider("native")
# A record of early data, under keys that no server here has.
EARLY = b"\x17\x03\x03\x04\x00" + bytes(1024)
P256 = SignatureScheme.ecdsa_secp256r1_sha256


@attrs.frozen
class World:
    """What the scripts need: an authority, a server's identity, a client's, and engines to torment."""

    authority: Authority
    server: Identity
    client: Identity

    def against_client(
        self, identity: Identity | None = None, name: str = "localhost", early: bytes = b"", **options: object
    ) -> ScriptedServer:
        trust = TrustStore.from_crypto([self.authority.certificate])
        config = ClientConfig(**{"trust": trust, "groups": ["x25519", "secp256r1"], "key_shares": ["x25519"]} | options)
        engine = NATIVE.client_engine(config, name)
        if early:
            engine.write_early(early)  # type: ignore[attr-defined]
        return ScriptedServer(engine, identity or self.server)

    def against_server(self, identity: Identity | None = None, **options: object) -> ScriptedClient:
        config = ServerConfig(**{"identities": [self.server]} | options)
        return ScriptedClient(NATIVE.server_engine(config), identity)

    def against_asking_server(self, client_auth: str = "require", **options: object) -> ScriptedClient:
        trust = TrustStore.from_crypto([self.authority.certificate])
        script = self.against_server(self.client, client_auth=client_auth, trust=trust, **options)
        script.start()
        script.read_flight(requested=True)
        return script


@cache
def world() -> World:
    authority = Authority("tlsprovider faults")

    def identity(*names: str, **options: object) -> Identity:
        issued = authority.issue(*names, **options)
        return Identity.from_crypto(issued.certificates, issued.private_key)

    return World(authority, identity("localhost"), identity("alice", client=True))


def issue(*names: str, **options: object) -> Identity:
    issued = world().authority.issue(*names, **options)
    return Identity.from_crypto(issued.certificates, issued.private_key)


Scenario = Callable[[World], ScriptedClient | ScriptedServer]
SCENARIOS: list[tuple[Fault, Scenario]] = []


def provokes(fault: Fault) -> Callable[[Scenario], Scenario]:
    def register(scenario: Scenario) -> Scenario:
        SCENARIOS.append((fault, scenario))
        return scenario

    return register
