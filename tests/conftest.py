"""Fixtures that every test shares: one authority, and what it issued. Made once; nothing here changes afterwards."""

from __future__ import annotations

import os

import attrs
import pytest
from loop import pump

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.identity import Identity
from tlsprovider.interfaces import IEngine
from tlsprovider.providers import get_provider
from tlsprovider.trust import TrustStore


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority("tlsprovider tests")


@pytest.fixture(scope="session")
def server_identity(authority: Authority) -> Identity:
    """P-256, for localhost, example.com, 127.0.0.1 and ::1."""
    issued = authority.issue("localhost", "example.com", "127.0.0.1", "::1")
    return Identity.from_crypto(issued.certificates, issued.private_key)


@pytest.fixture(scope="session")
def client_identity(authority: Authority) -> Identity:
    issued = authority.issue("alice@example.com", client=True)
    return Identity.from_crypto(issued.certificates, issued.private_key)


@pytest.fixture(scope="session")
def trust(authority: Authority) -> TrustStore:
    return TrustStore.from_crypto([authority.certificate])


@pytest.fixture(scope="session")
def server_config(server_identity: Identity) -> ServerConfig:
    return ServerConfig(identities=[server_identity])


@pytest.fixture(scope="session")
def client_config(trust: TrustStore) -> ClientConfig:
    return ClientConfig(trust=trust)


@pytest.fixture
def configs(client_config: ClientConfig, server_config: ServerConfig) -> tuple[ClientConfig, ServerConfig]:
    """Both sides' with a fast group, for tests to which groups don't matter."""
    return attrs.evolve(client_config, groups=["x25519"]), server_config


@pytest.fixture
def pair(configs: tuple[ClientConfig, ServerConfig]) -> tuple[IEngine, IEngine]:
    """A client and a server that are connected."""
    native = get_provider("native")
    client, server = native.client_engine(configs[0], "localhost"), native.server_engine(configs[1])
    pump(client, server)
    return client, server


@pytest.fixture(params=["directly", "through trio"])
def socket_calls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How TLSStream calls a socket: as on POSIX, and as on Windows."""
    if request.param == "through trio":
        monkeypatch.delattr(os, "readv")
    return str(request.param)
