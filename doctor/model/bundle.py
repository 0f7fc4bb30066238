"""All evidence of one capture. Everything after the capture is a pure function of this."""

from __future__ import annotations

from typing import TypeVar

from doctor.model.base import Value
from doctor.model.evidence import Evidence
from doctor.model.target import Target

E = TypeVar("E", bound=Evidence)


class Window(Value, frozen=True, kw_only=True):
    """The time a capture looked at."""

    started_at: str
    """ISO 8601, UTC."""
    duration_s: float


class Skipped(Value, frozen=True, kw_only=True):
    """Something that was not collected or not checked, why, and what would make it possible."""

    collector: str
    reason: str
    remedy: str
    pids: tuple[int, ...] = ()
    """The processes it concerns; empty for all."""
    rules: tuple[str, ...] = ()
    """The finding ids that could not be checked for this reason."""
    decisive: bool = False
    """True when without it nobody can call the service healthy."""


class Cost(Value, frozen=True, kw_only=True):
    """What the capture did to the target and took from the host."""

    target_paused_ms: float = 0.0
    doctor_cpu_s: float = 0.0
    bytes_read: int = 0
    db_ms: float = 0.0


class Bundle(Value, frozen=True, kw_only=True):
    """Typed, serialisable, versioned: see `store.bundle_file`."""

    target: Target
    window: Window
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    cost: Cost

    def find(self, kind: type[E], pid: int | None) -> E | None:
        """The evidence of a kind about one process, or about the host with None."""
        for evidence in self.evidence:
            if type(evidence) is kind and evidence.pid == pid:
                return evidence
        return None
