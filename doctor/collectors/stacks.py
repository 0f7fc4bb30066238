"""Python stacks of all threads, as often as a budget of CPU time allows."""

from __future__ import annotations

import time
from collections.abc import Iterator

from doctor.backends import pyspy
from doctor.collectors.base import Capture, Collector
from doctor.model.bundle import Skipped
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.target import ProcessRef
from doctor.procfs.access import Denial, denial
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_status
from doctor.remote.thread_ids import kernel_ids

_SHARE = 0.15
_INTERVAL_S = 0.1
_DUMP_TIMEOUT_S = 5.0
_MAX_PROCESSES = 8
_GIVE_UP_AFTER = 3


class StacksCollector(Collector):
    """Lets py-spy read the processes in turn."""

    kind = Stacks
    cost = "at most 15 % of a core; the rate sinks with the number of threads; the target is not stopped"
    right = "ptrace rights"
    deadline_s = _DUMP_TIMEOUT_S + 1
    decisive = True

    def obstacle(self, proc: ProcDir) -> Denial | None:
        """Missing rights, or a missing py-spy."""
        if pyspy.executable() is None:
            return Denial("py-spy is not installed beside doctor", "pip install py-spy")
        return denial(proc)

    def collect(self, capture: Capture) -> Iterator[Stacks | Skipped]:
        """The stacks of each process; of a large family, of the first few."""
        samplers = []
        present = capture.present()
        for ref, proc in present[:_MAX_PROCESSES]:
            obstacle = self.obstacle(proc)
            if obstacle:
                yield self.skipped(obstacle, (ref.pid,))
                continue
            try:
                samplers.append(_Sampler(ref, proc))
            except GONE:
                continue
        if len(present) > _MAX_PROCESSES:
            yield _too_many([ref.pid for ref, _ in present[_MAX_PROCESSES:]])
        _sample(capture, samplers)
        for sampler in samplers:
            yield from sampler.results(self)


def _too_many(pids: list[int]) -> Skipped:
    return Skipped(
        collector="stacks",
        reason=f"{len(pids)} further processes of this service were not sampled, to stay within the CPU budget",
        remedy="name one of them: doctor diagnose PID",
        pids=tuple(pids),
    )


def _sample(capture: Capture, samplers: list[_Sampler]) -> None:
    """Goes round until the window ends, spending no more than the budget."""
    began_s, began_cpu_s = capture.now_s(), _own_cpu_s()
    going = True
    while going and any(sampler.going for sampler in samplers):
        round_began_s = capture.now_s()
        for sampler in samplers:
            if going and sampler.going:
                sampler.sample(capture)
                spent_s = _own_cpu_s() - began_cpu_s
                going = capture.sleep(began_s + spent_s / _SHARE - capture.now_s())
        going = going and capture.sleep(round_began_s + _INTERVAL_S - capture.now_s())


def _own_cpu_s() -> float:
    return time.thread_time() + pyspy.cpu_s()


class _Sampler:
    """The samples of one process, with equal frames and stacks stored once."""

    def __init__(self, ref: ProcessRef, proc: ProcDir) -> None:
        self._ref = ref
        self._proc = proc
        self._frames: dict[Frame, int] = {}
        self._stacks: dict[tuple[int, ...], int] = {}
        self._threads: dict[tuple[int, int | None], _Thread] = {}
        self._shares_namespace = _namespace_id(proc, proc.pid) == proc.pid
        self._samples = 0
        self._errors: list[str] = []

    @property
    def going(self) -> bool:
        """Whether another attempt makes sense."""
        return self._proc.alive() and (self._samples > 0 or len(self._errors) < _GIVE_UP_AFTER)

    def sample(self, capture: Capture) -> None:
        """One dump. What it shows counts only if the process is still the one that was opened."""
        began_s = capture.now_s()
        try:
            dumped = pyspy.dump(self._ref.pid, _DUMP_TIMEOUT_S)
        except pyspy.PySpyError as error:
            if self._proc.alive():
                self._errors.append(str(error))
            return
        at_s = round((began_s + capture.now_s()) / 2, 3)
        if not self._proc.alive():
            return
        self._samples += 1
        tids = self._kernel_ids(dumped)
        for thread in dumped:
            key = thread.thread_id, tids.get(thread.thread_id)
            known = self._threads.setdefault(key, _Thread(thread.thread_name))
            told = thread.os_thread_id is not None
            known.add(at_s, self._stack(thread), thread.active if told else None, owns_gil=thread.owns_gil)

    def _stack(self, thread: pyspy.DumpThread) -> int:
        path = tuple(
            self._frames.setdefault(Frame(frame.filename, frame.line, frame.name), len(self._frames))
            for frame in thread.frames
        )
        return self._stacks.setdefault(path, len(self._stacks))

    def _kernel_ids(self, dumped: list[pyspy.DumpThread]) -> dict[int, int]:
        """The kernel's thread id, as this host counts, by pthread id; a pthread id is used again by later threads."""
        told = {thread.thread_id: thread.os_thread_id for thread in dumped if thread.os_thread_id is not None}
        try:
            tids = self._proc.tids()
            host_ids = {tid if self._shares_namespace else _namespace_id(self._proc, tid): tid for tid in tids}
            found = told or kernel_ids(self._proc, [thread.thread_id for thread in dumped], host_ids)
        except (PermissionError, *GONE):
            return {}
        return {pthread: host_ids[tid] for pthread, tid in found.items() if tid in host_ids}

    def results(self, collector: StacksCollector) -> Iterator[Stacks | Skipped]:
        """The evidence, or why there is none."""
        if self._samples:
            yield self._evidence()
        elif self._errors:
            yield collector.skipped(
                Denial(
                    f"py-spy could not read process {self._ref.pid}: {self._errors[-1]}",
                    f"try it by hand: py-spy dump --nonblocking --pid {self._ref.pid}; "
                    "a Python newer than this py-spy needs pip install --upgrade py-spy",
                ),
                (self._ref.pid,),
            )
        elif self._proc.alive():
            too_short = f"the window was too short to read the stacks of process {self._ref.pid}"
            yield collector.skipped(Denial(too_short, "look longer: --duration 10"), (self._ref.pid,))

    def _evidence(self) -> Stacks:
        return Stacks(
            pid=self._ref.pid,
            sampler=f"{pyspy.version()} --nonblocking",
            samples=self._samples,
            errors=len(self._errors),
            frames=tuple(self._frames),
            stacks=tuple(self._stacks),
            threads=tuple(
                ThreadStacks(tid=tid, name=thread.name, runs=tuple(thread.runs))
                for (_, tid), thread in sorted(self._threads.items(), key=lambda item: item[0][1] or 0)
            ),
        )


class _Thread:
    """One thread's samples, folded into runs as they come."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.runs: list[StackRun] = []

    def add(self, at_s: float, stack: int, active: bool | None, *, owns_gil: bool) -> None:
        last = self.runs[-1] if self.runs else None
        if last and (last.stack, last.active, last.owns_gil) == (stack, active, owns_gil):
            self.runs[-1] = StackRun(last.at_s, at_s, last.samples + 1, stack, active, owns_gil)
        else:
            self.runs.append(StackRun(at_s, at_s, 1, stack, active, owns_gil))


def _namespace_id(proc: ProcDir, tid: int) -> int:
    return int(parse_status(proc.read(f"task/{tid}/status")).get("NSpid", str(tid)).split()[-1])
