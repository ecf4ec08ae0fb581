"""The flags of the runner: one table, which is the class :class:`Settings`.

A field is a flag: ``expect_server_name`` is ``-expect-server-name``, and its kind says what follows it. A flag without
a field is one that this shim can't honour; the runner is told so, and counts the test as unimplemented. To support
another flag, add its field here and use it.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import attrs

__all__ = ["Credential", "Settings", "Unimplemented", "parse"]


class Unimplemented(Exception):
    """The test needs something that is not there. ``str()`` says what."""


@attrs.frozen
class Kind:
    """How a flag is read: whether an argument follows, and what becomes of the field's value."""

    argument: bool
    merge: Callable[[Any, str], Any]


SWITCH = Kind(False, lambda old, _: True)
NUMBER = Kind(True, lambda old, argument: int(argument))
NUMBERS = Kind(True, lambda old, argument: [*old, int(argument)])
TEXT = Kind(True, lambda old, argument: argument)
# Arguments are bytes to the runner; Python has decoded them with surrogates.
DATA = Kind(True, lambda old, argument: os.fsencode(argument))
BASE64 = Kind(True, lambda old, argument: base64.b64decode(argument, validate=True))


def _flag(kind: Kind, default: Any, name: str | None = None) -> Any:
    return attrs.field(default=default, metadata={"kind": kind, "name": name})


def switch(name: str | None = None) -> Any:
    return _flag(SWITCH, False, name)


def number(default: int | None = 0) -> Any:
    return _flag(NUMBER, default)


def numbers() -> Any:
    return _flag(NUMBERS, ())


def text(default: str = "") -> Any:
    return _flag(TEXT, default)


def data(default: bytes = b"") -> Any:
    return _flag(DATA, default)


def encoded() -> Any:
    return _flag(BASE64, b"")


@attrs.frozen
class Credential:
    """A certificate with its key. The flags of this class belong to the credential that was begun last."""

    cert_file: str = text()
    key_file: str = text()
    signing_prefs: Sequence[int] = numbers()


@attrs.frozen
class Settings:
    """What one connection of a test should be and do."""

    # Where the runner is, and who we are.
    port: int = number()
    shim_id: int = number()
    ipv6: bool = switch()
    server: bool = switch()
    provider: str = text("native")
    """Our own: which provider to test. Given through the runner's ``-shim-extra-flags``."""
    ssl_object: bool = switch()
    """Our own: go through :class:`tlsprovider.ssl.SSL` in all tests."""
    is_handshaker_supported: bool = switch()
    write_settings: str = text()

    # Versions, groups, signatures.
    min_version: int = number()
    max_version: int = number()
    expect_version: int = number()
    no_tls1: bool = switch()
    no_tls11: bool = switch()
    no_tls12: bool = switch()
    curves: Sequence[int] = numbers()
    key_shares: Sequence[int] = numbers()
    verify_prefs: Sequence[int] = numbers()
    expect_curve_id: int = number()
    expect_peer_signature_algorithm: int = number()
    expect_peer_verify_pref: Sequence[int] = numbers()
    expect_cipher: int = number()
    expect_cipher_aes: int = number()
    expect_cipher_no_aes: int = number()
    expect_hrr: bool = switch()
    expect_no_hrr: bool = switch()
    server_preference: bool = switch()
    fips_202205: bool = switch()
    wpa_202304: bool = switch()

    # Certificates. Nothing is verified unless a test asks, and then by the test's own verdict.
    trust_cert: str = text()
    verify_peer: bool = switch()
    verify_fail: bool = switch()
    require_any_client_certificate: bool = switch()
    use_custom_verify_callback: bool = switch()
    use_old_client_cert_callback: bool = switch()
    fail_cert_callback: bool = switch()
    enable_ocsp_stapling: bool = switch()
    enable_signed_cert_timestamps: bool = switch()
    expect_ocsp_response: bytes = encoded()
    expect_signed_cert_timestamps: bytes = encoded()
    expect_verify_result: bool = switch()
    expect_peer_cert_file: str = text()
    expect_no_peer_cert: bool = switch()
    expect_client_ca_list: str = text()
    use_client_ca_list: str = text()
    expect_selected_credential: int | None = number(None)

    # Names and protocols.
    host_name: str = text()
    expect_server_name: str = text()
    expect_no_server_name: bool = switch()
    advertise_alpn: bytes = data()
    select_alpn: bytes = data()
    expect_alpn: bytes = data()
    expect_advertised_alpn: bytes = data()
    decline_alpn: bool = switch()
    reject_alpn: bool = switch()
    use_early_callback: bool = switch()
    fail_early_callback: bool = switch()
    install_ddos_callback: bool = switch()
    fail_ddos_callback: bool = switch()

    # The order of things.
    late: bool = switch("-async")
    implicit_handshake: bool = switch()
    peek_then_read: bool = switch()
    handshake_twice: bool = switch()
    no_op_extra_handshake: bool = switch()
    handshake_never_done: bool = switch()
    shim_writes_first: bool = switch()
    shim_initial_write: bytes = data(b"hello")
    repeat_shim_initial_write: int = number(1)
    read_with_unfinished_write: bool = switch()
    write_different_record_sizes: bool = switch()
    read_size: int = number()
    shim_shuts_down: bool = switch()
    check_close_notify: bool = switch()
    key_update: bool = switch()
    key_update_before_read: bool = switch()
    export_keying_material: int = number()
    export_label: bytes = data()
    export_context: bytes = data()
    use_export_context: bool = switch()
    export_traffic_secrets: bool = switch()
    use_exporter_between_reads: bool = switch()

    # Sessions.
    resume_count: int = number()
    resumption_delay: int = number()
    expect_session_miss: bool = switch()
    reverify_on_resume: bool = switch()
    """It always is."""
    expect_ticket_renewal: bool = switch()
    no_ticket: bool = switch()
    expect_no_session: bool = switch()

    # What TLS 1.3 does not have, or always has; harmless where that is what is spoken.
    no_legacy_server_connect: bool = switch()
    renegotiate_once: bool = switch()
    renegotiate_freely: bool = switch()
    renegotiate_ignore: bool = switch()
    renegotiate_explicit: bool = switch()
    forbid_renegotiation_after_handshake: bool = switch()
    expect_extended_master_secret: bool = switch()
    expect_secure_renegotiation: bool = switch()

    credentials: tuple[Credential, ...] = (Credential(),)
    """First what was named without a ``-new-x509-credential`` before it, which may be nothing; then the others."""


