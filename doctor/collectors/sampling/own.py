"""Samples by doctor itself, straight out of the memory of the process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from doctor.collectors.base import Capture
from doctor.collectors.sampling.base import StackNumbers, StackSampler, Timeline
from doctor.model.evidence.stacks import StackRun, Stacks
from doctor.model.target import ProcessRef
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_stat
from doctor.remote.attach import attach
from doctor.remote.interpreters import ThreadState
from doctor.remote.pause import paused
from doctor.remote.process import LiveProcess
from doctor.remote.reader import Unreadable
from doctor.remote.sampler import TORN, Sample, Sampler
from doctor.remote.thread_names import thread_names

_GIVE_UP_AFTER = 100
_NAMES_EVERY_S = 0.25
_PAUSE_EVERY_S, _SHARE_PAUSED = 0.1, 0.02
"""A process that is stopped for 2 ms in 100 does not notice."""
_STATES_IN = 10
"""A thread whose stack stays the same has its state read in every tenth sample."""


class OwnSampler(StackSampler):
    """Reads the stacks of all threads at once.

    Raises:
        CannotRead, UnknownLayout, Unreadable: there is no interpreter that doctor can read.
        FileNotFoundError, ProcessLookupError: the process has ended.
        PermissionError: this user may not read it.
    """

    interval_s = 0.01

    def __init__(self, ref: ProcessRef, proc: ProcDir) -> None:
        super().__init__(ref, proc)
        self._reader, runtime = attach(LiveProcess(proc))
        self._sampler = Sampler(self._reader, runtime.address)
        self._timelines: dict[tuple[int, int | None], Timeline] = {}
        self._collecting = 0
        self._threads: Sequence[ThreadState] = ()
        self._rows: list[tuple[Timeline, int | None]] = []
        self._stays = _Stays(0)
        self._named_s = -_NAMES_EVERY_S

    @property
    def going(self) -> bool:
        """See `StackSampler.going`."""
        return self.proc.alive() and (self.samples > 0 or len(self.errors) < _GIVE_UP_AFTER)

    def sample(self, capture: Capture) -> None:
        """See `StackSampler.sample`."""
        began_s = capture.now_s()
        try:
            sample = self._paused_sample(capture) if capture.may_pause else self._sampler.sample()
        except (Unreadable, PermissionError, *GONE) as error:
            if self.proc.alive():
                self.errors.append(str(error))
            return
        at_s = round((began_s + capture.now_s()) / 2, 3)
        if sample.threads is not self._threads:
            self._list(sample.threads, at_s)
        self.samples += 1
        self.dropped += int((sample.stacks == TORN).sum())
        self._collecting += sample.collecting
        holders = np.array([thread.address in sample.gil_holders for thread in sample.threads], np.bool_)
        ended = self._stays.go_on(at_s, sample.stacks, self._active(sample, holders), holders)
        for index, run in ended:
            self._rows[index][0].add(run)

    def _paused_sample(self, capture: Capture) -> Sample:
        """A sample of a process at rest; what takes longest, new code, was decoded by one while it ran."""
        self._sampler.sample()
        began_s = capture.now_s()
        with paused(self.proc):
            sample = self._sampler.sample()
        paused_s = capture.now_s() - began_s
        capture.paused_s += paused_s
        self.interval_s = max(_PAUSE_EVERY_S, paused_s / _SHARE_PAUSED)
        return sample

    def evidence(self) -> Stacks:
        """See `StackSampler.evidence`."""
        self._end_stays()
        self.proc.bytes_read += self._reader.memory.bytes_read
        numbers = StackNumbers()
        for frames in self._sampler.stacks:
            numbers.number(frames)
        threads = sorted(self._timelines.items(), key=lambda item: item[0][1] or 0)
        return Stacks(
            pid=self.ref.pid,
            sampler="doctor",
            samples=self.samples,
            errors=len(self.errors),
            dropped=self.dropped,
            collecting=self._collecting,
            frames=tuple(numbers.frames),
            stacks=tuple(numbers.stacks),
            threads=tuple(timeline.stacks(tid) for (_, tid), timeline in threads if timeline.runs),
        )

    def _list(self, threads: Sequence[ThreadState], at_s: float) -> None:
        """Takes note of threads that came, and of those that went."""
        self._end_stays()
        told = {one.thread_id: one.native_thread_id for one in threads if one.native_thread_id is not None}
        tids = self.kernel_ids([one.thread_id for one in threads], told)
        names = self._names(threads, at_s)
        self._threads, self._rows = threads, []
        for thread in threads:
            tid = tids.get(thread.thread_id)
            timeline = self._timelines.setdefault((thread.thread_id, tid), Timeline(None))
            timeline.name = names.get(thread.thread_id, timeline.name)
            self._rows.append((timeline, tid))
        self._stays = _Stays(len(threads))

    def _names(self, threads: Sequence[ThreadState], at_s: float) -> dict[int, str]:
        """The names of threads, which take longer to read than their stacks."""
        if at_s - self._named_s < _NAMES_EVERY_S:
            return {}
        self._named_s = at_s
        names: dict[int, str] = {}
        for interpreter in dict.fromkeys(thread.interpreter for thread in threads):
            names |= thread_names(self._reader, interpreter)
        return names

    def _active(self, sample: Sample, holders: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Which threads are on a CPU, or in its queue; read anew where that may have changed."""
        active: npt.NDArray[np.bool_] = self._stays.active.copy()
        turn = np.arange(len(active)) % _STATES_IN == self.samples % _STATES_IN
        for index in np.flatnonzero(turn | holders | (sample.stacks != self._stays.stacks)).tolist():
            active[index] = self._is_on_cpu(self._rows[index][1])
        return active

    def _is_on_cpu(self, tid: int | None) -> bool:
        try:
            return tid is not None and parse_stat(self.proc.read(f"task/{tid}/stat")).state == "R"
        except (PermissionError, *GONE):
            return False

    def _end_stays(self) -> None:
        for index, run in self._stays.end():
            self._rows[index][0].add(run)


