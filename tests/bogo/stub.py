"""What the runner starts for each test: it hands its arguments to the warm process and repeats what comes back.

It is run with ``python -I -S -E`` and imports next to nothing, because it is started thousands of times; see ``warm``
for the other end and for the format.
"""

import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, socket


def main() -> int:
    request = b"".join(os.fsencode(argument) + b"\0" for argument in sys.argv[2:])
    warm = socket(AF_UNIX, SOCK_STREAM)
    warm.connect(sys.argv[1])
    warm.sendall(len(request).to_bytes(4, "big") + request)
    reply = b""
    while part := warm.recv(1 << 16):
        reply += part
    if len(reply) < 5:
        os.write(2, b"the shim died without an answer\n")
        return 90
    end = 5 + int.from_bytes(reply[1:5], "big")
    os.write(1, reply[5:end])
    os.write(2, reply[end:])
    return reply[0]


sys.exit(main())
