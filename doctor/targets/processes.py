"""The Python processes of this host."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

from doctor.model.target import ProcessRef
from doctor.procfs.descriptors import Descriptors
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import TICKS_PER_S, Stat
from doctor.redact import redact_arguments
from doctor.remote.version import Interpreter, interpreter

_SERVERS = ("gunicorn", "uvicorn", "hypercorn", "daphne", "granian", "uwsgi", "celery", "rq", "dramatiq", "huey",
            "waitress", "cheroot", "flask", "runserver", "streamlit", "airflow", "jupyter", "supervisord")  # fmt: skip


class PythonProcess(NamedTuple):
    """A Python process as `doctor ps` lists it."""

    ref: ProcessRef
    implementation: str
    threads: int
    rss_bytes: int


def python_processes(pids: Iterable[int] | None = None) -> Iterator[PythonProcess]:
    """Every Python process this user can see, or those of them that are named, by PID."""
    for pid in sorted(psutil.pids() if pids is None else pids):
        try:
            proc = ProcDir(pid)
        except (PermissionError, *GONE):
            continue
        try:
            found = inspect(proc)
        finally:
            proc.close()
        if found:
            yield found


def parents() -> dict[int, int]:
    """The parent of every process this user can see."""
    found: dict[int, int] = {}
    for pid in psutil.pids():
        try:
            proc = ProcDir(pid)
        except (PermissionError, *GONE):
            continue
        try:
            found[pid] = proc.stat().ppid
        except GONE:
            continue
        finally:
            proc.close()
    return found


def inspect(proc: ProcDir) -> PythonProcess | None:
    """What a process is; None when it is not Python, a zombie, or gone."""
    try:
        stat = proc.stat()
        cmdline = command_line(proc)
        runs = interpreter(proc, cmdline)
    except GONE:
        return None
    if stat.state in "ZX" or runs is None:
        return None
    return PythonProcess(reference(proc, stat, cmdline, runs), runs.implementation, stat.threads, stat.rss_bytes)


def reference(proc: ProcDir, stat: Stat, cmdline: tuple[str, ...], runs: Interpreter) -> ProcessRef:
    """A process as a target names it."""
    return ProcessRef(
        pid=proc.pid,
        ppid=stat.ppid,
        start_ticks=stat.start_ticks,
        started_at=_started_at(stat.start_ticks),
        cmdline=cmdline,
        exe=_exe(proc),
        python=runs.version,
        stopped=stat.state in "Tt",
    )


def command_line(proc: ProcDir) -> tuple[str, ...]:
    """The arguments of a process; bytes that are not UTF-8 are shown as escapes."""
    return tuple(printable(argument) for argument in proc.read("cmdline").split(b"\0")[:-1])


def printable(text: bytes) -> str:
    """Text of the target that any output can carry."""
    return text.decode("utf-8", "backslashreplace")


def one_line(cmdline: tuple[str, ...], longest: int) -> str:
    """A command line for a list: without secrets, and without anything that a terminal obeys."""
    text = " ".join(redact_arguments(cmdline))
    shown = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def listening_ports(proc: ProcDir) -> tuple[int, ...]:
    """TCP ports the process listens on; empty where its descriptors may not be read."""
    try:
        descriptors = Descriptors(proc).all().values()
    except (PermissionError, *GONE):
        return ()
    return tuple(sorted({port(item.target) for item in descriptors if item.kind == "tcp-listen"}))


def port(address: str) -> int:
    """The port of a host:port address."""
    return int(address.rpartition(":")[2])


def framework(cmdline: tuple[str, ...]) -> str:
    """The server or framework a command line names, or ""."""
    words = [Path(word).name for word in cmdline[:6]]
    return next((name for name in _SERVERS for word in words if word.startswith(name)), "")


def _exe(proc: ProcDir) -> str | None:
    try:
        return proc.readlink("exe")
    except (PermissionError, *GONE):
        return None


@cache
def _boot_time() -> float:
    return psutil.boot_time()


def _started_at(start_ticks: int) -> str:
    moment = datetime.datetime.fromtimestamp(_boot_time() + start_ticks / TICKS_PER_S, datetime.timezone.utc)
    return moment.isoformat(timespec="seconds")
