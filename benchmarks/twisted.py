"""TLS in Twisted over loopback sockets: Twisted's own and ours, both ends in this process, by turns.

=============  =========================================================================================================
Twisted's own  ``CertificateOptions``, ``optionsForClientTLS`` and Twisted's own protocol
install()      the same after :func:`tlsprovider.twisted.install`: pyOpenSSL's connections, driven by our protocol
ours           our endpoints with the native engine, no session reuse; for ``Agent`` our ``HTTPSPolicy``, ``install()``
resuming       the same with session reuse, which is our default and which Twisted's own doesn't have
=============  =========================================================================================================

Time is processor time, of both ends and of the reactor. ``python -m benchmarks.twisted memory NAME COUNT`` prints the
KiB that one idle connection takes, both ends together.
"""

from __future__ import annotations

import gc
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar

from OpenSSL import SSL
from OpenSSL._util import ffi, lib
from OpenSSL.crypto import X509, PKey
from twisted.internet import endpoints, reactor, ssl
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, readBody
from twisted.web.resource import Resource
from twisted.web.server import Site
from zope.interface import implementer

from benchmarks.contenders import NAME, SUITE, Terms
from benchmarks.interleave import Times
from benchmarks.lines import Line, Run, rates, times
from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.identity import Identity
from tlsprovider.trust import TrustStore
from tlsprovider.twisted import HTTPSPolicy, TLSClientEndpoint, TLSServerEndpoint, install, uninstall

TITLE = "Twisted over loopback TCP, both ends in one process"

STOCK, INSTALLED, OURS, RESUMING = "Twisted's own", "install()", "ours", "resuming"
GROUP = "X25519"
CHUNK = bytes(65536)
BULK = 24 << 20
PING = bytes(100)
PINGS = 500
CONNECTIONS, AT_ONCE = 40, 20
REQUESTS = 8
IDLE, QUICK_IDLE = 2000, 200
GOAL_IDLE = 0.4
SYSTEM_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")


# -- who is measured -------------------------------------------------------------------------------------------------


class Stock:
    """Twisted's own TLS."""

    name: ClassVar = STOCK

    def __init__(self, terms: Terms) -> None:
        leaf, root = (X509.from_cryptography(one) for one in (terms.issued.certificate, terms.authority.certificate))
        key = PKey.from_cryptography_key(terms.issued.private_key)  # type: ignore[arg-type]
        self._server = ssl.CertificateOptions(privateKey=key, certificate=leaf)
        self._client: Any = ssl.optionsForClientTLS(NAME, trustRoot=ssl.Certificate(root))
        for context in (self._server.getContext(), self._client._createConnection.__self__.getContext()):
            context.set_tls13_ciphersuites(SUITE.encode())
            # Its set_tmp_ecdh knows no X25519.
            assert lib.SSL_CTX_set1_curves_list(context._context, ffi.new("char[]", GROUP.encode())) == 1

    def begin(self) -> None:
        """What has to be done before it is this one's turn, and is not measured."""
        uninstall()

    def listen(self, factory: Any) -> Any:
        endpoint = endpoints.SSL4ServerEndpoint(reactor, 0, self._server, interface="127.0.0.1")
        return endpoint.listen(factory)

    def connect(self, port: int, factory: Any) -> Any:
        endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        return endpoints.wrapClientTLS(self._client, endpoint).connect(factory)

    def policy(self) -> Any:
        """What an ``Agent`` has unless told otherwise."""
        return BrowserLikePolicyForHTTPS()

    def agreed(self, transport: Any) -> tuple[str, str]:
        """Suite and group."""
        handle: SSL.Connection = transport.getHandle()
        return str(handle.get_cipher_name()), str(handle.get_group_name()).upper()


class Installed(Stock):
    """Twisted's own configuration, driven by our protocol."""

    name: ClassVar = INSTALLED

    def begin(self) -> None:
        install()


class Native:
    """Our own endpoints."""

    name: ClassVar = OURS

    def __init__(self, terms: Terms) -> None:
        identity = Identity.from_crypto(terms.issued.certificates, terms.issued.private_key)
        trust = TrustStore.from_crypto([terms.authority.certificate])
        common: dict[str, Any] = {"groups": [GROUP.lower()], "cipher_suites": [SUITE]}
        self._server = ServerConfig(identities=[identity], **common, **self.without("tickets"))
        self._client = ClientConfig(trust=trust, **common, **self.without("sessions"))
        self._policy = HTTPSPolicy()

    def without(self, field: str) -> dict[str, Any]:
        """The field with which sessions are not reused."""
        return {field: None}

    def begin(self) -> None:
        install()

    def listen(self, factory: Any) -> Any:
        endpoint = endpoints.TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        return TLSServerEndpoint(endpoint, self._server).listen(factory)

    def connect(self, port: int, factory: Any) -> Any:
        endpoint = endpoints.TCP4ClientEndpoint(reactor, "127.0.0.1", port)
        return TLSClientEndpoint(endpoint, self._client, NAME).connect(factory)

    def policy(self) -> Any:
        return self._policy

    def agreed(self, transport: Any) -> tuple[str, str]:
        handle = transport.getHandle()
        return handle.cipher, handle.group.upper()


