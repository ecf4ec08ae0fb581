"""Wrongs in certificates, signatures and Finished."""

from __future__ import annotations

import datetime
from functools import cache

from certificate_maker import make, san, usage
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from scripted import ScriptedServer

from faults.world import World, issue, provokes
from tlsprovider.crypto.authority import Authority
from tlsprovider.errors import Fault
from tlsprovider.iana import HandshakeType, SignatureScheme
from tlsprovider.identity import Identity
from tlsprovider.wire.messages import encode_message


@provokes(Fault.CERTIFICATE_CONTEXT)
def server_certificate_with_a_context(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate(context=b"x")
    return script


@provokes(Fault.CERTIFICATE_CONTEXT)
def request_with_a_context(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.request(context=b"x")
    return script


@provokes(Fault.CERTIFICATE_CONTEXT)
def client_certificate_with_a_context(w: World):
    script = w.against_asking_server()
    script.certificate(context=b"x")
    return script


@provokes(Fault.EMPTY_CERTIFICATE)
def server_without_certificate(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([])
    return script


@provokes(Fault.CERTIFICATE_REQUIRED)
def client_without_certificate(w: World):
    script = w.against_asking_server()
    script.certificate([])
    return script


@provokes(Fault.CERTIFICATE_CHAIN_LONG)
def chain_without_end(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate(w.server.chain_der * 11)
    return script


@provokes(Fault.CERTIFICATE_UNPARSABLE)
def certificate_of_garbage(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([b"garbage"])
    return script


@provokes(Fault.CERTIFICATE_KEY)
def certificate_with_a_key_too_small(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([small_rsa_certificate()])
    return script


def authenticated(script: ScriptedServer) -> ScriptedServer:
    """A server's flight as far as CertificateVerify."""
    script.start()
    script.parameters()
    script.certificate()
    script.verify()
    return script


@provokes(Fault.CERTIFICATE_EXPIRED)
def expired_certificate(w: World):
    then = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    old = issue("localhost", not_before=then, not_after=then + datetime.timedelta(days=30))
    return authenticated(w.against_client(old))


@provokes(Fault.CERTIFICATE_UNKNOWN_ISSUER)
def certificate_of_a_stranger(w: World):
    stranger = Authority("a stranger").issue("localhost")
    return authenticated(w.against_client(Identity.from_crypto(stranger.certificates, stranger.private_key)))


@provokes(Fault.CERTIFICATE_NAME)
def certificate_for_another_name(w: World):
    return authenticated(w.against_client(name="example.org"))


@provokes(Fault.CERTIFICATE_PURPOSE)
def certificate_for_clients_on_a_server(w: World):
    return authenticated(w.against_client(issue("localhost", client=True)))


@provokes(Fault.CERTIFICATE_SIGNATURE)
def certificate_with_a_broken_signature(w: World):
    leaf = bytearray(w.server.chain_der[0])
    leaf[-1] ^= 1
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate([bytes(leaf)])
    script.verify()
    return script


@provokes(Fault.CERTIFICATE_REFUSED)
def certificate_refused_by_the_application(w: World):
    return authenticated(w.against_client(verify_peer=lambda question: False))


@provokes(Fault.CERTIFICATE_REFUSED)
def client_certificate_refused_by_the_application(w: World):
    script = w.against_asking_server(verify_peer=lambda question: False)
    script.certificate()
    script.send(script.certificate_verify(w.client))
    return script


@provokes(Fault.SIGNATURE_SCHEME)
def signature_scheme_that_was_not_offered(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(scheme=SignatureScheme.rsa_pkcs1_sha256)
    return script


@provokes(Fault.SIGNATURE_KEY_MISMATCH)
def signature_scheme_of_another_key(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(scheme=SignatureScheme.ed25519)
    return script


@provokes(Fault.SIGNATURE_INVALID)
def signature_over_something_else(w: World):
    script = w.against_client()
    script.start()
    script.parameters()
    script.certificate()
    script.verify(spoil=True)
    return script


@provokes(Fault.SIGNATURE_INVALID)
def client_signature_over_something_else(w: World):
    script = w.against_asking_server()
    script.certificate()
    script.send(script.certificate_verify(w.client, spoil=True))
    return script


@provokes(Fault.FINISHED_MISMATCH)
def server_finished_mismatch(w: World):
    script = authenticated(w.against_client())
    script.send(encode_message(HandshakeType.finished, bytes(32)))
    return script


@provokes(Fault.FINISHED_MISMATCH)
def client_finished_mismatch(w: World):
    script = w.against_server()
    script.start()
    script.read_flight()
    script.send(encode_message(HandshakeType.finished, bytes(32)))
    return script


@provokes(Fault.CERTIFICATE_PURPOSE)
def key_that_is_not_for_signing(w: World):
    """Nothing skips this: not even insecure_skip_verify."""
    made = make("localhost", [san("localhost"), usage("key_encipherment")])
    identity = Identity.from_crypto([made.certificate], made.key)
    return authenticated(w.against_client(identity, insecure_skip_verify=True))


@cache
def small_rsa_certificate() -> bytes:
    made = make("localhost", [san("localhost")], key=rsa.generate_private_key(65537, 1024))
    return made.certificate.public_bytes(serialization.Encoding.DER)
