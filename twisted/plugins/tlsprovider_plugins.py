"""The endpoint strings of tlsprovider (``tlsp:``), where Twisted looks for plugins.

Every process that looks for plugins imports this file, and Twisted keeps its names in caches that outlive upgrades. So
its names never change, and it imports nothing of tlsprovider until there is a string to be read.
"""

from twisted.internet.interfaces import IStreamClientEndpointStringParserWithReactor, IStreamServerEndpointStringParser
from twisted.plugin import IPlugin
from zope.interface import implementer


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


tlsp = EndpointStringParser()
