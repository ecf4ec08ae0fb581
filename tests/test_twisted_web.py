"""Clients of ``twisted.web`` with our policy and with our endpoints: ``Agent`` and ``treq``, over real sockets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.client import URI
from twisted.web.error import SchemeNotSupported
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from twisted_child import in_child
from twisted_pair import Files
from twisted_pair import write_files as write_files
from zope.interface import directlyProvides
from zope.interface.verify import verifyObject

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import ConfigError, WantRead
from tlsprovider.iana import ExtensionType
from tlsprovider.trust import TrustStore
from tlsprovider.twisted import AgentEndpoints, HTTPSPolicy, TLSClientEndpoint, install
from tlsprovider.wire.extensions import decode_server_name
from tlsprovider.wire.messages import ClientHello

BODY = bytes(range(256)) * 1000
MESSAGES = ["hello", "x" * 100_000, "bye"]


def make_agent(reactor: Any, way: str, trust: str, pool: Any = None) -> Any:
    from twisted.web.client import Agent

    config = ClientConfig(trust=TrustStore.from_file(trust))
    if way != "endpoints":
        return Agent(reactor, HTTPSPolicy(config), pool=pool)
    return Agent.usingEndpointFactory(reactor, AgentEndpoints(reactor, config), pool=pool)


async def listen(reactor: Any, both: str) -> tuple[Any, list[Any]]:
    """A website by an endpoint string; and the protocols of its connections."""
    from twisted.internet.endpoints import serverFromString
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Page(Resource):
        isLeaf = True  # noqa: N815

        def render_GET(self, request: Any) -> bytes:
            request.setHeader("x-alpn", request.transport.negotiatedProtocol)
            request.setHeader("x-resumed", str(request.transport.getHandle().session_reused))
            return BODY

        def render_POST(self, request: Any) -> bytes:
            body: bytes = request.content.read()
            return body[::-1]

    connections: list[Any] = []

    class Counting(Site):
        def buildProtocol(self, addr: Any) -> Any:
            connections.append(super().buildProtocol(addr))
            return connections[-1]

    endpoint = serverFromString(reactor, f"tlsp:0:interface=127.0.0.1:privateKey={both}")
    return await endpoint.listen(Counting(Page())), connections


async def agent_requests(reactor: Any, way: str, both: str, ca: str) -> list[Any]:
    """Two pages over one connection of a pool, by name; one over another, by address; and one more, by name again."""
    from twisted.web.client import HTTPConnectionPool, readBody

    port, connections = await listen(reactor, both)
    pool = HTTPConnectionPool(reactor)
    agent = make_agent(reactor, way, ca, pool)
    told: list[Any] = []
    for host in ("localhost", "localhost", "127.0.0.1", "localhost"):
        if len(told) == 3:
            await pool.closeCachedConnections()
        response = await agent.request(b"GET", f"https://{host}:{port.getHost().port}/".encode())
        same = await readBody(response) == BODY
        told.append(
            [response.code, same, *(response.headers.getRawHeaders(name)[0] for name in ("x-alpn", "x-resumed"))]
        )
    await pool.closeCachedConnections()
    await port.stopListening()
    return [*told, len(connections)]


async def treq_requests(reactor: Any, way: str, both: str, ca: str) -> list[Any]:
    from treq.client import HTTPClient

    port, _ = await listen(reactor, both)
    client = HTTPClient(make_agent(reactor, way, ca))
    url = f"https://localhost:{port.getHost().port}/"
    got = await client.get(url)
    posted = await client.post(url, data=BODY)
    told = [got.code, await got.content() == BODY, posted.code, await posted.content() == BODY[::-1]]
    await port.stopListening()
    return told


async def echo_by_websocket(reactor: Any, way: str, both: str, ca: str, messages: list[str]) -> list[Any]:
    """Twisted's own WebSockets, on both sides."""
    from twisted.internet.defer import Deferred
    from twisted.internet.endpoints import serverFromString
    from twisted.web.resource import Resource
    from twisted.web.server import Site
    from twisted.web.websocket import WebSocketClientEndpoint, WebSocketResource

    class Quiet:
        transport: Any

        def buildProtocol(self, _: Any) -> Any:
            return type(self)()

        def negotiationStarted(self, transport: Any) -> None:
            self.transport = transport

        def negotiationFinished(self) -> None:
            pass

        def connectionLost(self, reason: Any) -> None:
            pass

    class Echo(Quiet):
        def textMessageReceived(self, message: str) -> None:
            self.transport.sendTextMessage(message)

    class Asking(Quiet):
        def textMessageReceived(self, message: str) -> None:
            received.append(message)
            if len(received) == len(messages):
                self.transport.loseConnection()

        def connectionLost(self, reason: Any) -> None:
            ended.callback(None)

    received: list[str] = []
    ended: Deferred[None] = Deferred()
    root = Resource()
    root.putChild(b"echo", WebSocketResource(Echo()))
    port = await serverFromString(reactor, f"tlsp:0:interface=127.0.0.1:privateKey={both}").listen(Site(root))
    url = f"wss://localhost:{port.getHost().port}/echo"
    config = ClientConfig(trust=TrustStore.from_file(ca))
    if way != "endpoints":
        endpoint = WebSocketClientEndpoint.new(reactor, url, tlsPolicy=HTTPSPolicy(config))
    else:
        endpoint = WebSocketClientEndpoint(AgentEndpoints(reactor, config), url)
    client = await endpoint.connect(Asking())
    for message in messages:
        client.transport.sendTextMessage(message)
    await ended
    await port.stopListening()
    return received


