"""``value``: what ``attrs.frozen`` makes, without what it costs.

A frozen object has its fields set through a function, one call for each. A handshake makes thirty such objects with a
hundred fields, and that was 2 % of its time. So these are frozen for mypy, which refuses to change one as it always
did, and not while the program runs. For values inside the package: what applications get to hold is really frozen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import frozen as value
else:
    from attrs import define as value

__all__ = ["value"]
