"""Memory against the limit of a control group."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from integration.looking import Look, assert_healthy, assert_root, later, side_by_side
from services import control_group

LIMIT_MIB = 251


@pytest.fixture(scope="module")
def looks() -> dict[str, tuple[Look, Path]]:
    """Each in a group of its own: full to nine tenths, far from full, and filling up by 7 MiB once a second."""
    programs = {"near": ("sick",), "far": ("healthy",), "filling": ("sick", "191", "7")}
    jobs: dict[str, Callable[[], Look]] = {}
    folders: dict[str, Path] = {}
    with ExitStack() as stack:
        for name, arguments in programs.items():
            groups = stack.enter_context(control_group(memory_mib=LIMIT_MIB))
            folders[name] = groups[0]
            jobs[name] = later("memory_limit", *arguments, seconds=6, groups=groups)
        return {name: (looked, folders[name]) for name, looked in side_by_side(jobs).items()}


def test_memory_near_the_limit_is_a_warning(looks: dict[str, tuple[Look, Path]]) -> None:
    """More than nine tenths are used and it does not grow: the group is named, with both sizes."""
    looked, group = looks["near"]
    finding = assert_root(looked, "memory-limit-near", "warning")
    assert finding.confidence == "confirmed"
    assert set(finding.subjects) == {f"cgroup:/{group.name}", f"process:{looked.pid}"}
    assert 0.9 <= finding.measurements["share_of_limit"].value < 0.95
    assert f" of {LIMIT_MIB * 1024 * 1024 / 1e6:.0f} MB in use" in finding.evidence[0]
    assert looked.ids == ["memory-limit-near"]


def test_growth_that_meets_the_limit_soon_is_an_error(looks: dict[str, tuple[Look, Path]]) -> None:
    """Below nine tenths or not, at this rate the limit is met within the ten minutes that nobody has."""
    looked, group = looks["filling"]
    finding = assert_root(looked, "memory-limit-near", "error")
    assert finding.subjects[0] == f"cgroup:/{group.name}"
    assert finding.measurements["time_to_limit"].value < 600
    assert any(line.startswith("grew by ") for line in finding.evidence)
    assert looked.ids == ["memory-limit-near"]


def test_a_limit_far_away_is_healthy(looks: dict[str, tuple[Look, Path]]) -> None:
    """A quarter of the limit is no news."""
    assert_healthy(looks["far"][0])
