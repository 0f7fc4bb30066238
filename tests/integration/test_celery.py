"""A Celery worker: its pool processes are diagnosed with the master that was named."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from services import PROGRAMS, Service, dependency, line_of, run_doctor, running

POOL = 3


@contextmanager
def celery(folder: Path, dependency_url: str) -> Iterator[Service]:
    """A prefork worker, every process of it in the middle of a task."""
    options = ["--pool", "prefork", "--concurrency", str(POOL), "--without-gossip", "--without-mingle"]
    argv = [sys.executable, "-m", "celery", "--workdir", str(PROGRAMS), "-A", "celery_shop", "worker", *options]
    env = {"TASKS": str(POOL), "BROKER_FOLDER": str(folder), "DEPENDENCY_URL": dependency_url, "C_FORCE_ROOT": "1"}
    with running(argv, env={**env, "PYTHONPATH": str(PROGRAMS)}, says_ready=POOL) as worker:
        yield worker


def test_a_hanging_dependency_is_found_in_every_pool_process(tmp_path: Path) -> None:
    """The master's PID is enough: all three pool processes are named, with the line of the task."""
    with dependency("hang") as upstream, celery(tmp_path, upstream.url) as worker:
        printed = run_doctor("diagnose", str(worker.pid), "--duration", "3", "--format", "json")
        pool = set(worker.facts["workers"])
    assert printed.exit_code == 3
    (finding,) = [one for one in printed.json["findings"] if one["ref"] in printed.json["verdict"]["root_causes"]]
    assert finding["id"] == "slow-dependency"
    assert finding["where"][0]["function"] == "restock"
    assert finding["where"][0]["line"] == line_of("celery_shop", "dependency")
    assert {where["pid"] for where in finding["where"]} == pool


def test_tasks_that_are_answered_are_no_finding(tmp_path: Path) -> None:
    """The same worker with the same tasks against a dependency that answers is healthy."""
    with dependency(0.02) as upstream, celery(tmp_path, upstream.url) as worker:
        printed = run_doctor("diagnose", str(worker.pid), "--duration", "3", "--format", "json")
    assert (printed.exit_code, printed.json["verdict"]["status"], printed.json["findings"]) == (0, "ok", [])
