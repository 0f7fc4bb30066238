"""What a thread waits for, read from outside, on every interpreter that is installed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from circumstances import eventually
from doctor.model.evidence.threads import Wait
from doctor.procfs.handle import GONE, ProcDir
from doctor.procfs.parse import parse_stat
from doctor.procfs.waits import WaitReader
from interpreters import Interpreter, local_interpreters
from services import Service, service

TIMEOUT_S = 997.0


class Waiting:
    """The program with one thread for each wait, and a reader of it."""

    def __init__(self, target: Service) -> None:
        self.target = target
        self.proc = ProcDir(target.pid)
        self._reader = WaitReader(self.proc)

    def of(self, thread: str) -> Wait:
        """What a thread waits for now."""
        tid = self.target.facts["threads"][thread]["tid"]
        self._reader.forget()
        return self._reader.read(tid, parse_stat(self.proc.read(f"task/{tid}/stat")).state)

    def peer(self, fact: str) -> str:
        """A server of the program as a peer."""
        return f"127.0.0.1:{self.target.facts[fact]}"

    def eventually(self, thread: str, holds: Callable[[Wait], bool]) -> Wait:
        """What a thread waits for once it has arrived there."""
        return eventually(lambda: self.of(thread), holds)


@pytest.fixture(scope="module", params=local_interpreters(), ids=str)
def waiting(request: pytest.FixtureRequest) -> Iterator[Waiting]:
    """The program on each interpreter."""
    python: Interpreter = request.param
    with service("waits", python=python) as target:
        found = Waiting(target)
        yield found
        found.proc.close()


@pytest.mark.parametrize(
    ("thread", "reason", "resource"),
    [
        ("accept", "accept", None),
        ("child", "child", None),
        ("epoll", "epoll", None),
        ("flock", "lock", None),
        ("pipe", "read", "pipe pipe"),
        ("poll-two", "poll", None),
        ("send-unix", "write", "unix unix socket"),
    ],
)
def test_a_wait_has_its_reason(waiting: Waiting, thread: str, reason: str, resource: str | None) -> None:
    """A thread in a system call that waits for one thing is said to wait for that."""
    wait = waiting.eventually(thread, lambda seen: seen.reason == reason and seen.resource == resource)
    assert wait.peer is None
    assert not wait.inbound
    assert wait.timeout_s is None


@pytest.mark.parametrize("thread", ["lock", "lock-timeout", "main"])
def test_a_lock_is_a_lock(waiting: Waiting, thread: str) -> None:
    """A thread that waits for a lock, with or without a timeout, is not taken for one that waits for the GIL."""
    assert waiting.eventually(thread, lambda seen: seen.reason == "lock").address


def test_a_sleep_is_a_sleep(waiting: Waiting) -> None:
    """`time.sleep` is a sleep, whether the interpreter makes a nanosleep or a select of nothing of it."""
    wait = waiting.eventually("sleep", lambda seen: seen.reason == "sleep")
    assert wait.timeout_s in (None, pytest.approx(TIMEOUT_S, abs=5))


@pytest.mark.parametrize(
    ("thread", "reason", "server"),
    [("recv", "read", "port"), ("select-one", "poll", "port"), ("connect", "connect", "full_port")],
)
def test_a_dependency_is_named(waiting: Waiting, thread: str, reason: str, server: str) -> None:
    """A thread that waits for an answer, or for a connection, without a timeout names who it waits for."""
    peer = waiting.peer(server)
    wait = waiting.eventually(thread, lambda seen: seen.reason == reason and seen.peer == peer)
    assert wait.resource == f"tcp {peer}"
    assert wait.timeout_s is None
    assert not wait.inbound


def test_a_timeout_is_told(waiting: Waiting) -> None:
    """A socket with a timeout polls, and both its timeout and its peer are known."""
    wait = waiting.eventually("recv-timeout", lambda seen: seen.reason == "poll" and seen.peer is not None)
    assert wait.peer == waiting.peer("port")
    assert wait.timeout_s == pytest.approx(TIMEOUT_S, abs=5)


def test_a_client_is_no_dependency(waiting: Waiting) -> None:
    """A thread that waits for its own client's request waits for no peer."""
    wait = waiting.eventually("recv-inbound", lambda seen: seen.reason == "read" and seen.inbound)
    assert wait.peer is None
    assert wait.resource is not None
    assert wait.resource.startswith("tcp-inbound 127.0.0.1:")


def test_a_datagram_is_from_anybody(waiting: Waiting) -> None:
    """A thread that waits for a datagram names its own address, since it has no peer."""
    wait = waiting.eventually("recv-datagram", lambda seen: seen.reason == "read" and seen.resource is not None)
    assert wait.resource is not None
    assert wait.resource.startswith("udp 127.0.0.1:")
    assert wait.peer is None


@pytest.mark.parametrize("thread", ["busy-1", "busy-2", "busy-3"])
def test_a_busy_thread_runs_or_waits_for_the_interpreter(waiting: Waiting, thread: str) -> None:
    """One of several threads that only compute is seen running and waiting for the GIL, and never in anything else."""
    reasons: set[str] = set()

    def look() -> set[str]:
        reasons.add(waiting.of(thread).reason)
        return reasons

    assert eventually(look, lambda seen: len(seen) == 2) == {"running", "gil"}


def test_a_stopped_thread_waits_for_nothing_of_its_own() -> None:
    """In a stopped process every thread is stopped, whatever it waited for before."""
    with service("idle_executor") as target:
        proc = ProcDir(target.pid)
        reader = WaitReader(proc)
        os.kill(target.pid, signal.SIGSTOP)
        eventually(
            lambda: {reader.read(tid, parse_stat(proc.read(f"task/{tid}/stat")).state).reason for tid in proc.tids()},
            lambda reasons: reasons == {"stopped"},
        )
        proc.close()


def test_a_thread_that_has_ended_is_gone() -> None:
    """A reader that outlives the process says so, and does not make up a wait."""
    with service("short_lived") as target:
        proc = ProcDir(target.pid)
        reader = WaitReader(proc)
        target.finish()
        with pytest.raises(GONE):
            reader.read(target.pid, "S")
        proc.close()
