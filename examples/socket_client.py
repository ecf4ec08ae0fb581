"""A blocking socket and the SSL object, return codes as in SSL_do_handshake(3): socket_client.py CA.PEM PORT"""

from __future__ import annotations

import socket
import sys

from tlsprovider import ClientConfig, TrustStore
from tlsprovider.ssl import SSL, ErrorCode


def main(ca: str, port: str) -> None:
    ssl = SSL(ClientConfig(trust=TrustStore.from_file(ca)), server_hostname="localhost")
    with socket.create_connection(("localhost", int(port)), timeout=10) as connection:
        ssl.set_fd(connection)
        if ssl.connect() != 1:
            raise SystemExit(f"no connection: {ssl.error}")
        print(f"{ssl.version}, {ssl.cipher}, {ssl.group}")
        ssl.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        while data := ssl.read(65536):
            sys.stdout.write(data.decode())
        if ssl.get_error(data) is not ErrorCode.ZERO_RETURN:
            raise SystemExit(f"the answer may be cut short: {ssl.error}")
        ssl.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
