"""dnspython: DNS over TLS, RFC 7858."""

from __future__ import annotations

import ssl
from collections import Counter
from functools import partial

import dns.asyncquery
import dns.message
import dns.rrset
import trio


async def answer(stream: trio.abc.Stream) -> None:
    """One address for every name asked for, on a connection that stays open."""
    received = b""
    async with stream:
        async for data in stream:
            received += data
            while len(received) >= 2 and len(received) >= (end := 2 + int.from_bytes(received[:2], "big")):
                query = dns.message.from_wire(received[2:end])
                received = received[end:]
                response = dns.message.make_response(query)
                response.answer = [dns.rrset.from_text(query.question[0].name, 60, "IN", "A", "192.0.2.7")]
                wire = response.to_wire()
                await stream.send_all(len(wire).to_bytes(2, "big") + wire)


async def test_dns_over_tls(seam: Counter[str], client_context: ssl.SSLContext, server_context: ssl.SSLContext) -> None:
    client_context.set_alpn_protocols(["dot"])
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_ssl_over_tcp, answer, 0, server_context, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        port = listener.transport_listener.socket.getsockname()[1]
        for name in ("example.org", "example.com"):
            found = await dns.asyncquery.tls(
                dns.message.make_query(name, "A"),
                "127.0.0.1",
                port=port,
                timeout=5,
                server_hostname="localhost",
                ssl_context=client_context,
            )
            assert [str(one) for one in found.answer[0]] == ["192.0.2.7"]
        nursery.cancel_scope.cancel()
