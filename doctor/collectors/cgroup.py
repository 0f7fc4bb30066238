"""The limits of the control groups the processes live in, and how often they were hit during the window."""

from __future__ import annotations

from collections.abc import Iterator

from doctor.collectors.base import Capture, Collector, Pace
from doctor.model.bundle import Skipped
from doctor.model.evidence.cgroup import Cgroup, CpuQuota, MemoryLimit, MemorySample
from doctor.procfs.access import Denial
from doctor.procfs.cgroup import CgroupDir, CpuCount, MemoryCount, cpu_count, levels, memory_count, memory_limit
from doctor.procfs.handle import GONE, ProcDir

_INTERVAL_S = 0.5
_SHARE = 0.02


class CgroupCollector(Collector):
    """Reads cgroup files, versions 1 and 2; processes of one group are read once."""

    kind = Cgroup
    cost = "a few small files twice a second"
    right = "a readable cgroup mount (/sys/fs/cgroup)"
    deadline_s = 1.0

    def collect(self, capture: Capture) -> Iterator[Cgroup | Skipped]:
        """Limits for each process that has a group."""
        groups: dict[int, _Group] = {}
        for ref, proc in capture.present():
            try:
                groups[ref.pid] = _Group(proc)
            except GONE:
                continue
            if not groups[ref.pid].version:
                del groups[ref.pid]
                yield self.skipped(
                    Denial(
                        f"the control groups of process {ref.pid} are not visible here",
                        "mount the host's /sys/fs/cgroup into doctor's container",
                    ),
                    (ref.pid,),
                )
        distinct = {group.key: group for group in groups.values()}
        for at_s in Pace(capture, _INTERVAL_S, _SHARE).ticks():
            for group in distinct.values():
                group.sample(at_s)
        for pid, group in groups.items():
            yield distinct[group.key].evidence(pid)


class _Group:
    """The tightest limits above one process, sampled."""

    def __init__(self, proc: ProcDir) -> None:
        cpu_levels, memory_levels = levels(proc, "cpu"), levels(proc, "memory")
        self.version = max((level.version for level in cpu_levels[:1] + memory_levels[:1]), default=0)
        self.path = (cpu_levels or memory_levels)[0].path if self.version else ""
        self._cpu = _tightest_cpu(cpu_levels)
        self._memory = _tightest_memory(memory_levels)
        self._cpu_counts: list[CpuCount] = []
        self._memory_counts: list[tuple[float, MemoryCount]] = []
        self.key = (self._cpu and self._cpu.directory, self._memory and self._memory.directory, self.path)

    def sample(self, at_s: float) -> None:
        cpu = cpu_count(self._cpu) if self._cpu else None
        memory = memory_count(self._memory) if self._memory else None
        self._cpu_counts += [cpu] if cpu else []
        self._memory_counts += [(at_s, memory)] if memory else []

    def evidence(self, pid: int) -> Cgroup:
        return Cgroup(pid=pid, version=self.version, path=self.path, cpu=self._cpu_quota(), memory=self._memory_limit())

    def _cpu_quota(self) -> CpuQuota | None:
        if self._cpu is None or not self._cpu_counts:
            return None
        first, last = self._cpu_counts[0], self._cpu_counts[-1]
        return CpuQuota(
            path=self._cpu.path,
            cores=last.cores,
            periods=last.periods - first.periods,
            throttled_periods=last.throttled_periods - first.throttled_periods,
            throttled_s=round(last.throttled_s - first.throttled_s, 6),
        )

    def _memory_limit(self) -> MemoryLimit | None:
        limit = memory_limit(self._memory) if self._memory else None
        if self._memory is None or limit is None or not self._memory_counts:
            return None
        first, last = self._memory_counts[0][1], self._memory_counts[-1][1]
        return MemoryLimit(
            path=self._memory.path,
            limit_bytes=limit,
            samples=tuple(
                MemorySample(round(at_s, 3), count.usage_bytes, count.inactive_file_bytes)
                for at_s, count in self._memory_counts
            ),
            oom_kills=last.oom_kills,
            oom_kills_in_window=last.oom_kills - first.oom_kills,
        )


def _tightest_cpu(above: list[CgroupDir]) -> CgroupDir | None:
    quotas = [(count.cores, index) for index, level in enumerate(above) if (count := cpu_count(level))]
    return above[min(quotas)[1]] if quotas else None


def _tightest_memory(above: list[CgroupDir]) -> CgroupDir | None:
    """The level with the least room left: a small limit may be far away while its parent's is near."""
    room = [
        (limit - count.usage_bytes, index)
        for index, level in enumerate(above)
        if (limit := memory_limit(level)) is not None and (count := memory_count(level))
    ]
    return above[min(room)[1]] if room else None
