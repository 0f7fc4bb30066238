"""What every collector has in common, and the moment they all look at."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import ClassVar, Literal

from doctor.model.bundle import Skipped
from doctor.model.evidence import Evidence, kind_of
from doctor.model.target import ProcessRef, Target
from doctor.procfs.access import Denial
from doctor.procfs.handle import GONE, ProcDir
from doctor.registry import discover

Tier = Literal["read", "pause", "inject"]


class Capture:
    """One look at a target: its processes held open, and a clock that all collectors share."""

    def __init__(self, target: Target, duration_s: float, allow: Collection[Tier] = ()) -> None:
        self.target = target
        self.duration_s = duration_s
        self.may_pause = "pause" in allow
        self.paused_s = 0.0
        """How long a process of the target was stopped, in all."""
        self.proc: Mapping[int, ProcDir] = _open(target)
        self._begin = time.monotonic()
        self._cancelled = threading.Event()

    def now_s(self) -> float:
        """Seconds since the window began."""
        return time.monotonic() - self._begin

    def cancel(self) -> None:
        """Ends the window for every collector."""
        self._cancelled.set()

    def sleep(self, seconds: float) -> bool:
        """Waits, but not beyond the end of the window; False once that has come."""
        left = self.duration_s - self.now_s()
        if left <= 0 or self._cancelled.is_set():
            return False
        return not self._cancelled.wait(min(seconds, left))

    def present(self) -> list[tuple[ProcessRef, ProcDir]]:
        """The processes that could be opened as the window began."""
        return [(ref, self.proc[ref.pid]) for ref in self.target.processes if ref.pid in self.proc]

    def close(self) -> None:
        """Lets go of all processes."""
        for proc in self.proc.values():
            proc.close()


class Pace:
    """Repeats a piece of work until the window ends, at an interval that its own cost may stretch.

    A window without length is one look.

    `share` is the part of one core the work may take: work that takes 2 ms with a share of 0.05 comes every 40 ms at
    the most.
    """

    def __init__(self, capture: Capture, interval_s: float, share: float) -> None:
        self._capture = capture
        self._interval_s = interval_s
        self._share = share

    def ticks(self) -> Iterator[float]:
        """The moment of each tick; the last one lies at the end of the window."""
        going = self._capture.duration_s > 0
        while True:
            began = time.thread_time()
            at_s = self._capture.now_s()
            yield at_s
            if not going:
                return
            cost_s = time.thread_time() - began
            due_s = at_s + max(self._interval_s, cost_s / self._share)
            going = self._capture.sleep(max(0.0, due_s - self._capture.now_s()))


class Collector(ABC):
    """Gathers one kind of evidence while the window lasts."""

    kind: ClassVar[type[Evidence]]
    tier: ClassVar[Tier] = "read"
    cost: ClassVar[str]
    """What it takes from host and target, in words for `doctor preflight`."""
    right: ClassVar[str]
    """The right it needs, in words for `doctor preflight`."""
    deadline_s: ClassVar[float]
    """How long after the end of the window it may still take."""
    decisive: ClassVar[bool] = False
    """Whether a service can be called healthy without it."""

    @property
    def name(self) -> str:
        """The name of the evidence it gathers."""
        return kind_of(self.kind)

    def obstacle(self, proc: ProcDir) -> Denial | None:  # noqa: ARG002 - some need nothing
        """What keeps it from all, or from part, of what it gathers about a process."""
        return None

    def skipped(self, obstacle: Denial, pids: tuple[int, ...] = ()) -> Skipped:
        """An obstacle as an entry of `skipped`."""
        return Skipped(
            collector=self.name, reason=obstacle.reason, remedy=obstacle.remedy, pids=pids, decisive=self.decisive
        )

    @abstractmethod
    def collect(self, capture: Capture) -> Iterator[Evidence | Skipped]:
        """Evidence about each process, or the reason there is none; called once, in a thread of its own."""


@cache
def collectors() -> tuple[Collector, ...]:
    """Every collector, by name."""
    return tuple(discover("doctor.collectors", Collector).values())  # type: ignore[type-abstract]


def _open(target: Target) -> dict[int, ProcDir]:
    """Opens what is still the same process; one that was replaced since the target was resolved is left out."""
    opened: dict[int, ProcDir] = {}
    for ref in target.processes:
        try:
            proc = ProcDir(ref.pid)
        except (PermissionError, *GONE):
            continue
        try:
            same = proc.stat().start_ticks == ref.start_ticks
        except GONE:
            same = False
        if same:
            opened[ref.pid] = proc
        else:
            proc.close()
    return opened
