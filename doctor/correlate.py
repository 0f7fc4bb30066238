"""Joins findings into cause and effect, and names the root causes.

An edge needs both: a kind of cause that the rule declares (`Rule.can_cause`), and a subject the two findings share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from doctor.model.finding import Finding

Causes = Mapping[str, frozenset[str]]
"""Finding id → the ids it can bring about."""


def correlate(findings: Sequence[Finding], can_cause: Causes) -> tuple[Finding, ...]:
    """The same findings, numbered f1, f2, … in their order, each with the refs of its causes and effects."""
    numbered = [msgspec.structs.replace(finding, ref=f"f{n}") for n, finding in enumerate(findings, 1)]
    causes: dict[str, list[str]] = {finding.ref: [] for finding in numbered}
    effects: dict[str, list[str]] = {finding.ref: [] for finding in numbered}
    for cause in numbered:
        for effect in numbered:
            if effect.id in can_cause.get(cause.id, ()) and set(cause.subjects) & set(effect.subjects):
                causes[effect.ref].append(cause.ref)
                effects[cause.ref].append(effect.ref)
    return tuple(
        msgspec.structs.replace(finding, causes=tuple(causes[finding.ref]), effects=tuple(effects[finding.ref]))
        for finding in numbered
    )


def root_causes(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """The findings that no other explains. Notes are remarks: they are no causes, and explain nothing.

    Of findings that only explain each other the first stands for all.
    """
    severe = {finding.ref: finding for finding in findings if finding.level != "note"}
    unexplained = [finding for finding in severe.values() if not severe.keys() & set(finding.causes)]
    roots: list[Finding] = []
    reached: set[str] = set()
    for finding in (*unexplained, *severe.values()):
        if finding.ref not in reached:
            roots.append(finding)
            reached |= {effect.ref for effect in _chain(finding, severe)}
    return tuple(roots)


def explain(root: Finding, findings: Sequence[Finding]) -> str:
    """A root cause and the chain of its effects as one clause: "A; so B; so C"."""
    by_ref = {finding.ref: finding for finding in findings}
    return "; so ".join(finding.title for finding in _chain(root, by_ref))


def _chain(root: Finding, by_ref: Mapping[str, Finding]) -> list[Finding]:
    """A finding and all that follows from it, each once, nearest first."""
    chain, todo = [root], list(root.effects)
    while todo:
        effect = by_ref.get(todo.pop(0))
        if effect and effect not in chain:
            chain.append(effect)
            todo += effect.effects
    return chain
