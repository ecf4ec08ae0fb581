"""Wrongs in hellos: versions, choices, retries and key shares."""

from __future__ import annotations

from faults.world import World, provokes
from tlsprovider.errors import Fault, PeerFault
from tlsprovider.iana import CipherSuite, NamedGroup, SignatureScheme
from tlsprovider.iana import ExtensionType as X
from tlsprovider.wire import extensions as ext
from tlsprovider.wire.codec import u16, vector16
from tlsprovider.wire.messages import HELLO_RETRY_RANDOM


@provokes(Fault.NO_COMMON_VERSION)
def client_of_tls12(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(block=ext.encode_block([(X.server_name, b"")]))))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def client_from_before_extensions(w: World):
    script = w.against_server()
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(0x0301)))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def client_that_offers_only_the_past(w: World):
    script = w.against_server()
    script.send(script.client_hello(supported_versions=ext.encode_offered_versions([0x0303, 0x6A6A])))
    return script


@provokes(Fault.NO_COMMON_VERSION)
def server_of_tls12(w: World):
    script = w.against_client()
    script.send(script.server_hello(extensions=[], suite=0xC02F))
    return script


@provokes(Fault.LEGACY_VERSION)
def client_hello_with_another_legacy_version(w: World):
    script = w.against_server()
    block = ext.encode_block(script.extensions().items())
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(0x0304, block=block)))
    return script


@provokes(Fault.LEGACY_VERSION)
def server_hello_with_another_legacy_version(w: World):
    script = w.against_client()
    hello = bytearray(script.server_hello())
    hello[5] = 2
    script.send(bytes(hello))
    return script


@provokes(Fault.VERSION_NOT_OFFERED)
def server_selects_tls12_in_the_new_way(w: World):
    script = w.against_client()
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0303))]))
    return script


@provokes(Fault.VERSION_CHANGED)
def version_changes_after_retry(w: World):
    script = w.against_client()
    script.retry()
    script.send(script.server_hello(extensions=[], group=NamedGroup.secp256r1))
    return script


@provokes(Fault.DOWNGRADE)
def server_says_it_was_downgraded(w: World):
    script = w.against_client()
    script.send(script.server_hello(random=bytes(24) + b"DOWNGRD\x01", extensions=[], suite=0xC02F))
    return script


@provokes(Fault.DOWNGRADE)
def server_says_it_was_downgraded_further(w: World):
    script = w.against_client()
    script.send(script.server_hello(random=bytes(24) + b"DOWNGRD\x00", extensions=[], suite=0xC02F))
    return script


@provokes(Fault.COMPRESSION)
def client_offers_compression(w: World):
    script = w.against_server()
    block = ext.encode_block(script.extensions().items())
    script.raw(b"\x16\x03\x01" + vector16(script.old_hello(compression=b"\x02\x01\x00", block=block)))
    return script


@provokes(Fault.COMPRESSION)
def server_selects_compression(w: World):
    script = w.against_client()
    hello = script.server_hello()
    position = 4 + 2 + 32 + 33 + 2
    script.send(hello[:position] + b"\x01" + hello[position + 1 :])
    return script


@provokes(Fault.SESSION_ID_ECHO)
def session_id_not_echoed(w: World):
    script = w.against_client()
    script.send(script.server_hello(session_id=b""))
    return script


@provokes(Fault.SUITE_NOT_OFFERED)
def suite_that_was_not_offered(w: World):
    script = w.against_client(cipher_suites=["TLS_AES_256_GCM_SHA384"])
    script.send(script.server_hello())
    return script


@provokes(Fault.SUITE_NOT_OFFERED)
def suite_that_nobody_knows(w: World):
    script = w.against_client()
    script.send(script.server_hello(suite=0x1337))
    return script


@provokes(Fault.SUITE_CHANGED)
def suite_changes_after_retry(w: World):
    script = w.against_client()
    script.retry()
    script.send(script.server_hello(suite=CipherSuite.TLS_CHACHA20_POLY1305_SHA256, group=NamedGroup.secp256r1))
    return script


@provokes(Fault.NO_COMMON_SUITE)
def no_common_suite(w: World):
    script = w.against_server()
    script.send(script.client_hello(suites=[0x1304, 0xC02F, 0x0A0A]))
    return script


@provokes(Fault.NO_COMMON_GROUP)
def no_common_group(w: World):
    script = w.against_server(groups=["x448"])
    script.send(script.client_hello())
    return script


