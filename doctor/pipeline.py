"""The flow: collect → redact → evaluate → correlate → match.

`capture` is the only part that looks at the live system; `diagnose` is a pure function of what it brought home.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from doctor import __version__, postmortem
from doctor.collect import Progress, collect
from doctor.collectors.base import Tier
from doctor.correlate import correlate
from doctor.evaluate import evaluate
from doctor.model.bundle import Bundle
from doctor.model.diagnosis import Diagnosis, diagnosed
from doctor.model.evidence import Evidence
from doctor.model.finding import Finding
from doctor.model.target import Target
from doctor.playbook.library import match
from doctor.redact import redact
from doctor.rules.base import rules
from doctor.verdict import verdict


def capture(
    target: Target,
    duration_s: float,
    progress: Progress = lambda _: None,
    kinds: Collection[type[Evidence]] | None = None,
    allow: Collection[Tier] = (),
) -> Bundle:
    """Looks at a target for `duration_s` seconds; what comes back holds no secrets.

    `progress` is called with the name of each collector as it finishes; `kinds` is the evidence to gather, if not all;
    `allow` is what may happen to the target beyond being read.
    """
    return redact(collect(target, duration_s, progress, kinds, allow))


def read_core(path: Path) -> Bundle:
    """What a core file holds, without secrets.

    Raises:
        CannotRead, UnknownLayout: it holds no interpreter that doctor can read.
    """
    return redact(postmortem.read_core(path))


def diagnose(bundle: Bundle) -> Diagnosis:
    """The answer that a bundle holds; the same bundle always gives the same answer."""
    evaluation = evaluate(bundle, rules().values())
    linked = correlate(evaluation.findings, can_cause())
    findings = tuple(_with_playbook(finding, bundle.target.root.pid) for finding in linked)
    return Diagnosis(
        doctor_version=__version__,
        target=diagnosed(bundle.target),
        window=bundle.window,
        verdict=verdict(findings, evaluation),
        findings=findings,
        checked=evaluation.checked,
        skipped=evaluation.skipped,
        rule_errors=evaluation.rule_errors,
        cost=bundle.cost,
    )


def can_cause() -> Mapping[str, frozenset[str]]:
    """Every declared kind of cause, by finding id."""
    return {rule.id: frozenset(rule.can_cause) for rule in rules().values()}


def _with_playbook(finding: Finding, root_pid: int) -> Finding:
    playbook = match(finding.id)
    if playbook is None:
        return msgspec.structs.replace(finding, next=f"doctor explain {finding.id}")
    pid = finding.where[0].pid if finding.where else root_pid
    return msgspec.structs.replace(
        finding, playbook=playbook.id, next=f"doctor playbook show {playbook.id} --pid {pid}"
    )
