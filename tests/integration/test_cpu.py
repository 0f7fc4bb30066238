"""What takes the CPU, or keeps it from the service: a hot function, a quota, neighbours."""

from __future__ import annotations

import os

import pytest

from integration.looking import Look, assert_healthy, assert_root, later, look, look_at, place, side_by_side
from services import control_group, gunicorn, line_of, load

QUOTA_CORES = 0.3


@pytest.fixture(scope="module")
def healthy() -> dict[str, Look]:
    """The twins that use little CPU: the hot function at 5 %, the same digests at leisure, the pinned one alone."""
    with control_group(cpu_cores=QUOTA_CORES) as groups:
        return side_by_side(
            {
                "cpu_hotspot": later("cpu_hotspot", "healthy"),
                "cpu_quota": later("cpu_quota", "healthy", groups=groups),
                "cpu_starved": later("cpu_starved", "healthy"),
            }
        )


@pytest.mark.parametrize("program", ["cpu_hotspot", "cpu_quota", "cpu_starved"])
def test_the_healthy_twin_has_no_finding(healthy: dict[str, Look], program: str) -> None:
    """The same code that leaves CPU to spare is healthy."""
    assert_healthy(healthy[program])


def test_the_hot_function_is_named() -> None:
    """A thread that takes a whole core is found in its function and loop; nothing waits for it, so it is a warning."""
    looked = look("cpu_hotspot", "sick")
    finding = assert_root(looked, "cpu-hotspot", "warning")
    hot = line_of("cpu_hotspot", "hot")
    assert place(finding.where[0]) in [("cpu_hotspot.py", line, "score") for line in (hot - 1, hot)]
    assert (finding.where[0].thread, finding.where[0].pid) == ("pricing", looked.pid)
    assert {"function:score", f"process:{looked.pid}"} <= set(finding.subjects)
    assert looked.ids == ["cpu-hotspot"]


def test_threads_that_queue_for_the_interpreter_lock_make_it_an_error() -> None:
    """Seven threads that compute at once wait for each other, and that is seen as a queue."""
    looked = look("many_threads", "7", "3", "0")
    finding = assert_root(looked, "cpu-hotspot", "error")
    assert any("threads wait for the interpreter lock" in line for line in finding.evidence)
    assert finding.where[0].file.endswith("many_threads.py")
    assert (finding.where[0].thread or "").startswith("unit-")
    assert looked.ids == ["cpu-hotspot"]


@pytest.mark.parametrize(("worker_class", "threads"), [("gthread", 7), ("sync", 1)])
def test_a_view_that_computes_is_found_behind_gunicorn(worker_class: str, threads: int) -> None:
    """With requests waiting for it, the hot function of a view is an error of the worker and not of its master."""
    with (
        gunicorn(threads=threads, worker_class=worker_class, env={"FAULT": "cpu"}) as server,
        load(f"{server.url}/price", 13, pause=0.01),
    ):
        looked = look_at(server)
        (worker,) = server.facts["workers"]
    finding = assert_root(looked, "cpu-hotspot", "error")
    hot = line_of("flask_shop", "hot")
    assert place(finding.where[0]) in [("flask_shop.py", line, "best_discount") for line in (hot - 1, hot)]
    assert {where.pid for where in finding.where} == {worker}
    assert any(line.startswith("requests wait unread in ") for line in finding.evidence)
    assert looked.ids == ["cpu-hotspot"]


def test_a_quota_is_the_cause_and_the_wait_for_a_cpu_its_effect() -> None:
    """Three threads in a group with a third of a core: the group and its quota are named, as observed."""
    with control_group(cpu_cores=QUOTA_CORES) as groups:
        looked = look("cpu_quota", "sick", groups=groups)
    finding = assert_root(looked, "cpu-throttled", "error")
    assert finding.confidence == "confirmed"
    assert set(finding.subjects) == {f"cgroup:/{groups[0].name}", f"process:{looked.pid}"}
    assert f"quota {QUOTA_CORES:g} cores, set on cgroup /{groups[0].name}" in finding.evidence
    assert looked.effects("cpu-throttled") == [name for name in looked.ids if name != "cpu-throttled"]


def test_neighbours_on_the_only_cpu_starve_it() -> None:
    """Pinned to one CPU with five processes that compute, it is starved, and the one CPU is stated."""
    looked = look("cpu_starved", "sick")
    finding = assert_root(looked, "cpu-starved", "error")
    assert f"process:{looked.pid}" in finding.subjects
    assert finding.measurements["wait_share"].value > 0.5
    assert finding.evidence[1].endswith(f" on {os.cpu_count()} CPUs; the process may use 1 of them")
    assert looked.ids == ["cpu-starved"]
