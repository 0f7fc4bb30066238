"""Control groups: a process's limits and what they count, for real in version 1 or 2, as the host has it.

`fixtures/raw/cgroup2` holds groups of version 2 as Kubernetes arranges them, in the formats of the kernel's
Documentation/admin-guide/cgroup-v2.rst: the view from inside a container cannot be had without a container, and where
the controllers belong to version 1 a second hierarchy cannot have them too.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circumstances import ROOT, eventually
from doctor.procfs.cgroup import CgroupDir, CpuCount, MemoryCount, cpu_count, levels, memory_count, memory_limit
from doctor.procfs.handle import ProcDir
from services import control_group, service

MIB = 1024 * 1024
RECORDED = ROOT / "fixtures" / "raw" / "cgroup2"


class Recorded(ProcDir):
    """A process's directory that was written down: the folder holds its `cgroup`, and a `mount` beside it."""

    def __init__(self, name: str) -> None:
        self.pid = 0
        self.bytes_read = 0
        self._fd = os.open(RECORDED / name, os.O_RDONLY | os.O_DIRECTORY)

    def levels(self, controller: str) -> list[CgroupDir]:
        """Its groups, with the file system mounted where the recording lies."""
        mountinfo = self.read("mountinfo").decode()
        folder = os.readlink(f"/proc/self/fd/{self._fd}")  # noqa: PTH115 - the link, not the file
        return levels(self, controller, mountinfo.replace("@mount@", f"{folder}/mount"))


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    """A recording by name."""
    proc = Recorded(request.param)
    yield proc
    proc.close()


def test_a_real_group_s_limits_are_read() -> None:
    """A process in a group with half a core and 251 MiB: the group, its limits and its counters are found."""
    with control_group(cpu_cores=0.5, memory_mib=251) as groups, service("short_lived", groups=groups) as target:
        proc = ProcDir(target.pid)
        (cpu, *above), memory = levels(proc, "cpu"), levels(proc, "memory")[0]
        assert {cpu.directory, memory.directory} == set(groups)
        assert cpu.path == f"/{cpu.directory.name}"
        assert [level.path for level in above] == ["/"]
        quota, charged = cpu_count(cpu), memory_count(memory)
        assert quota is not None
        assert quota.cores == 0.5
        assert memory_limit(memory) == 251 * MIB
        assert charged is not None
        assert 0 < charged.usage_bytes < 251 * MIB
        assert charged.oom_kills == 0
        proc.close()


def test_the_root_has_no_limits() -> None:
    """The topmost group limits nothing, whatever number stands for that."""
    with control_group(cpu_cores=0.5) as groups, service("short_lived", groups=groups) as target:
        proc = ProcDir(target.pid)
        for controller in ("cpu", "memory"):
            root = levels(proc, controller)[-1]
            assert cpu_count(root) is None
            assert memory_limit(root) is None
        proc.close()


def test_throttling_is_counted() -> None:
    """A group that asks for more than its quota is throttled in counted periods, for a time that grows."""
    with control_group(cpu_cores=0.1) as groups, service("cpu_quota", "sick", groups=groups) as target:
        proc = ProcDir(target.pid)
        group = levels(proc, "cpu")[0]
        count = eventually(lambda: cpu_count(group), lambda seen: seen and seen.throttled_periods > 1)
        assert count is not None
        assert count.periods >= count.throttled_periods
        assert 0.001 < count.throttled_s < 60
        proc.close()


def test_kills_are_counted() -> None:
    """A process that the kernel kills at its group's limit is counted there."""
    enter = "import pathlib, sys; pathlib.Path(sys.argv[1], 'cgroup.procs').write_text('0')"
    code = f"{enter}; print(flush=True); input(); bytearray(97 << 20)"
    with control_group(memory_mib=41) as (group,):
        command = [sys.executable, "-c", code, str(group)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as greedy:
            assert greedy.stdout is not None
            greedy.stdout.readline()
            proc = ProcDir(greedy.pid)
            level = levels(proc, "memory")[0]
            assert level.directory == group
            greedy.communicate(b"\n")
            assert greedy.returncode == -signal.SIGKILL
            count = memory_count(level)
            assert count is not None
            assert count.oom_kills == 1
            proc.close()


@pytest.mark.parametrize("recorded", ["pod"], indirect=True)
def test_a_pod_s_limits_stand_above_its_container(recorded: Recorded) -> None:
    """Every level up to the mount is read, so that a limit is found on the ancestor that has it."""
    cpu = recorded.levels("cpu")
    assert [level.path for level in cpu] == [
        "/kubepods.slice/pod7.slice/ctr13.scope",
        "/kubepods.slice/pod7.slice",
        "/kubepods.slice",
        "/",
    ]
    assert [cpu_count(level) for level in cpu] == [None, CpuCount(1.5, 211, 97, 1.3), None, None]
    memory = recorded.levels("memory")
    assert [memory_limit(level) for level in memory] == [None, 256 * MIB, None, None]
    assert [memory_count(level) for level in memory[:2]] == [
        MemoryCount(128 * MIB, 20 * MIB, 0),
        MemoryCount(248 * MIB, 22 * MIB, 3),
    ]
    assert memory_count(memory[-1]) is None


@pytest.mark.parametrize("recorded", ["container"], indirect=True)
def test_from_inside_a_container_its_own_group_is_the_root(recorded: Recorded) -> None:
    """Where the mount shows a container's group as its root, the limits in that root are the container's."""
    (level,) = recorded.levels("cpu")
    assert level.path == "/"
    assert cpu_count(level) == CpuCount(0.5, 211, 13, 0.25)
    assert memory_limit(level) == 128 * MIB
    assert memory_count(level) == MemoryCount(124 * MIB, 4 * MIB, 1)


@pytest.mark.parametrize("recorded", ["sidecar"], indirect=True)
def test_a_sidecar_s_own_limits_are_not_its_neighbour_s(recorded: Recorded) -> None:
    """A process whose group lies outside of what is mounted has no group to read; doctor's own is not its."""
    assert recorded.levels("cpu") == recorded.levels("memory") == []


@pytest.mark.parametrize("recorded", ["pod"], indirect=True)
def test_without_a_mount_there_is_nothing(recorded: Recorded) -> None:
    """A container without a cgroup mount has no groups to read, and that is no error."""
    assert levels(recorded, "cpu", "24 30 0:22 / /proc rw,relatime shared:14 - proc proc rw\n") == []


@pytest.mark.parametrize("content", ["max 100000", "", "50000 0", "what 100000", "-1 100000"])
def test_no_quota_is_no_quota(content: str, tmp_path: Path) -> None:
    """Anything but two numbers in cpu.max sets no quota."""
    (tmp_path / "cpu.max").write_text(f"{content}\n")
    assert cpu_count(CgroupDir(2, tmp_path, "/")) is None


@pytest.mark.parametrize(
    ("version", "file", "content", "limit"),
    [
        (1, "memory.limit_in_bytes", str((1 << 63) - 4096), None),
        (1, "memory.limit_in_bytes", str(64 * MIB), 64 * MIB),
        (2, "memory.max", "max", None),
        (2, "memory.max", "0", 0),
    ],
)
def test_no_limit_is_no_limit(version: int, file: str, content: str, limit: int | None, tmp_path: Path) -> None:
    """Version 1 says "no limit" with a number beyond any machine, version 2 with a word."""
    (tmp_path / file).write_text(f"{content}\n")
    assert memory_limit(CgroupDir(version, tmp_path, "/")) == limit
