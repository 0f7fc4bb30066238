"""Folds what was seen of every thread into groups of equal stacks: the pure part of `doctor stacks`.

The sampler tells stacks and who is on a CPU, /proc tells what a thread waits for, and the two look at different
moments. So each stay in a stack takes the waits that /proc saw in that time, save those that the sampler rules out.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from operator import attrgetter
from typing import NamedTuple

import msgspec

from doctor import __version__
from doctor.model.bundle import Bundle
from doctor.model.diagnosis import diagnosed
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, application_frame
from doctor.model.evidence.threads import ThreadActivity, Threads, Wait, WaitReason
from doctor.model.stack_report import (
    STATES,
    GroupedThread,
    ReportedFrame,
    ReportedWait,
    SampledProcess,
    StackGroup,
    StackReport,
    State,
    Stay,
    Timeline,
)
from doctor.model.view import Frames, ProcessView, processes
from doctor.model.work import waits_for_work

_MOSTLY = 0.5
_SOME = 0.1
"""A smaller part of one thread's samples is what two looks at different moments make of one change."""


class _Kind(NamedTuple):
    """A wait without what differs between threads that wait for the same."""

    reason: WaitReason
    syscall: str | None = None
    resource: str | None = None
    peer: str | None = None
    inbound: bool = False


_RUNNING = _Kind("running")


class _Thread(NamedTuple):
    pid: int
    tid: int | None
    name: str
    number: int
    """Among the threads of its process: two that could not be found by the kernel's id may have one name."""


class _Key(NamedTuple):
    """What threads of a group have in common: the stack or, where none could be read, the wait."""

    frames: Frames
    wait: _Kind | None = None


class _Seen(NamedTuple):
    """One thread in one stack for one or more samples in a row."""

    thread: _Thread
    key: _Key
    at_s: float
    until_s: float
    samples: int
    owns_gil: bool
    waits: Mapping[_Kind, float]
    """Shares of the samples; none where /proc told nothing of the thread."""
    timeouts: Mapping[_Kind, set[float | None]]


def stack_report(bundle: Bundle) -> StackReport:
    """Every thread's stacks, equal ones once, those first that a person should read first."""
    views = processes(bundle)
    seen = [one for view in views for one in _seen(view)]
    groups = _groups(seen)
    index = {key: number for number, key in enumerate(groups)}
    return StackReport(
        doctor_version=__version__,
        target=diagnosed(bundle.target),
        window=bundle.window,
        processes=tuple(map(_process, views)),
        groups=tuple(groups.values()),
        timelines=tuple(
            Timeline(pid=thread.pid, tid=thread.tid, name=thread.name, stays=tuple(_stays(stays, index)))
            for thread, stays in groupby(seen, attrgetter("thread"))
        ),
        skipped=bundle.skipped,
        cost=bundle.cost,
    )


def _seen(process: ProcessView) -> Iterator[_Seen]:
    """Each stay of each thread, with its stack where one could be read; a thread's stays come together."""
    stacks, threads = process.find(Stacks), process.find(Threads)
    told = {activity.tid: _Told(activity, threads.waits) for activity in threads.threads} if threads else {}
    if stacks is None:
        yield from (one for activity in told.values() for one in activity.without_stacks(process.ref.pid))
        return
    for number, thread in enumerate(stacks.threads):
        activity = told.get(thread.tid or 0)
        identity = _Thread(process.ref.pid, thread.tid, thread.name or (activity.comm if activity else "?"), number)
        for run in thread.runs:
            waits = _waits_during(run, activity)
            timeouts = activity.timeouts if activity else {}
            key = _Key(stacks.frames_of(run.stack))
            yield _Seen(identity, key, run.at_s, run.until_s, run.samples, run.owns_gil, waits, timeouts)


