"""What the formats call frames, and threads that are many."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from doctor.model.stack_report import ReportedFrame
from doctor.renderers._phrases import clean, listing

_NUMBERED = re.compile(r"(?P<stem>.*?)(?P<number>\d{1,18})(?P<rest>( \(.*\))?)", re.DOTALL)
_MOST = 3
"""Names of different pools that are shown; all of one pool are one."""


class _Pool(NamedTuple):
    """Names that differ by a number: what stands before and behind it."""

    stem: str
    rest: str


def frame_name(frame: ReportedFrame) -> str:
    """As py-spy writes a frame: `function (file:line)`."""
    return clean(f"{frame.function} ({frame.short_file}:{frame.line})")


def thread_names(names: Iterable[str]) -> str:
    """All names in a few words: "worker_0 … _6, MainThread"; what differs by a number only is one pool."""
    pools: dict[_Pool, dict[int, str]] = {}
    for name in names:
        match = _NUMBERED.fullmatch(name)
        pool = _Pool(match["stem"], match["rest"]) if match else _Pool(name, "")
        pools.setdefault(pool, {}).update({int(match["number"]): match["number"]} if match else {})
    return listing([_pool(pool, numbers) for pool, numbers in pools.items()], _MOST)


def _pool(pool: _Pool, numbers: Mapping[int, str]) -> str:
    if not numbers:
        return pool.stem
    joint = pool.stem[-1:] if pool.stem.endswith(("_", "-", "#")) else ""
    last = f" … {joint}{numbers[max(numbers)]}" if len(numbers) > 1 else ""
    return f"{pool.stem}{numbers[min(numbers)]}{last}{pool.rest}"
