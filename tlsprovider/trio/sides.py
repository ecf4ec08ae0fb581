"""An engine for one side of a connection, from what people pass to the constructors of this package."""

from __future__ import annotations

import idna

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError
from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers import get_provider

__all__ = ["engine_for"]


def engine_for(
    config: ClientConfig | ServerConfig,
    server_hostname: str | bytes | None,
    server_side: bool,
    provider: str | ITLSProvider | None,
) -> IEngine:
    """An engine for one side. Raises :exc:`~tlsprovider.errors.ConfigError` where config and side contradict."""
    wanted = ServerConfig if server_side else ClientConfig
    if not isinstance(config, wanted):
        raise ConfigError(
            f"config: a TLSStream with server_side={server_side} needs a {wanted.__name__}, got"
            f" {type(config).__name__}; pass a {wanted.__name__}, or server_side={not server_side}"
        )
    if isinstance(config, ServerConfig):
        if server_hostname is not None:
            raise ConfigError("server_hostname: a server does not choose it, its client does; leave it out")
        return get_provider(provider).server_engine(config)
    return get_provider(provider).client_engine(config, _a_labels(server_hostname))


def _a_labels(name: str | bytes | None) -> str | None:
    """IDNA 2008, as in trio's own connect: the name that is checked must be the name that was looked up."""
    if name is None:
        return None
    try:
        if isinstance(name, str) and not name.isascii():
            name = idna.encode(name, uts46=True)
        return name if isinstance(name, str) else name.decode("ascii")
    except UnicodeError as problem:  # IDNAError is one
        raise ConfigError(f"server_hostname: {name!r} is not a host name: {problem}") from None
