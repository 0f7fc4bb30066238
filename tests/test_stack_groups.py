"""What `doctor stacks` makes of evidence: which threads are one group, what it says of them, and in which order."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cases import Details, Situation, Stay, ThreadSpec, bundle
from doctor.model.evidence.stacks import Stacks
from doctor.model.evidence.threads import Threads
from doctor.model.stack_report import StackGroup, StackReport
from doctor.stack_groups import stack_report, with_source

WORK = ("socket.py:718 readinto", "shop.py:31 ask", "concurrent/futures/thread.py:59 run", "started")
IDLE = ("concurrent/futures/thread.py:90 _worker", "started")
BUSY = ("tax.py:7 round_all", "started")


def seen(*threads: ThreadSpec, **situation: Any) -> StackReport:
    """The report on one process with these threads."""
    return stack_report(bundle(Situation(threads=threads, **situation)))


def thread(name: str, stack: tuple[str, ...], *does: Stay, count: int = 1) -> ThreadSpec:
    """Threads that do this for ten seconds."""
    return ThreadSpec(name=name, count=count, does=does, stack=stack)


def peer(address: str, timeout_s: float | None = None) -> Stay:
    """Ten seconds of reading from a peer."""
    return Stay("read", 10, Details(peer=address, timeout=timeout_s))


def only(report: StackReport) -> StackGroup:
    """The one group there is."""
    (group,) = report.groups
    return group


def test_equal_stacks_are_one_group() -> None:
    """Threads with the same files, functions and lines are counted together, those one line apart are not."""
    other = (WORK[0], "shop.py:32 ask", *WORK[2:])
    report = seen(thread("a-#", WORK, peer("10.0.0.5:80"), count=3), thread("b", other, peer("10.0.0.5:80")))
    assert [group.count for group in report.groups] == [3, 1]
    assert [one.name for one in report.groups[0].threads] == ["a-1", "a-2", "a-3"]
    assert [frame.function for frame in report.groups[0].frames][:2] == ["readinto", "ask"]


def test_equal_stacks_of_several_processes_are_one_group() -> None:
    """The workers of a master that do the same stand there once, each thread with its process."""
    worker = Situation(threads=(thread("MainThread", WORK, peer("10.0.0.5:80")),))
    group = only(stack_report(bundle(worker, worker, worker)))
    assert [one.pid for one in group.threads] == [100, 101, 102]


def test_the_order_is_that_of_interest() -> None:
    """Who holds the interpreter lock, who wants it, who is stuck in the middle of work, and who has nothing to do."""
    report = seen(
        thread("idle", IDLE, Stay("lock", 10), count=9),
        thread("stuck", WORK, peer("10.0.0.5:80"), count=3),
        thread("wants", ("tax.py:9 round_all", "started"), Stay("gil", 10), count=2),
        thread("holds", BUSY, Stay("running", 10)),
    )
    assert [(group.threads[0].name, group.state) for group in report.groups] == [
        ("holds", "running"),
        ("wants", "running"),
        ("stuck", "waiting"),
        ("idle", "idle"),
    ]


def test_what_a_group_waits_for() -> None:
    """Each wait is told once with its peer and its longest timeout, the commonest first."""
    report = seen(
        thread("a", WORK, peer("10.0.0.5:80", 3.0)),
        thread("b", WORK, peer("10.0.0.5:80", 5.0)),
        thread("c", WORK, peer("10.0.0.7:5432")),
    )
    waits = [(wait.syscall, wait.peer, wait.timeout_s, wait.samples) for wait in only(report).waits]
    assert waits == [("recvfrom", "10.0.0.5:80", 5.0, 80.0), ("recvfrom", "10.0.0.7:5432", None, 40.0)]


def test_one_stuck_thread_among_idle_ones_is_not_hidden() -> None:
    """Threads in the same line are idle only if all of them are."""
    loop = ("shop.py:12 loop", "started")
    report = seen(thread("idle", loop, Stay("sleep", 10), count=9), thread("stuck", loop, peer("10.0.0.5:80")))
    assert only(report).state == "waiting"


def test_clients_are_one_wait() -> None:
    """Connections of many clients, which differ by a port only, are not told apart."""
    clients = [Stay("read", 10, Details(resource=f"tcp-inbound 10.0.0.9:{port}", inbound=True)) for port in range(9)]
    report = seen(*(thread(f"client-{number}", WORK, client) for number, client in enumerate(clients)))
    (wait,) = only(report).waits
    assert (wait.inbound, wait.resource, wait.samples) == (True, None, 9 * 40.0)


@pytest.mark.parametrize("python", ["3.12.1", "3.9.2"])
def test_shares_of_a_sampled_thread(python: str) -> None:
    """Time on a CPU and time spent waiting for the interpreter lock are shares of the samples in that stack.

    Where the sampler does not say who is on a CPU, which it cannot before Python 3.11, /proc does.
    """
    report = seen(thread("busy", BUSY, Stay("running", 1), Stay("gil", 3)), python=python, stacks_per_s=10)
    group = only(report)
    assert group.samples == 100
    assert group.active == pytest.approx(0.28, abs=0.05)  # of 10 s the last turn is cut off
    assert sum(wait.samples for wait in group.waits) == pytest.approx(group.samples)
    assert {wait.reason for wait in group.waits} == {"running", "gil"}


def test_the_sampler_s_word_counts_for_the_cpu() -> None:
    """A thread that the sampler saw on a CPU ran, whatever /proc saw at another moment; one asleep did not."""
    whole = bundle(Situation(threads=(thread("a", BUSY, Stay("lock", 10)), thread("b", WORK, Stay("running", 10)))))
    (stacks,) = [one for one in whole.evidence if isinstance(one, Stacks)]
    turned = tuple(
        msgspec.structs.replace(
            one, runs=tuple(msgspec.structs.replace(run, active=not run.active) for run in one.runs)
        )
        for one in stacks.threads
    )
    threads = whole.find(Threads, 100)
    assert threads is not None
    report = stack_report(
        msgspec.structs.replace(whole, evidence=(msgspec.structs.replace(stacks, threads=turned), threads))
    )
    reasons = {group.threads[0].name: [wait.reason for wait in group.waits] for group in report.groups}
    assert reasons == {"a": ["running"], "b": ["running"]}  # nothing else is known of the time that b was asleep


def test_a_timeline_has_every_stack_in_order() -> None:
    """A thread that went from one stack to another and back has three stays, each naming its group."""
    stays = (Stay("running", 4), Stay("lock", 4, Details(stack=IDLE)), Stay("running", 2))
    report = seen(thread("worker", BUSY, *stays))
    (timeline,) = report.timelines
    assert [report.groups[stay.group].state for stay in timeline.stays] == ["running", "idle", "running"]
    assert [stay.samples for stay in timeline.stays] == [16, 16, 8]
    (busy,) = [group for group in report.groups if group.state == "running"]
    assert [(one.samples, one.of_samples) for one in busy.threads] == [(24, 40)]


def test_threads_that_python_does_not_know_are_counted() -> None:
    """Native threads have no group, and are counted by the kernel's name for them."""
    report = seen(thread("jemalloc_bg_thd", (), Stay("lock", 10), count=2), thread("main", BUSY, Stay("running", 10)))
    assert only(report).count == 1
    assert report.processes[0].native == {"jemalloc_bg_thd": 2}


