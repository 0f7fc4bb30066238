"""Healthy services that look as if they were not: waiting all day, busy all day, growing for a while."""

from __future__ import annotations

import pytest

from integration.looking import Look, assert_healthy, later, look, look_at, side_by_side
from services import gunicorn

SHAPES: dict[str, tuple[str | bytes, ...]] = {
    "an executor whose workers wait for work": ("idle_executor",),
    "subscribers of a broker that has no message": ("consumer",),
    "names that are not ASCII, and an argument that is not even UTF-8": ("unicode_name", b"caf\xe9 \xff"),
    "97 threads that do a little all the time": ("many_threads", "97", "13", "0.1"),
    "97 threads that all wait deep inside a call": ("many_threads", "97", "13", "60"),
    "a main thread that sleeps, and no other": ("periodic", "29"),
    "threads that do a little now and then": ("periodic", "29", "threads"),
    "a pool that is always busy, with short calls": ("busy_pool",),
    "a thread for each of 97 clients who say nothing": ("idle_connections", "threads"),
    "a coroutine for each of 97 clients who say nothing": ("idle_connections", "asyncio"),
    "a pool that fills up and levels off": ("filling_pool",),
}


@pytest.fixture(scope="module")
def looks() -> dict[str, Look]:
    """A diagnosis of each shape."""
    return side_by_side({shape: later(str(arguments[0]), *arguments[1:]) for shape, arguments in SHAPES.items()})


@pytest.mark.parametrize("shape", SHAPES)
def test_an_odd_shape_is_healthy(looks: dict[str, Look], shape: str) -> None:
    """What looks stuck, busy or growing to a careless eye has no finding."""
    assert_healthy(looks[shape])


def test_a_loop_that_answers_thousands_of_small_requests_is_healthy() -> None:
    """Its thread is nearly always in some callback, and never long in one."""
    assert_healthy(look("busy_loop"))


@pytest.mark.parametrize("worker_class", ["gthread", "sync"])
def test_a_server_without_requests_is_healthy(worker_class: str) -> None:
    """All workers wait for a connection."""
    with gunicorn(workers=2, threads=1, worker_class=worker_class) as server:
        assert_healthy(look_at(server, seconds=2))


def test_names_beyond_ascii_arrive_whole(looks: dict[str, Look]) -> None:
    """The command line is shown with escapes for what is not UTF-8."""
    cmdline = looks["names that are not ASCII, and an argument that is not even UTF-8"].diagnosis.target.cmdline
    assert cmdline[-1] == r"caf\xe9 \xff"
