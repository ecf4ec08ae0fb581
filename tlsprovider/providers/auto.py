"""``provider="auto"``: the first provider that supports everything that a configuration asks for.

The order is that of :func:`~tlsprovider.providers.list_providers`: ``native``, ``openssl``, ``stdlib``, then those of
third parties by name. A provider says that it can't by refusing (:exc:`~tlsprovider.errors.UnsupportedByProvider`);
there is no second description of what it can that could tell otherwise. The choice is made when the engine is made, by
the configuration alone, so the same configuration always gets the same provider. Nothing that happens on the network
changes it: a handshake that fails is not tried again with somebody else.
"""

from __future__ import annotations

from collections.abc import Callable

from zope.interface import implementer

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import UnsupportedByProvider
from tlsprovider.interfaces import IEngine, ITLSProvider

__all__ = ["AutoProvider", "provider"]


@implementer(ITLSProvider)
class AutoProvider:
    """See the module."""

    name = "auto"
    description = "the first of the others that supports what the configuration asks for"

    def supports(self, feature: str) -> bool:
        """Whether any provider does; perhaps none does all of several."""
        return any(one.supports(feature) for one in self._candidates())

    def client_engine(self, config: ClientConfig, server_hostname: str | None = None) -> IEngine:
        return self._first(lambda one: one.client_engine(config, server_hostname))

    def server_engine(self, config: ServerConfig) -> IEngine:
        return self._first(lambda one: one.server_engine(config))

    def _first(self, make: Callable[[ITLSProvider], IEngine]) -> IEngine:
        refusals: list[UnsupportedByProvider] = []
        for candidate in self._candidates():
            try:
                return make(candidate)
            except UnsupportedByProvider as refused:
                refusals.append(refused)
        reasons = "; ".join(f"{refused.provider!r} lacks {refused.feature}" for refused in refusals)
        raise UnsupportedByProvider(f"this configuration, nor does any other ({reasons})", self.name)

    def _candidates(self) -> list[ITLSProvider]:
        from tlsprovider.providers import list_providers

        return list_providers()


provider = AutoProvider()
