"""Every CPython that is installed here: names, functions and lines are right on each."""

from __future__ import annotations

import pytest

from integration.looking import Look, assert_root, later, look, place, side_by_side
from interpreters import Interpreter, interpreters
from services import line_of

SECONDS = 2.0
WORKERS = 7


@pytest.fixture(scope="module", params=interpreters(), ids=str)
def python(request: pytest.FixtureRequest) -> Interpreter:
    """Each interpreter in turn."""
    interpreter: Interpreter = request.param
    return interpreter


@pytest.fixture(scope="module")
def looks(python: Interpreter) -> dict[str, Look]:
    """Three programs that want no CPU."""
    programs = ("hanging_dependency", "blocked_loop", "fd_leak")
    return side_by_side({name: later(name, "sick", seconds=SECONDS, python=python) for name in programs})


def test_the_waiting_threads_are_named(looks: dict[str, Look], python: Interpreter) -> None:
    """Each of the 7 threads has its own name, and the line of the call that does not return."""
    looked = looks["hanging_dependency"]
    finding = assert_root(looked, "slow-dependency", "error")
    assert looked.diagnosis.target.python == str(python)
    assert finding.measurements["threads"].value == WORKERS
    call = ("hanging_dependency.py", line_of("hanging_dependency", "call"), "call_inventory")
    assert [place(where) for where in finding.where] == [call] * WORKERS
    assert {where.thread for where in finding.where} == {f"checkout-{number}" for number in range(1, WORKERS + 1)}
    assert looked.effects("slow-dependency") == ["thread-pool-starved"]


def test_the_blocked_loop_is_found(looks: dict[str, Look]) -> None:
    """The coroutine that sleeps, its line, and the loop's thread."""
    finding = assert_root(looks["blocked_loop"], "event-loop-blocked", "error")
    assert place(finding.where[0]) == ("blocked_loop.py", line_of("blocked_loop", "block"), "take_order")
    assert finding.where[0].thread == "MainThread"


def test_the_leak_is_found(looks: dict[str, Look], python: Interpreter) -> None:
    """The file that is opened again and again."""
    looked = looks["fd_leak"]
    assert looked.roots == looked.ids == ["fd-leak"]
    assert f"file:{python.root or ''}{looked.facts['path']}" in looked.finding("fd-leak").subjects


def test_the_hot_function_is_found(python: Interpreter) -> None:
    """The function that takes a core, in its loop, and the name of its thread."""
    looked = look("cpu_hotspot", "sick", seconds=SECONDS, python=python)
    finding = assert_root(looked, "cpu-hotspot", "warning")
    hot = line_of("cpu_hotspot", "hot")
    assert place(finding.where[0]) in [("cpu_hotspot.py", line, "score") for line in (hot - 1, hot)]
    assert finding.where[0].thread == "pricing"
