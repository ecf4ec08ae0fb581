"""A web server that uses every core: twisted_many_processes.py SERVER.PEM PORT [PROCESSES]

One process runs Python on one core. Here each process listens on the same port with a socket of its own (SO_REUSEPORT),
and the kernel deals the connections out; Twisted adopts the socket. The processes share the key of the session tickets,
so that a client resumes with whichever of them it meets next.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import socket
import sys
import threading
import time
from multiprocessing.synchronize import Barrier

from twisted.internet import reactor
from twisted.internet.endpoints import AdoptedStreamServerEndpoint
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tlsprovider import Identity, ServerConfig, TicketKey, TicketKeyRing
from tlsprovider.twisted import TLSServerEndpoint

ADDRESS = "127.0.0.1"


class Hello(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b"hello from process %d\n" % os.getpid()


def bound_socket(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    bound.bind((ADDRESS, port))
    return bound


def serve(pem: str, port: int, key: TicketKey, ready: Barrier) -> None:
    """What each process does."""
    config = ServerConfig(identities=[Identity.from_files(pem)], alpn=["http/1.1"], tickets=TicketKeyRing([key]))
    listening = bound_socket(port)
    listening.listen(1024)
    listening.setblocking(False)
    # The endpoint makes a duplicate of the socket, and closes this one.
    adopted = AdoptedStreamServerEndpoint(reactor, listening.detach(), socket.AF_INET)
    TLSServerEndpoint(adopted, config).listen(Site(Hello()))

    def stop_with_parent() -> None:
        parent = multiprocessing.parent_process()
        assert parent is not None
        parent.join()
        reactor.callFromThread(reactor.stop)

    threading.Thread(target=stop_with_parent, daemon=True).start()
    ready.wait(30)
    reactor.run()


def main(pem: str, port: str, count: str = str(os.cpu_count())) -> None:
    # Not forked: a reactor is never shared. The key goes through a pipe, and to no disk.
    processes = multiprocessing.get_context("spawn")
    ready = processes.Barrier(int(count) + 1)
    key = TicketKey(name=secrets.token_bytes(16), secret=secrets.token_bytes(32), introduced=time.time())
    # Bound and never listening, it reserves the port and gets no connection.
    with bound_socket(int(port)) as reserved:
        chosen = reserved.getsockname()[1]
        servers = [processes.Process(target=serve, args=(pem, chosen, key, ready)) for _ in range(int(count))]
        for server in servers:
            server.start()
        ready.wait(30)
        print("listening on port", chosen, flush=True)
        for server in servers:
            server.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
