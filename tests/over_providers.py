"""A pytest plugin that runs tests of the adapters and of the SSL object over another provider than the native one.

``TLSPROVIDER_DEFAULT=openssl PYTHONPATH=tests pytest -p over_providers tests/test_contract_*.py ...``, as
``test_providers_adapters.py`` does. Whatever makes a connection without naming a provider then uses that one, also in
child processes. :data:`DIFFERENT` is the whole list of what comes out otherwise: each test in it *has* to fail.
"""

from __future__ import annotations

import os
import ssl

import pytest

BOTH = ("openssl", "stdlib")
STDLIB = ("stdlib",)
OLD_STDLIB = STDLIB if ssl.OPENSSL_VERSION_INFO < (3, 5) else ()

CHOOSE = (BOTH, "ChooseIdentity.client is refused: a library can't wait for whom to show")
KEY_UPDATE = (BOTH, "key_update is refused: neither binding has a call for it")
MESSAGES = (BOTH, "on_event.messages is refused: libraries don't show their messages")
STEPS = (BOTH, "on_event.messages is refused: libraries don't tell their steps")
GROUPS = (BOTH, "groups is refused, or the library has another list")
KEYLOG = (STDLIB, "keylog is refused: ssl writes into files only")
GROUP = (STDLIB, "group is refused: ssl doesn't tell")
OPENSSLS_ALERT = (BOTH, "OpenSSL writes the version of TLS 1.0 into the header of a plaintext alert's record")

DIFFERENT = {
    "test_contract_callbacks.py::test_K1_a_client_shows_the_identity_of_its_configuration": CHOOSE,
    "test_contract_callbacks.py::test_K1_certificate_callback_may_use_an_identity": CHOOSE,
    "test_contract_callbacks.py::test_K5_a_server_that_refuses_the_client": (
        STDLIB,
        "behind a handshake of TLS 1.3, ssl gives nobody the keys for an alert",
    ),
    "test_contract_connect.py::test_A8_C8_do_handshake_goes_on_with_the_same_handshake": MESSAGES,
    "test_contract_data.py::test_D12_an_answer_that_is_stuck_does_not_stop_reading": KEY_UPDATE,
    "test_contract_data.py::test_D12_read_may_cause_writes": KEY_UPDATE,
    "test_contract_data.py::test_D20_pending_and_has_pending": KEY_UPDATE,
    "test_contract_errors.py::test_E13_without_auto_retry_a_record_without_data_ends_the_call": KEY_UPDATE,
    "test_contract_errors.py::test_E6_E7_E8_each_retry_makes_progress_and_may_want_again": (
        OLD_STDLIB,
        "the hello of an OpenSSL before 3.5 is shorter than a thousand bytes",
    ),
    "test_contract_handshake.py::test_H15_after_one_everything_is_known": GROUP,
    "test_contract_handshake.py::test_H7_repeating_goes_on_where_it_was": GROUPS,
    "test_contract_inspection.py::test_K13_keylog_callback": (
        BOTH,
        "keylog: OpenSSL derives the secrets in an order of its own; ssl's is refused",
    ),
    "test_contract_inspection.py::test_K13_the_line_comes_before_the_secret_is_used": KEYLOG,
    "test_contract_inspection.py::test_K8_msg_callback_sees_messages_and_never_data": MESSAGES,
    "test_contract_inspection.py::test_K9_state_strings[memory]": STEPS,
    "test_contract_inspection.py::test_K9_state_strings[nonblocking]": STEPS,
    "test_contract_inspection.py::test_K9_state_strings[pair]": STEPS,
    "test_contract_inspection.py::test_K9_the_string_has_six_letters_in_every_state": STEPS,
    "test_contract_interop.py::test_D12_key_updates_under_way": KEY_UPDATE,
    "test_contract_interop.py::test_H16_tickets_come_in_a_later_read": MESSAGES,
    "test_contract_modes.py::test_T9_auto_retry_on_a_blocking_transport": KEY_UPDATE,
    "test_contract_shutdown.py::test_X10_only_the_writing_direction_is_closed": KEY_UPDATE,
    "test_trio_handshake.py::TestHandshake::test_what_was_negotiated": GROUP,
    "test_trio_interop.py::TestMisbehaviour::test_garbage[data too early]": OPENSSLS_ALERT,
    "test_trio_interop.py::TestMisbehaviour::test_garbage[too long a record]": OPENSSLS_ALERT,
    "test_trio_drop_in.py::TestForwarded::test_as_the_ssl_object_says[get_channel_binding]": (
        STDLIB,
        "tls-exporter is refused: ssl has no exporter",
    ),
    "test_trio_contract.py::TestContract::test_a_key_update_is_a_checkpoint": KEY_UPDATE,
    "test_trio_stream.py::TestSending::test_key_update": KEY_UPDATE,
    "test_twisted_tcp.py::TestStrings::test_both_directions": GROUPS,
    "test_twisted_web.py::test_agent_resumes_a_session": (BOTH, "sessions are not resumed"),
}
# They fail by waiting.
NOT_RUN = frozenset(name for name, difference in DIFFERENT.items() if difference is CHOOSE)


def names_of(item: pytest.Item) -> tuple[str, str]:
    """With its parameters, and without."""
    inside = item.nodeid.partition("::")[2]
    return f"{item.path.name}::{inside}", f"{item.path.name}::{inside.partition('[')[0]}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    provider = os.environ["TLSPROVIDER_DEFAULT"]
    seen = set()
    for item in items:
        for name in names_of(item):
            if name not in DIFFERENT:
                continue
            seen.add(name)
            providers, reason = DIFFERENT[name]
            if provider in providers:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=True, run=name not in NOT_RUN))
    gone = set(DIFFERENT) - seen
    if gone:
        raise pytest.UsageError(f"over_providers.py names tests that are not there: {', '.join(sorted(gone))}")
