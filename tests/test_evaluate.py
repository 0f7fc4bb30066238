"""Rules applied to bundles: what crashes, what cannot be seen, and what several processes have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from cases import PID, MemorySpec, ProcessSpec, Situation, Stay, ThreadSpec, bundle, frame
from doctor.evaluate import evaluate
from doctor.model.bundle import Bundle, Cost, Skipped, Window
from doctor.model.evidence import Evidence
from doctor.model.evidence.cgroup import Cgroup, CpuQuota, MemoryLimit, MemorySample
from doctor.model.evidence.host import Host, HostMemory, Pressure
from doctor.model.evidence.process import FdGroup, Limits, Process, ProcessSample
from doctor.model.evidence.stacks import Frame, StackRun, Stacks, ThreadStacks
from doctor.model.evidence.threads import Run, ThreadActivity, Threads, Wait
from doctor.model.finding import Confidence, Finding, Level, Location
from doctor.model.view import ProcessView
from doctor.rules.base import NotVisible, Rule, rules

TWO = bundle(Situation(), Situation())
"""A service of two processes in which nothing happens."""
THREADLESS = bundle(Situation(missing=("threads",)), Situation(missing=("threads",)))


T = TypeVar("T")


class Scripted(Rule):
    """A rule that says what a test wants it to say."""

    id: str = ""

    def __init__(self, name: str, script: Callable[[ProcessView], Iterable[Finding]], *needs: type[Evidence]) -> None:
        self.id = name
        self.needs = needs
        self._script = script

    def evaluate(self, process: ProcessView) -> Iterable[Finding]:
        return self._script(process)


def finding(
    pid: int, *, level: Level = "warning", confidence: Confidence = "probable", fingerprint: str = "shop.py:fetch"
) -> Finding:
    """A finding about one process."""
    return Finding(
        level=level,
        confidence=confidence,
        title=f"{level} in {pid}",
        explanation="",
        where=(Location(file="shop.py", line=12, function="fetch", thread=None, pid=pid),),
        subjects=("peer:10.0.0.5:80", f"process:{pid}"),
        measurements={},
        evidence=(f"seen in {pid}",),
        fingerprint=fingerprint,
    )


def everywhere(process: ProcessView) -> Iterator[Finding]:
    """The same in every process, an error in all but the first."""
    yield finding(process.ref.pid, level="warning" if process.ref.pid == PID else "error")


def crash(process: ProcessView) -> Iterator[Finding]:
    """A finding, and then a crash."""
    yield finding(process.ref.pid)
    raise ZeroDivisionError("of seven by nothing")


def see_nothing(_: ProcessView) -> Iterable[Finding]:
    """The evidence is there and does not show what is needed."""
    raise NotVisible(Threads, "no statistics", "another kernel")


def nothing(_: ProcessView) -> Iterable[Finding]:
    """All is well."""
    return ()


def test_a_crash_of_a_rule_is_neither_a_finding_nor_a_pass() -> None:
    """What a rule said before it crashed does not count, and the error is told with its type and text."""
    evaluation = evaluate(bundle(Situation()), [Scripted("crashing", crash)])
    assert evaluation.findings == ()
    assert evaluation.checked == ()
    assert [(one.rule, one.error) for one in evaluation.rule_errors] == [
        ("crashing", "ZeroDivisionError: of seven by nothing")
    ]


def test_a_crash_hides_nothing() -> None:
    """The rules before and after one that crashes find what they find."""
    evaluation = evaluate(
        bundle(Situation()),
        [Scripted("before", everywhere), Scripted("crashing", crash), Scripted("after", everywhere)],
    )
    assert [one.id for one in evaluation.findings] == ["after", "before"]
    assert evaluation.checked == ("after", "before")


def test_a_crash_over_one_process_hides_nothing_of_the_next() -> None:
    """A rule that crashes over one process still looks at the others."""

    def crash_over_the_root(process: ProcessView) -> Iterable[Finding]:
        return crash(process) if process.ref.pid == PID else everywhere(process)

    evaluation = evaluate(TWO, [Scripted("moody", crash_over_the_root)])
    assert [one.title for one in evaluation.findings] == [f"error in {PID + 1}"]
    assert evaluation.checked == ("moody",)
    assert [error.rule for error in evaluation.rule_errors] == ["moody"]


def test_what_is_not_visible_is_skipped_with_reason_and_remedy() -> None:
    """A rule that cannot see what it needs is named in `skipped`, once a process, and passes for nothing."""
    evaluation = evaluate(TWO, [Scripted("blind", see_nothing, Threads), Scripted("seeing", nothing, Threads)])
    assert evaluation.checked == ("seeing",)
    assert evaluation.findings == ()
    assert evaluation.skipped == tuple(
        Skipped(collector="threads", reason="no statistics", remedy="another kernel", pids=(pid,), rules=("blind",))
        for pid in (PID, PID + 1)
    )


def test_missing_evidence_is_skipped_without_asking_the_rule() -> None:
    """A rule is not run without the evidence it needs, and nobody can call the service healthy then."""
    evaluation = evaluate(THREADLESS, [Scripted("crashing", crash, Process, Threads)])
    assert evaluation.rule_errors == ()
    assert evaluation.checked == ()
    assert [(skip.collector, skip.pids, skip.rules, skip.decisive) for skip in evaluation.skipped] == [
        ("threads", (PID,), ("crashing",), True),
        ("threads", (PID + 1,), ("crashing",), True),
    ]


def test_what_the_capture_skipped_is_told_what_it_cost() -> None:
    """An entry of the bundle is kept as it is, with the ids of the rules that its absence cost."""
    told = Skipped(collector="threads", reason="no right", remedy="run as root", pids=(PID,), decisive=True)
    captured = bundle(Situation(missing=("threads",)), Situation(), skipped=[told])
    evaluation = evaluate(captured, [Scripted("one", nothing, Threads), Scripted("two", nothing, Threads)])
    assert evaluation.skipped == (
        Skipped(
            collector="threads",
            reason="no right",
            remedy="run as root",
            pids=(PID,),
            rules=("one", "two"),
            decisive=True,
        ),
    )
    assert evaluation.checked == ("one", "two")


def test_an_entry_without_pids_is_about_every_process() -> None:
    """What was skipped for all processes is told once."""
    told = Skipped(collector="threads", reason="it crashed", remedy="report it")
    captured = bundle(Situation(missing=("threads",)), Situation(missing=("threads",)), skipped=[told])
    evaluation = evaluate(captured, [Scripted("one", nothing, Threads)])
    assert [(skip.reason, skip.pids, skip.rules) for skip in evaluation.skipped] == [("it crashed", (), ("one",))]


def test_an_entry_about_evidence_that_came_anyway_cost_no_rule() -> None:
    """Partial evidence is told of, and the rules that it is enough for are not."""
    told = Skipped(collector="threads", reason="it was stopped", remedy="let it run", pids=(PID,))
    evaluation = evaluate(bundle(Situation(), skipped=[told]), [Scripted("one", nothing, Threads)])
    assert [skip.rules for skip in evaluation.skipped] == [()]
    assert evaluation.checked == ("one",)


def test_what_a_rule_could_not_see_goes_to_the_entry_that_says_why() -> None:
    """A right that was missing is told once: by the collector, with every rule that it cost."""
    told = Skipped(collector="threads", reason="no right", remedy="run as root", pids=(PID,), decisive=True)
    evaluation = evaluate(bundle(Situation(), skipped=[told]), [Scripted("blind", see_nothing, Threads)])
    assert [(skip.reason, skip.rules) for skip in evaluation.skipped] == [("no right", ("blind",))]


def test_the_same_condition_in_two_processes_is_one_finding() -> None:
    """The worst speaks for all, and the places and subjects of all are kept."""
    evaluation = evaluate(TWO, [Scripted("slow", everywhere)])
    (folded,) = evaluation.findings
    assert (folded.id, folded.level, folded.title) == ("slow", "error", f"error in {PID + 1}")
    assert [where.pid for where in folded.where] == [PID + 1, PID]
    assert folded.subjects == ("peer:10.0.0.5:80", f"process:{PID + 1}", f"process:{PID}")
    assert folded.evidence == (f"seen in {PID + 1}", f"the same in 2 processes: {PID}, {PID + 1}")


def test_different_conditions_are_not_folded() -> None:
    """Two rules, or two fingerprints of one rule, are two findings each."""

    def by_process(process: ProcessView) -> Iterator[Finding]:
        yield finding(process.ref.pid, fingerprint=str(process.ref.pid))

    evaluation = evaluate(TWO, [Scripted("one", by_process), Scripted("other", by_process)])
    assert [(one.id, one.fingerprint) for one in evaluation.findings] == [
        ("one", str(PID)), ("one", str(PID + 1)), ("other", str(PID)), ("other", str(PID + 1)),
    ]  # fmt: skip


def test_two_places_of_one_process_are_not_two_processes() -> None:
    """Two loops of one process, blocked by the same function, are not "the same in 2 processes"."""

    def twice(process: ProcessView) -> Iterator[Finding]:
        yield from (finding(process.ref.pid), finding(process.ref.pid))

    (folded,) = evaluate(bundle(Situation()), [Scripted("loop", twice)]).findings
    assert not any("2 processes" in line for line in folded.evidence)


def test_findings_come_most_severe_first() -> None:
    """Level first, then confidence, whatever the order of the rules."""

    def say(level: Level, confidence: Confidence) -> Scripted:
        found = finding(PID, level=level, confidence=confidence)
        return Scripted(f"{level} {confidence}", lambda _: (found,))

    spoken = [say("note", "confirmed"), say("warning", "possible"), say("error", "possible"), say("error", "confirmed")]
    assert [one.id for one in evaluate(bundle(Situation()), spoken).findings] == [
        "error confirmed",
        "error possible",
        "warning possible",
        "note confirmed",
    ]


seconds = st.floats(0, 60)
sizes = st.integers(0, 2**40)
few = st.integers(0, 4)
counts = st.dictionaries(st.sampled_from(["file", "tcp", "tcp-inbound", "10.0.0.5:80", "10.0.0.5:81"]), few)
frames = st.sampled_from(
    [
        frame(text)
        for text in (
            "shop.py:12 fetch", "shop.py:13 fetch", "shop.py:20 run", "site-packages/warehouse/stock.py:12 get",
            "queue.py:171 get", "socket.py:718 readinto", "selectors.py:468 select", "threading.py:982 run",
            "threading.py:1002 _bootstrap", "concurrent/futures/thread.py:59 run", "asyncio/events.py:84 _run",
            "asyncio/base_events.py:1936 _run_once", "site-packages/redis/client.py:1 blpop",
        )
    ]
    + [Frame("<string>", 1, "<module>"), Frame("", 0, "")]
)  # fmt: skip


def tuples(values: st.SearchStrategy[T], least: int = 0, most: int = 3) -> st.SearchStrategy[tuple[T, ...]]:
    """A few values of one kind."""
    return st.lists(values, min_size=least, max_size=most).map(tuple)


@st.composite
def threads(draw: st.DrawFn, pid: int) -> Threads:
    """What the threads of a process may do, in any order, with gaps and repetitions."""
    waits = draw(tuples(st.builds(Wait, timeout_s=st.none() | seconds, peer=st.none() | st.just("10.0.0.5:80")), 1))
    run = st.builds(Run, at_s=seconds, duration_s=seconds, ticks=few, wait=st.integers(0, len(waits) - 1), wakeups=few)
    activity = st.builds(
        ThreadActivity,
        tid=few,
        ns_tid=few,
        comm=st.sampled_from(["", "worker-1", "worker-2"]),
        cpu_s=seconds,
        runqueue_s=st.none() | seconds,
        slices=st.none() | few,
        first_s=seconds,
        last_s=seconds,
        runs=tuples(run),
    )
    return Threads(
        pid=pid, ticks=draw(few), waits=waits, threads=draw(tuples(activity)), syscalls_readable=draw(st.booleans())
    )


@st.composite
def stacks(draw: st.DrawFn, pid: int) -> Stacks:
    """Any stacks of any threads."""
    known = draw(tuples(frames, 4, 4))
    paths = draw(tuples(tuples(st.integers(0, 3), 0, 4), 1))
    run = st.builds(StackRun, at_s=seconds, until_s=seconds, samples=few, stack=st.integers(0, len(paths) - 1))
    thread = st.builds(
        ThreadStacks, tid=st.none() | few, name=st.sampled_from([None, "worker-1", "worker-2"]), runs=tuples(run)
    )
    return Stacks(
        pid=pid, sampler="py-spy", samples=4, errors=0, frames=known, stacks=paths, threads=draw(tuples(thread))
    )


def process(pid: int) -> st.SearchStrategy[Process]:
    """Any series of looks at a process."""
    sample = st.builds(
        ProcessSample,
        at_s=seconds,
        cpu_s=seconds,
        rss_bytes=sizes,
        vms_bytes=sizes,
        threads=few,
        fds=st.none() | counts,
        close_wait=st.none() | counts,
        backlog=st.none() | few,
        unread_inbound=st.none() | few,
        zombies=st.none() | tuples(few),
    )
    limit = st.none() | sizes
    return st.builds(
        Process,
        pid=st.just(pid),
        cpus=few,
        samples=tuples(sample, 1, 6),
        memory=st.just(()),
        fd_groups=tuples(st.builds(FdGroup, kind=st.sampled_from(["file", "tcp-inbound"]), first=few, last=few)),
        limits=st.none() | st.builds(Limits, open_files=limit, address_space=limit),
        listens_on=st.sampled_from([(), ("0.0.0.0:80",)]),
    )


def cgroup(pid: int) -> st.SearchStrategy[Cgroup]:
    """Any limits."""
    cpu = st.builds(CpuQuota, cores=seconds, periods=few, throttled_periods=few, throttled_s=seconds)
    memory = st.builds(
        MemoryLimit,
        limit_bytes=sizes,
        samples=tuples(st.builds(MemorySample, at_s=seconds, usage_bytes=sizes, inactive_file_bytes=sizes)),
        oom_kills=few,
    )
    return st.builds(Cgroup, pid=st.just(pid), cpu=st.none() | cpu, memory=st.none() | memory)


def host() -> st.SearchStrategy[Host]:
    """Any machine."""
    share = st.floats(0, 1)
    memory = st.builds(HostMemory, at_s=seconds, total_bytes=sizes, available_bytes=sizes, swap_free_bytes=sizes)
    pressure = st.builds(Pressure, cpu_some=share, memory_some=share, memory_full=share, io_some=share, io_full=share)
    return st.builds(
        Host, pid=st.none(), cpus=few, load_1m=seconds, memory=tuples(memory), pressure=st.none() | pressure
    )


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    """Any evidence, some of it missing, about two processes."""
    about = [kind(ref.pid) for ref in TWO.target.processes for kind in (threads, stacks, process, cgroup)]
    lost = draw(st.sets(st.integers(0, len(about)), max_size=3))
    found = [None if number in lost else draw(one) for number, one in enumerate((*about, host()))]
    return Bundle(
        target=TWO.target,
        window=Window(started_at="", duration_s=draw(st.floats(0.1, 60))),
        evidence=tuple(one for one in found if one is not None),
        skipped=(),
        cost=Cost(),
    )


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bundles())
def test_no_evidence_makes_a_rule_crash(captured: Bundle) -> None:
    """Whatever the evidence holds, every rule finds something, nothing, or says that it could not see."""
    assert evaluate(captured, rules().values()).rule_errors == ()


def test_a_limit_of_nothing_makes_no_rule_crash() -> None:
    """A control group may have a memory limit of zero bytes, which is no number to divide by."""
    captured = bundle(Situation(memory=MemorySpec(limit_mb=0, charged_mb=0)))
    assert evaluate(captured, rules().values()).rule_errors == ()


def test_no_known_cpu_makes_no_rule_crash() -> None:
    """Where the CPUs a process may use could not be told, two busy threads are no division by zero."""
    busy = ThreadSpec(name="worker-#", count=2, does=(Stay("running", 10),), stack=("shop.py:12 fetch", "started"))
    captured = bundle(Situation(process=ProcessSpec(cpus=0), threads=(busy,)))
    assert evaluate(captured, rules().values()).rule_errors == ()


@pytest.mark.parametrize("lost", ["runs", "ticks"])
def test_a_loop_that_no_look_saw_makes_no_rule_crash(lost: str) -> None:
    """A loop's thread that the stacks show may have ended before /proc was asked."""
    loop = ThreadSpec(name="loop", does=(Stay("sleep", 10),), stack=("shop.py:12 fetch", "asyncio/runners.py:118 run"))
    captured = bundle(Situation(threads=(loop,)))
    seen = captured.find(Threads, PID)
    assert seen is not None
    unseen = structs.replace(seen, threads=tuple(structs.replace(thread, runs=()) for thread in seen.threads))
    changed = unseen if lost == "runs" else structs.replace(seen, ticks=0)
    kept = tuple(changed if one is seen else one for one in captured.evidence)
    assert evaluate(structs.replace(captured, evidence=kept), rules().values()).rule_errors == ()
