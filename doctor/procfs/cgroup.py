"""The control groups of a process, versions 1 and 2: which directories limit it, and what they count.

Limits may sit on any ancestor (a pod above its container), so every level up to the mount is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from doctor.procfs.handle import ProcDir


class CgroupDir(NamedTuple):
    """One level of a hierarchy on this host."""

    version: int
    directory: Path
    path: str
    """As /proc/PID/cgroup names it."""

    def text(self, name: str) -> str | None:
        """A control file's content; None where this level has none."""
        try:
            return self.directory.joinpath(name).read_text().strip()
        except OSError:
            return None

    def number(self, name: str) -> int | None:
        """A file with one number; None for "max" or no file."""
        text = self.text(name)
        return int(text) if text and text.lstrip("-").isdigit() else None

    def table(self, name: str) -> dict[str, int]:
        """A file of "name number" lines."""
        rows = (line.split() for line in (self.text(name) or "").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) == 2}


class CpuCount(NamedTuple):
    """CFS bandwidth counters of one level."""

    cores: float
    periods: int
    throttled_periods: int
    throttled_s: float


class MemoryCount(NamedTuple):
    """Memory charged to one level."""

    usage_bytes: int
    inactive_file_bytes: int
    oom_kills: int


def levels(proc: ProcDir, controller: str, mountinfo: str | None = None) -> list[CgroupDir]:
    """The process's group for a controller and all its ancestors, innermost first; empty where none is mounted."""
    mounts = list(_mounts(mountinfo if mountinfo is not None else Path("/proc/self/mountinfo").read_text()))
    for line in proc.read("cgroup").decode(errors="replace").splitlines():
        _, names, path = line.split(":", 2)
        version = 2 if not names else 1
        if version == 1 and controller not in names.split(","):
            continue
        for mount in mounts:
            if mount.serves(version, controller):
                found = list(_walk_up(mount, version, path))
                if version == 1 or any(level.text("cgroup.controllers") is not None for level in found):
                    return found
    return []


def cpu_count(level: CgroupDir) -> CpuCount | None:
    """Bandwidth control of a level; None where it sets no quota."""
    if level.version == 2:
        quota, _, period = (level.text("cpu.max") or "max").partition(" ")
        throttled_unit = ("throttled_usec", 1e-6)
    else:
        quota, period = level.text("cpu.cfs_quota_us") or "-1", level.text("cpu.cfs_period_us") or "0"
        throttled_unit = ("throttled_time", 1e-9)
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    counts = level.table("cpu.stat")
    name, unit = throttled_unit
    return CpuCount(
        cores=int(quota) / int(period),
        periods=counts.get("nr_periods", 0),
        throttled_periods=counts.get("nr_throttled", 0),
        throttled_s=counts.get(name, 0) * unit,
    )


def memory_limit(level: CgroupDir) -> int | None:
    """The level's memory limit in bytes; None for none. Version 1 writes "no limit" as a number beyond any machine."""
    limit = level.number("memory.max" if level.version == 2 else "memory.limit_in_bytes")
    return limit if limit is not None and limit < 1 << 60 else None


def memory_count(level: CgroupDir) -> MemoryCount | None:
    """What is charged to a level; None where it cannot be read."""
    v2 = level.version == 2
    usage = level.number("memory.current" if v2 else "memory.usage_in_bytes")
    if usage is None:
        return None
    stat = level.table("memory.stat")
    kills = level.table("memory.events" if v2 else "memory.oom_control").get("oom_kill", 0)
    return MemoryCount(usage, stat.get("inactive_file" if v2 else "total_inactive_file", 0), kills)


class _Mount(NamedTuple):
    root: str
    directory: Path
    version: int
    options: frozenset[str]

    def serves(self, version: int, controller: str) -> bool:
        return self.version == version and (version == 2 or controller in self.options)


def _mounts(mountinfo: str) -> Iterator[_Mount]:
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        kind, _, options = right.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            fields = left.split()
            yield _Mount(
                root=fields[3],
                directory=Path(fields[4]),
                version=2 if kind == "cgroup2" else 1,
                options=frozenset(options.split(" ")[-1].split(",")),
            )


def _walk_up(mount: _Mount, version: int, path: str) -> Iterator[CgroupDir]:
    """Inside a container the mount shows only the part below its root, and the path may be told from outside of it."""
    relative = path[len(mount.root) :] if mount.root != "/" and path.startswith(mount.root) else path
    if relative.startswith("/.."):  # a sidecar's neighbour: what is mounted here are the sidecar's own limits
        return
    parts = [part for part in relative.split("/") if part]
    if not mount.directory.joinpath(*parts).is_dir():
        parts = []
    for depth in range(len(parts), -1, -1):
        yield CgroupDir(version, mount.directory.joinpath(*parts[:depth]), "/" + "/".join(parts[:depth]))
