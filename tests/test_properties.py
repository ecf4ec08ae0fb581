"""What holds for every input. In one sentence: whatever bytes arrive, in whatever pieces, at whatever moment, an engine
gives the plaintext that the peer really sent, or wants more, or ends with one TLSError and at most one alert; then it
is dead for good.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bounded import bounded
from conversation import DAMAGE, FROM_CLIENT, FROM_SERVER, VARIANTS, Side, Wire, converse, sides
from hypothesis import given
from hypothesis import strategies as st

from tlsprovider.errors import TruncatedError, WantRead
from tlsprovider.record import ALERT, APPLICATION_DATA, HANDSHAKE, RecordWriter

variants = pytest.mark.parametrize("variant", VARIANTS)
SIZES = st.lists(
    st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 50, 127, 128, 500, 1000, 16384, 16405, 16406, 16407]), max_size=60
)


def undisturbed(variant: str) -> tuple[Side, Side]:
    client, server = sides(variant)
    converse(client, server, Wire(), Wire())
    return client, server


@variants
def test_a_conversation(variant: str) -> None:
    """The measure for everything below: all is said, all is heard, both hang up."""
    client, server = undisturbed(variant)
    assert client.outcome() == (True, b"".join(FROM_SERVER), True, None, [])
    assert server.outcome() == (True, b"".join(FROM_CLIENT), True, None, [])
    assert ("send_certificate_verify" in {event.name for event in client.events}) is (variant == "client certificate")
    assert [event.name for event in client.events].count("client_hello") == (2 if "retry" in variant else 1)
    assert client.engine.session_reused is server.engine.session_reused is variant.startswith("resumed")


@variants
class TestChunks:
    @bounded(25)
    @given(up=SIZES, down=SIZES)
    def test_pieces_make_no_difference(self, variant: str, up: list[int], down: list[int]) -> None:
        client, server = sides(variant)
        converse(client, server, Wire(up), Wire(down))
        for side, expected in zip((client, server), undisturbed(variant), strict=True):
            assert side.outcome() == expected.outcome()
            assert handshake_story(side) == handshake_story(expected)

    def test_byte_by_byte(self, variant: str) -> None:
        client, server = sides(variant)
        converse(client, server, Wire([1] * 5000), Wire([1] * 5000))
        for side, expected in zip((client, server), undisturbed(variant), strict=True):
            assert side.outcome() == expected.outcome()

    @pytest.mark.parametrize("calls", [1, 3])
    def test_extra_calls_make_no_difference(self, variant: str, calls: int) -> None:
        """do_handshake() may be called at any time, as often as one likes: not a byte is different."""
        client, server = sides(variant)
        client.extra_calls = server.extra_calls = calls
        converse(client, server, Wire([100] * 100), Wire([100] * 100))
        measure = sides(variant)
        converse(*measure, Wire([100] * 100), Wire([100] * 100))
        for side, expected in zip((client, server), measure, strict=True):
            assert side.outcome() == expected.outcome()
            assert side.sent == expected.sent


def handshake_story(side: Side) -> list[tuple[str, str, bytes]]:
    """What was done and said until the handshake was over, byte for byte."""
    story = [(event.kind, event.name, event.data) for event in side.events]
    return story[: story.index(("handshake_done", "server" if side.engine.is_server else "client", b""))]


def spoiler(offset: int, damage: str, garbage: bytes) -> Callable[[int, bytes], bytes]:
    def spoil(carried: int, data: bytes) -> bytes:
        at = offset - carried
        return DAMAGE[damage](data, at, garbage) if 0 <= at < len(data) else data

    return spoil


GARBAGE = st.one_of(
    st.binary(min_size=1, max_size=8),
    st.sampled_from(
        [
            b"\x14\x03\x03\x00\x01\x01",
            b"\x15\x03\x03\x00\x02\x02\x28",
            b"\x15\x03\x03\x00\x02\x01\x00",
            b"\x16\x03\x03\x00\x04\x18\x00\x00\x01",
            b"\x17\x03\x03\x00\x00",
            b"\x17\x03\x03\x00\x10" + bytes(16),
            b"\x17\x03\x03\x00\x13" + bytes(19),
            b"GET / HTTP/1.1\r\n\r\n",
        ]
    ),
)
# The handshake is in the first few hundred bytes of a direction; the records of data follow.
OFFSETS = st.integers(0, 20_000) | st.integers(0, 1500)


RECORDS = st.tuples(st.sampled_from([20, ALERT, HANDSHAKE, APPLICATION_DATA]), st.binary(max_size=60))


@pytest.mark.parametrize("is_server", [False, True])
@bounded(150)
@given(
    records=st.lists(RECORDS, max_size=4),
    kind=st.sampled_from([0, 1, 2, 8, 11, 20, 24, 254]),
    more=st.binary(max_size=40),
)
def test_anything_in_answer_to_nothing(
    is_server: bool, records: list[tuple[int, bytes]], kind: int, more: bytes
) -> None:
    """Plaintext records that nobody asked for, one of them with the header of a handshake message."""
    side = sides()[is_server]
    side.work()
    side.outgoing()
    writer = RecordWriter()
    writer.write(HANDSHAKE, bytes([kind, 0, 0, len(more)]) + more)
    for content_type, content in records:
        writer.write(content_type, content)
    side.incoming(writer.drain() + more)
    side.work()
    assert not side.connected
    side.check(side)


@variants
@pytest.mark.parametrize("direction", ["up", "down"])
class TestGarbage:
    @bounded(60)
    @given(offset=OFFSETS, damage=st.sampled_from([*DAMAGE]), garbage=GARBAGE, sizes=SIZES)
    def test_anywhere(
        self, variant: str, direction: str, offset: int, damage: str, garbage: bytes, sizes: list[int]
    ) -> None:
        client, server = sides(variant)
        spoiled = Wire(sizes, spoiler(offset, damage, garbage))
        up, down = (spoiled, Wire()) if direction == "up" else (Wire(), spoiled)
        converse(client, server, up, down)
        client.check(server)
        server.check(client)

    @bounded(25)
    @given(length=OFFSETS, sizes=SIZES)
    def test_the_wire_is_cut(self, variant: str, direction: str, length: int, sizes: list[int]) -> None:
        """The rest of a direction is lost: what was heard is a beginning, and its end is told from a proper one."""
        client, server = sides(variant)
        cut = Wire(sizes, lambda carried, data: data[: max(0, length - carried)])
        up, down = (cut, Wire()) if direction == "up" else (Wire(), cut)
        converse(client, server, up, down)
        client.check(server)
        server.check(client)
        listener = server if direction == "up" else client
        assert listener.closed or isinstance(listener.failure, TruncatedError)


class Spoiling(RecordWriter):
    """Changes what is sent before it is protected: the peer decrypts it well, and finds something else."""

    def __init__(self, kind: int, number: int, spoil: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self.kind = kind
        self.number = number
        self.spoil = spoil
        self.spoiled = False

    def write(self, content_type: int, data: bytes | bytearray | memoryview, version: int = 0x0303) -> None:
        if content_type == self.kind:
            self.number -= 1
            if self.number == -1:
                changed = self.spoil(bytes(data))
                self.spoiled = changed != data
                data = changed
        super().write(content_type, data, version)


@variants
@pytest.mark.parametrize("speaker", ["client", "server"])
class TestSpoiledUnderTheRightKeys:
    @bounded(60)
    @given(
        number=st.integers(0, 4),
        offset=st.integers(0, 900),
        damage=st.sampled_from([*DAMAGE]),
        garbage=st.binary(min_size=1, max_size=6),
    )
    def test_handshake_messages(
        self, variant: str, speaker: str, number: int, offset: int, damage: str, garbage: bytes
    ) -> None:
        """A handshake in which a byte was changed is never completed by the one who was lied to."""
        writer = Spoiling(HANDSHAKE, number, lambda data: DAMAGE[damage](data, offset % len(data), garbage))
        client, server = sides(variant, (writer, RecordWriter()) if speaker == "client" else (RecordWriter(), writer))
        converse(client, server, Wire(), Wire())
        client.check(server)
        server.check(client)
        listener = server if speaker == "client" else client
        # Either side writes its hello (two of them, with a retry) and the flight that ends with Finished.
        if writer.spoiled and number < (3 if variant == "retry" else 2):
            assert not listener.connected
            assert not listener.received

    @bounded(25)
    @given(records=st.lists(st.tuples(st.sampled_from([20, ALERT, HANDSHAKE, 24]), st.binary(max_size=8)), max_size=4))
    def test_any_records_after_the_handshake(
        self, variant: str, speaker: str, records: list[tuple[int, bytes]]
    ) -> None:
        client, server = connected(variant)
        source, target = (client, server) if speaker == "client" else (server, client)
        for kind, content in records:
            source.engine._writer.write(kind, content)
        source.engine.write(b"the end")
        target.incoming(source.outgoing())
        target.work()
        # Among the alerts is a proper close_notify, and then that is the end.
        source.lines = [target.received if target.closed else b"the end"]
        target.check(source)

    @bounded(40)
    @given(inner=st.binary(max_size=30))
    def test_any_inner_plaintext_after_the_handshake(self, variant: str, speaker: str, inner: bytes) -> None:
        client, server = connected(variant)
        source, target = (client, server) if speaker == "client" else (server, client)
        if inner:
            # What a writer makes of it: content, and the last byte as type.
            source.engine._writer.write(inner[-1], inner[:-1] or b"\0")
        target.incoming(source.outgoing())
        target.work()
        source.lines = [(inner[:-1] or b"\0") if inner and inner[-1] == APPLICATION_DATA else b""]
        target.check(source)


def connected(variant: str) -> tuple[Side, Side]:
    """Two sides behind their handshake; their applications say nothing by themselves."""
    client, server = sides(variant)
    client.connected = server.connected = True
    for _ in range(4):
        for source, target in ((client, server), (server, client)):
            for side in (source, target):
                try:
                    side.engine.do_handshake()
                except WantRead:
                    pass
            target.incoming(source.outgoing())
    assert client.engine.handshake_complete and server.engine.handshake_complete
    return client, server


class TestRightBehindTheHandshake:
    """What follows Finished in the same network read is not part of the handshake."""

    def finished_and(self, more: Callable[[Side], None]) -> Side:
        """A server that gets the client's Finished together with something else."""
        client, server = sides()
        for source, target in ((client, server), (server, client)):
            for side in (source, target):
                try:
                    side.engine.do_handshake()
                except WantRead:
                    pass
            target.incoming(source.outgoing())
        client.engine.do_handshake()
        more(client)
        server.incoming(client.outgoing())
        return server

    def test_data(self) -> None:
        server = self.finished_and(lambda client: client.engine.write(b"early bird") and None)
        server.engine.do_handshake()
        assert server.engine.pending == 10
        assert server.engine.read() == b"early bird"

    def test_close(self) -> None:
        server = self.finished_and(lambda client: client.engine.shutdown())
        server.engine.do_handshake()
        assert server.engine.close_received
        assert server.engine.read() == b""
