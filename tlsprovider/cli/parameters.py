"""What a connection has negotiated, as rows of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

__all__ = ["Negotiated", "certificate_rows", "parameter_rows", "print_rows", "session_rows"]


class Negotiated(Protocol):
    """What engines and the streams around them have in common."""

    @property
    def version(self) -> str | None: ...
    @property
    def cipher(self) -> str | None: ...
    @property
    def group(self) -> str | None: ...
    @property
    def signature_scheme(self) -> str | None: ...
    @property
    def alpn(self) -> str | None: ...
    @property
    def server_name(self) -> str | None: ...
    @property
    def peer_certificates(self) -> tuple[Certificate, ...]: ...
    @property
    def verified_chain(self) -> tuple[Certificate, ...]: ...


Rows = list[tuple[str, str]]


def parameter_rows(connection: Negotiated) -> Rows:
    rows = [
        ("protocol", connection.version),
        ("cipher suite", connection.cipher),
        ("key exchange", connection.group),
        ("peer signed with", connection.signature_scheme),
        ("application protocol", connection.alpn),
        ("server name", connection.server_name),
    ]
    return [(name, value or "none") for name, value in rows]


class Resumable(Protocol):
    """What a client's stream knows of its session."""

    @property
    def session_reused(self) -> bool: ...
    @property
    def early_data(self) -> str: ...


EARLY_WORDS = {
    "accepted": "accepted",
    "rejected": "rejected: it is sent again",
    "not_sent": "not possible yet: it is sent now",
}


def session_rows(connection: Resumable, has_early_data: bool) -> Rows:
    rows = [("session", "resumed" if connection.session_reused else "new")]
    if has_early_data:
        rows.append(("early data", EARLY_WORDS[connection.early_data]))
    return rows


def certificate_rows(connection: Negotiated) -> Rows:
    """The chain as the peer sent it, leaf first, and what came of checking it."""
    rows: Rows = []
    for number, certificate in enumerate(connection.peer_certificates):
        rows += [
            (f"certificate {number}", _name(certificate.subject.rfc4514_string())),
            ("  issued by", _name(certificate.issuer.rfc4514_string())),
            ("  valid", f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"),
        ]
    if connection.verified_chain:
        rows.append(("verified", f"yes, up to {_name(connection.verified_chain[-1].subject.rfc4514_string())}"))
    elif connection.peer_certificates:
        rows.append(("verified", "NO: anybody could have made this certificate"))
    return rows


def _name(text: str) -> str:
    return text or "(no name; see its subjectAltName)"


def print_rows(rows: Rows, console: Console) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        # Text, not markup: what a peer sends must not be able to colour or link anything.
        table.add_row(Text(name, style="dim"), Text(value))
    console.print(table)
