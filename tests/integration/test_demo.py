"""`doctor demo`: names what it broke, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from circumstances import eventually
from doctor.demo.faults import FAULTS
from doctor.errors import ExitCode
from integration.looking import MARK, marked
from services import Completed, run_doctor

SHOP = Path(sys.modules["doctor.demo.faults"].__file__ or "").with_name("shop") / "shop.py"
INTERRUPTED = {ExitCode.INTERRUPTED, -signal.SIGINT}
"""A shell tells them not apart; CPython ends by the signal when it came in the middle of an import's `eval`."""
NAMED = {
    "hanging-dependency": ("slow-dependency", "ask_inventory", ["urlopen("]),
    "cpu-hotspot": ("cpu-hotspot", "edit_distance", ["for j, b in", "row.append("]),
}
"""For each fault the finding, and the function and the lines of the shop it points to."""


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_is_named_and_nothing_is_left(fault: str, tmp_path: Path) -> None:
    """The diagnosis is what was announced, with the shop's own line, and the shop is gone afterwards."""
    done = demo(tmp_path, "--fault", fault, "--duration", "5")
    assert done.exit_code == ExitCode.OK, done.stdout + done.stderr
    text = " ".join(done.stdout.split())
    if fault in NAMED:
        finding_id, function, sources = NAMED[fault]
        named = re.search(rf"cause: {finding_id} at \S*/shop\.py:(\d+) in {function} ", text)
        assert named, done.stdout
        assert int(named[1]) in numbers_of(sources)
    else:
        assert "Nothing found" in done.stdout


def has_begun(doctor: psutil.Process) -> bool:
    """The first program of the shop is there."""
    return bool(doctor.children())


def has_broken_it(doctor: psutil.Process) -> bool:
    """All of the shop is there, and doctor looks at it, with a thread for each collector."""
    return doctor.num_threads() > 3


@pytest.mark.parametrize("moment", [has_begun, has_broken_it])
def test_an_interrupt_leaves_nothing(moment: Callable[[psutil.Process], bool], tmp_path: Path) -> None:
    """Ctrl-C while the shop starts, or while it is looked at, takes down all of it and says so."""
    mark = f"{moment.__name__}-{os.getpid()}"
    with subprocess.Popen(
        [sys.executable, "-m", "doctor", "demo", "--duration", "60"],
        env={**os.environ, MARK: mark, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=restore_interrupts,
    ) as process:
        eventually(lambda: moment(psutil.Process(process.pid)), bool, deadline_s=30)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode in INTERRUPTED
    assert complaints.endswith("doctor: interrupted; the target was left as it was\n")
    assert "Traceback" not in complaints
    assert marked(mark) == []
    assert list(tmp_path.iterdir()) == []


def demo(folder: Path, *arguments: str) -> Completed:
    """A run of the demo, which has left no process and no file."""
    mark = f"demo-{os.getpid()}-{folder.name}"
    done = run_doctor("demo", "--no-color", *arguments, env={MARK: mark, "TMPDIR": str(folder)})
    assert marked(mark) == []
    assert list(folder.iterdir()) == []
    return done


def restore_interrupts() -> None:
    """A test that runs in the background has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def numbers_of(sources: list[str]) -> list[int]:
    """The numbers of the lines of the shop in which one of these texts stands."""
    lines = SHOP.read_text(encoding="utf-8").splitlines()
    return [number for number, line in enumerate(lines, 1) if any(source in line for source in sources)]
