"""Sessions and early data of an SSL object: SSL_get1_session(3), SSL_set_session(3), SSL_write_early_data(3).

A configuration's store of sessions works by itself; these are for who keeps sessions in another way.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from tlsprovider.engine import NativeEngine
from tlsprovider.errors import MisuseError
from tlsprovider.interfaces import IEngine
from tlsprovider.providers.features import refusal
from tlsprovider.session import Session
from tlsprovider.ssl.inspection import Inspection

__all__ = ["EarlyDataStatus", "Sessions"]


class EarlyDataStatus(IntEnum):
    """What SSL_get_early_data_status(3) says."""

    NOT_SENT = 0
    REJECTED = 1
    ACCEPTED = 2


class Sessions(Inspection):
    """See :class:`tlsprovider.ssl.SSL`."""

    _session: Session | None = None
    _early = b""

    def get1_session(self) -> Session | None:
        """Client: the session that came last, in whichever read brought it, else the one that was resumed; or None.

        Server: the one that was resumed.
        """
        return getattr(self._made, "session", None)

    def set_session(self, session: Session | None) -> int:
        """Client: offer this one, rather than one of the configuration's store; None: take it back. 1.

        If it doesn't fit (another name, expired, another configuration) the handshake is a full one. Raises MisuseError
        when the handshake has begun, UnsupportedByProvider where the provider resumes no sessions.
        """
        self._before_handshake("set_session()")
        self._session = session
        return 1

    def write_early_data(self, data: bytes) -> int:
        """Client: send this with the hello, all of it, if configuration and session allow; the count of bytes.

        It goes out in the handshake that follows. After that :meth:`get_early_data_status` says what came of it; what
        was not accepted is not sent again unless it is written. Raises as :meth:`set_session` does.
        """
        if not getattr(self.config, "early_data", False):
            raise MisuseError("write_early_data(): early data is off; it takes ClientConfig(early_data=True)")
        self._before_handshake("write_early_data()")
        self._early += data
        return len(data)

    def read_early_data(self, n: int) -> bytes:
        """Server: at most ``n`` bytes of what came early, also in the middle of the handshake; ``b""``: none now.

        Before the handshake is complete it may be a replay. What is left of it comes first out of ``read()``.
        """
        return self._made.read_early(n) if isinstance(self._made, NativeEngine) else b""

    def get_early_data_status(self) -> EarlyDataStatus:
        """NOT_SENT, as long as nothing is known."""
        made = self._made
        return EarlyDataStatus[made.early_data.upper()] if made is not None else EarlyDataStatus.NOT_SENT

    def _before_handshake(self, what: str) -> None:
        if self.is_server() or self._begun:
            raise MisuseError(f"{what} is for clients whose handshake has not begun")
        if not self.provider.supports("sessions"):
            raise refusal("sessions", self.provider.name, what)

    def _offer(self, engine: IEngine) -> None:
        """Tell a new engine what was set."""
        made: Any = engine
        if self._session is not None:
            made.set_session(self._session)
        if self._early:
            made.write_early(self._early)
        self._session, self._early = None, b""
