"""What the sampler reports of running programs is where their threads were."""

from __future__ import annotations

import os
import select
import signal
from collections import Counter
from contextlib import suppress

import pytest

from doctor.backends import pyspy
from doctor.errors import AttachError
from doctor.procfs.handle import GONE
from doctor.remote.reader import Unreadable
from interpreters import Interpreter, interpreters
from remote.oracle import Stack, differences, of_dump, of_program, possible_stacks, why_impossible
from remote.sampling import Sampling, nameless, parked_differences, sampling
from services import running, service

EVERY = pytest.mark.parametrize("python", interpreters(), ids=str)
ENDS = pytest.mark.parametrize("python", sorted({interpreters()[0], interpreters()[-1]}), ids=str)

THREAD_SAMPLES = 20_000
MOST_TORN, MOST_IMPOSSIBLE = 0.01, 0.001
SAMPLES = 500
SAMPLES_OF_BIRTHS = 40
"""Each lists all threads anew."""

COLLECTING = """
import gc, json, os, threading

garbage = [[number] for number in range(100_000)]
began = threading.Event()

def collect():
    began.set()
    while True:
        gc.collect()

thread = threading.Thread(target=collect, daemon=True)
thread.start()
began.wait()
os.write(int(os.environ["READY_FD"]), json.dumps({"ident": thread.ident}).encode() + b"\\n")
os.read(int(os.environ["LIFE_FD"]), 1)
os._exit(0)
"""


@EVERY
def test_parked_threads_are_where_they_and_py_spy_see_them(python: Interpreter) -> None:
    """All stacks of a program at rest are equal line for line, nobody has its lock, and nothing is collected."""
    with service("stacks/parked", python=python) as parked, sampling(parked.pid) as watch:
        sample = watch.sampler.sample()
        own = of_program(parked.facts, by=watch.by)
        assert parked_differences(own, watch.threads(sample, watch.by)) == ""
        dump = nameless(of_dump(pyspy.dump(parked.pid, timeout_s=20)))
        assert differences(dump, watch.threads(sample, "ident")) == ""
    assert (sample.gil_holders, sample.collecting) == (frozenset(), False)


@EVERY
def test_a_program_at_rest_is_sampled_with_one_system_call(python: Interpreter) -> None:
    """Once its stacks are known, all threads are read at once, and each sample says the same."""
    with service("stacks/parked", python=python) as parked, sampling(parked.pid) as watch:
        for _ in range(5):
            first = watch.sampler.sample()
        calls = [_calls(watch) for _ in range(7)]
        last = watch.sampler.sample()
    assert calls == [1] * 7
    assert last.threads is first.threads
    assert last.stacks.tolist() == first.stacks.tolist()


@EVERY
def test_stacks_that_change_all_the_time_are_possible_ones(python: Interpreter) -> None:
    """Of 20,000 stacks of threads that do nothing but call, few are torn and hardly one could not be."""
    seen: Counter[Stack | None] = Counter()
    impossible: list[str] = []
    for way in ("plain", "mixed"):
        with service("stacks/churn", way, python=python) as churning, sampling(churning.pid) as watch:
            possible = possible_stacks(churning.facts, by=watch.by)
            enough = seen.total() + THREAD_SAMPLES // 2
            while seen.total() < enough:
                for thread, stack in watch.stacks(watch.sampler.sample(), watch.by):
                    if thread in possible:
                        seen[stack] += 1
                        why = why_impossible(stack, possible[thread]) if stack is not None else ""
                        impossible += [why] if why else []
    assert seen[None] <= MOST_TORN * seen.total()
    assert len(impossible) <= MOST_IMPOSSIBLE * seen.total(), _examples(impossible)
    assert len(seen) > 2 * 7


@EVERY
def test_parked_threads_stay_while_others_come_and_go(python: Interpreter) -> None:
    """While 500 threads a second begin and end, nearly every sample succeeds, and has the other seven right."""
    failed, others = 0, set[int]()
    with service("stacks/births", python=python) as births, sampling(births.pid) as watch:
        own = nameless(of_program(births.facts, by=watch.by))
        for _ in range(SAMPLES_OF_BIRTHS):
            try:
                stacks = dict(watch.stacks(watch.sampler.sample(), watch.by))
            except Unreadable:
                failed += 1
                continue
            assert {one.id: stacks[one.id] for one in own} == {one.id: one.stack for one in own}
            others |= stacks.keys() - {one.id for one in own}
    assert failed <= SAMPLES_OF_BIRTHS // 8
    assert len(own) == 7
    assert len(others) > 2


@EVERY
def test_threads_of_all_interpreters_are_seen(python: Interpreter) -> None:
    """The thread of a subinterpreter has one stack there, and another in the main one, where it calls."""
    with service("stacks/subinterpreters", python=python) as target, sampling(target.pid) as watch:
        sample = watch.sampler.sample()
        seen = watch.threads(sample, watch.by)
        (own,) = nameless(of_program(target.facts, by=watch.by))
        inside = tuple((file, line, function) for file, line, function in target.facts["inside"])
    assert {one.stack for one in seen if one.id == own.id} == {own.stack, inside}
    assert len({thread.interpreter for thread in sample.threads}) == 2
    assert len({one.id for one in seen}) == 2


@EVERY
def test_the_holder_of_the_lock_and_the_collector(python: Interpreter) -> None:
    """The one thread that works holds the lock in nearly all samples, and in most of them it collects."""
    with running([*python.command, "-c", COLLECTING], env={}) as target, sampling(target.pid) as watch:
        samples = [watch.sampler.sample() for _ in range(SAMPLES)]
    holders = Counter(
        thread.thread_id for sample in samples for thread in sample.threads if thread.address in sample.gil_holders
    )
    assert holders[target.facts["ident"]] > 0.95 * SAMPLES
    assert holders.total() <= SAMPLES
    assert sum(sample.collecting for sample in samples) > 0.5 * SAMPLES


@ENDS
def test_a_program_that_replaces_itself(python: Interpreter) -> None:
    """Sampling ends with an error that is foreseen, and another look finds the program that came after."""
    samples = 0
    with service("stacks/execs", "3", python=python) as target:
        pidfd = os.pidfd_open(target.pid)
        while not _ended(pidfd):
            with suppress(Unreadable, AttachError, *GONE), sampling(target.pid) as watch:
                while not _ended(pidfd):
                    list(watch.stacks(watch.sampler.sample(), watch.by))
                    samples += 1
        os.close(pidfd)
    assert samples > 1


@EVERY
def test_a_process_that_is_killed_while_it_is_sampled(python: Interpreter) -> None:
    """Its last sample says that there is nothing to be read any more."""
    with service("stacks/churn", "plain", python=python) as target, sampling(target.pid) as watch:
        watch.sampler.sample()
        os.kill(target.pid, signal.SIGKILL)
        with pytest.raises(Unreadable):
            _sample_on(watch)


def _calls(watch: Sampling) -> int:
    """System calls that one sample takes."""
    before = watch.reader.memory.calls
    watch.sampler.sample()
    return watch.reader.memory.calls - before


def _sample_on(watch: Sampling) -> None:
    while True:
        watch.sampler.sample()


def _examples(impossible: list[str]) -> str:
    return "\n\n".join(f"{count} times {why}" for why, count in Counter(impossible).most_common(4))


def _ended(pidfd: int) -> bool:
    return bool(select.select([pidfd], [], [], 0)[0])
