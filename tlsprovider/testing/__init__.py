"""A kit for who writes a provider: :func:`check_provider` puts one through what every provider has to do.

::

    from tlsprovider.testing import CHECKS, run_check

    @pytest.mark.parametrize("name", CHECKS)
    def test_provider(name):
        run_check(my_provider, name)

    def test_refusals():
        assert refused_features(my_provider) == {"key_update", "SignHandshake", ...}

Handshakes, every field of a configuration, any cutting of bytes, ends, errors and their types, questions, exporters,
back-pressure: each against the native provider, on both sides. What a provider doesn't support it may refuse, and then
*has* to refuse, when the engine is made; the kit checks that too. Everything happens in memory and takes seconds. It
needs nothing but tlsprovider; a check that fails raises AssertionError, also under ``python -O``.
"""

from __future__ import annotations

import attrs
from zope.interface.verify import verifyObject

from tlsprovider.interfaces import IEngine, ITLSProvider
from tlsprovider.providers import get_provider
from tlsprovider.providers.features import FEATURES
from tlsprovider.testing import choices, decisions, ends, handshakes, judgements
from tlsprovider.testing.bench import Bench, must
from tlsprovider.testing.checks import CHECKS, Check, check

__all__ = ["CHECKS", "Bench", "Check", "Report", "check_provider", "refused_features", "run_check"]

# The modules whose functions are on the list; importing them has put them there.
CHECKED = (handshakes, ends, judgements, choices, decisions)


@attrs.frozen
class Report:
    """What :func:`check_provider` has found: names of checks, and of features."""

    provider: str
    passed: tuple[str, ...]
    skipped: tuple[str, ...]
    """Checks of what the provider refuses. That it does refuse was checked."""
    refused: frozenset[str]
    """The features that it refuses."""


@check(sides=False)
def interfaces(bench: Bench) -> None:
    """The provider and its engines have everything that the interfaces name."""
    verifyObject(ITLSProvider, bench.provider)
    must(bench.provider.name and bench.provider.name == bench.provider.name.strip(), "name")
    must(bench.provider.description and "\n" not in bench.provider.description, "description: one line")
    must(bench.supports("TLSv1.3") or bench.supports("TLSv1.2"), "supports() affirms no version")
    must(not bench.supports("no such feature"), "supports() affirms what doesn't exist")
    for engine in (bench.engine("client", bench.client()), bench.engine("server", bench.server())):
        verifyObject(IEngine, engine)


def refused_features(provider: str | ITLSProvider) -> frozenset[str]:
    """The features of :data:`~tlsprovider.providers.features.FEATURES` that a provider refuses.

    Compare it with a list that is written down in your tests, so that no refusal comes or goes unnoticed.
    """
    found = get_provider(provider)
    return frozenset(feature for feature in FEATURES if not found.supports(feature))


def run_check(provider: str | ITLSProvider, name: str, version: str | None = None) -> bool:
    """One check by its name in :data:`CHECKS`. False: it is about something that the provider refuses.

    ``version``: ``TLSv1.2`` for another version than the newest that the provider has. Raises AssertionError.
    """
    one = CHECKS[name]
    bench = Bench(get_provider(provider), version)
    if not all(map(bench.supports, one.needs)):
        return False
    one.run(bench)
    return True


def check_provider(provider: str | ITLSProvider, version: str | None = None) -> Report:
    """All checks. Raises an ExceptionGroup with an AssertionError for each check that failed."""
    found = get_provider(provider)
    passed: list[str] = []
    skipped: list[str] = []
    failures: list[Exception] = []
    for name in CHECKS:
        try:
            (passed if run_check(found, name, version) else skipped).append(name)
        except Exception as problem:
            problem.add_note(f"in the check {name}")
            failures.append(problem)
    if failures:
        raise ExceptionGroup(f"the provider {found.name!r} fails {len(failures)} of {len(CHECKS)} checks", failures)
    return Report(found.name, tuple(passed), tuple(skipped), refused_features(found))
