"""A dependency that does not answer, or answers late."""

from __future__ import annotations

import pytest

from integration.looking import Look, assert_healthy, assert_root, look, look_at, place
from services import dependency, gunicorn, line_of, load

WORKERS = 7


@pytest.fixture(scope="module")
def hanging() -> Look:
    """Seven threads whose dependency never answers."""
    return look("hanging_dependency", "sick")


def test_the_peer_is_the_root_cause(hanging: Look) -> None:
    """All 7 threads wait for the dependency's host and port without a timeout, in the line that calls it."""
    finding = assert_root(hanging, "slow-dependency", "error")
    peer = f"127.0.0.1:{hanging.facts['dependency_port']}"
    assert finding.subjects[0] == f"peer:{peer}"
    assert finding.measurements["threads"].value == WORKERS
    assert finding.evidence[0] == f"{WORKERS} of {WORKERS + 1} threads in recvfrom on a TCP connection to {peer}"
    assert finding.evidence[1].endswith("no timeout is set")
    call = ("hanging_dependency.py", line_of("hanging_dependency", "call"), "call_inventory")
    assert [place(where) for where in finding.where] == [call] * WORKERS
    assert {where.thread for where in finding.where} == {f"checkout-{number}" for number in range(1, WORKERS + 1)}
    assert {where.pid for where in finding.where} == {hanging.pid}


def test_the_starved_pool_is_its_effect(hanging: Look) -> None:
    """All 7 of 7 workers are stuck, because of the dependency."""
    assert hanging.effects("slow-dependency") == ["thread-pool-starved"]
    finding = hanging.finding("thread-pool-starved")
    assert "pool:checkout" in finding.subjects
    assert finding.measurements["threads"].value == WORKERS
    assert finding.evidence[0].startswith(f"{WORKERS} of {WORKERS} workers blocked")
    assert finding.where[0].line == line_of("hanging_dependency", "call")
    assert hanging.ids == ["slow-dependency", "thread-pool-starved"]


def test_a_dependency_that_answers_at_once_is_healthy() -> None:
    """The same seven threads, the same calls."""
    assert_healthy(look("hanging_dependency", "healthy"))


def test_a_new_connection_for_each_call_hides_no_slow_answer() -> None:
    """Answers after 2.6 s, each on a connection of its own, are a warning: the dependency is alive."""
    with (
        dependency(2.6) as upstream,
        gunicorn(threads=WORKERS, env={"DEPENDENCY_URL": upstream.url}) as server,
        load(f"{server.url}/orders", WORKERS),
    ):
        looked = look_at(server, seconds=4)
    finding = assert_root(looked, "slow-dependency", "warning")
    assert finding.subjects[0] == f"peer:127.0.0.1:{upstream.port}"
    assert finding.measurements["threads"].value == WORKERS
    assert place(finding.where[0]) == ("flask_shop.py", line_of("flask_shop", "dependency"), "list_orders")


def test_one_thread_a_worker_is_enough_in_a_request() -> None:
    """Three sync workers, each with its one thread in the dependency, are one finding that names all three."""
    with (
        dependency("hang") as upstream,
        gunicorn(workers=3, worker_class="sync", env={"DEPENDENCY_URL": upstream.url}) as server,
        load(f"{server.url}/orders", 13),
    ):
        looked = look_at(server)
        workers = server.facts["workers"]
    finding = assert_root(looked, "slow-dependency", "error")
    assert finding.confidence == "confirmed"
    assert finding.subjects[0] == f"peer:127.0.0.1:{upstream.port}"
    assert sorted(where.pid for where in finding.where) == workers
    assert {where.thread for where in finding.where} == {"MainThread"}
    assert {place(where) for where in finding.where} == {
        ("flask_shop.py", line_of("flask_shop", "dependency"), "list_orders")
    }
    assert finding.evidence[-1] == f"the same in 3 processes: {', '.join(map(str, workers))}"
    assert looked.ids == ["slow-dependency"]
