"""Finds the CPythons that programs can be run on here: on PATH, in pyenv, and in the folders made for the tests.

The last are roots of their own, see `scripts/make_interpreters.sh`: an interpreter there sees no other files, so that a
program is copied to where it sees it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

MINOR_VERSIONS = 8
"""What doctor promises to read, from 3.8 to 3.15: a run that covers fewer proves too little."""

_CHECKOUT = Path(__file__).resolve().parents[1]
_PROGRAM = re.compile(r"python3(\.\d+)?t?")
_TELL = "import platform as p, sys; print(p.python_implementation(), *sys.version_info[:3], 't' in sys.abiflags)"


@dataclass(frozen=True, order=True)
class Interpreter:
    """A CPython that is installed here."""

    version: tuple[int, int, int]
    path: str
    """As seen from its root."""
    root: str | None = None
    """The folder it takes for the whole file system; None where that is this machine's own."""
    free_threaded: bool = False

    def __str__(self) -> str:
        return ".".join(map(str, self.version)) + "t" * self.free_threaded

    @property
    def command(self) -> list[str]:
        """What to put before a program as it sees it; the process that this starts becomes the interpreter."""
        return ["chroot", self.root, self.path] if self.root else [self.path]

    @contextmanager
    def sees(self, folder: Path) -> Iterator[Path]:
        """Where it finds a folder of this machine during the block; in a root of its own that is a copy."""
        if self.root is None:
            yield folder
            return
        with tempfile.TemporaryDirectory(prefix="doctor-test-", dir=Path(self.root, "tmp")) as place:
            copy = Path(place, folder.name)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
            yield Path("/") / copy.relative_to(self.root)


OWN = Interpreter(sys.version_info[:3], sys.executable)
"""The one that runs the tests, in its virtual environment."""


@cache
def interpreters() -> tuple[Interpreter, ...]:
    """Every CPython from 3.8 on that has a GIL, oldest first, one of each version."""
    return tuple(python for python in _installed() if not python.free_threaded)


def local_interpreters() -> tuple[Interpreter, ...]:
    """Those that see the same files as the tests, for programs that take or tell paths, or read /proc."""
    return tuple(python for python in interpreters() if python.root is None)


def oldest_and_newest() -> list[Interpreter]:
    """The two ends of `local_interpreters`, for what hardly depends on the version."""
    return sorted({local_interpreters()[0], local_interpreters()[-1]})


def free_threaded_interpreters() -> tuple[Interpreter, ...]:
    """The builds without a GIL, if there are any."""
    return tuple(python for python in _installed() if python.free_threaded)


def minor_versions() -> set[tuple[int, int]]:
    """The minor versions covered by `interpreters`."""
    return {python.version[:2] for python in interpreters()}


@cache
def _installed() -> tuple[Interpreter, ...]:
    found: dict[str, Interpreter] = {}
    for path, root in [*((path, None) for path in _on_this_machine()), *_in_roots()]:
        interpreter = _interpreter(str(path), root)
        if interpreter:
            found.setdefault(str(interpreter), interpreter)
    return tuple(sorted(found.values()))


def _on_this_machine() -> list[Path]:
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    folders += Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/*/bin")
    candidates = {Path(sys.executable).resolve()}
    for folder in folders:
        if folder.name != "shims":
            candidates |= {file.resolve() for file in folder.glob("python3*") if _PROGRAM.fullmatch(file.name)}
    return sorted(candidates)


def _in_roots() -> list[tuple[Path, str]]:
    """Only root may run them, so for anybody else there are none."""
    if os.geteuid() != 0:
        return []
    made = Path(os.environ.get("DOCTOR_INTERPRETERS", _CHECKOUT / ".interpreters"))
    roots = [finished.parent for finished in made.resolve().glob("*/.finished")]
    return [
        (Path("/usr/bin", file.name), str(root))
        for root in sorted(roots)
        for file in sorted(root.glob("usr/bin/python3.*"))
        if _PROGRAM.fullmatch(file.name)
    ]


def _interpreter(path: str, root: str | None) -> Interpreter | None:
    command = [*Interpreter((3, 0, 0), path, root).command, "-c", _TELL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    implementation, *numbers, free_threaded = done.stdout.split() or ["", ""]
    version = tuple(map(int, numbers))
    if implementation != "CPython" or version < (3, 8):
        return None
    return Interpreter((version[0], version[1], version[2]), path, root, free_threaded == "True")
