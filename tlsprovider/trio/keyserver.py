"""A key server for programs under trio."""

from __future__ import annotations

from collections.abc import Awaitable

import trio

from tlsprovider import keyserver
from tlsprovider.keyserver import KeyServerError
from tlsprovider.keyserver.client import CUT_SHORT, unreachable
from tlsprovider.keyserver.messages import decode_response

__all__ = ["KeyServer"]


class KeyServer(keyserver.KeyServer):
    """As :class:`tlsprovider.keyserver.KeyServer`, but other tasks run while a signature is made."""

    def exchange(self, request: bytes) -> Awaitable[bytes]:
        return self._exchange(request)

    async def _exchange(self, request: bytes) -> bytes:
        data = bytearray()
        try:
            with trio.fail_after(self.timeout):
                async with await trio.open_unix_socket(self.path) as connection:
                    await connection.send_all(request)
                    while (signature := decode_response(data)) is None:
                        piece = await connection.receive_some()
                        if not piece:
                            raise KeyServerError(CUT_SHORT)
                        data += piece
        except trio.TooSlowError:
            raise unreachable(self, None) from None
        except (OSError, trio.BrokenResourceError) as problem:
            raise unreachable(self, problem) from problem
        return signature
