"""What the formats say in the same words."""

from __future__ import annotations

import pytest

from doctor.model.finding import Location
from doctor.renderers import _phrases as say

from .samples import NO_CGROUP, SAMPLES


@pytest.mark.parametrize(
    ("cmdline", "short"),
    [
        (("/usr/bin/python3.12", "/srv/.venv/bin/gunicorn", "shop:app"), "gunicorn shop:app"),
        (("python", "-X", "dev", "-u", "-m", "uvicorn", "shop:app"), "uvicorn shop:app"),
        (("/usr/bin/python3", "-c", "import time"), "python3 -c import time"),
        (("/usr/local/bin/celery", "worker"), "celery worker"),
        (("gunicorn: master [/srv/shop/wsgi:app]",), "gunicorn: master [/srv/shop/wsgi:app]"),
        (("python3",), "python3"),
        ((), ""),
    ],
)
def test_command_is_what_people_call_it(cmdline: tuple[str, ...], short: str) -> None:
    """The interpreter and the folder of the program say nothing that a person on call needs."""
    assert say.command(cmdline) == short


@pytest.mark.parametrize(
    ("spots", "phrase"),
    [
        ([(1, "a", 42)], "thread a, pid 42"),
        ([(1, "a", 42), (1, "b", 42)], "thread a, pid 42, and 1 more thread"),
        ([(1, "a", 42), (1, "a", 43)], "thread a, pid 42, and 1 more process"),
        ([(1, None, 42), (2, None, 43), (3, None, 44)], "pid 42, and 2 more places, 2 more processes"),
    ],
)
def test_witness_counts_the_rest(spots: list[tuple[int, str | None, int]], phrase: str) -> None:
    """One thread is named; further places, threads and processes are counted."""
    where = [Location(file="a.py", line=line, function="f", thread=thread, pid=pid) for line, thread, pid in spots]
    assert say.witness(where) == phrase


def test_equal_skips_become_one() -> None:
    """The same reason in two processes is one entry about both, and what is decisive comes first."""
    stacks, cgroup = say.skips(SAMPLES["inconclusive"].skipped)
    assert (stacks.collector, stacks.pids) == ("stacks", (4242, 4243))
    assert cgroup == NO_CGROUP


def test_skip_of_all_processes_names_none() -> None:
    """An entry about every process swallows one about a single process."""
    everywhere = type(NO_CGROUP)(collector="cgroup", reason=NO_CGROUP.reason, remedy=NO_CGROUP.remedy)
    (skip,) = say.skips([NO_CGROUP, everywhere])
    assert say.lost(skip) == "blind to cpu-throttled, memory-limit-near"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("\x1b[31m", r"\x1b[31m"),
        ("a\r\nb", r"a\r\nb"),
        ("\udcff", r"\udcff"),
        ("\u202e", r"\u202e"),
        ("naïve", "naïve"),
    ],
)
def test_clean_shows_what_would_not_print(raw: str, shown: str) -> None:
    """Control characters, lone surrogates and changes of direction become escapes; letters stay."""
    assert say.clean(raw) == shown


def test_clip_says_that_it_cut() -> None:
    """What is cut ends in an ellipsis and has exactly the length asked for."""
    assert say.clip("x" * 10, 10) == "x" * 10
    assert say.clip("x" * 11, 10) == "x" * 9 + "…"
