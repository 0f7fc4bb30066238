"""The control group a process lives in: its limits, and how hard they bite."""

from __future__ import annotations

from doctor.model.base import Row, Value
from doctor.model.evidence import Evidence


class CpuQuota(Value, frozen=True, kw_only=True):
    """CFS bandwidth control of the tightest group above the process, as counted over the window."""

    path: str
    cores: float
    """Quota divided by period."""
    periods: int
    throttled_periods: int
    throttled_s: float


class MemorySample(Row, frozen=True):
    """Memory charged to the group at one moment."""

    at_s: float
    usage_bytes: int
    inactive_file_bytes: int
    """Page cache the kernel drops before it kills."""


class MemoryLimit(Value, frozen=True, kw_only=True):
    """The tightest memory limit above the process."""

    path: str
    limit_bytes: int
    samples: tuple[MemorySample, ...]
    oom_kills: int
    """Processes the kernel killed in this group since the group exists."""
    oom_kills_in_window: int


class Cgroup(Evidence, tag="cgroup", frozen=True, kw_only=True):
    """Limits that apply to one process; a None is no limit."""

    version: int
    path: str
    cpu: CpuQuota | None
    memory: MemoryLimit | None
