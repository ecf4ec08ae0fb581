"""``SSLContext.wrap_bio``: each test is a sentence about SSLObject, and has to be true of Python's own as well.

The pairs are ours with ours, and ours with Python's ``ssl`` in both directions; ``ssl-ssl`` makes sure that it is a
sentence about ``ssl``.
"""

from __future__ import annotations

import _ssl
import ssl
from array import array
from pathlib import Path
from typing import Any

import pytest
from ssl_pair import Files, Pair, context, make_files, pair_of, wants_read

from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import AlertReceived, CertificateFault, TruncatedError
from tlsprovider.iana import AlertDescription
from tlsprovider.sslcontext.exceptions import REASONS, alert_reason

WHOSE = ["ours-ours", "ours-ssl", "ssl-ours", "ssl-ssl"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Files:
    return make_files(tmp_path_factory.mktemp("pem"), authority, "localhost", "127.0.0.1")


@pytest.fixture(params=WHOSE)
def contexts(request: pytest.FixtureRequest, files: Files) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    client, server = request.param.split("-")
    return context(client, files), context(server, files, server=True)


@pytest.fixture
def pair(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> Pair:
    made = pair_of(*contexts)
    made.shake_hands()
    return made


def test_is_what_it_should_be(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts)
    assert isinstance(made.client, ssl.SSLObject)
    assert made.client.context is contexts[0]
    assert (made.client.server_side, made.server.server_side) == (False, True)
    assert (made.client.server_hostname, made.server.server_hostname) == ("localhost", None)


def test_data_goes_both_ways(pair: Pair) -> None:
    assert pair.client.write(b"hello") == 5
    assert pair.server.read(3) == b"hel"
    assert pair.server.pending() == 2
    assert pair.server.read() == b"lo"
    assert pair.server.write(memoryview(b"abc")) == 3
    wants_read(pair.server.read)
    assert pair.client.read(100) == b"abc"
    wants_read(pair.client.read)


def test_writes_all_there_is(pair: Pair) -> None:
    assert pair.client.write(bytes(1_000_000)) == 1_000_000
    count = 0
    while count < 1_000_000:
        count += len(pair.server.read(65536))
    assert count == 1_000_000


def test_nothing_to_write(pair: Pair) -> None:
    assert pair.client.write(b"") == 0
    assert pair.up.pending == 0


def test_read_into_a_buffer(pair: Pair) -> None:
    pair.client.write(b"hello")
    buffer = bytearray(10)
    assert pair.server.read(3, buffer) == 3
    assert pair.server.read(0, buffer) == 2
    assert buffer == b"lol" + bytes(7)


def test_read_nothing_or_less(pair: Pair) -> None:
    assert pair.client.read(0) == b""
    with pytest.raises(ValueError, match="size should not be negative"):
        pair.client.read(-1)


def test_handshake_on_first_use(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts)
    wants_read(made.client.write, b"x")
    wants_read(made.server.read)
    assert made.client.write(b"x") == 1
    assert made.server.read() == b"x"


def test_closing_nicely(pair: Pair) -> None:
    wants_read(pair.client.unwrap)
    assert pair.server.read() == b""
    assert pair.server.read() == b""
    assert pair.server.write(b"still here") == 10
    assert pair.server.unwrap() is None
    assert pair.client.read() == b"still here"
    assert pair.client.unwrap() is None


def test_nothing_is_written_after_unwrap(pair: Pair) -> None:
    wants_read(pair.client.unwrap)
    with pytest.raises(ssl.SSLError) as caught:
        pair.client.write(b"x")
    assert (caught.value.reason, caught.value.library) == ("PROTOCOL_IS_SHUTDOWN", "SSL")


def test_reading_after_both_have_closed(pair: Pair) -> None:
    wants_read(pair.client.unwrap)
    pair.server.unwrap()
    pair.client.unwrap()
    for one in (pair.client, pair.server):
        with pytest.raises(ssl.SSLZeroReturnError):
            one.read()


def test_what_follows_tls_stays_in_the_bio(pair: Pair) -> None:
    wants_read(pair.client.unwrap)
    pair.up.write(b"plain")
    assert pair.server.read() == b""
    pair.server.unwrap()
    assert pair.up.read() == b"plain"


def test_everything_at_once(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    """The last flight, data, the end, and what follows TLS, in one piece."""
    made = pair_of(*contexts)
    wants_read(made.client.do_handshake)
    wants_read(made.server.do_handshake)
    made.client.do_handshake()
    made.client.write(b"data")
    wants_read(made.client.unwrap)
    made.up.write(b"plain")
    assert made.server.read() == b"data"
    assert made.server.read() == b""
    made.server.unwrap()
    assert made.up.read() == b"plain"


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"axbx")[::2].tobytes(), array("H", [0x6261])])
def test_writes_whatever_has_bytes(pair: Pair, data: Any) -> None:
    assert pair.client.write(data) == 2
    assert pair.server.read() == b"ab"


