"""A file for https://www.speedscope.app, schema https://www.speedscope.app/file-format-schema.json.

One sampled profile a thread. Samples keep their order, so that the time line shows what came after what.
"""

from __future__ import annotations

from typing import Any

import msgspec

from doctor.model.stack_report import ReportedFrame, StackReport, Timeline
from doctor.renderers._encoding import encodable
from doctor.renderers._phrases import clean, command
from doctor.renderers.base import Terminal
from doctor.renderers.stacks.base import StackRenderer

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


class SpeedscopeStacks(StackRenderer):
    """Weights are seconds; in one look, which has no length, each sample counts one."""

    suffix = ".speedscope.json"

    def render(self, report: StackReport, terminal: Terminal) -> str:  # noqa: ARG002 - it is for programs
        """The file as one line of JSON: it may hold thousands of samples."""
        frames: dict[ReportedFrame, int] = {}
        paths = [[frames.setdefault(frame, len(frames)) for frame in reversed(group.frames)] for group in report.groups]
        periods = {one.pid: _period_s(report, one.samples) for one in report.processes}
        content = {
            "$schema": _SCHEMA,
            "exporter": f"doctor@{report.doctor_version}",
            "name": clean(f"{command(report.target.cmdline)} ({report.target.pid})"),
            "activeProfileIndex": 0,
            "shared": {"frames": [_frame(frame) for frame in frames]},
            "profiles": [_profile(one, paths, periods[one.pid]) for one in report.timelines],
        }
        return msgspec.json.encode(encodable(content)).decode() + "\n"


def _period_s(report: StackReport, samples: int) -> float | None:
    return report.window.duration_s / samples if report.sampled and samples else None


def _frame(frame: ReportedFrame) -> dict[str, Any]:
    return {"name": clean(frame.function), "file": frame.file, "line": frame.line}


def _profile(timeline: Timeline, paths: list[list[int]], period_s: float | None) -> dict[str, Any]:
    weights = [stay.samples * (period_s or 1) for stay in timeline.stays]
    return {
        "type": "sampled",
        "name": clean(f"{timeline.name} (process {timeline.pid}, thread {timeline.tid or '?'})"),
        "unit": "none" if period_s is None else "seconds",
        "startValue": 0,
        "endValue": sum(weights),
        "samples": [paths[stay.group] for stay in timeline.stays],
        "weights": weights,
    }
