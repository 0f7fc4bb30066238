"""Who may read a process, and what is said to those who may not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from circumstances import ROOT, UNPRIVILEGED, needs_root, needs_setpriv
from doctor.procfs.access import Denial, denial
from doctor.procfs.handle import ProcDir
from services import service

NOBODY = 65534

SCRIPT = """
import json, sys
from doctor.procfs.access import denial
from doctor.procfs.handle import ProcDir
proc = ProcDir(int(sys.argv[1]))
print(json.dumps([denial(proc), proc.may_trace(), proc.stat().state]))
"""


def as_another_user(look: Callable[[], Denial | None]) -> Denial | None:
    """What somebody with another uid and no right sees."""
    told, tell = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        os.write(tell, json.dumps(look()).encode())
        os._exit(0)
    os.close(tell)
    with os.fdopen(told) as answer:
        seen = json.load(answer)
    os.waitpid(pid, 0)
    return Denial(*seen) if seen else None


def test_one_s_own_process_may_be_read() -> None:
    """The same user with the same rights is denied nothing."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        assert denial(proc) is None
        proc.close()


@needs_root
def test_another_user_is_told_whose_it_is() -> None:
    """A user who is not the owner learns the owner's uid, and the command that runs doctor as that user."""
    with service("short_lived") as target:
        seen = as_another_user(lambda: denial(ProcDir(target.pid)))
    assert seen is not None
    assert seen.reason == f"process {target.pid} belongs to uid 0 and doctor runs as uid {NOBODY}"
    assert "sudo -u '#0' doctor" in seen.remedy
    assert "--cap-add SYS_PTRACE" in seen.remedy


@needs_setpriv
def test_a_user_without_capabilities_is_told_which_it_takes() -> None:
    """The owner whose capabilities were taken away, as in a container, learns that CAP_SYS_PTRACE is missing."""
    with service("short_lived") as target:
        command = [*UNPRIVILEGED, sys.executable, "-c", SCRIPT, str(target.pid)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (reason, remedy), may_trace, state = json.loads(done.stdout)
    assert f"process {target.pid}" in reason
    assert "CAP_SYS_PTRACE" in reason
    assert "sudo doctor" in remedy
    assert "docker run --cap-add SYS_PTRACE" in remedy
    assert "kubectl debug --profile=general" in remedy
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    assert ("ptrace_scope" in remedy) == (scope.exists() and scope.read_text() != "0\n")
    assert not may_trace
    assert state in "SR"


def test_a_process_that_has_ended_denies_nothing() -> None:
    """Whether a right is missing cannot be told of a process that is gone, and that is no error."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        target.finish()
        assert denial(proc) is None
        proc.close()
