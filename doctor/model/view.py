"""One process as a rule sees it: its evidence by kind, and /proc and Python's view of each thread side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

from doctor.model.bundle import Bundle
from doctor.model.evidence import Evidence
from doctor.model.evidence.host import Host
from doctor.model.evidence.process import Process
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks, application_frame
from doctor.model.evidence.threads import Run, ThreadActivity, Threads, Wait, WaitReason
from doctor.model.finding import Location
from doctor.model.target import ProcessRef

E = TypeVar("E", bound=Evidence)
Frames = tuple[Frame, ...]
"""A stack, or a part of one, innermost first."""
Part = Callable[[Frames], Frames]


class ThreadView:
    """One thread: what the kernel saw it do, and the Python stacks it had."""

    def __init__(self, pid: int, activity: ThreadActivity, threads: Threads, stacks: Stacks | None) -> None:
        self.pid = pid
        self.activity = activity
        self._waits = threads.waits
        self._stacks = stacks
        self.stacks: ThreadStacks | None = (
            next((thread for thread in stacks.threads if thread.tid == activity.tid), None) if stacks else None
        )

    @property
    def subject(self) -> str:
        """The thread as a finding's subject."""
        return f"thread:{self.activity.tid}"

    @property
    def name(self) -> str:
        """The name `threading` knows, else the kernel's."""
        return (self.stacks and self.stacks.name) or self.activity.comm

    @property
    def observed_s(self) -> float:
        """How long the capture saw the thread."""
        return self.activity.last_s - self.activity.first_s

    @property
    def cpu_cores(self) -> float:
        """CPU per second observed."""
        return self.activity.cpu_s / self.observed_s if self.observed_s else 0.0

    def waits(self, *reasons: WaitReason) -> Iterator[tuple[Run, Wait]]:
        """The runs in one of these waits."""
        return ((run, wait) for run, wait in self.runs() if wait.reason in reasons)

    def share(self, *reasons: WaitReason) -> float:
        """The share of its time that the thread spent in these waits.

        Ticks tell which waits, the scheduler's clocks how long it slept: a look catches a wait of microseconds less
        often than it should.
        """
        seen = sum(run.ticks for run, _ in self.waits(*reasons))
        ticks = self.activity.ticks
        if self.activity.runqueue_s is None or not self.observed_s:
            return seen / ticks if ticks else 0.0
        awake = min(1.0, (self.activity.cpu_s + self.activity.runqueue_s) / self.observed_s)
        running = sum(run.ticks for run, _ in self.waits("running"))
        asleep_of = ticks - running
        among_asleep = (seen - (running if "running" in reasons else 0)) / asleep_of if asleep_of else 0.0
        return (awake if "running" in reasons else 0.0) + (1 - awake) * among_asleep

    def runs(self) -> Iterator[tuple[Run, Wait]]:
        """Every run of the window with its wait."""
        for run in self.activity.runs:
            yield run, self._waits[run.wait]

    def stack_runs(self) -> Iterator[tuple[StackRun, Frames]]:
        """Every run of equal stacks with its frames, innermost first."""
        if self._stacks and self.stacks:
            for run in self.stacks.runs:
                yield run, self._stacks.frames_of(run.stack)

    def frames_during(self, run: Run, tolerance_s: float = 0.15, within: Part = lambda frames: frames) -> Frames:
        """The stack most often sampled while `run` lasted; empty when no sample fell into it.

        Stacks are taken a few times a second, so one taken up to `tolerance_s` away counts.

        Args:
            run: the stay to look at.
            tolerance_s: how far away from it a sample may lie.
            within: the part of a stack that counts; a stack without such a part is passed over.
        """
        overlaps: dict[Frames, float] = {}
        begin, end = run.at_s - tolerance_s, run.at_s + run.duration_s + tolerance_s
        for stacks, frames in self.stack_runs():
            overlap_s = min(end, stacks.until_s) - max(begin, stacks.at_s)
            part = within(frames) if overlap_s >= 0 else ()
            if part:
                overlaps[part] = overlaps.get(part, 0.0) + overlap_s
        return max(overlaps, key=lambda frames: overlaps[frames], default=())

    def location(self, frame: Frame) -> Location:
        """A frame of this thread as a finding's location."""
        return Location(file=frame.file, line=frame.line, function=frame.function, thread=self.name, pid=self.pid)

    def application_location(self, frames: Frames) -> Location | None:
        """The line of a stack that a person should open."""
        frame = application_frame(frames)
        return self.location(frame) if frame else None


class ProcessView:
    """The evidence about one process of a bundle, and about the host it runs on."""

    def __init__(self, ref: ProcessRef, bundle: Bundle) -> None:
        self.ref = ref
        self.window_s = bundle.window.duration_s
        self._bundle = bundle

    def find(self, kind: type[E]) -> E | None:
        """Evidence of a kind, or None; the host's is every process's."""
        return self._bundle.find(kind, None if kind is Host else self.ref.pid)

    def __getitem__(self, kind: type[E]) -> E:
        evidence = self.find(kind)
        if evidence is None:
            raise KeyError(kind.__name__)
        return evidence

    @cached_property
    def threads(self) -> Sequence[ThreadView]:
        """All threads that /proc showed; `Threads` must be there, `Stacks` may be missing."""
        threads, stacks = self[Threads], self.find(Stacks)
        return [ThreadView(self.ref.pid, activity, threads, stacks) for activity in threads.threads]

    @property
    def watched_s(self) -> float:
        """From the first to the last look at its threads; less than the window where doctor itself waited for a CPU."""
        looked = [thread.activity for thread in self.threads]
        return max(one.last_s for one in looked) - min(one.first_s for one in looked) if looked else 0.0

    def cpu_s(self, threads: Sequence[ThreadView]) -> float:
        """CPU time that these threads used during the window."""
        return sum(thread.activity.cpu_s for thread in threads)

    def runqueue_s(self, threads: Sequence[ThreadView]) -> float | None:
        """Time that these threads, summed, were runnable without a CPU; None where the kernel does not tell."""
        waits = [thread.activity.runqueue_s for thread in threads if thread.activity.runqueue_s is not None]
        return sum(waits) if waits else None

    def kept_from_cpu_s(self, threads: Sequence[ThreadView]) -> float | None:
        """Time in which these threads would have run, had others not held the CPUs; None where it is not known.

        Threads that wait for the interpreter lock wake up again and again and wait for a CPU too, while another
        thread of the same process runs. So they lost no more than the rest of the cores that they fill in part: one
        for those that the interpreter lock holds to one core.
        """
        waited_s, used_s = self.runqueue_s(threads), self.cpu_s(threads)
        if waited_s is None:
            return None
        usable_s = max(1, math.ceil(used_s / self.window_s)) * self.window_s
        return min(waited_s, max(0.0, usable_s - used_s))

    @property
    def is_server(self) -> bool:
        """Whether it listens on TCP or holds accepted connections: somebody waits for its answers."""
        process = self.find(Process)
        return process is not None and bool(
            process.listens_on or any((sample.fds or {}).get("tcp-inbound") for sample in process.samples)
        )


def processes(bundle: Bundle) -> list[ProcessView]:
    """A view of each process of the target."""
    return [ProcessView(ref, bundle) for ref in bundle.target.processes]
