"""Single /proc files, as the kernel writes them for real processes, and in forms that are hard to provoke."""

from __future__ import annotations

import os
import resource
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circumstances import eventually
from doctor.procfs import parse
from doctor.procfs.handle import ProcDir
from services import service


@contextmanager
def child(prepare: Callable[[], object]) -> Iterator[ProcDir]:
    """A forked process that has prepared itself and waits for the end of the block."""
    prepared, done = os.pipe()
    end, other_end = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(other_end)
        prepare()
        os.write(done, b".")
        os.read(end, 1)
        os._exit(0)
    os.read(prepared, 1)
    proc = ProcDir(pid)
    try:
        yield proc
    finally:
        proc.close()
        for fd in (prepared, done, end, other_end):
            os.close(fd)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("name", [b"python", b"a) (b", b") R 7 (", b"with space", b"two\nlines", b"\xff)\xfe", b")"])
def test_a_process_may_have_any_name(name: bytes) -> None:
    """Parentheses, spaces, newlines and bytes that are no text in a process's name do not move the other fields."""
    with child(lambda: Path("/proc/self/comm").write_bytes(name)) as proc:
        stat = eventually(proc.stat, lambda seen: seen.state == "S")
        told = psutil.Process(proc.pid)
        assert proc.read("comm").rstrip(b"\n") == name.rstrip(b"\n")
        assert stat.ppid == os.getpid()
        assert stat.threads == 1
        assert stat.rss_bytes == pytest.approx(told.memory_info().rss, rel=0.05)  # each file sums up CPUs by itself
        assert stat.vms_bytes == told.memory_info().vms


@given(st.binary(max_size=64))
def test_no_name_moves_a_field(name: bytes) -> None:
    """Whatever the name, the fields behind it are read as if it were a plain one."""
    _, _, fields = Path("/proc/self/stat").read_bytes().rpartition(b") ")
    assert parse.parse_stat(b"7 (" + name + b") " + fields) == parse.parse_stat(b"7 (python) " + fields)


def test_cpu_time_and_start_are_this_process_s() -> None:
    """CPU time grows with the work done and the start lies before now, both in the unit that is promised."""
    before = parse.parse_stat(Path("/proc/self/stat").read_bytes())
    while sum(os.times()[:2]) < before.cpu_s + 0.1:
        pass
    after = parse.parse_stat(Path("/proc/self/stat").read_bytes())
    assert 0.05 < after.cpu_s - before.cpu_s < 1
    assert after.state == "R"
    assert 0 < after.start_ticks / parse.TICKS_PER_S < float(Path("/proc/uptime").read_text().split()[0])


def test_schedstat_counts_in_seconds() -> None:
    """The scheduler's clock of a thread agrees with its CPU clock."""
    stat = parse.parse_schedstat(Path("/proc/thread-self/schedstat").read_bytes())
    assert stat.run_s == pytest.approx(time.thread_time(), abs=0.05)
    assert stat.wait_s >= 0
    assert stat.slices > 0


def test_a_running_thread_is_in_no_system_call() -> None:
    """Of a process that computes in one of its threads, one is running to the kernel."""
    with service("cpu_hotspot", "sick") as busy:
        proc = ProcDir(busy.pid)
        lines = eventually(
            lambda: [proc.read(f"task/{tid}/syscall") for tid in proc.tids()], lambda seen: b"running\n" in seen
        )
        assert [parse.parse_syscall(line) is None for line in lines] == [line == b"running\n" for line in lines]
        proc.close()


