"""Every provider does what the kit asks for, and refuses exactly what is written down here."""

from __future__ import annotations

import ssl

import attrs
import pytest

from tlsprovider.config import ClientConfig, ServerConfig
from tlsprovider.providers.features import FEATURES
from tlsprovider.testing import CHECKS, refused_features, run_check
from tlsprovider.testing.choices import ASKING

PROVIDERS = ("native", "openssl", "stdlib")
WITH_TLS12 = ("openssl", "stdlib")

# OpenSSL has no such call, or its callbacks can't wait.
OPENSSL = {
    "ChooseIdentity.client",
    "FindSession",
    "SignHandshake",
    "VerifyPeer.scts",
    "early_data",
    "entropy",
    "key_shares",
    "key_update",
    "on_event.messages",
    "psks",
    "sessions",
    "signature_schemes",
    "tickets",
}
REFUSED = {
    "native": {"TLSv1.2"},
    # pyOpenSSL can set one curve, and takes no such keys.
    "openssl": OPENSSL | {"groups", "identity.mldsa", "identity.rsa_pss"},
    # ssl can set and tell less, and verifies clients by itself.
    "stdlib": OPENSSL
    | {
        "VerifyPeer.ocsp",
        "alpn.binary",
        "cipher_suites",
        "client_auth.clock",
        "client_auth.pinned",
        "client_auth.unverified",
        "exporter",
        "group",
        "groups",
        "identity.rsa_pss",
        "keylog",
        "tls-exporter",
    }
    | ({"identity.mldsa"} if ssl.OPENSSL_VERSION_INFO < (3, 5) else set()),
}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_refuses_what_is_written_down(provider: str) -> None:
    assert refused_features(provider) == REFUSED[provider]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("name", CHECKS)
def test_kit(provider: str, name: str) -> None:
    made = run_check(provider, name)
    assert made is not bool(REFUSED[provider] & set(CHECKS[name].needs))


@pytest.mark.parametrize("provider", WITH_TLS12)
@pytest.mark.parametrize("name", CHECKS)
def test_kit_with_tls_12(provider: str, name: str) -> None:
    made = run_check(provider, name, "TLSv1.2")
    assert made is not bool(REFUSED[provider] & set(CHECKS[name].needs))


# Where the kit looks at each field of a configuration: a feature that can be refused, or checks that use it.
FIELDS = {
    "alpn": "alpn",
    "groups": "groups",
    "cipher_suites": "cipher_suites",
    "signature_schemes": "signature_schemes",
    "min_version": "TLSv1.2",
    "max_version": "TLSv1.3",
    "choose_identity": "ChooseIdentity",
    "verify_peer": "VerifyPeer",
    "answer_timeout": ("time_limit[client]", "time_limit[server]"),
    "keylog": "keylog",
    "on_event": "on_event",
    "clock": "clock",
    "entropy": "entropy",
    "trust": ("wrong_name", "unknown_issuer", "pinned_server", "refused_client"),
    "identity": ("client_certificate[client]", "no_client_certificate[client]"),
    "key_shares": "key_shares",
    "insecure_skip_verify": ("unverified_server", "unverified_client"),
    "identities": ("identities",),
    "client_auth": "client_auth",
    "on_client_hello": "ClientHelloReceived",
    "sessions": "sessions",
    "tickets": "tickets",
    "ticket_count": "tickets",
    "psks": "psks",
    "find_session": "FindSession",
    "early_data": "early_data",
    "max_early_data": "early_data",
    "accept_early_data": "early_data",
}


@pytest.mark.parametrize("kind", [ClientConfig, ServerConfig])
def test_no_field_of_a_configuration_is_forgotten(kind: type[attrs.AttrsInstance]) -> None:
    """A new field is to be mapped or refused by every provider, so it needs a place in the kit."""
    for field in attrs.fields(kind):
        place = FIELDS[field.alias or field.name]
        if isinstance(place, str):
            assert place in FEATURES and place in ASKING
        else:
            assert set(place) <= set(CHECKS)


def test_every_feature_that_a_configuration_asks_for_is_asked_for() -> None:
    """The others are told apart by checks of their own."""
    others = {
        "VerifyPeer.ocsp",
        "VerifyPeer.scts",
        "on_event.messages",
        "exporter",
        "tls-exporter",
        "key_update",
        "half_close",
        "group",
    }
    assert set(FEATURES) == set(ASKING) | others
    assert not set(ASKING) & others


def test_every_check_says_what_it_checks() -> None:
    for one in CHECKS.values():
        function = getattr(one.run, "func", one.run)
        assert function.__doc__, one.name
        assert set(one.needs) <= set(FEATURES)
