"""What people install: the wheel, in an empty virtual environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from services import service

ROOT = Path(__file__).parents[1]

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def doctor(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs the `doctor` command of a freshly built and installed wheel, from a folder without a checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    _call(sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("service_doctor-*.whl")
    venv.create(folder / "venv", with_pip=True)
    _call(str(folder / "venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", str(wheel))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        program = folder / "venv" / "bin" / "doctor"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return subprocess.run([program, *arguments], cwd=folder, env=environment, capture_output=True, text=True)

    return run


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_tells_its_version(doctor: Run) -> None:
    """`doctor --version` runs from the wheel."""
    assert doctor("--version").stdout.startswith("doctor ")


def test_it_holds_the_playbooks(doctor: Run) -> None:
    """Every playbook of the checkout is in the wheel."""
    listed = json.loads(doctor("playbook", "list", "--format", "json").stdout)
    assert {row["id"] for row in listed} == {path.stem for path in (ROOT / "playbooks").rglob("*.yaml")}


def test_it_diagnoses_a_process(doctor: Run) -> None:
    """The installed program, with its own py-spy, finds what is wrong with a live process."""
    with service("hanging_dependency", "sick") as sick:
        printed = doctor("diagnose", str(sick.pid), "--duration", "3", "--format", "json")
    assert printed.returncode == 3, printed.stderr
    diagnosis = json.loads(printed.stdout)
    roots = [
        finding["id"] for finding in diagnosis["findings"] if finding["ref"] in diagnosis["verdict"]["root_causes"]
    ]
    assert roots == ["slow-dependency"]


def test_the_demo_says_what_it_lacks(doctor: Run) -> None:
    """Without the extra the demo names the command that installs it."""
    refused = doctor("demo")
    assert refused.returncode == 2
    assert "pip install 'service-doctor[demo]'" in refused.stderr
