"""Which functions the CPU time goes to."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from doctor.model.evidence.stacks import Frame
from doctor.model.view import ProcessView, ThreadView


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


def hottest(process: ProcessView, at_least: float) -> HotFunction | None:
    """The innermost function of the application that at least this share of all on-CPU samples passed through.

    Falls back to packages, then to the standard library, for code that has no application frame.
    """
    total = 0.0
    shares: defaultdict[tuple[str, str], float] = defaultdict(float)
    depths: dict[tuple[str, str], int] = {}
    seen: defaultdict[tuple[str, str], dict[tuple[Frame, int], float]] = defaultdict(dict)
    threads = {thread.activity.tid: thread for thread in process.threads}
    for thread in process.threads:
        for frames, count in on_cpu(thread):
            total += count
            for depth, frame in _functions(frames):
                key = frame.file, frame.function
                shares[key] += count
                depths[key] = max(depths.get(key, 0), depth)
                place = frame, thread.activity.tid
                seen[key][place] = seen[key].get(place, 0.0) + count
    candidates = [key for key, count in shares.items() if total and count / total >= at_least]
    if not candidates:
        return None
    best = max(candidates, key=lambda key: (depths[key], -shares[key]))
    frame, tid = max(seen[best], key=lambda place: seen[best][place])
    return HotFunction(frame, threads[tid], shares[best] / total, total)


def _functions(frames: tuple[Frame, ...]) -> list[tuple[int, Frame]]:
    """Each application function of a stack once, with its depth from the root.

    The outermost of several is left out: everything a program does passes through where it begins.
    """
    for origin in ("application", "package", "stdlib"):
        own = [(depth, frame) for depth, frame in enumerate(reversed(frames)) if frame.origin == origin]
        own = own[1:] if len(own) > 1 else own
        if own:
            return list({(frame.file, frame.function): (depth, frame) for depth, frame in own}.values())
    return []
