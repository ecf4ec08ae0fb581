"""The contract of the SSL object, as a list: every line has a test that is named after it, or a reason why it has none.

The lines come from the man pages of SSL_do_handshake(3) and its neighbours. A test's name begins with the lines it
tests, as ``test_H7_...`` or ``test_R1_R3_...``.

==================  ==============================================================  ===============================
lines               man pages                                                       tests in
==================  ==============================================================  ===============================
decision_1 to _9    where the pages leave a choice                                  ``test_contract_decisions.py``
H                   SSL_do_handshake                                                ``test_contract_handshake.py``
A, C, R             SSL_accept, SSL_connect, SSL_set_connect_state                  ``test_contract_connect.py``
E                   SSL_get_error, SSL_want                                         ``test_contract_errors.py``
N, Y, M             BIO_new, BIO_should_retry, BIO_s_mem                            ``test_contract_bio.py``
P                   BIO_s_bio                                                       ``test_contract_pair.py``
T                   SSL_set_bio, SSL_set_fd, SSL_set_mode                           ``test_contract_modes.py``
D                   SSL_read, SSL_peek, SSL_write, SSL_pending                      ``test_contract_data.py``
X                   SSL_shutdown, SSL_set_shutdown, SSL_clear                       ``test_contract_shutdown.py``
K1 to K5            SSL_set_cert_cb, SSL_CTX_set_client_hello_cb, SSL_set_verify    ``test_contract_callbacks.py``
K6 to K15           SSL_CTX_set_info_callback, SSL_state_string, SSL_set1_host ...  ``test_contract_inspection.py``
(DESIGN, questions) the pauses that are decisions                                   ``test_contract_questions.py``
(any)               the same with OpenSSL as the peer                               ``test_contract_interop.py``
==================  ==============================================================  ===============================
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

LAST_LINES = {
    "decision_": 9,
    "H": 17,
    "A": 8,
    "C": 8,
    "R": 8,
    "E": 26,
    "N": 9,
    "P": 24,
    "Y": 7,
    "M": 7,
    "T": 10,
    "D": 21,
    "X": 19,
    "K": 15,
}
LINES = {f"{letter}{number}" for letter, last in LAST_LINES.items() for number in range(1, last + 1)}

NOT_TESTED = {
    "E16": "WANT_ASYNC belongs to OpenSSL's asynchronous engines, which have no counterpart; the code is never given",
    "E17": "WANT_ASYNC_JOB: as E16",
    "P2": "advice, not behaviour: a pair has no lock, and the documentation of tlsprovider.ssl.bio says so",
    "X3": "there is no resumption yet, so no session to stay good",
    "X17": "there is no resumption yet, so no cache that a session could leave",
    "K12": "there is no resumption yet: tickets are read and dropped (H16 with OpenSSL as the server), no callback",
    "K15": "there is no early data yet",
}

NAME = re.compile(r"test_((?:(?:[A-Z]\d+|decision_\d+)_)+)")


def lines_with_tests() -> dict[str, str]:
    """Line -> the name of a test."""
    found = {}
    for path in sorted(Path(__file__).parent.glob("test_contract_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and (match := NAME.match(node.name)):
                for line in re.findall(r"decision_\d+|[A-Z]\d+", match[1]):
                    found[line] = node.name
    return found


TESTED = lines_with_tests()


def test_every_line_is_tested_or_has_a_reason() -> None:
    missing = LINES - set(TESTED) - set(NOT_TESTED)
    assert not missing, f"no test and no reason: {sorted(missing)}"


def test_no_reason_for_what_is_tested() -> None:
    both = {line: TESTED[line] for line in NOT_TESTED if line in TESTED}
    assert not both, f"tested after all: {both}"


def test_no_test_for_a_line_that_does_not_exist() -> None:
    unknown = {line: name for line, name in TESTED.items() if line not in LINES}
    assert not unknown and set(NOT_TESTED) <= LINES


def test_the_table_above_names_the_files() -> None:
    files = {path.name for path in Path(__file__).parent.glob("test_contract_*.py")}
    assert __doc__ is not None
    assert set(re.findall(r"test_contract_\w+\.py", __doc__)) == files
