"""Pools of threads: every worker stuck, or only busy; and a master with its workers as one target."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from integration.looking import Look, assert_healthy, assert_root, diagnose, look_at, place
from services import dependency, gunicorn, line_of, load

THREADS = 7
NAME = f"shop-{os.getpid()}"


@pytest.fixture(scope="module")
def hanging() -> Iterator[tuple[Look, Look, int, list[int]]]:
    """Two workers with seven threads each, all in the dependency: with children, without, its port, the workers.

    A worker accepts 13 connections at most, so that both have more clients than threads.
    """
    with (
        dependency("hang") as upstream,
        gunicorn(
            "flask_shop:app",
            "--worker-connections",
            "13",
            workers=2,
            threads=THREADS,
            env={"DEPENDENCY_URL": upstream.url},
        ) as server,
        load(f"{server.url}/orders", 29),
    ):
        yield look_at(server), look_at(server, "--no-children", seconds=2), upstream.port, server.facts["workers"]


def test_the_workers_are_diagnosed_with_their_master(hanging: tuple[Look, Look, int, list[int]]) -> None:
    """One finding names every thread of every worker."""
    looked, _, port, workers = hanging
    assert [child.pid for child in looked.diagnosis.target.children] == workers
    finding = assert_root(looked, "slow-dependency", "error")
    assert finding.confidence == "confirmed"
    assert finding.subjects[0] == f"peer:127.0.0.1:{port}"
    assert {where.pid for where in finding.where} == set(workers)
    assert len(finding.where) == len(workers) * THREADS
    assert {place(where) for where in finding.where} == {
        ("flask_shop.py", line_of("flask_shop", "dependency"), "list_orders")
    }


def test_the_pool_is_starved_and_requests_wait(hanging: tuple[Look, Look, int, list[int]]) -> None:
    """7 of 7 threads of both workers are stuck, and requests wait unread: that much is certain."""
    looked, _, _, workers = hanging
    assert looked.effects("slow-dependency") == ["thread-pool-starved"]
    finding = looked.finding("thread-pool-starved")
    assert (finding.level, finding.confidence) == ("error", "confirmed")
    assert finding.evidence[0].startswith(f"{THREADS} of {THREADS} workers blocked")
    assert "requests that nobody has read" in finding.evidence[2]
    assert {where.pid for where in finding.where} == set(workers)
    assert len(finding.where) == len(workers) * THREADS


def test_without_children_only_the_master_is_looked_at(hanging: tuple[Look, Look, int, list[int]]) -> None:
    """The master itself has nothing wrong."""
    _, alone, _, _ = hanging
    assert alone.diagnosis.target.children == ()
    assert_healthy(alone)


@pytest.mark.parametrize(("worker_class", "threads"), [("gthread", THREADS), ("sync", 1)])
def test_workers_that_serve_their_load_are_healthy(worker_class: str, threads: int) -> None:
    """Two workers that ask a quick dependency for each of some forty requests a second have no finding."""
    with (
        dependency(0.01) as upstream,
        gunicorn(workers=2, threads=threads, worker_class=worker_class, env={"DEPENDENCY_URL": upstream.url}) as server,
        load(f"{server.url}/orders", 5),
    ):
        assert_healthy(look_at(server))


def test_port_fragment_and_pid_mean_the_same_processes() -> None:
    """A listening port, a fragment of the command line and the master's PID all lead to the master and its workers."""
    with gunicorn("flask_shop:app", "--name", NAME, workers=2) as server:
        forms = (server.pid, f":{server.port}", NAME)
        targets = [diagnose(target, seconds=0.5).target for target in forms]
        assert [target.pid for target in targets] == [server.pid] * 3
        assert [[child.pid for child in target.children] for target in targets] == [server.facts["workers"]] * 3
