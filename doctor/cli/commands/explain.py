"""`doctor explain ID`: what a finding means, how it is recognised, and where its thresholds come from."""

from __future__ import annotations

import difflib

import click

from doctor.errors import UsageError


@click.command("explain", short_help="Explain a finding: evidence, thresholds, look-alikes.")
@click.argument("finding_id", metavar="ID")
def command(finding_id: str) -> None:
    """Explain the finding ID: symptom, evidence, thresholds with their sources, and its look-alikes."""
    from doctor.evaluate import evidence_names
    from doctor.playbook.library import match
    from doctor.rules.base import rules
    from doctor.thresholds import thresholds

    rule = rules().get(finding_id)
    if rule is None:
        close = difflib.get_close_matches(finding_id, rules(), n=3) or ["doctor rules lists them"]
        raise UsageError("unknown-finding", f"there is no finding {finding_id!r}", f"perhaps: {', '.join(close)}")
    click.echo(f"{rule.id}\n\n{rule.documentation}\n\nEvidence it needs: {evidence_names(rule.needs)}")
    click.echo("\nThresholds:")
    for name, threshold in thresholds().get(rule.id, {}).items():
        click.echo(f"  {name} = {threshold.value:g} {threshold.unit}\n      {threshold.source}")
    if rule.can_cause:
        click.echo(f"\nCan cause: {', '.join(rule.can_cause)}")
    playbook = match(rule.id)
    if playbook:
        click.echo(f"\nPlaybook: doctor playbook show {playbook.id}")
