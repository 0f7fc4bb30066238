"""What every format of `doctor stacks` has in common. All are pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

from doctor.model.stack_report import StackReport
from doctor.registry import discover
from doctor.renderers.base import Terminal


class StackRenderer(ABC):
    """One format of grouped stacks."""

    suffix: str
    """What a file in this format ends in, with the dot."""

    @property
    def name(self) -> str:
        """What `--format` calls it: the module's name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def render(self, report: StackReport, terminal: Terminal) -> str:
        """The whole output, ending in a newline; `terminal.verbose` asks a format for people to leave nothing out."""


@cache
def stack_renderers() -> dict[str, StackRenderer]:
    """Every format by name."""
    return discover("doctor.renderers.stacks", StackRenderer)  # type: ignore[type-abstract]
