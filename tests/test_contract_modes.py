"""The contract of SSL_set_bio(3), SSL_set_fd(3) and SSL_set_mode(3): lines T.

Each test is named after its line; ``test_contract.py`` lists all lines.
"""

from __future__ import annotations

import gc
import socket
import weakref
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from contract_transports import (
    BlockingLink,
    Link,
    MemoryLink,
    NonBlockingLink,
    PairLink,
    every_transport,
    make_ssls,
)

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.ssl import BIO, SSL, ErrorCode, MemoryBIO, Mode, SocketBIO, bio_pair

Pair = tuple[SSL, SSL]
# Header, content type and tag around what a record carries.
OVERHEAD = 5 + 1 + 16


@pytest.fixture
def ssls(client_config: ClientConfig, server_config: ServerConfig) -> Pair:
    return make_ssls(client_config, server_config)


def test_T1_reading_and_writing_may_be_different_bios(ssls: Pair) -> None:
    one, other = socket.socketpair()
    with one, other, MemoryLink(*ssls) as link:
        inner, net = bio_pair()
        link.client.set_bio(SocketBIO(one), inner)
        link.server.set_bio(MemoryBIO(), SocketBIO(other))
        one.setblocking(False)
        for _ in range(10):
            link.client.do_handshake()
            link.incoming(link.server).write(net.read(1 << 16))
            link.server.do_handshake()
        assert all(ssl.is_init_finished() for ssl in ssls)


def test_T1_a_bio_has_to_be_one_of_ours(ssls: Pair) -> None:
    with pytest.raises(TypeError, match="BIO of tlsprovider"):
        ssls[0].set_bio(object(), object())  # type: ignore[arg-type]
    assert (ssls[0].get_rbio(), ssls[0].get_fd()) == (None, -1)


def test_T2_blocking_is_the_affair_of_the_bio(ssls: Pair) -> None:
    with NonBlockingLink(*ssls) as link:
        link.handshake()
        assert (link.client.read(1), link.client.get_error(b"")) == (b"", ErrorCode.WANT_READ)
        link.socket_of(link.client).setblocking(True)
        with ThreadPoolExecutor(1) as threads:
            reading = threads.submit(link.client.read, 10)
            assert link.server.write(b"late") == 4
            assert reading.result(10) == b"late"


@pytest.mark.parametrize("same", [True, False])
def test_T3_an_earlier_bio_is_closed(same: bool, ssls: Pair) -> None:
    first = MemoryBIO()
    second = first if same else MemoryBIO()
    ssls[0].set_bio(first, second)
    ssls[0].set_bio(first, second)
    assert not first.closed and not second.closed
    ssls[0].set_bio(MemoryBIO(), second)
    assert first.closed is not same
    ssls[0].set_bio(MemoryBIO(), MemoryBIO())
    assert first.closed and second.closed


def test_T4_set_fd_makes_a_socket_bio(ssls: Pair) -> None:
    client, server = ssls
    one, other = socket.socketpair()
    with one, other:
        other.setblocking(False)
        assert (client.set_fd(one.fileno()), server.set_fd(other.fileno())) == (1, 1)
        bio = server.get_rbio()
        assert isinstance(bio, SocketBIO) and bio is server.get_wbio()
        assert bio.get_fd() == server.get_fd() == other.fileno()
        assert server.accept() == -1
        assert server.get_error(-1) is ErrorCode.WANT_READ, "the descriptor doesn't block"
        other.setblocking(True)
        with ThreadPoolExecutor(1) as threads:
            accepting = threads.submit(server.accept)
            assert (client.connect(), accepting.result(10)) == (1, 1), "the descriptor blocks"
        client.close()
        server.close()
        assert one.send(b"still open") == 10
    assert client.set_fd(-1) == 0
    assert client.get_error(0) is ErrorCode.SYSCALL
    assert isinstance(client.error, OSError)


def test_T5_set_rfd_and_set_wfd_set_one_side(ssls: Pair) -> None:
    one, other = socket.socketpair()
    with one, other:
        client = ssls[0]
        client.set_bio(MemoryBIO(), MemoryBIO())
        reading, writing = client.get_rbio(), client.get_wbio()
        assert client.set_rfd(one) == 1
        assert isinstance(client.get_rbio(), SocketBIO) and client.get_wbio() is writing
        assert reading is not None and reading.closed
        assert client.set_wfd(one) == 1
        assert isinstance(client.get_wbio(), SocketBIO)
        assert writing is not None and writing.closed


