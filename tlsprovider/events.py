"""What a connection tells to whoever listens: for logs, tests, and the callbacks of the SSL object."""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["Event", "EventKind"]


EventKind = Literal[
    "handshake_start",
    "state",
    "message_received",
    "message_sent",
    "alert_received",
    "alert_sent",
    "key_update",
    "handshake_done",
]


@attrs.frozen
class Event:
    """One thing that happened.

    ======================  =========================================================  ==============================
    ``kind``                ``name``                                                   ``data``
    ======================  =========================================================  ==============================
    ``handshake_start``     ``client`` or ``server``                                   empty
    ``state``               the step that begins, as ``read_server_hello``             empty
    ``message_received``    the handshake message's name                               the message with its header
    ``message_sent``        the handshake message's name                               the message with its header
    ``alert_received``      the alert's name                                           its two bytes
    ``alert_sent``          the alert's name                                           its two bytes
    ``key_update``          ``read`` or ``write``: whose keys changed                  empty
    ``handshake_done``      ``client`` or ``server``                                   empty
    ======================  =========================================================  ==============================

    Messages are shown after decryption; application data never is.
    """

    kind: EventKind
    name: str
    data: bytes = attrs.field(default=b"", repr=False)
