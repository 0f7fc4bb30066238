"""py-spy's one-shot dump, without stopping the target.

Many dumps are used instead of one recording: a dump starts in about 15 ms, names kernel threads, tells who is on a CPU
and who holds the GIL, and its moment is known, so that each sample can be laid beside what /proc says.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import msgspec


class PySpyError(Exception):
    """A dump that gave no stacks; the text is py-spy's own, first line."""


class DumpFrame(msgspec.Struct, frozen=True):
    """One frame as py-spy prints it."""

    name: str
    filename: str
    line: int


class DumpThread(msgspec.Struct, frozen=True):
    """One thread as py-spy prints it: innermost frame first."""

    thread_id: int
    """The pthread id."""
    thread_name: str | None
    os_thread_id: int | None
    """The kernel's id in the target's PID namespace; None before Python 3.11."""
    active: bool
    owns_gil: bool
    frames: list[DumpFrame]


_running: set[subprocess.Popen[bytes]] = set()
_DECODER = msgspec.json.Decoder(list[DumpThread])


@cache
def executable() -> str | None:
    """py-spy beside this interpreter, else on PATH; None when it is not installed."""
    beside = Path(sys.executable).parent / "py-spy"
    return str(beside) if beside.exists() else shutil.which("py-spy")


@cache
def version() -> str:
    """As py-spy prints it, such as "py-spy 0.4.3".

    Raises:
        PySpyError: it is not installed, or does not run.
    """
    return _run(["--version"], timeout_s=10).decode().strip()


def dump(pid: int, timeout_s: float) -> list[DumpThread]:
    """The stacks of all threads of a process, read while it runs.

    Raises:
        PySpyError: py-spy failed, printed what is no dump, or did not end in time.
    """
    output = _run(["dump", "--json", "--nonblocking", "--full-filenames", "--pid", str(pid)], timeout_s)
    try:
        return _DECODER.decode(output)
    except msgspec.MsgspecError as error:
        raise PySpyError(f"unexpected output: {error}") from error


def cpu_s() -> float:
    """CPU time of all the dumps that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def stop() -> None:
    """Ends the dumps that are under way in other threads."""
    for process in tuple(_running):
        process.kill()


def _run(arguments: list[str], timeout_s: float) -> bytes:
    program = executable()
    if program is None:
        raise PySpyError("py-spy is not installed")
    environment = os.environ | {"RUST_BACKTRACE": "0"}
    try:
        process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
        )
    except OSError as error:
        raise PySpyError(f"cannot run {program}: {error.strerror}") from error
    output, errors = _outcome(process, timeout_s)
    if process.returncode:
        lines = errors.decode(errors="replace").strip().splitlines()
        raise PySpyError(lines[0].removeprefix("Error: ") if lines else f"exit code {process.returncode}")
    return output


def _outcome(process: subprocess.Popen[bytes], timeout_s: float) -> tuple[bytes, bytes]:
    with process:
        _running.add(process)
        try:
            return process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            raise PySpyError(f"no answer within {timeout_s:.0f} s") from None
        finally:
            process.kill()
            _running.discard(process)
