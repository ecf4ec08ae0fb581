"""``python -m twisted_suite.child SEAM MODULE FILE``: run one module's tests, and write to FILE how each went."""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import Any

from twisted_suite.seam import seam_named

SECONDS_PER_TEST = 60


def main(seam: str, module: str, path: str) -> None:
    seam_named(seam).install()
    signal.signal(signal.SIGALRM, _too_long)

    from twisted.trial.reporter import Reporter
    from twisted.trial.runner import TestLoader, TrialRunner

    outcomes: dict[str, list[str]] = {}

    class Recorder(Reporter):
        """Whatever may befall a test, by its name: ``[outcome, why]``. The worst stays."""

        def startTest(self, test: Any) -> None:
            super().startTest(test)
            signal.alarm(SECONDS_PER_TEST)

        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            outcomes.setdefault(test.id(), ["passed", ""])

        def addSkip(self, test: Any, reason: Any) -> None:
            super().addSkip(test, reason)
            outcomes.setdefault(test.id(), ["skipped", str(reason)])

        def addExpectedFailure(self, test: Any, failure: Any, todo: Any = None) -> None:
            super().addExpectedFailure(test, failure, todo)
            outcomes.setdefault(test.id(), ["skipped", "Twisted expects it to fail"])

        def addFailure(self, test: Any, failure: Any) -> None:
            super().addFailure(test, failure)
            self._note(test, failure)

        def addError(self, test: Any, failure: Any) -> None:
            super().addError(test, failure)
            self._note(test, failure)

        def _note(self, test: Any, failure: Any) -> None:
            text = failure.getTraceback() if hasattr(failure, "getTraceback") else repr(failure)
            before = outcomes.get(test.id(), ["", ""])
            outcomes[test.id()] = ["failed", before[1] + text]

    runner = TrialRunner(Recorder, stream=io.StringIO(), workingDirectory=str(Path(path).with_suffix(".trial")))
    runner.run(TestLoader().loadByName(module))
    Path(path).write_text(json.dumps(outcomes))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"not done after {SECONDS_PER_TEST} seconds")


main(*sys.argv[1:])
