"""What the targets share: fuzzed bytes read as a program, and engines that lie under the right keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from conversation import DAMAGE, Side, sides

from tlsprovider.config import ClientConfig
from tlsprovider.crypto.transcript import Transcript
from tlsprovider.handshake.client import ClientHandshake
from tlsprovider.handshake.server import ServerHandshake
from tlsprovider.iana import HandshakeType
from tlsprovider.record import APPLICATION_DATA, HANDSHAKE, RecordReader, RecordWriter
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u24

T = TypeVar("T")

CLIENT_HELLO = bytes([HandshakeType.client_hello])


class Program:
    """Fuzzed bytes, taken from the front; behind their end there are only zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def more(self) -> bool:
        return self._position < len(self._data)

    def take(self, length: int) -> bytes:
        piece = self._data[self._position : self._position + length]
        self._position += length
        return piece

    def byte(self) -> int:
        return int.from_bytes(self.take(1), "big")

    def number(self) -> int:
        """Of 16 bits."""
        return int.from_bytes(self.take(2), "big")

    def choose(self, choices: Sequence[T]) -> T:
        return choices[self.byte() % len(choices)]

    def piece(self) -> bytes:
        """Up to 255 bytes, with their number in front."""
        return self.take(self.byte())

    def rest(self) -> bytes:
        return self.take(len(self._data))


# -- lies -------------------------------------------------------------------------------------------------------------

Edit = Callable[[bytes], bytes]


def read_edits(program: Program) -> dict[int, Edit]:
    """Up to three edits: number of the message -> what to do with it."""
    return {program.byte() % 8: read_edit(program) for _ in range(1 + program.byte() % 3)}


def read_edit(program: Program) -> Edit:
    """One way to change a handshake message; blind, or so well-formed that it is read to its end."""
    kind = program.choose(["damage", "damage and length", "body", "kind", "extension", "extension", "repeat", "before"])
    if kind == "before":
        return what_was_told_before
    if kind == "extension":
        return read_extension_edit(program)
    if kind == "repeat":
        count = program.byte()
        return lambda message: message * (1 + count % 40)
    if kind == "kind":
        number = program.byte()
        return lambda message: bytes([number]) + message[1:]
    if kind == "body":
        body = program.piece()
        return lambda message: with_length(message[:4] + body)
    damage, offset, garbage = DAMAGE[program.choose([*DAMAGE])], program.number(), program.piece() or b"\0"
    if kind == "damage":
        return lambda message: damage(message, offset % len(message), garbage)
    return lambda message: with_length(message[:4] + damage(message[4:] or b"\0", offset % (len(message) - 3), garbage))


def what_was_told_before(message: bytes) -> bytes:
    """Stands for the message before this one, once more; only :class:`Lies` knows which that was."""
    return message


def with_length(message: bytes) -> bytes:
    """The header's length made true."""
    return message[:1] + u24(len(message) - 4) + message[4:]


def read_extension_edit(program: Program) -> Edit:
    """Change one extension of a message, and make every length around it true."""
    what = program.choose(["damage", "replace", "drop", "add", "double", "first"])
    index, number, content = program.byte(), program.number(), program.piece()
    damage, offset = DAMAGE[program.choose([*DAMAGE])], program.number()

    def edit(message: bytes) -> bytes:
        found = split_extensions(message)
        if found is None:
            return message
        before, block = found
        at = index % (len(block) + 1)
        chosen = block[at : at + 1]
        if what == "damage":
            block[at : at + 1] = [(one, damage(old, offset % (len(old) + 1), content)) for one, old in chosen]
        elif what == "replace":
            block[at : at + 1] = [(one, content) for one, _ in chosen]
        elif what == "drop":
            del block[at : at + 1]
        elif what == "add":
            block.insert(at, (number, content))
        elif what == "double":
            block[at:at] = chosen
        else:
            block[at : at + 1] = []
            block[:0] = chosen
        if sum(4 + len(one) for _, one in block) > 0xFFFF:
            return message
        return with_length(before + ext.encode_block(block))

    return edit


