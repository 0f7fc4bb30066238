"""`cpu-hotspot`: one function takes the CPU a process can use."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import NormalDist

from doctor.model.evidence.process import Process
from doctor.model.evidence.stacks import Stacks
from doctor.model.evidence.threads import Threads
from doctor.model.finding import Finding, Level
from doctor.model.view import ProcessView
from doctor.rules._profile import HotFunction, hottest
from doctor.rules.base import Rule


class CpuHotspot(Rule):
    """One function takes most of the CPU of a process that has none left.

    Symptom: requests are slow, the process uses a core or nearly one, and adding threads does not help.
    Evidence: CPU time of the process, and the time it was kept from a CPU, against the window; on-CPU samples of its
    stacks; queues in front of it.
    Threshold: the process is near the one core its interpreter lock allows, and so many of its on-CPU samples pass
    through one function that its share is above one half beyond doubt. Without a queue, and with some reserve left, a
    server only gets a note: it meets its load.
    Not to be confused with: `cpu-throttled` and `cpu-starved`, where the process is kept from the CPU it wants;
    `event-loop-blocked`, which a hot function on the loop's thread brings about.
    """

    needs = (Process, Threads, Stacks)
    can_cause = ("event-loop-blocked", "cpu-throttled")

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """At most one finding: the hottest function."""
        used, cores = _cores(process)
        load = cores / self._usable_cores(process, used)
        if load < self.threshold("cores_used").value:
            return
        hot = hottest(process, self.threshold("share_of_cpu").value)
        if hot is None or self._chance(hot) > self.threshold("chance").value:
            return
        queue = _queue(process, self.threshold("queue").value)
        yield Finding(
            level=self._level(process, load, queue),
            confidence="probable" if queue else "possible",
            title=f"{hot.frame.function} takes {hot.share:.0%} of the CPU, and the process wants {cores:.2f} cores",
            explanation=(
                "Python code of one process runs on one core at a time. It is used up, and most of it goes through one "
                "function: make that cheaper, do it less often, or move it to another process."
            ),
            where=(hot.thread.location(hot.frame),),
            subjects=(hot.thread.subject, f"function:{hot.frame.function}", f"process:{process.ref.pid}"),
            measurements={
                "cores": self.threshold("cores_used").measured(cores),
                "share_of_cpu": self.threshold("share_of_cpu").measured(hot.share),
            },
            evidence=_evidence(hot, cores, queue, process.window_s),
            fingerprint=f"{hot.frame.file}:{hot.frame.function}",
        )

    def _usable_cores(self, process: ProcessView, used: float) -> float:
        """One for code under the interpreter lock; all for a process that shows that it runs without."""
        return 1.0 if used <= self.threshold("locked_cores").value else float(max(1, process[Process].cpus))

    def _chance(self, hot: HotFunction) -> float:
        """How probable as many hits are for a function that takes no more than the share to exceed."""
        share = self.threshold("share_of_cpu").value
        spread = math.sqrt(hot.samples * share * (1 - share))
        hits = hot.share * hot.samples - 0.5  # continuity correction: counts are whole, the normal distribution is not
        return 1 - NormalDist(hot.samples * share, spread).cdf(hits)

    def _level(self, process: ProcessView, load: float, queue: str | None) -> Level:
        if queue:
            return "error"
        no_reserve = load >= self.threshold("reserve").value
        return "warning" if no_reserve or not process.is_server else "note"


def _cores(process: ProcessView) -> tuple[float, float]:
    """The cores its Python threads used, and those they would use on a free machine; native threads run no Python.

    A process that waits longer than it runs is starved: then its waits say more about its neighbours than about it.
    """
    threads = [thread for thread in process.threads if thread.stacks]
    used = process.cpu_s(threads) / process.window_s
    waited = (process.kept_from_cpu_s(threads) or 0.0) / process.window_s
    return used, used + waited if waited < used else used


def _evidence(hot: HotFunction, cores: float, queue: str | None, window_s: float) -> tuple[str, ...]:
    lines = (
        f"the process used or waited for {cores:.2f} cores over {window_s:.1f} s",
        f"{hot.share:.0%} of {hot.samples:.0f} on-CPU samples pass through {hot.frame.function}",
    )
    return (*lines, queue) if queue else lines


def _queue(process: ProcessView, at_least: float) -> str | None:
    """What waits because the CPU is used up, if anything does."""
    samples = process[Process].samples
    waiting = [(sample.backlog or 0) + (sample.unread_inbound or 0) for sample in samples]
    queued = sum(1 for count in waiting if count)
    if queued > at_least * len(waiting):
        return f"requests wait unread in {queued} of {len(waiting)} looks, up to {max(waiting)} at once"
    for_gil = [thread for thread in process.threads if thread.share("gil") >= at_least]
    if for_gil:
        return f"{len(for_gil)} threads wait for the interpreter lock at least {at_least:.0%} of the time"
    return None
