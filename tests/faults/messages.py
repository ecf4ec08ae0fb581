"""Wrongs in handshake messages, and in those after the handshake."""

from __future__ import annotations

from faults.world import World, provokes
from tlsprovider.errors import Fault
from tlsprovider.iana import ExtensionType as X
from tlsprovider.iana import HandshakeType
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u32, vector8, vector16
from tlsprovider.wire.messages import encode_message


@provokes(Fault.DECODE_ERROR)
def server_hello_with_a_byte_too_many(w: World):
    script = w.against_client()
    script.send(encode_message(HandshakeType.server_hello, script.server_hello()[4:] + b"!"))
    return script


@provokes(Fault.DECODE_ERROR)
def finished_of_the_wrong_length(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    script.send(encode_message(HandshakeType.finished, bytes(31)))
    return script


@provokes(Fault.DECODE_ERROR)
def server_name_answer_that_is_not_empty(w: World):
    script = w.against_client()
    script.start()
    script.parameters({X.server_name: b"\0"})
    return script


@provokes(Fault.DECODE_ERROR)
def two_alpn_answers(w: World):
    script = w.against_client(alpn=["h2", "http/1.1"])
    script.start()
    script.parameters({X.application_layer_protocol_negotiation: ext.encode_alpn(["h2", "http/1.1"])})
    return script


@provokes(Fault.MESSAGE_TOO_LARGE)
def client_hello_without_measure(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x04\x01\x01\x00\x00")
    return script


@provokes(Fault.MESSAGE_TOO_LARGE)
def certificate_without_measure(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.raw(script.protected(b"\x0b\xff\xff\xff\x16"))
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def finished_before_the_certificate(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.send(script.finished())
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def renegotiation(w: World):
    script = w.against_server()
    script.connect()
    script.send(script.client_hello())
    return script


@provokes(Fault.UNEXPECTED_MESSAGE)
def ticket_from_a_client(w: World):
    script = w.against_server()
    script.connect()
    script.send(ticket(), note=False)
    return script


@provokes(Fault.KEY_UPDATE_REQUEST)
def key_update_with_another_value(w: World):
    script = w.against_client()
    script.connect()
    script.send(encode_message(HandshakeType.key_update, b"\x02"), note=False)
    return script


@provokes(Fault.TOO_MANY_MESSAGES)
def flood_of_tickets(w: World):
    script = w.against_client()
    script.connect()
    script.send(*[ticket()] * 33, note=False)
    return script


@provokes(Fault.TOO_MANY_MESSAGES)
def flood_of_user_canceled(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"".join(script.protected(b"\x01\x5a\x15") for _ in range(33)))
    return script


@provokes(Fault.ALERT_MALFORMED)
def alert_of_three_bytes(w: World):
    script = w.against_server()
    script.raw(b"\x15\x03\x01\x00\x03\x02\x28\x00")
    return script


def ticket(lifetime: int = 7200) -> bytes:
    body = u32(lifetime) + u32(0) + vector8(b"n") + vector16(b"ticket") + vector16(b"")
    return encode_message(HandshakeType.new_session_ticket, body)
