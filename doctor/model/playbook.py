"""A runbook as data: schema doctor.playbook/1."""

from __future__ import annotations

from typing import Literal

from doctor.model.base import Value

Risk = Literal["read", "pause", "write"]


class Step(Value, frozen=True, kw_only=True):
    """One thing to do, why, and what to expect."""

    id: str
    why: str
    run: tuple[str, ...]
    """An argument vector; "{pid}" stands for the PID of the process that the finding names."""
    risk: Risk
    expect: str
    """What is seen when this playbook fits."""
    otherwise: str
    """What it means, and where to go, when the expectation does not hold."""


class Mitigation(Value, frozen=True, kw_only=True):
    """A way to stop the bleeding now."""

    do: str
    risk: Risk
    undo: str
    """How to take it back, or why there is nothing to take back."""


class Fix(Value, frozen=True, kw_only=True):
    """The lasting change."""

    explanation: str
    language: Literal["python", "yaml"] = "python"
    before: str | None = None
    after: str | None = None
    """Code, where the fix is code."""


class Verify(Value, frozen=True, kw_only=True):
    """How to know that it is over."""

    run: tuple[str, ...]
    expect: str


class Escalation(Value, frozen=True, kw_only=True):
    """When to stop alone, and whom to wake."""

    after: str
    to: str


class Playbook(Value, frozen=True, kw_only=True):
    """What to do about a finding, written for a tired person who does not know this service."""

    schema: Literal["doctor.playbook/1"]
    id: str
    title: str
    owner: str
    last_tested: str
    """ISO 8601 date of the last walk on a live service."""
    findings: tuple[str, ...]
    """Finding ids it answers."""
    meaning: str
    impact: str
    steps: tuple[Step, ...]
    mitigation: tuple[Mitigation, ...]
    """Most easily taken back first."""
    fix: Fix
    verify: Verify
    rollback: str
    escalate: Escalation
    references: tuple[str, ...]
