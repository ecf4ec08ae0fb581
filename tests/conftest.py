"""Fixtures that every test shares: one authority, and what it issued. Made once; nothing here changes afterwards."""

from __future__ import annotations

import pytest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.identity import Identity
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
