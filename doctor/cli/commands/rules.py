"""`doctor rules`: what is detected, and from what."""

from __future__ import annotations

import click

from doctor.cli.table import format_option, print_rows


@click.command("rules", short_help="List every condition that doctor detects.")
@format_option
def command(format_name: str) -> None:
    """List every condition doctor detects, the evidence it takes, and its thresholds."""
    from doctor.evaluate import evidence_names
    from doctor.rules.base import rules
    from doctor.thresholds import thresholds

    print_rows(
        [
            {
                "id": rule.id,
                "title": rule.title,
                "evidence": evidence_names(rule.needs),
                "thresholds": [
                    f"{name} {threshold.value:g} {threshold.unit}"
                    for name, threshold in thresholds().get(rule.id, {}).items()
                ],
            }
            for rule in rules().values()
        ],
        format_name,
    )
