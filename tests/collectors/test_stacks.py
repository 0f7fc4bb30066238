"""The stacks collector tells which Python line each thread is on, and which kernel thread that is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from collectors.looking import look
from doctor.collectors.base import Capture
from doctor.collectors.stacks import StacksCollector
from doctor.model.bundle import Skipped
from doctor.model.evidence.stacks import Stacks
from doctor.model.target import Target
from doctor.procfs.handle import ProcDir
from doctor.remote import version
from doctor.targets.processes import reference
from interpreters import Interpreter, interpreters
from services import line_of, service


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_threads_have_name_line_and_kernel_id(python: Interpreter) -> None:
    """On every interpreter each of seven parked threads is on its line, under its name, with an id of its own."""
    with service("hanging_dependency", "sick", python=python) as stuck:
        stacks = look(StacksCollector(), stuck.pid, Stacks)
        tasks = {int(path.name) for path in Path(f"/proc/{stuck.pid}/task").iterdir()}
    workers = [thread for thread in stacks.threads if (thread.name or "").startswith("checkout")]
    line = line_of("hanging_dependency", "call")
    lines = {
        frame.line
        for thread in workers
        for run in thread.runs
        for frame in stacks.frames_of(run.stack)
        if frame.is_in("hanging_dependency.py", "call_inventory")
    }
    assert (len(workers), lines) == (7, {line})
    assert {thread.tid for thread in stacks.threads} == tasks


def test_equal_samples_are_one_run() -> None:
    """A parked thread has one stack in one run, however often it was sampled."""
    with service("idle_executor") as idle:
        stacks = look(StacksCollector(), idle.pid, Stacks)
    assert stacks.samples > 1
    assert stacks.errors == 0
    assert all(len(thread.runs) == 1 and thread.samples == stacks.samples for thread in stacks.threads)


def test_a_process_that_is_no_python_is_skipped_with_both_reasons() -> None:
    """Where neither doctor nor py-spy finds an interpreter the entry says so, and what to do."""
    sleeper = subprocess.Popen(["sleep", "60"])
    proc = ProcDir(sleeper.pid)
    try:
        ref = reference(proc, proc.stat(), ("sleep",), version.Interpreter("CPython", None))
        capture = Capture(Target(root=ref, host="here"), 0.5)
        (skipped,) = StacksCollector().collect(capture)
        capture.close()
    finally:
        proc.close()
        sleeper.kill()
        sleeper.wait()
    assert isinstance(skipped, Skipped)
    assert "is not Python; nor could py-spy read it" in skipped.reason
    assert "doctor ps" in skipped.remedy
