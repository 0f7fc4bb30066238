"""What can be broken in the shop, and what doctor should say about it."""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One way to break the shop."""

    name: str
    description: str
    page: str
    """What the customers ask for."""
    inventory_hangs: bool
    root_cause: str | None
    """The finding id that names it; None for a healthy shop."""


FAULTS = {
    fault.name: fault
    for fault in (
        Fault(
            "hanging-dependency",
            "the inventory stops answering, the shop asks it without a timeout, and all workers starve",
            "/orders",
            inventory_hangs=True,
            root_cause="slow-dependency",
        ),
        Fault(
            "cpu-hotspot",
            "the search compares every product in pure Python and eats the interpreter lock",
            "/search",
            inventory_hangs=False,
            root_cause="cpu-hotspot",
        ),
        Fault(
            "none",
            "nothing is broken: the same shop under the same load",
            "/orders",
            inventory_hangs=False,
            root_cause=None,
        ),
    )
}
DEFAULT = "hanging-dependency"
