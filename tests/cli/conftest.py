"""What the tests of the command line share."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from circumstances import eventually
from doctor.errors import ExitCode
from services import Service, service

from .runs import SHORT, run


@pytest.fixture(autouse=True)
def nothing_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No run leaves a file in the folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    yield
    assert list(folder.iterdir()) == []


@pytest.fixture(scope="package")
def idle() -> Iterator[Service]:
    """A healthy service to look at."""
    with service("idle_executor") as target:
        yield target


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that calls itself Python and is none that doctor could read, so that py-spy is asked."""
    program = tmp_path / "python3.12"
    shutil.copy(shutil.which("sleep") or "", program)
    process = subprocess.Popen([program, "600"])
    eventually(lambda: psutil.Process(process.pid).name(), lambda name: name == program.name)
    yield process
    process.kill()
    process.wait()


@pytest.fixture(scope="package")
def bundle(idle: Service, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was saved before."""
    path = tmp_path_factory.mktemp("saved") / "incident.doctor.gz"
    assert run("capture", str(idle.pid), *SHORT, "-o", str(path)).code == ExitCode.OK
    return path
