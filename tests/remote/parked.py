"""A Python that stands still and tells the truth about itself, to compare with what is read from outside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from doctor.procfs.handle import ProcDir
from doctor.remote.process import LiveProcess
from interpreters import Interpreter, local_interpreters
from services import Service, running

needs_gcc = pytest.mark.skipif(
    shutil.which("gcc") is None or shutil.which("strip") is None, reason="takes gcc and binutils, to make files to read"
)

PROGRAM = """
import json, os, sys, threading

def address_of_runtime():
    if "RUNTIME" in os.environ:
        return int(os.environ["RUNTIME"], 16)
    import ctypes
    return ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))

running = threading.Barrier(3)

def park():
    running.wait()
    os.read(int(os.environ["LIFE_FD"]), 1)

threading.stack_size(1 << 18)
threads = [threading.Thread(target=park, daemon=True) for _ in range(2)]
for thread in threads:
    thread.start()
running.wait()
facts = {
    "runtime": address_of_runtime(),
    "type": id(type),
    "version": list(sys.version_info),
    "tids": [threading.get_native_id()] + [thread.native_id for thread in threads],
}
os.write(int(os.environ["READY_FD"]), json.dumps(facts).encode() + b"\\n")
os.read(int(os.environ["LIFE_FD"]), 1)
"""


def parked(command: Sequence[str], env: Mapping[str, str] | None = None) -> AbstractContextManager[Service]:
    """The program on any interpreter; facts: runtime and type (addresses), version, tids (the main thread's first)."""
    small = {"MALLOC_ARENA_MAX": "1"}  # or else a core file has 64 MiB for each thread
    return running([*command, "-c", PROGRAM], env={**small, **(env or {})})


@contextmanager
def live(pid: int) -> Iterator[LiveProcess]:
    """A process as doctor reads it."""
    proc = ProcDir(pid)
    try:
        yield LiveProcess(proc)
    finally:
        proc.close()


@dataclass(frozen=True)
class Installation:
    """A CPython whose interpreter is a library."""

    python: Interpreter
    prefix: Path

    @property
    def library(self) -> Path:
        """The file that has the interpreter in it."""
        return self.prefix / "lib" / "libpython{}.{}.so.1.0".format(*self.python.version)

    @property
    def env(self) -> dict[str, str]:
        """What a copy of its files needs to find the standard library."""
        return {"PYTHONHOME": str(self.prefix)}

    def __str__(self) -> str:
        return str(self.python)


def installations() -> list[Installation]:
    """All of them that are here."""
    found = [Installation(python, Path(python.path).parents[1]) for python in local_interpreters()]
    return [one for one in found if one.library.exists()]


@dataclass(frozen=True)
class Copy:
    """The executable and library of an installation in another folder, to be changed or deleted there."""

    executable: Path
    library: Path
    env: dict[str, str]

    @classmethod
    def of(cls, installation: Installation, folder: Path) -> Copy:
        """A new one."""
        files = [Path(installation.python.path), installation.library]
        executable, library = (Path(shutil.copy2(file, folder)) for file in files)
        return cls(executable, library, {**installation.env, "LD_LIBRARY_PATH": str(folder)})


def compiled(source: str, program: Path, *options: str) -> Path:
    """A C program, or a library."""
    subprocess.run(
        ["gcc", "-x", "c", "-", "-x", "none", "-o", str(program), *options], input=source, text=True, check=True
    )
    return program
