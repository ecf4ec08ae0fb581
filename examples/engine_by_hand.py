"""Two engines in memory: what every adapter does, without a socket or a framework."""

from __future__ import annotations

from tlsprovider import ClientConfig, Identity, ServerConfig, TrustStore, WantRead, get_provider
from tlsprovider.crypto.authority import Authority
from tlsprovider.interfaces import IEngine


def step(engine: IEngine, peer: IEngine) -> bool:
    """Let one engine go on as far as it can, and carry to its peer what it has to say; whether it is done."""
    try:
        engine.do_handshake()
    except WantRead:
        pass
    peer.process_incoming(engine.process_outgoing())
    return engine.handshake_complete


def main() -> None:
    authority = Authority("throw-away authority")
    issued = authority.issue("localhost")
    identity = Identity.from_crypto(issued.certificates, issued.private_key)
    provider = get_provider("native")
    server = provider.server_engine(ServerConfig(identities=[identity], alpn=["greeting"]))
    trust = TrustStore.from_crypto([authority.certificate])
    client = provider.client_engine(ClientConfig(trust=trust, alpn=["greeting"]), "localhost")

    flights = 0
    while not (client.handshake_complete and server.handshake_complete):
        step(client, server)
        step(server, client)
        flights += 1
    print(
        f"handshake complete after {flights} rounds: {client.version}, {client.cipher}, {client.group}, {client.alpn}"
    )

    client.write(b"hello")
    server.process_incoming(client.process_outgoing())
    print("the server reads", server.read())

    client.shutdown()
    server.process_incoming(client.process_outgoing())
    print("and then the end:", server.read())


if __name__ == "__main__":
    main()
