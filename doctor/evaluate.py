"""Runs every rule over every process, and folds the same condition in several processes into one finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from doctor.model.base import Value
from doctor.model.bundle import Bundle, Skipped
from doctor.model.diagnosis import RuleError
from doctor.model.evidence import Evidence, kind_of
from doctor.model.finding import CONFIDENCES, LEVELS, Finding
from doctor.model.view import ProcessView, processes
from doctor.rules.base import NotVisible, Rule


class Evaluation(Value, frozen=True, kw_only=True):
    """What the rules say about a bundle."""

    findings: tuple[Finding, ...]
    checked: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    rule_errors: tuple[RuleError, ...]


class _Outcome:
    """Collects the results of all rules."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.checked: set[str] = set()
        self.unseen: dict[tuple[str, int], NotVisible] = {}
        self.missing: dict[tuple[str, int], set[str]] = {}
        self.errors: list[RuleError] = []


def evaluate(bundle: Bundle, rules: Iterable[Rule]) -> Evaluation:
    """All findings of a bundle, most severe first, and which rules could not see their evidence."""
    outcome = _Outcome()
    views = processes(bundle)
    for rule in rules:
        for process in views:
            _apply(rule, process, outcome)
    return Evaluation(
        findings=tuple(sorted(_fold(outcome.findings), key=_severity)),
        checked=tuple(sorted(outcome.checked)),
        skipped=_skipped(bundle, outcome),
        rule_errors=tuple(outcome.errors),
    )


def _apply(rule: Rule, process: ProcessView, outcome: _Outcome) -> None:
    missing = [kind for kind in rule.needs if process.find(kind) is None]
    for kind in missing:
        outcome.missing.setdefault((kind_of(kind), process.ref.pid), set()).add(rule.id)
    if missing:
        return
    try:
        found = [msgspec.structs.replace(finding, id=rule.id) for finding in rule.evaluate(process)]
    except NotVisible as unseen:
        outcome.missing.setdefault((kind_of(unseen.kind), process.ref.pid), set()).add(rule.id)
        outcome.unseen[kind_of(unseen.kind), process.ref.pid] = unseen
    except Exception as error:  # a crash of one rule must not hide what the others see
        outcome.errors.append(RuleError(rule=rule.id, error=f"{type(error).__name__}: {error}"))
    else:
        outcome.findings += found
        outcome.checked.add(rule.id)


def _severity(finding: Finding) -> tuple[int, int, str, str]:
    return (
        LEVELS.index(finding.level),
        CONFIDENCES.index(finding.confidence),
        finding.id,
        finding.fingerprint,
    )


def _prominence(finding: Finding) -> tuple[int, int, int]:
    """Of one condition in several processes the worst speaks for all: the most severe, then the most widespread."""
    return LEVELS.index(finding.level), CONFIDENCES.index(finding.confidence), -len(finding.subjects)


def _fold(findings: Sequence[Finding]) -> list[Finding]:
    groups: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        groups.setdefault((finding.id, finding.fingerprint), []).append(finding)
    return [_merge(sorted(group, key=_prominence)) for group in groups.values()]


def _merge(group: list[Finding]) -> Finding:
    worst = group[0]
    if len(group) == 1:
        return worst
    pids = sorted({where.pid for finding in group for where in finding.where})
    also = (f"the same in {len(pids)} processes: {', '.join(map(str, pids))}",) if len(pids) > 1 else ()
    return msgspec.structs.replace(
        worst,
        where=tuple(dict.fromkeys(where for finding in group for where in finding.where)),
        subjects=tuple(dict.fromkeys(subject for finding in group for subject in finding.subjects)),
        evidence=worst.evidence + also,
    )


def _skipped(bundle: Bundle, outcome: _Outcome) -> tuple[Skipped, ...]:
    """The bundle's own entries with the rules they cost, then what only the rules noticed."""
    told: list[Skipped] = []
    for skip in bundle.skipped:
        lost: set[str] = set()
        for pid in skip.pids or tuple(ref.pid for ref in bundle.target.processes):
            lost |= outcome.missing.pop((skip.collector, pid), set())
        told.append(msgspec.structs.replace(skip, rules=tuple(sorted(lost))))
    for (collector, pid), ids in sorted(outcome.missing.items()):
        unseen = outcome.unseen.get((collector, pid))
        told.append(
            Skipped(
                collector=collector,
                reason=unseen.reason if unseen else "the capture holds no such evidence",
                remedy=unseen.remedy if unseen else "capture again with this version of doctor",
                pids=(pid,),
                rules=tuple(sorted(ids)),
                decisive=unseen is None,
            )
        )
    return tuple(told)


def evidence_names(kinds: Iterable[type[Evidence]]) -> str:
    """Kinds of evidence as a person reads them."""
    return ", ".join(kind_of(kind) for kind in kinds)