class _Stays:
    """How long each thread has been where it is: arrays, so that a sample costs nothing for a thread that stays."""

    def __init__(self, count: int) -> None:
        self.stacks = np.full(count, TORN, np.int64)
        self.active = np.zeros(count, np.bool_)
        self._owns_gil = np.zeros(count, np.bool_)
        self._since_s = np.zeros(count)
        self._until_s = np.zeros(count)
        self._samples = np.zeros(count, np.int64)

    def go_on(
        self,
        at_s: float,
        stacks: npt.NDArray[np.int64],
        active: npt.NDArray[np.bool_],
        owns_gil: npt.NDArray[np.bool_],
    ) -> list[tuple[int, StackRun]]:
        """One more sample; returns the stays that it ended, by thread. A torn stack says nothing."""
        seen = stacks != TORN
        changed = (stacks != self.stacks) | (active != self.active) | (owns_gil != self._owns_gil)
        new = seen & changed
        ended = [(index, self._run(index)) for index in np.flatnonzero(new & (self._samples > 0)).tolist()]
        self.stacks[new], self.active[new], self._owns_gil[new] = stacks[new], active[new], owns_gil[new]
        self._since_s[new], self._samples[new] = at_s, 0
        self._until_s[seen] = at_s
        self._samples[seen] += 1
        return ended

    def end(self) -> list[tuple[int, StackRun]]:
        """The stays that last, by thread."""
        return [(index, self._run(index)) for index in np.flatnonzero(self._samples).tolist()]

    def _run(self, index: int) -> StackRun:
        return StackRun(
            float(self._since_s[index]),
            float(self._until_s[index]),
            int(self._samples[index]),
            int(self.stacks[index]),
            bool(self.active[index]),
            bool(self._owns_gil[index]),
        )
