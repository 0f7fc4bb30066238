"""What every rule has in common.

A rule's class docstring is what `doctor explain ID` prints; it has the sections Symptom, Evidence, Threshold and
Not to be confused with.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache

from doctor.model.evidence import Evidence
from doctor.model.finding import Finding
from doctor.model.view import ProcessView
from doctor.registry import discover
from doctor.thresholds import Threshold, thresholds

SECTIONS = ("Symptom", "Evidence", "Threshold", "Not to be confused with")


class NotVisible(Exception):
    """The evidence is there but does not show what the rule needs; becomes an entry of `skipped`."""

    def __init__(self, kind: type[Evidence], reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason
        self.remedy = remedy


class Rule(ABC):
    """Pure: no clock, no I/O, no state."""

    needs: tuple[type[Evidence], ...]
    """Without all of these the rule is skipped."""
    can_cause: tuple[str, ...] = ()
    """Finding ids this condition can bring about when they share a subject."""

    @property
    def id(self) -> str:
        """The finding id: the module's name with hyphens."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    @property
    def documentation(self) -> str:
        """The class docstring, for people."""
        return inspect.getdoc(self) or ""

    @property
    def title(self) -> str:
        """Its first line."""
        return self.documentation.partition("\n")[0].rstrip(".")

    def threshold(self, name: str) -> Threshold:
        """One of this rule's thresholds in `thresholds.yaml`."""
        return thresholds()[self.id][name]

    @abstractmethod
    def evaluate(self, process: ProcessView) -> Iterable[Finding]:
        """What holds in this process.

        Raises:
            NotVisible: the evidence does not show what the rule needs.
        """


@cache
def rules() -> dict[str, Rule]:
    """Every rule by finding id."""
    return {rule.id: rule for rule in discover("doctor.rules", Rule).values()}  # type: ignore[type-abstract]
