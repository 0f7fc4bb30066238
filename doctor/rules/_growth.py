"""Growth that goes on, told from growth that levels off."""

from __future__ import annotations

import itertools
from collections.abc import Sequence


def steady(series: Sequence[tuple[float, float]], share_of_quarter: float) -> bool:
    """Whether a series of (moment, value) grew in every quarter of its time by at least this share of the whole.

    The share is of the total growth; steady growth puts 0.25 into each quarter.
    """
    if len(series) < 5:
        return False
    begin, end = series[0][0], series[-1][0]
    total = series[-1][1] - series[0][1]
    if total <= 0 or end <= begin:
        return False
    edges = [_value_at(series, begin + quarter * (end - begin) / 4) for quarter in range(5)]
    return all(after - before >= share_of_quarter * total for before, after in itertools.pairwise(edges))


def slope(series: Sequence[tuple[float, float]]) -> float:
    """Least-squares growth per second of a series of (moment, value)."""
    count = len(series)
    mean_x = sum(x for x, _ in series) / count
    mean_y = sum(y for _, y in series) / count
    spread = sum((x - mean_x) ** 2 for x, _ in series)
    return sum((x - mean_x) * (y - mean_y) for x, y in series) / spread if spread else 0.0


def _value_at(series: Sequence[tuple[float, float]], moment: float) -> float:
    """The last value known at a moment."""
    return [value for at, value in series if at <= moment + 1e-9][-1]
