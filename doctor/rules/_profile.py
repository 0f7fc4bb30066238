"""Which functions the CPU time goes to."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, NamedTuple

from doctor.model.evidence.stacks import Frame
from doctor.model.view import ProcessView, ThreadView

_Function = tuple[str, str]
"""File and name."""

_FEW = 2
"""What takes the CPU in one place is one or two calls there; a dispatcher's is spread over all that it may call."""


class HotFunction(NamedTuple):
    """A function and the share of on-CPU samples that had it on their stack."""

    frame: Frame
    """The line of it that was seen most."""
    thread: ThreadView
    share: float
    samples: float


def on_cpu(thread: ThreadView) -> list[tuple[tuple[Frame, ...], float]]:
    """Stacks of a thread with the number of samples that saw them on a CPU.

    Where the sampler cannot tell (before Python 3.11) a stack counts with the share of the time that the kernel saw
    the thread run. A thread that waits for the interpreter lock wakes up every few milliseconds to ask for it: of one
    that waits for it more than it runs, only the samples that hold it show what takes the CPU.
    """
    share = thread.share("running")
    waits_for_gil = thread.share("gil") > share
    counts = []
    for run, frames in thread.stack_runs():
        runs = float(run.active and (run.owns_gil or not waits_for_gil)) if run.active is not None else share
        counts.append((frames, run.samples * runs))
    return [(frames, count) for frames, count in counts if count]


class _Profile:
    """On-CPU samples by function."""

    def __init__(self) -> None:
        self.total = 0.0
        self.samples: defaultdict[_Function, float] = defaultdict(float)
        self.depth: defaultdict[_Function, int] = defaultdict(int)
        self.places: defaultdict[_Function, defaultdict[tuple[Frame, int], float]] = defaultdict(_counts)
        self._callees: defaultdict[_Function, defaultdict[_Function | None, float]] = defaultdict(_counts)

    def add(self, thread: ThreadView, frames: tuple[Frame, ...], count: float) -> None:
        """Counts a stack for every function on it."""
        self.total += count
        functions = _functions(frames)
        inner: list[_Function | None] = [*(function for function, _, _ in functions[1:]), None]
        for (function, depth, frame), callee in zip(functions, inner, strict=True):
            self.samples[function] += count
            self.depth[function] = max(self.depth[function], depth)
            self.places[function][frame, thread.activity.tid] += count
            self._callees[function][callee] += count

    def share(self, function: _Function) -> float:
        """The share of all samples that pass through a function."""
        return self.samples[function] / self.total

    def is_a_place(self, function: _Function, at_least: float) -> bool:
        """Whether the samples below a function stay together; those below a dispatcher spread over many others."""
        heaviest = sorted(self._callees[function].values(), reverse=True)[:_FEW]
        return sum(heaviest) / self.total >= at_least


def hottest(process: ProcessView, at_least: float) -> HotFunction | None:
    """The innermost function of the application that at least this share of all on-CPU samples passed through.

    Falls back to packages, then to the standard library, for code that has no application frame.
    """
    profile = _Profile()
    threads = {thread.activity.tid: thread for thread in process.threads}
    for thread in threads.values():
        for frames, count in on_cpu(thread):
            profile.add(thread, frames, count)
    candidates = [
        function
        for function in profile.samples
        if profile.share(function) >= at_least and profile.is_a_place(function, at_least)
    ]
    if not candidates:
        return None
    best = max(candidates, key=lambda function: (profile.depth[function], -profile.samples[function]))
    places = profile.places[best]
    frame, tid = max(places, key=lambda place: places[place])
    return HotFunction(frame, threads[tid], profile.share(best), profile.total)


def _counts() -> defaultdict[Any, float]:
    return defaultdict(float)


def _functions(frames: tuple[Frame, ...]) -> list[tuple[_Function, int, Frame]]:
    """Each application function of a stack once, outermost first, with its depth from the root.

    The outermost of several is left out: everything a program does passes through where it begins.
    """
    for origin in ("application", "package", "stdlib"):
        own = [(depth, frame) for depth, frame in enumerate(reversed(frames)) if frame.origin == origin]
        own = own[1:] if len(own) > 1 else own
        if own:
            once = {(frame.file, frame.function): (depth, frame) for depth, frame in own}
            return [(function, depth, frame) for function, (depth, frame) in once.items()]
    return []
