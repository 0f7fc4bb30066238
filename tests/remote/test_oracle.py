"""What the programs of `fixtures/services/stacks` say of themselves is true: py-spy sees the same."""

from __future__ import annotations

import os
import select
import subprocess
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from circumstances import eventually
from doctor.backends import pyspy
from interpreters import Interpreter, interpreters
from remote.oracle import (
    CONSTRUCTOR_HELPER,
    Thread,
    differences,
    of_dump,
    of_program,
    possible_stacks,
    why_impossible,
)
from services import Service, service

EVERY = pytest.mark.parametrize("python", interpreters(), ids=str)
ENDS = pytest.mark.parametrize("python", sorted({interpreters()[0], interpreters()[-1]}), ids=str)


@EVERY
def test_py_spy_sees_parked_threads_where_they_see_themselves(python: Interpreter) -> None:
    """Names and stacks of all eight threads are equal line for line; the ninth is the one that told."""
    with service("stacks/parked", python=python) as parked:
        dump = pyspy.dump(parked.pid, timeout_s=20)
    own = of_program(parked.facts, by="ident")
    (walker,) = {one.thread_id for one in dump} - {one.id for one in own}
    assert len(own) == 8
    assert max(len(one.stack) for one in own) > 701
    assert differences(own, of_dump(dump), others=[walker]) == ""


@EVERY
def test_only_py_spy_shows_the_helper_of_a_constructor(python: Interpreter) -> None:
    """The frame that the interpreter has for itself is there from 3.13 on, and the program is right not to show it."""
    with service("stacks/parked", python=python) as parked:
        dump = pyspy.dump(parked.pid, timeout_s=20)
    shown = [(frame.filename, frame.line, frame.name) for one in dump for frame in one.frames]
    assert shown.count(CONSTRUCTOR_HELPER) == (python.version >= (3, 13))


@EVERY
@pytest.mark.parametrize("way", ["plain", "mixed"])
def test_a_stopped_program_has_a_possible_stack(python: Interpreter, way: str) -> None:
    """However often the program is stopped, its threads are in stacks it told, and each time in another one."""
    with service("stacks/churn", way, python=python) as churning:
        possible = possible_stacks(churning.facts, by="ident")
        threads = [one for _ in range(13) for one in of_dump(stopped(churning)) if one.id in possible]
    assert [why for one in threads if (why := why_impossible(one.stack, possible[one.id]))] == []
    assert len({one.stack for one in threads}) >= 7


@ENDS
def test_parked_threads_stay_while_others_come_and_go(python: Interpreter) -> None:
    """Seven threads are where they were, whichever others there are."""
    with service("stacks/births", python=python) as births:
        own = of_program(births.facts, by="ident")
        seen: set[int] = set()
        while len(seen) < 7 + 13:
            dump = nameless(of_dump(stopped(births)))
            assert differences(nameless(own), dump, others=None) == ""
            seen |= {one.id for one in dump}
    assert len(own) == 7


@EVERY
def test_a_subinterpreter_is_all_that_py_spy_sees(python: Interpreter) -> None:
    """py-spy shows the frames inside, and neither the call that leads there nor the main thread."""
    with service("stacks/subinterpreters", python=python) as target:
        (seen,) = of_dump(pyspy.dump(target.pid, timeout_s=20))
    (own,) = of_program(target.facts, by="ident")
    assert own.name == "sub"
    assert own.stack[0][2] == "enter"
    assert [list(place) for place in seen.stack] == target.facts["inside"]
    assert seen.id == own.id


@ENDS
def test_a_program_replaces_itself_and_ends(python: Interpreter) -> None:
    """One process is several programs in turn, as its command line tells, and then it is gone."""
    with service("stacks/execs", "3", python=python) as target:
        seen = command_lines(target)
        target.finish()
    assert {line[-2:] for line in seen} >= {("0", "again"), ("1", "again"), ("2", "again")}
    assert target.returncode == 0


def test_what_differs_is_shown() -> None:
    """Another line, another name, a thread too few and one too many are each told; what is equal is not."""
    one, two = Thread(1, "one", (("a.py", 7, "f"), ("a.py", 3, "main"))), Thread(2, "two", (("a.py", 5, "g"),))
    assert differences([one, two], [two, one, one]) == ""
    assert "-  a.py:7 f\n+  a.py:8 f\n   a.py:3 main" in differences(
        [one], [Thread(1, "one", (("a.py", 8, "f"), one.stack[1]))]
    )
    assert differences([one], [Thread(1, None, one.stack)]) == "thread 1 'one' is named None"
    assert differences([one, two], [one]) == "thread 2 'two' was not seen"
    assert differences([one], [one, two]) == "thread 2 'two' is none of the program's:\n  a.py:5 g"
    assert differences([one], [one, two], others=[2]) == differences([one], [one, two], others=None) == ""


def test_an_impossible_stack_is_told_from_where_on() -> None:
    """The frames no possible stack has there, and a stack that lacks its inner end, are told."""
    inner, outer, main = ("a.py", 7, "f"), ("a.py", 3, "g"), ("a.py", 1, "main")
    possible = frozenset([(inner, outer, main), (("a.py", 2, "main"),)])
    assert why_impossible((inner, outer, main), possible) == ""
    assert why_impossible((inner, main), possible) == "never called:\n  a.py:7 f\nfrom:\n  a.py:1 main"
    assert why_impossible((outer, main), possible) == "it ends too early:\n  a.py:3 g\n  a.py:1 main"


def nameless(threads: list[Thread]) -> list[Thread]:
    """The threads without their names, which py-spy finds or not where `threading` keeps changing them."""
    return [replace(one, name=None) for one in threads]


def stopped(target: Service) -> list[pyspy.DumpThread]:
    """The stacks of a program while py-spy keeps it stopped; it may have to try again where it stopped it in a call."""
    command = [str(pyspy.executable()), "dump", "--json", "--full-filenames", "--pid", str(target.pid)]
    done = eventually(lambda: subprocess.run(command, capture_output=True), lambda done: done.returncode == 0)
    return msgspec.json.decode(done.stdout, type=list[pyspy.DumpThread])


def command_lines(target: Service) -> set[tuple[str, ...]]:
    """All that a process has until it ends."""
    seen = set()
    pidfd = os.pidfd_open(target.pid)
    while not select.select([pidfd], [], [], 0.002)[0]:
        seen.add(tuple(Path(f"/proc/{target.pid}/cmdline").read_text().split("\0")[:-1]))
    os.close(pidfd)
    return seen
