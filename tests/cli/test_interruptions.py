"""Runs that are ended from outside: by a signal at any moment, or by a reader that leaves."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from circumstances import eventually, interpreter_with, start_doctor
from doctor.errors import ExitCode
from services import Service, group_members

from .runs import SHORT, Ended, capturing, end_of, run, unharmed

HANGS = "exec sleep 1000"
"""A py-spy that never ends."""


def cpu_s(doctor: subprocess.Popen[str]) -> float:
    """The CPU time a run has taken to start so far; without end for one that has begun to look, or has ended."""
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        started = len(list(Path(f"/proc/{doctor.pid}/task").iterdir())) > 4
        return float("inf") if started else int(Path(f"/proc/{doctor.pid}/schedstat").read_text().split()[0]) / 1e9
    return float("inf")


@pytest.mark.parametrize("begun_s", [0, 0.02, 0.1, 0.2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_before_the_capture(number: signal.Signals, begun_s: float, idle: Service) -> None:
    """A signal at any moment of the start, told by the CPU time taken, ends doctor; before it is up, as any program."""
    with unharmed(idle) as pid:
        doctor = start_doctor("diagnose", pid, "--duration", "60")
        eventually(lambda: cpu_s(doctor), lambda taken_s: taken_s >= begun_s)
        doctor.send_signal(number)
        _, stderr = doctor.communicate(timeout=10)
        assert group_members(doctor.pid) == []
    if doctor.returncode == ExitCode.INTERRUPTED:
        assert stderr == "\ndoctor: interrupted; the target was left as it was\n"
    else:
        assert number == signal.SIGTERM or begun_s < 0.2
        assert doctor.returncode == -number or (begun_s < 0.05 and "init_import_site" in stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_during_the_capture(number: signal.Signals, idle: Service, tmp_path: Path) -> None:
    """A signal during the capture ends doctor with its own exit code, and no half of an output is written."""
    with unharmed(idle) as pid:
        file = tmp_path / "incident.doctor.gz"
        doctor = start_doctor("diagnose", pid, "--duration", "60", "--save", str(file))
        capturing(doctor)
        doctor.send_signal(number)
        ended = end_of(doctor, timeout_s=5)
    assert (ended.code, ended.stdout) == (ExitCode.INTERRUPTED, "")
    assert ended.stderr.endswith("doctor: interrupted; the target was left as it was\n")
    assert not file.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_while_py_spy_hangs(
    number: signal.Signals, foreign: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    """A signal to doctor alone ends a py-spy that would never have ended."""
    python = interpreter_with(tmp_path / "venv", HANGS)
    with unharmed(foreign) as pid:
        doctor = start_doctor("diagnose", pid, "--duration", "60", python=python)
        eventually(lambda: psutil.Process(doctor.pid).children(), bool)
        doctor.send_signal(number)
        assert end_of(doctor, timeout_s=5).code == ExitCode.INTERRUPTED


def test_interrupted_after_the_window_while_py_spy_hangs(foreign: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """The same holds when the window is over and nothing is waited for but py-spy."""
    python = interpreter_with(tmp_path / "venv", HANGS)
    with unharmed(foreign) as pid:
        doctor = start_doctor("diagnose", pid, *SHORT, python=python)
        capturing(doctor)
        eventually(lambda: psutil.Process(doctor.pid).num_threads(), lambda threads: threads == 2)
        doctor.send_signal(signal.SIGINT)
        assert end_of(doctor, timeout_s=3).code == ExitCode.INTERRUPTED


@pytest.mark.parametrize("arguments", [("rules",), ("ps",), ("explain", "fd-leak"), ("playbook", "show", "fd-leak")])
def test_a_list_that_nobody_reads_to_its_end(arguments: tuple[str, ...]) -> None:
    """A reader that leaves early, as `head` does, is no failure."""
    assert into_nothing(*arguments) == Ended(ExitCode.OK, "", "")


@pytest.mark.parametrize("format_name", ["text", "json", "markdown"])
def test_a_diagnosis_that_nobody_reads_to_its_end(format_name: str, bundle: Path) -> None:
    """A reader that leaves early does not change the exit code of a diagnosis."""
    expected = run("diagnose", str(bundle)).code
    assert into_nothing("diagnose", str(bundle), "--format", format_name) == Ended(expected, "", "")


def into_nothing(*args: str) -> Ended:
    """A run whose stdout is closed at the other end."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return end_of(start_doctor(*args, stdout=writer))
    finally:
        os.close(writer)
