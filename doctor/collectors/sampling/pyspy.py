"""Samples by py-spy, a dump each: for processes that doctor cannot read itself."""

from __future__ import annotations

from doctor.backends import pyspy
from doctor.collectors.base import Capture
from doctor.collectors.sampling.base import StackNumbers, StackSampler, Timeline
from doctor.model.evidence.stacks import Frame, StackRun, Stacks
from doctor.model.target import ProcessRef
from doctor.procfs.handle import ProcDir

_DUMP_TIMEOUT_S = 5.0
_GIVE_UP_AFTER = 3


class PySpySampler(StackSampler):
    """Lets py-spy read the process again and again."""

    interval_s = 0.1

    def __init__(self, ref: ProcessRef, proc: ProcDir) -> None:
        super().__init__(ref, proc)
        self._numbers = StackNumbers()
        self._threads: dict[tuple[int, int | None], Timeline] = {}

    @property
    def going(self) -> bool:
        """See `StackSampler.going`."""
        return self.proc.alive() and (self.samples > 0 or len(self.errors) < _GIVE_UP_AFTER)

    def sample(self, capture: Capture) -> None:
        """One dump."""
        began_s = capture.now_s()
        try:
            dumped = pyspy.dump(self.ref.pid, _DUMP_TIMEOUT_S)
        except pyspy.PySpyError as error:
            if self.proc.alive():
                self.errors.append(str(error))
            return
        at_s = round((began_s + capture.now_s()) / 2, 3)
        if not self.proc.alive():
            return
        self.samples += 1
        told = {thread.thread_id: thread.os_thread_id for thread in dumped if thread.os_thread_id is not None}
        tids = self.kernel_ids([thread.thread_id for thread in dumped], told)
        for thread in dumped:
            timeline = self._threads.setdefault(
                (thread.thread_id, tids.get(thread.thread_id)), Timeline(thread.thread_name)
            )
            stack = self._numbers.number([Frame(one.filename, one.line, one.name) for one in thread.frames])
            active = None if thread.os_thread_id is None else thread.active
            timeline.add(StackRun(at_s, at_s, 1, stack, active, thread.owns_gil))

    def evidence(self) -> Stacks:
        """See `StackSampler.evidence`."""
        threads = sorted(self._threads.items(), key=lambda item: item[0][1] or 0)
        return Stacks(
            pid=self.ref.pid,
            sampler=f"{pyspy.version()} --nonblocking",
            samples=self.samples,
            errors=len(self.errors),
            frames=tuple(self._numbers.frames),
            stacks=tuple(self._numbers.stacks),
            threads=tuple(timeline.stacks(tid) for (_, tid), timeline in threads),
        )
