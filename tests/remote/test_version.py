"""Which Python a process runs, told from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from circumstances import ROOT, UNPRIVILEGED, needs_setpriv
from doctor.procfs.handle import ProcDir
from doctor.remote.version import Interpreter, interpreter
from doctor.targets.processes import command_line
from interpreters import Interpreter as Installed
from interpreters import interpreters, local_interpreters, oldest_and_newest
from services import PROGRAMS, running, service

SCRIPT = """
import sys
from doctor.procfs.handle import ProcDir
from doctor.remote.version import interpreter
from doctor.targets.processes import command_line
proc = ProcDir(int(sys.argv[1]))
print(interpreter(proc, command_line(proc)))
"""


def version_of(pid: int) -> Interpreter | None:
    """What doctor says a process runs."""
    proc = ProcDir(pid)
    try:
        return interpreter(proc, command_line(proc))
    finally:
        proc.close()


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_the_exact_version_is_told(python: Installed) -> None:
    """Major, minor and patch of each installed interpreter, read from its binary or its library."""
    with service("short_lived", python=python) as target:
        assert version_of(target.pid) == Interpreter("CPython", str(python))


@pytest.mark.parametrize("python", oldest_and_newest(), ids=str)
def test_a_deleted_executable_is_still_known(python: Installed, tmp_path: Path) -> None:
    """An interpreter that was upgraded or removed after the start is read through the file that the process holds."""
    copy = tmp_path / Path(python.path).name
    shutil.copy2(python.path, copy)
    home = subprocess.run(
        [python.path, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True
    )
    program = str(PROGRAMS / "short_lived.py")
    with running([str(copy), program], env={"PYTHONHOME": home.stdout.strip()}) as target:
        copy.unlink()
        assert version_of(target.pid) == Interpreter("CPython", str(python))


def test_a_virtual_environment_is_its_base() -> None:
    """Of a process in a virtual environment the version is that of the interpreter the environment was made from."""
    with service("short_lived") as target:
        assert version_of(target.pid) == Interpreter("CPython", ".".join(map(str, sys.version_info[:3])))


@pytest.mark.parametrize("command", [["cat"], ["sh", "-c", "read x; echo python3"]])
def test_what_is_no_python_has_no_version(command: list[str]) -> None:
    """A process that is not Python, even if its command line mentions it, is none."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as other:
        assert version_of(other.pid) is None
        other.kill()


def test_a_zombie_has_no_version() -> None:
    """Of a process that has exited there is nothing to read."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert version_of(pid) is None
    os.waitpid(pid, 0)


@needs_setpriv
def test_without_rights_the_command_line_tells_the_minor_version() -> None:
    """Where the executable may not be looked at, the name in the command line is all there is."""
    python = next(one for one in local_interpreters() if one.path.endswith("python{}.{}".format(*one.version)))
    with service("short_lived", python=python) as target:
        command = [*UNPRIVILEGED, sys.executable, "-c", SCRIPT, str(target.pid)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(Interpreter("CPython", "{}.{}".format(*python.version)))
