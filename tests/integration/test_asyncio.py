"""Event loops: blocked by a coroutine, starved of threads, or busy with what they are there for."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from integration.looking import Look, assert_healthy, assert_root, later, look, look_at, place, side_by_side
from services import dependency, line_of, load, uvicorn

ANYIO_THREADS = 40
SERVERS = [("asyncio", 1), ("asyncio", 2), ("uvloop", 1), ("uvloop", 2)]

each_server = pytest.mark.parametrize(("loop", "workers"), SERVERS)


@pytest.fixture(scope="module")
def loops() -> dict[str, Look]:
    """A server that blocks its loop by sleeping, and its twin that awaits."""
    return side_by_side({variant: later("blocked_loop", variant) for variant in ("sick", "healthy")})


@pytest.fixture(scope="module")
def servers() -> dict[str, Look]:
    """Uvicorn on either loop, alone or with two workers, once with a blocked loop, once with a starved thread pool."""
    looks = {f"blocked-{loop}-{workers}": partial(look_at_blocked, loop, workers) for loop, workers in SERVERS}
    return side_by_side(
        looks | {f"starved-{loop}-{workers}": partial(look_at_starved, loop, workers) for loop, workers in SERVERS}
    )


def test_a_coroutine_that_sleeps_blocks_the_loop(loops: dict[str, Look]) -> None:
    """The line that calls `time.sleep` on the loop's thread is named; the loop stands still most of the time."""
    finding = assert_root(loops["sick"], "event-loop-blocked", "error")
    assert place(finding.where[0]) == ("blocked_loop.py", line_of("blocked_loop", "block"), "take_order")
    assert (finding.where[0].thread, finding.where[0].pid) == ("MainThread", loops["sick"].pid)
    assert finding.subjects == (f"thread:{loops['sick'].pid}", f"loop:{loops['sick'].pid}")
    assert loops["sick"].ids == ["event-loop-blocked"]


def test_a_coroutine_that_awaits_is_healthy(loops: dict[str, Look]) -> None:
    """The same pause, awaited."""
    assert_healthy(loops["healthy"])


def test_a_coroutine_that_computes_blocks_the_loop_by_its_hot_function() -> None:
    """The hot function is the root cause, the blocked loop its effect, and both name the same function."""
    looked = look("blocked_loop", "blocked-cpu")
    finding = assert_root(looked, "cpu-hotspot", "error")
    hot = line_of("blocked_loop", "cpu")
    assert place(finding.where[0]) in [("blocked_loop.py", line, "price") for line in (hot - 1, hot)]
    assert looked.effects("cpu-hotspot") == ["event-loop-blocked"]
    effect = looked.finding("event-loop-blocked").where[0]
    assert (Path(effect.file).name, effect.function, effect.pid) == ("blocked_loop.py", "price", looked.pid)
    assert looked.ids == ["cpu-hotspot", "event-loop-blocked"]


@each_server
def test_a_synchronous_call_in_a_coroutine_is_found(servers: dict[str, Look], loop: str, workers: int) -> None:
    """The line that waits for the dependency on the loop's thread is named, of every worker, with the peer."""
    looked = servers[f"blocked-{loop}-{workers}"]
    finding = assert_root(looked, "event-loop-blocked", "error")
    assert place(finding.where[0]) == ("fastapi_shop.py", line_of("fastapi_shop", "dependency"), "fetch")
    assert {where.pid for where in finding.where} == set(looked.facts["workers"])
    assert {where.thread for where in finding.where} == {"MainThread"}
    assert f"peer:127.0.0.1:{looked.facts['upstream']}" in finding.subjects
    assert looked.ids == ["event-loop-blocked"]


@each_server
def test_a_hanging_dependency_starves_the_thread_pool(servers: dict[str, Look], loop: str, workers: int) -> None:
    """All 40 of AnyIO's threads wait for the dependency, in every worker; the loop itself is not blamed."""
    looked = servers[f"starved-{loop}-{workers}"]
    finding = assert_root(looked, "slow-dependency", "error")
    assert finding.confidence == "confirmed"
    assert finding.subjects[0] == f"peer:127.0.0.1:{looked.facts['upstream']}"
    assert finding.measurements["threads"].value == ANYIO_THREADS
    assert place(finding.where[0]) == ("fastapi_shop.py", line_of("fastapi_shop", "dependency"), "fetch")
    assert finding.where[0].thread == "AnyIO worker thread"
    assert {where.pid for where in finding.where} == set(looked.facts["workers"])
    assert looked.effects("slow-dependency") == ["thread-pool-starved"]
    pool = looked.finding("thread-pool-starved")
    assert pool.evidence[0].startswith(f"{ANYIO_THREADS} of {ANYIO_THREADS} workers blocked")
    assert looked.ids == ["slow-dependency", "thread-pool-starved"]


@each_server
def test_a_server_that_keeps_up_is_healthy(loop: str, workers: int) -> None:
    """Requests that await, and requests that use the thread pool, of a quick dependency."""
    with (
        dependency(0.01) as upstream,
        uvicorn(workers=workers, loop=loop, env={"DEPENDENCY_URL": upstream.url}) as server,
        load(f"{server.url}/orders", 5),
        load(f"{server.url}/sync", 5),
    ):
        assert_healthy(look_at(server))


def look_at_blocked(loop: str, workers: int) -> Look:
    """Under loads that come one after the other, so that the second finds the first one's worker blocked."""
    with ExitStack() as stack:
        upstream = stack.enter_context(dependency(0.3))
        environment = {"DEPENDENCY_URL": upstream.url, "FAULT": "blocked"}
        server = stack.enter_context(uvicorn(workers=workers, loop=loop, env=environment))
        for _ in range(workers):
            stack.enter_context(load(f"{server.url}/orders", 3, pause=0.01))
        server.facts["upstream"] = upstream.port
        return look_at(server)


def look_at_starved(loop: str, workers: int) -> Look:
    """Under as many loads as it takes until every worker has its threads: the kernel gives each connection to any."""
    with ExitStack() as stack:
        upstream = stack.enter_context(dependency("hang"))
        server = stack.enter_context(uvicorn(workers=workers, loop=loop, env={"DEPENDENCY_URL": upstream.url}))
        for _ in range(13):
            stack.enter_context(load(f"{server.url}/sync", 2 * ANYIO_THREADS))
            if all(len(list(Path(f"/proc/{pid}/task").iterdir())) > ANYIO_THREADS for pid in server.facts["workers"]):
                break
        server.facts["upstream"] = upstream.port
        return look_at(server)
