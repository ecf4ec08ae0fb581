"""A trio client that says something and prints the answer: trio_echo_client.py CA.PEM PORT"""

from __future__ import annotations

import sys

import trio

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.trio import open_tls_stream


async def main(ca: str, port: str) -> None:
    config = ClientConfig(trust=TrustStore.from_file(ca))
    async with await open_tls_stream("localhost", int(port), config) as stream:
        await stream.send_all(b"hello over TLS")
        # close_notify closes one direction (RFC 9846 section 6.1); the server's answer can still come.
        await stream.send_eof()
        answer = b"".join([data async for data in stream])
        print(answer.decode())


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
