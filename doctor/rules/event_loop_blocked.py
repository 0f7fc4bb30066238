"""`event-loop-blocked`: a callback keeps the loop from its other tasks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from doctor.model.evidence.stacks import Frame, Stacks, application_frame
from doctor.model.evidence.threads import Run, Threads, WaitReason
from doctor.model.finding import Finding, Location
from doctor.model.view import ProcessView, ThreadView
from doctor.rules.base import NotVisible, Rule

_LOOPS = (
    ("asyncio/base_events.py", "_run_once", "run_forever", "run_until_complete"),
    ("asyncio/runners.py", "run"),
    ("uvloop/__init__.py", "run"),
    ("trio/_core/_run.py", "unrolled_run", "run"),
)
_BLOCKS: tuple[WaitReason, ...] = (
    "lock",
    "sleep",
    "poll",
    "read",
    "write",
    "connect",
    "child",
    "disk",
    "uninterruptible",
    "other",
)

_COMPUTES = "computes"


class _Stop(NamedTuple):
    """What keeps the loop, in one function."""

    where: Location | None
    function: str
    how: str
    ticks: int
    longest_s: float
    subjects: tuple[str, ...]


class EventLoopBlocked(Rule):
    """A call on the event loop's thread does not return, so that no other task of the loop can run.

    Symptom: all requests are slow at once, health checks time out, one slow request delays unrelated ones.
    Evidence: the loop's thread waits in something other than its selector, or runs without a break in one function;
    its stack in that time.
    Threshold: asyncio's own slow-callback limit of 0.1 s, for a tenth of the window; a second, or half of the window,
    is an error.
    Not to be confused with: a loop that is busy with many short callbacks; threads that the loop handed work to.
    """

    needs = (Threads, Stacks)

    def evaluate(self, process: ProcessView) -> Iterator[Finding]:
        """One finding a loop, for the call that takes the largest share of it."""
        loops = [thread for thread in process.threads if thread.activity.ticks and _is_loop(thread)]
        if loops and not process[Threads].syscalls_readable:
            raise NotVisible(
                Threads, "system calls of the threads may not be read", "doctor preflight names the missing right"
            )
        looks = max(1, process[Threads].ticks)
        for thread in loops:
            stops = [*self._waiting(thread), *self._running(thread)]
            share = sum(stop.ticks for stop in stops) / looks
            worst = max(stops, key=lambda stop: stop.ticks, default=None)
            if worst and share >= self.threshold("share").value and self._lasting(worst, looks):
                yield self._finding(process, thread, stops, worst, share)

    def _lasting(self, worst: _Stop, looks: int) -> bool:
        """Single waits shorter than a tick cannot be timed; then their number must show them."""
        return (
            worst.longest_s >= self.threshold("callback").value
            or worst.ticks >= self.threshold("untimed_share").value * looks
        )

    def _waiting(self, thread: ThreadView) -> list[_Stop]:
        """Synchronous waits, by the function they were called from."""
        groups: defaultdict[tuple[str, str], list[tuple[Run, Frame, str, str | None]]] = defaultdict(list)
        seen = [
            (run, wait, application_frame(thread.frames_during(run, within=_callback)))
            for run, wait in thread.waits(*_BLOCKS)
        ]
        callers = {wait: frame for _, wait, frame in seen if frame}
        for run, wait, sampled in seen:
            frame = sampled or callers.get(wait)  # between two samples: an equal wait was seen there
            if frame:
                target = f" on {wait.resource}" if wait.resource else ""
                groups[frame.file, frame.function].append((run, frame, f"{wait.syscall}{target}", wait.peer))
        return [
            _Stop(
                where=thread.location(rows[0][1]),
                function=function,
                how=f"waits in {rows[0][2]}",
                ticks=sum(run.ticks for run, *_ in rows),
                longest_s=max(run.duration_s for run, *_ in rows),
                subjects=tuple(dict.fromkeys(f"peer:{peer}" for *_, peer in rows if peer)),
            )
            for (_, function), rows in groups.items()
        ]

    def _running(self, thread: ThreadView) -> list[_Stop]:
        """Computation: long stretches without a sleep in which nearly all samples show one function."""
        runs = [run for run, _ in thread.waits("running") if run.duration_s >= self.threshold("callback").value]
        seen = [frame for run in runs for frame in _samples(thread, run)]
        if len(seen) < self.threshold("samples").value:
            return []
        functions = defaultdict(list)
        for frame in filter(None, seen):
            functions[frame.file, frame.function].append(frame)
        (_, function), frames = max(functions.items(), key=lambda item: len(item[1]), default=(("", ""), []))
        if len(frames) < self.threshold("share_of_samples").value * len(seen):
            return []
        return [
            _Stop(
                where=thread.location(max(set(frames), key=frames.count)),
                function=function,
                how=_COMPUTES,
                ticks=sum(run.ticks for run in runs),
                longest_s=max(run.duration_s for run in runs),
                subjects=(f"function:{function}",),
            )
        ]

    def _finding(
        self, process: ProcessView, thread: ThreadView, stops: Sequence[_Stop], worst: _Stop, share: float
    ) -> Finding:
        severe = (
            worst.longest_s >= self.threshold("callback_error").value or share >= self.threshold("share_error").value
        )
        return Finding(
            level="error" if severe else "warning",
            confidence="possible" if worst.how == _COMPUTES else "probable",
            title=f"{worst.function} blocks the event loop: the loop stands still {share:.0%} of the time",
            explanation=(
                "A coroutine called something that blocks its thread, and all tasks of the loop wait with it. Await an "
                "asynchronous call instead, or hand the work to a thread: await asyncio.to_thread(…)."
            ),
            where=tuple(stop.where for stop in sorted(stops, key=lambda stop: -stop.ticks) if stop.where),
            subjects=(thread.subject, f"loop:{thread.activity.tid}", *worst.subjects),
            measurements={
                "share": self.threshold("share").measured(share),
                "longest": self.threshold("callback").measured(worst.longest_s),
            },
            evidence=(
                f"the loop's thread {worst.how} in {worst.ticks} of {thread.activity.ticks} looks, called from "
                f"{worst.function}",
                f"longest unbroken stop {worst.longest_s:.1f} s in a window of {process.window_s:.1f} s",
            ),
            fingerprint=f"{worst.where.file if worst.where else ''}:{worst.function}",
        )


def _is_loop(thread: ThreadView) -> bool:
    return any(_loop_depth(frames) is not None for _, frames in thread.stack_runs())


def _loop_depth(frames: tuple[Frame, ...]) -> int | None:
    """How many frames the loop has called; None for a stack without a loop."""
    return next((n for n, frame in enumerate(frames) if any(frame.is_in(*place) for place in _LOOPS)), None)


def _callback(frames: tuple[Frame, ...]) -> tuple[Frame, ...]:
    """What the loop has called; nothing while it waits for events, in whatever selector."""
    called = frames[: _loop_depth(frames) or 0]
    return () if all(frame.is_in("/selectors.py") for frame in called) else called


def _samples(thread: ThreadView, run: Run) -> Iterator[Frame | None]:
    """The application's frame above the loop in each sample that was taken during a run."""
    end = run.at_s + run.duration_s
    for stacks, frames in thread.stack_runs():
        if run.at_s <= stacks.at_s <= end:
            yield from [application_frame(_callback(frames))] * stacks.samples