class _Told:
    """What /proc tells of one thread over the window."""

    def __init__(self, activity: ThreadActivity, waits: Sequence[Wait]) -> None:
        self.comm = activity.comm
        self.timeouts: defaultdict[_Kind, set[float | None]] = defaultdict(set)
        self._activity = activity
        self._kinds = [self._kind(waits[run.wait]) for run in activity.runs]
        # A change is taken to have come half-way between the two ticks that tell of it.
        self._changes = [(one.at_s + one.duration_s + next_.at_s) / 2 for one, next_ in pairwise(activity.runs)]

    def _kind(self, wait: Wait) -> _Kind:
        kind = _Kind(wait.reason, wait.syscall, None if wait.inbound else wait.resource, wait.peer, wait.inbound)
        self.timeouts[kind].add(wait.timeout_s)
        return kind

    def between(self, at_s: float, until_s: float) -> Mapping[_Kind, float]:
        """The shares of this time in each wait."""
        first, last = (bisect_right(self._changes, moment) for moment in (at_s, until_s))
        if first == last:
            return {self._kinds[first]: 1.0}
        shares: defaultdict[_Kind, float] = defaultdict(float)
        edges = pairwise([at_s, *self._changes[first:last], until_s])
        for kind, (begin, end) in zip(self._kinds[first : last + 1], edges, strict=True):
            shares[kind] += (end - begin) / (until_s - at_s)
        return shares

    def without_stacks(self, pid: int) -> Iterator[_Seen]:
        """Its stays, for a process whose stacks could not be read."""
        thread = _Thread(pid, self._activity.tid, self.comm, self._activity.tid)
        for run, kind in zip(self._activity.runs, self._kinds, strict=True):
            until_s = run.at_s + run.duration_s
            yield _Seen(thread, _Key((), kind), run.at_s, until_s, run.ticks, False, {kind: 1.0}, self.timeouts)


def _waits_during(run: StackRun, told: _Told | None) -> Mapping[_Kind, float]:
    if run.active:
        return {_RUNNING: 1.0}
    shares = told.between(run.at_s, run.until_s) if told else {}
    ruled_out = {"running"} if run.active is False else set()
    ruled_out |= {"gil"} if run.owns_gil else set()
    left = {kind: share for kind, share in shares.items() if kind.reason not in ruled_out}
    total = sum(left.values())
    if not total:
        return {_RUNNING: 1.0} if shares else {}
    return {kind: share / total for kind, share in left.items()}


def _groups(seen: Sequence[_Seen]) -> dict[_Key, StackGroup]:
    """The groups in reading order."""
    collected: defaultdict[_Key, list[_Seen]] = defaultdict(list)
    for one in seen:
        collected[one.key].append(one)
    of_samples = _samples(seen)
    groups = [(key, _group(key, members, of_samples)) for key, members in collected.items()]
    return dict(sorted(groups, key=lambda entry: _reading_order(entry[1])))


def _reading_order(group: StackGroup) -> tuple[int, bool, int, int]:
    """Whoever holds the interpreter lock stands before those who wait for it."""
    holds = group.state == "running" and group.owns_gil > 0
    return STATES.index(group.state), not holds, -group.samples, -group.count


def _samples(seen: Iterable[_Seen]) -> Counter[_Thread]:
    samples: Counter[_Thread] = Counter()
    for one in seen:
        samples[one.thread] += one.samples
    return samples


def _group(key: _Key, members: Sequence[_Seen], of_samples: Mapping[_Thread, int]) -> StackGroup:
    threads = _samples(members)
    samples = threads.total()
    waits = _waits(members)
    owns_gil = sum(one.samples for one in members if one.owns_gil) / samples
    own = application_frame(key.frames)
    return StackGroup(
        state=_state(key.frames, waits, owns_gil, samples, len(threads)),
        count=len(threads),
        threads=tuple(
            GroupedThread(pid=one.pid, tid=one.tid, name=one.name, samples=threads[one], of_samples=of_samples[one])
            for one in sorted(threads, key=attrgetter("pid", "number"))
        ),
        samples=samples,
        active=round(_samples_in(waits, "running") / samples, 4),
        owns_gil=round(owns_gil, 4),
        waits=waits,
        frames=tuple(map(_frame, key.frames)),
        where=key.frames.index(own) if own else None,
    )


