"""The tests once more through :class:`tlsprovider.ssl.SSL`: return codes, not exceptions; BIOs, not bytes.

:class:`OverSSL` has as much of an engine's face as ``link`` needs. It is used where a test wants what only the SSL
object does (reading does the handshake, peeking), and for all tests with ``-ssl-object``.
"""

from __future__ import annotations

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.errors import WantRead
from tlsprovider.questions import Question, WantAnswer
from tlsprovider.session import Session
from tlsprovider.ssl import SSL, ErrorCode, MemoryBIO, Shutdown

__all__ = ["OverSSL"]


class OverSSL:
    """An SSL object between two memory BIOs."""

    def __init__(
        self, config: ClientConfig | ServerConfig, provider: str, server_hostname: str | None, peek: bool
    ) -> None:
        self.ssl = SSL(config, provider, server_hostname)
        self._arrived, self._outgoing = MemoryBIO(), MemoryBIO()
        self.ssl.set_bio(self._arrived, self._outgoing)
        if isinstance(config, ServerConfig):
            self.ssl.set_accept_state()
        else:
            self.ssl.set_connect_state()
        self._peek = peek

    @property
    def handshake_complete(self) -> bool:
        return self.ssl.is_init_finished()

    @property
    def question(self) -> Question[object] | None:
        return self.ssl.question

    @property
    def close_received(self) -> bool:
        return Shutdown.RECEIVED in self.ssl.get_shutdown()

    def _check(self, ret: int | bytes) -> None:
        """Turn a return code that isn't success into the exception of an engine."""
        code = self.ssl.get_error(ret)
        if code is ErrorCode.WANT_READ:
            raise WantRead
        question = self.ssl.question
        if question is not None and code == question.error_code:
            raise WantAnswer(question)
        error = self.ssl.error
        assert error is not None, f"{code!r} without an error"
        raise error

    def set_session(self, session: Session) -> None:
        self.ssl.set_session(session)

    def do_handshake(self) -> None:
        ret = self.ssl.do_handshake()
        if ret != 1:
            self._check(ret)

    def process_incoming(self, data: bytes) -> None:
        self._arrived.write(data)

    def process_eof(self) -> None:
        self._arrived.write_eof()

    def process_outgoing(self) -> bytes:
        return self._outgoing.read(self._outgoing.pending())

    def read(self, most: int) -> bytes:
        seen = self.ssl.peek(most) if self._peek else b""
        if seen:
            again = self.ssl.peek(most)
            assert seen == again, "a second look shows something else"
        data = self.ssl.read(most)
        assert data == seen or not self._peek, "what was read is not what was seen"
        if not data and self.ssl.get_error(data) is not ErrorCode.ZERO_RETURN:
            self._check(data)
        return data

    def write(self, data: bytes) -> int:
        ret = self.ssl.write(data)
        if ret < 0 or (ret == 0 and data):
            self._check(ret)
        return ret

    def key_update(self) -> None:
        if self.ssl.key_update() != 1:
            self._check(-1)

    def shutdown(self) -> None:
        ret = self.ssl.shutdown()
        if ret < 0:
            self._check(ret)

    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes:
        return self.ssl.export_keying_material(label, context, length)
