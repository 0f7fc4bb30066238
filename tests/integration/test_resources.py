"""Descriptors, sockets, children and the disk."""

from __future__ import annotations

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from integration.looking import Look, assert_healthy, assert_root, later, look, place, side_by_side
from services import PROGRAMS, control_group, line_of

LIMIT = 1024


@contextmanager
def open_files_limit() -> Iterator[None]:
    """The usual soft limit, which programs inherit: a leak of 13 a second meets it within two minutes."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(scope="module")
def sick() -> dict[str, Look]:
    """The three that leak."""
    with open_files_limit():
        return side_by_side({name: later(name, "sick") for name in ("fd_leak", "socket_leak", "zombie_children")})


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Look]:
    """Their twins, and the one that writes to disk."""
    with open_files_limit():
        return side_by_side(
            {
                "fd_leak": later("fd_leak", "healthy"),
                "socket_leak": later("socket_leak", "healthy"),
                "zombie_children": later("zombie_children", "healthy"),
                "disk_stall": later("disk_stall", "healthy", str(tmp_path_factory.mktemp("disk"))),
            }
        )


@pytest.mark.parametrize("program", ["fd_leak", "socket_leak", "zombie_children", "disk_stall"])
def test_the_healthy_twin_has_no_finding(healthy: dict[str, Look], program: str) -> None:
    """The same work that closes, reaps and does not flush is healthy."""
    assert_healthy(healthy[program])


def test_the_leaked_file_is_named_with_its_growth(sick: dict[str, Look]) -> None:
    """The growth is that of the one file which is opened again and again, 23 times before the first look."""
    finding = assert_root(sick["fd_leak"], "fd-leak", "error")
    path = PROGRAMS / "fd_leak.py"
    assert {f"file:{path}", f"process:{sick['fd_leak'].pid}"} <= set(finding.subjects)
    first, last = counts(f"file {path}: (.*) → (.*)", finding.evidence)
    assert first >= 23
    assert last - first == finding.measurements["growth"].value
    assert f", soft limit {LIMIT}" in finding.evidence[0]
    assert finding.evidence[-1].startswith("at this rate the limit is met in ")
    assert sick["fd_leak"].ids == ["fd-leak"]


def test_abandoned_sockets_are_the_cause_of_growing_descriptors(sick: dict[str, Look]) -> None:
    """23 or more sockets of one peer are in CLOSE_WAIT all the time; the descriptors they take are an effect."""
    looked = sick["socket_leak"]
    finding = assert_root(looked, "socket-leak", "error")
    peer = f"127.0.0.1:{looked.facts['peer_port']}"
    assert finding.confidence == "confirmed"
    assert finding.subjects[0] == f"peer:{peer}"
    assert finding.measurements["persistent"].value >= looked.facts["close_wait"] == 23
    first, last = counts(f"CLOSE_WAIT to {peer}: (.*) → (.*) in .*", finding.evidence)
    assert last - first == finding.measurements["growth"].value
    assert looked.effects("socket-leak") == ["fd-leak"]
    assert looked.ids == ["fd-leak", "socket-leak"]


def test_every_zombie_is_counted(sick: dict[str, Look]) -> None:
    """All 7 children that nobody waited for are named; their number does not grow, so it is a warning."""
    looked = sick["zombie_children"]
    finding = assert_root(looked, "zombie-children", "warning")
    assert finding.confidence == "confirmed"
    assert finding.measurements["persistent"].value == 7
    assert finding.subjects == (f"process:{looked.pid}",)
    assert finding.evidence[-1] == f"PIDs {', '.join(map(str, sorted(looked.facts['children'])))}"
    assert looked.ids == ["zombie-children"]


def test_the_flush_that_waits_for_the_disk_is_named(tmp_path: Path) -> None:
    """On a disk with few writes a second the journal's fsync is found, with the file it writes."""
    with control_group(slow_disk=tmp_path) as groups:
        looked = look("disk_stall", "sick", str(tmp_path), groups=groups)
    finding = assert_root(looked, "disk-io-stall", "error")
    assert place(finding.where[0]) == ("disk_stall.py", line_of("disk_stall", "fsync"), "append")
    assert (finding.where[0].thread, finding.where[0].pid) == ("journal", looked.pid)
    assert f"file:{looked.facts['path']}" in finding.subjects
    assert finding.evidence[0].startswith(f"fsync on {looked.facts['path']}: ")
    assert looked.ids == ["disk-io-stall"]


def counts(pattern: str, evidence: tuple[str, ...]) -> tuple[int, int]:
    """The two numbers of the line of evidence that a pattern fits."""
    ((first, last),) = (match.groups() for line in evidence if (match := re.fullmatch(pattern, line)))
    return int(first), int(last)
