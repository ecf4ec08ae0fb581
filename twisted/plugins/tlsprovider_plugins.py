"""The endpoint strings of tlsprovider (``tlsp:``) and its providers, where Twisted looks for plugins.

Every process that looks for plugins imports this file, and Twisted keeps its names in caches that outlive upgrades. So
its names never change, and of tlsprovider it imports an interface, and nothing else until somebody uses a plugin.
"""

from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer

from tlsprovider.interfaces import ITLSProvider


@implementer(IPlugin, IStreamServerEndpointStringParser, IStreamClientEndpointStringParserWithReactor)
class EndpointStringParser:
    """What follows ``tlsp:`` is described in :mod:`tlsprovider.twisted.strings`."""

    prefix = "tlsp"

    def parseStreamServer(self, reactor, *args, **kwargs):
        from tlsprovider.twisted.strings import parse_server

        return parse_server(reactor, args, kwargs)

    def parseStreamClient(self, reactor, *args, **kwargs):
        from tlsprovider.twisted.strings import parse_client

        return parse_client(reactor, args, kwargs)


@implementer(IPlugin, ITLSProvider)
class Provider:
    """Stands for the provider of that name."""

    def __init__(self, name):
        self.name = name

    def _found(self):
        from tlsprovider.providers import get_provider

        return get_provider(self.name)

    @property
    def description(self):
        return self._found().description

    def supports(self, feature):
        return self._found().supports(feature)

    def client_engine(self, config, server_hostname=None):
        return self._found().client_engine(config, server_hostname)

    def server_engine(self, config):
        return self._found().server_engine(config)


tlsp = EndpointStringParser()
native = Provider("native")
openssl = Provider("openssl")
stdlib = Provider("stdlib")
auto = Provider("auto")
