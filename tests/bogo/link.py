"""The runner's socket, an engine, and the order in which BoringSSL's shim reads and writes."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final, TypeVar

from bogo.configure import Made
from bogo.flags import Settings
from bogo.hooks import Mismatch
from tlsprovider.errors import TLSError, TruncatedError, WantRead
from tlsprovider.questions import WantAnswer

__all__ = ["Link", "connect"]

T = TypeVar("T")

READ_SIZE: Final = 512
# The runner gives up after 15 seconds without a byte.
PATIENCE: Final = 20.0
# Around the borders of records.
RECORD_SIZES: Final = (0, 1, 255, 256, 257, 16383, 16384, 16385, 32767, 32768, 32769)


def connect(settings: Settings) -> socket.socket:
    """Dial the runner and say which test this is."""
    address = ("::1" if settings.ipv6 else "127.0.0.1", settings.port)
    transport = socket.create_connection(address, timeout=PATIENCE)
    transport.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    transport.sendall(settings.shim_id.to_bytes(8, "little"))
    return transport


class Link:
    """One connection. Every method raises TLSError, or Mismatch when the engine is not true to its own word."""

    def __init__(self, transport: socket.socket, made: Made, settings: Settings) -> None:
        self._transport = transport
        self._made = made
        self._engine = made.engine
        self._settings = settings
        self._arrived = bytearray()
        self._broken = False
        self._held_back = b""

    # -- bytes -----------------------------------------------------------------------------------------------------

    def flush(self) -> None:
        """Send what is outgoing. A peer that doesn't listen any more may still have said why."""
        if self._held_back:
            # The transport takes nothing now; what is outgoing stays with the engine.
            return
        self._send(self._engine.process_outgoing())

    def _send(self, data: bytes) -> None:
        if data and not self._broken:
            try:
                self._transport.sendall(data)
            except OSError:
                self._broken = True

    def hold_back(self) -> None:
        """Let one byte of what is outgoing through, and keep everything behind it until :meth:`let_go`."""
        data = self._engine.process_outgoing()
        self._send(data[:1])
        self._held_back = data[1:]

    def let_go(self) -> None:
        held, self._held_back = self._held_back, b""
        self._send(held)
        self.flush()

    def _feed(self) -> None:
        """Give the engine what has arrived: all of it, or one byte when the test is to be taken byte by byte."""
        if not self._arrived:
            try:
                data = self._transport.recv(1 << 16)
            except ConnectionError:
                data = b""
            if not data:
                self._engine.process_eof()
                return
            self._arrived += data
        count = 1 if self._settings.late else len(self._arrived)
        self._engine.process_incoming(bytes(self._arrived[:count]))
        del self._arrived[:count]

    def close(self) -> None:
        """Say that nothing more comes, and let the runner finish its sentence: a reset would lose it."""
        try:
            self._transport.shutdown(socket.SHUT_WR)
            while self._transport.recv(1 << 16):
                pass
        except OSError:
            # It has gone already, or has nothing to say for too long; the verdict does not depend on it.
            self._broken = True
        self._transport.close()

    # -- steps -----------------------------------------------------------------------------------------------------

    def handshake(self) -> None:
        self._until_done(self._engine.do_handshake)

    def read(self, most: int) -> bytes:
        """Plaintext; ``b""`` at the end, be it proper or not: who wants to know asks the engine."""
        try:
            data = self._until_done(lambda: self._engine.read(most))
        except TruncatedError:
            if not self._engine.handshake_complete:
                raise
            return b""
        if self._settings.use_exporter_between_reads:
            self._engine.export_keying_material("some label", b"", 1)
        return data

    def write(self, data: bytes) -> None:
        taken = self._until_done(lambda: self._engine.write(data))
        if taken != len(data):
            raise Mismatch(f"write() took {taken} of {len(data)} bytes")

    def _until_done(self, call: Callable[[], T]) -> T:
        """Make a call again and again, and bring what it wants."""
        while True:
            try:
                return self._insist(call)
            except WantRead:
                self.flush()
                self._feed()
            except WantAnswer as want:
                self.flush()
                self._answer(want, call)
            finally:
                self.flush()

    def _answer(self, want: WantAnswer, call: Callable[[], object]) -> None:
        """Ask twice before answering: the same question has to stay open."""
        try:
            call()
        except WantAnswer as again:
            if again.question is not want.question or self._engine.question is not want.question:
                raise Mismatch("the open question changed without an answer") from None
        else:
            raise Mismatch("the handshake went on without an answer")
        self._made.hooks.answer(want.question, self._made.signing_for)

    def _insist(self, call: Callable[[], T]) -> T:
        """Call; and when it fails, call again, for the same failure: failures are sticky."""
        try:
            return call()
        except TLSError as first:
            try:
                call()
            except TLSError as second:
                if type(first) is not type(second) or str(first) != str(second):
                    raise Mismatch(f"the failure {first!r} came back as {second!r}") from None
            else:
                raise Mismatch(f"the failure {first!r} did not come back") from None
            raise

    # -- after the handshake ---------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Say what the test wants said, then give back what comes, every bit turned over."""
        settings = self._settings
        self._write_exports()
        if settings.write_different_record_sizes:
            for size in RECORD_SIZES:
                self.write(b"\x42" * size)
            return
        if settings.read_with_unfinished_write:
            self._engine.write(settings.shim_initial_write)
            self.hold_back()
        elif settings.shim_writes_first:
            for _ in range(settings.repeat_shim_initial_write):
                self.write(settings.shim_initial_write)
        if not settings.shim_shuts_down:
            self._echo()

    def _write_exports(self) -> None:
        settings = self._settings
        if settings.export_keying_material:
            label = settings.export_label.decode("utf-8")
            length = settings.export_keying_material
            self.write(self._engine.export_keying_material(label, settings.export_context, length))
        if settings.export_traffic_secrets:
            secrets = self._made.seen.secrets
            client, server = secrets["CLIENT_TRAFFIC_SECRET_0"], secrets["SERVER_TRAFFIC_SECRET_0"]
            theirs, ours = (client, server) if settings.server else (server, client)
            self.write(len(ours).to_bytes(2, "little") + theirs + ours)

    def _echo(self) -> None:
        settings = self._settings
        turned = bytes(255 - value for value in range(256))
        while True:
            if settings.key_update_before_read:
                self._engine.key_update()
            data = self.read(settings.read_size or READ_SIZE)
            if not data:
                return
            if self._held_back:
                self.let_go()
            if settings.key_update:
                self._engine.key_update()
            self.write(data.translate(turned))

    def shut_down(self) -> None:
        """close_notify both ways, when the test looks at that; otherwise only the transport is closed."""
        settings = self._settings
        if not settings.check_close_notify:
            return
        self._engine.shutdown()
        self.flush()
        while not self._engine.close_received:
            data = self._read_to_the_end()
            if data:
                raise Mismatch(f"{len(data)} bytes of data where only close_notify was expected")

    def _read_to_the_end(self) -> bytes:
        """As :meth:`read`; but here a bare EOF counts."""
        data = self.read(READ_SIZE)
        if not data and not self._engine.close_received:
            raise TruncatedError("the peer did not say close_notify")
        return data
