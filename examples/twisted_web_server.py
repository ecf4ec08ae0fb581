"""twisted.web over TLS: twisted_web_server.py SERVER.PEM PORT"""

from __future__ import annotations

import sys

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tlsprovider import Identity, ServerConfig
from tlsprovider.twisted import TLSServerEndpoint


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        if request.clientproto == b"HTTP/2":  # where the transport is one stream of many
            protocol = b"h2"
        else:
            protocol = request.transport.negotiatedProtocol or b"no ALPN"
        return b"hello over TLS, " + protocol + b"\n"


async def main(pem: str, port: str) -> None:
    config = ServerConfig(identities=[Identity.from_files(pem)], alpn=["h2", "http/1.1"])
    endpoint = TLSServerEndpoint(TCP4ServerEndpoint(reactor, int(port), interface="127.0.0.1"), config)
    listening = await endpoint.listen(Site(Hello()))
    print("listening on port", listening.getHost().port, flush=True)
    await Deferred()  # until interrupted


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(*sys.argv[1:])))
