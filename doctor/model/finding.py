"""What a rule says: a named condition, where it is, how sure it is, and the numbers that show it."""

from __future__ import annotations

from typing import Literal

from doctor.model.base import Value

Level = Literal["error", "warning", "note"]
Confidence = Literal["confirmed", "probable", "possible"]

LEVELS: tuple[Level, ...] = ("error", "warning", "note")
CONFIDENCES: tuple[Confidence, ...] = ("confirmed", "probable", "possible")


class Location(Value, frozen=True, kw_only=True):
    """A line of code, in the thread and process that was seen there."""

    file: str
    line: int
    function: str
    thread: str | None
    pid: int


class Measurement(Value, frozen=True, kw_only=True):
    """A number, the threshold it was held against, and where that threshold comes from."""

    value: float
    unit: str
    threshold: float | None = None
    source: str | None = None


class Finding(Value, frozen=True, kw_only=True):
    """One condition that holds. A rule fills the upper part, the pipeline the lower."""

    ref: str = ""
    id: str = ""
    level: Level
    confidence: Confidence
    title: str
    explanation: str
    where: tuple[Location, ...] = ()
    """`where[0]` is the line a person should open first."""
    subjects: tuple[str, ...]
    """What it is about, as "kind:name"; findings that share a subject may explain each other."""
    measurements: dict[str, Measurement]
    evidence: tuple[str, ...]
    fingerprint: str
    """Equal for the same condition in two processes or two captures."""
    causes: tuple[str, ...] = ()
    effects: tuple[str, ...] = ()
    playbook: str | None = None
    next: str | None = None
