"""A process from the outside: CPU, memory, file descriptors, sockets and children, as series over the window."""

from __future__ import annotations

from doctor.model.base import Row, Value
from doctor.model.evidence import Evidence


class ProcessSample(Row, frozen=True):
    """The process at one moment; a None is something that could not be read then."""

    at_s: float
    cpu_s: float
    """User and system time since the process started, its threads included, its children not."""
    rss_bytes: int
    vms_bytes: int
    threads: int
    fds: dict[str, int] | None
    """Open descriptors by kind: file, pipe, tcp, tcp-inbound, tcp-listen, unix, eventpoll, eventfd, …"""
    close_wait: dict[str, int] | None
    """Sockets whose peer has closed and this process has not: by peer, those of clients by the client's host."""
    backlog: int | None
    """Connections that wait in the accept queues of the process's listening sockets."""
    unread_inbound: int | None
    """Accepted connections with bytes that nobody has read yet."""
    zombies: tuple[int, ...] | None
    """PIDs of children that have exited and were not waited for; None where nobody looked at that moment."""


class MemorySplit(Value, frozen=True, kw_only=True):
    """/proc/PID/smaps_rollup, in bytes."""

    rss: int
    pss: int
    anonymous: int
    file: int
    shmem: int
    swap: int


class FdGroup(Value, frozen=True, kw_only=True):
    """Descriptors of one kind that lead to the same thing."""

    kind: str
    target: str
    """A path, a peer, or the kernel's name of the object."""
    first: int
    last: int
    """How many at the start and at the end of the window."""


class Limits(Value, frozen=True, kw_only=True):
    """Soft limits of /proc/PID/limits; None is unlimited."""

    open_files: int | None
    address_space: int | None


class Process(Evidence, tag="process", frozen=True, kw_only=True):
    """One process over the window."""

    cpus: int
    """CPUs the process may run on."""
    samples: tuple[ProcessSample, ...]
    memory: tuple[MemorySplit, ...] = ()
    """At the start and at the end of the window; empty where it may not be read."""
    fd_groups: tuple[FdGroup, ...] = ()
    """Largest growth first, at most 20."""
    limits: Limits | None = None
    listens_on: tuple[str, ...] = ()
    """Addresses of the listening TCP sockets, as "host:port"."""

    @property
    def cpu_cores(self) -> float:
        """CPU used per second of the window, in cores."""
        first, last = self.samples[0], self.samples[-1]
        elapsed = last.at_s - first.at_s
        return (last.cpu_s - first.cpu_s) / elapsed if elapsed > 0 else 0.0
