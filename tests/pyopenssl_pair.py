"""An engine of ours and a pyOpenSSL peer, in either role: the fixtures of the tests against pyOpenSSL."""

from __future__ import annotations

import pytest
from OpenSSL import SSL
from openssl_peers import (
    PyOpenSSLPeer,
    client,
    issue,
    meet,
    pyopenssl_as_client,
    pyopenssl_as_server,
    pyopenssl_context,
    server,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.crypto.authority import Authority
from tlsprovider.interfaces import IEngine

Pair = tuple[IEngine, PyOpenSSLPeer]


@pytest.fixture
def theirs(authority: Authority) -> SSL.Context:
    """Their server."""
    return pyopenssl_context(issue(authority))


@pytest.fixture
def their_client(authority: Authority) -> SSL.Context:
    return pyopenssl_context(None, believed=authority)


@pytest.fixture(params=["client", "server"])
def pair(
    request: pytest.FixtureRequest,
    client_config: ClientConfig,
    server_config: ServerConfig,
    theirs: SSL.Context,
    their_client: SSL.Context,
) -> Pair:
    """An engine in either role, with its peer, before the handshake."""
    if request.param == "client":
        return client(client_config), pyopenssl_as_server(theirs)
    return server(server_config), pyopenssl_as_client(their_client)


@pytest.fixture
def connected(pair: Pair) -> Pair:
    meet(*pair)
    return pair