def split_extensions(message: bytes) -> tuple[bytes, list[tuple[int, bytes]]] | None:
    """A message of ours up to its extension block, and what is in that; None for one that has none."""
    kind = message[0]
    if kind == HandshakeType.client_hello:
        at = 4 + 34 + 1 + message[38]
        at += 2 + int.from_bytes(message[at : at + 2], "big")
        at += 1 + message[at]
    elif kind == HandshakeType.server_hello:
        at = 4 + 34 + 1 + message[38] + 3
    elif kind == HandshakeType.encrypted_extensions:
        at = 4
    elif kind == HandshakeType.certificate_request:
        at = 5 + message[4]
    else:
        return None
    block, position = [], at + 2
    while position < len(message):
        number, length = (int.from_bytes(message[position + skip : position + skip + 2], "big") for skip in (0, 2))
        block.append((number, message[position + 4 : position + 4 + length]))
        position += 4 + length
    return message[:at], block


class Lies:
    """Which of the messages of one side are changed, and how. The same message is always changed in the same way."""

    def __init__(self, edits: dict[int, Edit]) -> None:
        self.strays: list[tuple[int, bytes]] = []
        """Records that go out before the first application data."""
        self._edits = edits
        self._told: list[tuple[bytes, bytes]] = []

    @property
    def any(self) -> bool:
        """Whether something was said that differs from the truth."""
        return any(message != told for message, told in self._told)

    def tell(self, message: bytes) -> bytes:
        edit = self._edits.get(len(self._told))
        if edit is what_was_told_before and self._told:
            told = self._told[-1][1]
        else:
            told = message if edit is None else edit(message)
        self._told.append((message, told))
        return told

    def again(self, message: bytes) -> bytes:
        """What was told in place of this message, if it was the last."""
        return self._told[-1][1] if self._told and self._told[-1][0] == message else message

    def knows(self, message: bytes) -> bool:
        """Whether this object is one of the lies."""
        return any(message is told for _, told in self._told)


# Messages that follow the handshake: what is changed in those, nobody has to notice in it.
AFTERWARDS = (HandshakeType.key_update, HandshakeType.new_session_ticket)


class LyingTranscript(Transcript):
    """A client's that believes its own lies: its hello goes straight to the transcript and then to the writer."""

    def __init__(self, lies: Lies) -> None:
        super().__init__()
        self._lies = lies

    def add(self, message: bytes) -> None:
        ours = message[:1] == CLIENT_HELLO and not self._lies.knows(message)
        super().add(self._lies.tell(message) if ours else message)


class LyingWriter(RecordWriter):
    """Changes messages on their way out. ``believed``: only hellos, the others are changed before they get here."""

    def __init__(self, lies: Lies, believed: bool) -> None:
        super().__init__()
        self._lies = lies
        self._believed = believed

    def write(self, content_type: int, data: bytes | bytearray | memoryview, version: int = 0x0303) -> None:
        if content_type == HANDSHAKE:
            data = b"".join([self._change(message) for message in split_messages(bytes(data))])
        elif content_type == APPLICATION_DATA:
            while self._lies.strays:
                super().write(*self._lies.strays.pop())
        super().write(content_type, data, version)

    def _change(self, message: bytes) -> bytes:
        if self._believed:
            return self._lies.again(message)
        return message if message[0] in AFTERWARDS else self._lies.tell(message)


def split_messages(flight: bytes) -> list[bytes]:
    messages = []
    while flight:
        end = 4 + int.from_bytes(flight[1:4], "big")
        messages.append(flight[:end])
        flight = flight[end:]
    return messages


# Those of the two configurations, or the name of a variant of tests/conversation.py.
Fields = str | tuple[dict[str, object], dict[str, object]]


def lying_sides(fields: Fields, lies: Lies, liar_is_server: bool, believed: bool) -> tuple[Side, Side]:
    """``believed``: the liar's own transcript holds the lies, so it signs them and everything else is right."""

    class LyingClient(ClientHandshake):
        def __init__(
            self, config: ClientConfig, reader: RecordReader, writer: RecordWriter, name: str | None, sni: str | None
        ) -> None:
            super().__init__(config, reader, writer, name, sni)
            self.transcript = LyingTranscript(lies)

        def send(self, kind: HandshakeType, message: bytes) -> None:
            super().send(kind, lies.tell(message))

    class LyingServer(ServerHandshake):
        def send(self, kind: HandshakeType, message: bytes) -> None:
            super().send(kind, lies.tell(message))

    honest, liar = RecordWriter(), LyingWriter(lies, believed)
    writers: tuple[RecordWriter, RecordWriter] = (honest, liar) if liar_is_server else (liar, honest)
    handshakes: tuple[type[ClientHandshake], type[ServerHandshake]] = (ClientHandshake, ServerHandshake)
    if believed:
        handshakes = (ClientHandshake, LyingServer) if liar_is_server else (LyingClient, ServerHandshake)
    return sides(fields, writers, handshakes)
