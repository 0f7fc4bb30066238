"""The machine under the service: CPUs, load, memory, and pressure stall information."""

from __future__ import annotations

from doctor.model.base import Row, Value
from doctor.model.evidence import Evidence


class HostMemory(Row, frozen=True):
    """/proc/meminfo at one moment, in bytes."""

    at_s: float
    total_bytes: int
    available_bytes: int
    swap_free_bytes: int


class Pressure(Value, frozen=True, kw_only=True):
    """Share of the window in which some, or all, runnable tasks stalled; None where the kernel has no PSI."""

    cpu_some: float
    memory_some: float
    memory_full: float
    io_some: float
    io_full: float


class Host(Evidence, tag="host", frozen=True, kw_only=True):
    """The host over the window."""

    cpus: int
    load_1m: float
    memory: tuple[HostMemory, ...]
    pressure: Pressure | None
