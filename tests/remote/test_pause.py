"""A pause holds every thread of a process, and lets all of them run on."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from circumstances import eventually
from doctor.procfs.handle import ProcDir
from doctor.remote.pause import paused
from services import Service, service


def states(target: Service) -> set[tuple[str, str]]:
    """The state of each thread, and who traces it."""
    seen = set()
    for status in Path(f"/proc/{target.pid}/task").glob("*/status"):
        fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        seen.add((fields["State"][0], fields["TracerPid"]))
    return seen


def test_all_threads_are_held_and_run_on() -> None:
    """Within the block every thread is in a tracing stop by doctor, and after it none is."""
    with service("stacks/births") as target:
        proc = ProcDir(target.pid)
        with paused(proc):
            assert states(target) == {("t", str(os.getpid()))}
        proc.close()
        assert {tracer for _, tracer in states(target)} == {"0"}


def test_a_failure_within_the_block_lets_it_run_on() -> None:
    """Whatever goes wrong while the process is held, it is let go."""
    with service("idle_executor") as target:
        proc = ProcDir(target.pid)
        with pytest.raises(ZeroDivisionError), paused(proc):
            raise ZeroDivisionError
        proc.close()
        assert {tracer for _, tracer in states(target)} == {"0"}


def test_a_signal_that_comes_while_it_is_held_is_not_lost() -> None:
    """A process that is told to end while it is held ends when it is let go."""
    with service("idle_executor") as target:
        proc = ProcDir(target.pid)
        with paused(proc):
            os.kill(target.pid, signal.SIGTERM)
        eventually(proc.alive, lambda alive: not alive)
        proc.close()


def test_a_process_that_is_traced_already_is_left_to_its_debugger() -> None:
    """A second tracer is refused by the kernel, and that is what is told."""
    with service("idle_executor") as target:
        first, second = ProcDir(target.pid), ProcDir(target.pid)
        with paused(first), pytest.raises(PermissionError), paused(second):
            pass
        first.close()
        second.close()