S = TypeVar("S", Settings, Credential)


def _table(owner: type[Any]) -> dict[str, tuple[str, Kind]]:
    """``flag -> (field, kind)``."""
    return {
        field.metadata["name"] or "-" + field.name.replace("_", "-"): (field.name, field.metadata["kind"])
        for field in attrs.fields(owner)
        if "kind" in field.metadata
    }


CONNECTION_FLAGS = _table(Settings)
CREDENTIAL_FLAGS = _table(Credential)
NEW_CREDENTIAL = "-new-x509-credential"
# A prefix names the one connection of a test that a flag is for.
CONNECTIONS = ("-on-initial", "-on-resume", "-on-retry")


def parse(arguments: Sequence[str]) -> dict[str, Settings]:
    """Flags to the settings of each connection: ``-on-initial``, ``-on-resume``, ``-on-retry``.

    Raises :exc:`Unimplemented` for a flag that is not in the table, ValueError for an argument that makes no sense.
    """
    found = dict.fromkeys(CONNECTIONS, Settings())
    rest = list(reversed(arguments))
    while rest:
        flag = rest.pop()
        flag = _for_the_shim(flag)
        targets: Sequence[str] = CONNECTIONS
        for connection in CONNECTIONS:
            if flag.startswith(connection + "-"):
                flag, targets = flag.removeprefix(connection), (connection,)
        argument = _argument(flag, rest)
        for connection in targets:
            found[connection] = _set(found[connection], flag, argument)
    return found


def _for_the_shim(flag: str) -> str:
    """Tests of split handshakes say which half they mean; there is only one half here."""
    return flag.removeprefix("-on-shim") if flag.startswith("-on-shim-") else flag


def _argument(flag: str, rest: list[str]) -> str:
    if flag == NEW_CREDENTIAL:
        return ""
    known = CREDENTIAL_FLAGS.get(flag) or CONNECTION_FLAGS.get(flag)
    if known is None:
        raise Unimplemented(f"the flag {flag}")
    if not known[1].argument:
        return ""
    if not rest:
        raise ValueError(f"{flag} needs an argument")
    return rest.pop()


def _set(settings: Settings, flag: str, argument: str) -> Settings:
    if flag == NEW_CREDENTIAL:
        return attrs.evolve(settings, credentials=(*settings.credentials, Credential()))
    try:
        if flag in CREDENTIAL_FLAGS:
            *before, last = settings.credentials
            return attrs.evolve(settings, credentials=(*before, _merge(last, *CREDENTIAL_FLAGS[flag], argument)))
        return _merge(settings, *CONNECTION_FLAGS[flag], argument)
    except (ValueError, binascii.Error) as problem:
        raise ValueError(f"{flag} {argument!r}: {problem}") from None


def _merge(owner: S, field: str, kind: Kind, argument: str) -> S:
    return attrs.evolve(owner, **{field: kind.merge(getattr(owner, field), argument)})
