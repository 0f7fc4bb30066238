"""What each thread does from moment to moment, as the kernel tells it."""

from __future__ import annotations

from typing import Literal

from doctor.model.base import Row, Value
from doctor.model.evidence import Evidence

WaitReason = Literal[
    "running",  # on a CPU or in its run queue
    "gil",  # the interpreter lock
    "lock",  # any other futex: threading.Lock, Condition, Queue.get, join
    "sleep",
    "epoll",
    "poll",  # poll or select on one or a few descriptors
    "read",
    "write",
    "connect",
    "accept",
    "child",  # waitpid
    "disk",  # uninterruptible, on a file or a page fault
    "uninterruptible",  # the same, on anything else
    "stopped",
    "other",
    "unreadable",  # the kernel does not let this user see the system call
]


class Wait(Value, frozen=True, kw_only=True):
    """What a thread is in, told from /proc/PID/task/TID alone."""

    reason: WaitReason
    syscall: str | None = None
    fd: int | None = None
    resource: str | None = None
    """What the descriptor leads to: a path, "tcp 10.0.0.5:5432", "unix /run/x.sock"."""
    peer: str | None = None
    """host:port of a TCP connection this process opened."""
    inbound: bool = False
    """True for a connection that was accepted: the wait is for a client."""
    timeout_s: float | None = None
    """None waits for ever."""
    address: int | None = None
    """The futex word of a lock."""


class Run(Row, frozen=True):
    """One stay in one wait, from the first to the last tick that saw it.

    A blocked thread was not scheduled in between, a running one did not sleep in between. Only a wait with a timeout
    goes on through as many wake-ups as its timeout explains: many clients wait in short slices.
    """

    at_s: float
    duration_s: float
    """From the first to the last tick that saw it, so a lower bound; 0 for a single tick."""
    ticks: int
    wait: int
    """Index into `Threads.waits`."""
    wakeups: int = 0
    """How often the thread was scheduled during a wait with a timeout."""


class ThreadActivity(Value, frozen=True, kw_only=True):
    """One thread over the window."""

    tid: int
    ns_tid: int
    """The id in the thread's own PID namespace, which is what its interpreter knows."""
    comm: str
    cpu_s: float
    """CPU time used during the window."""
    runqueue_s: float | None
    """Time it was runnable and got no CPU; None where the kernel has no schedstat."""
    slices: int | None
    """How often it was given a CPU; None likewise."""
    first_s: float
    last_s: float
    """First and last tick that saw the thread."""
    runs: tuple[Run, ...]

    @property
    def ticks(self) -> int:
        """How many ticks saw the thread."""
        return sum(run.ticks for run in self.runs)


class Threads(Evidence, tag="threads", frozen=True, kw_only=True):
    """All threads of one process over the window."""

    ticks: int
    waits: tuple[Wait, ...]
    """Distinct waits, named by index in the runs."""
    threads: tuple[ThreadActivity, ...]
    syscalls_readable: bool
    """False without ptrace rights: then states and CPU are known, wait reasons are not."""
