"""What came out of a run: read from what the runner prints, written as JSON and as tables for the documentation."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import attrs

from bogo.areas import AREAS, OTHERS, area_of, feature_of

__all__ = ["Report", "read_results", "renew_page"]

OUTCOMES = ("passed", "failed", "unimplemented", "disabled")
# What the runner prints with ``-pipe``, one line for each test; a failure has its explanation in the lines after it.
RESULT = re.compile(r"(PASSED|FAILED|UNIMPLEMENTED) \((.+)\)")
BEGIN, END = "<!-- bogo: begin -->", "<!-- bogo: end -->"


def read_results(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """``(outcome, test)`` for each test that was run."""
    for line in lines:
        found = RESULT.fullmatch(line.rstrip("\n"))
        if found:
            yield found[1].lower(), found[2]


@attrs.define
class Report:
    """Counts, and what they were counted from."""

    runner: str
    """Which version of the runner, in the words of whoever ran it."""
    outcomes: dict[str, str] = attrs.field(factory=dict)
    """Test to outcome."""
    why_unimplemented: Counter[str] = attrs.field(factory=Counter)
    why_disabled: Counter[str] = attrs.field(factory=Counter)

    def add_results(self, lines: Iterable[str]) -> None:
        for outcome, test in read_results(lines):
            self.outcomes[test] = outcome

    def add_disabled(self, tests: Iterable[str], reasons: Mapping[str, str]) -> None:
        """``reasons``: pattern to reason, as in config.json."""
        for test in tests:
            self.outcomes[test] = "disabled"
            fitting = [reason for pattern, reason in reasons.items() if fnmatchcase(test, pattern)]
            self.why_disabled[fitting[0]] += 1

    def add_reasons(self, reasons: Iterable[str]) -> None:
        """Why tests were unimplemented, one line for each."""
        self.why_unimplemented.update(feature_of(reason) for reason in reasons)

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(self.outcomes.values())
        return {outcome: counted[outcome] for outcome in OUTCOMES}

    @property
    def failures(self) -> list[str]:
        return sorted(test for test, outcome in self.outcomes.items() if outcome == "failed")

    def by_area(self) -> dict[str, dict[str, int]]:
        counted = Counter((area_of(test), outcome) for test, outcome in self.outcomes.items())
        table = {area: {outcome: counted[area, outcome] for outcome in OUTCOMES} for area in (*AREAS, OTHERS)}
        return {area: row for area, row in table.items() if any(row.values())}

    def as_json(self) -> dict[str, object]:
        return {
            "runner": self.runner,
            **self.counts,
            "failures": self.failures,
            "areas": self.by_area(),
            "unimplemented_because": dict(self.why_unimplemented.most_common()),
            "disabled_because": dict(self.why_disabled.most_common()),
        }

    def as_markdown(self) -> str:
        counts = self.counts
        rows = [[area, *(str(row[outcome]) for outcome in OUTCOMES)] for area, row in self.by_area().items()]
        rows.append(["**all**", *(f"**{counts[outcome]}**" for outcome in OUTCOMES)])
        return "\n".join(
            [
                f"Runner: {self.runner}",
                "",
                _table(["area", *OUTCOMES], rows),
                "",
                "Unimplemented, by what the test needs:",
                "",
                _table(["needs", "tests"], [[what, str(n)] for what, n in self.why_unimplemented.most_common()]),
                "",
                "Disabled, with the reason in `tests/bogo/config.json`:",
                "",
                _table(["reason", "tests"], [[why, str(n)] for why, n in self.why_disabled.most_common()]),
            ]
        )


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [heads, ["---"] + ["---:"] * (len(heads) - 1), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def renew_page(page: Path, content: str) -> None:
    """Put ``content`` between the marks of a page. ValueError when the marks are not there."""
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page}: the marks {BEGIN} and {END} are missing")
    page.write_text(f"{before}{BEGIN}\n{content}\n{END}{after}", encoding="utf-8")
