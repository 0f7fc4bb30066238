"""Runs all collectors side by side over one window, and bundles what they bring.

Each has a thread and a deadline of its own: one that fails, hangs or lacks a right costs its own evidence and no other.
"""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

from doctor.backends import pyspy
from doctor.collectors.base import Capture, Collector, Tier, collectors
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence import Evidence, kind_of
from doctor.model.target import ProcessRef, Target
from doctor.procfs.handle import GONE, ProcDir

Progress = Callable[[str], None]

_NAP_S = 0.1
_GRACE_S = 1.0
"""How long a collector that is stopped may take to notice."""


def collect(
    target: Target,
    duration_s: float,
    progress: Progress,
    kinds: Collection[type[Evidence]] | None = None,
    allow: Collection[Tier] = (),
) -> Bundle:
    """Looks at a target for `duration_s` seconds and returns all that was seen.

    Args:
        target: the processes to look at.
        duration_s: the length of the window; in one without length each collector looks once.
        progress: called with each collector's name as it finishes.
        kinds: the evidence to gather; without it, all there is.
        allow: what may happen to the target beyond being read.
    """
    began_cpu_s = time.process_time() + pyspy.cpu_s()
    started_at = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
    moment = Capture(target, duration_s, allow)
    chosen = [collector for collector in collectors() if kinds is None or collector.kind in kinds]
    tasks = [_Task(collector, moment, progress) for collector in chosen]
    try:
        for task in tasks:
            task.start()
        results = [result for task in tasks for result in task.results()]
        gone = tuple(_gone(moment, chosen, results))
        read = sum(proc.bytes_read for proc in moment.proc.values())
        duration_s = min(moment.now_s(), duration_s)
    finally:
        _end(moment, tasks)
    return Bundle(
        target=target,
        window=Window(started_at=started_at, duration_s=round(duration_s, 3)),
        evidence=tuple(result for result in results if isinstance(result, Evidence)),
        skipped=(*gone, *(result for result in results if isinstance(result, Skipped))),
        cost=Cost(
            target_paused_ms=round(moment.paused_s * 1000, 3),
            doctor_cpu_s=round(time.process_time() + pyspy.cpu_s() - began_cpu_s, 3),
            bytes_read=read,
        ),
    )


class _Task(threading.Thread):
    """One collector at work. A daemon: a read that the kernel never answers must not keep doctor from ending."""

    def __init__(self, collector: Collector, moment: Capture, progress: Progress) -> None:
        super().__init__(name=f"collect-{collector.name}", daemon=True)
        self._collector = collector
        self._moment = moment
        self._progress = progress
        self._results: list[Evidence | Skipped] = []
        self._finished = threading.Event()

    def run(self) -> None:
        try:
            self._collect()
            self._progress(self._collector.name)
        finally:
            self._finished.set()

    def _collect(self) -> None:
        try:
            for result in self._collector.collect(self._moment):
                self._results.append(result)
        except Exception as error:  # one collector that fails must not take the others with it
            self._results.append(self._failed(f"it crashed: {type(error).__name__}: {error}"))

    def results(self) -> list[Evidence | Skipped]:
        """What it brought by its deadline."""
        deadline_s = self._moment.duration_s + self._collector.deadline_s
        while self.busy and self._moment.now_s() < deadline_s:
            self.wait(deadline_s - self._moment.now_s())
        if self.busy:
            return [*self._results, self._failed(f"no answer within {self._collector.deadline_s:.0f} s of the window")]
        return self._results

    @property
    def busy(self) -> bool:
        """Whether it has begun and not finished; `is_alive` is wrong for a thread whose join was interrupted."""
        return self.ident is not None and not self._finished.is_set()

    def wait(self, longest_s: float) -> None:
        """Waits for it, but not for long: a signal just before the main thread goes to sleep does not wake it."""
        self._finished.wait(min(longest_s, _NAP_S))

    def _failed(self, reason: str) -> Skipped:
        return Skipped(
            collector=self._collector.name,
            reason=reason,
            remedy="diagnose again; if it stays, please report it with the output of doctor preflight",
            decisive=self._collector.decisive,
        )


def _end(moment: Capture, tasks: list[_Task]) -> None:
    """Stops what is still at work, such as after an interrupt, and lets go of the processes once nobody reads them."""
    moment.cancel()
    until = time.monotonic() + _GRACE_S
    for task in tasks:
        while task.busy and time.monotonic() < until:
            pyspy.stop()  # each time, since a dump may have begun after the last
            task.wait(until - time.monotonic())
    if not any(task.busy for task in tasks):
        moment.close()


def _gone(moment: Capture, chosen: Sequence[Collector], results: Sequence[Evidence | Skipped]) -> Iterator[Skipped]:
    """Processes that ended while they were looked at, or whose PID is another's by now, and what that cost."""
    told = {(kind_of(type(result)), result.pid) for result in results if isinstance(result, Evidence)}
    told |= {
        (result.collector, pid) for result in results if isinstance(result, Skipped) for pid in result.pids or (None,)
    }
    for ref in moment.target.processes:
        proc = moment.proc.get(ref.pid)
        if proc is None or not proc.alive():
            reason = _end_of(ref)
            is_root = ref is moment.target.root
            yield _ended("process", ref, reason, decisive=is_root)
            for collector in chosen:
                if collector.name != "process" and not told & {(collector.name, ref.pid), (collector.name, None)}:
                    yield _ended(collector.name, ref, reason, decisive=is_root and collector.decisive)


def _end_of(ref: ProcessRef) -> str:
    try:
        successor = ProcDir(ref.pid)
        try:
            reused = successor.stat().start_ticks != ref.start_ticks
        finally:
            successor.close()
    except GONE:
        reused = False
    if reused:
        return f"process {ref.pid} ended during the capture and its PID was reused by another process"
    return f"process {ref.pid} ended during the capture: what is said of it is partial"


def _ended(collector: str, ref: ProcessRef, reason: str, *, decisive: bool) -> Skipped:
    return Skipped(
        collector=collector,
        reason=reason,
        remedy="diagnose the process that took its place: doctor ps",
        pids=(ref.pid,),
        decisive=decisive,
    )
