"""Python stacks of all threads, sampled over the window."""

from __future__ import annotations

import re
from typing import Literal

from doctor.model.base import Row, Value
from doctor.model.evidence import Evidence

_PACKAGES = re.compile(r"/(site|dist)-packages/")
_STDLIB = re.compile(r"/lib(64)?/(python3\.\d+t?|pypy3(\.\d+)?)/|/python3\d+\.zip/")

_FRAMEWORKS = {
    "gunicorn", "uvicorn", "hypercorn", "daphne", "waitress", "cheroot", "werkzeug", "flask", "django", "starlette",
    "fastapi", "tornado", "aiohttp", "asgiref", "anyio", "celery", "kombu", "billiard", "rq", "dramatiq", "grpc",
    "uvloop", "trio", "click", "typer",
}  # fmt: skip
"""Packages that call a service, and are not called by it."""

Origin = Literal["application", "package", "stdlib"]


class Frame(Row, frozen=True):
    """One Python frame: file as the code object names it, line, qualified name where the version has one."""

    file: str
    line: int
    function: str

    @property
    def origin(self) -> Origin:
        """Whose code it is, told from where the file lies."""
        if _PACKAGES.search(self.file):
            return "package"
        if self.file.startswith("<") or _STDLIB.search(self.file):
            return "stdlib"
        return "application"

    @property
    def package(self) -> str:
        """The installed package the file belongs to, by the name of its folder; empty for other code."""
        match = _PACKAGES.search(self.file)
        return self.file[match.end() :].partition("/")[0] if match else ""

    @property
    def short_file(self) -> str:
        """The file below the folder of its library, such as "flask/app.py"; the application's own as it is."""
        library = _PACKAGES.search(self.file) or _STDLIB.search(self.file)
        return self.file[library.end() :] if library else self.file

    @property
    def library(self) -> str:
        """The package, or the module of the standard library: "flask", "threading"; empty for other code."""
        if self.origin == "application":
            return ""
        return self.short_file.strip("<>").removeprefix("frozen ").partition("/")[0].removesuffix(".py")

    def is_in(self, file_suffix: str, *functions: str) -> bool:
        """Whether the frame is one of these functions of that file; names match with or without their class."""
        return self.file.endswith(file_suffix) and (not functions or self.function.rpartition(".")[2] in functions)


class StackRun(Row, frozen=True):
    """Consecutive samples of one thread that showed the same stack in the same state."""

    at_s: float
    until_s: float
    """The first and the last of the samples."""
    samples: int
    stack: int
    """Index into `Stacks.stacks`."""
    active: bool | None
    """On a CPU when it was sampled; None where the sampler could not tell."""
    owns_gil: bool


class ThreadStacks(Value, frozen=True, kw_only=True):
    """The stacks of one thread."""

    tid: int | None
    """The kernel's thread id as this host counts; None where it could not be found."""
    name: str | None
    """As `threading` knows it."""
    runs: tuple[StackRun, ...]

    @property
    def samples(self) -> int:
        """How many samples saw the thread."""
        return sum(run.samples for run in self.runs)


class Stacks(Evidence, tag="stacks", frozen=True, kw_only=True):
    """Sampled stacks of one process; frames and stacks are stored once and named by index."""

    sampler: str
    """The tool and its version."""
    samples: int
    errors: int
    """Attempts that gave no stacks."""
    dropped: int = 0
    """Stacks of single threads that changed too fast to be read."""
    collecting: int | None = None
    """Samples that saw a garbage collector at work; None where the sampler cannot tell."""
    frames: tuple[Frame, ...]
    stacks: tuple[tuple[int, ...], ...]
    """Each a path of indices into `frames`, innermost first."""
    threads: tuple[ThreadStacks, ...]

    def frames_of(self, stack: int) -> tuple[Frame, ...]:
        """The frames of a stack, innermost first."""
        return tuple(self.frames[index] for index in self.stacks[stack])


def application_frame(frames: tuple[Frame, ...]) -> Frame | None:
    """The line a person should open: the innermost frame of the application's own code.

    A service that is itself installed as a package has none. Then it is the innermost frame of the outermost package
    that is no server or framework, since it called the others; without one, the innermost frame of all.
    """
    own = next((frame for frame in frames if frame.origin == "application"), None)
    if own:
        return own
    packages = [frame for frame in frames if frame.origin == "package" and frame.package not in _FRAMEWORKS]
    outermost = packages[-1].package if packages else ""
    return next((frame for frame in packages if frame.package == outermost), frames[0] if frames else None)
