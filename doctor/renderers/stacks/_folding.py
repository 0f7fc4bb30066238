"""Which frames of a stack a person reads, and what stands for the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from doctor.model.stack_report import ReportedFrame, StackGroup

_WORTH_FOLDING = 2


class Fold(NamedTuple):
    """Frames that are only counted."""

    frames: int
    of: tuple[str, ...]
    """Their libraries or, of one frame again and again, its function; innermost first."""


def is_own(frame: ReportedFrame, group: StackGroup) -> bool:
    """Whether a frame is the application's or, of a service that is installed as a package, the one to open."""
    return frame.origin == "application" or (group.where is not None and frame == group.frames[group.where])


def folded(group: StackGroup) -> Iterator[ReportedFrame | Fold]:
    """The stack innermost first: own frames, the innermost of all, and what lies between as folds."""
    innermost = True
    for own, same in groupby(group.frames, lambda frame: is_own(frame, group)):
        frames = list(same)
        if innermost and not own:
            yield frames.pop(0)
        yield from _without_repeats(frames) if own else _fold(frames)
        innermost = False


def _without_repeats(frames: Sequence[ReportedFrame]) -> Iterator[ReportedFrame | Fold]:
    for frame, same in groupby(frames):
        yield frame
        repeats = len(list(same)) - 1
        if repeats:
            yield Fold(repeats, (frame.function,))


def _fold(frames: Sequence[ReportedFrame]) -> Iterator[ReportedFrame | Fold]:
    if len(frames) < _WORTH_FOLDING:
        yield from frames
    else:
        yield Fold(len(frames), tuple(dict.fromkeys(frame.library for frame in frames)))