async def agent_failure(reactor: Any, way: str, both: str, stranger: str) -> str:
    """What somebody reads who prints the exception."""
    port, _ = await listen(reactor, both)
    try:
        await make_agent(reactor, way, stranger).request(b"GET", f"https://localhost:{port.getHost().port}/".encode())
    except Exception as problem:
        return f"{type(problem).__name__}: {problem}"
    finally:
        await port.stopListening()
    raise AssertionError("the request should have failed")


async def all_of_it(reactor: Any, way: str, both: str, ca: str, stranger: str) -> dict[str, Any]:
    if way == "installed":
        install()
    return {
        "agent": await agent_requests(reactor, way, both, ca),
        "treq": await treq_requests(reactor, way, both, ca),
        "websockets": await echo_by_websocket(reactor, way, both, ca, MESSAGES),
        "failure": await agent_failure(reactor, way, both, stranger),
    }


@pytest.fixture(scope="module", params=["policy", "installed", "endpoints"])
def told(request: pytest.FixtureRequest, files: Files) -> dict[str, Any]:
    """One process for each way does it all."""
    result: dict[str, Any] = in_child(all_of_it, request.param, files.both, files.ca, files.client)
    return {"way": request.param, **result}


def test_agent_with_a_pool(told: dict[str, Any]) -> None:
    *pages, connections = told["agent"]
    assert [page[:3] for page in pages] == [[200, True, "http/1.1"]] * 4
    assert connections == 3


def test_agent_resumes_a_session(told: dict[str, Any]) -> None:
    *pages, _ = told["agent"]
    assert [page[3] for page in pages] == ["False", "False", "False", "True"]


def test_treq(told: dict[str, Any]) -> None:
    assert told["treq"] == [200, True, 200, True]


def test_websockets(told: dict[str, Any]) -> None:
    assert told["websockets"] == MESSAGES


def test_readable_failure(told: dict[str, Any]) -> None:
    """Stock Twisted says ``[<twisted.python.failure.Failure OpenSSL.SSL.Error: [...]>]``, or nothing at all."""
    kind, _, text = told["failure"].partition(": ")
    assert kind == ("CertificateFault" if told["way"] == "endpoints" else "ResponseNeverReceived")
    assert "'localhost' was issued by 'tlsprovider tests', which is not in the trust store" in text


