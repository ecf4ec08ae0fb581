"""What drives a handshake, and the only place that knows about failure: the same for our own engine and for libraries.

A handshake is a coroutine (``tlsprovider.handshake``). :meth:`Driver.do_handshake` resumes it until it waits for bytes,
waits for an answer, is finished, or fails. Three rules hold for failures:

1. *Sticky.* A failure is kept and raised again by every later call, each time as a new object. It is kept without its
   traceback, whose frames would keep the secrets of the handshake alive, and those frames are cleared.
2. *One alert.* A fault of the peer or of a hook sends one alert at most, under the keys of that moment; an alert
   received, or a transport that ended, sends none.
3. *Nothing is lost before it.* Plaintext that was authenticated before the failure is still read, then the failure.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, Final, Generic, TypeVar

from tlsprovider.errors import MisuseError, TLSError, TruncatedError, WantRead
from tlsprovider.events import EventKind
from tlsprovider.handshake.steps import WANT_READ, Steps, tell
from tlsprovider.questions import Question, WantAnswer

__all__ = ["CLOSED_WITHOUT_NOTICE", "INCOMPLETE", "MAX_UNREAD", "MAX_WAITING", "Driver", "check_export"]

# While a question is open, this much may wait; then the transport should be paused. A ClientHello and its early data
# fit, a flood doesn't. The same bound, times four, for plaintext that nobody reads.
MAX_WAITING: Final = 64 * 1024
MAX_UNREAD: Final = 256 * 1024

CLOSED_WITHOUT_NOTICE: Final = "unexpected eof while reading: the peer went away without close_notify"
INCOMPLETE: Final = "the handshake is not complete: call do_handshake() first"

H = TypeVar("H", bound=Steps)
R = TypeVar("R")


class Driver(ABC, Generic[H, R]):
    """The part of an engine that is alike for all. ``H``: its handshakes; ``R``: what a finished one gives."""

    Bug: ClassVar[type[TLSError]]
    """What an exception becomes that no part of the engine should ever raise."""

    is_server: bool
    _config: Any
    _handshake: H | None
    _coroutine: Coroutine[object, None, R] | None = None
    _failure: TLSError | None = None
    _busy = False
    _peer_ended = False

    # -- for each kind of engine to say ----------------------------------------------------------------------------

    @property
    @abstractmethod
    def handshake_complete(self) -> bool: ...

    @abstractmethod
    def _begin(self, handshake: H) -> Coroutine[object, None, R]:
        """The coroutine of a handshake that begins."""

    @abstractmethod
    def _finish(self, handshake: H, result: R) -> None:
        """The handshake is complete, and gone: what comes now is the connection."""

    @abstractmethod
    def _say_why(self, handshake: H | None, error: TLSError) -> None:
        """The connection has failed: prepare its alert, if it has one and something can still be said."""

    @abstractmethod
    def _release_secrets(self, handshake: H | None) -> None:
        """The connection has failed: let go of every key (section 6)."""

    # -- state -----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        if self._failure is not None:
            return "failed"
        return "connected" if self._handshake is None else self._handshake.state

    @property
    def failure(self) -> TLSError | None:
        return self._failure

    @property
    def question(self) -> Question[Any] | None:
        return self._handshake.question if self._handshake is not None else None

    @property
    def peer_address(self) -> tuple[str, int] | None:
        return self._handshake.peer_address if self._handshake is not None else None

    @peer_address.setter
    def peer_address(self, address: tuple[str, int] | None) -> None:
        if self._handshake is not None:
            self._handshake.peer_address = address

    # -- the handshake ---------------------------------------------------------------------------------------------

    def do_handshake(self) -> None:
        """See :meth:`IEngine.do_handshake`. The semantics are those of SSL_do_handshake(3), in exceptions."""
        self._raise_failure()
        handshake = self._handshake
        if handshake is None:
            return
        if self._busy:
            raise MisuseError("do_handshake() was called from inside one of its own hooks")
        question = handshake.question
        if question is not None and not question.answered:
            if not self._peer_ended:
                raise WantAnswer(question)
            self._fail(TruncatedError("unexpected eof while reading: the peer went away while a question was open"))
            self._raise_failure()
        reason = self._resume(handshake)
        # A traceback must not keep the handshake; and a fault behind the peer's Finished is for whoever reads it.
        del handshake, question
        if self.handshake_complete:
            return
        self._raise_failure()
        if reason is WANT_READ:
            raise WantRead
        if reason is not None:
            assert isinstance(reason, Question)
            raise WantAnswer(reason)

    def _resume(self, handshake: H) -> object:
        """Let the coroutine run: it pauses (the reason is returned), ends (None), or fails (None, and a failure)."""
        self._busy = True
        try:
            if self._coroutine is None:
                if self._config.on_event is not None:
                    handshake.tell("handshake_start", self._side)
                self._coroutine = self._begin(handshake)
            return self._coroutine.send(None)
        except StopIteration as finished:
            result: R = finished.value
        except TLSError as failure:
            self._fail(failure)
            return None
        except Exception as bug:
            internal = self.Bug(f"an internal error: {type(bug).__name__}: {bug}")
            internal.__cause__ = bug
            self._fail(internal)
            return None
        finally:
            self._busy = False
        # A hook, or a gate, may have found another on the way.
        self._config, self.is_server = handshake.config, handshake.is_server
        self._handshake = self._coroutine = None
        self._finish(handshake, result)
        return None

    @property
    def _side(self) -> str:
        return "server" if self.is_server else "client"

    def _tell(self, kind: EventKind, name: str, data: bytes = b"") -> None:
        tell(self._config, kind, name, data)

    # -- failure ---------------------------------------------------------------------------------------------------

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure.afresh()

    def _fail(self, error: TLSError) -> None:
        """Keep a failure, send its alert, and let go of everything secret."""
        for one in (error, error.__cause__):
            if one is not None:
                traceback.clear_frames(one.__traceback__)
        self._failure = error.afresh()
        handshake, coroutine = self._handshake, self._coroutine
        self._say_why(handshake, error)
        if coroutine is not None:
            coroutine.close()
        self._handshake = self._coroutine = None
        self._release_secrets(handshake)

    def _report(self, tell: Callable[..., None], *arguments: object) -> None:
        """Tell the listener of an alert. One that fails now has nothing left to stop: the connection has failed."""
        try:
            tell(*arguments)
        except TLSError as failure:
            assert self._failure is not None
            self._failure.add_note(str(failure))

    def _guard(self, step: Callable[..., object], *arguments: object) -> None:
        """Run a step of the established connection; what it raises becomes the failure, for the next call to tell."""
        try:
            step(*arguments)
        except TLSError as failure:
            self._fail(failure)

    # -- bytes -----------------------------------------------------------------------------------------------------

    def process_eof(self) -> None:
        """See :meth:`IEngine.process_eof`."""
        self._peer_ended = True
        if self._handshake is not None:
            self._handshake.peer_ended = True

    @abstractmethod
    def read(self, max_bytes: int | None = None) -> bytes: ...

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """See :meth:`IEngine.read_into`."""
        with memoryview(buffer) as view, view.cast("B") as target:
            data = self.read(len(target))
            target[: len(data)] = data
        return len(data)

    # -- exporters -------------------------------------------------------------------------------------------------

    @abstractmethod
    def export_keying_material(self, label: str, context: bytes, length: int) -> bytes: ...

    def channel_binding(self, kind: str) -> bytes:
        """``tls-exporter`` of RFC 9266: 32 bytes that are unique to this connection."""
        if kind != "tls-exporter":
            raise ValueError(f"channel binding {kind!r} does not exist in TLS 1.3; use 'tls-exporter'")
        return self.export_keying_material("EXPORTER-Channel-Binding", b"", 32)


def check_export(label: str, length: int, most: int) -> bytes:
    """The label of an exporter as it is hashed (RFC 9846 section 7.5). ``most``: bytes that can be asked for."""
    name = label.encode("utf-8")
    if not 1 <= len(name) <= 249:
        raise ValueError(f"label: expected 1 to 249 bytes, got {len(name)}")
    if not 1 <= length <= most:
        raise ValueError(f"length: expected 1 to {most} bytes, got {length}")
    return name
