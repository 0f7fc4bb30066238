"""Names of many threads in a few words."""

from __future__ import annotations

import pytest

from doctor.renderers.stacks._names import thread_names


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["MainThread"], "MainThread"),
        (["MainThread"] * 5, "MainThread"),
        (["pool-1_0", "pool-1_10", "pool-1_2"], "pool-1_0 … _10"),
        (["Thread-5 (serve)", "Thread-7 (serve)"], "Thread-5 … -7 (serve)"),
        (["worker-007", "worker-012"], "worker-007 … -012"),
        (["io", "cpu", "io"], "io, cpu"),
        (["a", "b", "c", "d", "e"], "a, b, c, 2 more"),
        (["9" * 5000], "9" * 79 + "…"),
        (["\x1b[2J"], "\\x1b[2J"),
    ],
)
def test_names(names: list[str], said: str) -> None:
    """Names that differ by a number are one pool from its first to its last; of different names the first are told."""
    assert thread_names(names) == said
