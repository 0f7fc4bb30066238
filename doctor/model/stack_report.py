"""Who does what, equal stacks once: what `doctor stacks --format json` prints, schema doctor.stacks/1."""

from __future__ import annotations

from typing import Literal

from doctor.model.base import Row, Value
from doctor.model.bundle import Cost, Skipped, Window
from doctor.model.diagnosis import DiagnosedTarget
from doctor.model.evidence.stacks import Frame, Origin
from doctor.model.evidence.threads import WaitReason

SCHEMA = "doctor.stacks/1"

State = Literal["running", "waiting", "idle"]
"""On a CPU, or kept from it by the interpreter lock; in the middle of work; with nothing to do, by design."""

STATES: tuple[State, ...] = ("running", "waiting", "idle")


class ReportedFrame(Value, frozen=True, kw_only=True):
    """One Python frame, and whose code it is."""

    file: str
    line: int
    function: str
    origin: Origin
    library: str
    """The package, or the module of the standard library; empty for the application's own code."""
    source: str | None = None
    """The line itself, where the file could be read and is no newer than the process."""

    @property
    def short_file(self) -> str:
        """The file below the folder of its library."""
        return Frame(self.file, self.line, self.function).short_file


class ReportedWait(Value, frozen=True, kw_only=True):
    """What the threads of a group were in, and in how many of their samples."""

    reason: WaitReason
    syscall: str | None
    resource: str | None
    peer: str | None
    """host:port of a TCP connection that the process opened."""
    inbound: bool
    timeout_s: float | None
    samples: float
    """Worked out from /proc, which is looked at less often than the stacks, so not always a whole number."""


class GroupedThread(Value, frozen=True, kw_only=True):
    """One thread of a group."""

    pid: int
    tid: int | None
    """The kernel's thread id as this host counts; None where it could not be found."""
    name: str
    samples: int
    """How many samples saw it in this stack."""
    of_samples: int
    """How many saw it at all."""


class StackGroup(Value, frozen=True, kw_only=True):
    """Threads that were seen in the same stack: same files, functions and lines."""

    state: State
    count: int
    """How many threads."""
    threads: tuple[GroupedThread, ...]
    samples: int
    """How many samples of all its threads showed this stack."""
    active: float
    """The share of them on a CPU."""
    owns_gil: float
    """The share of them with the interpreter lock in hand."""
    waits: tuple[ReportedWait, ...]
    """Commonest first; time on a CPU is the reason "running". Empty where /proc told nothing of these threads."""
    frames: tuple[ReportedFrame, ...]
    """Innermost first; empty where no stack could be read."""
    where: int | None
    """The frame a person should open, as an index into `frames`."""


class Stay(Row, frozen=True):
    """Consecutive samples of one thread in one stack."""

    at_s: float
    until_s: float
    samples: int
    group: int
    """Index into `StackReport.groups`."""


class Timeline(Value, frozen=True, kw_only=True):
    """One thread over the window."""

    pid: int
    tid: int | None
    name: str
    stays: tuple[Stay, ...]


class SampledProcess(Value, frozen=True, kw_only=True):
    """How well one process could be seen."""

    pid: int
    sampler: str | None
    """The tool and its version; None where no stack could be read."""
    samples: int
    errors: int
    """Attempts that gave no stacks."""
    native: dict[str, int]
    """Threads that Python does not know, counted by the kernel's name for them."""


class StackReport(Value, frozen=True, kw_only=True):
    """Groups of threads, those first that a person should read first."""

    schema: Literal["doctor.stacks/1"] = "doctor.stacks/1"
    doctor_version: str
    target: DiagnosedTarget
    window: Window
    """Without length where every thread was looked at once."""
    processes: tuple[SampledProcess, ...]
    groups: tuple[StackGroup, ...]
    timelines: tuple[Timeline, ...]
    skipped: tuple[Skipped, ...]
    cost: Cost

    @property
    def sampled(self) -> bool:
        """Whether threads were looked at more than once, so that shares mean something."""
        return self.window.duration_s > 0
