"""What each provider can do, as a table, out of ``supports()``: for ``docs/providers.md`` and the command line.

``python -m tlsprovider.providers.table`` prints it as it stands in the page; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from tlsprovider.crypto.groups import IMPLEMENTED_GROUPS
from tlsprovider.crypto.signatures import HANDSHAKE_SCHEMES
from tlsprovider.interfaces import ITLSProvider
from tlsprovider.providers import BUILT_IN, get_provider
from tlsprovider.providers.features import FEATURES

__all__ = ["Row", "markdown", "rows"]


@attrs.frozen
class Row:
    """``cells``: one word for each provider, ``yes``, ``no``, or what it takes."""

    feature: str
    meaning: str
    cells: tuple[str, ...]


def rows(providers: Sequence[ITLSProvider]) -> list[Row]:
    """One row for each feature, group and signature scheme."""
    meanings: dict[str, str] = dict(FEATURES)
    meanings.update({str(group): "group" for group in IMPLEMENTED_GROUPS})
    meanings.update({str(scheme): "signature by the peer" for scheme in HANDSHAKE_SCHEMES})
    return [
        Row(feature, meaning, tuple(_cell(provider, feature) for provider in providers))
        for feature, meaning in meanings.items()
    ]


def _cell(provider: ITLSProvider, feature: str) -> str:
    # A library's version decides what its provider can do here and now; a page has to say which version that is.
    conditions: Mapping[str, str] = getattr(provider, "conditions", {})
    return conditions.get(feature) or ("yes" if provider.supports(feature) else "no")


def markdown(names: Iterable[str] = tuple(BUILT_IN)) -> str:
    providers = [get_provider(name) for name in names]
    lines = [
        ("`supports()`", "meaning", *(provider.name for provider in providers)),
        ("---",) * (len(providers) + 2),
        *((f"`{row.feature}`", row.meaning, *row.cells) for row in rows(providers)),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
