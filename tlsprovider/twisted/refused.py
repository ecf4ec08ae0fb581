"""What stands in for an engine that could not be made.

Twisted has no place for a connection creator that fails: the peer would be connected, and neither answered nor closed.
So a creator gives a connection all the same, whose handshake fails at once, with the reason, and an alert for the peer.
"""

from __future__ import annotations

from typing import NoReturn

from zope.interface import implementer

from tlsprovider.errors import TLSError
from tlsprovider.iana import AlertDescription
from tlsprovider.interfaces import IEngine
from tlsprovider.record import RecordWriter

__all__ = ["RefusedEngine"]


@implementer(IEngine)
class RefusedEngine:
    """An engine that has failed already, with ``failure``; its only output is the alert internal_error."""

    handshake_complete = close_sent = close_received = session_reused = False
    state = "failed"
    question = version = cipher = group = signature_scheme = alpn = server_name = None
    wants_input = False
    pending = 0
    peer_certificates = verified_chain = local_certificates = ()
    early_data = "not_sent"
    peer_address: tuple[str, int] | None = None

    def __init__(self, failure: TLSError, is_server: bool) -> None:
        self.failure = failure
        self.is_server = is_server
        self._writer = RecordWriter()
        self._writer.write_alert(failure.alert or AlertDescription.internal_error)

    def __repr__(self) -> str:
        return f"<RefusedEngine {'server' if self.is_server else 'client'}: {self.failure}>"

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise self.failure.afresh()

    do_handshake = read = read_into = write = key_update = export_keying_material = channel_binding = _refuse

    def process_incoming(self, data: bytes | bytearray | memoryview) -> None:
        """Nothing is read any more."""

    def process_eof(self) -> None:
        """Nothing is read any more."""

    def process_outgoing(self) -> bytes:
        """The alert."""
        return self._writer.drain()

    def shutdown(self) -> None:
        """There is nothing to close."""

    def trailing_bytes(self) -> bytes:
        return b""
