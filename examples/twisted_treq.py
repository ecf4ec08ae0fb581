"""treq asks for pages, all with one trust store: twisted_treq.py CA.PEM URL..."""

from __future__ import annotations

import sys
from typing import Any

from treq.client import HTTPClient
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.twisted import HTTPSPolicy


async def main(reactor: Any, ca: str, *urls: str) -> None:
    pool = HTTPConnectionPool(reactor)
    policy = HTTPSPolicy(ClientConfig(trust=TrustStore.from_file(ca)))
    client = HTTPClient(Agent(reactor, policy, pool=pool))
    for url in urls:
        try:
            response = await client.get(url)
            print(url, response.code, await response.content())
        except Exception as problem:
            print(url, problem)
    await pool.closeCachedConnections()


if __name__ == "__main__":
    task.react(lambda reactor: Deferred.fromCoroutine(main(reactor, *sys.argv[1:])))
