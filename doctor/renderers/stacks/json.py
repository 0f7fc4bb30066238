"""The schema `doctor.stacks/1` for programs: the same stacks give the same bytes."""

from __future__ import annotations

from doctor.model.stack_report import StackReport
from doctor.renderers._encoding import to_json
from doctor.renderers.base import Terminal
from doctor.renderers.stacks.base import StackRenderer


class JsonStacks(StackRenderer):
    """Prints all that is known of the stacks, two spaces a level."""

    suffix = ".json"

    def render(self, report: StackReport, terminal: Terminal) -> str:  # noqa: ARG002 - JSON looks the same everywhere
        """The report as JSON, fields in the order of the schema."""
        return to_json(report)
