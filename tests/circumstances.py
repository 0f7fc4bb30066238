"""Circumstances doctor has to cope with, made for real: no rights, a PID taken again, py-spy missing or sick."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

ROOT = Path(__file__).resolve().parents[1]

T = TypeVar("T")

UNPRIVILEGED = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
"""Put before a command: the same user, without a single capability. Against a process of root's that has all of them
the kernel then denies ptrace access."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to take rights away or to move PIDs")
needs_setpriv = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="takes root and setpriv, to take rights away"
)
needs_unshare = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes root and unshare, to make a namespace"
)

_LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def eventually(look: Callable[[], T], holds: Callable[[T], object], deadline_s: float = 10.0) -> T:
    """Looks again and again until what is seen holds, and returns that; for states the kernel announces to nobody."""
    until = time.monotonic() + deadline_s
    while not holds(seen := look()):
        assert time.monotonic() < until, f"after {deadline_s} s it is still {seen!r}"
        time.sleep(0.002)
    return seen


@contextmanager
def taking_pid(pid: int, *, deadline_s: float = 10.0) -> Iterator[None]:
    """Another Python process gets this PID, which must be free, and keeps it to the end of the block."""
    until = time.monotonic() + deadline_s
    while True:
        _LAST_PID.write_text(str(pid - 1))
        heir = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            if heir.pid == pid:
                yield
                return
        finally:
            heir.kill()
            heir.communicate()
        assert time.monotonic() < until, f"PID {pid} could not be had again"


def interpreter_without(folder: Path) -> Path:
    """A Python with all that doctor needs except py-spy, which is looked for beside it first and then on PATH."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    packages = folder / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    (packages / "doctor-tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ROOT}\n")
    return python


def interpreter_with(folder: Path, pyspy: str) -> Path:
    """The same with a py-spy that is this shell script."""
    python = interpreter_without(folder)
    script = python.with_name("py-spy")
    script.write_text(f"#!/bin/sh\n{pyspy}\n")
    script.chmod(0o755)
    return python


def start_doctor(
    *args: str,
    python: str | Path = sys.executable,
    prefix: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    stdout: int = subprocess.PIPE,
    encoding: str = "utf-8",
) -> subprocess.Popen[str]:
    """Doctor as a child, for what has to happen while it runs; in a session of its own, as a service would run it."""
    return subprocess.Popen(
        [*prefix, str(python), "-m", "doctor", *args],
        env={**os.environ, **(env or {})},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        encoding=encoding,
        start_new_session=True,
    )
