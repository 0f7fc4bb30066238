"""What every output format has in common. A renderer is pure: it neither prints nor asks the terminal anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

from doctor.model.diagnosis import Diagnosis
from doctor.registry import discover


@dataclass(frozen=True)
class Terminal:
    """What the output is made for; formats that are not for terminals ignore it."""

    width: int = 100
    color: bool = False
    verbose: bool = False
    """Whole texts and explanations, where otherwise the essence is shown."""


class Renderer(ABC):
    """One output format."""

    suffix: str
    """What a file in this format ends in, with the dot."""

    @property
    def name(self) -> str:
        """What `--format` calls it: the module's name."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def render(self, diagnosis: Diagnosis, terminal: Terminal) -> str:
        """The whole output, ending in a newline."""


@cache
def renderers() -> dict[str, Renderer]:
    """Every renderer by name."""
    return discover("doctor.renderers", Renderer)  # type: ignore[type-abstract]
