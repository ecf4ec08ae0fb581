"""Wrongs in records: framing, protection, and where the keys change."""

from __future__ import annotations

from scripted import SUITE

from faults.world import EARLY, World, provokes
from tlsprovider.crypto.groups import generate
from tlsprovider.errors import Fault
from tlsprovider.iana import NamedGroup


@provokes(Fault.NOT_TLS)
def server_answers_in_http(w: World):
    script = w.against_client()
    script.raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    return script


@provokes(Fault.NOT_TLS)
def client_speaks_http(w: World):
    script = w.against_server()
    script.raw(b"GET / HTTP/1.1\r\n")
    return script


@provokes(Fault.PLAINTEXT_RECORD_TYPE)
def plaintext_handshake_under_keys(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x16\x03\x03\x00\x06\x08\x00\x00\x02\x00\x00")
    return script


@provokes(Fault.PLAINTEXT_RECORD_TYPE)
def plaintext_alert_after_proof_of_keys(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.raw(b"\x15\x03\x03\x00\x02\x02\x28")
    return script


@provokes(Fault.RECORD_VERSION)
def record_of_another_major_version(w: World):
    script = w.against_server()
    script.raw(b"\x16\x02\x00\x00\x04\x01\x00\x00\x00")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def plaintext_record_too_long(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x40\x01")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def ciphertext_record_too_long(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x41\x01")
    return script


@provokes(Fault.RECORD_OVERFLOW)
def inner_plaintext_too_long(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"\0" * (2**14 + 1) + b"\x16"))
    return script


@provokes(Fault.BAD_RECORD_MAC)
def forged_record_in_the_handshake(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    return script


@provokes(Fault.BAD_RECORD_MAC)
def forged_record_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"\x17\x03\x03\x00\x20" + bytes(32))
    return script


@provokes(Fault.RECORD_TOO_SHORT)
def record_shorter_than_its_tag(w: World):
    script = w.against_client()
    script.start()
    script.raw(b"\x17\x03\x03\x00\x0f" + bytes(15))
    return script


@provokes(Fault.NO_INNER_TYPE)
def record_of_nothing_but_padding(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(bytes(40)))
    return script


@provokes(Fault.NO_INNER_TYPE)
def record_of_nothing_at_all(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b""))
    return script


@provokes(Fault.INNER_TYPE)
def change_cipher_spec_inside_protection(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"\x01\x14"))
    return script


@provokes(Fault.INNER_TYPE)
def unknown_type_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"heartbeat\x18"))
    return script


@provokes(Fault.EMPTY_FRAGMENT)
def empty_handshake_record(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x00")
    return script


@provokes(Fault.EMPTY_FRAGMENT)
def empty_alert_afterwards(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"\x15"))
    return script


@provokes(Fault.TOO_MANY_EMPTY_RECORDS)
def flood_of_empty_records(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"".join(script.protected(b"\x17") for _ in range(17)))
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_with_content(w: World):
    script = w.against_client()
    script.raw(b"\x14\x03\x03\x00\x02\x01\x01")
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def third_change_cipher_spec(w: World):
    script = w.against_client()
    script.raw(b"\x14\x03\x03\x00\x01\x01" * 3)
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_after_finished(w: World):
    script = w.against_client()
    script.connect()
    script.raw(b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_begins_before_the_key_change(w: World):
    script = w.against_client()
    script.transcript.start(SUITE.hash_name)
    script.send(script.server_hello() + b"\x08\x00", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_finished(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    script.send(script.finished(), b"\x04\x00", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_key_update(w: World):
    script = w.against_client()
    script.connect()
    script.send(b"\x18\x00\x00\x01\x00\x04", note=False)
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_client_hello(w: World):
    script = w.against_server()
    script.send(script.client_hello() + b"\x0b")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_retry_request(w: World):
    script = w.against_client()
    script.send(script.retry_request() + b"\x02")
    return script


@provokes(Fault.KEY_CHANGE_SPLIT)
def message_behind_hello_that_is_retried(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello() + b"\x01")
    return script


@provokes(Fault.INTERLEAVED)
def alert_inside_a_message(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01\x00\x04\x01\x00\x00\x50" + b"\x15\x03\x01\x00\x02\x01\x5a")
    return script


@provokes(Fault.INTERLEAVED)
def change_cipher_spec_inside_a_message(w: World):
    script = w.against_client()
    script.raw(b"\x16\x03\x03\x00\x04\x02\x00\x00\x50" + b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.CHANGE_CIPHER_SPEC)
def change_cipher_spec_before_the_client_hello(w: World):
    script = w.against_server()
    script.raw(b"\x14\x03\x03\x00\x01\x01")
    return script


@provokes(Fault.INTERLEAVED)
def data_inside_a_ticket(w: World):
    script = w.against_client()
    script.connect()
    script.raw(script.protected(b"\x04\x00\x00\x16") + script.protected(b"data\x17"))
    return script


@provokes(Fault.UNEXPECTED_APPLICATION_DATA)
def plaintext_application_data(w: World):
    script = w.against_server()
    script.raw(b"\x17\x03\x03\x00\x02hi")
    return script


@provokes(Fault.UNEXPECTED_APPLICATION_DATA)
def application_data_within_the_handshake(w: World):
    script = w.against_client()
    script.start()
    script.raw(script.protected(b"hi\x17"))
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_without_end(w: World):
    script = w.against_server()
    script.start(early_data=b"")
    script.read_flight()
    script.raw(EARLY * 17)
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_without_end_before_the_second_hello(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello(early_data=b""))
    script.read_retry_request()
    script.raw(EARLY * 17)
    return script


@provokes(Fault.TOO_MUCH_EARLY_DATA)
def early_data_of_nothing_without_end(w: World):
    script = w.against_server()
    script.start(early_data=b"")
    script.read_flight()
    script.raw(b"\x17\x03\x03\x00\x00" * 257)
    return script


@provokes(Fault.HELLO_CHANGED)
def early_data_after_retry(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello(early_data=b""))
    script.read_retry_request()
    script.keys = {NamedGroup.secp256r1: generate(NamedGroup.secp256r1)}
    script.send(script.client_hello(early_data=b""))
    return script
