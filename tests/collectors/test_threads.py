"""The threads collector tells what each thread waits for, and for how long."""

from __future__ import annotations

from collectors.looking import look
from doctor.collectors.threads import ThreadsCollector
from doctor.model.evidence.threads import Threads, Wait
from services import service


def _longest(threads: Threads) -> dict[int, tuple[Wait, float]]:
    """The longest run of each thread."""
    runs = {thread.tid: max(thread.runs, key=lambda run: run.duration_s) for thread in threads.threads}
    return {tid: (threads.waits[run.wait], run.duration_s) for tid, run in runs.items()}


def test_a_wait_names_its_peer_and_lasts_the_window() -> None:
    """Seven threads wait without a break for the dependency's port, with no timeout."""
    with service("hanging_dependency", "sick") as stuck:
        threads = look(ThreadsCollector(), stuck.pid, Threads)
        peer = f"127.0.0.1:{stuck.facts['dependency_port']}"
    waits = [(wait, duration_s) for wait, duration_s in _longest(threads).values() if wait.peer == peer]
    assert len(waits) == 7
    assert all(wait.reason == "read" and wait.timeout_s is None for wait, _ in waits)
    assert all(duration_s > 0.8 for _, duration_s in waits)


def test_ticks_come_about_ten_times_a_second() -> None:
    """A second has about ten ticks, and every thread is seen in each."""
    with service("idle_executor") as idle:
        threads = look(ThreadsCollector(), idle.pid, Threads)
    assert 5 <= threads.ticks <= 12
    assert {thread.ticks for thread in threads.threads} == {threads.ticks}


def test_it_measures_cpu_and_run_queue_time() -> None:
    """The one thread that computes has used the CPU, and no thread was charged for another."""
    with service("cpu_hotspot", "sick") as busy:
        threads = look(ThreadsCollector(), busy.pid, Threads)
    spent = sorted(thread.cpu_s for thread in threads.threads)
    assert spent[-1] > 0.3
    assert sum(spent[:-1]) < 0.1
    assert all(thread.runqueue_s is not None for thread in threads.threads)


def test_a_window_without_length_is_one_look() -> None:
    """Each thread is looked at once, and that tells what it waits for."""
    with service("idle_executor") as idle:
        threads = look(ThreadsCollector(), idle.pid, Threads, 0.0)
    assert threads.ticks == 1
    assert {thread.ticks for thread in threads.threads} == {1}
    assert "lock" in {threads.waits[run.wait].reason for thread in threads.threads for run in thread.runs}
