"""Runs one collector on a live process, as a capture does."""

from __future__ import annotations

from typing import TypeVar

from doctor.collectors.base import Capture, Collector
from doctor.model.evidence import Evidence
from doctor.targets.resolve import resolve

E = TypeVar("E", bound=Evidence)


def look(collector: Collector, pid: int, kind: type[E], duration_s: float = 1.0) -> E:
    """The evidence of a kind about a process, after a window of its own."""
    capture = Capture(resolve(str(pid), children=False), duration_s)
    try:
        results = list(collector.collect(capture))
    finally:
        capture.close()
    (found,) = [result for result in results if isinstance(result, kind) and result.pid in (pid, None)]
    return found
