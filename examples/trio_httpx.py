"""Fetch a page with httpx on trio, over HTTP/1.1 and HTTP/2: trio_httpx.py CA.PEM URL

httpx knows nothing of tlsprovider: it takes an ssl.SSLContext and gives it to trio's own SSLStream.
"""

from __future__ import annotations

import sys

import httpx
import trio

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.sslcontext import context_for


async def main(ca: str, url: str) -> None:
    context = context_for(ClientConfig(trust=TrustStore.from_file(ca)))
    for http2 in (False, True):
        async with httpx.AsyncClient(verify=context, http2=http2) as client:
            async with client.stream("GET", url) as response:
                body = await response.aread()
                tls = response.extensions["network_stream"].get_extra_info("ssl_object")
                print(f"{response.http_version} over {tls.version()}, {tls.cipher()[0]}: {body.decode().strip()}")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