def test_T6_mode_bits(ssls: Pair) -> None:
    ssl = ssls[0]
    assert ssl.get_mode() == Mode.AUTO_RETRY | Mode.ACCEPT_MOVING_WRITE_BUFFER
    assert ssl.set_mode(Mode.ENABLE_PARTIAL_WRITE) == 0x01 | 0x02 | 0x04
    assert ssl.clear_mode(Mode.AUTO_RETRY) == ssl.get_mode() == 0x01 | 0x02


def test_T7_partial_write_returns_after_a_record(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        data = bytes(40000)
        link.client.set_mode(Mode.ENABLE_PARTIAL_WRITE)
        assert link.client.write(data) == 16384
        assert link.client.write(data[16384:]) == -1
        link.client_net.read(1 << 16)
        assert link.client.write(data[16384:]) == 16384
        link.client_net.read(1 << 16)
        assert link.client.write(data[32768:]) == 40000 - 32768


def test_T8_a_moving_write_buffer(ssls: Pair) -> None:
    with PairLink(*ssls) as link:
        link.handshake()
        data = bytearray(40000)
        copy = bytes(data)
        assert link.client.clear_mode(Mode.ACCEPT_MOVING_WRITE_BUFFER) == Mode.AUTO_RETRY
        assert link.client.write(data) == -1
        assert link.client.want_write()
        assert link.client.write(copy) == -1
        assert link.client.get_error(-1) is ErrorCode.SSL and "bad write retry" in str(link.client.error)
        assert link.client.write(memoryview(data)) == -1
        assert link.client.want_write(), "the same object through a view"
        link.client.set_mode(Mode.ACCEPT_MOVING_WRITE_BUFFER)
        assert link.client.write(copy) == -1
        assert link.client.want_write()
        got = b""

        def reading() -> int:
            nonlocal got
            got += (new := link.server.read(40000))
            return 1 if len(got) == len(data) else len(new) or -1

        link.both(lambda: link.client.write(bytes(copy)), reading)
        while len(got) < len(data):
            link.deliver()
            got += link.server.read(40000)
        assert got == data


def test_T9_auto_retry_on_a_blocking_transport(ssls: Pair) -> None:
    with BlockingLink(*ssls) as link:
        link.handshake()
        assert link.server.get_mode() & Mode.AUTO_RETRY
        for _ in range(3):
            assert link.client.key_update() == 1
        assert link.client.write(b"data") == 4
        assert link.server.read(10) == b"data"
        link.server.clear_mode(Mode.AUTO_RETRY)
        link.client.key_update()
        assert (link.server.read(10), link.server.get_error(b"")) == (b"", ErrorCode.WANT_READ)


def held_bytes(thing: object, seen: set[int]) -> int:
    """Bytes in buffers that an SSL object, its transport or its engine hold."""
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, bytes | bytearray | memoryview):
        return len(thing)
    if isinstance(thing, list | tuple | set | dict | deque):
        values = [*thing.keys(), *thing.values()] if isinstance(thing, dict) else list(thing)
        return sum(held_bytes(value, seen) for value in values)
    elsewhere = isinstance(thing, BIO | ClientConfig | ServerConfig)
    if type(thing).__module__.startswith("tlsprovider.") and not elsewhere:
        names = [*getattr(thing, "__dict__", ()), *getattr(thing, "__slots__", ())]
        return sum(held_bytes(getattr(thing, name, None), seen) for name in names)
    return 0


def test_T10_an_object_that_nobody_uses_is_gone_at_once(ssls: Pair) -> None:
    """No cycle of references keeps it, and the secrets in it, until the next garbage collection."""
    with MemoryLink(*ssls) as link:
        link.handshake()
    client = SSL(ssls[0].config, server_hostname="localhost")
    client.set_connect_state()
    client.set_bio(MemoryBIO(), MemoryBIO())
    assert client.do_handshake() == -1
    watched = weakref.ref(client)
    gc.disable()
    try:
        del client
        assert watched() is None
    finally:
        gc.enable()


@every_transport
@pytest.mark.parametrize("read_ahead", [False, True])
def test_T10_an_idle_object_holds_no_buffers(transport: type[Link], read_ahead: bool, ssls: Pair) -> None:
    with transport(*ssls) as link:
        link.handshake()
        for ssl in ssls:
            ssl.set_mode(Mode.RELEASE_BUFFERS)
            ssl.set_read_ahead(read_ahead)
        for sender, receiver in (ssls, ssls[::-1]):
            assert sender.write(bytes(16000)) == 16000
            link.deliver()
            if receiver is link.server:
                assert held_bytes(receiver, set()) < 1000
            assert link.one(receiver, lambda ssl=receiver: ssl.read(10)) == bytes(10)
            assert held_bytes(receiver, set()) >= 15990, "the measure sees what is there"
            assert len(receiver.read(16000)) == 15990
        assert [held_bytes(ssl, set()) < 1000 for ssl in ssls] == [True, True]
