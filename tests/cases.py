"""What a process did, in a few lines of YAML, turned into a real bundle of real evidence.

A situation says what happened; what the collectors would have seen of it is worked out here. So it cannot hold what no
collector brings, and stays readable: a thread reads from 10.0.0.5:80 for ten seconds, instead of a table of ticks.

In a stack, innermost frame first, `socket.py:718 readinto` is a file of the standard library, known by its name,
`site-packages/flask/app.py:880 dispatch_request` one of a package, and anything else the application's own. `started`
stands for the frames of `threading` below a thread's target.
"""

from __future__ import annotations

import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Literal, NamedTuple

import msgspec

from doctor.model.base import Value
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence import Evidence, kind_of
from doctor.model.evidence.cgroup import Cgroup, CpuQuota, MemoryLimit, MemorySample
from doctor.model.evidence.host import Host, HostMemory, Pressure
from doctor.model.evidence.process import FdGroup, Limits, Process, ProcessSample
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.evidence.threads import Run, ThreadActivity, Threads, Wait, WaitReason
from doctor.model.target import ProcessRef, Target

PID = 100
_BEGAN = "2024-01-01T00:00:00Z"
_MB = 1_000_000
_TICK_MS = 100
_TIMELESS = ("running", "stopped", "unreadable")
_SYSCALLS: dict[str, str] = {
    "accept": "accept4", "child": "wait4", "disk": "fsync", "epoll": "epoll_wait", "gil": "futex", "lock": "futex",
    "read": "recvfrom", "sleep": "clock_nanosleep", "uninterruptible": "vfork", "write": "sendto",
}  # fmt: skip
_FRAME = re.compile(r"(.+):(\d+) (.+)")
_STARTED = ("threading.py:982 run", "threading.py:1045 _bootstrap_inner", "threading.py:1002 _bootstrap")

Series = float | tuple[float, ...]
"""A constant, or values at equal distances over the window with straight lines between them."""


class Details(Value, frozen=True, kw_only=True):
    """What the kernel tells of a wait, and the stack in that time where it is not the thread's usual one."""

    syscall: str | None = None
    peer: str | None = None
    resource: str | None = None
    inbound: bool = False
    timeout: float | None = None
    stack: tuple[str, ...] | None = None


