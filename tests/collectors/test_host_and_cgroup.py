"""The host and cgroup collectors tell the limits around a process, and how hard they bite."""

from __future__ import annotations

import os

from collectors.looking import look
from doctor.collectors.cgroup import CgroupCollector
from doctor.collectors.host import HostCollector
from doctor.model.evidence.cgroup import Cgroup
from doctor.model.evidence.host import Host
from services import control_group, service


def test_host_tells_cpus_memory_and_pressure() -> None:
    """Numbers are those of this machine, and shares are shares."""
    with service("idle_executor") as idle:
        host = look(HostCollector(), idle.pid, Host)
    assert host.cpus == os.cpu_count()
    assert all(0 < sample.available_bytes < sample.total_bytes for sample in host.memory)
    assert host.pressure is None or 0 <= host.pressure.cpu_some <= 1


def test_a_quota_that_bites_is_counted() -> None:
    """A program that wants more than its quota is throttled in most periods of the window."""
    with control_group(cpu_cores=0.2) as groups, service("cpu_quota", "sick", groups=groups) as throttled:
        cgroup = look(CgroupCollector(), throttled.pid, Cgroup)
    assert cgroup.cpu is not None
    assert cgroup.cpu.cores == 0.2
    assert 0 < cgroup.cpu.throttled_periods <= cgroup.cpu.periods


def test_a_memory_limit_is_told_with_what_is_charged_to_it() -> None:
    """The limit is the group's, and usage covers what the program holds."""
    with control_group(memory_mib=211) as groups, service("memory_limit", "healthy", "61", groups=groups) as holder:
        cgroup = look(CgroupCollector(), holder.pid, Cgroup)
    assert cgroup.memory is not None
    assert cgroup.memory.limit_bytes == 211 << 20
    assert all(61 << 20 <= sample.usage_bytes <= 211 << 20 for sample in cgroup.memory.samples)
    assert cgroup.memory.oom_kills == 0
