"""What a test's flags say must be true once the handshake is complete."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, load_pem_x509_certificates

from bogo.configure import Made
from bogo.flags import Settings
from bogo.hooks import Mismatch
from tlsprovider import iana
from tlsprovider.providers import get_provider
from tlsprovider.ssl import SSL

__all__ = ["check_handshake", "check_sessions"]


def check_handshake(made: Made, settings: Settings, again: bool) -> None:
    """Raises :exc:`Mismatch` for the first thing that is not as expected. ``again``: it is not the first connection."""
    for what, got, wanted in _pairs(made, settings, again and not settings.expect_session_miss):
        if got != wanted:
            raise Mismatch(f"{what}: got {got!r}, wanted {wanted!r}")


def check_sessions(made: Made, settings: Settings) -> None:
    """At the end: a client has been given a ticket, unless the test says otherwise."""
    if settings.server:
        return
    tickets = made.seen.tickets
    if settings.expect_no_session and tickets:
        raise Mismatch(f"{tickets} session tickets, wanted none")
    # The runner gives tickets only to clients that say that they could use one; and before the shim closes, it has
    # no chance to.
    expected = get_provider(settings.provider).supports("sessions") and not settings.shim_shuts_down
    if expected and not settings.expect_no_session and not tickets:
        raise Mismatch("no session ticket, wanted some")


def _pairs(made: Made, settings: Settings, resumes: bool) -> Iterator[tuple[str, object, object]]:
    """``(what, got, wanted)`` for all that the flags speak of."""
    engine, seen = made.negotiated, made.seen
    yield "handshake_complete", made.engine.handshake_complete, True
    yield "handshake_done told", seen.done, True
    yield "session_reused", engine.session_reused, resumes
    yield "version", engine.version, "TLSv1.3"
    alpn = settings.select_alpn if settings.server else settings.expect_alpn
    yield "alpn", (engine.alpn or "").encode("latin-1"), alpn
    if settings.expect_server_name:
        yield "server_name", engine.server_name, settings.expect_server_name
    if settings.expect_curve_id:
        yield "group", engine.group, str(iana.NamedGroup(settings.expect_curve_id))
    if settings.expect_peer_signature_algorithm and not engine.session_reused:
        scheme = iana.SignatureScheme(settings.expect_peer_signature_algorithm)
        yield "signature_scheme", engine.signature_scheme, str(scheme)
    cipher = settings.expect_cipher or settings.expect_cipher_aes
    if cipher:
        yield "cipher", engine.cipher, str(iana.CipherSuite(cipher))
    if settings.expect_hrr or settings.expect_no_hrr:
        yield "HelloRetryRequest", bool(seen.retry_requests), settings.expect_hrr
    yield from _certificates(made, settings)


def _certificates(made: Made, settings: Settings) -> Iterator[tuple[str, object, object]]:
    shown = [_der(one) for one in made.negotiated.peer_certificates]
    if settings.expect_peer_cert_file:
        with open(settings.expect_peer_cert_file, "rb") as file:
            yield "peer_certificates", shown, [_der(one) for one in load_pem_x509_certificates(file.read())]
    if settings.expect_no_peer_cert:
        yield "peer_certificates", shown, []
    elif not settings.server or settings.require_any_client_certificate:
        yield "a certificate of the peer", bool(shown), True
    if settings.expect_verify_result and shown:
        yield "calls of verify_peer", made.seen.verifications, 1
    if settings.expect_selected_credential is not None and not isinstance(made.negotiated, SSL):
        # Those of -new-x509-credential are counted from 0; -1 is the one given without, or none at all.
        numbered = made.identities[: len(settings.credentials) - 1]
        chains: list[tuple[object, ...]] = [one.certificates for one in numbered]
        local = made.negotiated.local_certificates
        yield "credential", chains.index(local) if local in chains else -1, settings.expect_selected_credential


def _der(certificate: object) -> bytes:
    assert isinstance(certificate, Certificate)
    return certificate.public_bytes(Encoding.DER)