def test_a_short_lived_thread_is_not_called_native() -> None:
    """A thread that ended before a sample could see it is no native thread."""
    brief = ThreadSpec(name="brief", does=(Stay("running", 1),), alive=(3.0, 3.1))
    assert seen(brief, thread("main", BUSY, Stay("running", 10))).processes[0].native == {}


def test_without_stacks_the_kernel_s_word_is_told() -> None:
    """Where no stack could be read, threads are grouped by what they wait for."""
    report = seen(
        thread("a", WORK, peer("10.0.0.5:80"), count=4), thread("b", BUSY, Stay("running", 10)), missing=("stacks",)
    )
    assert [(group.count, group.state, group.frames, group.where) for group in report.groups] == [
        (1, "running", (), None),
        (4, "waiting", (), None),
    ]
    assert (report.processes[0].sampler, report.processes[0].samples) == (None, 0)


def test_without_wait_reasons_the_stacks_are_told() -> None:
    """Where /proc told nothing, stacks are grouped all the same, and the sampler's word on the CPU is kept."""
    report = seen(thread("a", WORK, peer("10.0.0.5:80")), thread("b", BUSY, Stay("running", 10)), missing=("threads",))
    assert [(group.threads[0].name, group.active, len(group.waits)) for group in report.groups] == [
        ("b", 1.0, 1),
        ("a", 0.0, 0),
    ]


def test_the_line_to_open() -> None:
    """Each group names the application's innermost frame."""
    group = only(seen(thread("a", WORK, peer("10.0.0.5:80"))))
    assert group.where == 1
    assert [frame.library for frame in group.frames] == ["socket", "", "concurrent", *["threading"] * 3]


def test_source_is_shown_of_the_application_only() -> None:
    """The text of a line is asked for in the process that runs it, and libraries are left as they are."""
    report = with_source(seen(thread("a", WORK, peer("10.0.0.5:80"))), lambda *line: " ".join(map(str, line)))
    assert [frame.source for frame in only(report).frames] == [None, "100 /srv/shop.py 31", *[None] * 4]


def test_nothing_seen_is_a_report_too() -> None:
    """A process that told nothing has no group."""
    report = seen(missing=("stacks", "threads"))
    assert (report.groups, report.timelines) == ((), ())