class Resuming(Native):
    """As they are unless told otherwise."""

    name: ClassVar = RESUMING

    def without(self, field: str) -> dict[str, Any]:
        return {}


CONTENDERS = (Stock, Installed, Native, Resuming)
Contender = Stock | Native


# -- applications ----------------------------------------------------------------------------------------------------


class Echo(Protocol):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(data)


@implementer(IPushProducer)
class Bulk(Protocol):
    """Sends BULK bytes when told to, and says when as many have arrived."""

    def __init__(self) -> None:
        self.arrived: Deferred[None] = Deferred()
        self._missing = self._unsent = BULK
        self._paused = False

    def dataReceived(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing == 0:
            self.arrived.callback(None)

    def send(self) -> None:
        self.transport.registerProducer(self, True)
        self.resumeProducing()

    def resumeProducing(self) -> None:
        self._paused = False
        while self._unsent and not self._paused:
            self._unsent -= len(CHUNK)
            self.transport.write(CHUNK)
            if not self._unsent:
                self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        self._paused = True

    def stopProducing(self) -> None:
        self._unsent = 0


class Pinging(Protocol):
    """Writes PING ``count`` times, each after the answer to the one before; or 1 byte once, and closes."""

    def __init__(self, ping: bytes = PING, count: int = PINGS) -> None:
        self.done: Deferred[None] = Deferred()
        self._ping, self._left = ping, count
        self._missing = 0

    def start(self) -> None:
        self._missing = len(self._ping)
        self.transport.write(self._ping)

    def dataReceived(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing:
            return
        self._left -= 1
        if self._left:
            self.start()
        else:
            self.transport.loseConnection()

    def connectionLost(self, reason: Any) -> None:
        self.done.callback(None)


class Asking(Protocol):
    """Has one byte echoed, and stays."""

    def __init__(self) -> None:
        self.answered: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"x")

    def dataReceived(self, data: bytes) -> None:
        self.answered.callback(data)


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        return b"hello"


# -- what is measured ------------------------------------------------------------------------------------------------


async def send_bulk(who: Contender, to_server: bool) -> float:
    """Seconds for BULK bytes in one direction."""
    accepted: Deferred[Bulk] = Deferred()

    def accept() -> Bulk:
        protocol = Bulk()
        reactor.callLater(0, accepted.callback, protocol)
        return protocol

    port = await who.listen(Factory.forProtocol(accept))
    client = await who.connect(port.getHost().port, Factory.forProtocol(Bulk))
    server = await accepted
    sender, receiver = (client, server) if to_server else (server, client)
    gc.collect()
    begin = time.process_time()
    sender.send()
    await receiver.arrived
    seconds = time.process_time() - begin
    client.transport.abortConnection()
    await port.stopListening()
    return seconds


async def ping(who: Contender) -> float:
    """Seconds for a ping and its answer."""
    port = await who.listen(Factory.forProtocol(Echo))
    client = await who.connect(port.getHost().port, Factory.forProtocol(Pinging))
    gc.collect()
    begin = time.process_time()
    client.start()
    await client.done
    seconds = time.process_time() - begin
    await port.stopListening()
    return seconds / PINGS


async def connect(who: Contender, at_once: int) -> float:
    """Seconds for connecting, a handshake, the echo of a byte, and a close."""
    port = await who.listen(Factory.forProtocol(Echo))

    async def one() -> None:
        client = await who.connect(port.getHost().port, Factory.forProtocol(lambda: Pinging(b"x", 1)))
        client.start()
        await client.done

    gc.collect()
    begin = time.process_time()
    for _ in range(CONNECTIONS // at_once):
        await gatherResults([Deferred.fromCoroutine(one()) for _ in range(at_once)])
    seconds = time.process_time() - begin
    await port.stopListening()
    return seconds / CONNECTIONS


async def request(who: Contender) -> float:
    """Seconds for a request of ``Agent``, on a new connection, with the policy that one has unless told otherwise."""
    port = await who.listen(Site(Page()))
    agent = Agent(reactor, who.policy())
    url = f"https://{NAME}:{port.getHost().port}/".encode()
    gc.collect()
    begin = time.process_time()
    for _ in range(REQUESTS):
        response = await agent.request(b"GET", url)
        if await readBody(response) != b"hello":
            raise RuntimeError(f"{who.name}: another page was expected")
    seconds = time.process_time() - begin
    await port.stopListening()
    return seconds / REQUESTS


Work = Callable[[Contender], Coroutine[Any, Any, float]]
CONNECTING, REQUESTING = "connect, handshake, 1 byte, close", "Agent, new connections, default policy"
MEASURES: dict[str, tuple[float, Work]] = {
    "bulk to the server": (2.0, lambda who: send_bulk(who, to_server=True)),
    "bulk to the client": (2.0, lambda who: send_bulk(who, to_server=False)),
    "ping-pong, 100 bytes": (0.75, ping),
    CONNECTING: (0.6, lambda who: connect(who, 1)),
    f"{CONNECTING}, {AT_ONCE} at once": (0.6, lambda who: connect(who, AT_ONCE)),
    REQUESTING: (0.25, request),
}


async def compare(terms: Terms, rounds: int) -> list[Line]:
    """Every measure for every contender, one right after the other; the first round is not counted."""
    contenders: list[Contender] = [kind(terms) for kind in CONTENDERS]
    for who in contenders:
        await _insist_on_terms(who)
    found: dict[str, Times] = {measure: {who.name: [] for who in contenders} for measure in MEASURES}
    for number in range(rounds + 1):
        first = number % len(contenders)
        for measure, (_, work) in MEASURES.items():
            for who in contenders[first:] + contenders[:first]:
                who.begin()
                seconds = await work(who)
                if number:
                    found[measure][who.name].append(seconds)
    uninstall()
    return [line for measure, seconds in found.items() for line in _lines(measure, seconds)]


def _lines(measure: str, found: Times) -> Iterator[Line]:
    for name in found:
        connects = measure.startswith((CONNECTING, REQUESTING))
        if name == STOCK or (name == RESUMING and not connects):
            continue
        what = measure if name == OURS else f"{measure}: {name}"
        goal = MEASURES[measure][0] if name == OURS else None
        if measure.startswith("bulk"):
            yield rates(what, STOCK, BULK, found[name], found[STOCK], goal)
        else:
            yield times(what, STOCK, found[name], found[STOCK], goal)


async def _insist_on_terms(who: Contender) -> None:
    """Otherwise nothing could be compared."""
    who.begin()
    port = await who.listen(Factory.forProtocol(Echo))
    client = await who.connect(port.getHost().port, Factory.forProtocol(Asking))
    agreed = who.agreed(client.transport) if await client.answered else ()
    client.transport.abortConnection()
    await port.stopListening()
    if agreed != (SUITE, GROUP):
        raise RuntimeError(f"{who.name} negotiated {agreed} and not {SUITE} with {GROUP}")


# -- memory ----------------------------------------------------------------------------------------------------------


async def idle(kind: Callable[[Terms], Contender], terms: Terms, count: int) -> float:
    """KiB of the process for one connection that does nothing after a first byte, both ends together."""
    who = kind(terms)
    who.begin()
    port = await who.listen(Factory.forProtocol(Echo))
    kept = []

    async def add() -> None:
        client = await who.connect(port.getHost().port, Factory.forProtocol(Asking))
        await client.answered
        kept.append(client)

    for _ in range(50):
        await add()
    before = _resident()
    for _ in range(count):
        await add()
    grown = _resident() - before
    for client in kept:
        client.transport.abortConnection()
    await port.stopListening()
    return grown / count / 1024


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def _idle_in_child(name: str, count: int) -> float:
    """In a process of its own, where nobody else has left room."""
    command = [sys.executable, "-m", "benchmarks.twisted", "memory", name, str(count)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    return float(finished.stdout)


# -- running ---------------------------------------------------------------------------------------------------------


def measure(run: Run) -> list[Line]:
    """Everything above. Runs the reactor, so only once in a process."""
    # A round takes seconds.
    rounds = max(1, run.rounds // 4)
    with tempfile.TemporaryDirectory() as folder:
        # What a system trusts, and the benchmarks' authority: for the policies that nobody has configured.
        bundle = Path(folder, "bundle.pem")
        bundle.write_bytes(SYSTEM_BUNDLE.read_bytes() + run.terms.authority.certificate_pem)
        os.environ["SSL_CERT_FILE"] = str(bundle)
        lines: list[Line] = _run(compare(run.terms, rounds))
    count = QUICK_IDLE if run.quick else IDLE
    theirs = _idle_in_child(STOCK, count)
    for name in (INSTALLED, OURS):
        ours = _idle_in_child(name, count)
        what = f"one of {count:,} idle connections" + ("" if name == OURS else f": {name}")
        lines.append(
            Line(what, STOCK, "memory", ours, "KiB", theirs, ours / theirs, GOAL_IDLE if name == OURS else None)
        )
    return lines


def _run(work: Coroutine[Any, Any, Any]) -> Any:
    results: list[Any] = []

    def stop(result: Any) -> None:
        results.append(result)
        reactor.callLater(0, reactor.stop)

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work).addBoth(stop))
    with warnings.catch_warnings():
        # Twisted's own, of how it uses pyOpenSSL.
        warnings.simplefilter("ignore", DeprecationWarning)
        reactor.run()
    if hasattr(results[0], "raiseException"):
        results[0].raiseException()
    return results[0]


def main(what: str, name: str, count: str) -> None:
    if what != "memory":
        raise SystemExit("python -m benchmarks.twisted memory NAME COUNT; for the rest python -m benchmarks twisted")
    (kind,) = [kind for kind in CONTENDERS if kind.name == name]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print(_run(idle(kind, Terms.make(), int(count))))


if __name__ == "__main__":
    main(*sys.argv[1:])