@provokes(Fault.NO_COMMON_SIGNATURE)
def no_common_signature(w: World):
    script = w.against_server()
    script.send(script.client_hello(signature_algorithms=ext.encode_u16s([SignatureScheme.ed25519])))
    return script


@provokes(Fault.NO_COMMON_SIGNATURE)
def chosen_identity_cannot_sign_for_this_client(w: World):
    script = w.against_server(choose_identity=lambda question: w.server)
    script.send(script.client_hello(signature_algorithms=ext.encode_u16s([SignatureScheme.ed25519])))
    return script


@provokes(Fault.NO_COMMON_ALPN)
def no_common_protocol(w: World):
    script = w.against_server(alpn=["h2"])
    script.send(script.client_hello(application_layer_protocol_negotiation=ext.encode_alpn(["smtp"])))
    return script


@provokes(Fault.ALPN_NOT_OFFERED)
def protocol_that_was_not_offered(w: World):
    script = w.against_client(alpn=["h2"])
    script.start()
    script.parameters({X.application_layer_protocol_negotiation: ext.encode_alpn(["smtp"])})
    return script


@provokes(Fault.UNKNOWN_NAME)
def name_that_is_not_served(w: World):
    script = w.against_server(choose_identity=lambda question: None)
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_REFUSED)
def hello_refused_by_the_application(w: World):
    def refuse(question: object) -> None:
        raise PeerFault(Fault.HELLO_REFUSED)

    script = w.against_server(on_client_hello=refuse)
    script.send(script.client_hello())
    return script


@provokes(Fault.RETRY_WITHOUT_CHANGE)
def retry_that_asks_for_nothing(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=None))
    return script


@provokes(Fault.SECOND_RETRY)
def second_retry(w: World):
    script = w.against_client()
    script.retry(cookie=b"again")
    script.send(script.server_hello(random=HELLO_RETRY_RANDOM, group=NamedGroup.secp256r1, without=[X.key_share]))
    return script


@provokes(Fault.RETRY_GROUP)
def retry_for_a_group_that_was_not_offered(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=NamedGroup.x448))
    return script


@provokes(Fault.RETRY_GROUP)
def retry_for_a_share_that_was_there(w: World):
    script = w.against_client()
    script.send(script.retry_request(group=NamedGroup.x25519))
    return script


@provokes(Fault.RETRY_IGNORED)
def retry_is_ignored(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    assert script.read_retry_request() is NamedGroup.secp256r1
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_CHANGED)
def second_hello_changes_its_random(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    script.read_retry_request()
    script.random = bytes(32)
    script.send(script.client_hello())
    return script


@provokes(Fault.HELLO_CHANGED)
def second_hello_changes_an_extension(w: World):
    script = w.against_server(groups=["secp256r1"])
    script.send(script.client_hello())
    script.read_retry_request()
    script.send(script.client_hello(server_name=ext.encode_server_name("example.com")))
    return script


@provokes(Fault.KEY_SHARE_UNLISTED)
def share_for_a_group_that_is_not_listed(w: World):
    script = w.against_server()
    script.send(script.client_hello(supported_groups=ext.encode_u16s([NamedGroup.secp256r1])))
    return script


@provokes(Fault.KEY_SHARE_DUPLICATE)
def two_shares_for_one_group(w: World):
    script = w.against_server()
    script.send(
        script.client_hello(key_share=ext.encode_key_shares([(NamedGroup.x25519, b"a"), (NamedGroup.x25519, b"b")]))
    )
    return script


@provokes(Fault.KEY_SHARE_GROUP)
def server_share_for_another_group(w: World):
    script = w.against_client()
    share = ext.encode_key_share(NamedGroup.secp256r1, b"\x04" + bytes(64))
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0304)), (X.key_share, share)]))
    return script


@provokes(Fault.KEY_SHARE_INVALID)
def client_share_that_is_no_point(w: World):
    script = w.against_server()
    script.send(script.client_hello(key_share=ext.encode_key_shares([(NamedGroup.x25519, bytes(32))])))
    return script


@provokes(Fault.KEY_SHARE_INVALID)
def server_share_of_the_wrong_length(w: World):
    script = w.against_client()
    share = ext.encode_key_share(NamedGroup.x25519, bytes(31))
    script.send(script.server_hello(extensions=[(X.supported_versions, u16(0x0304)), (X.key_share, share)]))
    return script