class Stay(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`[read, 0.4, {peer: "10.0.0.5:80"}]`: what a thread is in, and for how many seconds."""

    reason: WaitReason
    seconds: float
    details: Details = Details()


class ThreadSpec(Value, frozen=True, kw_only=True):
    """Threads that do the same; what they do is repeated until the window, or their life, ends."""

    name: str
    """A `#` becomes 1, 2, …"""
    count: int = 1
    does: tuple[Stay, ...]
    stack: tuple[str, ...] = ()
    """Empty for a thread that Python does not know."""
    alive: tuple[float, float] | None = None
    cpu: float | None = None
    """Seconds; without it, the time spent running."""
    runqueue: float | None = 0.0
    """Seconds; null on a kernel without scheduler statistics."""
    slices: int | None = None


class ProcessSpec(Value, frozen=True, kw_only=True):
    """The process from outside."""

    looks: int = 21
    cpus: int = 4
    rss_mb: Series = 200.0
    vms_mb: Series = 600.0
    fds: dict[str, Series] = msgspec.field(default_factory=dict)
    close_wait: dict[str, Series] = msgspec.field(default_factory=dict)
    backlog: Series = 0.0
    unread: Series = 0.0
    zombies: tuple[tuple[int, ...], ...] = ((),)
    """PIDs, each group of them for an equal part of the window; they are looked for at full seconds."""
    fd_groups: tuple[FdGroup, ...] = ()
    open_files: int | None = 1024
    address_space_mb: float | None = None
    listens_on: tuple[str, ...] = ()


class MemorySpec(Value, frozen=True, kw_only=True):
    """The memory limit of the process's control group, and what is charged to it, page cache included."""

    limit_mb: int
    charged_mb: Series
    inactive_cache_mb: Series = 0.0
    oom_kills: int = 0


class HostSpec(Value, frozen=True, kw_only=True):
    """The machine."""

    cpus: int = 4
    load: float = 0.5
    memory_mb: int = 16_000
    available_mb: Series = 12_000.0
    pressure: dict[Literal["cpu", "io"], float] | None = msgspec.field(default_factory=dict)
    """Shares of the window in which some task stalled; null on a kernel without PSI."""


class Situation(Value, frozen=True, kw_only=True):
    """What a process did while it was looked at; what is not said is as in an idle, healthy process."""

    window: float = 10.0
    python: str = "3.12.1"
    stacks_per_s: float = 4.0
    missing: tuple[Literal["threads", "stacks", "process", "cgroup", "host"], ...] = ()
    """Kinds of evidence that the capture does not hold."""
    unreadable: tuple[Literal["syscalls", "descriptors"], ...] = ()
    """What ptrace rights are missing for."""
    threads: tuple[ThreadSpec, ...] = (ThreadSpec(name="main", does=(Stay("epoll", 10),), stack=("shop.py:1 run",)),)
    process: ProcessSpec = ProcessSpec()
    quota: CpuQuota | None = None
    memory: MemorySpec | None = None
    host: HostSpec = HostSpec()


def frame(text: str) -> Frame:
    """`socket.py:718 readinto` as a frame of this file, line and function."""
    match = _FRAME.fullmatch(text)
    if match is None:
        raise ValueError(f"not a frame: {text!r}")
    file, folder = match[1], "/srv"
    if file.startswith("site-packages/"):
        folder = "/venv/lib/python3.12"
    elif file.split("/")[0].removesuffix(".py") in sys.stdlib_module_names:
        folder = "/usr/lib/python3.12"
    return Frame(f"{folder}/{file}", int(match[2]), match[3])


def bundle(*situations: Situation, skipped: Sequence[Skipped] = ()) -> Bundle:
    """What a capture of a service would have brought home: its root process, and its children with the next PIDs."""
    refs = [_ref(pid, one.python) for pid, one in enumerate(situations, PID)]
    evidence = [found for pid, one in enumerate(situations, PID) for found in _evidence(pid, one)]
    evidence += [] if "host" in situations[0].missing else [_host(situations[0])]
    return Bundle(
        target=Target(root=refs[0], children=tuple(refs[1:]), host="shop-1"),
        window=Window(started_at=_BEGAN, duration_s=situations[0].window),
        evidence=tuple(evidence),
        skipped=tuple(skipped),
        cost=Cost(),
    )


def _ref(pid: int, python: str) -> ProcessRef:
    return ProcessRef(pid=pid, ppid=1, start_ticks=pid, started_at=_BEGAN, cmdline=("python",), exe=None, python=python)


def _evidence(pid: int, situation: Situation) -> list[Evidence]:
    specs = [(spec, number) for spec in situation.threads for number in range(1, spec.count + 1)]
    threads = [
        _Thread(situation, spec, number, pid if spec.name == "MainThread" else 70 * pid + 1 + n)
        for n, (spec, number) in enumerate(specs)
    ]
    seen: list[Evidence] = [look(pid, situation, threads) for look in (_threads, _stacks, _process)]
    return [one for one in (*seen, _cgroup(pid, situation)) if kind_of(type(one)) not in situation.missing]


class _Moment(NamedTuple):
    """The begin of a stay, and how often the thread had been given a CPU by then."""

    at_ms: int
    stay: Stay
    slices: int


class _Thread:
    """The timeline of one thread, and what the collectors see of it."""

    def __init__(self, situation: Situation, spec: ThreadSpec, number: int, tid: int) -> None:
        self.situation = situation
        self.spec = spec
        self.tid = tid
        self.name = spec.name.replace("#", str(number))
        self._begin_ms, self._end_ms = (round(1000 * at_s) for at_s in spec.alive or (0.0, situation.window))
        self._timeline = list(self._moments())
        self._begins = [moment.at_ms for moment in self._timeline]

    def _moments(self) -> Iterator[_Moment]:
        at_ms, slices, before = self._begin_ms, 0, ""
        for stay in cycle(self.spec.does):
            slices += stay.reason == "running" or before != "running"
            yield _Moment(at_ms, stay, slices)
            before = stay.reason
            at_ms += round(1000 * stay.seconds)
            if at_ms >= self._end_ms:
                return

    def _index_at(self, at_ms: int) -> int:
        return bisect_right(self._begins, at_ms) - 1

    def alive_at(self, at_ms: int) -> bool:
        return self._begin_ms <= at_ms <= self._end_ms

    def stay_at(self, at_ms: int) -> Stay:
        return self._timeline[self._index_at(at_ms)].stay

    def ran_s(self) -> float:
        """How long it was on a CPU."""
        ends = [*self._begins[1:], self._end_ms]
        lasted = zip(self._timeline, ends, strict=True)
        return sum(end - moment.at_ms for moment, end in lasted if moment.stay.reason == "running") / 1000

    def activity(self, waits: dict[Wait, int]) -> ThreadActivity:
        """What the threads collector makes of it."""
        ticks = [at for at in range(0, round(1000 * self.situation.window) + 1, _TICK_MS) if self.alive_at(at)]
        first, last = (self._timeline[self._index_at(at)].slices for at in (ticks[0], ticks[-1]))
        slices = last - first if self.spec.slices is None else self.spec.slices
        return ThreadActivity(
            tid=self.tid,
            ns_tid=self.tid,
            comm=self.name[:15],
            cpu_s=self.spec.cpu if self.spec.cpu is not None else self.ran_s(),
            runqueue_s=self.spec.runqueue,
            slices=None if self.spec.runqueue is None else slices,
            first_s=ticks[0] / 1000,
            last_s=ticks[-1] / 1000,
            runs=tuple(self._runs(ticks, waits)),
        )

    def _runs(self, ticks: Sequence[int], waits: dict[Wait, int]) -> list[Run]:
        """Ticks folded into runs as `collectors.threads` folds them."""
        runs: list[Run] = []
        last = -1
        for at_ms in ticks:
            now, wait = self._index_at(at_ms), _wait(self.situation, self.stay_at(at_ms))
            index = waits.setdefault(wait, len(waits))
            woken = self._timeline[now].slices - self._timeline[last].slices
            if runs and runs[-1].wait == index and self._goes_on(last, now, wait, woken, runs[-1], at_ms):
                run = runs[-1]
                wakeups = run.wakeups + (0 if wait.timeout_s is None else woken)
                runs[-1] = Run(run.at_s, round(at_ms / 1000 - run.at_s, 3), run.ticks + 1, index, wakeups)
            else:
                runs.append(Run(at_ms / 1000, 0.0, 1, index))
            last = now
        return runs

    def _goes_on(self, last: int, now: int, wait: Wait, woken: int, run: Run, at_ms: int) -> bool:
        """Whether a tick belongs to the run of the last one, which saw an equal wait."""
        slept = any(moment.stay.reason not in _TIMELESS for moment in self._timeline[last : now + 1])
        timeless = wait.reason in _TIMELESS and not (wait.reason == "running" and slept)
        timeouts = 1 + 1.1 * (at_ms / 1000 - run.at_s) / max(wait.timeout_s or 0.0, 0.001)
        renewed = wait.timeout_s is not None and run.wakeups + woken <= timeouts
        return last == now or renewed or timeless


def _wait(situation: Situation, stay: Stay) -> Wait:
    if stay.reason in ("running", "stopped"):
        return Wait(reason=stay.reason)
    if "syscalls" in situation.unreadable:
        return Wait(reason="unreadable")
    details = stay.details
    return Wait(
        reason=stay.reason,
        syscall=details.syscall or _SYSCALLS.get(stay.reason, stay.reason),
        resource=details.resource or (f"tcp {details.peer}" if details.peer else None),
        peer=details.peer,
        inbound=details.inbound,
        timeout_s=details.timeout,
    )


def _threads(pid: int, situation: Situation, threads: Sequence[_Thread]) -> Threads:
    waits: dict[Wait, int] = {}
    activities = tuple(thread.activity(waits) for thread in threads)
    ticks = round(1000 * situation.window) // _TICK_MS + 1
    readable = "syscalls" not in situation.unreadable
    return Threads(pid=pid, ticks=ticks, waits=tuple(waits), threads=activities, syscalls_readable=readable)


def _stacks(pid: int, situation: Situation, threads: Sequence[_Thread]) -> Stacks:
    frames: dict[Frame, int] = {}
    paths: dict[tuple[int, ...], int] = {}
    count = int(situation.window * situation.stacks_per_s)
    moments = [round(1000 * (number + 0.5) / situation.stacks_per_s) for number in range(count)]
    sampled = tuple(
        ThreadStacks(tid=thread.tid, name=thread.name, runs=tuple(runs))
        for thread in threads
        if (runs := _stack_runs(thread, moments, frames, paths))
    )
    known, stored = tuple(frames), tuple(paths)
    return Stacks(pid=pid, sampler="py-spy", samples=count, errors=0, frames=known, stacks=stored, threads=sampled)


def _stack_runs(
    thread: _Thread, moments: Sequence[int], frames: dict[Frame, int], stacks: dict[tuple[int, ...], int]
) -> list[StackRun]:
    runs: list[StackRun] = []
    tells_activity = tuple(map(int, thread.situation.python.split(".")[:2])) >= (3, 11)
    for at_ms in filter(thread.alive_at, moments):
        stay = thread.stay_at(at_ms)
        texts = thread.spec.stack if stay.details.stack is None else stay.details.stack
        if not texts:
            continue
        on_cpu = stay.reason == "running"
        shown = [one for text in texts for one in (_STARTED if text == "started" else (text,))]
        path = tuple(frames.setdefault(frame(one), len(frames)) for one in shown)
        sample = (stacks.setdefault(path, len(stacks)), on_cpu if tells_activity else None, on_cpu)
        goes_on = runs and (runs[-1].stack, runs[-1].active, runs[-1].owns_gil) == sample
        first, samples = (runs[-1].at_s, runs.pop().samples) if goes_on else (at_ms / 1000, 0)
        runs.append(StackRun(first, at_ms / 1000, samples + 1, *sample))
    return runs


def _process(pid: int, situation: Situation, threads: Sequence[_Thread]) -> Process:
    spec, stages = situation.process, len(situation.process.zombies)
    cores = sum(thread.activity({}).cpu_s for thread in threads) / situation.window
    readable = "descriptors" not in situation.unreadable
    address_space = None if spec.address_space_mb is None else round(spec.address_space_mb * _MB)
    samples = [
        ProcessSample(
            at_s=at_s,
            cpu_s=round(5 + at_s * cores, 3),
            rss_bytes=_whole(spec.rss_mb, share, _MB),
            vms_bytes=_whole(spec.vms_mb, share, _MB),
            threads=max(1, len(threads)),
            fds=_counts(spec.fds, share) if readable else None,
            close_wait=_counts(spec.close_wait, share) if readable else None,
            backlog=_whole(spec.backlog, share) if readable else None,
            unread_inbound=_whole(spec.unread, share) if readable else None,
            zombies=spec.zombies[min(int(share * stages), stages - 1)] if at_s.is_integer() else None,
        )
        for at_s, share in _looks(situation)
    ]
    return Process(
        pid=pid,
        cpus=spec.cpus,
        samples=tuple(samples),
        fd_groups=spec.fd_groups,
        limits=Limits(open_files=spec.open_files, address_space=address_space),
        listens_on=spec.listens_on,
    )


def _cgroup(pid: int, situation: Situation) -> Cgroup:
    memory = _memory_limit(situation, situation.memory) if situation.memory else None
    return Cgroup(pid=pid, version=2, path="/shop", cpu=situation.quota, memory=memory)


def _memory_limit(situation: Situation, spec: MemorySpec) -> MemoryLimit:
    samples = tuple(
        MemorySample(at_s, _whole(spec.charged_mb, share, _MB), _whole(spec.inactive_cache_mb, share, _MB))
        for at_s, share in _looks(situation)
    )
    limit = spec.limit_mb * _MB
    return MemoryLimit(
        path="/shop", limit_bytes=limit, samples=samples, oom_kills=spec.oom_kills, oom_kills_in_window=0
    )


def _host(situation: Situation) -> Host:
    spec, stalled = situation.host, situation.host.pressure
    available = [(at_s, _whole(spec.available_mb, share, _MB)) for at_s, share in _looks(situation)]
    memory = tuple(HostMemory(at_s, spec.memory_mb * _MB, size, 0) for at_s, size in available)
    shares = dict.fromkeys(Pressure.__struct_fields__, 0.0) | {
        f"{one}_some": share for one, share in (stalled or {}).items()
    }
    pressure = None if stalled is None else Pressure(**shares)
    return Host(pid=None, cpus=spec.cpus, load_1m=spec.load, memory=memory, pressure=pressure)


def _looks(situation: Situation) -> list[tuple[float, float]]:
    """Moments at equal distances, and the share of the window that has passed at each."""
    shares = [look / max(1, situation.process.looks - 1) for look in range(situation.process.looks)]
    return [(round(share * situation.window, 3), share) for share in shares]


def _whole(series: Series, share: float, unit: int = 1) -> int:
    """The value of a series after a share of the window, as a count."""
    values = series if isinstance(series, tuple) else (series,)
    place = share * (len(values) - 1)
    before = min(int(place + 1e-9), len(values) - 1)
    after = min(before + 1, len(values) - 1)
    return round((values[before] + (place - before) * (values[after] - values[before])) * unit)


def _counts(kinds: dict[str, Series], share: float) -> dict[str, int]:
    """Counts by name; what is not there is not named."""
    counts = {kind: _whole(series, share) for kind, series in kinds.items()}
    return {kind: count for kind, count in counts.items() if count}