def test_unwrap_before_the_handshake(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts)
    wants_read(made.client.do_handshake)
    with pytest.raises(ssl.SSLError) as caught:
        made.client.unwrap()
    assert caught.value.reason == "SHUTDOWN_WHILE_IN_INIT"


def test_an_end_without_close_notify(pair: Pair) -> None:
    pair.up.write_eof()
    with pytest.raises(ssl.SSLEOFError) as caught:
        pair.server.read()
    assert caught.value.errno == ssl.SSL_ERROR_EOF
    assert "EOF occurred in violation of protocol" in caught.value.strerror


def test_an_end_without_close_notify_may_be_ignored(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    contexts[1].options |= ssl.OP_IGNORE_UNEXPECTED_EOF
    made = pair_of(*contexts)
    made.shake_hands()
    made.client.write(b"x")
    made.up.write_eof()
    assert made.server.read() == b"x"
    assert made.server.read() == b""


def test_an_end_in_the_handshake(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts)
    wants_read(made.client.do_handshake)
    made.down.write_eof()
    with pytest.raises(ssl.SSLEOFError):
        made.client.do_handshake()


def test_a_peer_that_speaks_something_else(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts)
    made.up.write(b"\x00\x01garbage that is no record at all")
    with pytest.raises(ssl.SSLError) as caught:
        made.server.do_handshake()
    assert caught.value.library == "SSL"
    assert caught.value.reason is not None


def test_a_stranger(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    stranger = type(contexts[0])(ssl.PROTOCOL_TLS_CLIENT)
    made = pair_of(stranger, contexts[1])
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        made.shake_hands()
    assert caught.value.reason == "CERTIFICATE_VERIFY_FAILED"
    assert caught.value.verify_code in (19, 20)
    assert caught.value.verify_message
    assert isinstance(caught.value, ssl.CertificateError)
    # And the server hears why.
    with pytest.raises(ssl.SSLError) as heard:
        made.server.do_handshake()
    assert heard.value.reason == "TLSV1_ALERT_UNKNOWN_CA"


def test_another_name(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts, name="example.org")
    with pytest.raises(ssl.SSLCertVerificationError) as caught:
        made.shake_hands()
    assert caught.value.verify_code == 62
    assert "example.org" in caught.value.verify_message


def test_an_address(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    made = pair_of(*contexts, name="127.0.0.1")
    made.shake_hands()
    assert ("IP Address", "127.0.0.1") in made.client.getpeercert()["subjectAltName"]


def test_names_need_not_be_checked(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    contexts[0].check_hostname = False
    made = pair_of(*contexts, name=None)
    made.shake_hands()
    assert made.client.getpeercert()["subjectAltName"]
    # But the chain is.
    stranger = type(contexts[0])(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    with pytest.raises(ssl.SSLCertVerificationError):
        pair_of(stranger, contexts[1], name=None).shake_hands()


def test_nothing_need_be_verified(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    stranger = type(contexts[0])(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname = False
    stranger.verify_mode = ssl.CERT_NONE
    made = pair_of(stranger, contexts[1])
    made.shake_hands()
    assert made.client.getpeercert() == {}
    assert made.client.getpeercert(True)


@pytest.mark.parametrize("mode", [ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
def test_certificates_of_clients(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    files: Files,
    authority: Authority,
    tmp_path: Path,
    mode: ssl.VerifyMode,
) -> None:
    issued = authority.issue("alice@example.com", client=True)
    path = tmp_path / "alice.pem"
    path.write_bytes(issued.chain_pem + issued.key_pem)
    contexts[0].load_cert_chain(path)
    contexts[1].load_verify_locations(files.ca)
    contexts[1].verify_mode = mode
    made = pair_of(*contexts)
    made.shake_hands()
    made.client.write(b"x")
    assert made.server.read() == b"x"
    assert ("email", "alice@example.com") in made.server.getpeercert()["subjectAltName"]


def test_a_client_without_certificate(contexts: tuple[ssl.SSLContext, ssl.SSLContext], files: Files) -> None:
    contexts[1].load_verify_locations(files.ca)
    contexts[1].verify_mode = ssl.CERT_OPTIONAL
    made = pair_of(*contexts)
    made.shake_hands()
    assert made.server.getpeercert() is None
    contexts[1].verify_mode = ssl.CERT_REQUIRED
    made = pair_of(*contexts)
    with pytest.raises(ssl.SSLError) as caught:
        made.shake_hands()
    assert caught.value.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE"
    # A client of TLS 1.3 hears of it when it reads.
    with pytest.raises(ssl.SSLError) as heard:
        made.client.read()
    assert heard.value.reason == "TLSV13_ALERT_CERTIFICATE_REQUIRED"


@pytest.mark.parametrize(
    ("client", "server", "agreed"),
    [
        (["h2", "http/1.1"], ["http/1.1", "h2"], "http/1.1"),
        (["h2"], ["http/1.1"], None),
        ([], ["h2"], None),
        (["h2"], [], None),
    ],
)
def test_protocols(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], client: list[str], server: list[str], agreed: str | None
) -> None:
    if client:
        contexts[0].set_alpn_protocols(client)
    if server:
        contexts[1].set_alpn_protocols(server)
    made = pair_of(*contexts)
    made.shake_hands()
    assert made.client.selected_alpn_protocol() == made.server.selected_alpn_protocol() == agreed


def test_another_context_before_the_handshake(contexts: tuple[ssl.SSLContext, ssl.SSLContext], files: Files) -> None:
    made = pair_of(*contexts)
    stranger = type(contexts[0])(ssl.PROTOCOL_TLS_CLIENT)
    made.client.context = stranger
    assert made.client.context is stranger
    with pytest.raises(ssl.SSLCertVerificationError):
        made.shake_hands()
    with pytest.raises(TypeError, match="must be a SSLContext"):
        made.client.context = "another"


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_the_server_name_callback(contexts: tuple[ssl.SSLContext, ssl.SSLContext], name: str) -> None:
    asked: list[object] = []
    contexts[1].sni_callback = lambda *arguments: asked.append(arguments)
    made = pair_of(*contexts, name=name)
    made.shake_hands()
    assert asked == [(made.server, "localhost" if name == "localhost" else None, contexts[1])]


def test_the_server_name_callback_sets_a_context(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], authority: Authority, tmp_path: Path
) -> None:
    other = type(contexts[1])(ssl.PROTOCOL_TLS_SERVER)
    found = make_files(tmp_path, authority, "other.example")
    other.load_cert_chain(found.chain, found.key)

    def callback(shown: ssl.SSLObject, name: str, context: ssl.SSLContext) -> None:
        if name == "other.example":
            shown.context = other

    contexts[1].sni_callback = callback
    made = pair_of(*contexts, name="other.example")
    made.shake_hands()
    assert made.server.context is other
    made = pair_of(*contexts, name="localhost")
    made.shake_hands()
    assert made.server.context is contexts[1]


def test_the_server_name_callback_refuses(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    contexts[1].sni_callback = lambda *_: ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
    made = pair_of(*contexts)
    with pytest.raises(ssl.SSLError):
        made.shake_hands()
    with pytest.raises(ssl.SSLError) as heard:
        made.client.do_handshake()
    assert heard.value.reason == "TLSV1_UNRECOGNIZED_NAME"


def test_sides(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    memory = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLError, match="Cannot create a server socket with a PROTOCOL_TLS_CLIENT context"):
        contexts[0].wrap_bio(*memory, server_side=True)
    with pytest.raises(ssl.SSLError, match="Cannot create a client socket with a PROTOCOL_TLS_SERVER context"):
        contexts[1].wrap_bio(*memory, server_hostname="localhost")
    with pytest.raises(ValueError):
        contexts[0].wrap_bio(*memory, server_hostname="")


def test_a_request_for_new_keys_is_answered_by_reading(files: Files) -> None:
    made = pair_of(context("ours", files), context("ours", files, server=True))
    made.shake_hands()
    made.client._sslobj.engine.key_update(request_peer=True)  # ssl has no word for it
    made.client.write(b"x")
    assert made.server.read() == b"x"
    assert made.down.pending
    wants_read(made.client.read)
    made.server.write(b"y")
    assert made.client.read() == b"y"


def test_unwrap_with_data_that_nobody_has_read(pair: Pair) -> None:
    pair.server.write(b"unread")
    wants_read(pair.server.unwrap)
    with pytest.raises(ssl.SSLError) as caught:
        pair.client.unwrap()
    assert caught.value.reason == "APPLICATION_DATA_AFTER_CLOSE_NOTIFY"


def test_that_data_is_not_lost(files: Files) -> None:
    """With OpenSSL it is."""
    made = pair_of(context("ours", files), context("ours", files, server=True))
    made.shake_hands()
    made.server.write(b"unread")
    wants_read(made.server.unwrap)
    with pytest.raises(ssl.SSLError):
        made.client.unwrap()
    assert made.client.read() == b"unread"
    assert made.client.unwrap() is None


def test_reasons_are_openssls() -> None:
    """Alerts are its reasons from 1000 on. Python has a table of those that its OpenSSL knew when it was released."""
    table = {code: name for name, code in _ssl.err_names_to_codes.items()}
    library_ssl = 20
    known = [alert for alert in AlertDescription if (library_ssl, 1000 + alert) in table]
    assert len(known) > 20
    assert [alert_reason(alert) for alert in known] == [table[library_ssl, 1000 + alert] for alert in known]
    assert set(REASONS.values()) <= set(table.values())


class TestCauses:
    """Behind each exception of ``ssl`` is ours."""

    def test_certificate(self, files: Files) -> None:
        made = pair_of(context("ours", files), context("ours", files, server=True), name="example.org")
        with pytest.raises(ssl.SSLError) as caught:
            made.shake_hands()
        assert isinstance(caught.value.__cause__, CertificateFault)
        with pytest.raises(ssl.SSLError) as heard:
            made.server.do_handshake()
        assert isinstance(heard.value.__cause__, AlertReceived)

    def test_truncation(self, files: Files) -> None:
        made = pair_of(context("ours", files), context("ours", files, server=True))
        made.shake_hands()
        made.down.write_eof()
        with pytest.raises(ssl.SSLEOFError) as caught:
            made.client.read()
        assert isinstance(caught.value.__cause__, TruncatedError)
        assert caught.value.reason == "UNEXPECTED_EOF_WHILE_READING"

    def test_a_name_is_needed(self, files: Files) -> None:
        """Python's own would check none."""
        with pytest.raises(ValueError, match="name"):
            context("ours", files).wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())

    def test_no_sessions_of_others(self, files: Files) -> None:
        with pytest.raises(ValueError, match="session"):
            context("ours", files).wrap_bio(
                ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="localhost", session=object()
            )
