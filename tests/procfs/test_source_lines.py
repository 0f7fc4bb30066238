"""Lines of the code that a process runs: the right ones, or none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from doctor.procfs.source_lines import SourceLines
from doctor.targets.resolve import resolve
from services import PROGRAMS, line_of, service

FOREVER = "2999-01-01T00:00:00+00:00"


def test_a_line_by_its_number() -> None:
    """A line of the program is told as it is written, without its indent; what is no line of it is not."""
    number = line_of("idle_executor", "get")
    file = str(PROGRAMS / "idle_executor.py")
    with service("idle_executor") as target:
        lines = SourceLines(resolve(str(target.pid), children=False).root)
        assert lines.line(file, number) == "jobs.get()  # marker: get"
        assert [lines.line(file, wrong) for wrong in (0, -1, 10_000)] == [None] * 3
        assert lines.line(str(PROGRAMS / "no_such_program.py"), 1) is None


def test_what_is_read_and_what_is_not(tmp_path: Path) -> None:
    """A file is found below the process's own folder; pipes, huge files and what is not Python are left alone."""
    (tmp_path / "app.py").write_text("import this\n")
    (tmp_path / "secret.txt").write_text("hunter2\n")
    os.mkfifo(tmp_path / "pipe.py")
    with (tmp_path / "huge.py").open("wb") as huge:
        huge.truncate(1 << 30)
    program = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(program, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ref = msgspec.structs.replace(resolve(str(process.pid), children=False).root, started_at=FOREVER)
        lines = SourceLines(ref)
        found = [lines.line(name, 1) for name in ("app.py", str(tmp_path / "app.py"))]
        none = [lines.line(name, 1) for name in ("secret.txt", "pipe.py", "huge.py", "\0.py", "")]
        process.kill()
    assert found == ["import this"] * 2
    assert none == [None] * 5


@pytest.mark.parametrize(
    "change", [{"start_ticks": 1}, {"pid": 999_999_999}, {"started_at": "2000-01-01T00:00:00+00:00"}]
)
def test_what_may_be_another_s_code_is_not_told(change: dict[str, object]) -> None:
    """Neither a process that has ended, nor one with a PID used again, nor a file changed since the start tells."""
    with service("idle_executor") as target:
        ref = msgspec.structs.replace(resolve(str(target.pid), children=False).root, **change)
        assert SourceLines(ref).line(str(PROGRAMS / "idle_executor.py"), 1) is None
