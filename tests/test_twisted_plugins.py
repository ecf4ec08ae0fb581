"""The providers as Twisted's plugin system sees them: there by name, and imported when they are used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from twisted.plugin import getPlugins

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import BUILT_IN, get_provider


@pytest.mark.parametrize("name", [*BUILT_IN, "auto"])
def test_provider(name: str, client_config: ClientConfig, server_config: ServerConfig) -> None:
    (plugin,) = [one for one in getPlugins(ITLSProvider) if one.name == name]
    provider = get_provider(name)
    assert plugin.description == provider.description
    assert plugin.supports("TLSv1.2") == provider.supports("TLSv1.2")
    assert not plugin.client_engine(client_config, "localhost").is_server
    assert plugin.server_engine(server_config).is_server
    assert get_provider(plugin) is plugin


def test_looking_for_plugins_imports_no_engine() -> None:
    script = (
        "import sys; from twisted.plugin import getPlugins; from tlsprovider.interfaces import ITLSProvider;"
        "assert len(list(getPlugins(ITLSProvider))) == 4;"
        "print([name for name in sys.modules if name.startswith('cryptography')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent.parent, capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "[]\n", done.stderr
