"""The one sentence: sick, healthy, or not enough seen to tell."""

from __future__ import annotations

from collections.abc import Sequence

from doctor.correlate import explain, root_causes
from doctor.evaluate import Evaluation
from doctor.model.diagnosis import Status, Verdict
from doctor.model.finding import Finding


def verdict(findings: Sequence[Finding], evaluation: Evaluation) -> Verdict:
    """What the findings, and what is missing, come to."""
    roots = root_causes(findings)
    if roots:
        status: Status = "fail" if any(finding.level == "error" for finding in findings) else "warn"
        return Verdict(
            status=status,
            summary=". ".join(explain(root, findings) for root in roots) + ".",
            root_causes=tuple(root.ref for root in roots),
        )
    unknown = [skip.reason for skip in evaluation.skipped if skip.decisive]
    crashed = [f"the rule {error.rule} crashed" for error in evaluation.rule_errors]
    if unknown or crashed:
        return Verdict(
            status="inconclusive",
            summary=f"Nothing wrong was seen, but too little could be seen to say healthy: {(unknown + crashed)[0]}.",
            root_causes=(),
        )
    return Verdict(
        status="ok",
        summary=f"Nothing found; {len(evaluation.checked)} conditions were checked.",
        root_causes=(),
    )
