"""Runs of doctor that are held to what every run promises: nothing left behind, and the target as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from circumstances import eventually, start_doctor
from services import Service, group_members

SHORT = ("--duration", "0.5")


class Ended(NamedTuple):
    """How a run of doctor ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The diagnosis, where it was asked for as JSON."""
        return json.loads(self.stdout)


def end_of(doctor: subprocess.Popen[str], timeout_s: float = 30.0) -> Ended:
    """Waits for a run; it has left no process, and no traceback in place of a message."""
    stdout, stderr = doctor.communicate(timeout=timeout_s)
    assert group_members(doctor.pid) == []
    assert "Traceback" not in stderr
    return Ended(doctor.returncode, stdout or "", stderr)


def run(*args: str, **circumstances: Any) -> Ended:
    """A whole run of doctor."""
    return end_of(start_doctor(*args, **circumstances))


@contextmanager
def unharmed(target: Service | subprocess.Popen[bytes]) -> Iterator[str]:
    """The PID of a target that at the end of the block is stopped or not, as before, with no tracer and all threads."""

    def state() -> tuple[bool, str, str]:
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{target.pid}/status").read_text().splitlines())
        assert status["State"][0] in "RST"
        return status["State"][0] == "T", status["TracerPid"], status["Threads"]

    before = state()
    assert before[1] == "0"
    yield str(target.pid)
    assert state() == before


def capturing(doctor: subprocess.Popen[str]) -> None:
    """Waits until a run has begun to look: its collectors are threads."""
    eventually(lambda: doctor.poll() is not None or psutil.Process(doctor.pid).num_threads() > 4, bool)
    assert doctor.poll() is None
