"""A process's directory held open: it is about that process for ever, or about none."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from circumstances import eventually, needs_root, taking_pid
from doctor.procfs.handle import GONE, ProcDir
from services import service

READS: dict[str, Callable[[ProcDir], object]] = {
    "stat": ProcDir.stat,
    "status": lambda proc: proc.read("status"),
    "cmdline": lambda proc: proc.read("cmdline"),
    "a thread": lambda proc: proc.read(f"task/{proc.pid}/stat"),
    "threads": ProcDir.tids,
    "descriptors": lambda proc: proc.names("fd"),
    "a link": lambda proc: proc.readlink("exe"),
    "memory": lambda proc: proc.read_memory(4096, 8),
}


def assert_silent(proc: ProcDir) -> None:
    """Every way to read says that the process is gone."""
    for read in READS.values():
        with pytest.raises(GONE):
            read(proc)
    assert not proc.alive()


def test_a_process_can_be_read_while_it_lives() -> None:
    """What is read is the process's own, and is counted."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        assert proc.alive()
        assert proc.may_trace()
        assert b"short_lived.py" in proc.read("cmdline")
        assert proc.tids() == [target.pid]
        assert Path(proc.readlink("exe")).name.startswith("python")
        counted = proc.bytes_read
        assert len(proc.read("status")) == proc.bytes_read - counted
        proc.close()


def test_a_process_that_has_ended_is_gone() -> None:
    """A handle that was opened before the end reads nothing after it."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        target.finish()
        assert_silent(proc)
        proc.close()


@needs_root
def test_a_pid_s_next_owner_is_not_read() -> None:
    """A handle that was opened before the PID was given to another process does not read that one."""
    with service("short_lived") as target:
        before = ProcDir(target.pid)
        started = before.stat().start_ticks
        target.finish()
        with taking_pid(target.pid):
            assert_silent(before)
            after = ProcDir(target.pid)
            assert after.alive()
            assert after.stat().start_ticks > started
            after.close()
        before.close()


def test_a_zombie_is_not_alive() -> None:
    """A process that has exited and was not waited for does not run, though /proc still shows it."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        target.release()
        eventually(lambda: proc.stat().state, lambda state: state == "Z")
        assert not proc.alive()
        proc.close()


def test_a_stopped_process_is_alive() -> None:
    """A process held by a signal has not ended."""
    with service("short_lived") as target:
        os.kill(target.pid, signal.SIGSTOP)
        proc = ProcDir(target.pid)
        eventually(lambda: proc.stat().state, lambda state: state == "T")
        assert proc.alive()
        proc.close()


def test_a_thread_that_has_ended_is_gone() -> None:
    """A thread may end between the list of threads and the look at it."""
    leave = threading.Event()
    thread = threading.Thread(target=leave.wait)
    thread.start()
    proc = ProcDir(os.getpid())
    assert thread.native_id in proc.tids()
    leave.set()
    thread.join()
    eventually(proc.tids, lambda tids: thread.native_id not in tids)
    with pytest.raises(GONE):
        proc.read(f"task/{thread.native_id}/stat")
    proc.close()


def test_there_is_no_such_process() -> None:
    """A PID that nobody has cannot be opened."""
    with pytest.raises(FileNotFoundError):
        ProcDir(1 << 30)


def test_a_long_file_is_read_to_its_end() -> None:
    """A file of more than one chunk arrives whole."""
    long = "x" * 100_000
    environment = {f"LONG_{number}": long for number in range(3)}
    with service("short_lived", env=environment) as target:
        proc = ProcDir(target.pid)
        assert proc.read("environ").count(long.encode()) == 3
        proc.close()


def test_memory_is_read_where_there_is_some() -> None:
    """Mapped memory is read, and memory that is not mapped, or cannot be, is empty."""
    proc = ProcDir(os.getpid())
    text = b"to be found again"
    assert proc.read_memory(id(text), 64 + len(text)).find(text) > 0
    for address in (0, 8, 1 << 62, 1 << 64, -1):
        assert proc.read_memory(address, 8) == b""
    proc.close()


def test_a_path_that_is_not_utf8_can_be_written_down(tmp_path: Path) -> None:
    """A link to a file with any name is text that every output can carry."""
    fd = os.open(os.fsencode(tmp_path) + b"/caf\xe9", os.O_CREAT | os.O_RDONLY)
    proc = ProcDir(os.getpid())
    assert proc.readlink(f"fd/{fd}") == f"{tmp_path}/caf\\xe9"
    proc.close()
    os.close(fd)
