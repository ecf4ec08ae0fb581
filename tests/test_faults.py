"""One row for every wrong that a peer can do: the fault that the engine finds, and the one alert that it sends.

Each test is a script that misbehaves once. ``provokes`` registers it, and the last test insists that no member of
:class:`~tlsprovider.errors.Fault` is without a script, so a fault can't be added, or become unreachable, unnoticed.
"""

from __future__ import annotations

import pytest
from faults import authentication, extensions, hello, messages, records
from faults.world import SCENARIOS, Scenario, world

from tlsprovider.errors import Fault, PeerFault

ROOMS = (records, messages, extensions, hello, authentication)


def test_every_fault_is_provoked() -> None:
    assert all(any(scenario.__module__ == room.__name__ for _, scenario in SCENARIOS) for room in ROOMS)
    missing = [fault.name for fault in Fault if fault not in {one for one, _ in SCENARIOS}]
    assert not missing


@pytest.mark.parametrize(("fault", "scenario"), SCENARIOS, ids=[f"{f.name}-{s.__name__}" for f, s in SCENARIOS])
def test_fault(fault: Fault, scenario: Scenario) -> None:
    script = scenario(world())
    failure = script.engine.failure
    assert isinstance(failure, PeerFault), f"{failure!r} in {script.engine.state}"
    assert failure.fault is fault, failure
    assert failure.__traceback__ is None
    # The peer learns about it by exactly one alert, readable under the keys that it has.
    script.collect()
    assert script.alerts == [bytes((2, fault.alert))]
    # And nothing more: not on further calls, not on further bytes.
    script.raw(b"\x16\x03\x03\x00\x01\x00")
    assert script.alerts == [bytes((2, fault.alert))]
    with pytest.raises(PeerFault) as raised:
        script.engine.do_handshake()
    assert raised.value.fault is fault
