"""Of a process that doctor cannot read itself, without py-spy or with a sick one everything but the stacks is there."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from circumstances import interpreter_with, interpreter_without
from doctor.errors import ExitCode

from .runs import SHORT, Ended, run, unharmed

EMPTY_PATH = {"PATH": "/usr/bin:/bin"}


def assert_without_stacks(ended: Ended, reason: str) -> None:
    """Everything but the stacks is there, and the reason why they are not."""
    assert ended.code == ExitCode.INCONCLUSIVE
    (skip,) = [skip for skip in ended.json["skipped"] if skip["decisive"]]
    assert skip["collector"] == "stacks"
    assert reason in skip["reason"]
    assert skip["remedy"]
    assert "slow-dependency" in skip["rules"]
    assert {"cpu-starved", "fd-leak"} <= set(ended.json["checked"])


def test_py_spy_is_missing(foreign: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """Without py-spy the rest is diagnosed, and the command that installs it is named."""
    python = interpreter_without(tmp_path / "venv")
    with unharmed(foreign) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python, env=EMPTY_PATH)
    assert_without_stacks(ended, "py-spy is not installed")
    assert ended.json["skipped"][0]["remedy"] == "pip install py-spy"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'Error: no luck today' >&2; exit 1", "nor could py-spy read it: no luck today"),
        ("kill -SEGV $$", "exit code -11"),
        ("printf '\\377\\376 garbage'", "unexpected output"),
        ("echo '[{{\"thread_id\": 1}}]'", "unexpected output"),
        ("exec sleep 1000", "no answer within 5 s"),
    ],
)
def test_py_spy_fails(script: str, reason: str, foreign: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A py-spy that fails, prints anything but a dump, or hangs, costs its stacks alone, and its own words are told."""
    python = interpreter_with(tmp_path / "venv", script.format())
    began_s = time.monotonic()
    with unharmed(foreign) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python)
    assert_without_stacks(ended, reason)
    assert time.monotonic() - began_s < 15


def test_py_spy_cannot_be_run(foreign: subprocess.Popen[bytes], tmp_path: Path) -> None:
    """A py-spy for another machine, or without permission, is told with the system's own words."""
    python = interpreter_with(tmp_path / "venv", "")
    python.with_name("py-spy").write_bytes(b"\x7fELF")
    with unharmed(foreign) as pid:
        ended = run("diagnose", pid, *SHORT, "--format", "json", python=python)
    assert_without_stacks(ended, "Exec format error")
