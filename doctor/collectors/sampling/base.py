"""What all samplers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from doctor.collectors.base import Capture
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.target import ProcessRef
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_status
from doctor.remote.thread_ids import kernel_ids


class StackSampler(ABC):
    """Samples one process over the window."""

    interval_s: float
    """How often it samples where the budget allows."""

    def __init__(self, ref: ProcessRef, proc: ProcDir) -> None:
        self.ref = ref
        self.proc = proc
        self.samples = 0
        self.errors: list[str] = []
        """Why samples failed."""
        self.dropped = 0
        self._shares_namespace = _namespace_id(proc, proc.pid) == proc.pid

    @property
    @abstractmethod
    def going(self) -> bool:
        """Whether another attempt makes sense."""

    @abstractmethod
    def sample(self, capture: Capture) -> None:
        """One sample. What it shows counts only if the process is still the one that was opened."""

    @abstractmethod
    def evidence(self) -> Stacks:
        """What was seen."""

    def host_ids(self) -> dict[int, int]:
        """The kernel's thread ids as this host counts, by those that the process itself knows.

        Raises:
            FileNotFoundError, ProcessLookupError: the process has ended.
        """
        tids = self.proc.tids()
        if self._shares_namespace:
            return {tid: tid for tid in tids}
        return {_namespace_id(self.proc, tid): tid for tid in tids}

    def kernel_ids(self, pthreads: Sequence[int], told: dict[int, int]) -> dict[int, int]:
        """The kernel's thread ids as this host counts, by pthread id; `told` are those the interpreter knows."""
        try:
            host_ids = self.host_ids()
            found = told or kernel_ids(self.proc, pthreads, host_ids)
        except (PermissionError, *GONE):
            return {}
        return {pthread: host_ids[tid] for pthread, tid in found.items() if tid in host_ids}


class Timeline:
    """One thread's samples, folded into runs as they come."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.runs: list[StackRun] = []

    def add(self, run: StackRun) -> None:
        """More samples, which go on with the last run if they show the same."""
        last = self.runs[-1] if self.runs else None
        if last and (last.stack, last.active, last.owns_gil) == (run.stack, run.active, run.owns_gil):
            samples = last.samples + run.samples
            self.runs[-1] = StackRun(last.at_s, run.until_s, samples, run.stack, run.active, run.owns_gil)
        else:
            self.runs.append(run)

    def stacks(self, tid: int | None) -> ThreadStacks:
        """As evidence."""
        return ThreadStacks(tid=tid, name=self.name, runs=tuple(self.runs))


class StackNumbers:
    """Frames and stacks, each stored once."""

    def __init__(self) -> None:
        self.frames: dict[Frame, int] = {}
        self.stacks: dict[tuple[int, ...], int] = {}

    def number(self, frames: Sequence[Frame]) -> int:
        """The index of a stack."""
        path = tuple(self.frames.setdefault(frame, len(self.frames)) for frame in frames)
        return self.stacks.setdefault(path, len(self.stacks))


def _namespace_id(proc: ProcDir, tid: int) -> int:
    return int(parse_status(proc.read(f"task/{tid}/status")).get("NSpid", str(tid)).split()[-1])