class TestPolicy:
    def test_is_one(self, client_config: ClientConfig) -> None:
        assert verifyObject(IPolicyForHTTPS, HTTPSPolicy(client_config))

    def test_hosts_share_all_but_their_name(self, client_config: ClientConfig) -> None:
        policy = HTTPSPolicy(client_config)
        one, again, other = (policy.creatorForNetloc(host, 443) for host in (b"a.example", b"a.example", b"b.example"))
        assert one is again, "kept for the next request"
        assert one.config is other.config is client_config
        assert (one.hostname, other.hostname) == ("a.example", "b.example")

    def test_one_trust_store_for_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Read when it is first needed, once. Stock Twisted reads it for every connection."""
        from tlsprovider import trust

        read: list[str] = []
        load = trust._load_system
        monkeypatch.setattr(trust, "_load_system", lambda: [read.append("once"), load()][1])
        trust._system.cache_clear()
        try:
            for policy in (HTTPSPolicy(), HTTPSPolicy()):
                for number in range(5):
                    engine = policy.creatorForNetloc(f"host{number}.example".encode(), 443)._new_engine(policy.config)
                    assert engine.process_outgoing() is not None
                    assert policy.config.trust.certificates
        finally:
            trust._system.cache_clear()
        assert read == ["once"]

    @pytest.mark.parametrize(
        ("host", "sent"),
        [
            (b"localhost", "localhost"),
            (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bücher.example".encode(), "xn--bcher-kva.example"),
            (b"127.0.0.1", None),
            (b"::1", None),
        ],
    )
    def test_names(self, client_config: ClientConfig, host: bytes, sent: str | None) -> None:
        """No server name is sent for an address (RFC 6066 section 3)."""
        creator = HTTPSPolicy(client_config).creatorForNetloc(host, 443)
        engine = creator._new_engine(creator.config)
        with pytest.raises(WantRead):
            engine.do_handshake()
        hello = ClientHello.decode(engine.process_outgoing()[5:]).extensions
        assert hello is not None
        assert (
            decode_server_name(hello[ExtensionType.server_name]) if sent else hello.get(ExtensionType.server_name)
        ) == sent

    def test_what_is_no_name(self, client_config: ClientConfig) -> None:
        with pytest.raises(ConfigError, match=r"'a\.\.b' is neither a domain name nor an IP address"):
            HTTPSPolicy(client_config).creatorForNetloc(b"a..b", 443)

    def test_wrong_configurations(self, server_config: ServerConfig, client_config: ClientConfig) -> None:
        wrong: Any = server_config
        for make in (HTTPSPolicy, lambda config: AgentEndpoints(MemoryReactorClock(), config)):
            with pytest.raises(ConfigError, match="a client of HTTPS needs a ClientConfig, got ServerConfig"):
                make(wrong)
        old = attrs.evolve(client_config, min_version="TLSv1.2")
        with pytest.raises(ConfigError, match=r"'native' does not support min_version='TLSv1\.2'"):
            HTTPSPolicy(old, "native")

    def test_application_protocols(self, client_config: ClientConfig) -> None:
        """HTTP/1.1, unless the factory or the configuration wants something else."""
        policy = HTTPSPolicy(client_config)
        creator = policy.creatorForNetloc(b"a.example", 443)
        wishes = Factory()
        wishes.acceptableProtocols = lambda: [b"h2"]  # type: ignore[attr-defined]
        directlyProvides(wishes, IProtocolNegotiationFactory)
        for factory, protocols in ((Factory(), ("http/1.1",)), (wishes, ("h2",))):
            wrapper = SimpleNamespace(factory=TLSMemoryBIOFactory(creator, True, factory, MemoryReactorClock()))
            assert creator._config_for(wrapper, False).alpn == protocols
        own = HTTPSPolicy(attrs.evolve(client_config, alpn=["h2", "http/1.1"])).creatorForNetloc(b"a.example", 443)
        assert own._config_for(wrapper, False).alpn == ("h2", "http/1.1")

    def test_in_the_settings_of_scrapy(self) -> None:
        """Scrapy calls this with its settings for OpenSSL."""
        policy = HTTPSPolicy.from_crawler(object(), method=None)
        assert not policy.config.insecure_skip_verify


class TestAgentEndpoints:
    def test_schemes(self, client_config: ClientConfig) -> None:
        endpoints = AgentEndpoints(MemoryReactorClock(), client_config, connectTimeout=3, bindAddress="127.0.0.2")
        assert verifyObject(IAgentEndpointFactory, endpoints)
        for scheme in (b"https", b"wss"):
            endpoint = endpoints.endpointForURI(URI.fromBytes(scheme + b"://[::1]:8443/"))
            assert isinstance(endpoint, TLSClientEndpoint)
            assert endpoint.hostname == "::1" and endpoint.config.alpn == ("http/1.1",)
            inner: Any = endpoint.endpoint
            assert (inner._hostText, inner._port, inner._timeout) == ("::1", 8443, 3)
            assert inner._bindAddress == ("127.0.0.2", 0)
        for scheme in (b"http", b"ws"):
            assert isinstance(endpoints.endpointForURI(URI.fromBytes(scheme + b"://a.example/")), HostnameEndpoint)
        with pytest.raises(SchemeNotSupported):
            endpoints.endpointForURI(URI.fromBytes(b"ftp://a.example/"))
