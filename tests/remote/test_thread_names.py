"""Thread names are those that `threading` has, for exactly the threads it has them for."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager

import pytest

from doctor.remote.thread_names import thread_names
from interpreters import OWN, Interpreter, interpreters
from remote.reading import reading
from services import Service, running, service

READS_A_THREAD = 20
"""At most; each takes some 5 µs."""

BARE = """
import os, sys
assert "threading" not in sys.modules
os.write(int(os.environ["READY_FD"]), b"{}\\n")
os.read(int(os.environ["LIFE_FD"]), 1)
"""

ODD = """
import _thread, json, os, threading

class Worker(threading.Thread):
    __slots__ = ("slot",)

    def __init__(self, name):
        self.before = self.slot = name
        super().__init__(target=park, name=name)
        self.after = 1

class Text(str):
    pass

started, gate, dummies = threading.Barrier(4), _thread.allocate_lock(), []

def park():
    started.wait()
    gate.acquire()

def park_unknown():
    dummies.append(threading.current_thread())
    park()

gate.acquire()
workers = [Worker("worker"), Worker("second")]
for worker in workers:
    worker.start()
_thread.start_new_thread(park_unknown, ())
started.wait()
workers[1].name = Text("renamed заказ")
known = [threading.main_thread(), *workers, *dummies]
facts = {str(thread.ident): thread.name for thread in known}
threading._active[13] = workers[0]
threading._active["text"] = threading._active[14] = None
os.write(int(os.environ["READY_FD"]), json.dumps(facts).encode() + b"\\n")
os.read(int(os.environ["LIFE_FD"]), 1)
"""


def program(source: str, python: Interpreter) -> AbstractContextManager[Service]:
    """A program that is a few lines long."""
    return running([*python.command, "-S", "-c", source], env={})  # what is installed may import `threading`


def names(target: Service) -> dict[int, str]:
    """The names in a process."""
    with reading(target.pid) as (reader, interpreter):
        return thread_names(reader, interpreter)


def told(target: Service) -> dict[int, str]:
    """Those of the parked threads, as they see them themselves."""
    return {thread["ident"]: thread["name"] for thread in target.facts["threads"]}


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_names_are_what_the_threads_say(python: Interpreter) -> None:
    """Every thread has its name, the main one too, and a name may be of any characters."""
    with service("stacks/parked", python=python) as target:
        found = names(target)
        assert {ident: found[ident] for ident in told(target)} == told(target)
        assert sorted(set(found.values()) - set(told(target).values())) == ["walker"]


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_odd_threads(python: Interpreter) -> None:
    """Threads of a subclass, renamed ones and those that Python did not start have names; entries that lie do not."""
    with program(ODD, python) as target:
        assert names(target) == {int(ident): name for ident, name in target.facts.items()}
        assert any(name.startswith("Dummy-") for name in target.facts.values())


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_without_threading_there_are_no_names(python: Interpreter) -> None:
    """A program that never imported `threading` is no error."""
    with program(BARE, python) as target:
        assert names(target) == {}


@pytest.mark.parametrize("python", interpreters(), ids=str)
def test_names_are_right_while_threads_come_and_go(python: Interpreter) -> None:
    """With 500 births a second no thread has the name of another, and those that stay always have theirs."""
    with service("stacks/births", python=python) as target, reading(target.pid) as (reader, interpreter):
        for _ in range(100):
            found = thread_names(reader, interpreter)
            stay = {ident: found.pop(ident, None) for ident in told(target)}
            assert stay == told(target)
            assert all(re.fullmatch(r"MainThread|Thread-\d+( \(live\))?", name) for name in found.values())
            assert len(set(found.values())) == len(found)


def test_reading_names_is_cheap() -> None:
    """It takes few reads for each of 200 threads."""
    with service("many_threads", "200", "2", python=OWN) as target, reading(target.pid) as (reader, interpreter):
        before = reader.memory.calls
        assert len(thread_names(reader, interpreter)) == 201
        assert reader.memory.calls - before < READS_A_THREAD * 201
