"""Which processes a diagnosis is about."""

from __future__ import annotations

from doctor.model.base import Value


class ProcessRef(Value, frozen=True, kw_only=True):
    """One process, told apart from a later one with the same PID by its start time."""

    pid: int
    ppid: int
    start_ticks: int
    """Field 22 of /proc/PID/stat: clock ticks from boot to the start of the process."""
    started_at: str
    """The same moment as ISO 8601 in UTC."""
    cmdline: tuple[str, ...]
    exe: str | None
    """The executable's path inside the process's own root; None where it may not be read."""
    python: str | None
    """Full version ("3.12.1"), else minor ("3.12"), else None where the binary may not be read."""
    stopped: bool = False
    """True when a signal or a tracer held the process as the capture began."""


class Target(Value, frozen=True, kw_only=True):
    """A service: the process that was named, and the Python processes below it."""

    root: ProcessRef
    children: tuple[ProcessRef, ...] = ()
    host: str

    @property
    def processes(self) -> tuple[ProcessRef, ...]:
        """The root first, then its children in the order of their PIDs."""
        return (self.root, *self.children)
