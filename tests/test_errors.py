"""Errors: what they say, what they carry, and that raising one again leaves nothing of the first time behind."""

from __future__ import annotations

import re

import pytest

import tlsprovider.errors as errors_module
from tlsprovider.errors import (
    AlertReceived,
    CertificateFault,
    ClosedByPeer,
    ConfigError,
    Fault,
    HookError,
    MisuseError,
    PeerFault,
    TLSError,
    TruncatedError,
    UnsupportedByProvider,
    Want,
    WantRead,
)
from tlsprovider.iana import AlertDescription

EXAMPLES: list[TLSError] = [
    PeerFault(Fault.FINISHED_MISMATCH),
    PeerFault(Fault.DECODE_ERROR, "ClientHello has 3 bytes too many"),
    CertificateFault("the certificate ended on 2020-01-01", Fault.CERTIFICATE_EXPIRED),
    AlertReceived(AlertDescription.handshake_failure),
    AlertReceived(AlertDescription.unknown_ca, "it does not know our authority"),
    ClosedByPeer(),
    TruncatedError(),
    MisuseError("write before the handshake"),
    ConfigError("groups: the list is empty"),
    HookError("verify_peer failed"),
    UnsupportedByProvider("TLSv1.2", "native", "openssl"),
]


def raised(error: TLSError) -> TLSError:
    secret = bytearray(b"secret")
    try:
        assert secret
        raise error
    except TLSError as caught:
        return caught


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
class TestAfresh:
    def test_is_the_same_error(self, error: TLSError) -> None:
        again = error.afresh()
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.args == error.args
        assert again.alert == error.alert
        assert vars(again) == vars(error)

    def test_has_no_traceback(self, error: TLSError) -> None:
        caught = raised(error)
        assert caught.__traceback__ is not None
        assert caught.afresh().__traceback__ is None

    def test_keeps_the_cause(self, error: TLSError) -> None:
        cause = RuntimeError("the database is gone")
        try:
            raise error.afresh() from cause
        except TLSError as caught:
            again = caught.afresh()
        assert again.__cause__ is cause

    def test_is_another_object(self, error: TLSError) -> None:
        assert error.afresh() is not error


@pytest.mark.parametrize("fault", Fault)
class TestFaultTable:
    def test_has_a_registered_error_alert(self, fault: Fault) -> None:
        assert fault.alert in list(AlertDescription)
        assert fault.alert not in (AlertDescription.close_notify, AlertDescription.user_canceled)

    def test_names_a_section(self, fault: Fault) -> None:
        assert re.fullmatch(r"(RFC \d{4,5} )?\d+(\.\d+)*", fault.section)

    def test_has_a_sentence(self, fault: Fault) -> None:
        assert fault.sentence
        assert not fault.sentence.endswith(".")

    def test_is_told_with_alert_and_source(self, fault: Fault) -> None:
        text = str(PeerFault(fault, "what was found"))
        assert text.startswith(f"{fault.sentence}: what was found [{fault.alert.name}, RFC ")
        assert fault.section in text


def test_faults_are_not_aliases() -> None:
    """Two members with equal values would be one: each wrong needs a sentence of its own."""
    assert len(Fault) == len(Fault.__members__)


def test_fault_without_detail() -> None:
    text = str(PeerFault(Fault.NO_COMMON_ALPN))
    assert text == "no application protocol that both sides allow [no_application_protocol, RFC 7301 3.2]"


def test_peer_fault_carries_fault_and_alert() -> None:
    error = PeerFault(Fault.BAD_RECORD_MAC, "record 7")
    assert (error.fault, error.detail, error.alert) == (
        Fault.BAD_RECORD_MAC,
        "record 7",
        AlertDescription.bad_record_mac,
    )


def test_certificate_fault_speaks_for_itself() -> None:
    error = CertificateFault("not on the list")
    assert str(error) == f"not on the list [{error.fault.alert.name}]"
    assert isinstance(error, PeerFault)


def test_alert_received() -> None:
    assert str(AlertReceived(AlertDescription.handshake_failure)) == "the peer sent the alert handshake_failure (40)"
    assert str(AlertReceived(AlertDescription(200), "odd")) == "the peer sent the alert 0xc8 (200): odd"


def test_unsupported_by_provider() -> None:
    assert str(UnsupportedByProvider("TLSv1.2", "native")) == "the provider 'native' does not support TLSv1.2"
    assert str(UnsupportedByProvider("TLSv1.2", "native", "openssl")).endswith("; use openssl")


def test_hook_error_is_an_internal_error() -> None:
    assert HookError("x").alert == AlertDescription.internal_error


def test_wants_are_not_errors() -> None:
    assert issubclass(WantRead, Want)
    assert not issubclass(Want, TLSError)


def test_config_errors_are_value_errors() -> None:
    assert issubclass(ConfigError, ValueError)
    assert issubclass(UnsupportedByProvider, ConfigError)


def test_everything_public_is_exported() -> None:
    public = {
        name
        for name, value in vars(errors_module).items()
        if isinstance(value, type) and value.__module__ == errors_module.__name__
    }
    assert public == set(errors_module.__all__)