def _waits(members: Iterable[_Seen]) -> tuple[ReportedWait, ...]:
    """What the members were in, commonest first, with the longest timeout of each."""
    samples: defaultdict[_Kind, float] = defaultdict(float)
    timeouts: defaultdict[_Kind, set[float | None]] = defaultdict(set)
    for one in members:
        for kind, share in one.waits.items():
            samples[kind] += share * one.samples
            timeouts[kind] |= one.timeouts.get(kind, set())
    return tuple(
        ReportedWait(**kind._asdict(), samples=round(samples[kind], 2), timeout_s=_longest(timeouts[kind]))
        for kind in sorted(samples, key=lambda kind: -samples[kind])
    )


def _longest(timeouts: Collection[float | None]) -> float | None:
    """One that waits for ever, which is None, waits longest."""
    known = [timeout for timeout in timeouts if timeout is not None]
    return max(known) if known and len(known) == len(timeouts) else None


def _samples_in(waits: Iterable[ReportedWait], *reasons: WaitReason) -> float:
    return sum(wait.samples for wait in waits if wait.reason in reasons)


def _state(frames: Frames, waits: Sequence[ReportedWait], owns_gil: float, samples: int, threads: int) -> State:
    if max(_samples_in(waits, "running", "gil") / samples, owns_gil) >= _MOSTLY:
        return "running"
    if not frames:
        return "waiting"
    a_thread_s = samples / threads
    asleep = [wait for wait in waits if wait.reason not in ("running", "gil") and wait.samples >= _SOME * a_thread_s]
    told = [Wait(reason=wait.reason, peer=wait.peer, inbound=wait.inbound) for wait in asleep]
    idle = all(waits_for_work(wait, frames) for wait in told or [Wait(reason="other")])
    return "idle" if idle else "waiting"


def _frame(frame: Frame) -> ReportedFrame:
    return ReportedFrame(
        file=frame.file, line=frame.line, function=frame.function, origin=frame.origin, library=frame.library
    )


def _stays(seen: Iterable[_Seen], index: Mapping[_Key, int]) -> Iterator[Stay]:
    """One thread's stays, consecutive ones in the same stack as one."""
    for key, group in groupby(seen, attrgetter("key")):
        runs = list(group)
        yield Stay(runs[0].at_s, runs[-1].until_s, sum(run.samples for run in runs), index[key])


def _process(process: ProcessView) -> SampledProcess:
    stacks = process.find(Stacks)
    return SampledProcess(
        pid=process.ref.pid,
        sampler=stacks.sampler if stacks else None,
        samples=stacks.samples if stacks else 0,
        errors=stacks.errors if stacks else 0,
        native=dict(sorted(_native(process).items())),
    )


def _native(process: ProcessView) -> Counter[str]:
    """Threads without Python stack, by name; those that came and went may have been missed by the sampler."""
    stacks, threads = process.find(Stacks), process.find(Threads)
    known = {thread.tid for thread in stacks.threads} if stacks else set()
    if stacks is None or threads is None or None in known:
        return Counter()
    return Counter(
        activity.comm
        for activity in threads.threads
        if activity.tid not in known and activity.last_s - activity.first_s >= _MOSTLY * process.window_s
    )


def with_source(report: StackReport, lookup: Callable[[int, str, int], str | None]) -> StackReport:
    """The same with the text of the application's own lines.

    `lookup` gives the text of a line by PID, file and number, or None.
    """
    return msgspec.structs.replace(report, groups=tuple(_with_source(group, lookup) for group in report.groups))


def _with_source(group: StackGroup, lookup: Callable[[int, str, int], str | None]) -> StackGroup:
    frames = tuple(
        msgspec.structs.replace(frame, source=lookup(group.threads[0].pid, frame.file, frame.line))
        if frame.origin == "application" or number == group.where
        else frame
        for number, frame in enumerate(group.frames)
    )
    return msgspec.structs.replace(group, frames=frames)
