"""Brendan Gregg's folded stacks, for flamegraph.pl and all that reads its input: `outer;inner 7` a line.

Frames are written as `py-spy record --format raw` writes them, below the process and the thread. A semicolon parts
frames and the last space parts the count, so a semicolon in a name becomes a colon.
"""

from __future__ import annotations

from collections import Counter

from doctor.model.stack_report import StackReport, Timeline
from doctor.renderers._phrases import clean, command
from doctor.renderers.base import Terminal
from doctor.renderers.stacks._names import frame_name
from doctor.renderers.stacks.base import StackRenderer


class CollapsedStacks(StackRenderer):
    """One line for each thread and stack with its samples, those of waiting threads too."""

    suffix = ".folded"

    def render(self, report: StackReport, terminal: Terminal) -> str:  # noqa: ARG002 - it is for programs
        """The lines, by process and thread, the stack with the most samples first."""
        commands = {one.pid: command(one.cmdline) for one in (report.target, *report.target.children)}
        lines = []
        for timeline in report.timelines:
            stem = [f"process {timeline.pid}:{commands[timeline.pid]}", timeline.name]
            for group, samples in _samples(timeline).most_common():
                frames = [frame_name(frame) for frame in reversed(report.groups[group].frames)]
                lines.append(f"{';'.join(map(_one_frame, stem + frames))} {samples}\n")
        return "".join(lines)


def _samples(timeline: Timeline) -> Counter[int]:
    samples: Counter[int] = Counter()
    for stay in timeline.stays:
        samples[stay.group] += stay.samples
    return samples


def _one_frame(name: str) -> str:
    return clean(name).replace(";", ":") or "?"
