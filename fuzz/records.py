"""Target ``record``: what a reader makes of records, plain, protected and malformed."""

from __future__ import annotations

from sealing import DATA, SECRET, Sealer, plain

from fuzz.harness import Program
from tlsprovider.errors import PeerFault
from tlsprovider.record import APPLICATION_DATA, HANDSHAKE, RecordReader

Story = list[tuple[int, bytes]]

SIZES = (1, 2, 3, 4, 5, 6, 7, 16, 21, 22, 23, 50, 300, 17_000, 1 << 20)
LENGTHS = (0, 1, 2, 3, 16, 100, 16_367, 16_383, 16_384, 16_385, 16_640)


def write_records(program: Program, first: bytes) -> tuple[bytes, bytes]:
    """``(what comes under no keys, what comes under keys)``; the latter begins with ``first`` as application data."""
    sealer: Sealer | None = None
    phases = bytearray(), bytearray()
    for _ in range(40):
        if not program.more:
            break
        step = program.byte() % 8
        out = phases[sealer is not None]
        if step == 0:
            if sealer is None:
                sealer = Sealer()
                phases[1].extend(sealer.record(DATA, first) if first else b"")
        elif step == 1:
            out += program.piece()
        elif step == 2:
            kind, content = program.byte(), program.piece()
            out += plain(20 + kind % 4 if kind < 200 else kind, content, 0x0303 if kind % 50 else program.number())
        elif sealer is None:
            out += plain(HANDSHAKE, program.piece())
        elif step == 3:
            out += sealer.record(20 + program.byte() % 4, program.piece(), program.byte())
        elif step == 4:
            out += sealer.inner(program.piece())
        elif step == 5:
            out += sealer.record(DATA, bytes(program.choose(LENGTHS)), program.choose(LENGTHS))
        elif step == 6:
            for _ in range(program.byte() % 40):
                out += sealer.record(DATA, b"", 0)
        else:
            out += sealer.record(HANDSHAKE, program.piece())
    return bytes(phases[0]), bytes(phases[1])


def read_records(phases: tuple[bytes, bytes], sizes: list[int], fast: bool, skippable: int | None) -> Story:
    """Everything that a reader finds: application data in one piece where nothing else is between, then the fault."""
    reader, story = RecordReader(), Story()
    reader.allow_change_cipher_spec = True
    reader.skippable = skippable
    try:
        for protected, data in enumerate(phases):
            if protected:
                reader.change_keys(SECRET)
            position = 0
            for size in [*sizes, len(data)]:
                piece = data[position : position + size]
                position += size
                if fast and protected:
                    read_fast(reader, piece, story)
                else:
                    reader.feed(piece)
                    while (record := reader.read()) is not None:
                        note(reader, story, *record)
    except PeerFault as found:
        story.append((-1, found.fault.name.encode()))
    return story


def read_fast(reader: RecordReader, piece: bytes, story: Story) -> None:
    """As an established connection does it."""
    content = reader.read_one(piece)
    if content is not None:
        note(reader, story, APPLICATION_DATA, content)
        return
    chunks: list[bytes] = []
    try:
        record = reader.read_application(piece, chunks)
        while record is not None:
            note_all(reader, story, chunks)
            note(reader, story, *record)
            record = reader.read_application(b"", chunks)
    finally:
        note_all(reader, story, chunks)


def note_all(reader: RecordReader, story: Story, chunks: list[bytes]) -> None:
    for chunk in chunks:
        note(reader, story, APPLICATION_DATA, chunk)
    chunks.clear()


def note(reader: RecordReader, story: Story, kind: int, content: bytes) -> None:
    if kind == HANDSHAKE:
        reader.handshake.add(content)
        while (message := reader.handshake.next_message()) is not None:
            story.append((kind, message))
    elif kind == APPLICATION_DATA and story and story[-1][0] == kind:
        story[-1] = (kind, story[-1][1] + content)
    else:
        story.append((kind, content))


def check(data: bytes) -> None:
    program = Program(data)
    skippable = program.choose([None, None, 0, 100, 20_000])
    sizes = [program.choose(SIZES) for _ in range(program.byte() % 16)]
    # The fast way is taken after the handshake: then nothing is passed over, and a record has been opened already.
    handshake = skippable is not None
    phases = write_records(program, b"" if handshake else b"first")
    expected = read_records(phases, [], False, skippable)
    for fast in (False,) if handshake else (False, True):
        found = read_records(phases, sizes, fast, skippable)
        assert found == expected, f"in pieces of {sizes}, fast={fast}: {found}; all at once: {expected}"
