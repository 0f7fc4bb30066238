"""Python stacks of all threads, as often as a budget of CPU time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from doctor.backends import pyspy
from doctor.collectors.base import Capture, Collector
from doctor.collectors.sampling.base import StackSampler
from doctor.collectors.sampling.own import OwnSampler
from doctor.collectors.sampling.pyspy import PySpySampler
from doctor.errors import AttachError
from doctor.model.bundle import Skipped
from doctor.model.evidence.stacks import Stacks
from doctor.model.target import ProcessRef
from doctor.procfs.access import Denial, denial
from doctor.procfs.handle import GONE, ProcDir
from doctor.remote.reader import Unreadable

_SHARE = 0.2
_MAX_PROCESSES = 8


class StacksCollector(Collector):
    """Reads the processes in turn."""

    kind = Stacks
    cost = "at most 20 % of a core; the rate sinks with the number of threads that run; the target is not stopped"
    right = "ptrace rights"
    deadline_s = 6.0
    decisive = True

    def obstacle(self, proc: ProcDir) -> Denial | None:
        """Missing rights."""
        return denial(proc)

    def collect(self, capture: Capture) -> Iterator[Stacks | Skipped]:
        """The stacks of each process; of a large family, of the first few."""
        samplers: list[tuple[StackSampler, Denial | None]] = []
        present = capture.present()
        for ref, proc in present[:_MAX_PROCESSES]:
            obstacle = self.obstacle(proc)
            if obstacle:
                yield self.skipped(obstacle, (ref.pid,))
                continue
            try:
                samplers.append(_sampler(ref, proc))
            except GONE:
                continue
        if len(present) > _MAX_PROCESSES:
            yield _too_many([ref.pid for ref, _ in present[_MAX_PROCESSES:]])
        _sample(capture, [sampler for sampler, _ in samplers])
        for sampler, why_not_own in samplers:
            yield from self._results(sampler, why_not_own)

    def _results(self, sampler: StackSampler, why_not_own: Denial | None) -> Iterator[Stacks | Skipped]:
        """The evidence, or why there is none."""
        pid = sampler.ref.pid
        if sampler.samples:
            yield sampler.evidence()
        elif sampler.errors and why_not_own:
            reason = f"{why_not_own.reason}; nor could py-spy read it: {sampler.errors[-1]}"
            remedy = why_not_own.remedy if pyspy.executable() else "pip install py-spy"
            yield self.skipped(Denial(reason, remedy), (pid,))
        elif sampler.errors:
            reason = f"the stacks of process {pid} could not be read: {sampler.errors[-1]}"
            yield self.skipped(Denial(reason, f"try py-spy: py-spy dump --nonblocking --pid {pid}"), (pid,))
        elif sampler.proc.alive():
            too_short = f"the window was too short to read the stacks of process {pid}"
            yield self.skipped(Denial(too_short, "look longer: --duration 10"), (pid,))


def _sampler(ref: ProcessRef, proc: ProcDir) -> tuple[StackSampler, Denial | None]:
    """Doctor's own sampler; where it cannot read the process, py-spy, and the reason."""
    try:
        return OwnSampler(ref, proc), None
    except AttachError as error:
        return PySpySampler(ref, proc), Denial(error.message, error.hint)
    except Unreadable as error:
        return PySpySampler(ref, proc), Denial(
            f"the interpreter of process {ref.pid} could not be read: {error}", "try again: it may have just started"
        )


def _too_many(pids: list[int]) -> Skipped:
    return Skipped(
        collector="stacks",
        reason=f"{len(pids)} further processes of this service were not sampled, to stay within the CPU budget",
        remedy="name one of them: doctor diagnose PID",
        pids=tuple(pids),
    )


def _sample(capture: Capture, samplers: list[StackSampler]) -> None:
    """One sample of each; then more, each at its interval, until the window ends, for no more than the budget."""
    began_s, began_cpu_s = capture.now_s(), _own_cpu_s()
    due_s = dict.fromkeys(samplers, 0.0)
    for sampler in samplers:
        if due_s and capture.duration_s and not capture.sleep(0):
            return
        due_s[sampler] = capture.now_s() + sampler.interval_s
        sampler.sample(capture)
    while due_s:
        sampler = min(due_s, key=lambda one: due_s[one])
        affordable_s = began_s + (_own_cpu_s() - began_cpu_s) / _SHARE
        if not capture.sleep(max(due_s[sampler], affordable_s) - capture.now_s()):
            return
        due_s[sampler] = capture.now_s() + sampler.interval_s
        sampler.sample(capture)
        if not sampler.going:
            del due_s[sampler]


def _own_cpu_s() -> float:
    return time.thread_time() + pyspy.cpu_s()
