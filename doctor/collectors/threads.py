"""What every thread does, about ten times a second, from /proc alone."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from doctor.collectors.base import Capture, Collector, Pace
from doctor.model.bundle import Skipped
from doctor.model.evidence.threads import Run, ThreadActivity, Threads, Wait
from doctor.procfs.access import Denial, denial
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import SchedStat, parse_schedstat, parse_stat, parse_status, parse_voluntary_switches
from doctor.procfs.sockets import SocketTables
from doctor.procfs.waits import WaitReader

_INTERVAL_S = 0.1
_SHARE = 0.08
_TIMELESS = ("running", "stopped", "unreadable")
"""Not waits for something: consecutive ticks are one run, until a running thread sleeps."""


class ThreadsCollector(Collector):
    """Reads schedstat and state of every thread, and the system call of those that ran since the last tick."""

    kind = Threads
    cost = "at most 8 % of a core; the rate sinks with the number of threads"
    right = "ptrace rights for wait reasons; none for state, CPU and run-queue time"
    deadline_s = 2.0
    decisive = True

    def obstacle(self, proc: ProcDir) -> Denial | None:
        """Missing ptrace rights."""
        return denial(proc)

    def collect(self, capture: Capture) -> Iterator[Threads | Skipped]:
        """The threads of each process."""
        samplers = []
        tables = SocketTables()
        for ref, proc in capture.present():
            denied = self.obstacle(proc)
            if denied:
                yield self.skipped(denied, (ref.pid,))
            try:
                samplers.append(_Sampler(capture, proc, tables, readable=denied is None))
            except GONE:
                continue
        for at_s in Pace(capture, _INTERVAL_S, _SHARE).ticks():
            for sampler in samplers:
                sampler.tick(at_s)
        for sampler in samplers:
            if sampler.stopped:
                yield self.skipped(_stopped(sampler.pid), (sampler.pid,))
            yield sampler.evidence()


def _stopped(pid: int) -> Denial:
    return Denial(
        f"process {pid} is stopped by a signal or a debugger, so nothing in it runs",
        f"let it run (kill -CONT {pid}, or detach the debugger) and diagnose again",
    )


class _Sampler:
    """All threads of one process."""

    def __init__(self, capture: Capture, proc: ProcDir, tables: SocketTables, *, readable: bool) -> None:
        self.pid = proc.pid
        self._capture = capture
        self._proc = proc
        self._readable = readable
        self._reader = WaitReader(proc, tables)
        self._threads: dict[int, _Thread] = {}
        self._waits: dict[Wait, int] = {}
        self._ticks = 0

    def tick(self, at_s: float) -> None:
        """Looks at every thread once."""
        try:
            tids = self._proc.tids()
        except GONE:
            return
        self._ticks += 1
        self._reader.forget()
        for tid in tids:
            try:
                self._look(tid, at_s)
            except GONE:
                continue

    def _look(self, tid: int, at_s: float) -> None:
        thread = self._threads.get(tid)
        if thread is None:
            thread = self._threads[tid] = _Thread(self._proc, tid)
        sched = thread.schedstat()
        thread.count_runqueue(sched, self._capture.now_s())
        stat = parse_stat(self._proc.read(f"task/{tid}/stat"))
        if stat.state != "R":
            thread.asleep_at_s = at_s
        asleep = stat.state != "R" and thread.asleep_since(sched)
        if asleep and thread.knows_its_wait:
            thread.extend(at_s)
            return
        wait = self._reader.read(tid, stat.state)
        index = self._waits.setdefault(wait, len(self._waits))
        if asleep:
            thread.know(index, wait)
            thread.extend(at_s)
        else:
            thread.add(at_s, index, wait, sched, stat.cpu_s)

    @property
    def stopped(self) -> bool:
        """Whether every thread was held during the whole window."""
        stopped = {index for wait, index in self._waits.items() if wait.reason == "stopped"}
        return bool(self._threads) and all(
            run.wait in stopped for thread in self._threads.values() for run in thread.runs
        )

    def evidence(self) -> Threads:
        return Threads(
            pid=self.pid,
            ticks=self._ticks,
            waits=tuple(self._waits),
            threads=tuple(thread.activity() for _, thread in sorted(self._threads.items()) if thread.runs),
            syscalls_readable=self._readable,
        )


class _Thread:
    """One thread, its ticks folded into runs as they come."""

    def __init__(self, proc: ProcDir, tid: int) -> None:
        status = parse_status(proc.read(f"task/{tid}/status"))
        self._proc = proc
        self._tid = tid
        self._ns_tid = int(status.get("NSpid", str(tid)).split()[-1])
        self._comm = status.get("Name", "")
        self._first: tuple[SchedStat | None, float] | None = None
        self._last: tuple[SchedStat | None, float] = (None, 0.0)
        self._wait: Wait | None = None
        self._voluntary = -1
        self._counted: SchedStat | None = None
        self._runqueue_s = 0.0
        self.asleep_at_s = 0.0
        """The last tick that saw it off the CPUs and out of their run queues."""
        self.runs: list[Run] = []

    def schedstat(self) -> SchedStat | None:
        """None on a kernel without scheduler statistics."""
        try:
            return parse_schedstat(self._proc.read(f"task/{self._tid}/schedstat"))
        except (FileNotFoundError, ValueError):
            return None

    def count_runqueue(self, sched: SchedStat | None, now_s: float) -> None:
        """Adds its time in run queues since the last look, unless it was seen asleep in that time.

        Kernels since 6.12 leave a thread that falls asleep in its queue for a while; when they move it to another CPU
        there, they count the rest of its sleep as time in the queue.
        """
        waited_s = sched.wait_s - self._counted.wait_s if sched and self._counted else 0.0
        if waited_s <= now_s - self.asleep_at_s:
            self._runqueue_s += waited_s
        self._counted = sched

    def asleep_since(self, sched: SchedStat | None) -> bool:
        """Whether it has not run since its last tick, so that it must be in the same wait."""
        last = self._last[0]
        return (
            sched is not None
            and last is not None
            and sched.slices == last.slices
            and self._wait is not None
            and self._wait.reason not in _TIMELESS
        )

    @property
    def knows_its_wait(self) -> bool:
        """False for a wait on a socket that is younger than the socket table that was read last."""
        return self._wait is not None and (self._wait.fd is None or self._wait.resource is not None)

    def know(self, index: int, wait: Wait) -> None:
        """The last run is a stay in this wait, if that is still the same call."""
        if self._wait and (wait.syscall, wait.fd) == (self._wait.syscall, self._wait.fd):
            self._wait = wait
            self.runs[-1] = msgspec.structs.replace(self.runs[-1], wait=index)

    def extend(self, at_s: float, wakeups: int = 0) -> None:
        """The last run goes on."""
        run = self.runs[-1]
        self.runs[-1] = Run(run.at_s, round(at_s - run.at_s, 3), run.ticks + 1, run.wait, run.wakeups + wakeups)

    def add(self, at_s: float, index: int, wait: Wait, sched: SchedStat | None, cpu_s: float) -> None:
        """A tick that saw the thread after it had run, or for the first time."""
        slept = self._slept() if wait.reason == "running" else False
        same = bool(self.runs) and self.runs[-1].wait == index
        wakeups = sched.slices - self._last[0].slices if sched and self._last[0] else 0
        self._first = self._first or (sched, cpu_s)
        self._last = (sched, cpu_s)
        self._wait = wait
        if same and wait.timeout_s is not None and self._timed_out(at_s, wakeups, wait.timeout_s):
            self.extend(at_s, wakeups)
        elif same and wait.reason in _TIMELESS and not slept:
            self.extend(at_s)
        else:
            self.runs.append(Run(round(at_s, 3), 0.0, 1, index))

    def _timed_out(self, at_s: float, wakeups: int, timeout_s: float) -> bool:
        """Whether nothing but its own timeout has woken the last run so far; a tenth is for timers that fire early."""
        run = self.runs[-1]
        return run.wakeups + wakeups <= 1 + 1.1 * (at_s - run.at_s) / max(timeout_s, 1e-3)

    def _slept(self) -> bool:
        """Whether it went to sleep of its own accord since this was last asked."""
        before = self._voluntary
        self._voluntary = parse_voluntary_switches(self._proc.read(f"task/{self._tid}/status"))
        return self._voluntary != before

    def activity(self) -> ThreadActivity:
        (first, first_cpu_s), (last, last_cpu_s) = self._first or self._last, self._last
        last_run = self.runs[-1]
        return ThreadActivity(
            tid=self._tid,
            ns_tid=self._ns_tid,
            comm=self._comm,
            cpu_s=round(last.run_s - first.run_s if first and last else last_cpu_s - first_cpu_s, 6),
            runqueue_s=round(self._runqueue_s, 6) if first and last else None,
            slices=last.slices - first.slices if first and last else None,
            first_s=self.runs[0].at_s,
            last_s=round(last_run.at_s + last_run.duration_s, 3),
            runs=tuple(self.runs),
        )
