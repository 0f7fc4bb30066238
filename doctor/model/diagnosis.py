"""The answer: what `--format json` prints, schema doctor.diagnosis/1."""

from __future__ import annotations

from typing import Literal

import msgspec

from doctor.model.base import Value
from doctor.model.bundle import Cost, Skipped, Window
from doctor.model.finding import Finding
from doctor.model.target import ProcessRef, Target

SCHEMA = "doctor.diagnosis/1"

Status = Literal["fail", "warn", "ok", "inconclusive"]


class DiagnosedProcess(Value, frozen=True, kw_only=True):
    """One process of the service."""

    pid: int
    cmdline: tuple[str, ...]
    python: str | None
    started_at: str


class DiagnosedTarget(DiagnosedProcess, frozen=True, kw_only=True):
    """The service as it was named: its root process, and those diagnosed with it."""

    host: str
    children: tuple[DiagnosedProcess, ...]


def diagnosed(target: Target) -> DiagnosedTarget:
    """What an answer tells of the processes it is about."""
    root = _process(target.root)
    children = tuple(_process(child) for child in target.children)
    return DiagnosedTarget(**msgspec.structs.asdict(root), host=target.host, children=children)


def _process(ref: ProcessRef) -> DiagnosedProcess:
    return DiagnosedProcess(pid=ref.pid, cmdline=ref.cmdline, python=ref.python, started_at=ref.started_at)


class Verdict(Value, frozen=True, kw_only=True):
    """The one line to read at 3 AM."""

    status: Status
    summary: str
    root_causes: tuple[str, ...]
    """Refs of the findings that no other finding explains."""


class RuleError(Value, frozen=True, kw_only=True):
    """A rule that crashed. It is neither a finding nor a pass."""

    rule: str
    error: str


class Diagnosis(Value, frozen=True, kw_only=True):
    """Verdict, findings, and what could not be checked."""

    schema: Literal["doctor.diagnosis/1"] = "doctor.diagnosis/1"
    doctor_version: str
    target: DiagnosedTarget
    window: Window
    verdict: Verdict
    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    """Finding ids whose rule saw all its evidence in at least one process."""
    skipped: tuple[Skipped, ...]
    rule_errors: tuple[RuleError, ...]
    cost: Cost