def test_a_blocked_thread_s_arguments_are_numbers() -> None:
    """Of a thread that reads from a pipe the call's first argument is the descriptor."""
    with child(lambda: None) as proc:
        call = eventually(lambda: parse.parse_syscall(proc.read("syscall")), lambda seen: seen)
        assert call is not None
        assert len(call.args) == 6
        assert proc.readlink(f"fd/{call.args[0]}").startswith("pipe:")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"running\n", None),
        (b"", None),
        (b"-1 0x7ffd5d5b3c48 0x7f8a4e0d7ac3\n", parse.Syscall(-1, ())),
        (b"0 0x3 0x7f 0x400 0x0 0x0 0x0 0x7ffd5d5b3c48 0x7f8a4e0d7ac3\n", parse.Syscall(0, (3, 127, 1024, 0, 0, 0))),
        (b"7 0x7f 0x1 0xffffffff 0x0 0x0 0x0 0x7f 0x7f\n", parse.Syscall(7, (127, 1, 0xFFFFFFFF, 0, 0, 0))),
    ],
)
def test_every_form_of_a_syscall_line(content: bytes, expected: parse.Syscall | None) -> None:
    """Running, blocked outside a system call, and blocked in one are told apart."""
    assert parse.parse_syscall(content) == expected


def test_smaps_rollup_is_in_bytes() -> None:
    """The rollup of a real process: its head is left out, and the parts make up the whole."""
    sizes = parse.parse_kilobytes(Path("/proc/self/smaps_rollup").read_bytes())
    assert sizes["Rss"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert sizes["Pss"] == pytest.approx(sizes["Pss_Anon"] + sizes["Pss_File"] + sizes["Pss_Shmem"], abs=4096)
    assert all(name[0].isupper() for name in sizes)


def test_what_has_no_size_is_left_out() -> None:
    """Heads, flags and numbers without a unit are no sizes."""
    content = b"5581e7a00000-7ffd5d5b4000 ---p 00000000 00:00 0 [rollup]\nRss:   12 kB\nHugePages_Total:   3\n"
    assert parse.parse_kilobytes(content + b"VmFlags: rd wr\n") == {"Rss": 12 * 1024}


def test_limits_are_the_soft_ones() -> None:
    """A limit that was set is read as a number, one that was not as None, and an unknown one as None."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (211, 223))
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    with child(limit) as proc:
        content = proc.read("limits")
    assert parse.parse_soft_limit(content, "Max open files") == 211
    assert parse.parse_soft_limit(content, "Max address space") is None
    assert parse.parse_soft_limit(content, "Max patience") is None


@pytest.mark.parametrize("name", ["cpu", "memory", "io"])
def test_pressure_is_counted_in_microseconds(name: str) -> None:
    """The kernel's own totals are found, and never decrease."""
    file = Path("/proc/pressure", name)
    if not file.exists():
        pytest.skip("this kernel has no pressure stall information")
    before, after = parse.parse_pressure_us(file.read_bytes()), parse.parse_pressure_us(file.read_bytes())
    assert "some" in before
    assert all(after[kind] >= before[kind] for kind in before)


def test_older_kernels_know_no_full_cpu_pressure() -> None:
    """Until 5.13 the CPU's file had one line."""
    content = b"some avg10=0.12 avg60=1.00 avg300=0.00 total=123456\n"
    assert parse.parse_pressure_us(content) == {"some": 123456}


def test_voluntary_switches_count_sleeps() -> None:
    """A thread that goes to sleep 23 times is counted 23 times, however often it was preempted, whatever its name."""
    counts: list[int] = []

    def sleep_23_times() -> None:
        status = Path("/proc/thread-self/status")
        Path("/proc/thread-self/comm").write_bytes(b"\nvoluntary_ctx")
        counts.append(parse.parse_voluntary_switches(status.read_bytes()))
        for _ in range(23):
            resting.wait(0.001)
        counts.append(parse.parse_voluntary_switches(status.read_bytes()))

    resting = threading.Event()
    thread = threading.Thread(target=sleep_23_times)
    thread.start()
    thread.join()
    assert 23 <= counts[1] - counts[0] <= 46  # taking the interpreter lock again may be one more sleep each time


def test_status_is_read_by_name() -> None:
    """Names and values of the status file are this process's own."""
    status = parse.parse_status(Path("/proc/self/status").read_bytes())
    assert status["Pid"] == str(os.getpid())
    assert status["Uid"].split()[1] == str(os.geteuid())
